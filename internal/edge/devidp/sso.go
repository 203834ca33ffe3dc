package devidp

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/http"
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
	p.begin(w, pending{Binding: "redirect", Request: q.Get("SAMLRequest"), RelayState: q.Get("RelayState")})
}

func (p *IdP) postRequest(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refuse(w, http.StatusBadRequest, "The form can't be read.")
		return
	}
	p.begin(w, pending{Binding: "post", Request: r.PostForm.Get("SAMLRequest"), RelayState: r.PostForm.Get("RelayState")})
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
	asked := pending{Binding: f.Get("binding"), Request: f.Get("SAMLRequest"), RelayState: f.Get("RelayState"), Start: f.Get("start")}
	sp, req, err := p.resolve(asked)
	if err != nil {
		p.refuse(w, http.StatusBadRequest, fault.Of(err).Public)
		return
	}
	user, known := p.user(f.Get("user"))
	if f.Get("password") == "" {
		// The first page only picks where to go, so this asks, and blames nobody.
		p.askPassword(w, http.StatusOK, sp, asked, f.Get("user"), "")
		return
	}
	if !p.limiter.AllowN(p.config.Now(), 1) {
		w.Header().Set("Retry-After", "1")
		p.askPassword(w, http.StatusTooManyRequests, sp, asked, f.Get("user"), "Too many tries. Wait a second.")
		return
	}
	if !p.passwordIs(f.Get("password")) || !known {
		p.askPassword(w, http.StatusForbidden, sp, asked, f.Get("user"), "That is not the password. It was printed when carnet dev started.")
		return
	}
	response, err := p.signer.Respond(p.answer(user, sp, req.ID))
	if err != nil {
		p.refuse(w, http.StatusInternalServerError, "The response can't be signed.")
		return
	}
	p.deliver(w, sp, asked.RelayState, response)
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
	req, err := parseRequest(asked)
	if err != nil {
		return SP{}, request{}, err
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
	return sp, req, nil
}

func parseRequest(asked pending) (request, error) {
	bad := fault.New(fault.Invalid, "This is not a SAML request. Begin the sign-in at Carnet.")
	doc, err := base64.StdEncoding.DecodeString(asked.Request)
	if err != nil || len(doc) == 0 {
		return request{}, bad
	}
	if asked.Binding == "redirect" {
		doc, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(doc)), maxRequest+1))
	}
	if err != nil || len(doc) > maxRequest {
		return request{}, bad
	}
	var req request
	if err := xml.Unmarshal(doc, &req); err != nil {
		return request{}, bad
	}
	return req, nil
}

// answer says who signed in, for one service provider and one request.
func (p *IdP) answer(u User, sp SP, requestID string) Answer {
	now := p.config.Now()
	sessionName := u.SessionName
	if sessionName == "" {
		sessionName = u.Name
	}
	a := Answer{
		ResponseID: NewID(), AssertionID: NewID(), Issuer: p.config.EntityID, InResponseTo: requestID,
		Destination: sp.ACS, Recipient: sp.ACS, Audiences: []string{sp.EntityID},
		NameID: u.Name, NameIDFormat: nameIDFormat,
		IssueInstant: now, NotBefore: now, NotOnOrAfter: now.Add(answerLife),
		SessionIndex: NewID(), SessionNotOnOrAfter: now.Add(signInLife),
		SignAssertion: true, SignReply: p.config.SignResponse,
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

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
