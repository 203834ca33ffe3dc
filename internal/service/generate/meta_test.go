package generate_test

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/generate"
)

func metaSetup() generate.AWS {
	s := setup()
	s.Meta = &generate.Meta{Identity: "arn:aws:iam::999988887777:role/servers/carnet", ExternalID: "carnet-0123456789abcdef", People: []string{"*@example.com"}}
	return s
}

// TestMeta: a data role asks for identity, external id and name; the identity may take
// these roles, and nothing else.
func TestMeta(t *testing.T) {
	t.Parallel()
	s := metaSetup()
	s.Accounts = []string{"777788889999", "111122223333"}
	out := made(t, s)
	for _, a := range out.Accounts {
		if want := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999988887777:role/servers/carnet"},"Action":["sts:AssumeRole","sts:SetSourceIdentity"],"Condition":{"StringEquals":{"sts:ExternalId":["carnet-0123456789abcdef"]},"StringLike":{"sts:SourceIdentity":["*@example.com"]}}}`; !strings.Contains(a.Trust, want) {
			t.Errorf("%s lacks\n%s", a.Trust, want)
		}
	}
	if want := `aws iam put-role-policy --role-name carnet --policy-name carnet-lake-analyst --policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole","sts:SetSourceIdentity"],"Resource":["arn:aws:iam::777788889999:role/lake-analyst","arn:aws:iam::111122223333:role/lake-analyst"]}]}'`; out.Identity.Command != want {
		t.Errorf("got  %s\nwant %s", out.Identity.Command, want)
	}
	if len(out.Warnings) == 0 || !strings.Contains(out.Warnings[len(out.Warnings)-1], "in the name of anybody") {
		t.Errorf("warnings %q", out.Warnings)
	}
	alone := metaSetup()
	alone.SAML, alone.Meta.Identity, alone.Meta.People = nil, "arn:aws:iam::999988887777:user/carnet", []string{"*"}
	out = made(t, alone)
	if !strings.HasPrefix(out.Identity.Command, "aws iam put-user-policy --user-name carnet ") || !strings.Contains(strings.Join(out.Warnings, "\n"), "covers every name") {
		t.Errorf("%s %q", out.Identity.Command, out.Warnings)
	}
	if got := made(t, setup()); got.Identity != (generate.Identity{}) {
		t.Errorf("an identity that nobody asked for: %+v", got.Identity)
	}
	for what, change := range map[string]func(*generate.Meta){
		"no identity":                  func(m *generate.Meta) { m.Identity = "" },
		"an identity of another cloud": func(m *generate.Meta) { m.Identity = "arn:aws-cn:iam::999988887777:role/carnet" },
		"a shell in the identity":      func(m *generate.Meta) { m.Identity = "arn:aws:iam::999988887777:role/carnet'; rm -rf /" },
		"the root of an account":       func(m *generate.Meta) { m.Identity = "arn:aws:iam::999988887777:root" },
		"no external id":               func(m *generate.Meta) { m.ExternalID = "" },
		"a short external id":          func(m *generate.Meta) { m.ExternalID = "x" },
		"a shell in the external id":   func(m *generate.Meta) { m.ExternalID = "carnet-0123456789'$(id)" },
		"nobody":                       func(m *generate.Meta) { m.People = nil },
		"a shell in a name":            func(m *generate.Meta) { m.People = []string{"a'b"} },
	} {
		s := metaSetup()
		change(s.Meta)
		if out, err := s.Generate(); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: %v %v", what, out, err)
		}
	}
}
