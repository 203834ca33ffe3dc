package web

import (
	"net/http"
	"net/url"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/saml"
)

// errorPage is the data of the page that every fault becomes.
type errorPage struct {
	Heading, Cause, Mend, Code, RequestID string
	// Again is where the button leads, and ButtonText what it says.
	Again, ButtonText string
}

// ErrorPage is the ErrorWriter of pages: what failed, what to do, and the
// request id under which the server's log has the rest.
func (web *Web) ErrorPage(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	page := errorPage{
		Heading: heading(r, f.Kind), Cause: f.Public, Mend: f.Mend, Code: f.Code,
		RequestID: string(identity.RequestIDFrom(r.Context())),
		Again:     "/", ButtonText: "Go to the start page",
	}
	if page.Code == "" {
		page.Code = f.Kind.String()
	}
	if page.Mend == "" {
		page.Mend = mend(r, f)
	}
	if signingIn(r) {
		page.Again, page.ButtonText = "/sign-in", "Sign in again"
	}
	if f.Kind == fault.Misconfigured && f.Code == "setup.pending" {
		page.Again = ""
	}
	status := httpd.Status(f.Kind)
	if err := web.show(w, r, status, "error", frame{Title: page.Heading, Page: page}); err != nil {
		http.Error(w, f.Public+"\nrequest id "+page.RequestID, status)
	}
}

// signInOr sends a stranger who asks for a page to sign in, and back after it.
func (web *Web) signInOr(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	switch {
	case httpd.CallerOf(r).Session.ID != "": // somebody: the page itself refused them
		web.ErrorPage(w, r, f)
	case f.Kind == fault.Unauthenticated, f.Kind == fault.Expired, f.Kind == fault.Revoked:
		_ = seeOther(w, "/sign-in?"+url.Values{"return_to": {r.URL.RequestURI()}}.Encode())
	default:
		web.ErrorPage(w, r, f)
	}
}

// signingIn reports whether the request is a step of sign-in.
func signingIn(r *http.Request) bool {
	switch r.URL.Path {
	case "/sign-in", "/sign-in/complete", "/sign-in/continue", "/saml/consume", oidcCallback:
		return true
	}
	return false
}

// signingOut reports whether the request brought a logout message.
func signingOut(r *http.Request) bool {
	return r.URL.Path == "/saml/consume" && (r.Method == http.MethodGet || r.PostForm.Has("SAMLRequest"))
}

// mend says what to do about a fault that says nothing of its own: every page
// leads somewhere.
func mend(r *http.Request, f *fault.Fault) string {
	switch k := f.Kind; {
	case signingIn(r) && (f.Code == saml.CheckSize || f.Code == "request.body"):
		return "ask your administrator to let the identity provider send less: only the groups and roles that Carnet is to know of, " +
			"as a filter on the group or role attribute does; a response holds at most 512 KiB"
	case signingOut(r):
		return "close all windows of this browser to be sure that you are signed out, and give your administrator the request id"
	case k == fault.Unavailable || k == fault.Limited:
		return "wait a moment and try again"
	case k == fault.Internal || k == fault.Misconfigured:
		return "try again; if it fails again, give your administrator the request id"
	case signingIn(r):
		return "sign in again; if it is refused again, give your administrator the request id"
	case k == fault.Denied:
		return "ask your administrator, and give the request id"
	default:
		return "go back and try again; if it fails again, give your administrator the request id"
	}
}

// heading maps a kind to the page's first words. It is the one place where
// kinds become words for people.
func heading(r *http.Request, k fault.Kind) string {
	if signingOut(r) && k != fault.Unavailable && k != fault.Limited {
		return "The sign-out message was refused"
	}
	refused := k == fault.Invalid || k == fault.Unauthenticated || k == fault.Denied || k == fault.Expired ||
		k == fault.Revoked || k == fault.Conflict || k == fault.TooLarge
	if refused && signingIn(r) {
		return "The sign-in was refused"
	}
	switch k {
	case fault.Invalid:
		return "This request can’t be read"
	case fault.Unauthenticated:
		return "Please sign in"
	case fault.Denied:
		return "You may not do this"
	case fault.NotFound:
		return "Nothing here"
	case fault.Conflict:
		return "This can’t be done now"
	case fault.Expired:
		return "This is past its time"
	case fault.Revoked:
		return "This was taken back"
	case fault.TooLarge:
		return "This is too large"
	case fault.Limited:
		return "Too fast"
	case fault.Unavailable:
		return "A part that we need is away"
	case fault.Unsupported:
		return "This is not offered"
	case fault.Misconfigured:
		return "Something has to be set up first"
	default:
		return "Carnet failed"
	}
}
