package forge

import (
	"strings"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/edge/devidp"
)

func noChange(*devidp.Answer) {}

// protocol are responses that verify, and that still must not be taken: made
// for somebody else, for another time, or saying something we don't know.
func (m *maker) protocol() {
	add := func(name, check string, change func(*devidp.Answer)) {
		m.add("protocol", name, check, m.answer(change))
	}
	for name, audience := range map[string][]string{
		"of another service provider": {"https://other.example/saml"}, "with a longer path": {m.acs + "/"}, "cut short": {m.acs[:len(m.acs)-1]},
		"in another letter case": {strings.ToUpper(m.acs)}, "absent": nil, "empty": {""},
	} {
		add("audience "+name, "saml.audience", func(a *devidp.Answer) { a.Audiences = audience })
	}
	for name, recipient := range map[string]string{
		"of another service provider": "https://other.example/saml", "with a longer path": m.acs + "/x", "with a query": m.acs + "?x",
		"in another letter case": strings.ToUpper(m.acs), "absent": "",
	} {
		add("recipient "+name, "saml.recipient", func(a *devidp.Answer) { a.Recipient = recipient })
	}
	add("destination of another service provider", "saml.destination", func(a *devidp.Answer) { a.Destination = "https://other.example/saml" })
	add("destination of another, response signed", "saml.destination", func(a *devidp.Answer) {
		a.Destination, a.SignReply = "https://other.example/saml", true
	})
	add("answers another request", "saml.in-response-to", func(a *devidp.Answer) { a.InResponseTo = "_another" })
	add("answers no request", "saml.in-response-to", func(a *devidp.Answer) { a.InResponseTo = "" })
	add("signed by the true key for another issuer", "saml.issuer", func(a *devidp.Answer) { a.Issuer = "https://other.example/idp" })
	add("issuer in another letter case", "saml.issuer", func(a *devidp.Answer) { a.Issuer = strings.ToUpper(a.Issuer) })
	add("over since ten minutes", "saml.confirmation-time", func(a *devidp.Answer) { a.NotOnOrAfter = m.now.Add(-10 * time.Minute) })
	add("over since the allowed skew", "saml.confirmation-time", func(a *devidp.Answer) { a.NotOnOrAfter = m.now.Add(-time.Minute) })
	add("without an end", "saml.confirmation-time", func(a *devidp.Answer) { a.NotOnOrAfter = time.Time{} })
	add("valid only in ten minutes", "saml.not-before", func(a *devidp.Answer) { a.NotBefore = m.now.Add(10 * time.Minute) })
	add("issued in the future", "saml.issue-instant", func(a *devidp.Answer) { a.IssueInstant = m.now.Add(10 * time.Minute) })
	add("issued at no time", "saml.issue-instant", func(a *devidp.Answer) { a.IssueInstant = time.Time{} })
	add("sign-in already ended", "saml.login-session-ended", func(a *devidp.Answer) { a.SessionNotOnOrAfter = m.now.Add(-time.Hour) })
	m.builtProtocol()
}

