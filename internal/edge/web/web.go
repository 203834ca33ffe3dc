// Package web serves the pages: sign-in and sign-out, My access, set-up, single
// sign-on, clusters, for managers too, gateway keys, people and their sign-ins, and the approval of a command line, a device or a login to a node.
//
// Pages are plain HTML from templates that escape by context; forms work
// without script. One small script adds copy buttons, another presses the one
// button of a page that only passes a message on. A page asks the services and
// shows what they say; it decides nothing. It must never show a secret key or
// session token, show the secret of a client a second time, keep a SAML response, or redirect to an address that it has
// not checked.
//
// A form of our pages must not end, by redirect, at another site: browsers
// apply form-action to that. Where it has to lead there, its answer is a page
// that leads on (see errand.go).
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
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
	"carnet.dev/carnet/internal/service/spkeys"
	"carnet.dev/carnet/internal/service/workload"
)

// Login takes a person through sign-in.
type Login interface {
	Begin(ctx context.Context, idp identity.IdPID, returnTo string, o login.Options) (login.Started, error)
	Consume(ctx context.Context, samlResponse, relayState string, source netip.Addr) (login.Consumed, error)
	ConsumeCode(ctx context.Context, a openid.Answer, preLogin secret.Text, source netip.Addr) (login.Consumed, error)
	Complete(ctx context.Context, handle, preLogin secret.Text) (login.SignedIn, error)
	RedeemSetup(ctx context.Context, code secret.Text) (login.SignedIn, error)
}

// Arrivals are what a browser brought and somebody has to look at: sign-ins
// that began at an identity provider, and reports of test sign-ins.
type Arrivals interface {
	Arrival(ctx context.Context, handle, arrival secret.Text) (login.Arrival, error)
	Continue(ctx context.Context, handle, arrival secret.Text) (login.SignedIn, error)
	Report(ctx context.Context, handle, preLogin secret.Text) (login.Report, error)
}

// Logouts sign out, here and at the identity provider.
type Logouts interface {
	Leave(ctx context.Context, s login.LoginSession) (login.Leaving, error)
	ConsumeLogout(ctx context.Context, in saml.LogoutInput, relayState string, source netip.Addr) (login.LoggedOut, error)
	BackChannelLogout(ctx context.Context, token secret.Text, source netip.Addr) (ended int, err error)
	Say(what login.SignedOut) (string, error)
	Said(text string) (login.SignedOut, bool)
}

// LoginSessions acts on a login session that is open.
type LoginSessions interface {
	Resume(ctx context.Context, cookie secret.Text) (login.LoginSession, error)
	StartCode(ctx context.Context, s login.LoginSession, challenge, redirectURI string) (secret.Text, error)
}

// Providers knows the identity providers.
type Providers interface {
	List() []federation.IdP
	Get(ctx context.Context, id identity.IdPID) (federation.IdP, error)
	Add(ctx context.Context, idp federation.IdP) (federation.IdP, error)
	Update(ctx context.Context, idp federation.IdP) (federation.IdP, error)
	Remove(ctx context.Context, id identity.IdPID) error
}

// ProviderCare is what is done to an identity provider beside its settings.
type ProviderCare interface {
	SetEnabled(ctx context.Context, id identity.IdPID, on bool) (federation.IdP, error)
	Warnings(idp federation.IdP) []string
}

// ProviderMetadata is the metadata of identity providers.
type ProviderMetadata interface {
	State(id identity.IdPID) (federation.MetadataState, error)
	Refresh(ctx context.Context, id identity.IdPID) (federation.IdP, error)
	AcceptPending(ctx context.Context, id identity.IdPID, revision int64) (federation.IdP, error)
	RefusePending(ctx context.Context, id identity.IdPID, revision int64) (federation.IdP, error)
}

// Installation holds what is set for all identity providers at once.
type Installation interface {
	Installation() (federation.Installation, error)
	SetSwitches(ctx context.Context, s federation.Switches) error
}

// Keys are our own SAML keys.
type Keys interface {
	List() []spkeys.Key
	Add(ctx context.Context, p spkeys.Purpose) (spkeys.Key, error)
	Promote(ctx context.Context, p spkeys.Purpose) (spkeys.Key, error)
	Remove(ctx context.Context, id string) error
}

// Devices lets people connect devices that show a code.
type Devices interface {
	ReviewDevice(ctx context.Context, s login.LoginSession, source netip.Addr, typed string) (oauth.DeviceReview, error)
	DecideDevice(ctx context.Context, s login.LoginSession, source netip.Addr, typed string, yes bool) (oauth.DeviceReview, error)
}

// Consents ask people whether a program may act for them.
type Consents interface {
	Pending(ctx context.Context, s login.LoginSession, handle secret.Text) (oauth.Pending, error)
	Approve(ctx context.Context, s login.LoginSession, handle secret.Text) (redirectURL string, err error)
	Deny(ctx context.Context, s login.LoginSession, handle secret.Text) (redirectURL string, err error)
}

