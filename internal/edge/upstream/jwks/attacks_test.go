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

// TestAttackKeySetAddressInside: an address of a key set leads nowhere that
// egress.allow does not list: not to this machine, not to the network's own
// services, whatever the issuer is called.
func TestAttackKeySetAddressInside(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	s, _ := source(t)
	for _, at := range []string{
		i.URL + issuertest.KeySet, "http://127.0.0.1:1/keys", "https://127.0.0.1/keys", "https://[::1]/keys", "https://169.254.169.254/latest/meta-data/",
		"https://[::ffff:169.254.169.254]/", "https://10.0.0.1/keys", "https://192.168.1.1/keys", "https://[fd00::1]/keys", "https://0.0.0.0/keys",
		"http://issuer.example/keys", "file:///etc/passwd", "https://user@issuer.example/keys", "gopher://issuer.example/", "", "https:///keys",
	} {
		set, err := s.KeysAt(t.Context(), "https://issuer.example", at, false)
		if set != nil || fault.Of(err).Kind != fault.Misconfigured && fault.Of(err).Kind != fault.Unavailable {
			t.Errorf("%q: %v, %v", at, set, err)
		}
	}
	if i.Asked(issuertest.KeySet)+i.Asked(issuertest.Discovery) != 0 {
		t.Error("a loopback address was asked for an issuer elsewhere")
	}
}
