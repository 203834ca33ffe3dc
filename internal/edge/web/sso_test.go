package web_test

import (
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// administrator signs carol in.
func administrator(t *testing.T, change func(*world)) (*world, *browser) {
	t.Helper()
	w := newWorld(t, func(w *world) {
		w.person = "carol"
		if change != nil {
			change(w)
		}
	})
	b := newBrowser(t)
	b.signIn(w, "/")
	return w, b
}

// form is what the settings page of the development identity provider sends.
func form(change url.Values) url.Values {
	f := url.Values{"name": {"Dev IdP"}, "accounts": {"111122223333"}, "role_patterns": {"*"}, "user_name_domains": {"example.com"},
		"request_binding": {"redirect"}, "signed": {"either"}, "encryption": {"off"}, "certificate_dates": {"enforce"}, "revision": {"1"}}
	for k, v := range change {
		f[k] = v
	}
	return f
}

const devPage = "/admin/sso/providers/idp_dev"

// TestSettingsOfAnIdentityProvider: every field goes in and comes back out.
func TestSettingsOfAnIdentityProvider(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	want := federation.Settings{
		RequestBinding: "post", SignRequests: true, ForceAuthn: true, AuthnContexts: []string{"urn:a", "urn:b"}, AllowUnsolicited: true,
		Signed: "both", Encryption: "required", AllowCBC: true, AllowSHA1: true, CertificateDates: "ignore", MapSessionName: true,
		UserNameAttribute: "uid", DisplayNameAttribute: "cn", MailAttribute: "email",
		RoleTemplates: []federation.RoleTemplate{{Group: "aws => {account} {role}", Account: "{account}", Role: "{role}", Provider: "corp"}},
		MetadataURL:   "https://idp.example.com/m", MetadataPin: []string{strings.Repeat("ab", 32)},
	}
	f := form(url.Values{"request_binding": {"post"}, "sign_requests": {"yes"}, "force_authn": {"yes"}, "authn_contexts": {"urn:a\r\n\r\n urn:b "},
		"allow_unsolicited": {"yes"}, "signed": {"both"}, "encryption": {"required"}, "allow_cbc": {"yes"}, "allow_sha1": {"yes"},
		"certificate_dates": {"ignore"}, "map_session_name": {"yes"}, "user_name_attribute": {" uid "}, "display_name_attribute": {"cn"},
		"mail_attribute": {"email"}, "groups_attribute": {"memberOf"}, "role_templates": {"aws => {account} {role} => {account} {role} corp\r\n"},
		"metadata_url": {"https://idp.example.com/m"}, "metadata_pin": {strings.Repeat("ab", 32)}, "allow_auto_create": {"yes"}})
	p := b.post(w.base+devPage, f)
	contains(t, p, "Before this is saved", "SHA-1 signatures", `name="confirmed"`)
	if w.List()[0].Signed != "" {
		t.Error("saved before the warnings were seen")
	}
	f["confirmed"] = federation.Warnings(federation.IdP{Settings: want}, nil)
	if p = b.post(w.base+devPage, f); p.status != 303 || p.to() != devPage+"?done=saved" {
		t.Fatalf("status %d to %q: %s", p.status, p.to(), p.body)
	}
	got := w.List()[0]
	if d, g := got.Settings, got.GroupsAttribute; !equalSettings(d, want) || g != "memberOf" || !got.AllowAutoCreate || len(got.Accounts) != 1 || len(got.AdministratorGroups) != 0 {
		t.Errorf("stored %+v %q, want %+v", d, g, want)
	}
	contains(t, b.get(w.base+p.to()), "The settings are saved", `value="post" checked`, `name="sign_requests" value="yes" checked`, `value="both" selected`,
		`value="required" selected`, "aws =&gt; {account} {role} =&gt; {account} {role} corp", "urn:a\nurn:b", `value="uid"`, "https://idp.example.com/m",
		"Sign-ins that nobody asked for here are accepted", "Fetch the metadata now")
	if got.Kept.Fetched.IsZero() {
		t.Error("the new address was not asked")
	}
}

func equalSettings(a, b federation.Settings) bool {
	x, y := a.RoleTemplates, b.RoleTemplates
	same := len(x) == len(y) && strings.Join(a.AuthnContexts, "\n") == strings.Join(b.AuthnContexts, "\n") && strings.Join(a.MetadataPin, "\n") == strings.Join(b.MetadataPin, "\n")
	for i := range x {
		same = same && x[i] == y[i]
	}
	a.RoleTemplates, b.RoleTemplates, a.AuthnContexts, b.AuthnContexts, a.MetadataPin, b.MetadataPin = nil, nil, nil, nil, nil, nil
	return same && a.RequestBinding == b.RequestBinding && a.SignRequests == b.SignRequests && a.ForceAuthn == b.ForceAuthn && a.AllowUnsolicited == b.AllowUnsolicited &&
		a.Signed == b.Signed && a.Encryption == b.Encryption && a.AllowCBC == b.AllowCBC && a.AllowSHA1 == b.AllowSHA1 && a.CertificateDates == b.CertificateDates &&
		a.MapSessionName == b.MapSessionName && a.UserNameAttribute == b.UserNameAttribute && a.DisplayNameAttribute == b.DisplayNameAttribute &&
		a.MailAttribute == b.MailAttribute && a.MetadataURL == b.MetadataURL
}

// TestSettingsThatAreRefused come back as they were filled in, with the reason.
func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	p := b.post(w.base+devPage, form(url.Values{"role_templates": {"aws-{role} {role} corp"}, "groups_attribute": {"memberOf"}}))
	if p.status != 400 {
		t.Errorf("a bad template: status %d", p.status)
	}
	contains(t, p, "can’t be read", "GROUP =&gt; ACCOUNT ROLE PROVIDER", `value="memberOf"`, "aws-{role} {role} corp")
	p = b.post(w.base+devPage, form(url.Values{"revision": {"7"}}))
	if p.status != 409 {
		t.Errorf("an older page: status %d", p.status)
	}
	contains(t, p, "was changed by somebody else meanwhile")
	p = b.post(w.base+devPage, form(url.Values{"metadata": {"<x/>"}, "sign_on_url": {"https://idp.example.com/sso"}}))
	contains(t, p, "There is a metadata document, and there are fields by hand", "Give one of the two")
	if p = b.post(w.base+"/admin/sso/providers/idp_none", form(nil)); p.status != 404 {
		t.Errorf("an unknown one: status %d", p.status)
	}
	if p = b.post(w.base+devPage, form(nil), "Sec-Fetch-Site", "cross-site"); p.status != 403 {
		t.Errorf("another site's form: status %d", p.status)
	}
	if got := w.List()[0]; got.Revision != 1 {
		t.Errorf("stored %+v", got)
	}
}

