package httpd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
)

// sessions knows one person and one administrator, by cookie and CLI token.
type sessions struct {
	mu      sync.Mutex
	waiting bool
	err     error
	resumes error
}

func (s *sessions) resume(v secret.Text) (login.LoginSession, error) {
	if s.resumes != nil {
		return login.LoginSession{}, s.resumes
	}
	switch v.Reveal() {
	case "person":
		return login.LoginSession{ID: "lgn_person", Person: login.Person{ID: "psn_ada", UserName: "ada"}}, nil
	case "admin":
		return login.LoginSession{ID: "lgn_admin", Administrator: true}, nil
	case "old":
		return login.LoginSession{}, fault.Coded(fault.Expired, "login.expired", "The sign-in has ended")
	}
	return login.LoginSession{}, fault.Coded(fault.Unauthenticated, "login.unknown", "Unknown login session")
}

func (s *sessions) Resume(_ context.Context, v secret.Text) (login.LoginSession, error) {
	return s.resume(v)
}

func (s *sessions) ResumeCLI(_ context.Context, v secret.Text) (login.LoginSession, error) {
	plain, ok := strings.CutPrefix(v.Reveal(), "cli-")
	if !ok {
		plain = ""
	}
	return s.resume(secret.New(plain))
}

func (s *sessions) ResumeAccess(_ context.Context, v secret.Text) (login.LoginSession, error) {
	plain, ok := strings.CutPrefix(v.Reveal(), "a.b.")
	if !ok {
		plain = ""
	}
	return s.resume(secret.New(plain))
}

func (s *sessions) NeedsSetup(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting, s.err
}

// logs collects the log of a site.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func plainPage(w http.ResponseWriter, _ *http.Request, f *fault.Fault) {
	w.WriteHeader(httpd.Status(f.Kind))
	_, _ = io.WriteString(w, "page: "+f.Public)
}

func ok(w http.ResponseWriter, r *http.Request) error {
	_, err := io.WriteString(w, "ok "+string(httpd.CallerOf(r).Session.ID))
	return err
}

var rows = []httpd.Route{
	{Method: "GET", Pattern: "/open", Access: httpd.Open, Rate: httpd.RateStatic, Errors: plainPage, Handler: ok},
	{Method: "GET", Pattern: "/probe", Access: httpd.Open, Rate: httpd.RateStatic, AnyHost: true, Errors: plainPage, Handler: ok},
	{Method: "POST", Pattern: "/setup", Access: httpd.Setup, Rate: httpd.RatePage, Errors: plainPage, Handler: ok},
	{Method: "GET", Pattern: "/sign-in", Access: httpd.Public, Rate: httpd.RatePage, Errors: plainPage, Handler: ok},
	{Method: "GET", Pattern: "/visit", Access: httpd.Visitor, Rate: httpd.RatePage, Errors: plainPage, Handler: ok},
	{Method: "GET", Pattern: "/{$}", Access: httpd.Person, Rate: httpd.RatePage, Errors: plainPage, Handler: ok},
	{Method: "POST", Pattern: "/act", Access: httpd.Person, Rate: httpd.RatePage, MaxBody: 10, Errors: plainPage, Handler: func(w http.ResponseWriter, r *http.Request) error {
		if _, err := io.ReadAll(r.Body); err != nil {
			return err
		}
		return ok(w, r)
	}},
	{Method: "POST", Pattern: "/consume", Access: httpd.Public, Rate: httpd.RatePage, CrossSite: true, Errors: plainPage, Handler: ok},
	{Method: "GET", Pattern: "/admin", Access: httpd.Administrator, Rate: httpd.RatePage, Errors: plainPage, Handler: ok},
	{Method: "GET", Pattern: "/api/v1/thing", Access: httpd.Person, CLIToken: true, Rate: httpd.RateAPI, Errors: httpd.Problem, Handler: ok},
	{Method: "GET", Pattern: "/api/v1/fails", Access: httpd.Open, Rate: httpd.RateAPI, Errors: httpd.Problem, Handler: func(http.ResponseWriter, *http.Request) error {
		return errors.New("the insides: password=hunter2")
	}},
	{Method: "GET", Pattern: "/panics", Access: httpd.Open, Rate: httpd.RatePage, Errors: plainPage, Handler: func(http.ResponseWriter, *http.Request) error {
		panic("insides")
	}},
	{Method: "GET", Pattern: "/panics/late", Access: httpd.Open, Rate: httpd.RatePage, Errors: plainPage, Handler: func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, strings.Repeat("half", 4096))
		panic("insides")
	}},
}

