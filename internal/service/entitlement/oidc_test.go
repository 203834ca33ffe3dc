package entitlement_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
)

func speakerOIDC(change ...func(*federation.IdP)) *federation.Speaker {
	p := federation.IdP{ID: "idp_1", Name: "Corp", Protocol: federation.OIDC, Accounts: []string{"111122223333", "444455556666"}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"},
		OIDC: federation.OIDCSettings{Issuer: "https://op", RolesClaim: "roles"}}
	for _, c := range change {
		c(&p)
	}
	return &federation.Speaker{IdP: p}
}

var webAccounts = entitlement.Accounts{
	"111122223333": {ID: "111122223333", Partition: "aws", WebIdentity: true},
	"444455556666": {ID: "444455556666", Partition: "aws", SAML: true},
}

func TestOfOIDC(t *testing.T) {
	t.Parallel()
	role := func(account, name string) string { return "arn:aws:iam::" + account + ":role/" + name }
	const provider = "arn:aws:iam::111122223333:saml-provider/corp"
	groups := func(p *federation.IdP) {
		p.RoleTemplates = []federation.RoleTemplate{{Group: "aws-{role}", Account: "111122223333", Role: "{role}"}}
	}
	for name, tt := range map[string]struct {
		claims  map[string]any
		change  func(*federation.IdP)
		roles   string // names; a "!" behind one that is refused
		notes   int
		refused string
	}{
		"a list":                    {claims: map[string]any{"roles": []any{role("111122223333", "a"), role("111122223333", "b")}}, roles: "a b"},
		"a text":                    {claims: map[string]any{"roles": role("111122223333", "a")}, roles: "a"},
		"pairs in both orders":      {claims: map[string]any{"roles": []any{role("111122223333", "a,b") + "," + provider, provider + " , " + role("111122223333", "c")}}, roles: "a,b c"},
		"twice":                     {claims: map[string]any{"roles": []any{role("111122223333", "a"), role("111122223333", "a")}}, roles: "a"},
		"of other applications":     {claims: map[string]any{"roles": []any{"Reader", role("111122223333", "a")}}, roles: "a", notes: 1},
		"malformed":                 {claims: map[string]any{"roles": []any{"arn:aws:iam::1:role/x", provider, role("111122223333", "a") + "," + role("111122223333", "b")}}, notes: 3},
		"not configured":            {claims: map[string]any{"roles": []any{role("999999999999", "a")}}, notes: 1},
		"another partition":         {claims: map[string]any{"roles": []any{"arn:aws-cn:iam::111122223333:role/a"}}, notes: 1},
		"outside the list":          {claims: map[string]any{"roles": []any{role("111122223333", "a")}}, change: func(p *federation.IdP) { p.RolePatterns = []string{"arn:aws:iam::*:role/b*"} }, notes: 1},
		"an account of SAML alone":  {claims: map[string]any{"roles": []any{role("444455556666", "a")}}, roles: "a!"},
		"a number":                  {claims: map[string]any{"roles": 1}, notes: 1},
		"numbers in a list":         {claims: map[string]any{"roles": []any{role("111122223333", "a"), 1}}, notes: 1},
		"none":                      {claims: map[string]any{}},
		"no claim set":              {claims: map[string]any{"roles": role("111122223333", "a")}, change: func(p *federation.IdP) { p.OIDC.RolesClaim = "" }},
		"another letter case":       {claims: map[string]any{"Roles": role("111122223333", "a")}},
		"by template":               {claims: map[string]any{"groups": []any{"aws-a", "others", "aws-b"}}, change: groups, roles: "a b"},
		"by template and by claim":  {claims: map[string]any{"roles": role("111122223333", "a"), "groups": []any{"aws-a", "aws-b"}}, change: groups, roles: "a b"},
		"source identity of a list": {claims: map[string]any{"roles": role("111122223333", "a"), "https://aws.amazon.com/source_identity": []any{"x"}}, roles: "a!"},
		"a tag of two values": {claims: map[string]any{"roles": role("111122223333", "a"),
			"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"team": []any{"x", "y"}}}}, roles: "a!"},
	} {
		if tt.change == nil {
			tt.change = func(*federation.IdP) {}
		}
		e := entitlement.OfOIDC(openid.Claims(tt.claims), speakerOIDC(tt.change), webAccounts, "ann@example.com")
		var got []string
		for _, c := range e.Candidates {
			mark := c.Role.Name
			if c.Refusal != nil {
				mark += "!"
			}
			got = append(got, mark)
			if c.Exchange != entitlement.ByWebIdentity || c.Provider.Name != "" || c.Derived != (c.Group != "") {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if strings.Join(got, " ") != tt.roles || len(e.Notes) != tt.notes || e.SessionName != "ann@example.com" || e.Refusal != nil {
			t.Errorf("%s: roles %q, notes %q, refusal %v", name, got, e.Notes, e.Refusal)
		}
	}
}

// TestEvidenceOfOIDC: what renewals rest on, and that it can be asked again.
func TestEvidenceOfOIDC(t *testing.T) {
	t.Parallel()
	var c openid.Claims
	d := json.NewDecoder(strings.NewReader(`{"jti":"t1","sid":"s1","acr":"phr","roles":"arn:aws:iam::111122223333:role/a",
		"https://aws.amazon.com/source_identity":"ann","https://aws.amazon.com/tags":{"principal_tags":{"team":["red"],"cost":["7"]},"transitive_tag_keys":["team"]}}`))
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	sp := speakerOIDC()
	e := entitlement.OfOIDC(c, sp, webAccounts, "Änn")
	v := e.Evidence(e.Candidates[0])
	if v.Protocol != "oidc" || v.SignIn != "t1" || v.AuthnContext != "phr" || v.SourceIdentity != "ann" || len(v.Tags) != 2 || v.Tags[0].Key != "cost" ||
		!slices.Equal(v.TransitiveTagKeys, []string{"team"}) || v.Flaw != "" || v.SessionName == "Änn" || v.SessionName != e.SessionName {
		t.Errorf("evidence %+v", v)
	}
	if err := v.Holds(sp, webAccounts); err != nil {
		t.Errorf("just now: %v", err)
	}
	if err := v.Holds(speakerOIDC(func(p *federation.IdP) { p.OIDC.ACRValues = []string{"phrh"} }), webAccounts); err == nil {
		t.Error("another acr is asked for now")
	}
	if err := v.Holds(speakerOIDC(func(p *federation.IdP) { p.Accounts = nil }), webAccounts); err == nil {
		t.Error("the account is off the list now")
	}
}

// TestManyRolesOfOIDC: a huge claim costs no more than its bound.
func TestManyRolesOfOIDC(t *testing.T) {
	t.Parallel()
	var values []any
	for i := range 2000 {
		values = append(values, fmt.Sprintf("arn:aws:iam::111122223333:role/r%d", i))
	}
	e := entitlement.OfOIDC(openid.Claims{"roles": values}, speakerOIDC(), webAccounts, "ann")
	if len(e.Candidates) != saml.MaxRoles || len(e.Notes) != 1 {
		t.Errorf("%d roles, notes %q", len(e.Candidates), e.Notes)
	}
}

// TestAttackTagsThatDoNotCount: session tags in a form that STS refuses are not left
// out, since keys with fewer tags may do more; those in the flat form are read.
func TestAttackTagsThatDoNotCount(t *testing.T) {
	t.Parallel()
	const tags, flat = "https://aws.amazon.com/tags", "https://aws.amazon.com/tags/principal_tags/"
	red := map[string]any{"principal_tags": map[string]any{"team": []any{"red"}}}
	for name, tt := range map[string]struct {
		claims map[string]any
		want   string // tags, then "|" and transitive keys; empty: refused
	}{
		"nested":                  {map[string]any{tags: red}, "[{team red}]|[]"},
		"flat":                    {map[string]any{flat + "team": []any{"red"}, flat + "cost": "7", tags + "/transitive_tag_keys": []any{"team"}}, "[{cost 7} {team red}]|[team]"},
		"a text":                  {map[string]any{tags: `{"principal_tags":{"team":["red"]}}`}, ""},
		"a list":                  {map[string]any{tags: []any{red}}, ""},
		"principal tags of texts": {map[string]any{tags: map[string]any{"principal_tags": []any{"team"}}}, ""},
		"in two shapes":           {map[string]any{tags: red, flat + "cost": "7"}, ""},
		"flat, of two values":     {map[string]any{flat + "team": []any{"red", "blue"}}, ""},
		"flat, of two cases":      {map[string]any{flat + "team": "red", flat + "Team": "blue"}, ""},
		"transitive of a number":  {map[string]any{tags: map[string]any{"transitive_tag_keys": 1}}, ""},
	} {
		tt.claims["roles"] = "arn:aws:iam::111122223333:role/a"
		e := entitlement.OfOIDC(openid.Claims(tt.claims), speakerOIDC(), webAccounts, "ann")
		got := ""
		if e.Candidates[0].Refusal == nil {
			got = fmt.Sprintf("%v|%v", e.Basis.Tags, e.Basis.TransitiveTagKeys)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q (flaw %q)", name, got, tt.want, e.Basis.Flaw)
		}
	}
}
