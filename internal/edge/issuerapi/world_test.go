package issuerapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/issuerapi"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlbroker "carnet.dev/carnet/internal/edge/sql/broker"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlissuer "carnet.dev/carnet/internal/edge/sql/issuer"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	sqloauth "carnet.dev/carnet/internal/edge/sql/oauth"
	sqlonceonly "carnet.dev/carnet/internal/edge/sql/onceonly"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
	"carnet.dev/carnet/internal/service/onceonly"
	"carnet.dev/carnet/internal/service/revocation"
)

// world is the authorization server with all that it stands on, real but for the
// sign-in itself: login sessions are opened in the store.
type world struct {
	t      testing.TB
	db     *sql.DB
	dir    *directory.Directory
	feed   *revocation.Feed
	login  *login.Service
	issuer *issuer.Service
	config oauth.Config
	*oauth.Service
	base string
	log  *logged
	// hasty has all requests come at one moment, so that rates bound them; else a
	// second lies between any two.
	hasty    bool
	requests atomic.Int64

	mu  sync.Mutex
	now time.Time
}

// logged is what the server logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	must(w.t, w.feed.Confirm(w.t.Context()))
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, sql.Config{SQLite: filepath.Join(t.TempDir(), "carnet.db")})
}

func newWorldOn(t testing.TB, c sql.Config) *world {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	w := &world{t: t, now: time.Now().UTC().Truncate(time.Second), log: &logged{}, base: "http://" + srv.Listener.Addr().String(),
		db: sqltest.OpenWith(t, c)}
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	must(t, err)
	ring, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: w.db}, KEKs: keks, Server: "a", Now: w.clock})
	must(t, err)
	w.feed, err = revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: w.db}, Server: "a", Now: w.clock})
	must(t, err)
	trail, err := audit.Open(t.Context(), audit.Config{Store: sqlaudit.Store{DB: w.db}, Sealer: ring, Now: w.clock})
	must(t, err)
	w.dir = sqldirectory.On(w.db, w.clock)
	once := onceonly.New(sqlonceonly.Store{DB: w.db}, 10_000, w.clock)
	sessions := sqllogin.Store{DB: w.db}
	w.login, err = login.New(t.Context(), login.Config{State: w.db, Sessions: sessions, Parked: sessions, Named: sessions, CLI: sessions, Upkeep: sessions,
		Broker: broker.New(broker.Config{Store: sqlbroker.Store{DB: w.db}, Sealer: ring, Now: w.clock}), Once: once, Sealer: ring, Feed: w.feed, Audit: trail, Now: w.clock})
	must(t, err)
	w.issuer, err = issuer.Open(t.Context(), issuer.Config{Store: sqlissuer.Store{DB: w.db}, Sealer: ring, State: w.db, Trail: trail, Now: w.clock,
		BaseURL: w.base, AccountID: "123456789012", Audiences: []string{"listed.example"}})
	must(t, err)
	store := sqloauth.Store{DB: w.db}
	w.config = oauth.Config{Clients: store, Credentials: store, Codes: store, Grants: store, Issuer: w.issuer, Logins: w.login,
		Principals: w.dir.ServicePrincipals, People: w.dir.People, Once: once, Sealer: ring, Feed: w.feed, State: w.db, Trail: trail, Now: w.clock}
	w.Service, err = oauth.Open(t.Context(), w.config)
	must(t, err)
	srv.Config.Handler = w.site()
	srv.Start()
	t.Cleanup(srv.Close)
	return w
}

// anyone has set up, so every row answers.
type setUp struct{ *login.Service }

func (setUp) NeedsSetup(context.Context) (bool, error) { return false, nil }

