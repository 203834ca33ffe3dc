package web

import (
	"errors"
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// setup shows a button only: mail scanners and previews open links, and must
// not use up the code.
func (web *Web) setup(w http.ResponseWriter, r *http.Request) error {
	return web.show(w, r, http.StatusOK, "setup", frame{Title: "Set up Carnet", Page: r.URL.Query().Get("code")})
}

// redeemSetup uses up the code and opens an administrator's login session.
func (web *Web) redeemSetup(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	in, err := web.Login.RedeemSetup(r.Context(), secret.New(r.PostForm.Get("code")))
	if err != nil {
		return err
	}
	web.cookies.SetLogin(w, in.Cookie, in.Session.Expires.Sub(web.Now()))
	return seeOther(w, "/admin/sso")
}

// formFault says that a body is no form. A body over the limit keeps its own
// fault.
func formFault(err error) error {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return err
	}
	return fault.Wrap(err, fault.Invalid, "The form can’t be read").WithCode("request.form").WithMend("go back and send it again")
}
