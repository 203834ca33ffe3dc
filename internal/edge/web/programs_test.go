package web_test

import (
	"context"
	"html"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	sqldevice "carnet.dev/carnet/internal/edge/sql/device"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/service/device"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
)

// programs stands for the authorization server: real device grants, on a
// database, and requests that wait for a person's word.
type programs struct {
	*device.Service
	mu       sync.Mutex
	recorded []event.Event
	redirect string // of the client that asks
	asked    map[string]login.LoginSession
}

var (
	_ web.Devices  = (*oauth.Service)(nil)
	_ web.Consents = (*oauth.Service)(nil)
	_ web.Devices  = (*programs)(nil)
	_ web.Consents = (*programs)(nil)
)

// theTool is the client that asks in these tests.
var theTool = oauth.Client{ID: "oac_3f7kq2v5zc4m6n3a2b7d5e6f7g", Name: "Notebook <server>", Owner: "data platform", Public: true,
	RedirectURIs: []string{"http://127.0.0.1/callback"}, Grants: oauth.GrantTypes(), Scopes: oauth.ScopeNames(), Enabled: true}

func newPrograms(t *testing.T) *programs {
	t.Helper()
	db := sqltest.Open(t)
	p := &programs{redirect: "http://127.0.0.1:4711/callback", asked: map[string]login.LoginSession{}}
	store := sqldevice.Store{DB: db}
	p.Service = device.New(device.Config{Grants: store, Decisions: store, State: db, Trail: p, Now: time.Now, Page: "http://127.0.0.1/device"})
	return p
}

func (p *programs) Record(_ context.Context, e event.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorded = append(p.recorded, e)
	return nil
}

func (p *programs) review(r device.Review, err error) (oauth.DeviceReview, error) {
	return oauth.DeviceReview{Review: r, Client: theTool, Scopes: oauth.ScopeNames()}, err
}

func approver(s login.LoginSession, source netip.Addr) device.Approver {
	return device.Approver{Person: s.Person.ID, UserName: s.Person.UserName, LoginSession: s.ID, Source: source}
}

func (p *programs) ReviewDevice(ctx context.Context, s login.LoginSession, source netip.Addr, typed string) (oauth.DeviceReview, error) {
	return p.review(p.Review(ctx, approver(s, source), typed))
}

func (p *programs) DecideDevice(ctx context.Context, s login.LoginSession, source netip.Addr, typed string, yes bool) (oauth.DeviceReview, error) {
	return p.review(p.Decide(ctx, approver(s, source), typed, yes))
}

