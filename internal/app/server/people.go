package server

import (
	"context"
	"crypto/x509"
	"os"
	"slices"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/sts"
)

// newLogin wires the first walk: sign-in, entitlement, broker, STS.
func newLogin(ctx context.Context, s *state, b *broker.Broker) (*login.Service, error) {
	providers, keys, err := s.openIDProviders()
	if err != nil {
		return nil, err
	}
	store := sqllogin.Store{DB: s.db}
	return login.New(ctx, login.Config{
		SAMLURL: s.config.SAMLURL(),
		OIDCURL: oidcURL(s.config), SignedOutURL: signedOutURL(s.config),
		OpenID: providers, KeySets: keys,
		Accounts:   entitledAccounts(s.config),
		IdPs:       s.federation,
		People:     people{s.directory},
		Mapped:     mapped{s},
		Broker:     b,
		Renewer:    b,
		Once:       s.once,
		Sealer:     s.ring,
		Keys:       s.spkeys,
		State:      s.db,
		Sessions:   store,
		Parked:     store,
		Named:      store,
		CLI:        store,
		Upkeep:     store,
		Feed:       s.feed,
		Withdrawal: s.withdrawal,
		Audit:      s.trail,
		Refusals:   s.refusals,
		Now:        s.now,
		Logger:     s.log,
		Lifetime:   s.config.LoginSession.Lifetime,
	})
}

// stsAccounts says where assertions go: those for a local account to the
// internal listener and never to AWS, so without a listener there is nowhere.
func stsAccounts(c *config.Config, in *inner) ([]stsclient.Account, error) {
	if in == nil {
		return nil, nil
	}
	var all []stsclient.Account
	for _, a := range c.Accounts {
		s := stsclient.Account{ID: a.ID, Region: a.Region, Endpoint: a.STS.Endpoint}
		if a.Kind == config.AccountLocal {
			s.Endpoint, s.HTTP, s.Internal = "http://sts.inner", in.client(), true
		}
		if a.STS.CA != "" {
			var err error
			if s.RootCAs, err = believed(a.STS.CA); err != nil {
				return nil, err
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// believed gives the system's authorities and those of a PEM file.
func believed(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "cannot read the ca file")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Misconfigured, file+" holds no PEM certificate")
	}
	return pool, nil
}

func entitledAccounts(c *config.Config) entitlement.Accounts {
	out := entitlement.Accounts{}
	for _, a := range c.Accounts {
		e := entitlement.Account{
			ID: a.ID, Name: a.Name, Partition: a.Partition, Deliver: string(a.Deliver), Decrypts: a.SAMLDecryption,
			SAML: a.Accepts(config.ExchangeSAML), WebIdentity: a.Accepts(config.ExchangeWebIdentity),
			WebIdentityFirst: a.Prefers(config.ExchangeWebIdentity, config.ExchangeSAML),
			AssumeRole:       a.Accepts(config.ExchangeAssumeRole), AssumeRoleFirst: a.Prefers(config.ExchangeAssumeRole, config.ExchangeWebIdentity),
			Bridge: a.Bridge.Renew == config.Accepted, Cap: a.Bridge.Cap, AuthnContexts: a.Bridge.AuthnContexts,
			Tags: a.Tags == config.On, SourceIdentity: a.SourceIdentity == config.On,
		}
		if a.Kind == config.AccountLocal {
			e.Deliver, e.Local = "gateway", true // the keys of a local account work nowhere else
		}
		if !e.Local && slices.ContainsFunc(c.Buckets, func(b config.Bucket) bool { return b.Account == a.ID && b.Deliver == config.DeliverDirect }) {
			e.Deliver = string(config.DeliverDirect) // some of its keys leave the server
		}
		out[a.ID] = e
	}
	return out
}

// people is the directory as login asks it.
type people struct{ directory *directory.Directory }

// Ensure finds or makes the person that an identity provider has just proven.
func (p people) Ensure(ctx context.Context, who login.Subject, create bool) (identity.PersonID, error) {
	person, _, err := p.directory.Arrive(ctx, directory.Arrival{
		IdP: who.IdP, Subject: who.NameID, UserName: who.UserName,
		DisplayName: who.DisplayName, Mail: who.Mail, MayCreate: create,
	})
	return person.ID, err
}

// subjects are directory and federation as STS asks them.
type subjects struct{ *state }

// Subject gives the person behind a claim, within what the identity provider
// may say; empty where people do not sign in at Carnet by it.
func (s subjects) Subject(ctx context.Context, c sts.Claim) (identity.PersonID, error) {
	idp, known, err := s.federation.ByEntityID(c.EntityID)
	if err != nil || !known {
		return "", err
	}
	list, err := s.federation.Speaker(idp.ID)
	if err != nil {
		return "", refused(err)
	}
	// IAM holds metadata of its own, which whoever administers the account
	// enters: by a key that is not the identity provider's it speaks of nobody.
	if c.Assertion.Certificate == nil || !slices.ContainsFunc(list.SAML.Certificates, c.Assertion.Certificate.Equal) {
		return "", fault.New(fault.Denied, "the assertion is signed with a key that is not one of identity provider "+idp.Name)
	}
	if c.Assertion.NameIDFormat == transient { // refused at sign-in too
		return "", fault.New(fault.Denied, "a transient NameID names nobody twice")
	}
	userName, err := list.UserName(c.Assertion)
	if err != nil {
		return "", fault.Wrap(err, fault.Denied, "the assertion holds no user name")
	}
	switch user, role := list.MayAssertUser(userName), list.MayAssertRole(c.Role); {
	case user != "":
		return "", fault.New(fault.Denied, string(user))
	case role != "":
		return "", fault.New(fault.Denied, string(role))
	case !idp.MapSessionName && !entitlement.OwnName(c.SessionName, userName):
		return "", fault.New(fault.Denied, "the RoleSessionName is not the person's own")
	}
	person, err := s.directory.Subject(ctx, idp.ID, c.NameID, userName, idp.AllowAutoCreate)
	return person.ID, refused(err)
}

// transient is the format of a NameID that is another one at each sign-in.
const transient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

// refused makes a refusal of what stands against a person or an identity
// provider; what is away stays away.
func refused(err error) error {
	switch fault.KindOf(err) {
	case fault.Conflict, fault.Misconfigured, fault.NotFound:
		return fault.Wrap(err, fault.Denied, fault.Of(err).Public)
	}
	return err
}

// Pairs gives what role templates derive from an assertion for local accounts.
// Groups go to every service of an identity provider: of an assertion that was
// made for another one nothing is derived, or that one could act as its users.
func (s subjects) Pairs(_ context.Context, entityID string, a *saml.Assertion) ([]saml.RolePair, error) {
	ours := s.config.SAMLURL()
	if a.Recipient != ours || !slices.Contains(a.Audiences, ours) {
		return nil, nil
	}
	idp, known, err := s.federation.ByEntityID(entityID)
	if err != nil || !known || !idp.Enabled {
		return nil, err
	}
	return entitlement.DerivedPairs(a, &federation.Speaker{IdP: idp}, entitledAccounts(s.config)), nil
}
