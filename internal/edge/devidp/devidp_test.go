package devidp_test

import (
	"encoding/base64"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/protocol/saml"
)

const (
	acs      = "http://127.0.0.1:8480/saml/consume"
	entityID = "http://localhost:8482/metadata"
	password = "correct horse battery"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// world is an identity provider behind a real listener.
type world struct {
	t      *testing.T
	idp    *devidp.IdP
	server *httptest.Server
	base   string
	now    time.Time
}

func start(t *testing.T, change func(*devidp.Config)) *world {
	t.Helper()
	keyPEM, certPEM, err := devidp.NewKey(now)
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := devidp.ParseKey(keyPEM, certPEM)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: now}
	w.server = httptest.NewUnstartedServer(nil)
	w.base = strings.Replace("http://"+w.server.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	c := devidp.Config{
		BaseURL: w.base, EntityID: entityID, Key: key, Certificate: cert, Password: secret.New(password), Now: func() time.Time { return w.now },
		Users: []devidp.User{
			{Name: "alice", DisplayName: "Alice Ånström", Mail: "alice@example.com", Groups: []string{"analysts", "all"},
				Roles: []string{"arn:aws:iam::111122223333:role/analyst,arn:aws:iam::111122223333:saml-provider/dev-idp"}},
			{Name: "dave"},
		},
		ServiceProviders: []devidp.SP{{EntityID: acs, ACS: acs}},
	}
	if change != nil {
		change(&c)
	}
	if w.idp, err = devidp.New(c); err != nil {
		t.Fatal(err)
	}
	w.server.Config.Handler = w.idp.Handler()
	w.server.Start()
	t.Cleanup(w.server.Close)
	return w
}

// do sends a request under the identity provider's own host name.
func (w *world) do(method, target string, form url.Values) (int, http.Header, string) {
	w.t.Helper()
	target = strings.Replace(target, w.base, w.server.URL, 1)
	req, err := http.NewRequest(method, target, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Host = strings.TrimPrefix(w.base, "http://")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// fields reads the hidden fields of a page's form.
func fields(page string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	return v
}

func request() saml.AuthnRequest {
	return saml.AuthnRequest{ID: "_r1", Issuer: acs, ACS: acs, IssueInstant: now}
}

// signIn fills the form of a page and gives the next page.
func (w *world) signIn(page, user, password string) (int, http.Header, string) {
	w.t.Helper()
	f := fields(page)
	f.Set("user", user)
	f.Set("password", password)
	return w.do(http.MethodPost, w.base+"/sign-in", f)
}

func (w *world) verify(page, requestID string) *saml.Assertion {
	w.t.Helper()
	m, err := saml.ParseMetadata(w.idp.Metadata())
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := saml.Decode(fields(page).Get("SAMLResponse"), 0)
	if err != nil {
		w.t.Fatalf("%v in page %s", err, page)
	}
	a, err := saml.Verify(raw, m, saml.Expect{ACS: acs, Audience: acs, RequestID: requestID, AllowUnsolicited: requestID == "", Skew: saml.DefaultSkew}, now)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func TestSignInByRedirect(t *testing.T) {
	t.Parallel()
	for _, signResponse := range []bool{false, true} {
		w := start(t, func(c *devidp.Config) { c.SignResponse = signResponse })
		r := request()
		r.Destination = w.idp.SSOURL()
		target, err := r.RedirectURL(`state "<&>' `, nil)
		if err != nil {
			t.Fatal(err)
		}
		status, header, page := w.do(http.MethodGet, target, nil)
		if status != http.StatusOK || !strings.Contains(page, "Alice Ånström") || !strings.Contains(page, "no role") {
			t.Fatalf("%d %s", status, page)
		}
		wantPolicy(t, header, page, "form-action 'self'")
		status, header, page = w.signIn(page, "alice", password)
		if status != http.StatusOK || fields(page).Get("RelayState") != `state "<&>' ` {
			t.Fatalf("%d: relay state %q", status, fields(page).Get("RelayState"))
		}
		wantPolicy(t, header, page, "form-action http://127.0.0.1:8480")
		a := w.verify(page, "_r1")
		if a.NameID != "alice" || (a.ResponseID != "") != signResponse || a.SessionIndex == "" || !a.SessionNotOnOrAfter.Equal(now.Add(12*time.Hour)) {
			t.Errorf("%+v", a)
		}
		if name, _ := a.Single(saml.AttrRoleSessionName); name != "alice" {
			t.Errorf("session name %q", name)
		}
		if pairs, bad := saml.RolePairs(a); len(pairs) != 1 || len(bad) != 0 || len(a.Values("groups")) != 2 {
			t.Errorf("%v %v", pairs, a.Attributes)
		}
		if mail, _ := a.Single("mail"); mail != "alice@example.com" {
			t.Errorf("mail %q", mail)
		}
		if name, _ := a.Single("displayName"); name != "Alice Ånström" {
			t.Errorf("display name %q", name)
		}
	}
}

// wantPolicy holds what the browser may do with a page.
func wantPolicy(t *testing.T, header http.Header, page, formAction string) {
	t.Helper()
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", formAction} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	nonce := regexp.MustCompile(`script-src 'nonce-([^']+)'`).FindStringSubmatch(policy)
	if nonce == nil || strings.Contains(policy, "unsafe") || strings.Count(page, `nonce="`+nonce[1]+`"`) != strings.Count(page, "<style")+strings.Count(page, "<script") {
		t.Errorf("policy %q does not fit the page", policy)
	}
	if header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", header)
	}
}

func TestSignInByPost(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	form, err := request().PostForm(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, page := w.do(http.MethodPost, w.base+"/sso", url.Values{"SAMLRequest": {form}, "RelayState": {"s"}})
	_, _, page = w.signIn(page, "dave", password)
	a := w.verify(page, "_r1")
	if pairs, bad := saml.RolePairs(a); a.NameID != "dave" || len(pairs)+len(bad) != 0 || len(a.Values("groups")) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestSignInThatBeginsHere(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, header, page := w.do(http.MethodGet, w.base+"/", nil)
	wantPolicy(t, header, page, "form-action 'self'")
	_, _, page = w.do(http.MethodPost, w.base+"/sign-in", url.Values{"start": {acs}})
	if strings.Contains(page, `role="alert"`) {
		t.Errorf("the first page blames: %s", page)
	}
	_, _, page = w.signIn(page, "alice", password)
	if a := w.verify(page, ""); a.InResponseTo != "" {
		t.Errorf("answers %q", a.InResponseTo)
	}
	if status, _, _ := w.do(http.MethodPost, w.base+"/sign-in", url.Values{"start": {"https://evil.example"}, "user": {"alice"}, "password": {password}}); status != http.StatusBadRequest {
		t.Errorf("an unknown service provider: %d", status)
	}
}

func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, _, page := w.do(http.MethodPost, w.base+"/sign-in", url.Values{"start": {acs}})
	for _, try := range [][2]string{{"alice", "wrong"}, {"alice", password + " "}, {"mallory", password}, {"", password}} {
		status, _, answer := w.signIn(page, try[0], try[1])
		if status != http.StatusForbidden || strings.Contains(answer, "SAMLResponse") {
			t.Errorf("%q: %d", try, status)
		}
	}
	limited := 0
	for range 12 {
		if status, header, _ := w.signIn(page, "alice", "guess"); status == http.StatusTooManyRequests && header.Get("Retry-After") != "" {
			limited++
		}
	}
	if limited != 6 {
		t.Errorf("%d of 16 tries were limited, want 6", limited)
	}
	if status, _, _ := w.signIn(page, "alice", password); status != http.StatusTooManyRequests {
		t.Errorf("the true password passes the limit: %d", status)
	}
	w.now = w.now.Add(time.Second)
	if status, _, _ := w.signIn(page, "alice", password); status != http.StatusOK {
		t.Errorf("a second later: %d", status)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	made := func(change func(*saml.AuthnRequest)) string {
		r := request()
		r.Destination = w.idp.SSOURL()
		change(&r)
		s, err := r.PostForm(nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, form := range map[string]string{
		"an unknown service provider": made(func(r *saml.AuthnRequest) { r.Issuer = "https://evil.example" }),
		"another ACS":                 made(func(r *saml.AuthnRequest) { r.ACS = "https://evil.example/acs" }),
		"another destination":         made(func(r *saml.AuthnRequest) { r.Destination = "https://other.example/sso" }),
		"no request":                  "",
		"not base64":                  "%",
		"not XML":                     base64.StdEncoding.EncodeToString([]byte("hello")),
		"another document":            base64.StdEncoding.EncodeToString([]byte("<html/>")),
	} {
		status, header, page := w.do(http.MethodPost, w.base+"/sso", url.Values{"SAMLRequest": {form}})
		if status != http.StatusBadRequest || strings.Contains(page, `name="password"`) {
			t.Errorf("%s: %d", name, status)
		}
		wantPolicy(t, header, page, "form-action 'none'")
	}
	if status, _, _ := w.do(http.MethodPost, w.base+"/sso", url.Values{"SAMLRequest": {strings.Repeat("A", 1<<17)}}); status != http.StatusBadRequest {
		t.Errorf("a large form: %d", status)
	}
	// A document of zeros deflates to a thousandth: what it inflates to is bounded.
	r := request()
	r.Destination = w.idp.SSOURL()
	r.AuthnContext = []string{strings.Repeat("0", 10<<20)}
	bomb, err := r.RedirectURL("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := w.do(http.MethodGet, bomb, nil); status != http.StatusBadRequest {
		t.Errorf("a deflate bomb: %d", status)
	}
}

func TestWhoIsServed(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	for _, c := range []struct {
		peer, host string
		status     int
	}{
		{"127.0.0.1:9", strings.TrimPrefix(w.base, "http://"), http.StatusOK},
		{"[::1]:9", strings.TrimPrefix(w.base, "http://"), http.StatusOK},
		{"[::ffff:127.0.0.1]:9", strings.TrimPrefix(w.base, "http://"), http.StatusOK},
		{"192.0.2.7:9", strings.TrimPrefix(w.base, "http://"), http.StatusForbidden},
		{"nonsense", strings.TrimPrefix(w.base, "http://"), http.StatusForbidden},
		{"127.0.0.1:9", "evil.example", http.StatusMisdirectedRequest},
		{"127.0.0.1:9", strings.TrimPrefix(w.server.URL, "http://"), http.StatusMisdirectedRequest},
		{"127.0.0.1:9", "", http.StatusMisdirectedRequest},
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr, req.Host = c.peer, c.host
		res := httptest.NewRecorder()
		w.idp.Handler().ServeHTTP(res, req)
		if res.Code != c.status {
			t.Errorf("peer %s, host %q: %d, want %d", c.peer, c.host, res.Code, c.status)
		}
	}
}

func TestMetadataPage(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	status, _, body := w.do(http.MethodGet, w.base+"/metadata", nil)
	m, err := saml.ParseMetadata([]byte(body))
	if status != http.StatusOK || err != nil || m.EntityID != entityID {
		t.Fatalf("%d %v", status, err)
	}
	if at, ok := m.SSOLocation(saml.BindingRedirect); !ok || at != w.base+"/sso" {
		t.Errorf("sign-on at %q", at)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	keyPEM, certPEM, err := devidp.NewKey(now)
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := devidp.ParseKey(keyPEM, certPEM)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*devidp.Config){
		"no host":                      func(c *devidp.Config) { c.BaseURL = "localhost" },
		"a path":                       func(c *devidp.Config) { c.BaseURL += "/idp" },
		"another scheme":               func(c *devidp.Config) { c.BaseURL = "ftp://localhost" },
		"no password":                  func(c *devidp.Config) { c.Password = secret.Text{} },
		"no key":                       func(c *devidp.Config) { c.Key = nil },
		"no users":                     func(c *devidp.Config) { c.Users = nil },
		"no service provider":          func(c *devidp.Config) { c.ServiceProviders = nil },
		"a service provider in a file": func(c *devidp.Config) { c.ServiceProviders[0].ACS = "/saml/consume" },
	} {
		c := devidp.Config{BaseURL: "http://localhost:8482", EntityID: entityID, Key: key, Certificate: cert, Password: secret.New("x"), Now: time.Now,
			Users: []devidp.User{{Name: "a"}}, ServiceProviders: []devidp.SP{{EntityID: acs, ACS: acs}}}
		if _, err := devidp.New(c); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if _, err := devidp.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, _, err := devidp.ParseKey(keyPEM, keyPEM); err == nil {
		t.Error("a key for a certificate is taken")
	}
	_, otherCert, err := devidp.NewKey(now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := devidp.ParseKey(keyPEM, otherCert); err == nil || !strings.Contains(err.Error(), "belong together") {
		t.Errorf("a foreign certificate: %v", err)
	}
}
