package login_test

import (
	"context"
	"sync/atomic"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/login"
)

// absent is a database that is away at times.
type absent struct {
	login.Sessions
	away atomic.Bool
}

func (a *absent) Find(ctx context.Context, by login.By, digest [32]byte) (login.Record, error) {
	if a.away.Load() {
		return login.Record{}, fault.Coded(fault.Unavailable, "state.unavailable", "the database doesn't answer")
	}
	return a.Sessions.Find(ctx, by, digest)
}

// TestSessionsOutliveTheDatabase: somebody signs out, and then the database is away.
// Who is signed in stays so, from memory; who signed out, or was taken back, does not.
func TestSessionsOutliveTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &absent{Sessions: w.config.Sessions}
	w.config.Sessions = store
	s, err := login.New(t.Context(), w.config)
	must(t, err)
	stays, leaves, revoked := w.signIn(), w.signIn(), w.signIn()
	for _, in := range []login.SignedIn{stays, leaves, revoked} {
		_, err := s.Resume(t.Context(), in.Cookie)
		must(t, err)
	}
	must(t, s.SignOut(t.Context(), leaves.Session.ID)) // from here on all is in doubt
	must(t, w.feed.RevokeLoginSession(t.Context(), revoked.Session.ID))
	must(t, w.feed.Confirm(t.Context()))
	store.away.Store(true)
	if got, err := s.Resume(t.Context(), stays.Cookie); err != nil || got.ID != stays.Session.ID {
		t.Errorf("who is signed in is told %v", err)
	}
	if _, err := s.Resume(t.Context(), leaves.Cookie); err == nil {
		t.Error("who signed out is signed in")
	}
	_, err = s.Resume(t.Context(), revoked.Cookie)
	wantCode(t, err, "login.required")
	_, err = s.Resume(t.Context(), w.signIn().Cookie) // which this server never saw
	wantCode(t, err, "state.unavailable")

	store.away.Store(false)
	_, err = s.Resume(t.Context(), leaves.Cookie)
	wantCode(t, err, "login.required")
	_, err = s.Resume(t.Context(), stays.Cookie)
	must(t, err)
}

// TestAttackCommandLineThatSignedOut: a command line's token that was given up is in no
// feed, so while the database is away a server that heard that something ended takes none.
func TestAttackCommandLineThatSignedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &absent{Sessions: w.config.Sessions}
	w.config.Sessions = store
	s, err := login.New(t.Context(), w.config)
	must(t, err)
	in := w.signIn()
	token := func() secret.Text {
		verifier, challenge := pkce()
		code, err := w.StartCode(t.Context(), in.Session, challenge, loopback)
		must(t, err)
		redeemed, err := w.RedeemCode(t.Context(), code, verifier)
		must(t, err)
		return redeemed.Token
	}
	stolen, kept := token(), token()
	for range 2 {
		_, err = s.ResumeCLI(t.Context(), stolen)
		must(t, err)
		_, err = s.ResumeCLI(t.Context(), kept)
		must(t, err)
	}
	must(t, s.SignOutCLI(t.Context(), stolen))
	store.away.Store(true)
	_, err = s.ResumeCLI(t.Context(), stolen)
	wantCode(t, err, "state.unavailable")
	_, err = s.ResumeCLI(t.Context(), kept)
	wantCode(t, err, "state.unavailable")
}
