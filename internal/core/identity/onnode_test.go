package identity

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestProcessOwner is written as id(1) does, and bounded.
func TestProcessOwner(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		uid     uint32
		account string
	}{"1000(alice)": {1000, "alice"}, "4294967294": {4294967294, ""}, "7(jürg)": {7, "jürg"}} {
		if got := ProcessOwner(c.uid, c.account); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := ProcessOwner(1, "a"+strings.Repeat("ü", 500)); len(got) > mostOwner+3 || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	if (OnNode{Owner: "1"}).IsZero() || !(OnNode{}).IsZero() {
		t.Error("nowhere is not told from somewhere")
	}
}
