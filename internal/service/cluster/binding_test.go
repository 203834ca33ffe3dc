package cluster_test

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/service/cluster"
)

// TestParseBinding: networks that bind to nothing are none.
func TestParseBinding(t *testing.T) {
	t.Parallel()
	b, err := cluster.ParseBinding([]string{"10.1.2.3", "10.0.0.0/8", " 2001:db8::/32", "::ffff:10.1.2.3", "10.0.0.0/8"}, []string{strings.Repeat("AB:", 31) + "ab"})
	if err != nil || len(b.Networks) != 3 || b.Networks[0].String() != "10.1.2.3/32" || len(b.Certificates) != 1 || b.Certificates[0].String() != strings.Repeat("ab", 32) {
		t.Errorf("%v, %v", b, err)
	}
	for _, bad := range []string{"", "0.0.0.0/0", "::/0", "10.0.0.0/7", "2001::/16", "10.1.2.3/8", "fe80::1%eth0", "trino", "::ffff:0.0.0.0/96"} {
		if b, err := cluster.ParseBinding([]string{bad}, nil); err == nil {
			t.Errorf("%q is %v", bad, b)
		}
	}
	for _, bad := range []string{"", "ab", strings.Repeat("ab", 33), strings.Repeat("zz", 32)} {
		if b, err := cluster.ParseBinding(nil, []string{bad}); err == nil {
			t.Errorf("%q is %v", bad, b)
		}
	}
}
