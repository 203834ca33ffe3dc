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

// withGroups is an assertion of an identity provider that sends groups.
func withGroups(groups []string, roles ...string) *saml.Assertion {
	a := assertion([]string{"ann"}, roles...)
	a.Attributes = append(a.Attributes, saml.Attribute{Name: "urn:groups", FriendlyName: "groups", Values: groups})
	return a
}

func templated() *federation.Speaker {
	sp := speaker()
	sp.IdP.RoleTemplates = []federation.RoleTemplate{{Group: "aws-{account}-{role}", Account: "{account}", Role: "{role}", Provider: "dev-idp"}}
	return sp
}

// mixed has one local account and one at AWS.
func mixed() entitlement.Accounts {
	all := accounts()
	local := all["111122223333"]
	local.Local = true
	all["111122223333"] = local
	return all
}

// TestDerivedRoles: groups add roles within the list; AWS takes none of them,
// and each says so.
func TestDerivedRoles(t *testing.T) {
	t.Parallel()
	a := withGroups([]string{"staff", "aws-111122223333-analyst", "aws-444455556666-pipeline", "aws-111122223333-admin",
		"aws-777788889999-analyst", "aws-999999999999-analyst"}, "nonsense", engineer+","+idp1)
	e := entitlement.Of(a, templated(), mixed(), "ann")
	if got := roles(e); !slices.Equal(got, []string{"1:engineer", "2:analyst", "3:pipeline"}) {
		t.Fatalf("candidates %v", got)
	}
	for i, want := range []struct {
		derived bool
		group   string
		refused bool
	}{{false, "", false}, {true, "aws-111122223333-analyst", false}, {true, "aws-444455556666-pipeline", true}} {
		c := e.Candidates[i]
		if c.Derived != want.derived || c.Group != want.group || (c.Refusal != nil) != want.refused {
			t.Errorf("candidate %d: %+v", i, c)
		}
	}
	if r := e.Candidates[2].Refusal; r == nil || r.Code != "AccessDenied" || r.Mend == "" || !strings.Contains(r.Public, "AWS takes only roles that stand in the assertion") {
		t.Errorf("refusal %v", r)
	}
	notes := strings.Join(e.Notes, "\n")
	for _, want := range []string{`role/admin, derived from group "aws-111122223333-admin", was dropped: no role pattern`, "takes no SAML sign-in", "not configured"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note with %q in\n%s", want, notes)
		}
	}
}

// TestAssertedComesBeforeDerived: a role that the assertion names is traded as
// it names it.
func TestAssertedComesBeforeDerived(t *testing.T) {
	t.Parallel()
	sp := templated()
	sp.IdP.RoleTemplates[0].Provider = "another"
	e := entitlement.Of(withGroups([]string{"aws-111122223333-analyst"}, analyst+","+idp1), sp, mixed(), "ann")
	if len(e.Candidates) != 1 || e.Candidates[0].Derived || e.Candidates[0].Provider.String() != idp1 {
		t.Errorf("candidates %+v", e.Candidates)
	}
	if len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "is there twice") {
		t.Errorf("notes %q", e.Notes)
	}
}

// TestDerivedPairs gives STS of the local authority what it may take: nothing
// beyond the list, nothing of AWS.
func TestDerivedPairs(t *testing.T) {
	t.Parallel()
	a := withGroups([]string{"aws-111122223333-analyst", "aws-444455556666-pipeline", "aws-111122223333-admin"})
	pairs := entitlement.DerivedPairs(a, templated(), mixed())
	if len(pairs) != 1 || pairs[0].Role.String() != analyst || pairs[0].Provider.String() != idp1 {
		t.Errorf("pairs %+v", pairs)
	}
	if pairs := entitlement.DerivedPairs(a, speaker(), mixed()); len(pairs) != 0 {
		t.Errorf("without templates: %+v", pairs)
	}
}

// TestMostRoles: 900 values and 256 KiB are read; derived roles come on top of
// none beyond that.
func TestMostRoles(t *testing.T) {
	t.Parallel()
	sp := templated()
	sp.IdP.RolePatterns = []string{"*"}
	var values, groups []string
	for i := range 900 {
		pair := fmt.Sprintf("arn:aws:iam::111122223333:role/%s/r%d,%s", strings.Repeat("p", 180), i, idp1)
		values, groups = append(values, pair), append(groups, fmt.Sprintf("aws-111122223333-g%d", i))
	}
	e := entitlement.Of(withGroups(groups, values...), sp, mixed(), "ann")
	if len(e.Candidates) != 900 || e.Candidates[899].Derived || len(e.Malformed) != 0 {
		t.Errorf("%d candidates, %d malformed", len(e.Candidates), len(e.Malformed))
	}
	e = entitlement.Of(withGroups(groups), sp, mixed(), "ann")
	if len(e.Candidates) != 900 || !e.Candidates[899].Derived {
		t.Errorf("%d candidates from groups alone", len(e.Candidates))
	}
	e = entitlement.Of(withGroups(nil, append(values, values[0])...), sp, mixed(), "ann")
	if len(e.Malformed) != 1 {
		t.Errorf("the value behind the last: %+v", e.Malformed)
	}
}

// TestMappedSessionName: only the switch admits a name that is not the user's,
// and nothing admits an illegal one.
func TestMappedSessionName(t *testing.T) {
	t.Parallel()
	sp := speaker()
	sp.IdP.MapSessionName = true
	e := entitlement.Of(assertion([]string{"ann.other"}, analyst+","+idp1), sp, accounts(), "ann")
	if e.Refusal != nil || e.SessionName != "ann.other" || len(e.Notes) != 1 {
		t.Errorf("mapped: %v, %q, %q", e.Refusal, e.SessionName, e.Notes)
	}
	for _, values := range [][]string{{"a b"}, {"x"}, {}, {"ann", "bob"}} {
		if e := entitlement.Of(assertion(values, analyst+","+idp1), sp, accounts(), "ann"); e.Refusal == nil {
			t.Errorf("session name %q passed", values)
		}
	}
}