// site serves the endpoints, and a row as the API has them.
func (w *world) site() *httpd.Site {
	base, err := url.Parse(w.base)
	must(w.t, err)
	page := func(rw http.ResponseWriter, _ *http.Request, f *fault.Fault) {
		rw.WriteHeader(httpd.Status(f.Kind))
		_, _ = io.WriteString(rw, "page: "+f.Code+": "+f.Public)
	}
	site, err := httpd.New(httpd.Config{BaseURL: base, AlsoHosts: []string{"accounts.example"}, Sessions: setUp{w.login}, AccessTokens: w.Service,
		Page: page, Logger: slog.New(slog.NewJSONHandler(w.log, nil)), Now: func() time.Time {
			if !w.hasty {
				w.requests.Add(1)
			}
			return time.Unix(1_800_000_000+w.requests.Load(), 0)
		}},
		issuerapi.Routes(issuerapi.Config{Documents: w.issuer, Clients: w.Service, Grants: w.Service, Tokens: w.Service, BaseURL: base, Page: page, APIAudience: w.issuer.APIAudience()}),
		[]httpd.Route{{Method: "GET", Pattern: "/api/v1/thing", Access: httpd.Person, CLIToken: true, Rate: httpd.RateAPI, Errors: httpd.Problem,
			Handler: func(rw http.ResponseWriter, r *http.Request) error {
				_, err := io.WriteString(rw, string(httpd.CallerOf(r).Session.Person.ID))
				return err
			}}})
	must(w.t, err)
	return site
}

// person is somebody with an open login session in a browser.
type person struct {
	id      identity.PersonID
	session identity.LoginSessionID
	cookie  secret.Text
}

// signIn opens a login session of 12 hours.
func (w *world) signIn(name string) person {
	w.t.Helper()
	return w.signInProven(name, w.clock().Add(-time.Minute))
}

// signInProven is signIn of somebody whose identity provider proved them at a time;
// zero: it did not say when.
func (w *world) signInProven(name string, at time.Time) person {
	w.t.Helper()
	idp := identity.IdPID("idp_test")
	p, _, err := w.dir.EnsurePerson(w.t.Context(), idp, name, name, strings.ToUpper(name), name+"@example.com")
	must(w.t, err)
	epoch, err := w.feed.Epoch()
	must(w.t, err)
	out := person{id: p.ID, session: identity.NewLoginSessionID(), cookie: secret.Random(32)}
	must(w.t, sqllogin.Store{DB: w.db}.Open(w.t.Context(), login.Record{ID: out.session, IdPName: "Test", Started: w.clock(), Expires: w.clock().Add(12 * time.Hour), Epoch: epoch,
		Person: login.Person{ID: p.ID, IdP: idp, UserName: p.UserName, DisplayName: p.DisplayName}, Federated: login.Federated{AuthnInstant: at}}, out.cookie.Digest()))
	return out
}

const (
	callback = "https://app.example.com/callback"
	verifier = "a-verifier-of-forty-three-characters-or-more-0123"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// rp is a relying party: a client with its secret.
type rp struct {
	oauth.Client
	secret secret.Text
}

// register makes a trusted confidential client, changed as a test likes.
func (w *world) register(name string, change ...func(*oauth.Client)) rp {
	w.t.Helper()
	c := oauth.Client{Name: name, RedirectURIs: []string{callback}, Scopes: oauth.ScopeNames(), Trusted: true}
	for _, f := range change {
		f(&c)
	}
	c, err := w.Add(w.t.Context(), c)
	must(w.t, err)
	out := rp{Client: c}
	if !c.Public {
		out.secret, _, err = w.AddSecret(w.t.Context(), c.ID, "tests", 0)
		must(w.t, err)
	}
	return out
}

// ask are the parameters of an honest authorization request; an empty value takes
// one away.
func ask(c rp, change ...string) url.Values {
	q := url.Values{"client_id": {c.ID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid profile email offline_access all-apis"},
		"state": {"a state"}, "nonce": {"a nonce"}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"}}
	set(q, change)
	return q
}

func set(q url.Values, change []string) {
	for i := 0; i+1 < len(change); i += 2 {
		if q.Set(change[i], change[i+1]); change[i+1] == "" {
			q.Del(change[i])
		}
	}
}

// reply is an answer of the site.
type reply struct {
	status   int
	header   http.Header
	body     string
	location *url.URL
}

func (r reply) param(name string) string {
	if r.location == nil {
		return ""
	}
	return r.location.Query().Get(name)
}

// json reads one member of the body, as text.
func (r reply) json(name string) string {
	var all map[string]any
	if json.Unmarshal([]byte(r.body), &all) != nil {
		return ""
	}
	s, _ := all[name].(string)
	return s
}

// do sends a request and follows nothing. header are names and values.
func (w *world) do(method, path string, form url.Values, header ...string) reply {
	w.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, body)
	must(w.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	hc := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := hc.Do(req)
	must(w.t, err)
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	must(w.t, err)
	out := reply{status: resp.StatusCode, header: resp.Header, body: string(b)}
	if l := resp.Header.Get("Location"); l != "" {
		out.location, err = url.Parse(l)
		must(w.t, err)
	}
	return out
}

// authorize opens an authorization request in a browser; the zero person is a
// stranger.
func (w *world) authorize(p person, q url.Values) reply {
	w.t.Helper()
	return w.do("GET", "/oidc/v1/authorize?"+q.Encode(), nil, p.browser()...)
}

func (p person) browser() []string {
	if p.cookie.IsZero() {
		return nil
	}
	return []string{"Cookie", "carnet=" + p.cookie.Reveal()}
}

// code goes to the end of an honest request.
func (w *world) code(p person, c rp, change ...string) string {
	w.t.Helper()
	r := w.authorize(p, ask(c, change...))
	if r.param("code") == "" {
		w.t.Fatalf("no code: %d %v %s", r.status, r.location, r.body)
	}
	return r.param("code")
}

// basic is the header of client_secret_basic.
func (c rp) basic() []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID)+":"+url.QueryEscape(c.secret.Reveal())))}
}

