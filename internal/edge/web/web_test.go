package web_test

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/spkeys"
)

// The services are what the pages ask for.
var (
	_ web.Login            = (*login.Service)(nil)
	_ web.Arrivals         = (*login.Service)(nil)
	_ web.Logouts          = (*login.Service)(nil)
	_ web.LoginSessions    = (*login.Service)(nil)
	_ httpd.Sessions       = (*login.Service)(nil)
	_ web.Providers        = (*federation.Service)(nil)
	_ web.ProviderCare     = (*federation.Service)(nil)
	_ web.ProviderMetadata = (*federation.Service)(nil)
	_ web.Installation     = (*federation.Service)(nil)
	_ web.Keys             = (*spkeys.Service)(nil)
)

func contains(t *testing.T, p page, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(p.body, s) {
			t.Errorf("the page lacks %q:\n%s", s, p.body)
		}
	}
}

// TestTable is the pages' part of the table of routes, as a reviewer reads it.
func TestTable(t *testing.T) {
	t.Parallel()
	pages, err := web.New(web.Config{BaseURL: &url.URL{Scheme: "https", Host: "carnet.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range pages.Routes() {
		fmt.Fprintf(&b, "%s %s %s %s", r.Method, r.Pattern, r.Access, r.Rate.Name)
		for name, on := range map[string]bool{" cross-site": r.CrossSite, " any-host": r.AnyHost, " cli-token": r.CLIToken} {
			if on {
				b.WriteString(name)
			}
		}
		b.WriteString("\n")
	}
	want, err := os.ReadFile("testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the table changed; got:\n%s", b.String())
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	p := b.signIn(w, "/")
	if p.status != 303 || p.to() != "/" {
		t.Fatalf("complete: status %d to %q", p.status, p.to())
	}
	cookies := strings.Join(p.header.Values("Set-Cookie"), "\n")
	if !regexp.MustCompile(`(?m)^carnet=[^;]+; Path=/; Max-Age=431\d\d; HttpOnly; SameSite=Lax$`).MatchString(cookies) ||
		!strings.Contains(cookies, "carnet-sign-in=; Path=/; Max-Age=0") {
		t.Errorf("cookies: %s", cookies)
	}
	p = b.get(w.base + "/")
	contains(t, p, "My access", "Alice Example", "analyst", "111122223333", "Ready", "59 min left",
		"carnet exec --role analyst -- aws s3 ls s3://BUCKET/ --endpoint-url http://127.0.0.1:8481", "ENDPOINT &#39;127.0.0.1:8481&#39;", "USE_SSL false",
		"carnet login --server "+w.base, "You have one usable role")
	if strings.Contains(p.body, "Single sign-on") {
		t.Error("a person sees the administrator's page")
	}
	for _, link := range []string{"/signed-out", "/signed-out?said=made-up"} { // a stranger's link
		if strings.Contains(b.get(w.base+link).body, "You are signed out") {
			t.Errorf("%s says that a person who is signed in is not", link)
		}
	}
	p = b.post(w.base+"/sign-out", nil, "Sec-Fetch-Site", "same-origin")
	if p.status != 303 || !strings.HasPrefix(p.to(), "/signed-out?said=") || len(w.signedOut) != 1 {
		t.Errorf("sign-out: status %d to %q, ended %v", p.status, p.to(), w.signedOut)
	}
	contains(t, b.get(w.base+p.to()), "You are signed out", "Sign in with Dev IdP", "Your sign-in at Dev IdP may still be open", "in 1 h 29 min")
	if p = b.get(w.base + "/"); p.to() != "/sign-in?return_to=%2F" {
		t.Errorf("after sign-out: status %d to %q", p.status, p.to())
	}
}

func TestSignInLeavesNoSecretInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	p := b.signIn(w, "/")
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log.String()
	for _, c := range p.header.Values("Set-Cookie") {
		if v, _, _ := strings.Cut(strings.TrimPrefix(c, "carnet="), ";"); len(v) > 10 && strings.Contains(log, v) {
			t.Error("the log holds the login cookie")
		}
	}
	for _, s := range []string{"handle=", "SAMLResponse", "RelayState", "return_to"} {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %s", s)
		}
	}
	if !regexp.MustCompile(`route=/saml/consume request_id=\w+ status=303`).MatchString(log) {
		t.Errorf("the log lacks the sign-in: %s", log)
	}
}

func TestSignInReturnsToTheDeepPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.person = "carol" })
	b := newBrowser(t)
	if p := b.signIn(w, "/admin/sso?x=1"); p.to() != "/admin/sso?x=1" {
		t.Errorf("returned to %q", p.to())
	}
}

// TestReturnPathsStayHere walks each address through the whole sign-in.
func TestReturnPathsStayHere(t *testing.T) {
	t.Parallel()
	for _, evil := range []string{
		"https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil", "",
		"/%0d%0aSet-Cookie:x=y\r\nSet-Cookie: x=y", "http:/evil.example", "/" + strings.Repeat("x", 4000), "/\t/evil.example", ":",
	} {
		w := newWorld(t, nil)
		b := newBrowser(t)
		u, _ := url.Parse(b.get(w.base + "/sign-in?" + url.Values{"return_to": {evil}}.Encode()).to())
		p := b.post(w.base+"/saml/consume", url.Values{"SAMLResponse": {"good"}, "RelayState": {u.Query().Get("RelayState")}})
		if p = b.get(w.base + p.to()); p.status != 303 || p.to() != "/" {
			t.Errorf("return_to %q: status %d to %q", evil, p.status, p.to())
		}
		// A path that went wrong further down is caught at the last step too.
		pre, _, _ := strings.Cut(u.Query().Get("RelayState"), "|")
		w.mu.Lock()
		w.parked["h"] = [2]string{pre, evil}
		w.mu.Unlock()
		r, _ := http.NewRequestWithContext(t.Context(), "GET", w.base+"/sign-in/complete?handle=h", nil)
		r.Header.Set("Cookie", "carnet-sign-in="+pre)
		if p = newBrowser(t).do(r); p.status != 303 || p.to() != "/" {
			t.Errorf("parked path %q: status %d to %q", evil, p.status, p.to())
		}
	}
}

func TestCompleteNeedsTheBrowserThatBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	attacker, victim := newBrowser(t), newBrowser(t)
	u, _ := url.Parse(attacker.get(w.base + "/sign-in").to())
	consumed := attacker.post(w.base+"/saml/consume", url.Values{"SAMLResponse": {"good"}, "RelayState": {u.Query().Get("RelayState")}})
	for name, before := range map[string]func(){
		"no sign-in under way":  func() {},
		"own sign-in under way": func() { victim.get(w.base + "/sign-in") },
	} {
		before()
		p := victim.get(w.base + consumed.to())
		if p.status != 401 || strings.Contains(strings.Join(p.header.Values("Set-Cookie"), ""), "carnet=") {
			t.Errorf("%s: status %d, cookies %v", name, p.status, p.header.Values("Set-Cookie"))
		}
	}
	if p := attacker.get(w.base + consumed.to()); p.status != 303 {
		t.Errorf("the right browser: status %d", p.status)
	}
	if p := attacker.get(w.base + consumed.to()); p.status != 401 {
		t.Errorf("the handle worked twice: status %d", p.status)
	}
}

func TestSignInBeginsAtTheBaseURL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", w.base+"/sign-in?return_to=%2F", nil)
	r.Host = "other.test"
	if p := newBrowser(t).do(r); p.to() != w.base+"/sign-in?return_to=%2F" || len(p.header.Values("Set-Cookie")) != 0 {
		t.Errorf("status %d to %q", p.status, p.to())
	}
}

func TestChoiceOfIdentityProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		second, off := devIdP(), devIdP()
		second.ID, second.Name = "idp_two", "Second <IdP>"
		off.ID, off.Name, off.Enabled = "idp_off", "Switched off", false
		w.idps = append(w.idps, second, off)
	})
	b := newBrowser(t)
	p := b.get(w.base + "/sign-in?return_to=%2Fadmin%2Fsso")
	contains(t, p, "Dev IdP", "Second &lt;IdP&gt;", "idp=idp_two", "return_to=%2Fadmin%2Fsso")
	if strings.Contains(p.body, "Switched off") {
		t.Error("a disabled identity provider is offered")
	}
	if p = b.get(w.base + "/sign-in?idp=idp_two"); !strings.HasPrefix(p.to(), w.idp) {
		t.Errorf("chosen: status %d to %q", p.status, p.to())
	}
	for _, id := range []string{"idp_off", "idp_none"} {
		if p = b.get(w.base + "/sign-in?idp=" + id); p.status != 404 {
			t.Errorf("%s: status %d", id, p.status)
		}
	}
}

func TestNoIdentityProviderYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.idps = nil })
	contains(t, newBrowser(t).get(w.base+"/sign-in"), "No identity provider is set up yet", "carnet sso add")
}

func TestPassThroughErrorHeader(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"", "ValidationError", "Malformed role name attribute", "Access\r\nSet-Cookie: x=y"} {
		w := newWorld(t, func(w *world) { w.passError = v })
		p := newBrowser(t).post(w.base+"/saml/consume", url.Values{"SAMLResponse": {"good"}, "RelayState": {"pre|/"}})
		got, present := p.header["X-Databricks-Passthrough-Error"]
		if present != (v != "") || (present && got[0] != strings.NewReplacer("\r", " ", "\n", " ").Replace(v)) || len(p.header.Values("Set-Cookie")) != 0 {
			t.Errorf("%q: header %q, cookies %v", v, got, p.header.Values("Set-Cookie"))
		}
	}
}

func TestRefusedResponses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	good := url.Values{"SAMLResponse": {"good"}, "RelayState": {"pre|/"}}
	for _, c := range []struct {
		name   string
		form   url.Values
		query  string
		kind   string
		status int
		code   string
	}{
		{"refused by the service", url.Values{"SAMLResponse": {"forged"}, "RelayState": {"pre|/"}}, "", "", 401, "saml.signature"},
		{"unsolicited", url.Values{"SAMLResponse": {"good"}}, "", "", 403, "saml.unsolicited"},
		{"no response", url.Values{"RelayState": {"pre|/"}}, "", "", 400, "saml.form"},
		{"two responses", url.Values{"SAMLResponse": {"good", "good"}, "RelayState": {"pre|/"}}, "", "", 400, "saml.form"},
		{"two relay states", url.Values{"SAMLResponse": {"good"}, "RelayState": {"a|/", "b|/"}}, "", "", 400, "saml.form"},
		{"response in the query", url.Values{}, "?" + good.Encode(), "", 400, "saml.form"},
		{"not a form", good, "", "text/plain", 400, "saml.form"},
		{"a form of a hundred thousand fields", url.Values{"SAMLResponse": {"good"}, "a": make([]string, 100000)}, "", "", 400, "request.form"},
		{"over the limit", url.Values{"SAMLResponse": {strings.Repeat("x", 1<<20)}}, "", "", 413, "request.body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			header := []string{"Sec-Fetch-Site", "cross-site"}
			if c.kind != "" {
				header = append(header, "Content-Type", c.kind)
			}
			p := newBrowser(t).post(w.base+"/saml/consume"+c.query, c.form, header...)
			if p.status != c.status || len(p.header.Values("Set-Cookie")) != 0 {
				t.Errorf("status %d, want %d; cookies %v", p.status, c.status, p.header.Values("Set-Cookie"))
			}
			contains(t, p, "The sign-in was refused", "<code>"+c.code+"</code>", p.header.Get("X-Request-Id"), `href="/sign-in"`)
			if strings.Contains(p.body, "forged") {
				t.Error("the page repeats the response")
			}
		})
	}
	if p := newBrowser(t).get(w.base + "/saml/consume"); p.status != 404 {
		t.Errorf("GET of the consumer: status %d", p.status)
	}
}

func TestRolesThatCantBeHadAreExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.person = "bob" })
	b := newBrowser(t)
	b.signIn(w, "/")
	p := b.get(w.base + "/")
	contains(t, p, "The keys of this role last 1 hour at most.", "--role-name analyst --max-session-duration 14400")
	contains(t, p, "pipeline", "Not available", "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML.",
		"Let the trust policy", "nightly", "Expired", "Sign in again", "role/other was dropped", "several usable roles")
	if strings.Contains(p.body, "exec --role pipeline") || strings.Contains(p.body, "exec --role nightly") {
		t.Error("a role that can't be had is offered for use")
	}
}

