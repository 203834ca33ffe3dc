package sessiontoken

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// TestTokensOfTheFirstReleaseOpen: what was sealed before there were kinds is in
// people's hands when the server is upgraded.
func TestTokensOfTheFirstReleaseOpen(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/role-session-of-the-first-release.token")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(testRing(), keyID, secret.New(string(raw)), issued)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, full())
}

// web is a role session by an ID token, with every claim of one.
func web() Claims {
	c := full()
	c.Chained, c.SubjectType, c.NameQualifier = true, "", ""
	c.Audience, c.Methods = "sts.amazonaws.com", []string{"mfa", "pwd"}
	return c
}

// TestTokensOfBeforeServicePrincipalsOpen: likewise what was sealed before keys
// could belong to a service principal.
func TestTokensOfBeforeServicePrincipalsOpen(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/web-session-before-service-principals.token")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(testRing(), keyID, secret.New(string(raw)), issued)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, web())
}

func ofUser(k Kind) Claims {
	c := Claims{
		Kind: k, User: arn.User{Partition: "aws", Account: "111122223333", Path: "/staff/", Name: "bob"}, UserID: "AIDAXXXXXXXXXXXXXXXXX",
		SecretKey: secret.New("s"), IssuedAt: issued, Expires: issued.Add(time.Hour), Epoch: 3,
	}
	if k == FederatedUser {
		c.FederatedName, c.SessionPolicy, c.Tags = "visitor", "{}", []Tag{{"team", "blue"}}
	}
	return c
}

func TestKindsOpenUnchanged(t *testing.T) {
	t.Parallel()
	job := web()
	job.ServicePrincipal, job.Delegation = "spn_c", "dlg_d"
	attached := job
	attached.OnNode = identity.OnNode{Attachment: "att_a", Node: "nod_b", Cluster: "cls_c", Owner: "1000(jürg)"}
	for _, c := range []Claims{ofUser(UserSession), ofUser(FederatedUser), web(), job, attached} {
		got, err := Open(testRing(), keyID, seal(t, testRing(), c), issued)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, c)
	}
}

// TestKindsKeepToTheirFields: a token that two kinds could claim must not open,
// whatever sealed it.
func TestKindsKeepToTheirFields(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func() Claims{
		"user session with a role":        func() Claims { c := ofUser(UserSession); c.Role = full().Role; return c },
		"user session with a name":        func() Claims { c := ofUser(UserSession); c.FederatedName = "x"; return c },
		"user session on a node":          func() Claims { c := ofUser(UserSession); c.Attachment = "att_a"; return c },
		"federated user on a node":        func() Claims { c := ofUser(FederatedUser); c.Node = "nod_b"; return c },
		"user session of no user":         func() Claims { c := ofUser(UserSession); c.User = arn.User{}; return c },
		"user session without the id":     func() Claims { c := ofUser(UserSession); c.UserID = ""; return c },
		"federated user without a name":   func() Claims { c := ofUser(FederatedUser); c.FederatedName = ""; return c },
		"federated user with a role id":   func() Claims { c := ofUser(FederatedUser); c.RoleID = "AROA"; return c },
		"role session with a user":        func() Claims { c := full(); c.User = ofUser(UserSession).User; return c },
		"role session with a user's name": func() Claims { c := full(); c.FederatedName = "x"; return c },
		"a kind of tomorrow":              func() Claims { c := ofUser(UserSession); c.Kind = kinds; return c },
	} {
		if _, err := Open(testRing(), keyID, seal(t, testRing(), change()), issued); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The zero kind has one spelling: none. Chained has one: 1.
	for _, n := range []uint64{fKind, fChained} {
		if _, err := decode(field(encode(new(full())), n, string(binary.AppendUvarint(nil, 0)))); err == nil {
			t.Errorf("field %d of value 0 is read", n)
		}
	}
}
