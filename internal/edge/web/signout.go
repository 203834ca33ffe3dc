package web

import (
	"cmp"
	"net/http"
	"net/url"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/login"
)

// signedOutPage says what ended, and what did not.
type signedOutPage struct {
	login.SignedOut
	Keys *clock // when the last keys of AWS end; nil: none are out
}

// signOut ends the login session, then leads to the identity provider, where
// it offers single logout.
func (web *Web) signOut(w http.ResponseWriter, r *http.Request) error {
	left, err := web.Logouts.Leave(r.Context(), httpd.CallerOf(r).Session)
	if err != nil {
		return err
	}
	web.cookies.ClearLogin(w)
	if left.Errand.IsZero() {
		return web.saySignedOut(w, login.SignedOut{IdPName: left.IdPName, KeysUntil: left.KeysUntil})
	}
	return web.passOn(w, r, left.Errand, errandPage{Heading: "You are signed out of Carnet", To: left.IdPName, Left: true,
		Text: "Now your sign-in at " + left.IdPName + " ends too."})
}

// saySignedOut leads to the page that says what ended.
func (web *Web) saySignedOut(w http.ResponseWriter, what login.SignedOut) error {
	said, err := web.Logouts.Say(what)
	if err != nil {
		return err
	}
	return seeOther(w, "/signed-out?"+url.Values{"said": {said}}.Encode())
}

// signedOut shows what was said at a sign-out, and the way in again. It never
// says so to a browser that is signed in: anybody can link to it.
func (web *Web) signedOut(w http.ResponseWriter, r *http.Request) error {
	page := &signedOutPage{}
	q := r.URL.Query()
	// An OpenID provider brings back what was said as the state of its logout.
	if said, ok := web.Logouts.Said(cmp.Or(q.Get("said"), q.Get("state"))); ok {
		page.SignedOut = said
		if until := said.KeysUntil; until.After(web.Now()) {
			page.Keys = &clock{until, left(until.Sub(web.Now()))}
		}
	}
	if _, live := web.signedIn(r); live {
		page = nil
	}
	return web.choose(w, r, enabled(web.Providers.List()), "/", false, page)
}

// consumeRedirect takes the logout messages that come by redirect. Their
// signature is over the query as it was sent.
func (web *Web) consumeRedirect(w http.ResponseWriter, r *http.Request) error {
	if r.URL.RawQuery == "" {
		return fault.Coded(fault.NotFound, "saml.nothing", "This address is for identity providers: it takes what they send, and shows nothing").
			WithMend("go to the start page; to set an identity provider up, give it this address as ACS URL")
	}
	q := r.URL.Query()
	m := samlMessage{response: q.Get("SAMLResponse"), request: q.Get("SAMLRequest"), relayState: q.Get("RelayState")}
	return web.logOut(w, r, saml.LogoutInput{Binding: saml.BindingRedirect, RawQuery: r.URL.RawQuery}, m)
}

// logOut takes a logout message. What the identity provider asks is done and
// answered; its answer to our own request only changes what the page says,
// since the login session here had ended before.
func (web *Web) logOut(w http.ResponseWriter, r *http.Request, in saml.LogoutInput, m samlMessage) error {
	out, err := web.Logouts.ConsumeLogout(r.Context(), in, m.relayState, httpd.Source(r))
	if err != nil && m.request == "" && httpd.Status(fault.KindOf(err)) < 500 {
		return web.saySignedOut(w, login.SignedOut{There: login.ThereUnclear, Code: fault.Of(err).Code})
	}
	if err != nil {
		return err
	}
	what := login.SignedOut{IdPName: out.IdPName, KeysUntil: out.KeysUntil, There: login.TherePartly}
	if out.Asked || out.Complete {
		what.There = login.ThereEnded
	}
	switch {
	case !out.Asked || out.Answer.IsZero():
		return web.saySignedOut(w, what)
	case out.Answer.RedirectURL != "":
		return seeOther(w, out.Answer.RedirectURL)
	}
	return web.passOn(w, r, out.Answer, errandPage{Heading: "You are signed out of Carnet", To: out.IdPName})
}
