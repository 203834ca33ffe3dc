package server_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

const sloURL = "http://localhost:8482/slo"

// flows is an installation whose identity provider, the forge, has a place for
// single logout, and an administrator at work in one browser.
type flows struct {
	*post
	admin    *visitor.Visitor
	settings string // address of the identity provider's settings
}

func newFlows(t *testing.T) *flows {
	t.Helper()
	f := &flows{post: &post{installation: install(t), idp: forge.New(t, time.Now())}, admin: visitor.New(nil)}
	metadata := devidp.DescribeWithLogout(forge.EntityID, forge.SSOURL, sloURL, f.idp.Certificate)
	f.must(t, "sso", "add", "--name", "Corp", "--metadata", f.write(t, "idp.xml", string(metadata)), "--accounts", "111122223333",
		"--roles", "arn:aws:iam::1*:role/*", "--domains", "*")
	f.must(t, "authority", "apply", f.authority(t, metadata))
	f.running = f.serve(t)
	page := submit(t, f.admin, open(t, f.admin, f.link(f.must(t, "admin", "recover"))), "code", nil)
	link := regexp.MustCompile(`href="(/admin/sso/providers/[^"]+)"`).FindStringSubmatch(page.Body)
	if link == nil {
		t.Fatalf("no identity provider on the page\n%s", page.Body)
	}
	f.settings = f.base + link[1]
	return f
}

// set changes settings on the page, past its warnings.
func (f *flows) set(t *testing.T, fields map[string]string) {
	t.Helper()
	page := open(t, f.admin, f.settings)
	for range 2 {
		page = submit(t, f.admin, page, "signed", fields)
		if page.Status != http.StatusOK {
			t.Fatalf("saving answers %d\n%s", page.Status, page.Body)
		}
		if strings.Contains(page.Body, "The settings are saved") {
			return
		}
		if !strings.Contains(page.Body, "Before this is saved") {
			break
		}
	}
	t.Fatalf("not saved\n%s", page.Body)
}

// bring posts a message as a browser does from another site, and keeps what
// cookies the answer sets. Lax cookies don't come along.
func (f *flows) bring(t *testing.T, v *visitor.Visitor, fields url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.base+"/saml/consume", strings.NewReader(fields.Encode()))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "http://localhost:8482")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := v.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, html.UnescapeString(string(body))
}

// unasked brings a response that nobody here asked for, as somebody.
func (f *flows) unasked(t *testing.T, v *visitor.Visitor, name, relay string) (*http.Response, string) {
	t.Helper()
	raw := f.answer(t, began{}, func(a *devidp.Answer) { a.NameID, a.Attributes[1].Values = name, []string{name} })
	return f.bring(t, v, url.Values{"SAMLResponse": {forge.Encode(raw)}, "RelayState": {relay}})
}

// whoami asks the API; empty: nobody.
func (f *flows) whoami(t *testing.T, v *visitor.Visitor) string {
	t.Helper()
	var got struct {
		Person struct {
			UserName string `json:"user_name"`
		}
	}
	ask(t, v, http.MethodGet, f.base+"/api/v1/session", "", &got)
	return got.Person.UserName
}

func wantPage(t *testing.T, page *visitor.Page, status int, texts ...string) {
	t.Helper()
	body := html.UnescapeString(page.Body)
	for _, want := range texts {
		if page.Status != status || !strings.Contains(body, want) {
			t.Errorf("%s answers %d, want %d with %q\n%s", page.URL, page.Status, status, want, body)
			return
		}
	}
}

