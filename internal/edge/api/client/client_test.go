package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
)

func TestServerAddress(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"https://carnet.example.com": true, "https://carnet.example.com/": true, "https://carnet.example.com:8443": true,
		"http://127.0.0.1:8480": true, "http://localhost:8480": true, "http://[::1]:8480": true,
		"http://carnet.example.com": false, "http://10.0.0.1": false, "http://127.0.0.1.evil.example": false, "http://localhost.evil.example": false,
		"carnet.example.com": false, "ftp://carnet.example.com": false, "https://": false, "": false,
		"https://carnet.example.com/path": false, "https://carnet.example.com?x=1": false, "https://user@carnet.example.com": false, "https://a#b": false,
	} {
		if _, err := client.New(addr, secret.Text{}, nil); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// TestTokenStaysWithItsServer: neither a redirect nor a failure takes the CLI
// token elsewhere.
func TestTokenStaysWithItsServer(t *testing.T) {
	t.Parallel()
	elsewhere := 0
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer thief.Close()
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	}))
	defer own.Close()
	c, err := client.New(own.URL, secret.New("tell-nobody"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Session(t.Context())
	if fault.Of(err).Code != "server.foreign-answer" || elsewhere != 0 {
		t.Errorf("error %v, %d requests elsewhere", err, elsewhere)
	}
	if strings.Contains(err.Error(), "tell-nobody") {
		t.Error("the error holds the token")
	}
}

func TestAnswersThatAreNotCarnets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status      int
		contentType string
		body        string
		code        string
		kind        fault.Kind
	}{
		"a proxy's page":           {502, "text/html", "<h1>Bad gateway</h1>", "server.foreign-answer", fault.Unavailable},
		"another service":          {200, "text/html", "<h1>Hello</h1>", "server.foreign-answer", fault.Unavailable},
		"broken problem":           {400, "application/problem+json", "{", "server.foreign-answer", fault.Unavailable},
		"a kind of a newer server": {400, "application/problem+json", `{"kind":"puzzled","detail":"d","code":"c"}`, "c", fault.Internal},
		"a problem without text":   {403, "application/problem+json", `{"kind":"denied","code":"c"}`, "c", fault.Denied},
		"an endless answer":        {200, "application/json", strings.Repeat(" ", 5<<20), "server.unreachable", fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer srv.Close()
			cl, err := client.New(srv.URL, secret.Text{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = cl.Session(t.Context())
			if f := fault.Of(err); f.Code != c.code || f.Kind != c.kind || f.Public == "" {
				t.Errorf("fault %+v", f)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(nil)
	srv.Close()
	c, err := client.New(srv.URL, secret.Text{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Roles(t.Context()); fault.Of(err).Code != "server.unreachable" || fault.Of(err).Mend == "" {
		t.Errorf("gone: %v", err)
	}
	tls := httptest.NewTLSServer(nil)
	defer tls.Close()
	if c, err = client.New(tls.URL, secret.Text{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Roles(t.Context()); fault.Of(err).Code != "server.certificate" {
		t.Errorf("unknown authority: %v", err)
	}
}

func TestAuthorizeURL(t *testing.T) {
	t.Parallel()
	c, err := client.New("https://carnet.example.com", secret.Text{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The verifier and challenge of RFC 7636, appendix B.
	u, err := url.Parse(c.AuthorizeURL(client.Authorize{
		Verifier: secret.New("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), State: "s&t", RedirectURI: "http://127.0.0.1:4711/", Machine: "desk",
	}))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Path != "/cli/authorize" || q.Get("code_challenge") != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" ||
		q.Get("code_challenge_method") != "S256" || q.Get("state") != "s&t" || q.Get("redirect_uri") != "http://127.0.0.1:4711/" || q.Get("machine") != "desk" {
		t.Errorf("address %s", u)
	}
}
