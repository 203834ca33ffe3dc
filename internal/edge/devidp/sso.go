package devidp

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

const (
	nameIDFormat = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
	answerLife   = 5 * time.Minute
	signInLife   = 12 * time.Hour
	maxRequest   = 32 << 10
)

// request is what an AuthnRequest asks. Unsigned, as it comes: everything in
// it is compared with the configuration.
type request struct {
	XMLName     xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:protocol AuthnRequest"`
	ID          string   `xml:"ID,attr"`
	Destination string   `xml:"Destination,attr"`
	ACS         string   `xml:"AssertionConsumerServiceURL,attr"`
	Issuer      string   `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Contexts    []string `xml:"RequestedAuthnContext>AuthnContextClassRef"`
}

func (p *IdP) home(w http.ResponseWriter, _ *http.Request) {
	p.show(w, http.StatusOK, "home.html", "'self'", view{Title: "Begin a sign-in", Users: p.config.Users, SPs: p.config.ServiceProviders})
}

func (p *IdP) metadata(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	_, _ = w.Write(p.Metadata())
}

func (p *IdP) redirectRequest(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.begin(w, pending{Binding: "redirect", Request: q.Get("SAMLRequest"), Query: r.URL.RawQuery, RelayState: q.Get("RelayState")})
}

func (p *IdP) postRequest(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refuse(w, http.StatusBadRequest, "The form can't be read.")
		return
	}
	p.begin(w, pending{Binding: "post", Request: r.PostForm.Get("SAMLRequest"), RelayState: r.PostForm.Get("RelayState")})
}

// start begins a sign-in here, for the application named by "sp", or for the
// only one: the address for a bookmark or a portal.
func (p *IdP) start(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	name := q.Get("sp")
	if all := p.serviceProviders(); name == "" && len(all) == 1 {
		name = all[0].EntityID
	}
	p.begin(w, pending{Start: name, RelayState: q.Get("RelayState")})
}

func (p *IdP) begin(w http.ResponseWriter, asked pending) {
	sp, _, err := p.resolve(asked)
	if err != nil {
		p.refuse(w, http.StatusBadRequest, fault.Of(err).Public)
		return
	}
	p.askPassword(w, http.StatusOK, sp, asked, "", "")
}

// signIn answers the form. It reads the request again, since the form came
// through the browser.
func (p *IdP) signIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refuse(w, http.StatusBadRequest, "The form can't be read.")
		return
	}
	f := r.PostForm
	asked := pending{
		Binding: f.Get("binding"), Request: f.Get("SAMLRequest"), Query: f.Get("query"), RelayState: f.Get("RelayState"), Start: f.Get("start"),
	}
	sp, req, err := p.resolve(asked)
	if err != nil {
		p.refuse(w, http.StatusBadRequest, fault.Of(err).Public)
		return
	}
	if f.Get("password") == "" {
		// The first page only picks where to go, so this asks, and blames nobody.
		p.askPassword(w, http.StatusOK, sp, asked, f.Get("user"), "")
		return
	}
	user, status, problem := p.check(f.Get("user"), f.Get("password"))
	if status != http.StatusOK {
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		p.askPassword(w, status, sp, asked, f.Get("user"), problem)
		return
	}
	response, err := p.signer.Respond(p.answer(user, sp, req))
	if err != nil {
		p.refuse(w, http.StatusInternalServerError, "The response can't be signed.")
		return
	}
	p.deliver(w, sp, asked.RelayState, response)
}

// check is one try of a password: 200, or a status with what to say.
func (p *IdP) check(name, password string) (User, int, string) {
	user, known := p.user(name)
	if !p.limiter.AllowN(p.config.Now(), 1) {
		return User{}, http.StatusTooManyRequests, "Too many tries. Wait a second."
	}
	if !p.passwordIs(password) || !known {
		return User{}, http.StatusForbidden, "That is not the password. It was printed when carnet dev started."
	}
	return user, http.StatusOK, ""
}

// resolve finds who asks, and that the answer goes nowhere else.
func (p *IdP) resolve(asked pending) (SP, request, error) {
	if asked.Start != "" && asked.Request == "" {
		sp, ok := p.serviceProvider(asked.Start)
		if !ok {
			return SP{}, request{}, fault.New(fault.Invalid, "This service provider is not known here.")
		}
		return sp, request{}, nil
	}
	doc, err := decode(asked.Binding, asked.Request)
	if err != nil {
		return SP{}, request{}, err
	}
	var req request
	if err := xml.Unmarshal(doc, &req); err != nil {
		return SP{}, request{}, errNoRequest()
	}
	sp, ok := p.serviceProvider(req.Issuer)
	switch {
	case !ok:
		return SP{}, request{}, fault.New(fault.Invalid, "This service provider is not known here.")
	case req.ACS != "" && req.ACS != sp.ACS:
		return SP{}, request{}, fault.New(fault.Invalid, "The request wants its answer at a place that is not the service provider's.")
	case req.Destination != "" && req.Destination != p.SSOURL():
		return SP{}, request{}, fault.New(fault.Invalid, "The request was made for another identity provider.")
	case req.ID == "" || len(req.ID) > 256:
		return SP{}, request{}, fault.New(fault.Invalid, "The request has no ID.")
	}
	// The form brings the query again; a request from elsewhere was not signed.
	if q, err := url.ParseQuery(asked.Query); err != nil || (asked.Query != "" && q.Get("SAMLRequest") != asked.Request) {
		return SP{}, request{}, errNoRequest()
	}
	if signed, good := sp.signed(asked.Query, doc); (signed && !good && len(sp.Signing) > 0) || (p.config.WantSignedRequests && !good) {
		return SP{}, request{}, fault.New(fault.Invalid, "The request is not signed by the service provider.")
	}
	return sp, req, nil
}

func errNoRequest() error {
	return fault.New(fault.Invalid, "This is not a SAML request. Begin the sign-in at Carnet.")
}

// decode gives the XML of a message as its binding carries it.
func decode(binding, message string) ([]byte, error) {
	doc, err := base64.StdEncoding.DecodeString(message)
	if err != nil || len(doc) == 0 {
		return nil, errNoRequest()
	}
	if binding == "redirect" {
		doc, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(doc)), maxRequest+1))
	}
	if err != nil || len(doc) > maxRequest {
		return nil, errNoRequest()
	}
	return doc, nil
}

// answer says who signed in, for one service provider and one request.
func (p *IdP) answer(u User, sp SP, req request) Answer {
	now := p.config.Now()
	if !canAuthenticate(req.Contexts) {
		return Answer{
			ResponseID: NewID(), Issuer: p.config.EntityID, InResponseTo: req.ID, Destination: sp.ACS, IssueInstant: now,
			SignReply: true, Status: StatusResponder, SubStatus: StatusNoAuthnContext,
		}
	}
	sessionName := u.SessionName
	if sessionName == "" {
		sessionName = u.Name
	}
	a := Answer{
		ResponseID: NewID(), AssertionID: NewID(), Issuer: p.config.EntityID, InResponseTo: req.ID,
		Destination: sp.ACS, Recipient: sp.ACS, Audiences: []string{sp.EntityID},
		NameID: u.Name, NameIDFormat: nameIDFormat,
		IssueInstant: now, NotBefore: now, NotOnOrAfter: now.Add(answerLife),
		SessionIndex: NewID(), SessionNotOnOrAfter: now.Add(signInLife),
		SignAssertion: true, SignReply: p.config.SignResponse,
	}
	if p.config.Encrypt {
		a.EncryptTo = sp.Encrypt
	}
	for _, at := range []Attribute{
		{Name: attrPrefix + "Role", NameFormat: formatURI, Values: u.Roles},
		{Name: attrPrefix + "RoleSessionName", NameFormat: formatURI, Values: []string{sessionName}},
		{Name: "groups", NameFormat: formatName, Values: u.Groups},
		{Name: "displayName", NameFormat: formatName, Values: one(u.DisplayName)},
		{Name: "mail", NameFormat: formatName, Values: one(u.Mail)},
	} {
		if len(at.Values) > 0 {
			a.Attributes = append(a.Attributes, at)
		}
	}
	return a
}

// canAuthenticate reports whether a password over a protected line is one of
// the contexts asked for, or none is.
func canAuthenticate(contexts []string) bool {
	return len(contexts) == 0 || slices.ContainsFunc(contexts, func(c string) bool {
		switch strings.TrimPrefix(c, "urn:oasis:names:tc:SAML:2.0:ac:classes:") {
		case "PasswordProtectedTransport", "Password", "unspecified":
			return true
		}
		return false
	})
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
