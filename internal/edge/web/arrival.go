package web

import (
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/login"
)

// arrivalPage asks whether a sign-in that nobody here asked for is meant.
type arrivalPage struct {
	Handle              string
	Name, UserName, IdP string
	// Already is who is signed in in this browser; empty: nobody.
	Already string
}

// arrival shows who would be signed in, and by whom. Nothing is opened by
// looking at it, and a login session that is live is never replaced: anybody
// can have this browser bring a sign-in of theirs.
func (web *Web) arrival(w http.ResponseWriter, r *http.Request) error {
	handle := r.URL.Query().Get("handle")
	a, err := web.Arrivals.Arrival(r.Context(), secret.New(handle), web.cookies.Arrival(r))
	if err != nil {
		return err
	}
	page := arrivalPage{Handle: handle, Name: nameOrUser(a.Person), UserName: a.Person.UserName, IdP: a.IdPName}
	f := frame{Title: "Continue?"}
	if live, ok := web.signedIn(r); ok {
		page.Already = displayName(live)
		f.Title, f.Who, f.Administrator = "Already signed in", page.Already, live.Administrator
	}
	f.Page = page
	return web.show(w, r, http.StatusOK, "continue", f)
}

// goOn opens the sign-in: its person said yes.
func (web *Web) goOn(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	if live, ok := web.signedIn(r); ok {
		return fault.Coded(fault.Conflict, "login.already", "You are signed in as "+displayName(live)+" in this browser").
			WithMend("sign out first, then begin again at your identity provider")
	}
	in, err := web.Arrivals.Continue(r.Context(), secret.New(r.PostForm.Get("handle")), web.cookies.Arrival(r))
	if err != nil {
		return err
	}
	web.cookies.ClearArrival(w)
	web.cookies.SetLogin(w, in.Cookie, in.Session.Expires.Sub(web.Now()))
	return web.returnTo(w, r, in.ReturnTo)
}

// signedIn gives the live login session of this browser, on rows that ask for
// nobody. Where that can't be said there may be one.
func (web *Web) signedIn(r *http.Request) (login.LoginSession, bool) {
	cookie := web.cookies.Login(r)
	if cookie.IsZero() {
		return login.LoginSession{}, false
	}
	s, err := web.LoginSessions.Resume(r.Context(), cookie)
	if err == nil {
		return s, true
	}
	return login.LoginSession{Person: login.Person{DisplayName: "somebody"}}, fault.KindOf(err) == fault.Unavailable || fault.KindOf(err) == fault.Internal
}