// TestIdentityProviderByHand: sign-on URL, entity id and certificate make the
// metadata.
func TestIdentityProviderByHand(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	f := form(url.Values{"name": {"By hand"}, "entity_id": {"https://idp.example.com"}, "sign_on_url": {"https://idp.example.com/sso"}})
	p := b.post(w.base+"/admin/sso/add", f)
	contains(t, p, "X.509 certificate is missing", `value="https://idp.example.com/sso"`)
	f.Set("sign_certificates", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate().Raw})))
	f.Set("enabled", "")
	if p = b.post(w.base+"/admin/sso/add", f); p.status != 303 {
		t.Fatalf("status %d: %s", p.status, p.body)
	}
	got := w.List()[1]
	if s := string(got.Metadata); !strings.Contains(s, "https://idp.example.com/sso") || !strings.Contains(s, base64.StdEncoding.EncodeToString(certificate().Raw)) || got.Enabled {
		t.Errorf("stored %+v with %s", got, s)
	}
}

// TestActsOnAnIdentityProvider: each by its button, and each told of.
func TestActsOnAnIdentityProvider(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, func(w *world) {
		w.idps[0].Kept.Pending, w.idps[0].Kept.Why = devidp.Describe("http://localhost:8482/metadata", "http://localhost:8482/sso", certificate()), "it is new"
	})
	act := func(word string, more ...string) page {
		f := url.Values{"act": {word}}
		for i := 0; i < len(more); i += 2 {
			f.Set(more[i], more[i+1])
		}
		return b.post(w.base+devPage+"/act", f)
	}
	contains(t, b.get(w.base+"/admin/sso"), "New metadata waits")
	contains(t, b.get(w.base+devPage), "New metadata waits for your word", "it is new", "<strong>New:</strong>", `name="revision" value="1"`)
	if p := act("accept"); p.status != 400 {
		t.Errorf("accepting what was not shown: status %d", p.status)
	}
	if p := act("accept", "revision", "9"); p.status != 409 {
		t.Errorf("accepting what has changed: status %d", p.status)
	}
	for _, c := range []struct{ word, says string }{
		{"refuse", "was thrown away"}, {"disable", "is switched off"}, {"enable", "is switched on"}, {"refresh", "was fetched anew"},
	} {
		p := act(c.word, "revision", "1")
		if p.status != 303 {
			t.Fatalf("%s: status %d: %s", c.word, p.status, p.body)
		}
		contains(t, b.get(w.base+p.to()), c.says)
	}
	if p := act("nothing"); p.status != 400 {
		t.Errorf("an unknown act: status %d", p.status)
	}
	if p := act("remove"); p.status != 400 || len(w.List()) != 1 {
		t.Errorf("removing without being sure: status %d", p.status)
	}
	if p := act("remove", "sure", "yes"); p.to() != "/admin/sso?done=removed" || len(w.List()) != 0 {
		t.Errorf("remove: status %d to %q", p.status, p.to())
	}
	if p := b.get(w.base + "/admin/sso?done=%3Cb%3Eevil%3C/b%3E"); strings.Contains(p.body, "evil") {
		t.Error("the page says what an address says")
	}
}