// Issuers are our own OpenID issuers.
type Issuers interface {
	URL(l issuer.Level) string
	Registered() issuer.Level
	Keys() []issuer.Key
	// Halted is the fault with which minting stopped; nil while it goes on.
	Halted() error
	Rotate(ctx context.Context, l issuer.Level, algorithm string, how issuer.Rotation) (issuer.Key, error)
}

// Clients are the programs that may ask for tokens, and what they prove
// themselves with; service principals have credentials too.
type Clients interface {
	List() []oauth.Client
	CredentialsOf(client string) []oauth.Credential
	SetEnabled(ctx context.Context, id string, on bool) (oauth.Client, error)
	AddSecret(ctx context.Context, client, owner string, life time.Duration) (secret.Text, oauth.Credential, error)
	RemoveCredential(ctx context.Context, client string, id identity.CredentialID) error
}

// Machines are the service principals.
type Machines interface {
	ServicePrincipals(ctx context.Context) ([]directory.ServicePrincipal, error)
}

// Policies say whose tokens prove somebody here.
type Policies interface {
	All() []workload.FederationPolicy
	Remove(ctx context.Context, id identity.FederationPolicyID) error
}

// Delegations let service principals work as people who are away.
type Delegations interface {
	ListNamed(ctx context.Context, of workload.Of) ([]workload.Listed, error)
	Delegate(ctx context.Context, s login.LoginSession, n workload.NewDelegation) (workload.Listed, error)
	// EndOwn revokes one of the person's own, End anybody's.
	EndOwn(ctx context.Context, s login.LoginSession, id identity.DelegationID) error
	End(ctx context.Context, id identity.DelegationID) error
}

// OIDC is what the configuration says of our issuers, for the page about them.
type OIDC struct {
	// Published says where discovery and keys are written; empty: nowhere, the
	// world reads them from this server.
	Published string
	Audiences []string // beside AWS STS
	DeviceOff bool
	// Bridges are the accounts whose roles are renewed without the person, and
	// how long after the sign-in at most.
	Bridges []Bridge
	// WebIdentity are the accounts that take tokens of ours at all.
	WebIdentity []Account
}

// Bridge is one account with renewal switched on.
type Bridge struct {
	Account
	Cap           time.Duration
	AuthnContexts []string
}

// Account is one configured account, as pages show it.
type Account struct {
	ID   string // 12 digits
	Name string
	// S3 is the endpoint where the account's keys are used; empty: AWS's own.
	S3     string
	Region string
	// Gateway: the roles' own keys stay in the server, and people are given
	// gateway keys.
	Gateway bool
}

