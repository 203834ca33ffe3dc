package issuerapi

import (
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/oauth"
)

// assertionType is the one kind of client assertion (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func malformed(text string) *fault.Fault {
	return fault.Coded(fault.Invalid, oauth.InvalidRequest, text)
}

// readForm takes the parameters of a POST: from the body alone, each once.
func readForm(r *http.Request) (oauth.Form, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, malformed("the request must be of Content-Type application/x-www-form-urlencoded")
	}
	if r.URL.RawQuery != "" {
		return nil, malformed("parameters belong in the body, and not in the address, which is logged on its way")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err // over the limit, or cut off
	}
	return parseForm(string(body))
}

// parseForm reads parameters. A duplicate is refused and an empty one is none (RFC
// 6749 section 3.1).
func parseForm(text string) (oauth.Form, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, malformed("the parameters are not in form encoding")
	}
	form := oauth.Form{}
	for name, all := range values {
		if len(all) != 1 {
			return nil, malformed("a parameter stands more than once")
		}
		if all[0] != "" {
			form[name] = all[0]
		}
	}
	return form, nil
}

// presented finds the client's proof: in one place, or the request is refused
// (RFC 6749 section 2.3).
func presented(r *http.Request, form oauth.Form) (oauth.Presented, error) {
	p := oauth.Presented{ID: form["client_id"], Method: oauth.MethodNone}
	ways := 0
	if given := r.Header.Values("Authorization"); len(given) > 0 {
		if len(given) != 1 {
			return p, malformed("there are two Authorization headers")
		}
		id, password, err := basic(given[0])
		if err != nil {
			return p, err
		}
		if p.ID != "" && p.ID != id {
			return p, malformed("client_id is another client than the Authorization header's")
		}
		p.ID, p.Secret, p.Method = id, password, oauth.MethodBasic
		ways++
	}
	if form.Has("client_secret") {
		p.Secret, p.Method = secret.New(form["client_secret"]), oauth.MethodPost
		ways++
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		if form["client_assertion_type"] != assertionType {
			return p, malformed("the client_assertion_type must be " + assertionType)
		}
		p.Assertion, p.Method = form["client_assertion"], oauth.MethodPrivateKey
		ways++
	}
	if ways > 1 {
		return p, malformed("the client proves itself in more than one way")
	}
	return p, nil
}

// basic reads the Authorization header of a client. Both halves are in form
// encoding (RFC 6749 section 2.3.1).
func basic(header string) (id string, password secret.Text, err error) {
	wrong := fault.Coded(fault.Unauthenticated, oauth.InvalidClient, "the Authorization header is not Basic with client_id and secret, both in form encoding")
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", secret.Text{}, wrong
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return "", secret.Text{}, wrong
	}
	user, pass, found := strings.Cut(string(raw), ":")
	if user, err = url.QueryUnescape(user); err != nil || !found {
		return "", secret.Text{}, wrong
	}
	if pass, err = url.QueryUnescape(pass); err != nil || user == "" || pass == "" {
		return "", secret.Text{}, wrong
	}
	return user, secret.New(pass), nil
}

// bearer reads the access token of a request (RFC 6750 section 2.1).
func bearer(r *http.Request) (secret.Text, error) {
	given := r.Header.Values("Authorization")
	if len(given) == 0 {
		return secret.Text{}, fault.Coded(fault.Unauthenticated, codeNoToken, "the request has no access token").
			WithMend("send it in the Authorization header, as Bearer")
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	if len(given) != 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return secret.Text{}, malformed("the Authorization header must be one Bearer token")
	}
	return secret.New(token), nil
}

// codeNoToken is no error of OAuth: who brought nothing is told of none (RFC 6750
// section 3.1).
const codeNoToken = "token.missing"