// TestKeysAndSwitches of the installation.
func TestKeysAndSwitches(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	contains(t, b.get(w.base+"/admin/sso"), "Make the next encryption key", "/oidc/accounts/6b1f7b0e", "What stops working then", "Role nightly, which trusts "+w.base+"/oidc/accounts/6b1f7b0e<")
	for _, c := range []struct {
		path string
		form url.Values
		to   string
	}{
		{"/admin/sso/keys", url.Values{"act": {"add"}, "purpose": {"encryption"}}, "/admin/sso?done=key-add"},
		{"/admin/sso/keys", url.Values{"act": {"remove"}, "id": {"spk_3"}}, "/admin/sso?done=key-remove"},
		{"/admin/sso/switches", url.Values{"unified_login": {"on"}}, "/admin/sso?done=unified-on"},
	} {
		if p := b.post(w.base+c.path, c.form); p.to() != c.to {
			t.Errorf("%v: status %d to %q", c.form, p.status, p.to())
		}
		contains(t, b.get(w.base+c.to), `role="status"`)
	}
	if !w.switches.UnifiedLogin || w.nextKey {
		t.Errorf("unified login %v, next key %v", w.switches.UnifiedLogin, w.nextKey)
	}
	for _, bad := range []url.Values{{"act": {"add"}, "purpose": {"other"}}, {"act": {"export"}, "purpose": {"signing"}}, {}} {
		if p := b.post(w.base+"/admin/sso/keys", bad); p.status != 400 {
			t.Errorf("%v: status %d", bad, p.status)
		}
	}
	if p := b.post(w.base+"/admin/sso/keys", url.Values{"act": {"promote"}, "purpose": {"signing"}}); p.status != 409 {
		t.Errorf("promoting nothing: status %d", p.status)
	}
	if p := b.post(w.base+"/admin/sso/switches", url.Values{"unified_login": {"maybe"}}); p.status != 400 {
		t.Errorf("an unknown switch: status %d", p.status)
	}
}

// TestOnlyAdministratorsReachSingleSignOn, by any of its addresses.
func TestOnlyAdministratorsReachSingleSignOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/")
	for _, path := range []string{"/admin/sso", "/admin/sso/add", devPage, "/admin/sso/test?handle=x"} {
		if p := b.get(w.base + path); p.status != 403 {
			t.Errorf("GET %s: status %d", path, p.status)
		}
		if p := newBrowser(t).get(w.base + path); p.status != 303 || !strings.HasPrefix(p.to(), "/sign-in?return_to=") {
			t.Errorf("GET %s by a stranger: status %d", path, p.status)
		}
	}
	for _, path := range []string{"/admin/sso/add", devPage, devPage + "/act", "/admin/sso/keys", "/admin/sso/switches"} {
		if p := b.post(w.base+path, url.Values{"act": {"test"}}); p.status != 403 {
			t.Errorf("POST %s: status %d", path, p.status)
		}
	}
}

// TestFormsOfOursStayHere: a form's answer never ends at another site by
// redirect, which browsers block; a page leads on, and its policy lets a form
// go to that one site only.
func TestFormsOfOursStayHere(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	p := b.post(w.base+devPage+"/act", url.Values{"act": {"test"}})
	if p.status != 200 || !strings.HasPrefix(p.header.Get("Refresh"), "0; url="+w.idp+"/sso?") {
		t.Errorf("test sign-in: status %d, refresh %q", p.status, p.header.Get("Refresh"))
	}
	contains(t, p, "Continue to Dev IdP")
	w.errand = login.Errand{Form: &login.PostForm{Action: "https://idp.example.com:8443/slo", Fields: []login.Field{{Name: "SAMLRequest", Value: `a"b`}}}}
	p = b.post(w.base+"/sign-out", nil)
	if csp := p.header.Get("Content-Security-Policy"); p.status != 200 || !strings.HasSuffix(csp, "form-action 'self' https://idp.example.com:8443") {
		t.Errorf("sign-out: status %d, policy %q", p.status, csp)
	}
	contains(t, p, `value="a&#34;b"`, "errand.js", "You are signed out of Carnet")
	if strings.Contains(p.body, "Carol") || !strings.Contains(strings.Join(p.header.Values("Set-Cookie"), ""), "carnet=; ") {
		t.Errorf("still signed in: %v", p.header.Values("Set-Cookie"))
	}
	w.post, w.errand = true, login.Errand{}
	p = newBrowser(t).get(w.base + "/sign-in")
	contains(t, p, "<form id=\"errand\" method=\"post\" action=\""+w.idp+"/sso\">", `value="a&#43;b"`, "Continue to Dev IdP")
}