func (m *maker) builtProtocol() {
	add := func(name, check string, change func(r, as *etree.Element)) {
		m.add("protocol", name, check, m.built(change))
	}
	conditions := func(change func(c *etree.Element)) func(_, as *etree.Element) {
		return func(_, as *etree.Element) { change(m.find(as, "./Conditions")) }
	}
	add("two audience restrictions, we are in one", "saml.audience", conditions(func(c *etree.Element) {
		c.CreateElement("saml:AudienceRestriction").CreateElement("saml:Audience").SetText("https://other.example")
	}))
	add("conditions over, confirmation not", "saml.expired", conditions(func(c *etree.Element) { c.CreateAttr("NotOnOrAfter", "2020-01-01T00:00:00Z") }))
	add("malformed end of the conditions", "saml.conditions", conditions(func(c *etree.Element) { c.CreateAttr("NotOnOrAfter", "tomorrow") }))
	add("malformed begin of the conditions", "saml.conditions", conditions(func(c *etree.Element) { c.CreateAttr("NotBefore", "") }))
	add("unknown condition", "saml.conditions", conditions(func(c *etree.Element) { c.CreateElement("saml:Condition") }))
	add("text between conditions", "saml.conditions", conditions(func(c *etree.Element) { c.CreateText("x") }))
	add("no conditions", "saml.conditions", conditions(remove))
	add("two conditions elements", "saml.conditions", func(_, as *etree.Element) { as.AddChild(m.find(as, "./Conditions").Copy()) })
	add("markup in the audience", "saml.audience", conditions(func(c *etree.Element) {
		m.find(c, "./AudienceRestriction/Audience").CreateElement("saml:x")
	}))

	add("no issuer in the assertion", "saml.issuer", func(_, as *etree.Element) { m.find(as, "./Issuer").Tag = "Other" })
	add("two issuers in the assertion", "saml.issuer", func(_, as *etree.Element) { as.AddChild(m.find(as, "./Issuer").Copy()) })
	add("another issuer in the response", "saml.issuer", func(r, _ *etree.Element) { m.find(r, "./Issuer").SetText("https://other.example") })
	add("two issuers in the response", "saml.shape", func(r, _ *etree.Element) { r.InsertChildAt(0, m.find(r, "./Issuer").Copy()) })
	add("assertion of version 1.1", "saml.version", func(_, as *etree.Element) { as.CreateAttr("Version", "1.1") })
	add("response of version 3", "saml.version", func(r, _ *etree.Element) { r.CreateAttr("Version", "3.0") })
	add("response without version", "saml.version", func(r, _ *etree.Element) { r.RemoveAttr("Version") })
	add("ID that is no XML name", "saml.id", func(r, _ *etree.Element) { r.CreateAttr("ID", "1 2") })
	add("not a response", "saml.shape", func(r, _ *etree.Element) { r.Tag = "ArtifactResponse" })
	add("response of another namespace", "saml.shape", func(r, _ *etree.Element) { another(r, "urn:oasis:names:tc:SAML:1.0:protocol") })
	add("text beside the assertion", "saml.shape", func(r, _ *etree.Element) { r.CreateText("x") })
	add("no authentication statement", "saml.authn-statement", func(_, as *etree.Element) { remove(m.find(as, "./AuthnStatement")) })
	add("no time of authentication", "saml.authn-statement", func(_, as *etree.Element) { m.find(as, "./AuthnStatement").RemoveAttr("AuthnInstant") })
	add("malformed end of the login session", "saml.authn-statement", func(_, as *etree.Element) {
		m.find(as, "./AuthnStatement").CreateAttr("SessionNotOnOrAfter", "never")
	})
	add("second authentication statement, ended", "saml.login-session-ended", func(_, as *etree.Element) {
		s := m.find(as, "./AuthnStatement").Copy()
		s.CreateAttr("SessionNotOnOrAfter", "2020-01-01T00:00:00Z")
		as.AddChild(s)
	})
	add("attribute without name", "saml.attribute", func(_, as *etree.Element) { m.find(as, "./AttributeStatement/Attribute").RemoveAttr("Name") })
	add("encrypted attribute", "saml.encrypted", func(_, as *etree.Element) {
		m.find(as, "./AttributeStatement").CreateElement("saml:EncryptedAttribute")
	})
	add("encrypted assertion beside", "saml.shape", func(r, _ *etree.Element) { r.CreateElement("saml:EncryptedAssertion") })
	add("encrypted assertion only", "saml.signature-place", func(r, as *etree.Element) { as.Tag = "EncryptedAssertion" })

	status := func(change func(s *etree.Element)) func(r, _ *etree.Element) {
		return func(r, _ *etree.Element) { change(m.find(r, "./Status")) }
	}
	add("status of failure", "saml.status", status(func(s *etree.Element) {
		m.find(s, "./StatusCode").CreateAttr("Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")
	}))
	add("status that only begins like success", "saml.status", status(func(s *etree.Element) {
		m.find(s, "./StatusCode").CreateAttr("Value", "urn:oasis:names:tc:SAML:2.0:status:Success2")
	}))
	add("no status", "saml.status", status(remove))
	add("no status code", "saml.status", status(func(s *etree.Element) { remove(m.find(s, "./StatusCode")) }))
	add("two status codes", "saml.status", status(func(s *etree.Element) { s.AddChild(m.find(s, "./StatusCode").Copy()) }))
}

