package iamapi

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
)

// FuzzInput holds the reader of parameters: it never panics, refuses with a
// fault of the caller's, and lets nothing through that breaks a rule or that
// nobody read.
func FuzzInput(f *testing.F) {
	f.Add("UserName=ann&Path=/team/&Tags.member.1.Key=team&Tags.member.1.Value=blue&MaxItems=10")
	f.Add("UserName=ann&Path=/team/&Tags.member.1.Key=aws:x&Tags.member.1.Value=")
	f.Add("UserName=a%2Fb&Tags=&Marker=TGlzdFVzZXJzAGE&Force=true")
	f.Add("TagKeys.member.1=a&TagKeys.member.2=A&UserName=%C3%BC")
	f.Fuzz(func(t *testing.T, body string) {
		p, err := awsquery.Parse("POST", "", "application/x-www-form-urlencoded", []byte(body))
		if err != nil {
			return
		}
		c := &call{action: "ListUsers", in: newInput(p)}
		name, path := c.in.text("UserName", userName), c.in.or("Path", pathText, "/")
		tags, keys := c.in.tags("Tags"), c.in.texts("TagKeys", tagKey, 0, 50)
		forced, given := c.in.flag("Force")
		pg := c.page()
		if err := c.in.err(); err != nil {
			if k := fault.KindOf(err); k != fault.Invalid {
				t.Fatalf("%q is refused with a fault %s: %v", body, k, err)
			}
			return
		}
		switch {
		case name == "" || len(name) > 64 || strings.ContainsAny(name, "/ \x00"):
			t.Fatalf("name %q", name)
		case path[0] != '/' || path[len(path)-1] != '/':
			t.Fatalf("path %q", path)
		case len(tags) > 50 || len(keys) > 50 || pg.most < 1 || pg.most > 1000 || forced && !given:
			t.Fatalf("%v %v %v", tags, keys, pg)
		}
		for k := range tags {
			if k == "" || strings.HasPrefix(strings.ToLower(k), "aws:") {
				t.Fatalf("tag key %q", k)
			}
		}
		for _, n := range p.Names() {
			top, _, _ := strings.Cut(n, ".")
			switch top {
			case "Action", "Version", "UserName", "Path", "Tags", "TagKeys", "Force", "Marker", "MaxItems":
			default:
				if !strings.HasPrefix(n, "X-Amz-") {
					t.Fatalf("nobody read %q", n)
				}
			}
		}
	})
}