// TestUnsolicitedOverTheWire: off by default; on, it asks in the browser that
// brought it, once, and never replaces a login session that is open.
func TestUnsolicitedOverTheWire(t *testing.T) {
	t.Parallel()
	f := newFlows(t)
	v := visitor.New(nil)
	resp, body := f.unasked(t, v, "alice", "/")
	f.mustRefuse(t, resp, html.EscapeString(body), 403, "saml.unsolicited", "no sign-in")
	f.set(t, map[string]string{"allow_unsolicited": "yes"})

	resp, _ = f.unasked(t, v, "alice", "https://evil.example/")
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/sign-in/continue?handle=") {
		t.Fatalf("the post answers %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	address := f.base + resp.Header.Get("Location")
	page := open(t, v, address)
	wantPage(t, page, http.StatusOK, "Continue as alice?", "Corp")
	wantPage(t, open(t, visitor.New(nil), address), http.StatusUnauthorized, "begun in another browser") // login CSRF by link
	if who := f.whoami(t, v); who != "" {
		t.Errorf("signed in as %s before anybody said yes", who)
	}
	if page = submit(t, v, page, "handle", nil); page.URL.Path != "/" || f.whoami(t, v) != "alice" {
		t.Errorf("continued at %s as %s", page.URL, f.whoami(t, v))
	}

	resp, _ = f.unasked(t, v, "mallory", "/") // login CSRF by post
	page = open(t, v, f.base+resp.Header.Get("Location"))
	wantPage(t, page, http.StatusOK, "You are signed in as alice", "mallory", "It was not taken")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.base+"/sign-in/continue", strings.NewReader(page.URL.RawQuery))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	again, err := v.Do(req)
	must(t, err)
	_ = again.Body.Close()
	if again.StatusCode != http.StatusConflict || f.whoami(t, v) != "alice" {
		t.Errorf("continuing all the same answers %d; signed in as %s", again.StatusCode, f.whoami(t, v))
	}

	raw := f.answer(t, began{})
	for i, status := range []int{http.StatusSeeOther, http.StatusForbidden} {
		if resp, body := f.bring(t, visitor.New(nil), url.Values{"SAMLResponse": {forge.Encode(raw)}}); resp.StatusCode != status {
			t.Errorf("post %d of one response answers %d\n%s", i+1, resp.StatusCode, body)
		}
	}
}

// TestMixedUpIdentityProviders: one may not answer what another was asked, and
// an unknown one is named.
func TestMixedUpIdentityProviders(t *testing.T) {
	t.Parallel()
	f := newFlows(t)
	second := forge.New(t, time.Now())
	second.EntityID = "https://second.example/metadata"
	f.must(t, "sso", "add", "--name", "Second", "--metadata", f.write(t, "second.xml", string(second.Metadata())), "--accounts", "111122223333",
		"--roles", "*", "--domains", "*")
	soon(t, "a second identity provider", func() bool { return strings.Contains(open(t, f.admin, f.base+"/admin/sso").Body, "Second") })
	choice := choiceOfCorp.FindStringSubmatch(open(t, visitor.New(nil), f.base+"/signed-out").Body)
	b := f.beginAt(t, f.base+choice[1])
	corp := f.idp
	f.idp = second
	raw := f.answer(t, b)
	f.idp = corp
	resp, body := f.send(t, forge.Encode(raw), "")
	f.mustRefuse(t, resp, body, 401, "saml.issuer", "second.example")

	f.set(t, map[string]string{"allow_unsolicited": "yes"})
	raw = f.answer(t, began{}, func(a *devidp.Answer) { a.Issuer = "https://third.example" })
	resp, body = f.send(t, forge.Encode(raw), "")
	f.mustRefuse(t, resp, body, 401, "saml.issuer", "third.example")
}

// signedIn signs alice in, in a browser of her own.
func (f *flows) signedIn(t *testing.T) *visitor.Visitor {
	t.Helper()
	b := f.begin(t)
	resp, body := f.send(t, forge.Encode(f.answer(t, b)), "")
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("the post answers %d\n%s", resp.StatusCode, body)
	}
	open(t, b.browser, f.base+resp.Header.Get("Location"))
	if who := f.whoami(t, b.browser); who != "alice" {
		t.Fatalf("signed in as %q", who)
	}
	return b.browser
}

func (f *flows) logout(change func(*devidp.Logout)) devidp.Logout {
	l := devidp.Logout{ID: devidp.NewID(), Issuer: forge.EntityID, Destination: f.base + "/saml/consume", IssueInstant: time.Now(), NameID: "alice"}
	if change != nil {
		change(&l)
	}
	return l
}

func (f *flows) query(t *testing.T, l devidp.Logout, relay string) string {
	t.Helper()
	raw, err := devidp.Serialize(l.Document())
	must(t, err)
	query, err := f.idp.RedirectQuery(l.Field(), raw, relay)
	must(t, err)
	return f.base + "/saml/consume?" + query
}