// subjects are about who is named and how that is confirmed.
func (m *maker) subjects() {
	add := func(name, check string, change func(subject *etree.Element)) {
		m.add("subject", name, check, m.built(func(_, as *etree.Element) { change(m.find(as, "./Subject")) }))
	}
	nameID := func(text string) func(*etree.Element) {
		return func(s *etree.Element) { m.find(s, "./NameID").SetText(text) }
	}
	add("no subject", "saml.subject", remove)
	add("no NameID", "saml.subject", func(s *etree.Element) { remove(m.find(s, "./NameID")) })
	add("two NameIDs", "saml.subject", func(s *etree.Element) { s.AddChild(m.find(s, "./NameID").Copy()) })
	add("NameID empty", "saml.subject", nameID(""))
	add("NameID of spaces", "saml.subject", nameID("   "))
	add("NameID with a space behind", "saml.subject", nameID("alice "))
	add("NameID with a line break", "saml.subject", nameID("alice\nbob"))
	add("NameID with a zero width space", "saml.subject", nameID("ali\u200bce"))
	add("NameID that turns the direction of text", "saml.subject", nameID("alice\u202e"))
	add("NameID of 2,000 letters", "saml.subject", nameID(strings.Repeat("a", 2000)))
	add("markup in NameID", "saml.subject", func(s *etree.Element) { m.find(s, "./NameID").CreateElement("saml:x") })
	add("encrypted NameID", "saml.encrypted", func(s *etree.Element) { m.find(s, "./NameID").Tag = "EncryptedID" })

	confirmation := func(change func(c *etree.Element)) func(*etree.Element) {
		return func(s *etree.Element) { change(m.find(s, "./SubjectConfirmation")) }
	}
	data := func(change func(d *etree.Element)) func(*etree.Element) {
		return func(s *etree.Element) { change(m.find(s, "./SubjectConfirmation/SubjectConfirmationData")) }
	}
	add("no confirmation", "saml.confirmation", confirmation(remove))
	add("holder of key", "saml.confirmation", confirmation(func(c *etree.Element) { c.CreateAttr("Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key") }))
	add("sender vouches", "saml.confirmation", confirmation(func(c *etree.Element) { c.CreateAttr("Method", "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches") }))
	add("confirmation without method", "saml.confirmation", confirmation(func(c *etree.Element) { c.RemoveAttr("Method") }))
	add("no confirmation data", "saml.confirmation", data(remove))
	add("two confirmation data", "saml.confirmation", data(func(d *etree.Element) { d.Parent().AddChild(d.Copy()) }))
	add("malformed end of the confirmation", "saml.confirmation-time", data(func(d *etree.Element) { d.CreateAttr("NotOnOrAfter", "1e9") }))
	add("confirmation holds only later", "saml.confirmation-time", data(func(d *etree.Element) {
		d.CreateAttr("NotBefore", m.now.Add(time.Hour).Format(time.RFC3339))
	}))
	add("confirmation answers another request", "saml.in-response-to", data(func(d *etree.Element) { d.CreateAttr("InResponseTo", "_another") }))
	add("recipient only with a prefix", "saml.recipient", data(func(d *etree.Element) {
		d.CreateAttr("xmlns:x", "urn:x")
		d.RemoveAttr("Recipient")
		d.CreateAttr("x:Recipient", m.acs)
	}))
	add("two confirmations, both for others", "saml.recipient", confirmation(func(c *etree.Element) {
		m.find(c, "./SubjectConfirmationData").CreateAttr("Recipient", "https://other.example/a")
		c.Parent().AddChild(c.Copy())
	}))
}
