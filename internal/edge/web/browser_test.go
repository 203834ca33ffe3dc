//go:build interop

package web_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// chromium starts a headless browser with a profile of its own.
func chromium(t *testing.T, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.WindowSize(1280, 900))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(options, flags...)...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(stop)
	return ctx
}

func run(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func see[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestCrossSiteSignInInChromium proves the way of the cookies: begin here,
// post from another site, come back to our own host with the Lax cookie.
func TestCrossSiteSignInInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "bob" })
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/"), chromedp.WaitVisible("#go"))
	if at := see(t, ctx, chromedp.Location()); !strings.HasPrefix(at, w.idp) {
		t.Fatalf("the browser is at %s, not at the identity provider", at)
	}
	run(t, ctx, chromedp.Click("#go"), chromedp.WaitVisible(".cards"))
	if at := see(t, ctx, chromedp.Location()); at != w.base+"/" {
		t.Errorf("after sign-in at %s", at)
	}
	if n := see(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("button.copy").length`)); n == 0 {
		t.Error("the script added no copy buttons: does the policy block it?")
	}
	if b := see(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.querySelector(".top")).borderBottomStyle`)); b != "solid" {
		t.Errorf("the style sheet did not load: border %q", b)
	}
	if n := see(t, ctx, chromedp.Evaluate[int](`document.querySelector(".brand img").naturalWidth`)); n == 0 {
		t.Error("the icon did not load")
	}
	if c := see(t, ctx, chromedp.Evaluate[string](`document.cookie`)); c != "" {
		t.Errorf("script reads cookies: %q", c)
	}
	run(t, ctx, chromedp.Click(".who button"), chromedp.WaitVisible(".door"))
	if at := see(t, ctx, chromedp.Location()); !strings.HasPrefix(at, w.base+"/signed-out?said=") || len(w.signedOut) != 1 {
		t.Errorf("after sign-out at %s, ended %v", at, w.signedOut)
	}
}

// TestCommandLineApprovalInChromium: the policy lets the form end at the
// command line's own port, by redirect, on IPv4 and on IPv6.
func TestCommandLineApprovalInChromium(t *testing.T) {
	for _, listen := range []string{"127.0.0.1", "[::1]"} {
		t.Run(listen, func(t *testing.T) {
			got := make(chan url.Values, 1)
			cli := newListener(t, listen, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/done" {
					got <- r.URL.Query()
				}
				fmt.Fprint(rw, `<!doctype html><p id="done">You can close this page.</p>`)
			})
			w := newWorld(t, nil)
			ctx := chromium(t)
			q := ask(func(q url.Values) { q.Set("redirect_uri", cli+"/done") })
			run(t, ctx,
				chromedp.Navigate(w.base+"/cli/authorize?"+q.Encode()),
				chromedp.WaitVisible("#go"), chromedp.Click("#go"),
				chromedp.WaitVisible(`button[value="approve"]`), chromedp.Click(`button[value="approve"]`),
				chromedp.WaitVisible("#done"))
			select {
			case v := <-got:
				if v.Get("code") != "the&code" || v.Get("state") != "s&t" {
					t.Errorf("the command line got %v", v)
				}
			case <-time.After(10 * time.Second):
				t.Error("the command line got no answer")
			}
		})
	}
}

func newListener(t *testing.T, host string, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	if host == "[::1]" {
		l, err := net.Listen("tcp6", "[::1]:0")
		if err != nil {
			t.Fatalf("this machine has no IPv6 loopback: %v", err)
		}
		srv.Listener.Close()
		srv.Listener = l
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestOtherSitesFormsAreRefusedInChromium: with a live login session, a form of
// another site signs nobody out.
func TestOtherSitesFormsAreRefusedInChromium(t *testing.T) {
	w := newWorld(t, nil)
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `<!doctype html><form method="post" action="%s/sign-out"><button id="evil">Win a prize</button></form>`, w.base)
	}))
	defer evil.Close()
	ctx := chromium(t)
	run(t, ctx,
		chromedp.Navigate(w.base+"/"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".cards"),
		chromedp.Navigate(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)), chromedp.WaitVisible("#evil"), chromedp.Click("#evil"),
		chromedp.WaitVisible(".door"))
	if len(w.signedOut) != 0 {
		t.Error("another site's form ended the login session")
	}
	if text := see(t, ctx, chromedp.Evaluate[string](`document.querySelector("main").innerText`)); !strings.Contains(text, "request.cross-site") {
		t.Errorf("the page says: %s", text)
	}
}

// openIDProvider is one of the list, with a secret.
func openIDProvider() federation.IdP {
	p := devIdP()
	p.ID, p.Name, p.Protocol, p.EntityID, p.Metadata = "idp_op", "Keycloak", federation.OIDC, "https://sso.example.com/realms/corp", nil
	p.OIDC = federation.OIDCSettings{Issuer: p.EntityID, ClientID: "carnet", ClientSecret: secret.New("s3cret"), GroupsClaim: "realm_access.roles", RolesClaim: "aws_roles", BackChannelLogout: true}
	return p
}

