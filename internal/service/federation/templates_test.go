package federation_test

import (
	"fmt"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/federation"
)

func inAWS(id string) (string, bool) { return "aws", id == account || id == "444455556666" }

// derived gives what one template derives from one group, as text.
func derived(t federation.RoleTemplate, group string) (string, string) {
	sp := &federation.Speaker{IdP: federation.IdP{Settings: federation.Settings{RoleTemplates: []federation.RoleTemplate{t}}}}
	out, notes := sp.Derive([]string{group}, inAWS)
	var all []string
	for _, d := range out {
		all = append(all, strings.TrimPrefix(d.Pair.Role.String(), "arn:aws:iam::")+","+d.Pair.Provider.Name)
	}
	return strings.Join(all, " "), strings.Join(notes, " ")
}

// TestDerive: a template covers the whole name of a group, in one way only, and
// what it captures is literal text fit for the name of a role.
func TestDerive(t *testing.T) {
	t.Parallel()
	fixed := federation.RoleTemplate{Group: "data-{role}", Account: account, Role: "data-{role}", Provider: "okta"}
	both := federation.RoleTemplate{Group: "aws-{account}-{role}", Account: "{account}", Role: "{role}", Provider: "okta"}
	nested := federation.RoleTemplate{Group: "CN={team}:{role},OU=aws", Account: account, Role: "teams/{team}/{role}", Provider: "{team}"}
	loose := federation.RoleTemplate{Group: "{a}-{b}", Account: account, Role: "{a}.{b}", Provider: "okta"}
	plain := federation.RoleTemplate{Group: "Staff of the house", Account: account, Role: "staff", Provider: "okta"}
	for _, tt := range []struct {
		name     string
		template federation.RoleTemplate
		group    string
		want     string
		note     string
	}{
		{"plain", plain, "Staff of the house", account + ":role/staff,okta", ""},
		{"one capture", fixed, "data-analyst", account + ":role/data-analyst,okta", ""},
		{"capture with a dash", fixed, "data-sales-eu", account + ":role/data-sales-eu,okta", ""},
		{"account by its digits", both, "aws-" + account + "-data-admin", account + ":role/data-admin,okta", ""},
		{"directory name", nested, "CN=sales:analyst,OU=aws", account + ":role/teams/sales/analyst,sales", ""},
		{"two ways", loose, "a-b-c", "", "more than one way"},
		{"one way", loose, "a-b", account + ":role/a.b,okta", ""},

		{"not the whole name, in front", fixed, "xdata-analyst", "", ""},
		{"not the whole name, behind", plain, "Staff of the house and more", "", ""},
		{"another letter case", fixed, "Data-analyst", "", ""},
		{"nothing captured", fixed, "data-", "", ""},
		{"unknown account", both, "aws-999999999999-admin", "", "not configured"},
		{"account of 11 digits", both, "aws-11112222333-admin", "", ""},
		{"account of 13 digits", both, "aws-1111222233334-admin", "", ""},
		// Attacks: the name of a group is often free text.
		{"regular expression", fixed, "data-.*", "", ""},
		{"wildcard", fixed, "data-*", "", ""},
		{"question mark", fixed, "data-?", "", ""},
		{"slash into another path", fixed, "data-x/../admin", "", ""},
		{"slash", fixed, "data-team/admin", "", ""},
		{"newline", fixed, "data-analyst\nadmin", "", ""},
		{"newline at the end", fixed, "data-analyst\n", "", ""},
		{"NUL", fixed, "data-analyst\x00", "", ""},
		{"policy variable", fixed, "data-${aws:username}", "", ""},
		{"a capture's own name", fixed, "data-{role}", "", ""},
		{"comma and provider", fixed, "data-x," + "arn:aws:iam::" + account + ":saml-provider/evil", "", ""},
		{"colon", fixed, "data-x:role/admin", "", ""},
		{"space", fixed, "data-x admin", "", ""},
		{"letters of another script", fixed, "data-\u0430dmin", "", ""},
		{"full-width letters", fixed, "data-\uff41", "", ""},
		{"too long for a role", fixed, "data-" + strings.Repeat("a", 60), "", "longer than 64"},
		{"too long for a capture", plain, strings.Repeat("a", 65), "", ""},
		{"too long for a group", fixed, "data-" + strings.Repeat("a", 300), "", ""},
		{"provider with a sign that none has", nested, "CN=a+b:x,OU=aws", "", "SAML provider name"},
		{"many dashes", federation.RoleTemplate{Group: "{a}-{b}-{c}-{d}-{e}!", Account: account, Role: "{a}", Provider: "okta"}, strings.Repeat("-", 200), "", ""},
		{"empty", plain, "", "", ""},
	} {
		got, note := derived(tt.template, tt.group)
		if got != tt.want || (note == "") != (tt.note == "") || !strings.Contains(note, tt.note) {
			t.Errorf("%s: group %q gives %q with note %q; want %q with %q", tt.name, tt.group, got, note, tt.want, tt.note)
		}
	}
}

