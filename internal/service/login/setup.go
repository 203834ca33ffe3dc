package login

import (
	"context"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// setupSession is how long the login session of a set-up link lasts.
const setupSession = 4 * time.Hour

// NeedsSetup reports whether there is no identity provider yet: until there
// is one, only set-up answers.
func (s *Service) NeedsSetup(context.Context) (bool, error) { return s.IdPs.Empty() }

// recovery begins the code of a recovery link. The digest covers it: nobody
// makes a recovery link of a set-up link.
const recovery = "recover."

// NewSetupLink makes the one-use code of a set-up link, good for an hour and
// only until an identity provider is entered. Its digest alone is stored, and
// older links of both kinds stop working. Whoever calls this must have proven
// to be on the host.
func (s *Service) NewSetupLink(ctx context.Context) (secret.Text, error) {
	return s.newLink(ctx, secret.Random(32))
}

// NewRecoveryLink makes a set-up link that works beside identity providers too:
// one of them may be down, or was set up wrong.
func (s *Service) NewRecoveryLink(ctx context.Context) (secret.Text, error) {
	return s.newLink(ctx, secret.New(recovery+secret.Random(32).Reveal()))
}

func (s *Service) newLink(ctx context.Context, code secret.Text) (secret.Text, error) {
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.Upkeep.PutSetup(ctx, code.Digest(), s.Now().Add(SetupLifetime)); err != nil {
			return err
		}
		return s.Audit.Record(ctx, Event{Action: "setup-link"})
	})
	return code, err
}

// stillNeeded refuses a set-up link once somebody can sign in without it.
func (s *Service) stillNeeded(ctx context.Context, code secret.Text) error {
	if strings.HasPrefix(code.Reveal(), recovery) {
		return nil
	}
	if needed, err := s.NeedsSetup(ctx); err != nil || needed {
		return err
	}
	return staleSetup()
}

func staleSetup() error {
	return fault.Coded(fault.Unauthenticated, "setup.code",
		"this set-up link was used before, was replaced, is older than an hour, or an identity provider was entered since it was made").
		WithMend("sign in, or run carnet admin recover on the host to get a new one")
}

// RedeemSetup opens the one administrator login session of a set-up link, or of
// a recovery link.
// Errors: Unauthenticated "setup.code".
func (s *Service) RedeemSetup(ctx context.Context, code secret.Text) (SignedIn, error) {
	if err := s.stillNeeded(ctx, code); err != nil {
		return SignedIn{}, err
	}
	now, cookie, since := s.Now(), secret.Random(32), s.memory.generation()
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return SignedIn{}, err
	}
	record := Record{ID: identity.NewLoginSessionID(), Person: Person{UserName: "set-up link", DisplayName: "Administrator by set-up link"},
		Administrator: true, Started: now, Expires: now.Add(min(setupSession, s.Lifetime)).UTC().Truncate(time.Second), Epoch: epoch}
	late := false
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		expires, err := s.Upkeep.ClaimSetup(ctx, code.Digest())
		if err != nil {
			return err
		}
		if late = !now.Before(expires); late {
			return nil
		}
		if err := s.Sessions.Open(ctx, record, cookie.Digest()); err != nil {
			return err
		}
		return s.Audit.Record(ctx, act("setup-sign-in", record))
	})
	if late || isNotFound(err) {
		return SignedIn{}, staleSetup()
	}
	if err != nil {
		return SignedIn{}, err
	}
	session, err := s.load(ctx, ByCookie, cookie.Digest(), record, since)
	return SignedIn{Cookie: cookie, Session: session, ReturnTo: "/"}, err
}