// TestPagesFitTheScreenInChromium looks at every page, wide and narrow, light
// and dark: nothing runs over the side, and text stands out from its ground.
// With CARNET_SHOTS set to a folder it leaves pictures there.
func TestPagesFitTheScreenInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.idps = append(w.idps, troubled(), openIDProvider())
		w.switches.UnifiedLogin, w.nextKey = true, true
		fill(w)
	})
	ctx := chromium(t)
	signedIn := ""
	for _, p := range []struct{ name, person, path, wait string }{
		{"access-bob", "bob", "/", ".cards"},
		{"access-alice", "alice", "/", ".cards"},
		{"access-dave", "dave", "/", ".empty"},
		{"access-setup", "setup", "/", ".empty"},
		{"sso", "carol", "/admin/sso", "#providers"},
		{"sso-added", "carol", "/admin/sso?done=saved", "#providers"},
		{"sso-add", "carol", "/admin/sso/add", "#provider"},
		{"sso-add-openid", "carol", "/admin/sso/add?protocol=oidc", "#provider"},
		{"sso-openid", "carol", "/admin/sso/providers/idp_op", "#provider"},
		{"sso-provider", "carol", "/admin/sso/providers/idp_old", "#provider"},
		{"sso-provider-new", "carol", "/admin/sso/providers/idp_dev?done=added", "#provider"},
		{"report-good", "carol", "/admin/sso/test?handle=" + w.reports("good"), ".checks"},
		{"report-bad", "carol", "/admin/sso/test?handle=" + w.reports("bad"), ".checks"},
		{"left-ended", "carol", "/signed-out?said=" + said(w, login.ThereEnded), ".choices"},
		{"left-partly", "carol", "/signed-out?said=" + said(w, login.TherePartly), ".choices"},
		{"left-unclear", "carol", "/signed-out?said=" + said(w, login.ThereUnclear), ".choices"},
		{"authorize", "alice", "/cli/authorize?" + ask(nil).Encode(), ".buttons"},
		{"signed-out", "alice", "/signed-out", ".choices"},
		{"access-erin", "erin", "/", ".cards"},
		{"oidc", "carol", "/admin/oidc?done=issuer-rotate", "#issuers"},
		{"oidc-client", "carol", "/admin/oidc/clients/oac_dashboard", "#credentials"},
		{"oidc-client-public", "carol", "/admin/oidc/clients/oac_cli", "#what"},
		{"oidc-machine", "carol", "/admin/oidc/clients/spn_etl", "#credentials"},
		{"device", "alice", "/device", "#user_code"},
		{"consent", "alice", "/consent?request=waits", ".buttons"},
		{"setup", "alice", "/setup?code=once", ".door"},
		{"error", "alice", "/sign-in/complete?handle=old", ".door"},
	} {
		if signedIn != p.person {
			signedIn = p.person
			w.mu.Lock()
			w.person = p.person
			w.mu.Unlock()
			run(t, ctx, chromedp.Navigate(w.base+"/sign-in?idp=idp_dev"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("nav"))
		}
		run(t, ctx, chromedp.Navigate(w.base+p.path), chromedp.WaitVisible(p.wait))
		look(t, ctx, p.name)
	}
}

// troubled is an identity provider with everything that can be the matter.
func troubled() federation.IdP {
	p := devIdP()
	p.ID, p.Name, p.EntityID = "idp_old", "Example Corporation International", "https://sts.corp.example.com/adfs/services/trust/very/long/entity/id/of/this/identity/provider"
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	old, err := devidp.SelfSign(key, "sts.corp.example.com", time.Now().Add(-24*time.Hour), time.Now().Add(5*24*time.Hour))
	if err != nil {
		panic(err)
	}
	p.Metadata = devidp.Describe(p.EntityID, "https://sts.corp.example.com/sso", old)
	p.MetadataURL = "https://sts.corp.example.com/FederationMetadata/2007-06/FederationMetadata.xml"
	p.Kept = federation.Kept{Fetched: time.Now().Add(-50 * time.Hour), Error: "nothing answers at sts.corp.example.com:443", Why: "it brings a signing certificate that is not pinned",
		Pending: devidp.Describe(p.EntityID, "https://sts.corp.example.com/sso", certificate())}
	p.AllowSHA1, p.AllowUnsolicited, p.UserNameDomains, p.Encryption = true, true, []string{"*"}, federation.EncryptionAllowed
	p.RoleTemplates = []federation.RoleTemplate{{Group: "aws-{account}-{role}", Account: "{account}", Role: "{role}", Provider: "corp"}}
	p.Enabled = false
	return p
}

// said is an address's word after a sign-out.
func said(w *world, there login.There) string {
	text, err := w.Say(login.SignedOut{IdPName: "Dev IdP", There: there, Code: "saml.signature", KeysUntil: time.Now().Add(3 * time.Hour)})
	if err != nil {
		panic(err)
	}
	return text
}

// look measures a page with all of it opened, in four forms.
func look(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	see(t, ctx, chromedp.Evaluate[string](`document.querySelectorAll("details").forEach(d => d.setAttribute("open", "")); ""`))
	fits(t, ctx, name)
}

// overflow names elements that stick out of the window; blocks that scroll by
// themselves are fine. What a closed <details> holds has no place of its own: the
// browser answers with one from before the window changed.
const overflow = `(() => {
  const out = [];
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest("pre") && e.tagName !== "PRE" || e.classList.contains("skip") || !e.checkVisibility()) continue;
    const r = e.getBoundingClientRect();
    if (r.width > 0 && (r.right > innerWidth + 1 || r.left < -1)) out.push(e.tagName + "." + e.className);
  }
  return out.join(", ");
})()`

// contrast names text under the ratio of WCAG 2.2 AA, 4.5 to 1.
const contrast = `(() => {
  const lum = c => { const v = c.map(x => { x /= 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; }); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const rgb = s => s.match(/[\d.]+/g).map(Number);
  const out = new Set();
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.classList.contains("skip")) continue;
    let g = e, ground = [255, 255, 255];
    for (; g; g = g.parentElement) { const c = rgb(getComputedStyle(g).backgroundColor); if (c.length < 4 || c[3] > 0) { ground = c.slice(0, 3); break; } }
    const a = lum(rgb(getComputedStyle(e).color).slice(0, 3)), b = lum(ground);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) out.add(e.tagName + "." + e.className + " " + ratio.toFixed(2));
  }
  return [...out].join(", ");
})()`