func newSite(t testing.TB, s *sessions, base string, extra ...httpd.Route) (*httpd.Site, *logs) {
	t.Helper()
	l := &logs{}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	site, err := httpd.New(httpd.Config{
		BaseURL: u, Sessions: s, AccessTokens: s, Page: plainPage, Now: time.Now,
		Logger: slog.New(slog.NewJSONHandler(l, nil)),
	}, rows, extra)
	if err != nil {
		t.Fatal(err)
	}
	return site, l
}

func ask(site http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(""))
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	site.ServeHTTP(w, r)
	return w
}

const base = "https://carnet.example.com"

func TestAccessRules(t *testing.T) {
	t.Parallel()
	const person, admin, old = "__Host-carnet=person", "__Host-carnet=admin", "__Host-carnet=old"
	for _, c := range []struct {
		name, method, path string
		header             []string
		waiting            bool
		want               int
	}{
		{"open to a stranger", "GET", "/open", nil, false, 200},
		{"open before set-up", "GET", "/open", nil, true, 200},
		{"set-up before set-up", "POST", "/setup", nil, true, 200},
		{"sign-in", "GET", "/sign-in", nil, false, 200},
		{"sign-in before set-up", "GET", "/sign-in", nil, true, 503},
		{"visitor without cookie", "GET", "/visit", nil, false, 200},
		{"visitor with cookie", "GET", "/visit", []string{"Cookie", person}, false, 200},
		{"visitor before set-up", "GET", "/visit", nil, true, 503},
		{"administrator visiting before set-up", "GET", "/visit", []string{"Cookie", admin}, true, 503},
		{"API with an access token", "GET", "/api/v1/thing", []string{"Authorization", "Bearer a.b.person"}, false, 200},
		{"API with an unknown access token and a good cookie", "GET", "/api/v1/thing", []string{"Authorization", "Bearer a.b.c", "Cookie", person}, false, 401},
		{"API with an access token of two dots in a CLI token", "GET", "/api/v1/thing", []string{"Authorization", "Bearer cli-person.."}, false, 401},
		{"page with an access token", "GET", "/", []string{"Authorization", "Bearer a.b.person"}, false, 401},
		{"page without cookie", "GET", "/", nil, false, 401},
		{"page without cookie before set-up", "GET", "/", nil, true, 503},
		{"page with cookie", "GET", "/", []string{"Cookie", person}, false, 200},
		{"page with cookie before set-up", "GET", "/", []string{"Cookie", person}, true, 503},
		{"administrator's page before set-up", "GET", "/admin", []string{"Cookie", admin}, true, 200},
		{"page with an ended session", "GET", "/", []string{"Cookie", old}, false, 401},
		{"page with two cookies of one name", "GET", "/", []string{"Cookie", person + "; " + admin}, false, 401},
		{"page with the cookie name of plain http", "GET", "/", []string{"Cookie", "carnet=person"}, false, 401},
		{"page with a CLI token", "GET", "/", []string{"Authorization", "Bearer cli-person"}, false, 401},
		{"person at an administrator's page", "GET", "/admin", []string{"Cookie", person}, false, 403},
		{"API with cookie", "GET", "/api/v1/thing", []string{"Cookie", person}, false, 200},
		{"API with CLI token", "GET", "/api/v1/thing", []string{"Authorization", "Bearer cli-person"}, false, 200},
		{"API with an unknown CLI token and a good cookie", "GET", "/api/v1/thing", []string{"Authorization", "Bearer x", "Cookie", person}, false, 401},
		{"API with Basic", "GET", "/api/v1/thing", []string{"Authorization", "Basic cli-person"}, false, 401},
		{"API with two tokens", "GET", "/api/v1/thing", []string{"Authorization", "Bearer cli-person", "Authorization", "Bearer cli-admin"}, false, 401},
		{"API with the cookie's value as CLI token", "GET", "/api/v1/thing", []string{"Authorization", "Bearer person"}, false, 401},
		{"unlisted path", "GET", "/nothing", []string{"Cookie", admin}, false, 404},
		{"unlisted method", "DELETE", "/open", []string{"Cookie", admin}, false, 404},
		{"listed path, unclean", "GET", "//open", nil, false, 404},
		{"listed path through dots", "GET", "/x/../open", nil, false, 404},
		{"listed path with a slash behind", "GET", "/open/", nil, false, 404},
		{"foreign host", "GET", "/open", []string{"Host", "evil.example"}, false, 400},
		{"foreign host, unlisted path", "GET", "/nothing", []string{"Host", "evil.example"}, false, 400},
		{"own host with another port", "GET", "/open", []string{"Host", "carnet.example.com:8480"}, false, 400},
		{"own host with the default port, in capitals", "GET", "/open", []string{"Host", "CARNET.example.com:443"}, false, 200},
		{"probe by address", "GET", "/probe", []string{"Host", "10.0.0.7:8480"}, false, 200},
		{"form of another site", "POST", "/act", []string{"Cookie", person, "Sec-Fetch-Site", "cross-site"}, false, 403},
		{"form of a sister site", "POST", "/act", []string{"Cookie", person, "Sec-Fetch-Site", "same-site"}, false, 403},
		{"form of another origin, old browser", "POST", "/act", []string{"Cookie", person, "Origin", "https://evil.example"}, false, 403},
		{"own form", "POST", "/act", []string{"Cookie", person, "Sec-Fetch-Site", "same-origin"}, false, 200},
		{"identity provider's form at the consumer", "POST", "/consume", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://idp.example"}, false, 200},
		{"identity provider's form beside the consumer", "POST", "/consume/", []string{"Sec-Fetch-Site", "cross-site"}, false, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			site, _ := newSite(t, &sessions{waiting: c.waiting}, base)
			w := ask(site, c.method, base+c.path, c.header...)
			if w.Code != c.want {
				t.Errorf("%s %s: status %d, want %d: %s", c.method, c.path, w.Code, c.want, w.Body)
			}
		})
	}
}