// TestRolesOfOneNameAreNamedInFull: the command takes the ARN then, as one word
// of the shell whatever the path holds.
func TestRolesOfOneNameAreNamedInFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/")
	w.mu.Lock()
	for c, s := range w.sessions {
		second := s.Roles[0]
		second.Role.Path = "/$(reboot)'/"
		s.Roles = append(s.Roles, second)
		w.sessions[c] = s
	}
	w.mu.Unlock()
	contains(t, b.get(w.base+"/"), "exec --role arn:aws:iam::111122223333:role/analyst -- aws",
		html.EscapeString(`exec --role 'arn:aws:iam::111122223333:role/$(reboot)'\''/analyst' -- aws`))
}

func TestNoRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.person = "dave" })
	b := newBrowser(t)
	b.signIn(w, "/")
	p := b.get(w.base + "/")
	contains(t, p, "You have no roles yet", "dave@example.com")
	if p = b.get(w.base + "/admin/sso"); p.status != 403 {
		t.Errorf("dave at the administrator's page: status %d", p.status)
	}
	contains(t, p, "You may not do this", "Sign out", "Dave Example", "login.not-administrator")
}

func TestPeoplesTextIsEscaped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/")
	w.mu.Lock()
	for c, s := range w.sessions {
		s.Person.DisplayName = `<script>alert(1)</script>`
		s.Roles[0].AccountName = `"><img src=x>`
		s.Notes = []string{`<b>note</b>`}
		w.sessions[c] = s
	}
	w.mu.Unlock()
	p := b.get(w.base + "/")
	for _, bad := range []string{"<script>alert", "<img src=x", "<b>note"} {
		if strings.Contains(p.body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
}

func TestSetup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.waiting, w.idps = true, nil })
	b := newBrowser(t)
	p := b.get(w.base + "/")
	if p.status != 503 {
		t.Errorf("before set-up: status %d", p.status)
	}
	contains(t, p, "waits for its first administrator", "set-up link")
	for range 3 { // opening the link uses nothing up
		p = b.get(w.base + "/setup?code=once")
		contains(t, p, `name="code" value="once"`, "Begin the set-up")
	}
	p = b.post(w.base+"/setup", url.Values{"code": {"stale"}})
	if p.status != 401 {
		t.Errorf("stale code: status %d", p.status)
	}
	contains(t, p, "used already or is too old", "carnet admin recover")
	p = b.post(w.base+"/setup", url.Values{"code": {"once"}}, "Sec-Fetch-Site", "cross-site")
	if p.status != 403 {
		t.Errorf("from another site: status %d", p.status)
	}
	p = b.post(w.base+"/setup", url.Values{"code": {"once"}}, "Sec-Fetch-Site", "same-origin")
	if p.status != 303 || p.to() != "/admin/sso" {
		t.Fatalf("set-up: status %d to %q", p.status, p.to())
	}
	contains(t, b.get(w.base+"/admin/sso"), "None yet", w.base+"/saml/consume")
	contains(t, b.get(w.base+"/admin/sso/add"), "analytics", "111122223333")
	contains(t, b.get(w.base+"/"), "You came with a set-up link", "First administrator")
}

func TestAdministratorEntersAnIdentityProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.person = "carol" })
	b := newBrowser(t)
	b.signIn(w, "/")
	send := func(metadata string) page {
		var body bytes.Buffer
		m := multipart.NewWriter(&body)
		for _, f := range [][2]string{
			{"name", "Example <Inc>"}, {"accounts", "111122223333"}, {"role_patterns", "arn:aws:iam::111122223333:role/*\r\n\r\n"},
			{"user_name_domains", " example.com \r\nexample.org"}, {"administrator_groups", ""}, {"metadata", "ignored"}, {"enabled", "yes"},
		} {
			_ = m.WriteField(f[0], f[1])
		}
		part, _ := m.CreateFormFile("metadata_file", "metadata.xml")
		_, _ = part.Write([]byte(metadata))
		_ = m.Close()
		r, _ := http.NewRequestWithContext(t.Context(), "POST", w.base+"/admin/sso/add", &body)
		r.Header.Set("Content-Type", m.FormDataContentType())
		return b.do(r)
	}
	p := send("no xml")
	if p.status != 400 {
		t.Errorf("bad metadata: status %d", p.status)
	}
	contains(t, p, "The metadata is not an XML document.", "Download it", `value="Example &lt;Inc&gt;"`, `value="111122223333" checked`, "example.org")
	p = send("<EntityDescriptor/>")
	if p.status != 303 {
		t.Fatalf("status %d: %s", p.status, p.body)
	}
	got := w.List()[1]
	if string(got.Metadata) != "<EntityDescriptor/>" || len(got.RolePatterns) != 1 || len(got.UserNameDomains) != 2 || got.UserNameDomains[0] != "example.com" ||
		len(got.AdministratorGroups) != 0 || got.AllowAutoCreate || !got.Enabled || len(got.Accounts) != 1 {
		t.Errorf("stored %+v", got)
	}
	contains(t, b.get(w.base+p.to()), "Example &lt;Inc&gt;</h1>", "The identity provider is entered")
	if p = send(strings.Repeat("<", 1<<20)); p.status != 413 {
		t.Errorf("over the limit: status %d", p.status)
	}
}

const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

func ask(change func(url.Values)) url.Values {
	q := url.Values{"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "state": {"s&t"},
		"redirect_uri": {"http://127.0.0.1:4711/done"}, "machine": {"desk <1>"}}
	if change != nil {
		change(q)
	}
	return q
}

func TestCommandLineIsApproved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	deep := "/cli/authorize?" + ask(nil).Encode()
	if p := b.signIn(w, deep); p.to() != deep {
		t.Fatalf("sign-in led to %q", p.to())
	}
	p := b.get(w.base + deep)
	contains(t, p, "Alice Example", "desk &lt;1&gt;", "http://127.0.0.1:4711/done", "127.0.0.1")
	if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' http://127.0.0.1:4711") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	if len(w.codes) != 0 {
		t.Error("opening the page made a code")
	}
	for decision, want := range map[string]string{
		"approve": "http://127.0.0.1:4711/done?code=the%26code&state=s%26t",
		"refuse":  "http://127.0.0.1:4711/done?error=access_denied&state=s%26t",
	} {
		form := ask(func(q url.Values) { q.Set("decision", decision) })
		if p = b.post(w.base+"/cli/authorize", form, "Sec-Fetch-Site", "same-origin"); p.status != 303 || p.to() != want {
			t.Errorf("%s: status %d to %q", decision, p.status, p.to())
		}
		if p = b.post(w.base+"/cli/authorize", form, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
			t.Errorf("%s from another site: status %d", decision, p.status)
		}
	}
	if len(w.codes) != 1 || w.codes[0] != challenge+" http://127.0.0.1:4711/done" {
		t.Errorf("codes %q", w.codes)
	}
	if p = b.post(w.base+"/cli/authorize", ask(nil)); p.status != 400 {
		t.Errorf("no decision: status %d", p.status)
	}
}

func TestCommandLineRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/")
	set := func(k, v string) func(url.Values) { return func(q url.Values) { q.Set(k, v) } }
	for name, change := range map[string]func(url.Values){
		"another host":             set("redirect_uri", "http://evil.example:80/"),
		"https":                    set("redirect_uri", "https://127.0.0.1:4711/"),
		"no port":                  set("redirect_uri", "http://127.0.0.1/"),
		"port 0":                   set("redirect_uri", "http://127.0.0.1:0/"),
		"port too high":            set("redirect_uri", "http://127.0.0.1:70000/"),
		"user in front":            set("redirect_uri", "http://127.0.0.1:1@evil.example:80/"),
		"loopback as a label":      set("redirect_uri", "http://127.0.0.1.evil.example:80/"),
		"another loopback address": set("redirect_uri", "http://127.0.0.2:4711/"),
		"any address":              set("redirect_uri", "http://0.0.0.0:4711/"),
		"mapped address":           set("redirect_uri", "http://[::ffff:127.0.0.1]:4711/"),
		"query":                    set("redirect_uri", "http://127.0.0.1:4711/?a=b"),
		"fragment":                 set("redirect_uri", "http://127.0.0.1:4711/#a"),
		"script":                   set("redirect_uri", "javascript:alert(1)"),
		"none":                     set("redirect_uri", ""),
		"plain challenge":          set("code_challenge_method", "plain"),
		"no challenge":             set("code_challenge", ""),
		"short challenge":          set("code_challenge", challenge[:42]),
		"padded challenge":         set("code_challenge", challenge[:42]+"="),
		"long state":               set("state", strings.Repeat("s", 129)),
		"long machine":             set("machine", strings.Repeat("m", 65)),
		"machine of two lines":     set("machine", "a\nb"),
		"two redirects":            func(q url.Values) { q.Add("redirect_uri", "http://127.0.0.1:4712/") },
	} {
		form := ask(change)
		if p := b.get(w.base + "/cli/authorize?" + form.Encode()); p.status != 400 {
			t.Errorf("%s, page: status %d", name, p.status)
		}
		form.Set("decision", "approve")
		if p := b.post(w.base+"/cli/authorize", form); p.status != 400 || p.to() != "" {
			t.Errorf("%s, form: status %d to %q", name, p.status, p.to())
		}
	}
	if len(w.codes) != 0 {
		t.Errorf("codes %q", w.codes)
	}
	for _, good := range []string{"http://[::1]:4711/", "http://localhost:4711/x"} {
		if p := b.get(w.base + "/cli/authorize?" + ask(set("redirect_uri", good)).Encode()); p.status != 200 {
			t.Errorf("%s: status %d", good, p.status)
		}
	}
}

func TestStaticFilesAndProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.waiting = true })
	b := newBrowser(t)
	p := b.get(w.base + "/")
	addresses := regexp.MustCompile(`"(/static/[^"]+)"`).FindAllStringSubmatch(p.body, -1)
	if len(addresses) != 4 {
		t.Fatalf("the frame names %d static files", len(addresses))
	}
	for _, a := range addresses {
		f := b.get(w.base + a[1])
		if f.status != 200 || !strings.Contains(f.header.Get("Cache-Control"), "immutable") || f.header.Get("Content-Type") == "" {
			t.Errorf("%s: status %d, %v", a[1], f.status, f.header)
		}
		bare, _, _ := strings.Cut(a[1], "?")
		if f = b.get(w.base + bare); f.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s is kept without a version", bare)
		}
	}
	for path, want := range map[string]int{"/static/none.css": 404, "/static/": 404, "/static/..%2Fweb.go": 404, "/healthz": 200, "/readyz": 200, "/saml/metadata": 200} {
		if p := b.get(w.base + path); p.status != want {
			t.Errorf("%s: status %d, want %d", path, p.status, want)
		}
	}
	away := newWorld(t, func(w *world) { w.notReady = errors.New("database is away at 10.0.0.9") })
	if p = b.get(away.base + "/readyz"); p.status != 503 || strings.Contains(p.body, "10.0.0.9") {
		t.Errorf("not ready: status %d: %s", p.status, p.body)
	}
}

// TestEveryKindHasAPage writes each kind of fault as a page.
func TestEveryKindHasAPage(t *testing.T) {
	t.Parallel()
	pages, err := web.New(web.Config{BaseURL: &url.URL{Scheme: "https", Host: "carnet.example.com"}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, k := range fault.Kinds() {
		w := httptest.NewRecorder()
		pages.ErrorPage(w, httptest.NewRequest("GET", "/x", nil), fault.New(k, "what failed").WithMend("do this").WithCause(errors.New("hidden")))
		p := page{w.Code, w.Header(), w.Body.String()}
		contains(t, p, "What failed.", "Do this.", "<code>"+k.String()+"</code>")
		h := regexp.MustCompile(`<h1>.*</h1>`).FindString(p.body)
		if h == "" || seen[h] || strings.Contains(p.body, "hidden") {
			t.Errorf("%s: heading %q", k, h)
		}
		seen[h] = true
	}
}
