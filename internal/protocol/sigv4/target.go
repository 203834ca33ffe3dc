package sigv4

import (
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

const (
	maxTarget = 32 << 10 // bytes of a request-target: a key of 1024 bytes and a sealed token fit twice
	maxParams = 256      // query parameters, counted before anything is allocated for them
)

// Target is a request-target in origin form, parsed once.
type Target struct {
	// RawPath is as received, percent-encoded; it begins with "/".
	RawPath string
	// Query is decoded, in the order received; no name occurs twice.
	Query []Param
}

// Param is one decoded query parameter. "a" and "a=" are the same.
type Param struct{ Name, Value string }

// Get gives the value of a parameter and whether it is there.
func (t Target) Get(name string) (string, bool) {
	for i := range t.Query {
		if t.Query[i].Name == name {
			return t.Query[i].Value, true
		}
	}
	return "", false
}

// ParseTarget reads path[?query]. Absolute-form, authority-form and asterisk
// targets, fragments, raw spaces and control characters, broken percent
// encodings and repeated parameters are refused.
func ParseTarget(raw string) (Target, error) {
	if len(raw) > maxTarget {
		return Target{}, invalidURI("it is too long")
	}
	if raw == "" || raw[0] != '/' {
		return Target{}, invalidURI("it must begin with a slash")
	}
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] == 0x7f || raw[i] == '#' {
			return Target{}, invalidURI("it has a raw space, a control character or a fragment")
		}
	}
	path, query, _ := strings.Cut(raw, "?")
	t := Target{RawPath: path}
	if query == "" {
		return t, nil
	}
	n := strings.Count(query, "&") + 1
	if n > maxParams {
		return Target{}, invalidURI("it has too many query parameters")
	}
	t.Query = make([]Param, 0, n)
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		if err := t.add(part); err != nil {
			return Target{}, err
		}
	}
	return t, nil
}

func (t *Target) add(part string) error {
	rawName, rawValue, _ := strings.Cut(part, "=")
	name, ok := Unescape(rawName, true)
	value, ok2 := Unescape(rawValue, true)
	if !ok || !ok2 {
		return invalidURI("a query parameter has a broken percent encoding")
	}
	if _, twice := t.Get(name); twice {
		return fault.Coded(fault.Invalid, "InvalidArgument", "The query parameter "+clip(name)+" is given more than once")
	}
	t.Query = append(t.Query, Param{Name: name, Value: value})
	return nil
}

func invalidURI(why string) error {
	return fault.Coded(fault.Invalid, "InvalidURI", "Couldn't parse the specified URI: "+why)
}

// Unescape undoes percent encoding once, strictly; with plus, "+" is a space
// as in queries. It reports whether s was well formed.
func Unescape(s string, plus bool) (string, bool) {
	i := 0
	for i < len(s) && s[i] != '%' && (!plus || s[i] != '+') {
		i++
	}
	if i == len(s) {
		return s, true
	}
	b := make([]byte, i, len(s))
	copy(b, s)
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			b = append(b, byte(hi<<4|lo))
			i += 2
		case c == '+' && plus:
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return string(b), true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

const upperHex = "0123456789ABCDEF"

// AppendEscaped appends s percent-encoded as SigV4 wants it: all but the
// unreserved characters of RFC 3986, and the slash too unless keepSlash.
func AppendEscaped(b []byte, s string, keepSlash bool) []byte {
	for i := range len(s) {
		c := s[i]
		if unreserved(c) || c == '/' && keepSlash {
			b = append(b, c)
			continue
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