// TestVisitors: who has a login session is known, who has none is a stranger,
// and what can't be told is refused.
func TestVisitors(t *testing.T) {
	t.Parallel()
	away := fault.New(fault.Unavailable, "The database is away")
	for _, c := range []struct {
		cookie string
		err    error
		status int
		body   string
	}{
		{"person", nil, 200, "ok lgn_person"}, {"unknown", nil, 200, "ok "}, {"old", nil, 200, "ok "}, {"", nil, 200, "ok "}, {"person", away, 503, ""},
	} {
		site, _ := newSite(t, &sessions{resumes: c.err}, base)
		w := ask(site, "GET", base+"/visit", "Cookie", "__Host-carnet="+c.cookie)
		if w.Code != c.status || c.body != "" && w.Body.String() != c.body {
			t.Errorf("cookie %q: status %d, %q; want %d, %q", c.cookie, w.Code, w.Body, c.status, c.body)
		}
	}
}

func TestSetupIsAskedUntilDone(t *testing.T) {
	t.Parallel()
	s := &sessions{waiting: true}
	site, _ := newSite(t, s, base)
	if w := ask(site, "GET", base+"/sign-in"); w.Code != 503 {
		t.Fatalf("before set-up: status %d", w.Code)
	}
	s.mu.Lock()
	s.waiting = false
	s.mu.Unlock()
	if w := ask(site, "GET", base+"/sign-in"); w.Code != 200 {
		t.Fatalf("after set-up: status %d", w.Code)
	}
	s.mu.Lock()
	s.err = errors.New("database is away")
	s.mu.Unlock()
	if w := ask(site, "GET", base+"/sign-in"); w.Code != 200 {
		t.Fatalf("set-up was asked for again: status %d", w.Code)
	}
}

func TestUnknownSetupStateDenies(t *testing.T) {
	t.Parallel()
	site, _ := newSite(t, &sessions{err: fault.New(fault.Unavailable, "The database is away")}, base)
	if w := ask(site, "GET", base+"/sign-in"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q; want 503 and a time", w.Code, w.Header().Get("Retry-After"))
	}
}

func TestEveryAnswerCarriesIDAndHeaders(t *testing.T) {
	t.Parallel()
	site, _ := newSite(t, &sessions{}, base)
	seen := map[string]bool{}
	for _, path := range []string{"/open", "/", "/nothing", "//", "/panics", "/api/v1/thing", "/api/v1/nothing"} {
		w := ask(site, "GET", base+path, "X-Request-Id", "MINE")
		id := w.Header().Get("X-Request-Id")
		if len(id) != 16 || id == "MINE" || seen[id] {
			t.Errorf("%s: request id %q", path, id)
		}
		seen[id] = true
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Referrer-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		csp := w.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: Content-Security-Policy %q lacks %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, csp)
		}
	}
}

