package jwks_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func client(t *testing.T, allow ...string) *egress.Client {
	t.Helper()
	a, err := egress.ParseAllow(allow)
	if err != nil {
		t.Fatal(err)
	}
	return egress.New(egress.Config{Allow: a, Timeout: 2 * time.Second})
}

func source(t *testing.T) (*jwks.Source, *clock) {
	t.Helper()
	c := &clock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	return jwks.New(jwks.Config{Client: client(t), Loopback: client(t, "127.0.0.1", "::1"), Now: c.Now}), c
}

func keys(t *testing.T, s *jwks.Source, issuer string, unknown bool) *oidc.KeySet {
	t.Helper()
	set, err := s.Keys(t.Context(), issuer, unknown)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestKeysAreKeptAndRenewed(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	s, clock := source(t)
	first := keys(t, s, i.URL, false)
	if first.Len() != 2 || keys(t, s, i.URL, false) != first || i.Asked(issuertest.KeySet) != 1 || i.Asked(issuertest.Discovery) != 1 {
		t.Fatalf("%d keys, asked %d times", first.Len(), i.Asked(issuertest.KeySet))
	}
	i.SetKeys(issuertest.NewKey(t, "new", "ES256"))
	clock.pass(jwks.DefaultFresh - time.Second)
	if keys(t, s, i.URL, false) != first {
		t.Error("fetched too early")
	}
	clock.pass(time.Second)
	if keys(t, s, i.URL, false).Len() != 1 {
		t.Error("a key that was withdrawn is still taken")
	}
}

// Keys of an address are that address's: discovery is not asked, and what it would
// give stays apart.
func TestKeysAtAnAddress(t *testing.T) {
	t.Parallel()
	i, other := issuertest.New(t), issuertest.New(t)
	other.SetKeys(issuertest.NewKey(t, "alone", "ES256"))
	s, clock := source(t)
	for range 2 {
		set, err := s.KeysAt(t.Context(), i.URL, other.URL+issuertest.KeySet, false)
		if err != nil || set.Len() != 1 {
			t.Fatal(set, err)
		}
	}
	if n := other.Asked(issuertest.KeySet); n != 1 || i.Asked(issuertest.Discovery) != 0 || i.Asked(issuertest.KeySet) != 0 {
		t.Errorf("the address was asked %d times, discovery %d times", n, i.Asked(issuertest.Discovery))
	}
	if keys(t, s, i.URL, false).Len() != 2 {
		t.Error("keys of the address stand for those of discovery")
	}
	clock.pass(jwks.DefaultAgain)
	if _, err := s.KeysAt(t.Context(), i.URL, other.URL+issuertest.KeySet, true); err != nil || other.Asked(issuertest.KeySet) != 2 {
		t.Errorf("an unknown key id: %v, asked %d times", err, other.Asked(issuertest.KeySet))
	}
}

// An unknown key id is worth one more look, but not one for each request: any
// stranger can make up ids.
func TestUnknownKeyAsksAgainNotTooOften(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	s, clock := source(t)
	keys(t, s, i.URL, false)
	clock.pass(jwks.DefaultAgain)
	i.SetKeys(issuertest.NewKey(t, "new", "ES256"))
	if keys(t, s, i.URL, true).Len() != 1 {
		t.Fatal("a rotation is not seen")
	}
	for range 50 {
		keys(t, s, i.URL, true)
	}
	if n := i.Asked(issuertest.KeySet); n != 2 {
		t.Errorf("asked %d times", n)
	}
	clock.pass(jwks.DefaultAgain)
	keys(t, s, i.URL, true)
	if n := i.Asked(issuertest.KeySet); n != 3 {
		t.Errorf("asked %d times after the pause", n)
	}
}

func TestManyAskersMakeOneRequest(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	release := make(chan struct{})
	i.Answer(issuertest.Discovery, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+issuertest.KeySet)
	})
	s, _ := source(t)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if _, err := s.Keys(context.Background(), i.URL, true); err != nil {
				t.Error(err)
			}
		})
	}
	// Whoever leaves early takes nothing from the others.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Keys(gone, i.URL, false); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	close(release)
	wait.Wait()
	if n := i.Asked(issuertest.Discovery); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// While the provider is away its last keys serve, for a bounded time, and the
