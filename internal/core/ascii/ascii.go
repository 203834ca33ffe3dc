// Package ascii compares names that people and other systems wrote, byte by
// byte. It knows no locale and never folds beyond ASCII: Unicode folding would
// let the Kelvin sign pass for k, and so one name for another.
package ascii

import "strings"

// Glob reports whether pattern covers the whole of s; "*" stands for any run
// of bytes, everything else for itself. Linear in pattern × s at most.
func Glob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], after
	}
}

// Lower lowers A-Z only, byte by byte.
func Lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