func TestProblemHidesTheCauseAndLogKeepsIt(t *testing.T) {
	t.Parallel()
	site, l := newSite(t, &sessions{}, base)
	w := ask(site, "GET", base+"/api/v1/fails?code=secret-in-query", "Cookie", "__Host-carnet=person")
	var p httpd.ProblemDocument
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if w.Code != 500 || p.Kind != "internal" || p.RequestID != w.Header().Get("X-Request-Id") || p.Status != 500 {
		t.Errorf("problem %+v", p)
	}
	if strings.Contains(w.Body.String(), "hunter2") {
		t.Error("the cause reached the client")
	}
	if log := l.String(); !strings.Contains(log, "hunter2") || !strings.Contains(log, p.RequestID) {
		t.Errorf("the log lacks the cause or the id: %s", log)
	}
	if log := l.String(); strings.Contains(log, "secret-in-query") || strings.Contains(log, "__Host-") {
		t.Errorf("the log holds a query or cookie: %s", log)
	}
}

func TestPanicIsAnInternalFault(t *testing.T) {
	t.Parallel()
	site, l := newSite(t, &sessions{}, base)
	w := ask(site, "GET", base+"/panics")
	if w.Code != 500 || strings.Contains(w.Body.String(), "insides") {
		t.Errorf("status %d, body %q", w.Code, w.Body)
	}
	if !strings.Contains(l.String(), "httpd_test.go") {
		t.Error("the log lacks the stack")
	}
}

func TestPanicInMidAnswerCutsTheConnection(t *testing.T) {
	t.Parallel()
	site, _ := newSite(t, &sessions{}, "http://127.0.0.1:1")
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = httpd.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "127.0.0.1:1"
		site.ServeHTTP(w, r)
	}), slog.New(slog.DiscardHandler))
	srv.Start()
	defer srv.Close()
	res, err := http.Get(srv.URL + "/panics/late")
	if err != nil {
		return // cut before the headers went out
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the half answer looked whole")
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	site, _ := newSite(t, &sessions{}, base)
	for size, want := range map[int]int{10: 200, 11: 413} {
		r := httptest.NewRequest("POST", base+"/act", strings.NewReader(strings.Repeat("x", size)))
		r.Header.Set("Cookie", "__Host-carnet=person")
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("body of %d: status %d, want %d", size, w.Code, want)
		}
	}
}

func TestRateLimitPerSource(t *testing.T) {
	t.Parallel()
	slow := httpd.Rate{Name: "slow", Every: time.Hour, Burst: 3}
	site, _ := newSite(t, &sessions{}, base,
		httpd.Route{Method: "GET", Pattern: "/slow", Access: httpd.Open, Rate: slow, Errors: plainPage, Handler: ok})
	from := func(addr string) int {
		r := httptest.NewRequest("GET", base+"/slow", nil)
		r.RemoteAddr = addr
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		if w.Code == 429 && w.Header().Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		return w.Code
	}
	for i, c := range []struct {
		addr string
		want int
	}{
		{"192.0.2.1:1", 200}, {"192.0.2.1:2", 200}, {"192.0.2.1:3", 200}, {"192.0.2.1:4", 429},
		{"[::ffff:192.0.2.1]:5", 429}, // the same address
		{"192.0.2.2:1", 200},
		{"[2001:db8::1]:1", 200}, {"[2001:db8::2]:1", 200}, {"[2001:db8::3]:1", 200},
		{"[2001:db8::4]:1", 429}, // the same /64
		{"[2001:db8:0:1::1]:1", 200},
	} {
		if got := from(c.addr); got != c.want {
			t.Errorf("request %d from %s: status %d, want %d", i, c.addr, got, c.want)
		}
	}
}

