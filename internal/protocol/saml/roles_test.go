package saml_test

import (
	"fmt"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

func withRoleValues(values ...string) *saml.Assertion {
	return &saml.Assertion{Attributes: []saml.Attribute{{Name: saml.AttrRole, Values: values}}}
}

func TestRolePairs(t *testing.T) {
	t.Parallel()
	const role, provider = forge.Role, forge.Provider
	commas := "arn:aws:iam::111122223333:role/a,b,c"
	for _, c := range []struct {
		value           string
		role            string // empty: malformed
		swapped, spaced bool
	}{
		{role + "," + provider, role, false, false},
		{provider + "," + role, role, true, false},
		{role + ", " + provider, role, false, true},
		{role + " ," + provider, role, false, true},
		{"\n\t" + provider + " ,\n " + role + "\n", role, true, true},
		{commas + "," + provider, commas, false, false},
		{provider + "," + commas, commas, true, false},
		{"arn:aws-cn:iam::111122223333:role/x/y/z,arn:aws-cn:iam::111122223333:saml-provider/p", "arn:aws-cn:iam::111122223333:role/x/y/z", false, false},
		{"", "", false, false}, {",", "", false, false}, {role, "", false, false}, {provider, "", false, false}, {role + ";" + provider, "", false, false},
		{role + "," + role, "", false, false}, {provider + "," + provider, "", false, false}, {role + "," + provider + "," + provider, "", false, false},
		{role + "," + role + "," + provider, "", false, false}, {role + provider, "", false, false}, {role + ",," + provider, role + ",", false, false}, // a name may end so
		{"arn:aws:iam::1111:role/x," + provider, "", false, false}, {"arn:aws:s3:::bucket," + provider, "", false, false},
		{role + ",arn:aws:iam::111122223333:oidc-provider/x", "", false, false}, {strings.ToUpper(role) + "," + provider, "", false, false},
		{role + "\u00a0x," + provider, "", false, false}, {role + "/*," + provider, "", false, false},
		{strings.Repeat("a", 5000) + "," + provider, "", false, false},
	} {
		pairs, malformed := saml.RolePairs(withRoleValues("arn:aws:iam::444455556666:role/pipeline,arn:aws:iam::444455556666:saml-provider/dev-idp", c.value))
		if len(pairs) == 0 || pairs[0].Role.Name != "pipeline" || pairs[0].Index != 0 {
			t.Fatalf("%q spoils the value before it", c.value)
		}
		if c.role == "" {
			if len(pairs) != 1 || len(malformed) != 1 || malformed[0].Index != 1 || malformed[0].Reason == "" || len(malformed[0].Value) > 204 {
				t.Errorf("%.80q: pairs %v, malformed %v", c.value, pairs, malformed)
			}
			continue
		}
		if len(pairs) != 2 || len(malformed) != 0 {
			t.Errorf("%.80q: malformed %v", c.value, malformed)
			continue
		}
		p := pairs[1]
		if p.Role.String() != c.role || p.Swapped != c.swapped || p.Spaced != c.spaced || p.Raw != c.value || p.Index != 1 || p.Provider.Name == "" {
			t.Errorf("%.80q: %+v", c.value, p)
		}
	}
}

func TestRolePairsHaveLimits(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("arn:aws:iam::111122223333:role/r%d,%s", i, forge.Provider))
	}
	if pairs, malformed := saml.RolePairs(withRoleValues(many...)); len(pairs) != 900 || len(malformed) != 100 {
		t.Errorf("%d pairs, %d over the limit", len(pairs), len(malformed))
	}
	long := "arn:aws:iam::111122223333:role/" + strings.Repeat("p", 400) + "/r," + forge.Provider
	var big []string
	for len(big) < 900 {
		big = append(big, long)
	}
	pairs, malformed := saml.RolePairs(withRoleValues(big...))
	if len(pairs)*len(long) > 256<<10 || len(pairs)+len(malformed) != 900 || len(malformed) == 0 {
		t.Errorf("%d pairs of %d bytes, %d over the limit", len(pairs), len(long), len(malformed))
	}
	if pairs, malformed := saml.RolePairs(&saml.Assertion{Attributes: []saml.Attribute{
		{Name: "Role", FriendlyName: saml.AttrRole, Values: []string{many[0]}},
		{Name: strings.ToLower(saml.AttrRole), Values: []string{many[0]}},
	}}); len(pairs)+len(malformed) != 0 {
		t.Error("attribute names are matched exactly, and by Name only")
	}
}

func TestAttributesOfTheSameName(t *testing.T) {
	t.Parallel()
	a := &saml.Assertion{Attributes: []saml.Attribute{
		{Name: "a", Values: []string{"1"}}, {Name: "b", Values: []string{"2"}}, {Name: "a", Values: []string{"3", "4"}}, {Name: "c"},
	}}
	if got := a.Values("a"); len(got) != 3 || got[0] != "1" || got[2] != "4" {
		t.Errorf("%v", got)
	}
	if v, ok := a.Single("b"); !ok || v != "2" {
		t.Errorf("%q %v", v, ok)
	}
	for _, name := range []string{"a", "c", "d"} {
		if v, ok := a.Single(name); ok || v != "" {
			t.Errorf("%s: %q", name, v)
		}
	}
}
