package login

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
)

// Speakers knows the identity providers.
type Speakers interface {
	// Speaker gives an enabled one, or says why not.
	Speaker(id identity.IdPID) (*federation.Speaker, error)
	// Trial gives one for a test sign-in: one that is switched off too.
	Trial(id identity.IdPID) (*federation.Speaker, error)
	// ByEntityID gives the one that calls itself so, switched off ones too.
	ByEntityID(entityID string) (federation.IdP, bool, error)
	// ByIssuer gives the enabled OpenID providers with this issuer.
	ByIssuer(issuer string) ([]*federation.Speaker, error)
	// Empty reports whether there is none at all.
	Empty() (bool, error)
}

// Broker trades assertions and keeps the keys.
type Broker interface {
	Exchange(ctx context.Context, r broker.Request) ([]broker.Outcome, error)
	Keep(ctx context.Context, r broker.Request, outcomes []broker.Outcome) error
	Kept(ctx context.Context, id identity.LoginSessionID) ([]broker.Outcome, error)
	Forget(ctx context.Context, id identity.LoginSessionID) error
	Sweep(ctx context.Context) error
}

// Renewer gives the keys of a role as they are now.
type Renewer interface {
	// Fresh gives kept keys, renewed ones, or the first of a role that is traded
	// at its first use.
	Fresh(ctx context.Context, id identity.LoginSessionID, o broker.Outcome) (broker.Outcome, error)
	// Status tells of them, from memory.
	Status(id identity.LoginSessionID, o broker.Outcome) broker.Status
}

// Once guards one-time use across all servers.
type Once interface {
	Consume(ctx context.Context, kind, id string, until time.Time) (won bool, err error)
}

// Keys are our own SAML keys.
type Keys interface {
	// Signer signs what we send; nil while there is no key.
	Signer() *saml.Signer
	// Decrypter opens assertions that were encrypted for us.
	Decrypter(allowCBC bool) *saml.Decrypter
}

// Sealer seals the state of what we send, and reports.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Config is what a Service stands on.
type Config struct {
	// SAMLURL is our ACS URL, entity id and audience at once.
	SAMLURL string
	// OIDCURL is our redirect URI at OpenID providers, SignedOutURL where they
	// send a browser back to after a logout.
	OIDCURL      string
	SignedOutURL string
	// OpenID and KeySets ask OpenID providers.
	OpenID   OpenID
	KeySets  KeySets
	Accounts entitlement.Accounts
	IdPs     Speakers
	People   People
	// Mapped are roles beside those of sign-ins; nil: there are none.
	Mapped   Mapped
	Broker   Broker
	Renewer  Renewer
	Once     Once
	Sealer   Sealer
	State    Atomic
	Sessions Sessions
	Parked   Parked
	Named    Named
	CLI      CLI
	Upkeep   Upkeep
	// Keys sign and decrypt.
	Keys Keys
	// Opens reports whether STS can read an encrypted assertion for this role:
	// whether the account's SAML provider holds our key. nil: none does.
	Opens func(c entitlement.Candidate) bool
	Feed  Revocations
	// Withdrawal is told of roles that were lost; nil: nobody is.
	Withdrawal Withdrawal
	Audit      Audit
	// Refusals records refused sign-ins; nil: nobody does.
	Refusals Refusals
	Now      func() time.Time
	Logger   *slog.Logger // nil discards
	// Lifetime is a login session's longest life; 0 means 12 h.
	Lifetime time.Duration
}

// Service signs people in. Safe for concurrent use.
type Service struct {
	Config
	memory memory
	lost   lost
	// verifying holds a place for each response that is being verified:
	// signature work must not starve everything else.
	verifying chan struct{}
}

// New makes a Service that follows the end of login sessions, at any server,
// until ctx ends.
func New(ctx context.Context, c Config) (*Service, error) {
	if c.Mapped == nil {
		c.Mapped = unmapped{}
	}
	if c.Lifetime == 0 {
		c.Lifetime = DefaultSessionLifetime
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c, verifying: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))}
	s.memory.clear()
	return s, c.Upkeep.Watch(ctx, s.memory.doubt)
}

// Begin sends a browser to an identity provider. Nothing is stored. returnTo
// is a path on our own host; anything else becomes "/". Errors: NotFound,
// Denied (switched off), Misconfigured; Unavailable where an OpenID provider
// can't be asked where its sign-in is.
func (s *Service) Begin(ctx context.Context, idp identity.IdPID, returnTo string, o Options) (Started, error) {
	find, purpose := s.IdPs.Speaker, toSignIn
	switch {
	case o.Test:
		find, purpose = s.IdPs.Trial, toTest
	case o.Anew:
		purpose = toSignInAnew
	}
	sp, err := find(idp)
	if err != nil {
		return Started{}, err
	}
	started, now := Started{PreLogin: newPreLogin(returnTo)}, s.Now()
	begun := request{Purpose: purpose, IdP: idp, Began: now, Browser: bound(started.PreLogin)}
	if sp.IdP.Protocol == federation.OIDC {
		return started, s.beginOIDC(ctx, &started, begun, sp)
	}
	id, err := s.seal(begun)
	if err != nil {
		return Started{}, err
	}
	ask := saml.AuthnRequest{ID: id, Issuer: s.SAMLURL, ACS: s.SAMLURL, IssueInstant: now,
		ForceAuthn: sp.IdP.ForceAuthn || o.Anew, AuthnContext: sp.IdP.AuthnContexts}
	return started, s.address(&started, ask, sp)
}

// address puts the request into the form in which it goes to the identity
// provider: by the binding that is set for it.
func (s *Service) address(started *Started, ask saml.AuthnRequest, sp *federation.Speaker) (err error) {
	binding, by := saml.BindingRedirect, "by redirect"
	if sp.IdP.RequestBinding == federation.BindingPost {
		binding, by = saml.BindingPOST, "by POST"
	}
	place, ok := sp.SAML.SSOLocation(binding)
	if !ok {
		return fault.New(fault.Misconfigured, "identity provider "+sp.IdP.Name+" names no place for sign-in "+by).
			WithMend("an administrator has to enter metadata that has one, or choose the other binding")
	}
	var signer *saml.Signer
	if sp.IdP.SignRequests {
		if signer = s.Keys.Signer(); signer == nil {
			return fault.New(fault.Misconfigured, "there is no key to sign requests with").WithMend("an administrator makes one: carnet sso keys add")
		}
	}
	ask.Destination = place
	if binding == saml.BindingRedirect {
		started.RedirectURL, err = ask.RedirectURL("", signer)
		return err
	}
	field, err := ask.PostForm(signer)
	started.Form = &PostForm{Action: place, Fields: []Field{{"SAMLRequest", field}}}
	return err
}

// Run cleans up until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Warn("ended login sessions can't be swept", "error", err)
		}
	}
}

// Sweep deletes what has ended by itself. A sign-in whose browser never came
// goes with its keys, which nobody has had.
func (s *Service) Sweep(ctx context.Context) error {
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		abandoned, err := s.Upkeep.Sweep(ctx, s.Now())
		if err != nil {
			return err
		}
		for _, id := range abandoned {
			if err := s.Broker.Forget(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, s.Broker.Sweep(ctx))
}
