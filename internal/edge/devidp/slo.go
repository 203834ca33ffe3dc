package devidp

import (
	"encoding/xml"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// logoutLife is how long a LogoutRequest of ours is good for.
const logoutLife = 5 * time.Minute

// logoutMessage is what a LogoutRequest or LogoutResponse says.
type logoutMessage struct {
	XMLName     xml.Name
	ID          string `xml:"ID,attr"`
	Destination string `xml:"Destination,attr"`
	Issuer      string `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Status      struct {
		Value string `xml:"Value,attr"`
	} `xml:"Status>StatusCode"`
}

func (p *IdP) redirectLogout(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.logout(w, "redirect", q.Get("SAMLRequest"), q.Get("SAMLResponse"), q.Get("RelayState"), r.URL.RawQuery)
}

func (p *IdP) postLogout(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refuse(w, http.StatusBadRequest, "The form can't be read.")
		return
	}
	f := r.PostForm
	p.logout(w, "post", f.Get("SAMLRequest"), f.Get("SAMLResponse"), f.Get("RelayState"), "")
}

// logout answers a LogoutRequest, or takes the answer to ours. There is no
// login session here to end, so a request that is well signed always succeeds.
func (p *IdP) logout(w http.ResponseWriter, binding, request, response, relayState, query string) {
	if response != "" {
		_, m, err := p.logoutMessage(binding, response, query, "LogoutResponse")
		switch {
		case err != nil:
			p.refuse(w, http.StatusBadRequest, fault.Of(err).Public)
		case m.Status.Value != StatusSuccess:
			p.refuse(w, http.StatusOK, "The application says that it did not sign the account out.")
		default:
			p.show(w, http.StatusOK, "signed-out.html", "'none'", view{Title: "Signed out", Done: "The application says that the account is signed out.", SPs: p.serviceProviders()})
		}
		return
	}
	sp, m, err := p.logoutMessage(binding, request, query, "LogoutRequest")
	if err != nil {
		p.refuse(w, http.StatusBadRequest, fault.Of(err).Public)
		return
	}
	answer := Logout{
		ID: NewID(), Issuer: p.config.EntityID, Destination: sp.SLO, IssueInstant: p.config.Now(), InResponseTo: m.ID,
	}
	p.postSigned(w, sp, "You are signed out", relayState, answer)
}

// signOut begins a logout here: the account is asked of the application,
// whatever its login sessions there.
func (p *IdP) signOut(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refuse(w, http.StatusBadRequest, "The form can't be read.")
		return
	}
	sp, ok := p.serviceProvider(r.PostForm.Get("from"))
	if !ok || sp.SLO == "" {
		p.refuse(w, http.StatusBadRequest, "This application takes no sign-out from here.")
		return
	}
	user, status, problem := p.check(r.PostForm.Get("user"), r.PostForm.Get("password"))
	if status != http.StatusOK {
		p.refuse(w, status, problem)
		return
	}
	now := p.config.Now()
	p.postSigned(w, sp, "Signing out", "", Logout{
		ID: NewID(), Issuer: p.config.EntityID, Destination: sp.SLO, IssueInstant: now, NotOnOrAfter: now.Add(logoutLife),
		NameID: user.Name, NameIDFormat: nameIDFormat,
	})
}

func (p *IdP) postSigned(w http.ResponseWriter, sp SP, title, relayState string, l Logout) {
	message, err := p.signer.Post(l)
	if err != nil {
		p.refuse(w, http.StatusInternalServerError, "The message can't be signed.")
		return
	}
	back := ""
	if l.InResponseTo == "" {
		back = "'self'" // the answer to a request comes here
	}
	p.post(w, sp, sp.SLO, back, title, l.Field(), relayState, message)
}

// logoutMessage reads a message of the kind named, which has to be signed.
func (p *IdP) logoutMessage(binding, message, query, kind string) (SP, logoutMessage, error) {
	bad := fault.New(fault.Invalid, "This is not a SAML logout message.")
	doc, err := decode(binding, message)
	if err != nil {
		return SP{}, logoutMessage{}, bad
	}
	var m logoutMessage
	if err := xml.Unmarshal(doc, &m); err != nil || m.XMLName.Local != kind || m.XMLName.Space != nsProtocol || m.ID == "" {
		return SP{}, logoutMessage{}, bad
	}
	sp, ok := p.serviceProvider(m.Issuer)
	switch {
	case !ok || sp.SLO == "":
		return SP{}, logoutMessage{}, fault.New(fault.Invalid, "This service provider is not known here, or has no place for logout messages.")
	case m.Destination != "" && m.Destination != p.SLOURL():
		return SP{}, logoutMessage{}, fault.New(fault.Invalid, "The message was made for another identity provider.")
	}
	if _, good := sp.signed(query, doc); !good {
		return SP{}, logoutMessage{}, fault.New(fault.Invalid, "The message is not signed by the service provider.")
	}
	return sp, m, nil
}