// provider is not asked by each request.
func TestOutage(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	s, clock := source(t)
	first := keys(t, s, i.URL, false)
	i.Answer(issuertest.KeySet, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	for clock.pass(jwks.DefaultFresh); clock.Now().Before(time.Date(2026, 3, 1, 8, 59, 50, 0, time.UTC)); clock.pass(time.Minute) {
		for range 10 {
			if keys(t, s, i.URL, false) != first {
				t.Fatal("other keys")
			}
		}
	}
	if n := i.Asked(issuertest.KeySet); n < 2 || n > 60 {
		t.Errorf("asked %d times in an hour", n)
	}
	clock.pass(time.Minute)
	if _, err := s.Keys(t.Context(), i.URL, false); fault.Of(err).Code != jwks.CodeAway {
		t.Errorf("keys older than the bound serve: %v", err)
	}
	clock.pass(jwks.DefaultAgain)
	i.Answer(issuertest.KeySet, nil)
	if keys(t, s, i.URL, false).Len() != 2 {
		t.Error("it is back")
	}
}

func TestWhatProvidersMayNotPublish(t *testing.T) {
	t.Parallel()
	write := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	other := issuertest.New(t)
	for name, tc := range map[string]struct {
		path   string
		answer func(i *issuertest.Issuer) http.HandlerFunc
		code   string
	}{
		"no discovery":        {issuertest.Discovery, func(*issuertest.Issuer) http.HandlerFunc { return http.NotFound }, jwks.CodeAway},
		"discovery is a page": {issuertest.Discovery, func(*issuertest.Issuer) http.HandlerFunc { return write("<html>") }, jwks.CodeDocument},
		"another issuer's":    {issuertest.Discovery, func(*issuertest.Issuer) http.HandlerFunc { return other.ServeHTTP }, jwks.CodeDocument},
		"issuer with a slash": {issuertest.Discovery, func(i *issuertest.Issuer) http.HandlerFunc {
			return write(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, i.URL+"/", i.URL+"/jwks"))
		}, jwks.CodeDocument},
		"name in other letters": {issuertest.Discovery, func(i *issuertest.Issuer) http.HandlerFunc {
			return write(fmt.Sprintf(`{"Issuer":%q,"JWKS_URI":%q}`, i.URL, i.URL+"/jwks"))
		}, jwks.CodeDocument},
		"issuer twice": {issuertest.Discovery, func(i *issuertest.Issuer) http.HandlerFunc {
			return write(fmt.Sprintf(`{"issuer":"x","issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/jwks"))
		}, jwks.CodeDocument},
		"no jwks_uri": {issuertest.Discovery, func(i *issuertest.Issuer) http.HandlerFunc { return write(fmt.Sprintf(`{"issuer":%q}`, i.URL)) }, jwks.CodeDocument},
		"jwks_uri is a file": {issuertest.Discovery, func(i *issuertest.Issuer) http.HandlerFunc {
			return write(fmt.Sprintf(`{"issuer":%q,"jwks_uri":"file:///etc/passwd"}`, i.URL))
		}, jwks.CodeDocument},
		"jwks_uri plain, outside": {issuertest.Discovery, func(i *issuertest.Issuer) http.HandlerFunc {
			return write(fmt.Sprintf(`{"issuer":%q,"jwks_uri":"http://169.254.169.254/latest"}`, i.URL))
		}, jwks.CodeDocument},
		"jwks_uri inside, https": {issuertest.Discovery, func(i *issuertest.Issuer) http.HandlerFunc {
			return write(fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://10.0.0.1/jwks"}`, i.URL))
		}, jwks.CodeDocument},
		"jwks_uri with a name": {issuertest.Discovery, func(i *issuertest.Issuer) http.HandlerFunc {
			return write(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, i.URL, strings.Replace(i.URL, "//", "//a:b@", 1)))
		}, jwks.CodeDocument},
		"redirect elsewhere": {issuertest.KeySet, func(*issuertest.Issuer) http.HandlerFunc {
			return http.RedirectHandler(other.URL+"/jwks", http.StatusFound).ServeHTTP
		}, jwks.CodeDocument},
		"keys are a page": {issuertest.KeySet, func(*issuertest.Issuer) http.HandlerFunc { return write("<html>") }, jwks.CodeDocument},
		"keys over 1 MiB": {issuertest.KeySet, func(*issuertest.Issuer) http.HandlerFunc {
			return write(`{"keys":[],"x":"` + strings.Repeat("a", 1<<20) + `"}`)
		}, jwks.CodeDocument},
		"keys never come": {issuertest.KeySet, func(*issuertest.Issuer) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, jwks.CodeAway},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := issuertest.New(t)
			i.Answer(tc.path, tc.answer(i))
			s, _ := source(t)
			for range 2 { // fetched, then remembered
				if set, err := s.Keys(t.Context(), i.URL, false); fault.Of(err) == nil || fault.Of(err).Code != tc.code || set != nil {
					t.Errorf("got %v", err)
				}
			}
			if n := i.Asked(issuertest.Discovery); n != 1 {
				t.Errorf("a refusal was asked for %d times", n)
			}
		})
	}
}

// Loopback is taken where the setting allows it alone, and such an issuer opens
// no way to other inside addresses.
func TestLoopbackNeedsItsSetting(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	strict := jwks.New(jwks.Config{Client: client(t), Now: time.Now})
	for _, issuer := range []string{i.URL, "https://localhost:1/x", "https://[::1]:1", "http://a.localhost", "https://127.1.2.3"} {
		if _, err := strict.Keys(t.Context(), issuer, false); fault.Of(err).Code != jwks.CodeDocument {
			t.Errorf("%s: %v", issuer, err)
		}
	}
	if n := i.Asked(issuertest.Discovery); n != 0 {
		t.Error("it was asked")
	}
	s, _ := source(t)
	if _, err := s.Keys(t.Context(), "https://10.0.0.1", false); fault.Of(err).Code != jwks.CodeDocument {
		t.Errorf("a private address: %v", err)
	}
}

func TestTwoIssuersKeepTheirOwnKeys(t *testing.T) {
	t.Parallel()
	a, b := issuertest.New(t), issuertest.New(t) // with the same key ids
	s, _ := source(t)
	now := time.Now()
	token, err := oidc.Parse(a.Token(t, now, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := oidc.Expect{Issuer: a.URL, Audiences: []string{"sts.amazonaws.com"}}
	if _, err := token.Verify(keys(t, s, a.URL, false), want, now); err != nil {
		t.Error(err)
	}
	if _, err := token.Verify(keys(t, s, b.URL, false), want, now); fault.Of(err).Code != oidc.CheckSignature {
		t.Errorf("another issuer's key of the same id: %v", err)
	}
}
