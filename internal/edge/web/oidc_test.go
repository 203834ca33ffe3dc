package web_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// callback is where an OpenID provider sends the browser back to.
func callback(w *world, q url.Values) string {
	return w.base + "/sign-in/oidc/callback?" + q.Encode()
}

// TestSignInByOpenID walks a browser through the redirect URI.
func TestSignInByOpenID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	at, err := url.Parse(b.get(w.base + "/sign-in?return_to=/cli/authorize").to())
	if err != nil {
		t.Fatal(err)
	}
	state := at.Query().Get("RelayState")
	good := url.Values{"state": {state}, "code": {"good"}, "iss": {"https://op.example"}}
	contains(t, newBrowser(t).get(callback(w, good)), "The sign-in was refused", "not begun in this browser")
	contains(t, b.get(callback(w, url.Values{"state": {state}, "error": {"access_denied"}})), "The sign-in was refused", "refused the sign-in: access_denied", "Sign in again")
	contains(t, b.get(w.base+"/sign-in/oidc/callback"), "This address is for identity providers")
	for name, q := range map[string]string{"two states": "state=a&state=b&code=c", "neither code nor error": "state=a", "both": "state=a&code=c&error=d", "no state": "code=c"} {
		if p := b.get(w.base + "/sign-in/oidc/callback?" + q); p.status != 400 {
			t.Errorf("%s: status %d", name, p.status)
		}
	}
	p := b.get(callback(w, good))
	if p.status != 303 || !strings.HasPrefix(p.to(), "/sign-in/complete?handle=") {
		t.Fatalf("status %d to %q", p.status, p.to())
	}
	if p = b.get(w.base + p.to()); p.status != 303 || p.to() != "/cli/authorize" {
		t.Errorf("complete: status %d to %q", p.status, p.to())
	}
	contains(t, b.get(w.base+"/"), "Alice Example")
}

// TestBackChannelLogout: a provider gets what the standard says.
func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	to := w.base + "/sign-in/oidc/logout"
	for _, tt := range []struct {
		name   string
		form   url.Values
		header []string
		status int
		says   string
	}{
		{"one that holds", url.Values{"logout_token": {"good"}}, nil, 200, ""},
		{"one that does not", url.Values{"logout_token": {"bad"}}, nil, 400, `"error":"invalid_request"`},
		{"two", url.Values{"logout_token": {"good", "good"}}, nil, 400, "one logout_token"},
		{"none", url.Values{}, nil, 400, "one logout_token"},
		{"no form", url.Values{}, []string{"Content-Type", "application/json"}, 400, "no form"},
		{"a provider that is away", url.Values{"logout_token": {"away"}}, nil, 503, "temporarily_unavailable"},
		{"a page of another site", url.Values{"logout_token": {"good"}}, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 400, "Another site"},
		{"one too long", url.Values{"logout_token": {strings.Repeat("a", 50_000)}}, nil, 400, "invalid_request"},
	} {
		p := b.post(to, tt.form, tt.header...)
		if p.status != tt.status || !strings.Contains(p.body, tt.says) || p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: status %d, %s: %s", tt.name, p.status, p.header.Get("Cache-Control"), p.body)
		}
	}
}

// TestSignedOutThere: the page after a logout at an OpenID provider says what was
// sealed into the state of it, and nothing else.
func TestSignedOutThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	said, err := w.Say(login.SignedOut{IdPName: "Dev IdP", There: login.ThereEnded})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, newBrowser(t).get(w.base+"/signed-out?state="+said), "Dev IdP says that it ended your sign-in there too")
}

// opForm is what the form of an OpenID provider sends.
func opForm(change url.Values) url.Values {
	f := url.Values{"protocol": {"oidc"}, "name": {"OP"}, "issuer": {"https://op.example/realms/x"}, "client_id": {"carnet"}, "client_secret": {"s3cret-of-client"}, "client_auth": {"post"},
		"accounts": {"111122223333"}, "role_patterns": {"*"}, "user_name_domains": {"example.com"}, "allow_auto_create": {"yes"}, "enabled": {"yes"},
		"user_name_claim": {"email"}, "display_name_claim": {"nick"}, "mail_claim": {"mail"}, "groups_claim": {"realm_access.roles"}, "roles_claim": {"roles"},
		"role_templates": {"aws-{r} => 111122223333 {r}"}, "scopes": {"profile\r\ngroups"}, "acr_values": {"phr"}, "max_age": {"0"}, "back_channel_logout": {"yes"}}
	for k, v := range change {
		f[k] = v
	}
	return f
}

// TestOpenIDProviderForm: every field goes in and comes back out, but the secret.
func TestOpenIDProviderForm(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	contains(t, b.get(w.base+"/admin/sso/add"), "By SAML", "/admin/sso/add?protocol=oidc")
	contains(t, b.get(w.base+"/admin/sso/add?protocol=oidc"), "By OpenID Connect", `name="issuer"`, w.base+"/sign-in/oidc/callback", w.base+"/sign-in/oidc/logout", w.base+"/signed-out")
	contains(t, b.post(w.base+"/admin/sso/add", opForm(url.Values{"max_age": {"soon"}})), "is no number of seconds", "realm_access.roles", `value="s3cret-of-client"`)
	contains(t, b.post(w.base+"/admin/sso/add", opForm(url.Values{"role_templates": {"a => b c d"}})), "GROUP =&gt; ACCOUNT ROLE, such as")
	p := b.post(w.base+"/admin/sso/add", opForm(nil))
	if p.status != 303 {
		t.Fatalf("status %d: %s", p.status, p.body)
	}
	got := w.idps[len(w.idps)-1]
	age := 0
	want := federation.OIDCSettings{Issuer: "https://op.example/realms/x", ClientID: "carnet", ClientAuth: "post", Scopes: []string{"profile", "groups"}, UserNameClaim: "email",
		DisplayNameClaim: "nick", MailClaim: "mail", GroupsClaim: "realm_access.roles", RolesClaim: "roles", ACRValues: []string{"phr"}, MaxAge: &age, BackChannelLogout: true}
	if got.OIDC.ClientSecret.Reveal() != "s3cret-of-client" || got.Protocol != federation.OIDC {
		t.Errorf("entered %+v", got)
	}
	got.OIDC.ClientSecret = secret.Text{}
	if !reflect.DeepEqual(got.OIDC, want) || len(got.RoleTemplates) != 1 || got.RoleTemplates[0] != (federation.RoleTemplate{Group: "aws-{r}", Account: "111122223333", Role: "{r}"}) {
		t.Errorf("entered %+v, want %+v", got.OIDC, want)
	}
	page := b.get(w.base + "/admin/sso/providers/" + string(got.ID))
	contains(t, page, "OpenID Connect", "https://op.example/realms/x", `value="realm_access.roles"`, "aws-{r} =&gt; 111122223333 {r}", "one is stored", `value="0"`, "phr")
	if strings.Contains(page.body, "s3cret-of-client") || strings.Contains(page.body, "metadata_url") || strings.Contains(page.body, "Fetch the metadata") {
		t.Error("the page shows the secret, or fields of SAML")
	}
	contains(t, b.get(w.base+"/admin/sso"), "OpenID issuer", "Client ID")
}
