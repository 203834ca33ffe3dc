package openid_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/edge/upstream/openid"
	protocol "carnet.dev/carnet/internal/protocol/openid"
)

// world is a source and an OpenID provider on loopback.
type world struct {
	*openid.Source
	op *issuertest.OP

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Now()}
	allow, err := egress.ParseAllow([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	w.op = issuertest.NewOP(t, "https://us/cb", w.clock)
	w.Source = openid.New(openid.Config{Client: egress.New(egress.Config{Allow: allow, Timeout: time.Second}), Now: w.clock})
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// TestProviderIsKept: one request for many sign-ins, and what is known serves on
// while the provider is away, for an hour.
func TestProviderIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if p, err := w.Provider(t.Context(), w.op.URL); err != nil || p.Issuer != w.op.URL {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	all.Wait()
	if n := w.op.Asked(issuertest.Discovery); n != 1 {
		t.Errorf("asked %d times", n)
	}
	w.op.Answer(issuertest.Discovery, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	w.pass(30 * time.Minute)
	if _, err := w.Provider(t.Context(), w.op.URL); err != nil {
		t.Errorf("away for half an hour: %v", err)
	}
	w.pass(31 * time.Minute)
	if _, err := w.Provider(t.Context(), w.op.URL); fault.Of(err).Code != openid.CodeAway || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("away for an hour: %v", err)
	}
}

// TestRefusals says what the token endpoint said, and no secret.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a code went to another place") }))
	t.Cleanup(elsewhere.Close)
	p, err := w.Provider(t.Context(), w.op.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		header string
		kind   fault.Kind
		code   string
	}{
		"a wrong code":       {400, `{"error":"invalid_grant","error_description":"Code not valid"}`, "", fault.Unauthenticated, openid.CodeRefused},
		"a wrong client":     {401, `{"error":"invalid_client"}`, "", fault.Misconfigured, openid.CodeRefused},
		"a page":             {200, `<html>`, "", fault.Misconfigured, protocol.CodeTokens},
		"a broken gateway":   {502, `<html>`, "", fault.Unavailable, openid.CodeRefused},
		"a redirect":         {302, ``, elsewhere.URL, fault.Misconfigured, openid.CodeRefused},
		"a repeating one":    {307, ``, elsewhere.URL, fault.Misconfigured, openid.CodeRefused},
		"a redirect at home": {308, ``, w.op.URL + issuertest.UserInfo, fault.Misconfigured, openid.CodeRefused},
		"an endless answer":  {200, strings.Repeat("a", 2<<20), "", fault.TooLarge, "egress.size"},
	} {
		w.op.Answer(issuertest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) {
			if tt.header != "" {
				rw.Header().Set("Location", tt.header)
			}
			rw.WriteHeader(tt.status)
			_, _ = rw.Write([]byte(tt.body))
		})
		_, err := w.Redeem(t.Context(), p, protocol.CodeRequest{ClientID: "carnet", ClientSecret: secret.New("s3cret"), Code: secret.New("the-code"), Verifier: secret.New("the-verifier"), RedirectURI: "https://us/cb"})
		if f := fault.Of(err); err == nil || f.Kind != tt.kind || f.Code != tt.code || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "the-code") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.op.Answer(issuertest.TokenPath, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if _, err := w.Redeem(t.Context(), p, protocol.CodeRequest{Code: secret.New("the-code")}); fault.Of(err).Code != openid.CodeAway {
		t.Errorf("away: %v", err)
	}
}

// TestPrivateProvider: what is not public has to be allowed.
func TestPrivateProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	strict := openid.New(openid.Config{Client: egress.New(egress.Config{Timeout: time.Second}), Now: w.clock})
	if _, err := strict.Provider(t.Context(), w.op.URL); fault.Of(err).Code != "egress.plain" && fault.Of(err).Code != "egress.address" {
		t.Errorf("an inside address: %v", err)
	}
	p, err := w.Provider(t.Context(), w.op.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strict.Redeem(t.Context(), p, protocol.CodeRequest{}); err == nil {
		t.Error("a code went to an inside address")
	}
	if _, err := strict.UserInfo(t.Context(), p, secret.New("a"), "s"); err == nil {
		t.Error("an access token went to an inside address")
	}
}
