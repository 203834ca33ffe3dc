package ascii_test

import (
	"testing"

	"carnet.dev/carnet/internal/core/ascii"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "A", false}, {"*", "", true}, {"*", "any/thing", true},
		{"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false}, {"a*b", "ab", true}, {"a*b", "a-b-b", true},
		{"a*a", "a", false}, {"a*b*c", "a.b.c", true}, {"a*b*c", "a.c.b", false}, {"ab*bc", "abc", false}, {"**", "x", true}, {"a?", "ab", false},
	} {
		if got := ascii.Glob(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q covers %q: %v", tt.pattern, tt.s, got)
		}
	}
}

func TestLower(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"": "", "aZ09@": "az09@", "\u212a": "\u212a", "É": "É", "A\xff": "a\xff", "A\xfe": "a\xfe",
	} {
		if got := ascii.Lower(s); got != want {
			t.Errorf("%q becomes %q, want %q", s, got, want)
		}
	}
}
