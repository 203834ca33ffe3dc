package sts_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/sts"
)

// known is a directory of one person.
type known struct {
	person identity.PersonID
	err    error
	asked  string
	pairs  []saml.RolePair
}

func (k *known) Subject(_ context.Context, c sts.Claim) (identity.PersonID, error) {
	k.asked = strings.Join([]string{c.EntityID, c.NameID, c.SessionName, c.Role.String()}, " ")
	return k.person, k.err
}

func (k *known) Pairs(context.Context, string, *saml.Assertion) ([]saml.RolePair, error) {
	return k.pairs, nil
}

// Keys that somebody fetched at the public port, past Carnet's pages, must end
// with the person like all others.
func TestKeysTradedDirectlyBelongToThePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	people := &known{person: "psn_alice"}
	serve := func() *sts.Service {
		return sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: w, Subjects: people, Trail: w, Now: func() time.Time { return w.now }})
	}
	a, err := serve().AssumeRoleWithSAML(t.Context(), request(t, w, nil))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := sessiontoken.Open(ring{}, a.Credentials.AccessKeyID, a.Credentials.SessionToken, w.now)
	if err != nil || claims.Person != "psn_alice" || people.asked != strings.Join([]string{forge.EntityID, forge.Subject, forge.Subject, forge.Role}, " ") {
		t.Errorf("claims of %q after asking for %q: %v", claims.Person, people.asked, err)
	}

	another := request(t, w, nil)
	another.Caller.Person = "psn_bob"
	if _, err := serve().AssumeRoleWithSAML(t.Context(), another); fault.KindOf(err) != fault.Denied {
		t.Errorf("an assertion about somebody else than the login session's person: %v", err)
	}
	for _, refusal := range []*fault.Fault{
		fault.Coded(fault.Denied, "directory.inactive", `"alice" was switched off`), fault.New(fault.Unavailable, "away"),
	} {
		people.err = refusal
		_, err := serve().AssumeRoleWithSAML(t.Context(), request(t, w, nil))
		if fault.KindOf(err) != refusal.Kind {
			t.Errorf("%s: got %v", refusal.Public, err)
		}
		if refusal.Kind == fault.Denied && fault.Of(err).Public != "Not authorized to perform sts:AssumeRoleWithSAML" {
			t.Errorf("a denial tells strangers %q", fault.Of(err).Public)
		}
	}
}

// An identity provider that can't name roles gets those that Carnet derives
// from its groups; the trust policy is asked all the same.
func TestDerivedPairsAreTaken(t *testing.T) {
	t.Parallel()
	for name, trusting := range map[string]bool{forge.Role: true, "arn:aws:iam::111122223333:role/other": false} {
		w := newWorld(t)
		role, err := arn.ParseRole(name)
		if err != nil {
			t.Fatal(err)
		}
		provider, err := arn.ParseSAMLProvider(forge.Provider)
		if err != nil {
			t.Fatal(err)
		}
		people := &known{person: "psn_alice", pairs: []saml.RolePair{{Role: role, Provider: provider}}}
		s := sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: w, Subjects: people, Trail: w, Now: func() time.Time { return w.now }})
		r := request(t, w, replace(saml.AttrRole))
		r.RoleARN = name
		if _, err := s.AssumeRoleWithSAML(t.Context(), r); (err == nil) != trusting {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClaimedIssuerChoosesNothing: only the assertion is signed, so the issuer
// that the response around it names is anybody's. What is expected rests on the
// provider that was asked for.
func TestClaimedIssuerChoosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := ""
	s := sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: w, Now: func() time.Time { return w.now }, Expect: func(entityID string, base saml.STSExpect) saml.STSExpect {
		asked = entityID
		return base
	}})
	r := request(t, w, nil)
	for _, response := range []string{r.Assertion.Reveal(), forge.Encode([]byte(`<Response xmlns="urn:oasis:names:tc:SAML:2.0:protocol"><Issuer xmlns="urn:oasis:names:tc:SAML:2.0:assertion">https://looser.example</Issuer></Response>`))} {
		asked, r.Assertion = "", secret.New(response)
		_, _ = s.AssumeRoleWithSAML(t.Context(), r)
		if asked != forge.EntityID {
			t.Errorf("expected is what was set for %q", asked)
		}
	}
}