// TestLogoutByTheIdentityProviderOverTheWire: by POST and by redirect; a signed
// answer goes back, and the login session is over.
func TestLogoutByTheIdentityProviderOverTheWire(t *testing.T) {
	t.Parallel()
	f := newFlows(t)
	stranger := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answered := func(resp *http.Response, relay string) {
		t.Helper()
		to, err := resp.Location()
		if err != nil || resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to.String(), sloURL+"?SAMLResponse=") ||
			to.Query().Get("Signature") == "" || to.Query().Get("RelayState") != relay {
			t.Errorf("the answer is %d to %v", resp.StatusCode, to)
		}
	}

	alice := f.signedIn(t)
	raw, err := f.idp.Post(f.logout(nil))
	must(t, err)
	resp, body := f.bring(t, visitor.New(nil), url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(raw)}, "RelayState": {"their own"}})
	answered(resp, "their own")
	if who := f.whoami(t, alice); who != "" {
		t.Errorf("%s is still signed in\n%s", who, body)
	}
	resp, body = f.bring(t, visitor.New(nil), url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(raw)}})
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "The sign-out message was refused") || !strings.Contains(body, "saml.replayed") {
		t.Errorf("a replay answers %d\n%s", resp.StatusCode, body)
	}

	alice = f.signedIn(t)
	unsigned, err := devidp.Serialize(f.logout(nil).Document())
	must(t, err)
	resp, body = f.bring(t, visitor.New(nil), url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(unsigned)}})
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "saml.unsigned") {
		t.Errorf("an unsigned request answers %d\n%s", resp.StatusCode, body)
	}
	for name, change := range map[string]func(string) string{
		"changed": func(q string) string { return strings.Replace(q, "Signature=", "Signature=AAAA", 1) },
		"doubled": func(q string) string { return q + "&SAMLRequest=x" },
	} {
		page := open(t, visitor.New(nil), change(f.query(t, f.logout(nil), "")))
		if page.Status < 400 || page.Status > 499 {
			t.Errorf("%s: %d\n%s", name, page.Status, page.Body)
		}
	}
	if who := f.whoami(t, alice); who != "alice" {
		t.Error("a refused logout ended the login session")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.query(t, f.logout(nil), "r"), nil)
	must(t, err)
	resp, err = stranger.Do(req)
	must(t, err)
	_ = resp.Body.Close()
	answered(resp, "r")
	if who := f.whoami(t, alice); who != "" {
		t.Errorf("%s is still signed in", who)
	}
	wantPage(t, open(t, visitor.New(nil), f.base+"/saml/consume"), http.StatusNotFound, "saml.nothing")
	f.stop()
	f.nothingLeaks(t)
}

// TestSignOutTellsTheIdentityProvider: the login session has ended before
// anything is sent, whatever comes back.
func TestSignOutTellsTheIdentityProvider(t *testing.T) {
	t.Parallel()
	f := newFlows(t)
	leave := func() (*visitor.Visitor, string) {
		t.Helper()
		alice := f.signedIn(t)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.base+"/sign-out", nil)
		must(t, err)
		resp, err := alice.Do(req)
		must(t, err)
		defer resp.Body.Close()
		_, to, _ := strings.Cut(resp.Header.Get("Refresh"), "url=")
		u, err := url.Parse(to)
		must(t, err)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(to, sloURL+"?SAMLRequest=") || u.Query().Get("Signature") == "" {
			t.Fatalf("the sign-out answers %d to %q", resp.StatusCode, to)
		}
		if who := f.whoami(t, alice); who != "" {
			t.Errorf("%s is still signed in", who)
		}
		raw, err := saml.LogoutInput{Binding: saml.BindingRedirect, RawQuery: u.RawQuery}.Document()
		must(t, err)
		return alice, string(regexp.MustCompile(` ID="([^"]+)"`).FindSubmatch(raw)[1])
	}
	alice, id := leave()
	answer := func(change func(*devidp.Logout)) devidp.Logout {
		return f.logout(func(l *devidp.Logout) {
			l.InResponseTo, l.NameID = id, ""
			if change != nil {
				change(l)
			}
		})
	}
	wantPage(t, open(t, alice, f.query(t, answer(nil), "")), http.StatusOK, "You are signed out", "Corp says that it ended your sign-in there too")
	raw, err := f.idp.Post(answer(func(l *devidp.Logout) { l.Status = devidp.StatusResponder }))
	must(t, err)
	resp, _ := f.bring(t, alice, url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(raw)}})
	wantPage(t, open(t, alice, f.base+resp.Header.Get("Location")), http.StatusOK, "Corp could not end your sign-in everywhere")
	bad, err := forge.New(t, time.Now()).Post(answer(nil))
	must(t, err)
	resp, _ = f.bring(t, alice, url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(bad)}})
	wantPage(t, open(t, alice, f.base+resp.Header.Get("Location")), http.StatusOK, "is not known", "saml.signature")
	wantPage(t, open(t, alice, f.base+"/signed-out?said=made-up"), http.StatusOK, "You are signed out")
}

