package server

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/sts"
)

// TestSubjectForgedAtIAM: whoever administers a local account enters metadata of
// SAML providers there. By metadata that bears the name of an identity provider
// of Carnet, and a key of their own, they speak of nobody at Carnet; nor does a
// key that was taken out of the identity provider's metadata. A name that
// another person has is refused at STS as it is at sign-in.
func TestSubjectForgedAtIAM(t *testing.T) {
	t.Parallel()
	db, now := sqltest.Open(t), time.Now()
	fed, err := federation.New(t.Context(), federation.Config{Store: sqlfederation.Store{DB: db}, Now: time.Now})
	must(t, err)
	corp, evil := forge.NewECDSA(t, now), forge.NewECDSA(t, now)
	idp, err := fed.Add(t.Context(), federation.IdP{Name: "Corp", Metadata: corp.Metadata(), Enabled: true, AllowAutoCreate: true,
		Accounts: []string{"111122223333"}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"}, Settings: federation.Settings{UserNameAttribute: "user"}})
	must(t, err)
	s := subjects{&state{federation: fed, directory: sqldirectory.On(db, time.Now)}}
	ask := func(nameID, user string, signedBy *forge.IdP) (string, error) {
		a := &saml.Assertion{Issuer: corp.EntityID, NameID: nameID, Attributes: []saml.Attribute{{Name: "user", Values: []string{user}}}}
		if signedBy != nil {
			a.Certificate = certificate(t, signedBy)
		}
		person, err := s.Subject(t.Context(), sts.Claim{EntityID: a.Issuer, NameID: nameID, SessionName: user, Role: arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "r"}, Assertion: a})
		return string(person), err
	}
	refused := func(what string, err error, why string) {
		t.Helper()
		if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want a refusal with %q", what, err, why)
		}
	}
	alice, err := ask("1", "alice", corp)
	must(t, err)
	mallory, err := ask("2", "mallory", corp)
	must(t, err)
	_, err = ask("1", "alice", evil)
	refused("another's key", err, "key")
	_, err = ask("1", "alice", nil)
	refused("no key", err, "key")
	_, err = ask("2", "Alice", corp)
	refused("a name that another person has", err, "another person")
	_, err = s.Subject(t.Context(), sts.Claim{EntityID: corp.EntityID, NameID: "_t", SessionName: "carol", Role: arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "r"},
		Assertion: &saml.Assertion{Certificate: certificate(t, corp), NameID: "_t", NameIDFormat: transient, Attributes: []saml.Attribute{{Name: "user", Values: []string{"carol"}}}}})
	refused("a transient NameID that would take carol's name", err, "transient")
	if got, err := ask("2", "mallory2", corp); err != nil || got != mallory || got == alice {
		t.Errorf("a new name: %s, %v", got, err)
	}

	idp.Metadata = devidp.Describe(corp.EntityID, forge.SSOURL, evil.Certificate) // the old key was stolen
	idp, err = fed.Update(t.Context(), idp)
	must(t, err)
	_, err = ask("1", "alice", corp)
	refused("a key that was taken out", err, "key")
	_, err = fed.SetEnabled(t.Context(), idp.ID, false)
	must(t, err)
	_, err = ask("1", "alice", evil)
	refused("switched off", err, "switched off")
}

// TestGroupsOfAnotherService: an identity provider sends groups to every service
// that it knows. One of those can't make a role of its users' groups here.
func TestGroupsOfAnotherService(t *testing.T) {
	t.Parallel()
	fed, err := federation.New(t.Context(), federation.Config{Store: sqlfederation.Store{DB: sqltest.Open(t)}, Now: time.Now})
	must(t, err)
	corp := forge.NewECDSA(t, time.Now())
	_, err = fed.Add(t.Context(), federation.IdP{Name: "Corp", Metadata: corp.Metadata(), Enabled: true, Accounts: []string{"111122223333"},
		RolePatterns: []string{"*"}, UserNameDomains: []string{"*"}, Settings: federation.Settings{RoleTemplates: []federation.RoleTemplate{
			{Group: "aws-{role}", Account: "111122223333", Role: "{role}", Provider: "corp"}}}})
	must(t, err)
	c := &config.Config{BaseURL: "https://carnet.example.com", Accounts: []config.Account{{ID: "111122223333", Kind: config.AccountLocal, Partition: "aws", Exchanges: []config.Exchange{config.ExchangeSAML}}}}
	s := subjects{&state{config: c, federation: fed}}
	const another = "https://another.example.com/acs"
	for _, tt := range []struct {
		recipient string
		audiences []string
		want      int
	}{
		{c.SAMLURL(), []string{c.SAMLURL()}, 1}, {another, []string{another}, 0}, {another, []string{c.SAMLURL()}, 0}, {c.SAMLURL(), []string{another}, 0}, {c.SAMLURL(), nil, 0},
	} {
		pairs, err := s.Pairs(t.Context(), corp.EntityID, &saml.Assertion{Recipient: tt.recipient, Audiences: tt.audiences,
			Attributes: []saml.Attribute{{Name: "groups", Values: []string{"aws-analyst"}}}})
		if err != nil || len(pairs) != tt.want {
			t.Errorf("for %s, audiences %v: %v, %v", tt.recipient, tt.audiences, pairs, err)
		}
	}
}

func certificate(t *testing.T, i *forge.IdP) *x509.Certificate {
	t.Helper()
	m, err := saml.ParseMetadata(i.Metadata())
	must(t, err)
	return m.Certificates[0]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
