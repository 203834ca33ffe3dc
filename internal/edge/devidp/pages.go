package devidp

import (
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"

	"carnet.dev/carnet/internal/core/secret"
)

//go:embed pages/*.html
var pageFiles embed.FS

type pages struct{ all *template.Template }

func loadPages() (*pages, error) {
	t, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("devidp: pages: %w", err)
	}
	return &pages{all: t}, nil
}

// view is what every page shows.
type view struct {
	Nonce   string
	Title   string
	Users   []User
	Chosen  string // user name
	Problem string
	SP      string // host of the service provider, for people
	Pending pending
	ACS     string // where the form goes
	Field   string // SAMLResponse, or SAMLRequest
	Message string // base64
	Done    string // what the page says
	SPs     []SP
}

// pending carries a request through the sign-in form, as it came.
type pending struct {
	Binding    string // redirect, POST, or none when the sign-in starts here
	Request    string
	Query      string // raw, of a request by redirect: its signature is over that
	RelayState string
	Start      string // entity ID of the service provider, when it starts here
}

// Site is the origin where the responses go, such as http://127.0.0.1:8480;
// empty when the address is none.
func (sp SP) Site() string { return site(sp.ACS) }

func site(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Host names the service provider to people.
func (sp SP) Host() string {
	if u, err := url.Parse(sp.ACS); err == nil && u.Host != "" {
		return u.Host
	}
	return sp.EntityID
}

func (p *IdP) show(w http.ResponseWriter, status int, name, formAction string, v view) {
	v.Nonce = secret.Random(16).Reveal()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'nonce-"+v.Nonce+
		"'; script-src 'nonce-"+v.Nonce+"'; form-action "+formAction)
	w.WriteHeader(status)
	if err := p.pages.all.ExecuteTemplate(w, name, v); err != nil {
		_, _ = io.WriteString(w, "the page can't be shown")
	}
}

func (p *IdP) refuse(w http.ResponseWriter, status int, why string) {
	p.show(w, status, "refused.html", "'none'", view{Title: "This sign-in can’t go on", Problem: why, SPs: p.serviceProviders()})
}

func (p *IdP) askPassword(w http.ResponseWriter, status int, sp SP, asked pending, chosen, problem string) {
	p.show(w, status, "sign-in.html", "'self'", view{
		Title: "Sign in", Users: p.config.Users, Chosen: chosen, Problem: problem, SP: sp.Host(), Pending: asked,
	})
}

// deliver shows the page that posts the response to the service provider: by a
// script where scripts run, by a button where not.
func (p *IdP) deliver(w http.ResponseWriter, sp SP, relayState string, response []byte) {
	p.post(w, sp, sp.ACS, "", "You are signed in", "SAMLResponse", relayState, response)
}

// post shows the page that posts a message to a place of the service provider.
// The way may lead on to another place, by redirect, where back names one:
// browsers apply form-action to that too.
func (p *IdP) post(w http.ResponseWriter, sp SP, place, back, title, field, relayState string, message []byte) {
	origin := site(place)
	if origin == "" {
		origin = "'none'"
	} else if back != "" {
		origin += " " + back
	}
	p.show(w, http.StatusOK, "deliver.html", origin, view{
		Title: title, ACS: place, SP: sp.Host(), Field: field,
		Message: base64.StdEncoding.EncodeToString(message), Pending: pending{RelayState: relayState},
	})
}
