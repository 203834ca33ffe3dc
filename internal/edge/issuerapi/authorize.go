package issuerapi

import (
	"net/http"
	"net/url"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
)

// maxQuery bounds an authorization request, so that it fits into the way back of
// a sign-in, with its path and our marker.
const maxQuery = login.MaxReturnTo - 350

// consentPath is the page on which a person is asked.
const consentPath = "/consent"

// authorize is the authorization endpoint (RFC 6749 section 3.1).
func (e endpoints) authorize(w http.ResponseWriter, r *http.Request) error {
	if !strings.EqualFold(r.Host, e.BaseURL.Host) { // people are signed in there alone
		return seeOther(w, e.BaseURL.Scheme+"://"+e.BaseURL.Host+r.URL.RequestURI())
	}
	form, err := e.query(r.URL.RawQuery)
	if err != nil {
		return err
	}
	way, err := e.Grants.Authorize(r.Context(), oauth.Ask{Level: e.level, Form: form, Session: httpd.CallerOf(r).Session})
	switch {
	case err != nil:
		return err
	case way.SignIn != nil:
		return seeOther(w, e.signIn(form, *way.SignIn))
	case !way.Approval.IsZero():
		return seeOther(w, consentPath+"?"+url.Values{"request": {way.Approval.Reveal()}}.Encode())
	}
	return seeOther(w, way.Redirect)
}

// authorizeByForm turns the request of a form (OpenID Connect Core section
// 3.1.2.1) into that of a link. It reads no cookie and does nothing.
func (e endpoints) authorizeByForm(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return fault.Of(err).WithMend("ask whoever runs the program that sent you here")
	}
	return seeOther(w, e.Documents.Path(e.level)+"/v1/authorize?"+encode(form))
}

// query reads the parameters of a link. What is wrong with them is told to the
// person: nothing in them is proven.
func (e endpoints) query(text string) (oauth.Form, error) {
	mend := "ask whoever runs the program that sent you here"
	if len(text) > maxQuery+len(oauth.MarkerName)+300 {
		return nil, malformed("The request is longer than can be carried through a sign-in").WithMend(mend)
	}
	form, err := parseForm(text)
	if err != nil {
		return nil, fault.Of(err).WithMend(mend)
	}
	marker := form[oauth.MarkerName]
	if len(encode(form))-len(marker) > maxQuery {
		return nil, malformed("The request is longer than can be carried through a sign-in").WithMend(mend)
	}
	return form, nil
}

// signIn leads to the sign-in, and back to the request from there.
func (e endpoints) signIn(form oauth.Form, in oauth.SignIn) string {
	again := oauth.Form{}
	for name, value := range form {
		again[name] = value
	}
	delete(again, oauth.MarkerName)
	if in.Marker != "" {
		again[oauth.MarkerName] = in.Marker
	}
	q := url.Values{"return_to": {e.Documents.Path(e.level) + "/v1/authorize?" + encode(again)}}
	if in.Anew {
		q.Set("anew", "")
	}
	return "/sign-in?" + q.Encode()
}

func encode(form oauth.Form) string {
	q := url.Values{}
	for name, value := range form {
		q.Set(name, value)
	}
	return q.Encode()
}

// seeOther sends the browser on with a GET.
func seeOther(w http.ResponseWriter, to string) error {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
