package web

import (
	"encoding/json"
	"mime"
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
)

// The two addresses that OpenID providers know of us.
const (
	oidcCallback = "/sign-in/oidc/callback"
	oidcLogout   = "/sign-in/oidc/logout"
)

// callback is our redirect URI: an OpenID provider sends a browser here with its
// answer. Only the browser that began counts, which its pre-login cookie says.
func (web *Web) callback(w http.ResponseWriter, r *http.Request) error {
	if r.URL.RawQuery == "" {
		return fault.Coded(fault.NotFound, "oidc.nothing", "This address is for identity providers: it takes what they send, and shows nothing").
			WithMend("go to the start page; to set an OpenID provider up, give it this address as redirect URI")
	}
	a, err := openid.ParseAnswer(r.URL.RawQuery)
	if err != nil {
		return err
	}
	pre := web.cookies.PreLogin(r)
	if pre.IsZero() {
		return noPreLogin()
	}
	got, err := web.Login.ConsumeCode(r.Context(), a, pre, httpd.Source(r))
	if err != nil {
		return err
	}
	return web.consumed(w, got)
}

// maxLogoutForm bounds the form of a back-channel logout, in bytes.
const maxLogoutForm = 2*oidc.MaxCharacters + 1<<10

// backChannelLogout takes a logout token from an OpenID provider itself (OpenID
// Connect Back-Channel Logout 1.0, section 2.5).
func (web *Web) backChannelLogout(w http.ResponseWriter, r *http.Request) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return fault.New(fault.Invalid, "the request is no form")
	}
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	tokens := r.PostForm["logout_token"]
	if len(tokens) != 1 {
		return fault.New(fault.Invalid, "the form has to hold one logout_token")
	}
	if _, err := web.Logouts.BackChannelLogout(r.Context(), secret.New(tokens[0]), httpd.Source(r)); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

// logoutRefused answers a provider as the standard says (section 2.8): 400 for
// what it sent, 503 or so for what it may try again.
func (web *Web) logoutRefused(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	status, code := httpd.Status(f.Kind), "invalid_request"
	switch f.Kind {
	case fault.Limited, fault.Unavailable, fault.Internal:
		code = "temporarily_unavailable"
	default:
		status = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": f.Public,
		"request_id": string(identity.RequestIDFrom(r.Context()))})
}