// begin begins a grant as a device does.
func (p *programs) begin(t *testing.T, source string) device.Begun {
	t.Helper()
	b, err := p.Begin(t.Context(), device.Ask{Level: "workspace", Client: theTool.ID, Scope: "openid", Source: netip.MustParseAddr(source),
		UserAgent: "carnet-notebook/4.2 (linux; amd64) <b>trust me</b>"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *programs) poll(t *testing.T, b device.Begun) (device.Approval, string) {
	t.Helper()
	a, err := p.Poll(t.Context(), "workspace", theTool.ID, b.DeviceCode)
	if err == nil {
		return a, ""
	}
	return a, fault.Of(err).Code
}

func (p *programs) Pending(_ context.Context, _ login.LoginSession, handle secret.Text) (oauth.Pending, error) {
	if handle.Reveal() != "waits" {
		return oauth.Pending{}, fault.Coded(fault.Invalid, "invalid_request", "This question was not asked in this login session").WithMend("begin again in the program that sent you here")
	}
	return oauth.Pending{Client: theTool, Scope: oauth.ScopeNames(), RedirectURI: p.redirect}, nil
}

func (p *programs) answer(s login.LoginSession, handle secret.Text, word string) (string, error) {
	if _, err := p.Pending(context.Background(), s, handle); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[word] = s
	return p.redirect + "?" + word, nil
}

func (p *programs) Approve(_ context.Context, s login.LoginSession, handle secret.Text) (string, error) {
	return p.answer(s, handle, "code=x&state=a%26b")
}

func (p *programs) Deny(_ context.Context, s login.LoginSession, handle secret.Text) (string, error) {
	return p.answer(s, handle, "error=access_denied")
}

func TestADeviceIsConnected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	begun := w.programs.begin(t, "198.51.100.23")
	if p := b.signIn(w, "/device"); p.to() != "/device" { // a stranger signs in first
		t.Fatalf("back at %q", p.to())
	}
	contains(t, b.get(w.base+"/device"), "Connect a device", `name="user_code"`, "Alice Example", strings.TrimPrefix(w.base, "http://"))
	p := b.post(w.base+"/device", url.Values{"user_code": {strings.ToLower(begun.UserCode)}})
	contains(t, p, "Let this device act as you?", begun.UserCode, "Notebook &lt;server&gt;", theTool.ID, "data platform", "198.51.100.23", "Not this browser’s address", "127.0.0.1",
		"carnet-notebook/4.2", "&lt;b&gt;trust me", "just now", "Act as you in Carnet", "Know who you are", strings.TrimPrefix(w.base, "http://"), "Approve only if you began this yourself")
	if _, code := w.programs.poll(t, begun); code != device.AuthorizationPending {
		t.Errorf("looking granted something: %q", code)
	}
	p = b.post(w.base+"/device/decide", url.Values{"user_code": {begun.UserCode}, "decision": {"approve"}})
	contains(t, p, "The device is connected", "no longer once you sign out")
	if p.status != 200 {
		t.Errorf("status %d", p.status)
	}
	p = b.post(w.base+"/device/decide", url.Values{"user_code": {begun.UserCode}, "decision": {"approve"}})
	contains(t, p, "No device waits under this code", "Connect a device")
	if p.status != 404 {
		t.Errorf("a second approval: status %d", p.status)
	}
	if p = b.post(w.base+"/device/decide", url.Values{"user_code": {begun.UserCode}}); p.status != 400 {
		t.Errorf("neither yes nor no: status %d", p.status)
	}
}

func TestADeviceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/device")
	begun := w.programs.begin(t, "127.0.0.1")
	if p := b.post(w.base+"/device", url.Values{"user_code": {begun.UserCode}}); strings.Contains(p.body, "Not this browser’s address") {
		t.Error("the same address is called another")
	}
	contains(t, b.post(w.base+"/device/decide", url.Values{"user_code": {begun.UserCode}, "decision": {"refuse"}}), "The device was refused", "tell your administrator", "127.0.0.1")
	if _, code := w.programs.poll(t, begun); code != device.AccessDenied {
		t.Errorf("the device hears %q", code)
	}
}

// TestAttackDevicePhishingPrefilledLink: no address brings the code to the
// page, by whatever name; a page of another site can't post it.
func TestAttackDevicePhishingPrefilledLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	begun := w.programs.begin(t, "198.51.100.23")
	link := "/device?" + url.Values{"user_code": {begun.UserCode}, "code": {begun.UserCode}, "usercode": {begun.UserCode}, "decision": {"approve"}}.Encode()
	b.signIn(w, link)
	p := b.get(w.base + link)
	if p.status != 200 || strings.Contains(p.body, begun.UserCode) || strings.Contains(p.body, theTool.ID) {
		t.Errorf("the link fills the page in: %d %s", p.status, p.body)
	}
	for _, path := range []string{"/device", "/device/decide"} {
		form := url.Values{"user_code": {begun.UserCode}, "decision": {"approve"}}
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			if p := b.post(w.base+path, form, header...); p.status != 403 {
				t.Errorf("POST %s with %v: status %d", path, header, p.status)
			}
		}
		// A code in the address of the post does not count either.
		if p := b.post(w.base+path+"?"+form.Encode(), url.Values{"decision": {"approve"}}); p.status != 404 {
			t.Errorf("POST %s with the code in its address: status %d", path, p.status)
		}
	}
	if _, code := w.programs.poll(t, begun); code != device.AuthorizationPending {
		t.Errorf("the device hears %q", code)
	}
}

// TestAttackDevicePhishingGuessesOnThePage: whoever types wrong codes is
// stopped, and then not told about a right one.
func TestAttackDevicePhishingGuessesOnThePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/device")
	begun := w.programs.begin(t, "198.51.100.23")
	for range device.WrongPerSession {
		if p := b.post(w.base+"/device", url.Values{"user_code": {"BBBB-BBBB"}}); p.status != 404 {
			t.Fatalf("a wrong code: status %d", p.status)
		}
	}
	p := b.post(w.base+"/device", url.Values{"user_code": {begun.UserCode}})
	contains(t, p, "Too many wrong codes", "Connect a device")
	if p.status != 429 || strings.Contains(p.body, theTool.ID) {
		t.Errorf("after too many: status %d", p.status)
	}
}

func TestASetupLinkConnectsNoDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.post(w.base+"/setup", url.Values{"code": {"once"}})
	if p := b.post(w.base+"/device", url.Values{"user_code": {"BBBB-BBBB"}}); p.status != 403 {
		t.Errorf("status %d", p.status)
	}
}

func TestConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	if p := b.signIn(w, "/consent?request=waits"); p.to() != "/consent?request=waits" {
		t.Fatalf("back at %q", p.to())
	}
	p := b.get(w.base + "/consent?request=waits")
	contains(t, p, "Let Notebook &lt;server&gt; act for you?", theTool.ID, "data platform", "Alice Example", "127.0.0.1:4711", "a program on this machine",
		"Act as you in Carnet", "See your mail address", "11 h 59 min")
	if len(w.programs.asked) != 0 {
		t.Error("looking decided something")
	}
	for word, want := range map[string]string{"approve": "?code=x&state=a%26b", "refuse": "?error=access_denied"} {
		p = b.post(w.base+"/consent", url.Values{"request": {"waits"}, "decision": {word}}, "Sec-Fetch-Site", "same-origin")
		if p.status != 200 || p.header.Get("Refresh") != "0; url="+w.programs.redirect+want {
			t.Errorf("%s: status %d to %q", word, p.status, p.header.Get("Refresh"))
		}
		contains(t, p, "Back to Notebook &lt;server&gt;", `href="`+html.EscapeString(w.programs.redirect+want)+`"`)
	}
	for _, form := range []url.Values{{"request": {"waits"}}, {"request": {"another"}, "decision": {"approve"}}, {"request": {"waits"}, "decision": {"perhaps"}}} {
		if p = b.post(w.base+"/consent", form); p.status != 400 {
			t.Errorf("%v: status %d", form, p.status)
		}
	}
	// CSRF: a yes comes from our own page alone.
	if p = b.post(w.base+"/consent", url.Values{"request": {"waits"}, "decision": {"approve"}}, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
		t.Errorf("cross-site: status %d", p.status)
	}
}

// TestConsentSaysWhereItLeads: each kind of address that may be registered.
func TestConsentSaysWhereItLeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/")
	for redirect, want := range map[string]string{
		"https://app.example.com/callback?x=1": "<code>app.example.com</code></dd>",
		"http://[::1]:4711/callback":           "<code>[::1]:4711</code>, a program on this machine",
		"http://localhost:4711/callback":       "<code>localhost:4711</code>, a program on this machine",
		"com.example.app:/callback":            "<code>com.example.app</code>, a program on this machine",
		"https://127.0.0.1.evil.example/x":     "<code>127.0.0.1.evil.example</code></dd>",
	} {
		w.programs.redirect = redirect
		p := b.get(w.base + "/consent?request=waits")
		contains(t, p, want)
		policy := "form-action 'self'"
		if strings.HasPrefix(redirect, "com.") {
			policy += " com.example.app:"
		}
		if !strings.HasSuffix(p.header.Get("Content-Security-Policy"), policy) {
			t.Errorf("%s: policy %s", redirect, p.header.Get("Content-Security-Policy"))
		}
	}
	w.programs.redirect = "com.example.app:/callback"
	if p := b.post(w.base+"/consent", url.Values{"request": {"waits"}, "decision": {"refuse"}}); p.status != 303 || p.to() != "com.example.app:/callback?error=access_denied" {
		t.Errorf("to a program's own scheme: status %d to %q", p.status, p.to())
	}
}

// TestASignInLeadsToAProgramByAPage: what follows an authorization request may
// be another site, which the policy of the form's page doesn't name.
func TestASignInLeadsToAProgramByAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for returnTo, want := range map[string]string{"/oidc/v1/authorize?client_id=a&state=b%26c": "0; url=/oidc/v1/authorize?client_id=a&state=b%26c", "/cli/authorize": ""} {
		b := newBrowser(t)
		p := b.post(w.base+"/saml/consume", url.Values{"SAMLResponse": {"unasked"}, "RelayState": {"x|" + returnTo}}, "Sec-Fetch-Site", "cross-site")
		_, handle, _ := strings.Cut(p.to(), "handle=")
		p = b.post(w.base+"/sign-in/continue", url.Values{"handle": {handle}}, "Sec-Fetch-Site", "same-origin")
		if p.header.Get("Refresh") != want || (want == "") != (p.to() == returnTo) {
			t.Errorf("%s: status %d, Refresh %q, to %q", returnTo, p.status, p.header.Get("Refresh"), p.to())
		}
		if want != "" && !strings.HasSuffix(p.header.Get("Content-Security-Policy"), "form-action 'self'") {
			t.Errorf("policy %s", p.header.Get("Content-Security-Policy"))
		}
	}
}
