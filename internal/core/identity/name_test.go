package identity_test

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/identity"
)

// FuzzSessionName: every name maps to a legal one, legal ones stay, and no
// legal name can be chosen to meet a mapped one.
func FuzzSessionName(f *testing.F) {
	for _, name := range []string{"", "a", "ann", "ann@example.com", "Jörg Müller", "a b", strings.Repeat("x", 64), strings.Repeat("x", 65), "\xff\x00", "日本語"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		mapped := identity.SessionName(name)
		if !identity.ValidSessionName(mapped) {
			t.Fatalf("%q maps to %q", name, mapped)
		}
		if mapped != name && identity.SessionName(mapped) == mapped {
			t.Fatalf("%q maps to %q, which somebody else may be called", name, mapped)
		}
	})
}

func TestSessionNamesStayApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"ann", "Ann", "a b", "a_b", "a  b", "ann ", strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 66), "ä", "ö", identity.SessionName("a b")} {
		mapped := identity.SessionName(name)
		if other, taken := seen[mapped]; taken {
			t.Errorf("%q and %q are both %q", name, other, mapped)
		}
		seen[mapped] = name
	}
	if got := identity.SessionName("ann@example.com"); got != "ann@example.com" {
		t.Errorf("a legal name became %q", got)
	}
}