// TestLogoutMessages: the answer to a request goes back; the answer to ours
// only changes what the page says.
func TestLogoutMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	xml := func(name, more string) string {
		return base64.StdEncoding.EncodeToString([]byte(`<p:` + name + ` xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol">` + more + `</p:` + name + `>`))
	}
	send := func(field, value string) page {
		return b.post(w.base+"/saml/consume", url.Values{field: {value}}, "Sec-Fetch-Site", "cross-site")
	}
	p := send("SAMLRequest", xml("LogoutRequest", ""))
	if p.status != 303 || !strings.HasPrefix(p.to(), "/signed-out?said=") {
		t.Errorf("nowhere to answer: status %d to %q", p.status, p.to())
	}
	w.errand = login.Errand{RedirectURL: w.idp + "/slo?SAMLResponse=x"}
	for name, p := range map[string]page{"post": send("SAMLRequest", xml("LogoutRequest", "")), "redirect": b.get(w.base + "/saml/consume?SAMLRequest=x")} {
		if p.status != 303 || p.to() != w.errand.RedirectURL {
			t.Errorf("%s: status %d to %q", name, p.status, p.to())
		}
	}
	p = send("SAMLRequest", xml("LogoutRequest", "bad"))
	if p.status != 401 {
		t.Errorf("a bad request: status %d", p.status)
	}
	contains(t, p, "The sign-out message was refused", "saml.signature", "Close all windows")
	for _, c := range []struct {
		p    page
		says string
	}{
		{send("SAMLResponse", xml("LogoutResponse", "")), "Dev IdP says that it ended your sign-in there too"},
		{send("SAMLResponse", xml("LogoutResponse", "bad")), "failed the check <code>saml.signature</code>"},
		{b.get(w.base + "/saml/consume?SAMLResponse=bad"), "failed the check <code>saml.signature</code>"},
	} {
		if c.p.status != 303 {
			t.Errorf("status %d: %s", c.p.status, c.p.body)
			continue
		}
		contains(t, b.get(w.base+c.p.to()), "You are signed out", c.says)
	}
	p = b.get(w.base + "/saml/consume")
	if p.status != 404 {
		t.Errorf("nothing: status %d", p.status)
	}
	contains(t, p, "This address is for identity providers")
}

// TestTooLargeResponsesGetAdvice that fits: what to send less of.
func TestTooLargeResponsesGetAdvice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.refuse = fault.Coded(fault.TooLarge, "saml.size", "The response is over the size limit")
	for _, value := range []string{"good", strings.Repeat("x", 2<<20)} {
		p := newBrowser(t).post(w.base+"/saml/consume", url.Values{"SAMLResponse": {value}, "RelayState": {"x|/"}}, "Sec-Fetch-Site", "cross-site")
		if p.status != 413 {
			t.Errorf("status %d", p.status)
		}
		contains(t, p, "only the groups and roles that Carnet is to know of", "512 KiB")
	}
}

// TestReportsAreForTheirBrowser: the page of a test sign-in tells everything in
// words, and nothing to another browser.
func TestReportsAreForTheirBrowser(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	p := b.get(w.base + "/admin/sso/test?handle=" + w.reports("bad"))
	contains(t, p, "This sign-in would fail", "Set the SAML URL of this installation as audience", "It was made for this service (Audience)", "holds", "fails", "Test again")
	p = b.get(w.base + "/admin/sso/test?handle=good")
	contains(t, p, "Alice Example would be signed in", "analysts &lt;all&gt;", "and 17 more", "from a group, by a template", time.Now().Add(4000*time.Hour).UTC().Format("2 Jan 2006"))
	if p = b.get(w.base + "/admin/sso/test?handle=other"); p.status != 401 {
		t.Errorf("another's report: status %d", p.status)
	}
	contains(t, p, "belongs to another browser")
}
