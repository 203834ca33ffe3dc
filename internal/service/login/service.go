package login

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
)

// Speakers knows the identity providers.
type Speakers interface {
	// Speaker gives an enabled one, or says why not.
	Speaker(id identity.IdPID) (*federation.Speaker, error)
	// Empty reports whether there is none at all.
	Empty() (bool, error)
}

// Broker trades assertions and keeps the keys.
type Broker interface {
	Exchange(ctx context.Context, r broker.Request) ([]broker.Outcome, error)
	Keep(ctx context.Context, id identity.LoginSessionID, ends time.Time, outcomes []broker.Outcome) error
	Kept(ctx context.Context, id identity.LoginSessionID) ([]broker.Outcome, error)
	Forget(ctx context.Context, id identity.LoginSessionID) error
	Sweep(ctx context.Context) error
}

// Once guards one-time use across all servers.
type Once interface {
	Consume(ctx context.Context, kind, id string, until time.Time) (won bool, err error)
}

// Sealer seals the relay state.
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
	SAMLURL  string
	Accounts entitlement.Accounts
	IdPs     Speakers
	People   People
	Broker   Broker
	Once     Once
	Sealer   Sealer
	State    Atomic
	Sessions Sessions
	CLI      CLI
	Upkeep   Upkeep
	Feed     Revocations
	Audit    Audit
	Now      func() time.Time
	Logger   *slog.Logger // nil discards
	// Lifetime is a login session's longest life; 0 means 12 h.
	Lifetime time.Duration
}

// Service signs people in. Safe for concurrent use.
type Service struct {
	Config
	memory memory
	// verifying holds a place for each response that is being verified:
	// signature work must not starve everything else.
	verifying chan struct{}
}

// New makes a Service that follows the end of login sessions, at any server,
// until ctx ends.
func New(ctx context.Context, c Config) (*Service, error) {
	if c.Lifetime == 0 {
		c.Lifetime = DefaultSessionLifetime
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c, verifying: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))}
	s.memory.clear()
	return s, c.Upkeep.Watch(ctx, s.memory.clear)
}

// Begin sends a browser to an identity provider. Nothing is stored. returnTo
// is a path on our own host; anything else becomes "/". Errors: NotFound,
// Denied (switched off), Misconfigured.
func (s *Service) Begin(_ context.Context, idp identity.IdPID, returnTo string) (Started, error) {
	sp, err := s.IdPs.Speaker(idp)
	if err != nil {
		return Started{}, err
	}
	place, ok := sp.SAML.SSOLocation(saml.BindingRedirect)
	if !ok {
		return Started{}, fault.New(fault.Misconfigured, "identity provider "+sp.IdP.Name+" names no place for sign-in by redirect").
			WithMend("an administrator has to enter metadata that has one")
	}
	now, preLogin := s.Now(), secret.Random(32)
	digest, id := preLogin.Digest(), make([]byte, 16)
	rand.Read(id)
	request := saml.AuthnRequest{ID: "_" + hex.EncodeToString(id), Issuer: s.SAMLURL, ACS: s.SAMLURL,
		Destination: place, IssueInstant: now}
	relay, err := s.sealRelay(relayState{RequestID: request.ID, IdP: idp, ReturnTo: LocalPath(returnTo),
		PreLogin: digest[:], Began: now.UnixMilli()})
	if err != nil {
		return Started{}, err
	}
	redirect, err := request.RedirectURL(relay, nil)
	if err != nil {
		return Started{}, err
	}
	return Started{RedirectURL: redirect, PreLogin: preLogin}, nil
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
