package iam

import "strings"

// Limits of names and sizes (IAM API Reference; IAM User Guide, "IAM and AWS
// STS quotas": the default values). Sizes of policies are without white space.
const (
	leastMetadata  = 1000
	mostMetadata   = 10_000_000
	mostTags       = 50
	mostAttached   = 10
	mostGroups     = 10
	mostManaged    = 6144
	mostVersions   = 5
	mostGuardrails = 5
)

// principalKind is what differs between the named kinds.
type principalKind struct {
	word       string // in error texts
	mostName   int    // characters
	mostInline int    // characters of all inline policies together
}

var (
	role            = principalKind{"role", 64, 10240}
	user            = principalKind{"user", 64, 2048}
	userGroup       = principalKind{"group", 128, 5120}
	managedPolicy   = principalKind{"policy", 128, 0}
	instanceProfile = principalKind{"instance profile", 128, 0}
)

// checkEntityName holds path and name of an entity to IAM's patterns.
func checkEntityName(k principalKind, path, name string) error {
	if strings.Contains(name, "/") {
		return invalid("%s name %q must not hold a slash: give it as path", k.word, name)
	}
	if name == "" || len(name) > k.mostName || !validName(name) {
		return invalid("%s name %q: it is empty, longer than %d characters, or holds others than letters, digits and _+=,.@-", k.word, name, k.mostName)
	}
	if !validPath(path) {
		return invalid("path %q: want 1 to 512 characters that begin and end with a slash", path)
	}
	return nil
}

func validPath(path string) bool {
	if path == "" || len(path) > 512 || path[0] != '/' || path[len(path)-1] != '/' {
		return false
	}
	for i := range len(path) {
		if path[i] < 0x21 || path[i] > 0x7e {
			return false
		}
	}
	return true
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("_+=,.@-", c) < 0 {
			return false
		}
	}
	return true
}

// checkTags holds tags to IAM's rules; quota is the name of their limit.
func checkTags(quota string, tags map[string]string) error {
	if len(tags) > mostTags {
		return limited("Cannot exceed quota for %s: %d", quota, mostTags)
	}
	folded := map[string]bool{}
	for k, v := range tags {
		if k == "" || len(k) > 128 || len(v) > 256 || strings.HasPrefix(fold(k), "aws:") {
			return invalid("tag %q: want a key of 1 to 128 characters not beginning with aws: and a value of at most 256", k)
		}
		if folded[fold(k)] {
			return invalid("tag %q stands twice, letter case aside", k)
		}
		folded[fold(k)] = true
	}
	return nil
}