func TestInFlightLimit(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	site, _ := newSite(t, &sessions{}, base, httpd.Route{
		Method: "GET", Pattern: "/work", Access: httpd.Open, Rate: httpd.RatePage, InFlight: 1, Errors: plainPage,
		Handler: func(w http.ResponseWriter, r *http.Request) error {
			entered <- struct{}{}
			<-leave
			return ok(w, r)
		},
	})
	first := make(chan int)
	go func() { first <- ask(site, "GET", base+"/work").Code }()
	<-entered
	if got := ask(site, "GET", base+"/work").Code; got != 429 {
		t.Errorf("second at once: status %d, want 429", got)
	}
	other := make(chan int)
	go func() {
		r := httptest.NewRequest("GET", base+"/work", nil)
		r.RemoteAddr = "198.51.100.7:1"
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		other <- w.Code
	}()
	<-entered // another source is not shut out
	close(leave)
	if got := <-other; got != 200 {
		t.Errorf("another source: status %d", got)
	}
	if got := <-first; got != 200 {
		t.Errorf("first: status %d", got)
	}
	go func() { first <- ask(site, "GET", base+"/work").Code }()
	<-entered
	if got := <-first; got != 200 {
		t.Errorf("after the first: status %d", got)
	}
}

func TestTableRefusesRowsWithoutRules(t *testing.T) {
	t.Parallel()
	good := httpd.Route{Method: "GET", Pattern: "/x", Access: httpd.Open, Rate: httpd.RatePage, Errors: plainPage, Handler: ok}
	u, _ := url.Parse(base)
	build := func(r ...httpd.Route) error {
		_, err := httpd.New(httpd.Config{BaseURL: u, Sessions: &sessions{}, Page: plainPage, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}, r)
		return err
	}
	if err := build(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*httpd.Route){
		"no access":          func(r *httpd.Route) { r.Access = 0 },
		"unknown access":     func(r *httpd.Route) { r.Access = 99 },
		"no rate":            func(r *httpd.Route) { r.Rate = httpd.Rate{} },
		"no handler":         func(r *httpd.Route) { r.Handler = nil },
		"no error writer":    func(r *httpd.Route) { r.Errors = nil },
		"no method":          func(r *httpd.Route) { r.Method = "" },
		"GET with a body":    func(r *httpd.Route) { r.MaxBody = 1 },
		"GET cross-site":     func(r *httpd.Route) { r.CrossSite = true },
		"token for nobody":   func(r *httpd.Route) { r.CLIToken = true },
		"pattern without /":  func(r *httpd.Route) { r.Pattern = "x" },
		"pattern ill-formed": func(r *httpd.Route) { r.Pattern = "/{" },
	} {
		r := good
		change(&r)
		if build(r) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if build(good, good) == nil {
		t.Error("two rows for one request: accepted")
	}
}

func TestEveryKindHasItsStatus(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		if got := httpd.Status(k); (got == 500) != (k == fault.Internal) {
			t.Errorf("%s: status %d", k, got)
		}
	}
}

func TestAllowFormToTakesOneSource(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]bool{"http://127.0.0.1:4711": true, "http:; script-src *": false, "a b": false} {
		w := httptest.NewRecorder()
		httpd.AllowFormTo(w, source)
		if got := strings.Contains(w.Header().Get("Content-Security-Policy"), "form-action 'self' "+source); got != want {
			t.Errorf("%q: allowed %v, want %v", source, got, want)
		}
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		base:                    "__Host-carnet=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax",
		"http://127.0.0.1:8480": "carnet=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax",
	} {
		u, _ := url.Parse(addr)
		w := httptest.NewRecorder()
		httpd.NewCookies(u).SetLogin(w, secret.New("v"), time.Minute)
		if got := w.Header().Get("Set-Cookie"); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

// BenchmarkRow measures what the table costs one request of a signed-in
// person, against the bare handler in the same run.
func BenchmarkRow(b *testing.B) {
	site, _ := newSite(b, &sessions{}, base, httpd.Route{
		Method: "GET", Pattern: "/bench", Access: httpd.Person, Errors: plainPage, Handler: ok,
		Rate: httpd.Rate{Name: "bench", Every: 1, Burst: 1 << 30},
	})
	r := httptest.NewRequest("GET", base+"/bench", nil)
	r.Header.Set("Cookie", "__Host-carnet=person")
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = ok(w, r) })
	serve := func(h http.Handler, n int) time.Duration {
		from := time.Now()
		for range n {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 200 {
				b.Fatalf("status %d", w.Code)
			}
		}
		return time.Since(from) / time.Duration(n)
	}
	b.ResetTimer()
	own := serve(site, b.N)
	b.StopTimer()
	b.ReportMetric(float64(own)/float64(serve(bare, 20000)), "x-bare")
}
