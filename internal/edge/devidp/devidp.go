// Package devidp is the identity provider of the development mode: SAML 2.0
// with real signatures, a handful of configured accounts and one password.
//
// It shares no code with the service provider that it talks to, so that each
// checks the other. It serves loopback only and only under its own host name,
// asks for the password at every sign-in, and answers only service providers
// that it was told of. It must never run in front of anything but a demo.
package devidp

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"carnet.dev/carnet/internal/core/secret"
)

// User is one demo account.
type User struct {
	Name        string // what is picked on the page, and the NameID
	DisplayName string
	Mail        string
	Roles       []string // values of the Role attribute: role ARN, comma, provider ARN
	Groups      []string
	SessionName string // RoleSessionName; Name when empty
}

// Config is what the caller decides. Everything but SignResponse has to be set.
type Config struct {
	BaseURL          string // such as http://localhost:8482, without path
	EntityID         string
	Key              crypto.Signer // RSA or ECDSA
	Certificate      *x509.Certificate
	Users            []User
	Password         secret.Text // one for all accounts
	Now              func() time.Time
	ServiceProviders []SP
	SignResponse     bool // sign the response as well as the assertion
	// Encrypt encrypts assertions for service providers with a key for that.
	Encrypt bool
	// WantSignedRequests refuses requests without signature. A bad signature is
	// refused in any case, where the service provider's certificates are known.
	WantSignedRequests bool
}

// IdP is a running identity provider. It holds no state of people: every
// sign-in, and every sign-out that begins here, asks for the password.
type IdP struct {
	config  Config
	signer  Signer
	host    string
	limiter *rate.Limiter
	pages   *pages

	mu    sync.Mutex
	known []SP
}

// New checks the configuration.
func New(c Config) (*IdP, error) {
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.Path != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("devidp: base URL %q: want http or https and a host, no path", c.BaseURL)
	}
	if c.EntityID == "" || c.Key == nil || c.Certificate == nil || c.Now == nil || c.Password.IsZero() {
		return nil, errors.New("devidp: entity ID, key, certificate, clock and password have to be set")
	}
	if len(c.Users) == 0 || len(c.ServiceProviders) == 0 {
		return nil, errors.New("devidp: at least one user and one service provider have to be set")
	}
	for _, sp := range c.ServiceProviders {
		if err := sp.check(); err != nil {
			return nil, err
		}
	}
	p, err := loadPages()
	if err != nil {
		return nil, err
	}
	return &IdP{
		config: c,
		signer: Signer{Key: c.Key, Certificate: c.Certificate},
		host:   u.Host,
		// Ten tries at once, then one a second: a password of 60 random bits outlives that.
		limiter: rate.NewLimiter(rate.Every(time.Second), 10),
		pages:   p,
		known:   slices.Clone(c.ServiceProviders),
	}, nil
}

// SSOURL is where requests are sent, by either binding.
func (p *IdP) SSOURL() string { return p.config.BaseURL + "/sso" }

// SLOURL is where logout messages are sent, by either binding.
func (p *IdP) SLOURL() string { return p.config.BaseURL + "/slo" }

// Handler serves the pages. It refuses peers beyond loopback and other hosts.
func (p *IdP) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /metadata", p.metadata)
	mux.HandleFunc("GET /sso", p.redirectRequest)
	mux.HandleFunc("POST /sso", p.postRequest)
	mux.HandleFunc("GET /start", p.start)
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("GET /slo", p.redirectLogout)
	mux.HandleFunc("POST /slo", p.postLogout)
	mux.HandleFunc("POST /sign-out", p.signOut)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !peer.Addr().Unmap().IsLoopback() {
			p.refuse(w, http.StatusForbidden, "This identity provider answers this machine only.")
			return
		}
		if r.Host != p.host {
			p.refuse(w, http.StatusMisdirectedRequest, "This identity provider answers under "+p.config.BaseURL+" only.")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		mux.ServeHTTP(w, r)
	})
}

func (p *IdP) user(name string) (User, bool) {
	for _, u := range p.config.Users {
		if u.Name == name {
			return u, true
		}
	}
	return User{}, false
}

// serviceProviders gives those that are known now.
func (p *IdP) serviceProviders() []SP {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.known)
}

func (p *IdP) serviceProvider(entityID string) (SP, bool) {
	for _, sp := range p.serviceProviders() {
		if sp.EntityID == entityID {
			return sp, true
		}
	}
	return SP{}, false
}

// passwordIs compares in constant time; Equal hides nothing but the length.
func (p *IdP) passwordIs(s string) bool { return p.config.Password.Equal(secret.New(s)) }