// post asks an endpoint of the workspace as a client.
func (w *world) post(c rp, endpoint string, form url.Values) reply {
	w.t.Helper()
	if c.Public {
		form = cloned(form)
		form.Set("client_id", c.ID)
		return w.do("POST", "/oidc/v1/"+endpoint, form)
	}
	return w.do("POST", "/oidc/v1/"+endpoint, form, c.basic()...)
}

func cloned(v url.Values) url.Values {
	out := url.Values{}
	for name, all := range v {
		out[name] = slices.Clone(all)
	}
	return out
}

func codeForm(code string, change ...string) url.Values {
	f := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	set(f, change)
	return f
}

func refreshForm(token string, change ...string) url.Values {
	f := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	set(f, change)
	return f
}

// tokens are what a sign-in gave.
type tokens struct{ access, id, refresh string }

// read takes tokens out of an answer that has to hold them.
func (w *world) read(r reply) tokens {
	w.t.Helper()
	if r.status != http.StatusOK {
		w.t.Fatalf("no tokens: %d %s", r.status, r.body)
	}
	return tokens{r.json("access_token"), r.json("id_token"), r.json("refresh_token")}
}

// signedIn goes all the way.
func (w *world) signedIn(p person, c rp, change ...string) tokens {
	w.t.Helper()
	return w.read(w.post(c, "token", codeForm(w.code(p, c, change...))))
}

// opens reports whether a token opens our API, once this server has confirmed
// what was revoked.
func (w *world) opens(token string) bool {
	w.t.Helper()
	must(w.t, w.feed.Confirm(w.t.Context()))
	return w.do("GET", "/api/v1/thing", nil, "Authorization", "Bearer "+token).status == http.StatusOK
}

// refused holds an answer to an error of OAuth.
func (w *world) refused(what string, r reply, status int, code string) {
	w.t.Helper()
	if r.status != status || r.json("error") != code {
		w.t.Errorf("%s: %d %s, want %d %s", what, r.status, r.body, status, code)
	}
	if got := r.header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("%s: Cache-Control %q", what, got)
	}
}

// acts lists the actions of the trail, with their codes.
func (w *world) acts() (all []string) {
	w.t.Helper()
	must(w.t, w.db.Read(w.t.Context(), func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT body FROM audit_record ORDER BY seq`, nil, func(scan func(...any) error) error {
			var body []byte
			if err := scan(&body); err != nil {
				return err
			}
			var e struct{ Action, Code string }
			err := json.Unmarshal(body, &e)
			all = append(all, strings.TrimSuffix(e.Action+" "+e.Code, " "))
			return err
		})
	}))
	return all
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func (w *world) resume(p person) login.LoginSession {
	w.t.Helper()
	s, err := w.login.Resume(w.t.Context(), p.cookie)
	must(w.t, err)
	return s
}
