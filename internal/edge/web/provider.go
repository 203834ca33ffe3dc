package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// providerPage is one identity provider: entering it, or changing it.
type providerPage struct {
	New     bool
	ID      identity.IdPID
	Card    providerCard
	Pending []certificate // of the metadata that waits
	SAMLURL string
	openIDPlaces
	Accounts []Account
	Form     ssoForm
	Refused  *fault.Fault // why the form was not taken
	Warnings []string     // to be looked at before the form is taken
	Known    []string     // warnings of what is stored
	Remarks  []string     // on its metadata
	Done     string
}

func (web *Web) addForm(w http.ResponseWriter, r *http.Request) error {
	form := ssoForm{AllowAutoCreate: true, Enabled: true}
	if r.URL.Query().Get("protocol") == string(federation.OIDC) {
		form.Protocol = federation.OIDC
	}
	return web.showProvider(w, r, http.StatusOK, providerPage{New: true, Form: form})
}

func (web *Web) showProvider(w http.ResponseWriter, r *http.Request, status int, page providerPage) error {
	page.Accounts, page.SAMLURL, page.openIDPlaces = web.Accounts, web.SAMLURL, web.openIDPlaces()
	title := "Add an identity provider"
	if !page.New {
		title = page.Card.Name
	}
	return web.show(w, r, status, "provider", frame{Title: title, Here: "sso", Page: page})
}

// addProvider enters an identity provider. A form that is refused comes back
// as it was filled in, with the reason above it; one that a warning speaks of
// comes back once, to be sent again.
func (web *Web) addProvider(w http.ResponseWriter, r *http.Request) error {
	form, err := readSSOForm(r)
	if err != nil {
		return err
	}
	p, err := form.fill(federation.IdP{Enabled: form.Enabled})
	if err == nil {
		p.Protocol, p.EntityID = form.Protocol, form.EntityID
		p.Metadata, err = form.document()
	}
	page := providerPage{New: true, Form: form}
	if err == nil {
		if page.Warnings = form.news(web.ProviderCare.Warnings(p), nil); len(page.Warnings) > 0 {
			page.Form.Metadata = string(p.Metadata) // a file is not sent twice
			return web.showProvider(w, r, http.StatusOK, page)
		}
		p, err = web.Providers.Add(r.Context(), p)
	}
	if err == nil {
		return seeOther(w, "/admin/sso/providers/"+url.PathEscape(string(p.ID))+"?done=added")
	}
	var again bool
	if page.Refused, again = refusedForm(err); !again {
		return err
	}
	return web.showProvider(w, r, httpd.Status(page.Refused.Kind), page)
}

func (web *Web) provider(w http.ResponseWriter, r *http.Request) error {
	p, err := web.Providers.Get(r.Context(), identity.IdPID(r.PathValue("id")))
	if err != nil {
		return err
	}
	return web.showProvider(w, r, http.StatusOK, web.providerPage(p, formOf(p), done(r)))
}

func (web *Web) providerPage(p federation.IdP, form ssoForm, done string) providerPage {
	page := providerPage{ID: p.ID, Card: web.card(p), Form: form, Done: done, Known: web.ProviderCare.Warnings(p)}
	page.Remarks = page.Card.State.Remarks
	if next := page.Card.State.Pending; next != nil {
		page.Pending = web.certificates(next.Certificates)
	}
	return page
}

// changeProvider saves the settings; refusals and warnings as for addProvider.
func (web *Web) changeProvider(w http.ResponseWriter, r *http.Request) error {
	form, err := readSSOForm(r)
	if err != nil {
		return err
	}
	old, err := web.Providers.Get(r.Context(), identity.IdPID(r.PathValue("id")))
	if err != nil {
		return err
	}
	p, err := form.fill(old)
	p.Revision = form.Revision
	moved := p.MetadataURL != "" && p.MetadataURL != old.MetadataURL
	if err == nil {
		var document []byte
		if document, err = form.document(); len(document) > 0 {
			p.Metadata, moved = document, false
		}
	}
	page := web.providerPage(old, form, "")
	if err == nil {
		if page.Warnings = form.news(web.ProviderCare.Warnings(p), page.Known); len(page.Warnings) > 0 {
			return web.showProvider(w, r, http.StatusOK, page)
		}
		_, err = web.Providers.Update(r.Context(), p)
	}
	if err == nil && moved {
		_, _ = web.Metadata.Refresh(r.Context(), p.ID) // why it fails is kept, and shown
	}
	if err == nil {
		return seeOther(w, "/admin/sso/providers/"+url.PathEscape(string(p.ID))+"?done=saved")
	}
	var again bool
	if page.Refused, again = refusedForm(err); !again {
		return err
	}
	return web.showProvider(w, r, httpd.Status(page.Refused.Kind), page)
}

// actOnProvider does one thing to an identity provider, by a button.
func (web *Web) actOnProvider(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	id := identity.IdPID(r.PathValue("id"))
	revision, _ := strconv.ParseInt(r.PostForm.Get("revision"), 10, 64) // as the page showed it
	if act := r.PostForm.Get("act"); revision == 0 && (act == "accept" || act == "refuse") {
		return badForm()
	}
	here := "/admin/sso/providers/" + url.PathEscape(string(id))
	set := func(on bool) func(context.Context) error {
		return func(ctx context.Context) error { _, err := web.ProviderCare.SetEnabled(ctx, id, on); return err }
	}
	for _, a := range []struct {
		word, done, to string
		do             func(context.Context) error
	}{
		{"enable", "enabled", here, set(true)},
		{"disable", "disabled", here, set(false)},
		{"refresh", "refreshed", here, func(ctx context.Context) error { _, err := web.Metadata.Refresh(ctx, id); return err }},
		{"accept", "accepted", here, func(ctx context.Context) error {
			_, err := web.Metadata.AcceptPending(ctx, id, revision)
			return err
		}},
		{"refuse", "refused", here, func(ctx context.Context) error {
			_, err := web.Metadata.RefusePending(ctx, id, revision)
			return err
		}},
		{"remove", "removed", "/admin/sso", func(ctx context.Context) error {
			if r.PostForm.Get("sure") == "" {
				return fault.Coded(fault.Invalid, "request.form", "Removing an identity provider wants the box ticked").WithMend("go back and tick it")
			}
			return web.Providers.Remove(ctx, id)
		}},
	} {
		if a.word == r.PostForm.Get("act") {
			if err := a.do(r.Context()); err != nil {
				return err
			}
			return seeOther(w, a.to+"?done="+a.done)
		}
	}
	if r.PostForm.Get("act") == "test" {
		return web.beginTest(w, r, id)
	}
	return badForm()
}

// beginTest begins a test sign-in. The row admitted an administrator.
func (web *Web) beginTest(w http.ResponseWriter, r *http.Request, id identity.IdPID) error {
	p, err := web.Providers.Get(r.Context(), id)
	if err != nil {
		return err
	}
	started, err := web.Login.Begin(r.Context(), id, "/admin/sso", login.Options{Test: true})
	if err != nil {
		return err
	}
	web.cookies.SetPreLogin(w, started.PreLogin, login.PreLoginLifetime+login.ReportLifetime)
	return web.passOn(w, r, login.Errand{RedirectURL: started.RedirectURL, Form: started.Form}, errandPage{
		Heading: "Test sign-in", To: p.Name, Text: "Sign in there as the person to try. The answer is looked at and shown to you; nobody is signed in by it."})
}
