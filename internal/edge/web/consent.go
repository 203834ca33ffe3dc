package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
)

// ConsentPath is where a browser is sent to have its person asked, with the
// handle as the parameter "request".
const ConsentPath = "/consent"

// consentPage asks whether a program may act for the person.
type consentPage struct {
	Client, ClientID, Owner string
	UserName                string
	Until                   clock
	To                      leadsTo
	Wants                   []want
	Handle                  string
}

// want is one thing that a program asks for, in plain words.
type want struct{ Scope, Text string }

// wants puts scopes into words.
func wants(scopes oauth.Scopes) []want {
	words := map[string]string{
		oauth.ScopeOpenID:  "Know who you are, by an id that means you alone",
		oauth.ScopeProfile: "See your name and your user name",
		oauth.ScopeEmail:   "See your mail address",
		oauth.ScopeOffline: "Stay connected without asking you again, until your sign-in ends",
		oauth.ScopeAPI:     "Act as you in Carnet: fetch keys for your roles. It can't administer, nor delegate in your name",
	}
	var all []want
	for _, s := range scopes {
		text, known := words[s]
		if !known {
			text = "What it calls " + s
		}
		all = append(all, want{s, text})
	}
	return all
}

// leadsTo says where an answer goes.
type leadsTo struct {
	Text    string // the host, or the program's own scheme
	Machine bool   // to a program on the person's own machine
	scheme  string // of a program's own, which the page's form may lead to; else empty
}

// leadTo reads an address that a client registered.
func leadTo(redirectURI string) (leadsTo, error) {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Scheme == "" {
		return leadsTo{}, fault.Wrap(err, fault.Misconfigured, "The address that this program registered is not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return leadsTo{Text: u.Scheme, Machine: true, scheme: u.Scheme + ":"}, nil
	}
	machine := u.Scheme == "http" && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
	return leadsTo{Text: u.Host, Machine: machine}, nil
}

// consent shows who asks, where the answer goes, and what for. Nothing is
// granted by opening it.
func (web *Web) consent(w http.ResponseWriter, r *http.Request) error {
	s, handle := httpd.CallerOf(r).Session, r.URL.Query().Get("request")
	p, err := web.Consents.Pending(r.Context(), s, secret.New(handle))
	if err != nil {
		return err
	}
	to, err := leadTo(p.RedirectURI)
	if err != nil {
		return err
	}
	if to.scheme != "" {
		httpd.AllowFormTo(w, to.scheme)
	}
	return web.show(w, r, http.StatusOK, "consent", frame{Title: "Let " + p.Client.Name + " act for you?", Page: consentPage{
		Client: p.Client.Name, ClientID: p.Client.ID, Owner: p.Client.Owner, UserName: displayName(s),
		Until: clock{s.Expires, left(s.Expires.Sub(web.Now()))}, To: to, Wants: wants(p.Scope), Handle: handle,
	}})
}

// decideConsent takes the person's word and leads back to the program: by a
// page, since browsers hold all that follows a form, at the program's site and
// wherever that leads on, to form-action. Only a scheme of a program's own is
// redirected to: nothing follows there, and no page opens it by itself.
func (web *Web) decideConsent(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	decide := map[string]func(context.Context, login.LoginSession, secret.Text) (string, error){
		"approve": web.Consents.Approve, "refuse": web.Consents.Deny,
	}[r.PostForm.Get("decision")]
	if decide == nil {
		return badForm()
	}
	s, handle := httpd.CallerOf(r).Session, secret.New(r.PostForm.Get("request"))
	p, err := web.Consents.Pending(r.Context(), s, handle)
	if err != nil {
		return err
	}
	to, err := decide(r.Context(), s, handle)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(to, "https://") && !strings.HasPrefix(to, "http://") {
		return seeOther(w, to)
	}
	return web.passOn(w, r, login.Errand{RedirectURL: to}, errandPage{Heading: "Back to " + p.Client.Name, To: p.Client.Name})
}
