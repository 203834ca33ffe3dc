package s3

import "strings"

// named holds every query parameter of S3 that this package knows of.
var named = namedParams()

func namedParams() map[string]bool {
	all := map[string]bool{"x-id": true}
	for name := range selectors {
		all[name] = true
	}
	for _, r := range routes {
		for _, name := range r.params {
			all[name] = true
		}
	}
	return all
}

// NamesParam reports whether S3 has a query parameter that is written exactly
// so. None of a credential is among them: what is named here may be logged.
func NamesParam(name string) bool { return named[name] }

// Reads reports whether an operation changes nothing.
func (n Name) Reads() bool {
	return strings.HasPrefix(string(n), "Get") || strings.HasPrefix(string(n), "Head") || strings.HasPrefix(string(n), "List")
}