// TestTestSignInOverTheWire: a report for the administrator who began it; it
// signs nobody in, and its address is worth nothing to others.
func TestTestSignInOverTheWire(t *testing.T) {
	t.Parallel()
	f := newFlows(t)
	begin := func() began {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.settings+"/act", strings.NewReader("act=test"))
		must(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := f.admin.Do(req)
		must(t, err)
		_ = resp.Body.Close()
		_, to, _ := strings.Cut(resp.Header.Get("Refresh"), "url=")
		return began{requestID: requestOf(t, to)}
	}
	b := begin()
	raw := f.answer(t, b)
	resp, body := f.send(t, forge.Encode(raw), "")
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/admin/sso/test?handle=") {
		t.Fatalf("the post answers %d\n%s", resp.StatusCode, body)
	}
	address := f.base + resp.Header.Get("Location")
	page := open(t, f.admin, address)
	wantPage(t, page, http.StatusOK, "alice would be signed in", "saml.signature", "saml.audience", "login.session-name", analyst, "The certificate that verified it", forge.AttrRole)
	if who := f.whoami(t, f.admin); who != "set-up link" {
		t.Errorf("the administrator is %q now", who)
	}
	alice := f.signedIn(t)
	wantPage(t, open(t, alice, address), http.StatusForbidden, "login.not-administrator")
	resp, body = f.send(t, forge.Encode(raw), "")
	f.mustRefuse(t, resp, body, 403, "saml.replayed", "used before")

	raw = f.answer(t, begin(), func(a *devidp.Answer) { a.Audiences = []string{"https://elsewhere.example"} })
	resp, _ = f.send(t, forge.Encode(raw), "")
	page = open(t, f.admin, f.base+resp.Header.Get("Location"))
	wantPage(t, page, http.StatusOK, "This sign-in would fail", "elsewhere.example", "saml.audience", "What to do")
	if strings.Contains(page.Body, forge.AttrRole) {
		t.Error("the report shows attributes that were not verified")
	}
	f.stop()
	f.nothingLeaks(t)
}

// TestEncryptedOverTheWire: switched on, our metadata offers a key; the local
// authority reads the assertion too.
func TestEncryptedOverTheWire(t *testing.T) {
	t.Parallel()
	f := newFlows(t)
	metadata := func() string {
		page := open(t, visitor.New(nil), f.base+"/saml/metadata")
		return page.Body
	}
	if strings.Contains(metadata(), `use="encryption"`) {
		t.Error("a key to encrypt for, although encryption is off")
	}
	f.set(t, map[string]string{"encryption": "required"})
	found := regexp.MustCompile(`(?s)use="encryption".*?X509Certificate>([^<]+)<`).FindStringSubmatch(metadata())
	if found == nil {
		t.Fatalf("no key to encrypt for in %s", metadata())
	}
	block, _ := pem.Decode([]byte("-----BEGIN CERTIFICATE-----\n" + strings.TrimSpace(found[1]) + "\n-----END CERTIFICATE-----\n"))
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	in := f.take(t, func(a *devidp.Answer) { a.EncryptTo = certificate.PublicKey.(*rsa.PublicKey) })
	in.ready(t, analyst)
	resp, body := f.send(t, forge.Encode(f.answer(t, f.begin(t))), "")
	f.mustRefuse(t, resp, body, 401, "saml.encrypted", "not encrypted")
}
