package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/oauth"
)

// clientPage is one client, or the credentials of a service principal.
type clientPage struct {
	ID, Name    string
	Machine     bool // a service principal
	Active      bool
	Client      oauth.Client // zero for a service principal
	Warnings    []string
	Credentials []credentialRow
	Refused     *fault.Fault
	Owner       string   // as the form was filled in
	Lives       []choice // of a new secret
	Made        *madeSecret
	Done        string
}

// madeSecret is a new secret, shown this once.
type madeSecret struct {
	secret secret.Text
	ID     string
	Until  clock
}

// Text is the secret itself, for the one page that shows it.
func (m madeSecret) Text() string { return m.secret.Reveal() }

// credentialRow is one credential.
type credentialRow struct {
	ID, Kind, Owner, State, Text string
	Used                         string
	Expires                      clock
	Ends                         bool // it has an end
}

func (web *Web) credentials(client string) (rows []credentialRow) {
	now := web.Now()
	for _, k := range web.Clients.CredentialsOf(client) {
		row := credentialRow{ID: string(k.ID), Kind: "Secret", Owner: k.Owner, State: "ready", Text: "In force", Used: "not used yet", Ends: !k.Expires.IsZero()}
		if k.Kind == oauth.KeyCredential {
			row.Kind = "Key"
		}
		if !k.LastUsed.IsZero() {
			row.Used = "last used " + ago(now.Sub(k.LastUsed))
		}
		if row.Ends {
			rest := k.Expires.Sub(now)
			row.Expires = clock{k.Expires, left(rest)}
			switch {
			case rest <= 0:
				row.State, row.Text = "failed", "Expired"
			case rest < 30*24*time.Hour:
				row.State, row.Text = "expired", "Ends in "+left(rest)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// findClient gives the page of a client or service principal.
func (web *Web) findClient(r *http.Request) (clientPage, error) {
	id := r.PathValue("id")
	page := clientPage{ID: id, Lives: lives(730), Credentials: web.credentials(id)}
	if strings.HasPrefix(id, "spn_") {
		all, err := web.Machines.ServicePrincipals(r.Context())
		if err != nil {
			return page, err
		}
		for _, m := range all {
			if string(m.ID) == id {
				page.Name, page.Machine, page.Active = m.Name, true, m.Active
				return page, nil
			}
		}
	}
	for _, c := range web.Clients.List() {
		if c.ID == id {
			page.Name, page.Active, page.Client, page.Warnings = c.Name, c.Enabled, c, c.Warnings()
			return page, nil
		}
	}
	return page, fault.Coded(fault.NotFound, "client.unknown", "There is no such client or service principal").WithMend("go back to OIDC federation")
}

// lives are the choices for a new secret, in days.
func lives(chosen int) (all []choice) {
	for _, c := range []struct {
		days int
		text string
	}{{30, "30 days"}, {90, "90 days"}, {365, "1 year"}, {730, "2 years"}} {
		all = append(all, choice{strconv.Itoa(c.days), c.text, c.days == chosen})
	}
	return all
}

func (web *Web) client(w http.ResponseWriter, r *http.Request) error {
	page, err := web.findClient(r)
	if err != nil {
		return err
	}
	page.Done = done(r)
	return web.showClient(w, r, http.StatusOK, page)
}

func (web *Web) showClient(w http.ResponseWriter, r *http.Request, status int, page clientPage) error {
	return web.show(w, r, status, "client", frame{Title: page.Name, Here: "oidc", Page: page})
}

// actOnClient does one thing to a client, by a button.
func (web *Web) actOnClient(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	page, err := web.findClient(r)
	if err != nil {
		return err
	}
	here := "/admin/oidc/clients/" + url.PathEscape(page.ID)
	switch act := r.PostForm.Get("act"); {
	case act == "secret":
		return web.addSecret(w, r, page)
	case act == "remove":
		if err := web.Clients.RemoveCredential(r.Context(), page.ID, identity.CredentialID(r.PostForm.Get("credential"))); err != nil {
			return err
		}
		return seeOther(w, here+"?done=credential-removed")
	case (act == "enable" || act == "disable") && !page.Machine:
		if _, err := web.Clients.SetEnabled(r.Context(), page.ID, act == "enable"); err != nil {
			return err
		}
		return seeOther(w, here+"?done=client-"+act)
	}
	return badForm()
}

// addSecret makes a secret and shows it, in the answer to the form alone.
func (web *Web) addSecret(w http.ResponseWriter, r *http.Request, page clientPage) error {
	days, err := strconv.Atoi(r.PostForm.Get("days"))
	if err != nil || !slices.ContainsFunc(page.Lives, func(c choice) bool { return c.Value == strconv.Itoa(days) }) {
		return badForm()
	}
	page.Owner, page.Lives = strings.TrimSpace(r.PostForm.Get("owner")), lives(days)
	text, k, err := web.Clients.AddSecret(r.Context(), page.ID, page.Owner, time.Duration(days)*24*time.Hour)
	if err != nil {
		var again bool
		if page.Refused, again = refusedForm(err); !again {
			return err
		}
		return web.showClient(w, r, httpd.Status(page.Refused.Kind), page)
	}
	page.Made = &madeSecret{secret: text, ID: string(k.ID), Until: clock{At: k.Expires}}
	page.Owner, page.Credentials = "", web.credentials(page.ID)
	return web.showClient(w, r, http.StatusOK, page)
}