// Config is what the pages are made of.
type Config struct {
	Login          Login
	Arrivals       Arrivals
	Logouts        Logouts
	LoginSessions  LoginSessions
	Providers      Providers
	ProviderCare   ProviderCare
	Metadata       ProviderMetadata
	Installation   Installation
	Keys           Keys
	Devices        Devices
	Consents       Consents
	OwnIssuers     Issuers
	Clients        Clients
	Machines       Machines
	Policies       Policies
	Delegations    Delegations
	Denials        Denials
	Trail          Trail
	Attaching      Attaching
	Clusters       Clusters
	ClusterCare    ClusterCare
	ClusterLogins  ClusterLogins
	Managing       Managing
	Subjects       Subjects
	People         People
	OwnSignIns     SignIns
	GatewayKeys    GatewayKeys
	OwnGatewayKeys OwnGatewayKeys
	OIDC           OIDC
	BaseURL        *url.URL
	// SAMLURL is ACS URL, entity ID, audience and recipient at once.
	SAMLURL string
	// Issuers are our OIDC issuers.
	Issuers federation.IssuerURLs
	// Trusts says in sentences which trust rests on an issuer; nil: nobody knows.
	Trusts func(issuerURL string) []string
	// SAMLMetadata gives this service provider's metadata document.
	SAMLMetadata func() ([]byte, error)
	Accounts     []Account
	// Ready reports why this server should get no requests now; nil: it should.
	Ready func(ctx context.Context) error
	// Beside are lines that stand behind "ready": what is down without making the
	// server useless. nil: none.
	Beside func() []string
	Now    func() time.Time
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
	document := func(r *httpd.Route) { r.MaxBody = maxMetadata }
	static := func(r *httpd.Route) { r.Rate = httpd.RateStatic }
	probe := func(r *httpd.Route) { r.AnyHost, r.Rate = true, httpd.RateStatic }
	return []httpd.Route{
		with(get("/{$}", httpd.Person, web.access), mayBeStranger),
		with(get("/sign-in", httpd.Public, web.signIn), signIn),
		with(get("/sign-in/complete", httpd.Public, web.complete), signIn),
		with(get("/sign-in/continue", httpd.Public, web.arrival), signIn),
		with(post("/sign-in/continue", httpd.Public, web.goOn), signIn),
		// By redirect come logout messages alone; they are signed.
		with(get("/saml/consume", httpd.Public, web.consumeRedirect), func(r *httpd.Route) { r.Rate, r.InFlight = httpd.RateSignIn, 64 }),
		with(post("/saml/consume", httpd.Public, web.consume), func(r *httpd.Route) {
			r.Rate, r.MaxBody, r.CrossSite, r.InFlight = httpd.RateSignIn, maxResponse, true, 64
		}),
		with(get(oidcCallback, httpd.Public, web.callback), func(r *httpd.Route) { r.Rate, r.InFlight = httpd.RateSignIn, 64 }),
		// Server to server: no browser may.
		with(post(oidcLogout, httpd.Public, web.backChannelLogout), func(r *httpd.Route) {
			r.Rate, r.MaxBody, r.InFlight, r.Errors = httpd.RateSignIn, maxLogoutForm, 64, web.logoutRefused
		}),
		get("/saml/metadata", httpd.Open, web.metadata),
		post("/sign-out", httpd.Person, web.signOut),
		get("/signed-out", httpd.Public, web.signedOut),
		get("/setup", httpd.Setup, web.setup),
		with(post("/setup", httpd.Setup, web.redeemSetup), code),
		with(get("/admin/sso", httpd.Administrator, web.sso), mayBeStranger),
		with(get("/admin/sso/add", httpd.Administrator, web.addForm), mayBeStranger),
		with(post("/admin/sso/add", httpd.Administrator, web.addProvider), document),
		post("/admin/sso/switches", httpd.Administrator, web.setSwitches),
		post("/admin/sso/keys", httpd.Administrator, web.changeKeys),
		with(get("/admin/sso/test", httpd.Administrator, web.report), mayBeStranger),
		with(get("/admin/sso/providers/{id}", httpd.Administrator, web.provider), mayBeStranger),
		with(post("/admin/sso/providers/{id}", httpd.Administrator, web.changeProvider), document),
		post("/admin/sso/providers/{id}/act", httpd.Administrator, web.actOnProvider),
		with(get("/admin/oidc", httpd.Administrator, web.oidc), mayBeStranger),
		post("/admin/oidc/keys", httpd.Administrator, web.rotateKey),
		post("/admin/oidc/policies", httpd.Administrator, web.removePolicy),
		post("/admin/oidc/delegations", httpd.Administrator, web.revokeDelegation),
		with(get("/admin/oidc/clients/{id}", httpd.Administrator, web.client), mayBeStranger),
		post("/admin/oidc/clients/{id}", httpd.Administrator, web.actOnClient),
		with(get("/admin/clusters", httpd.Administrator, web.clusters), mayBeStranger),
		post("/admin/clusters", httpd.Administrator, web.addCluster),
		with(get("/admin/clusters/{id}", httpd.Administrator, web.cluster), mayBeStranger),
		post("/admin/clusters/{id}", httpd.Administrator, web.saveCluster),
		post("/admin/clusters/{id}/act", httpd.Administrator, web.actOnCluster),
		with(get("/clusters", httpd.Person, web.managedClusters), mayBeStranger),
		with(get("/clusters/{id}", httpd.Person, web.managedCluster), mayBeStranger),
		post("/clusters/{id}", httpd.Person, web.actOnManaged),
		with(get("/admin/people", httpd.Administrator, web.people), mayBeStranger),
		with(get("/admin/people/{id}", httpd.Administrator, web.person), mayBeStranger),
		post("/admin/people/{id}", httpd.Administrator, web.actOnPerson),
		with(get("/admin/gateway-keys", httpd.Administrator, web.gatewayKeys), mayBeStranger),
		post("/admin/gateway-keys", httpd.Administrator, web.revokeGatewayKey),
		post("/gateway-keys/revoke", httpd.Person, web.revokeOwnGatewayKey),
		with(get("/admin/denials", httpd.Administrator, web.denials), mayBeStranger),
		with(get("/admin/audit", httpd.Administrator, web.audit), mayBeStranger),
		with(get("/sign-ins", httpd.Person, web.signIns), mayBeStranger),
		post("/sign-ins/end", httpd.Person, web.endSignIn),
		post("/delegations", httpd.Person, web.delegate),
		post("/delegations/revoke", httpd.Person, web.endDelegation),
		with(get("/cli/authorize", httpd.Person, web.authorize), mayBeStranger),
		post("/cli/authorize", httpd.Person, web.approve),
		with(get("/device", httpd.Person, web.device), mayBeStranger),
		with(post("/device", httpd.Person, web.reviewDevice), code),
		with(post("/device/decide", httpd.Person, web.decideDevice), code),
		with(get("/attach", httpd.Person, web.attach), mayBeStranger),
		with(post("/attach", httpd.Person, web.reviewAttach), code),
		with(post("/attach/decide", httpd.Person, web.decideAttach), code),
		post("/attachments/end", httpd.Person, web.endAttachment),
		with(get(ConsentPath, httpd.Person, web.consent), mayBeStranger),
		post(ConsentPath, httpd.Person, web.decideConsent),
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
	text := "ready\n"
	if web.Beside != nil {
		for _, line := range web.Beside() {
			text += line + "\n"
		}
	}
	return plain(w, text)
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
