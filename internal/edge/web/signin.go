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
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// headerPassThrough tells in one classic value why a role can't be had.
const headerPassThrough = "X-Databricks-PassThrough-Error"

type signInPage struct {
	Providers []provider
	SignedOut bool
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
		return web.choose(w, r, offered, returnTo, false)
	}
	if !slices.ContainsFunc(offered, func(p federation.IdP) bool { return p.ID == chosen }) {
		return fault.Coded(fault.NotFound, "idp.unknown", "This identity provider is not known here").
			WithMend("choose one of those on the sign-in page")
	}
	started, err := web.Login.Begin(r.Context(), chosen, returnTo)
	if err != nil {
		return err
	}
	web.cookies.SetPreLogin(w, started.PreLogin, login.PreLoginLifetime)
	return seeOther(w, started.RedirectURL)
}

// choose lists the identity providers. The choices are links: a form would
// need a looser form-action, for the redirect to another site that follows.
func (web *Web) choose(w http.ResponseWriter, r *http.Request, offered []federation.IdP, returnTo string, signedOut bool) error {
	page := signInPage{SignedOut: signedOut}
	for _, p := range offered {
		q := url.Values{"idp": {string(p.ID)}}
		if returnTo != "/" {
			q.Set("return_to", returnTo)
		}
		page.Providers = append(page.Providers, provider{p.Name, "/sign-in?" + q.Encode()})
	}
	return web.show(w, r, http.StatusOK, "sign-in", frame{Title: "Sign in", Page: page})
}

func (web *Web) signedOut(w http.ResponseWriter, r *http.Request) error {
	return web.choose(w, r, enabled(web.Providers.List()), "/", true)
}

func enabled(all []federation.IdP) []federation.IdP {
	return slices.DeleteFunc(slices.Clone(all), func(p federation.IdP) bool { return !p.Enabled })
}

// consume is the assertion consumer: the cross-site POST of the identity
// provider. The response is handed on as posted and kept nowhere.
func (web *Web) consume(w http.ResponseWriter, r *http.Request) error {
	response, relayState, err := readResponse(r)
	if err != nil {
		return err
	}
	got, err := web.Login.Consume(r.Context(), response, relayState, httpd.Source(r))
	if err != nil {
		return err
	}
	if v := got.PassThroughError; v != "" {
		w.Header().Set(headerPassThrough, strings.Map(printable, v))
	}
	return seeOther(w, "/sign-in/complete?"+url.Values{"handle": {got.Handle.Reveal()}}.Encode())
}

// printable keeps a header on its one line.
func printable(c rune) rune {
	if c < 0x20 || c > 0x7e {
		return ' '
	}
	return c
}

// readResponse takes the two fields of the POST binding (SAML bindings, 3.5),
// each at most once and from the body alone.
func readResponse(r *http.Request) (response, relayState string, err error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return "", "", fault.Coded(fault.Invalid, "saml.form", "The answer of the identity provider is not a form").
			WithMend("set the identity provider to HTTP-POST binding")
	}
	if err := r.ParseForm(); err != nil {
		return "", "", formFault(err)
	}
	responses, states := r.PostForm["SAMLResponse"], r.PostForm["RelayState"]
	if len(responses) != 1 || responses[0] == "" || len(states) > 1 {
		return "", "", fault.Coded(fault.Invalid, "saml.form", "The form must hold one SAMLResponse and at most one RelayState").
			WithMend("start again from the sign-in page")
	}
	if len(states) == 1 {
		relayState = states[0]
	}
	return responses[0], relayState, nil
}

// metadata gives the document that an identity provider is set up with.
func (web *Web) metadata(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	w.Header().Set("Content-Disposition", `attachment; filename="carnet-metadata.xml"`)
	_, _ = w.Write(web.SAMLMetadata)
	return nil
}

// complete opens the login session: it needs the one-use handle and the
// pre-login cookie of the browser that began.
func (web *Web) complete(w http.ResponseWriter, r *http.Request) error {
	pre := web.cookies.PreLogin(r)
	if pre.IsZero() {
		return fault.Coded(fault.Unauthenticated, "login.other-browser", "This sign-in was not begun in this browser, or took too long").
			WithMend("sign in again, and let this site set cookies")
	}
	in, err := web.Login.Complete(r.Context(), secret.New(r.URL.Query().Get("handle")), pre)
	if err != nil {
		return err
	}
	web.cookies.ClearPreLogin(w)
	web.cookies.SetLogin(w, in.Cookie, in.Session.Expires.Sub(web.Now()))
	return seeOther(w, login.LocalPath(in.ReturnTo))
}

func (web *Web) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := web.LoginSessions.SignOut(r.Context(), httpd.CallerOf(r).Session.ID); err != nil {
		return err
	}
	web.cookies.ClearLogin(w)
	return seeOther(w, "/signed-out")
}
