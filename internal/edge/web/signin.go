package web

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// headerPassThrough tells in one classic value why a role can't be had.
const headerPassThrough = "X-Databricks-PassThrough-Error"

type signInPage struct {
	Providers []provider
	SignedOut *signedOutPage // after a sign-out
}

type provider struct{ Name, Address string }

// signIn sends the browser to its identity provider; with several, it lets
// the person choose. It begins at the base URL, since the answer comes back
// there and cookies are bound to a host.
func (web *Web) signIn(w http.ResponseWriter, r *http.Request) error {
	if !strings.EqualFold(r.Host, web.BaseURL.Host) {
		return seeOther(w, web.BaseURL.Scheme+"://"+web.BaseURL.Host+r.URL.RequestURI())
	}
	q := r.URL.Query()
	returnTo := login.LocalPath(q.Get("return_to"))
	offered := enabled(web.Providers.List())
	chosen := identity.IdPID(q.Get("idp"))
	if chosen == "" && len(offered) == 1 {
		chosen = offered[0].ID
	}
	if chosen == "" {
		return web.choose(w, r, offered, returnTo, q.Has("anew"), nil)
	}
	if !slices.ContainsFunc(offered, func(p federation.IdP) bool { return p.ID == chosen }) {
		return fault.Coded(fault.NotFound, "idp.unknown", "This identity provider is not known here").
			WithMend("choose one of those on the sign-in page")
	}
	started, err := web.Login.Begin(r.Context(), chosen, returnTo, login.Options{Anew: q.Has("anew")})
	if err != nil {
		return err
	}
	web.cookies.SetPreLogin(w, started.PreLogin, login.PreLoginLifetime)
	if started.Form == nil {
		return seeOther(w, started.RedirectURL)
	}
	return web.passOn(w, r, login.Errand{Form: started.Form}, errandPage{Heading: "Signing in", To: nameOf(offered, chosen)})
}

func nameOf(all []federation.IdP, id identity.IdPID) string {
	for _, p := range all {
		if p.ID == id {
			return p.Name
		}
	}
	return "your identity provider"
}

// choose lists the identity providers. The choices are links: a form would
// need a looser form-action, for the redirect to another site that follows.
func (web *Web) choose(w http.ResponseWriter, r *http.Request, offered []federation.IdP, returnTo string, anew bool, signedOut *signedOutPage) error {
	page := signInPage{SignedOut: signedOut}
	for _, p := range offered {
		q := url.Values{"idp": {string(p.ID)}}
		if returnTo != "/" {
			q.Set("return_to", returnTo)
		}
		if anew {
			q.Set("anew", "")
		}
		page.Providers = append(page.Providers, provider{p.Name, "/sign-in?" + q.Encode()})
	}
	return web.show(w, r, http.StatusOK, "sign-in", frame{Title: "Sign in", Page: page})
}

func enabled(all []federation.IdP) []federation.IdP {
	return slices.DeleteFunc(slices.Clone(all), func(p federation.IdP) bool { return !p.Enabled })
}

// consume is the assertion consumer: the cross-site POST of the identity
// provider. The response is handed on as posted and kept nowhere. Logout
// messages come to the same address.
func (web *Web) consume(w http.ResponseWriter, r *http.Request) error {
	m, err := readMessage(r)
	if err != nil {
		return err
	}
	if raw, ok := m.logout(); ok {
		return web.logOut(w, r, saml.LogoutInput{Binding: saml.BindingPOST, XML: raw}, m)
	}
	got, err := web.Login.Consume(r.Context(), m.response, m.relayState, httpd.Source(r))
	if err != nil {
		return err
	}
	return web.consumed(w, got)
}

// consumed leads on to where a parked sign-in is fetched.
func (web *Web) consumed(w http.ResponseWriter, got login.Consumed) error {
	if v := got.PassThroughError; v != "" {
		w.Header().Set(headerPassThrough, strings.Map(printable, v))
	}
	to := "/sign-in/complete?"
	switch {
	case got.Test:
		to = "/admin/sso/test?"
	case !got.Arrival.IsZero():
		web.cookies.SetArrival(w, got.Arrival, login.ArrivalLifetime)
		to = "/sign-in/continue?"
	}
	return seeOther(w, to+url.Values{"handle": {got.Handle.Reveal()}}.Encode())
}

