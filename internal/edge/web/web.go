// Package web serves the pages: sign-in, My access, set-up, single sign-on and
// the approval of a command line.
//
// Pages are plain HTML from templates that escape by context; forms work
// without script, and one small script adds copy buttons. A page asks the
// services and shows what they say; it decides nothing. It must never show a
// secret key or session token, keep a SAML response, or redirect to an address
// that it has not checked.
package web

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// Login takes a person through sign-in.
type Login interface {
	Begin(ctx context.Context, idp identity.IdPID, returnTo string) (login.Started, error)
	Consume(ctx context.Context, samlResponse, relayState string, source netip.Addr) (login.Consumed, error)
	Complete(ctx context.Context, handle, preLogin secret.Text) (login.SignedIn, error)
	RedeemSetup(ctx context.Context, code secret.Text) (login.SignedIn, error)
}

// LoginSessions acts on a login session that is open.
type LoginSessions interface {
	SignOut(ctx context.Context, id identity.LoginSessionID) error
	StartCode(ctx context.Context, s login.LoginSession, challenge, redirectURI string) (secret.Text, error)
}

// Providers knows the identity providers.
type Providers interface {
	List() []federation.IdP
	Add(ctx context.Context, idp federation.IdP) (federation.IdP, error)
}

// Account is one configured account, as pages show it.
type Account struct {
	ID   string // 12 digits
	Name string
	// S3 is the endpoint where the account's keys are used; empty: AWS's own.
	S3     string
	Region string
}

// Config is what the pages are made of.
type Config struct {
	Login         Login
	LoginSessions LoginSessions
	Providers     Providers
	BaseURL       *url.URL
	// SAMLURL is ACS URL, entity ID, audience and recipient at once.
	SAMLURL string
	// SAMLMetadata is this service provider's metadata document.
	SAMLMetadata []byte
	Accounts     []Account
	// Ready reports why this server should get no requests now; nil: it should.
	Ready func(ctx context.Context) error
	Now   func() time.Time
}

// Web serves the pages.
type Web struct {
	Config
	cookies httpd.Cookies
	pages   *pages
}

// New reads the templates. An error is a fault of the build.
func New(c Config) (*Web, error) {
	p, err := newPages()
	if err != nil {
		return nil, err
	}
	return &Web{Config: c, cookies: httpd.NewCookies(c.BaseURL), pages: p}, nil
}

// Body limits, in bytes: an ordinary form; a SAML response of 512 KiB in
// base64 and form encoding; metadata.
const (
	maxForm     = 16 << 10
	maxResponse = 1 << 20
	maxMetadata = 1 << 20
)

// Routes gives the pages' rows of the table.
func (web *Web) Routes() []httpd.Route {
	get := func(pattern string, access httpd.Access, h httpd.Handler) httpd.Route {
		return httpd.Route{Method: http.MethodGet, Pattern: pattern, Access: access, Rate: httpd.RatePage, Errors: web.ErrorPage, Handler: h}
	}
	post := func(pattern string, access httpd.Access, h httpd.Handler) httpd.Route {
		return httpd.Route{Method: http.MethodPost, Pattern: pattern, Access: access, Rate: httpd.RatePage, MaxBody: maxForm, Errors: web.ErrorPage, Handler: h}
	}
	with := func(r httpd.Route, change func(*httpd.Route)) httpd.Route { change(&r); return r }
	signIn := func(r *httpd.Route) { r.Rate = httpd.RateSignIn }
	code := func(r *httpd.Route) { r.Rate = httpd.RateSecret }
	mayBeStranger := func(r *httpd.Route) { r.Errors = web.signInOr }
	static := func(r *httpd.Route) { r.Rate = httpd.RateStatic }
	probe := func(r *httpd.Route) { r.AnyHost, r.Rate = true, httpd.RateStatic }
	return []httpd.Route{
		with(get("/{$}", httpd.Person, web.access), mayBeStranger),
		with(get("/sign-in", httpd.Public, web.signIn), signIn),
		with(get("/sign-in/complete", httpd.Public, web.complete), signIn),
		with(post("/saml/consume", httpd.Public, web.consume), func(r *httpd.Route) {
			r.Rate, r.MaxBody, r.CrossSite, r.InFlight = httpd.RateSignIn, maxResponse, true, 64
		}),
		get("/saml/metadata", httpd.Open, web.metadata),
		post("/sign-out", httpd.Person, web.signOut),
		get("/signed-out", httpd.Public, web.signedOut),
		get("/setup", httpd.Setup, web.setup),
		with(post("/setup", httpd.Setup, web.redeemSetup), code),
		with(get("/admin/sso", httpd.Administrator, web.sso), mayBeStranger),
		with(post("/admin/sso", httpd.Administrator, web.addProvider), func(r *httpd.Route) { r.MaxBody = maxMetadata }),
		with(get("/cli/authorize", httpd.Person, web.authorize), mayBeStranger),
		post("/cli/authorize", httpd.Person, web.approve),
		with(get("/static/{file}", httpd.Open, web.static), static),
		with(get("/healthz", httpd.Open, web.healthy), probe),
		with(get("/readyz", httpd.Open, web.readiness), probe),
	}
}

// healthy says that the process serves.
func (web *Web) healthy(w http.ResponseWriter, _ *http.Request) error { return plain(w, "ok\n") }

// readiness says whether this server should get requests.
func (web *Web) readiness(w http.ResponseWriter, r *http.Request) error {
	if err := web.Ready(r.Context()); err != nil {
		return fault.Wrap(err, fault.Unavailable, "This server is not ready").WithCode("server.not-ready")
	}
	return plain(w, "ready\n")
}

func plain(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte(text))
	return err
}

// seeOther sends the browser on with a GET.
func seeOther(w http.ResponseWriter, to string) error {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
