package issuerapi_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestAttackCrossOriginReads: the public documents are for everybody's scripts;
// nothing else answers another site's (RFC 9700 section 2.6).
func TestAttackCrossOriginReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	origin := []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}
	for _, path := range []string{"/oidc/v1/authorize?" + ask(c).Encode(), "/oidc/v1/userinfo"} {
		r := w.do("GET", path, nil, append(ann.browser(), origin...)...)
		if h := r.header.Get("Access-Control-Allow-Origin"); h != "" {
			t.Errorf("%s may be read by %s", path, h)
		}
	}
	for _, path := range []string{"/oidc/v1/token", "/oidc/v1/introspect", "/oidc/v1/revoke", "/oidc/v1/device_authorization"} {
		r := w.do("POST", path, ask(c), append(ann.browser(), origin...)...)
		if h := r.header.Get("Access-Control-Allow-Origin"); h != "" || r.status < 400 {
			t.Errorf("%s: %d, may be read by %q", path, r.status, h)
		}
	}
}

// TestAttackTokenInTheAddress: an access token counts in its header alone
// (RFC 9700 section 4.3).
func TestAttackTokenInTheAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	got := w.signedIn(ann, c)
	if r := w.do("GET", "/oidc/v1/userinfo", nil, "Authorization", "Bearer "+got.access); r.status != http.StatusOK {
		t.Fatalf("in the header: %d %s", r.status, r.body)
	}
	if r := w.do("GET", "/oidc/v1/userinfo?access_token="+got.access, nil); r.status != http.StatusUnauthorized {
		t.Errorf("in the address: %d %s", r.status, r.body)
	}
}

// TestAttackHeadersOfAProxy: nobody moves the issuer or its endpoints by headers,
// and another host's name is not answered (RFC 9700 section 4.13).
func TestAttackHeadersOfAProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/oidc/.well-known/openid-configuration"
	honest := w.do("GET", path, nil)
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "X-Host"} {
		if r := w.do("GET", path, nil, name, "host=evil.example"); r.body != honest.body || r.status != http.StatusOK {
			t.Errorf("%s changes the document: %d", name, r.status)
		}
	}
	if r := w.do("GET", path, nil, "Host", "evil.example"); r.status == http.StatusOK || strings.Contains(r.body, "evil.example") {
		t.Errorf("another host: %d %s", r.status, r.body)
	}
}