// printable keeps a header on its one line.
func printable(c rune) rune {
	if c < 0x20 || c > 0x7e {
		return ' '
	}
	return c
}

// samlMessage is what a form brought: a response or a request.
type samlMessage struct{ response, request, relayState string }

// logout gives the XML of a logout message; false for anything else, a response
// that can't be read among it: Login says what is wrong with that.
func (m samlMessage) logout() (raw []byte, ok bool) {
	if m.request != "" {
		raw, err := saml.Decode(m.request, saml.MaxLogout)
		if err != nil {
			raw = nil // and so no XML, which is said
		}
		return raw, true
	}
	raw, err := saml.Decode(m.response, saml.MaxResponse)
	if err != nil {
		return nil, false
	}
	kind, err := saml.MessageKind(raw)
	return raw, err == nil && kind == saml.KindLogoutResponse
}

// readMessage takes the fields of the POST binding (SAML bindings, 3.5), each
// at most once and from the body alone.
func readMessage(r *http.Request) (samlMessage, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return samlMessage{}, fault.Coded(fault.Invalid, "saml.form", "The answer of the identity provider is not a form").
			WithMend("set the identity provider to HTTP-POST binding")
	}
	if err := r.ParseForm(); err != nil {
		return samlMessage{}, formFault(err)
	}
	one := func(name string) string {
		if v := r.PostForm[name]; len(v) == 1 {
			return v[0]
		}
		return ""
	}
	m := samlMessage{response: one("SAMLResponse"), request: one("SAMLRequest"), relayState: one("RelayState")}
	if (m.response == "") == (m.request == "") || len(r.PostForm["SAMLResponse"])+len(r.PostForm["SAMLRequest"]) != 1 || len(r.PostForm["RelayState"]) > 1 {
		return samlMessage{}, fault.Coded(fault.Invalid, "saml.form", "The form must hold one SAMLResponse and at most one RelayState").
			WithMend("start again from the sign-in page")
	}
	return m, nil
}

// metadata gives the document that an identity provider is set up with.
func (web *Web) metadata(w http.ResponseWriter, _ *http.Request) error {
	document, err := web.SAMLMetadata()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	w.Header().Set("Content-Disposition", `attachment; filename="carnet-metadata.xml"`)
	_, _ = w.Write(document)
	return nil
}

// complete opens the login session: it needs the one-use handle and the
// pre-login cookie of the browser that began.
func (web *Web) complete(w http.ResponseWriter, r *http.Request) error {
	pre := web.cookies.PreLogin(r)
	if pre.IsZero() {
		return noPreLogin()
	}
	in, err := web.Login.Complete(r.Context(), secret.New(r.URL.Query().Get("handle")), pre)
	if err != nil {
		return err
	}
	web.cookies.ClearPreLogin(w)
	web.cookies.SetLogin(w, in.Cookie, in.Session.Expires.Sub(web.Now()))
	return web.returnTo(w, r, in.ReturnTo)
}

// returnTo leads on after a sign-in. To an authorization request it leads by a
// page: what follows may be at a program's site, and browsers hold all that
// follows the form of an identity provider's page, or of ours, to its
// form-action.
func (web *Web) returnTo(w http.ResponseWriter, r *http.Request, path string) error {
	path = login.LocalPath(path)
	if !strings.HasPrefix(path, "/oidc/") {
		return seeOther(w, path)
	}
	return web.passOn(w, r, login.Errand{RedirectURL: path}, errandPage{Heading: "You are signed in", To: "the program that sent you here"})
}

func noPreLogin() error {
	return fault.Coded(fault.Unauthenticated, "login.other-browser", "This sign-in was not begun in this browser, or took too long").
		WithMend("sign in again, and let this site set cookies")
}
