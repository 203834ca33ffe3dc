package web

import (
	"context"
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// SignIns are a person's own login sessions.
type SignIns interface {
	// Own gives the open ones, newest first.
	Own(ctx context.Context, l login.LoginSession) ([]SignIn, error)
	// OwnKeys gives the keys of AWS that are out in the person's name.
	OwnKeys(ctx context.Context, l login.LoginSession) ([]withdrawal.Key, error)
	// EndOwn ends one of the person's own. Fault: NotFound.
	EndOwn(ctx context.Context, l login.LoginSession, id string) error
}

// signInsPage shows a person where they are signed in.
type signInsPage struct {
	SignIns     []signInRow
	Keys        []awsKeyRow
	BySetupLink bool
	Away        *fault.Fault
	Done        string
}

var signInWords = map[string]string{
	"ended": "The sign-in is ended. What rested on it is refused everywhere within two seconds; keys of AWS live to the time that stands below.",
}

func (web *Web) signIns(w http.ResponseWriter, r *http.Request) error {
	s := httpd.CallerOf(r).Session
	page := signInsPage{BySetupLink: s.Person.ID == "", Done: signInWords[r.URL.Query().Get("done")]}
	if !page.BySetupLink {
		own, err := web.OwnSignIns.Own(r.Context(), s)
		keys, err2 := web.OwnSignIns.OwnKeys(r.Context(), s)
		for _, e := range []error{err, err2} {
			if e != nil {
				page.Away = fault.Of(e)
			}
		}
		page.SignIns, page.Keys = web.signInRows(own, s.ID), web.awsKeyRows(keys)
	}
	return web.show(w, r, http.StatusOK, "sign-ins", frame{Title: "Sign-ins", Here: "sign-ins", Page: page})
}

func (web *Web) endSignIn(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	if err := web.OwnSignIns.EndOwn(r.Context(), httpd.CallerOf(r).Session, r.PostForm.Get("id")); err != nil {
		return err
	}
	return seeOther(w, "/sign-ins?done=ended")
}
