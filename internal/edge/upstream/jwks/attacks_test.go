package jwks_test

import (
	"net/http"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
)

// TestAttackWaitingForAProviderThatIsAway: while one request waits for
// a provider that did not answer before, no other does: each would hold a place
// that others need.
func TestAttackWaitingForAProviderThatIsAway(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	i.Answer(issuertest.Discovery, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	s, clock := source(t)
	if _, err := s.Keys(t.Context(), i.URL, false); fault.Of(err).Code != jwks.CodeAway {
		t.Fatal(err)
	}
	asked, release := make(chan struct{}), make(chan struct{})
	i.Answer(issuertest.Discovery, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		http.Error(w, "no", http.StatusBadGateway)
	})
	clock.pass(jwks.DefaultAgain)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = s.Keys(t.Context(), i.URL, true)
	}()
	<-asked
	for _, unknown := range []bool{true, false} {
		if _, err := s.Keys(t.Context(), i.URL, unknown); fault.Of(err).Code != jwks.CodeAway {
			t.Errorf("unknown %v: %v", unknown, err)
		}
	}
	close(release)
	<-over
}

// TestAttackUnknownKeyIDsDelayEverybody: while strangers make the keys be looked
// for anew, those at hand serve at once.
func TestAttackUnknownKeyIDsDelayEverybody(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	s, clock := source(t)
	first := keys(t, s, i.URL, false)
	asked, release := make(chan struct{}), make(chan struct{})
	i.Answer(issuertest.Discovery, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		http.Error(w, "no", http.StatusBadGateway)
	})
	clock.pass(jwks.DefaultAgain)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = s.Keys(t.Context(), i.URL, true)
	}()
	<-asked
	if keys(t, s, i.URL, false) != first {
		t.Error("other keys")
	}
	close(release)
	<-over
}