func TestDerivedAreBounded(t *testing.T) {
	t.Parallel()
	sp := &federation.Speaker{IdP: federation.IdP{Settings: federation.Settings{RoleTemplates: []federation.RoleTemplate{
		{Group: "{r}", Account: account, Role: "{r}", Provider: "okta"}}}}}
	var groups []string
	for i := range 2000 {
		groups = append(groups, fmt.Sprintf("g%d", i), "g0") // each again and again
	}
	out, notes := sp.Derive(groups, inAWS)
	if len(out) != 900 || len(notes) != 1 || !strings.Contains(notes[0], "more than 900") {
		t.Errorf("%d derived, notes %v", len(out), notes)
	}
}

// TestTemplatesThatCantBeMeant are refused when they are entered.
func TestTemplatesThatCantBeMeant(t *testing.T) {
	t.Parallel()
	s, honest := open(t), entered(t)
	for want, template := range map[string]federation.RoleTemplate{
		"1 to 256 bytes":             {Account: account, Role: "x", Provider: "p"},
		"no wildcard":                {Group: "data-*", Account: account, Role: "x", Provider: "p"},
		"a capture is":               {Group: "data-{}", Account: account, Role: "x", Provider: "p"},
		"a capture is {name}":        {Group: "data-{Role}", Account: account, Role: "x", Provider: "p"},
		"a } without":                {Group: "data-}", Account: account, Role: "x", Provider: "p"},
		"stands twice":               {Group: "{a}-{a}", Account: account, Role: "{a}", Provider: "p"},
		"right behind":               {Group: "{a}{b}", Account: account, Role: "{a}", Provider: "p"},
		"is not captured":            {Group: "data", Account: account, Role: "{role}", Provider: "p"},
		"all have to be given":       {Group: "data", Account: account, Role: "x"},
		"want 12 digits":             {Group: "data", Account: "11112222333", Role: "x", Provider: "p"},
		"one capture and nothing":    {Group: "{a}-x", Account: "11112222{a}", Role: "x", Provider: "p"},
		"no * ? or $":                {Group: "{a}-x", Account: account, Role: "*", Provider: "p"},
		"the name of a role":         {Group: "{a}-x", Account: account, Role: "a//{a}", Provider: "p"},
		"the name of a SAML":         {Group: "{a}-x", Account: account, Role: "{a}", Provider: "p/q"},
		"provider: it can't":         {Group: "{a}-x", Account: account, Role: "{a}", Provider: "a b"},
		"account: {b} is not captur": {Group: "{a}-x", Account: "{b}", Role: "{a}", Provider: "p"},
	} {
		p := honest
		p.RoleTemplates = []federation.RoleTemplate{template}
		if _, err := s.Add(t.Context(), p); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) || fault.Of(err).Mend == "" {
			t.Errorf("%+v: %v; want %q", template, err, want)
		}
	}
}

func FuzzDerive(f *testing.F) {
	for _, g := range []string{"data-analyst", "aws-111122223333-a-b", "CN=x:y,OU=aws", ".*", "a/b\n", strings.Repeat("-", 256)} {
		f.Add("aws-{account}-{role}", "{account}", "x/{role}", g)
		f.Add("{a}-{b}", "111122223333", "{a}.{b}", g)
	}
	f.Fuzz(func(t *testing.T, group, account, role, name string) {
		template := federation.RoleTemplate{Group: group, Account: account, Role: role, Provider: "p"}
		sp := &federation.Speaker{IdP: federation.IdP{Settings: federation.Settings{RoleTemplates: []federation.RoleTemplate{template}}}}
		out, _ := sp.Derive([]string{name}, inAWS)
		for _, d := range out {
			r := d.Pair.Role
			if r.Name == "" || strings.ContainsAny(r.Name, "*?/ \n$") || r.Partition != "aws" || d.Group != name {
				t.Errorf("template %+v makes of group %q the role %v", template, name, r)
			}
		}
	})
}

// TestManyGroupsCostLittle: a person of very many groups, none of which fits,
// must not keep a server busy, at sign-in and again at STS for each role.
func TestManyGroupsCostLittle(t *testing.T) {
	var templates []federation.RoleTemplate
	for i := range 100 {
		templates = append(templates, federation.RoleTemplate{Group: fmt.Sprintf("aws%d-{account}-{role}", i), Account: "{account}", Role: "{role}", Provider: "okta"})
	}
	sp := &federation.Speaker{IdP: federation.IdP{Settings: federation.Settings{RoleTemplates: templates}}}
	var groups []string
	for i := range 2000 {
		groups = append(groups, fmt.Sprintf("department-%d-%s", i, strings.Repeat("x-", 20)))
	}
	if n := testing.AllocsPerRun(1, func() { sp.Derive(groups, inAWS) }); n > 5000 {
		t.Errorf("%v allocations for %d groups and %d templates, though no group begins like one", n, len(groups), len(templates))
	}
}
