package entitlement_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
)

const (
	analyst  = "arn:aws:iam::111122223333:role/analyst"
	engineer = "arn:aws:iam::111122223333:role/team/engineer"
	pipeline = "arn:aws:iam::444455556666:role/pipeline"
	idp1     = "arn:aws:iam::111122223333:saml-provider/dev-idp"
	idp2     = "arn:aws:iam::444455556666:saml-provider/dev-idp"
)

func accounts() entitlement.Accounts {
	return entitlement.Accounts{
		"111122223333": {ID: "111122223333", Name: "analytics", Partition: "aws", SAML: true},
		"444455556666": {ID: "444455556666", Name: "engineering", Partition: "aws", SAML: true},
		"777788889999": {ID: "777788889999", Name: "web", Partition: "aws"},
	}
}

func speaker() *federation.Speaker {
	return &federation.Speaker{IdP: federation.IdP{Name: "example",
		Accounts:     []string{"111122223333", "444455556666", "777788889999", "123456789012"},
		RolePatterns: []string{"arn:*:iam::*:role/analyst", "arn:*:iam::*:role/team/*", "arn:*:iam::*:role/pipeline"}}}
}

func assertion(sessionName []string, roles ...string) *saml.Assertion {
	return &saml.Assertion{Attributes: []saml.Attribute{
		{Name: saml.AttrRole, Values: roles}, {Name: saml.AttrRoleSessionName, Values: sessionName}}}
}

func roles(e entitlement.Entitlements) []string {
	var out []string
	for _, c := range e.Candidates {
		out = append(out, fmt.Sprintf("%d:%s", c.Index, c.Role.Name))
	}
	return out
}

func TestOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		values []string
		want   []string
		note   string // part of a note; empty: no notes
	}{
		"none":                      {nil, nil, ""},
		"several in order":          {[]string{pipeline + "," + idp2, analyst + "," + idp1}, []string{"0:pipeline", "1:analyst"}, ""},
		"provider first":            {[]string{idp1 + "," + analyst}, []string{"0:analyst"}, "SAML provider first"},
		"spaces":                    {[]string{analyst + " , " + idp1}, []string{"0:analyst"}, "spaces"},
		"malformed among good":      {[]string{"nonsense", engineer + "," + idp1}, []string{"1:engineer"}, `role value 1, "nonsense", was skipped`},
		"outside the patterns":      {[]string{"arn:aws:iam::111122223333:role/admin," + idp1}, nil, "no role pattern"},
		"outside the accounts":      {[]string{"arn:aws:iam::999999999999:role/analyst,arn:aws:iam::999999999999:saml-provider/x"}, nil, "not on the list"},
		"account not configured":    {[]string{"arn:aws:iam::123456789012:role/analyst,arn:aws:iam::123456789012:saml-provider/x"}, nil, "not configured"},
		"account without SAML":      {[]string{"arn:aws:iam::777788889999:role/analyst,arn:aws:iam::777788889999:saml-provider/x"}, nil, "no SAML sign-in"},
		"other partition":           {[]string{"arn:aws-cn:iam::111122223333:role/analyst,arn:aws-cn:iam::111122223333:saml-provider/x"}, nil, "partition"},
		"provider of another":       {[]string{analyst + "," + idp2}, nil, ""},
		"same value twice":          {[]string{analyst + "," + idp1, analyst + "," + idp1}, []string{"0:analyst"}, ""},
		"same role, other provider": {[]string{analyst + "," + idp1, analyst + ",arn:aws:iam::111122223333:saml-provider/other"}, []string{"0:analyst"}, "is there twice"},
	} {
		e := entitlement.Of(assertion([]string{"ann"}, tt.values...), speaker(), accounts(), "ann")
		if got := roles(e); !slices.Equal(got, tt.want) {
			t.Errorf("%s: candidates %v, want %v (notes %q)", name, got, tt.want, e.Notes)
		}
		if e.Refusal != nil || e.SessionName != "ann" {
			t.Errorf("%s: session name %q, refusal %v", name, e.SessionName, e.Refusal)
		}
		notes := strings.Join(e.Notes, "\n")
		if tt.note != "" && !strings.Contains(notes, tt.note) {
			t.Errorf("%s: notes %q, want one with %q", name, notes, tt.note)
		}
		if name == "provider of another" && notes == "" && len(e.Malformed) == 0 {
			t.Errorf("%s: dropped without a word", name)
		}
	}
}

func TestAccountsOfCandidates(t *testing.T) {
	t.Parallel()
	e := entitlement.Of(assertion([]string{"ann"}, pipeline+","+idp2), speaker(), accounts(), "ann")
	if len(e.Candidates) != 1 || e.Candidates[0].Account.Name != "engineering" || e.Candidates[0].Provider.String() != idp2 {
		t.Errorf("candidates %+v", e.Candidates)
	}
}

func TestSessionNameIsThePersonsOwn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		values []string
		user   string
		ok     bool
	}{
		"same":                 {[]string{"ann@example.com"}, "ann@example.com", true},
		"letter case aside":    {[]string{"Ann@Example.com"}, "ann@example.COM", true},
		"somebody else":        {[]string{"bob"}, "ann", false},
		"prefix":               {[]string{"an"}, "ann", false},
		"missing":              {nil, "ann", false},
		"two, one is right":    {[]string{"ann", "bob"}, "ann", false},
		"twice the same":       {[]string{"ann", "ann"}, "ann", false},
		"illegal characters":   {[]string{"ann o"}, "ann o", false},
		"too short":            {[]string{"a"}, "a", false},
		"Kelvin sign for k":    {[]string{"kate"}, "\u212aate", false},
		"long s for s":         {[]string{"sam"}, "\u017fam", false},
		"blank":                {[]string{""}, "", false},
		"65 characters":        {[]string{strings.Repeat("a", 65)}, strings.Repeat("a", 65), false},
		"64 characters":        {[]string{strings.Repeat("a", 64)}, strings.Repeat("a", 64), true},
		"line end in the name": {[]string{"ann\n"}, "ann", false},
	} {
		e := entitlement.Of(assertion(tt.values, analyst+","+idp1), speaker(), accounts(), tt.user)
		if (e.Refusal == nil) != tt.ok {
			t.Errorf("%s: refusal %v", name, e.Refusal)
		}
		if e.Refusal != nil && (e.SessionName != "" || e.Refusal.Code != "InvalidIdentityToken" || e.Refusal.Mend == "") {
			t.Errorf("%s: session name %q, code %q, mend %q", name, e.SessionName, e.Refusal.Code, e.Refusal.Mend)
		}
		if len(e.Candidates) != 1 {
			t.Errorf("%s: the role is not named any more", name)
		}
	}
}

func TestNotesAreBounded(t *testing.T) {
	t.Parallel()
	values := make([]string, 900)
	for i := range values {
		values[i] = fmt.Sprintf("nonsense %d", i)
	}
	e := entitlement.Of(assertion([]string{"ann"}, values...), speaker(), accounts(), "ann")
	if len(e.Malformed) != 900 || len(e.Notes) > 201 {
		t.Errorf("%d malformed, %d notes", len(e.Malformed), len(e.Notes))
	}
}
