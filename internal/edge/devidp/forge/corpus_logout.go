package forge

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/edge/devidp"
)

// LogoutCase is one logout message that comes from an identity provider.
type LogoutCase struct {
	Name string
	// Check is the code of the check that has to refuse it; empty for honest
	// variants.
	Check string
	// Query is the query of a redirect, as it is sent. When it is empty the
	// message is Raw, by POST.
	Query string
	Raw   []byte
	// RelayState goes with a message by POST.
	RelayState string
}

// logoutMaker makes logout requests that are honest but for one thing.
type logoutMaker struct {
	*maker
	url   string
	cases []LogoutCase
}

// LogoutCorpus gives logout requests for the source's person at a service
// provider, attacks and honest variants. A captured sign-in of the source is
// what the wrapping attacks hide behind (samlify 634).
func LogoutCorpus(tb testing.TB, source Source, now time.Time) []LogoutCase {
	tb.Helper()
	m := newMaker(tb, source, now)
	l := &logoutMaker{maker: m, url: m.acs}
	l.honest()
	l.signatures()
	l.wrapping()
	l.queries()
	l.fields()
	l.documents()
	return l.cases
}

// request is an honest request to end all login sessions of the person.
func (l *logoutMaker) request(change ...func(*devidp.Logout)) devidp.Logout {
	r := devidp.Logout{
		ID: devidp.NewID(), Issuer: l.idp.EntityID, Destination: l.url, IssueInstant: l.now, NotOnOrAfter: l.now.Add(5 * time.Minute),
		NameID: l.subject, NameIDFormat: l.find(l.parse(l.source.Assertion), "./Assertion/Subject/NameID").SelectAttrValue("Format", ""),
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func (l *logoutMaker) posted(name, check string, raw []byte) {
	l.cases = append(l.cases, LogoutCase{Name: name, Check: check, Raw: raw})
}

func (l *logoutMaker) sent(name, check, query string) {
	l.cases = append(l.cases, LogoutCase{Name: name + ", by redirect", Check: check, Query: query})
}

// post signs a request for the POST binding.
func (l *logoutMaker) post(change ...func(*devidp.Logout)) []byte {
	raw, err := l.idp.Post(l.request(change...))
	l.fatal(err)
	return raw
}

// changedPost changes a signed request.
func (l *logoutMaker) changedPost(change func(r *etree.Element)) []byte {
	r := l.parse(l.post())
	change(r)
	return l.write(r)
}

// signedPost changes a request before it is signed.
func (l *logoutMaker) signedPost(change func(r *etree.Element)) []byte {
	r := l.request().Document()
	change(r)
	l.settle(r)
	l.fatal(l.idp.Sign(r))
	return l.write(r)
}

// redirect signs a request for the redirect binding.
func (l *logoutMaker) redirect(s devidp.Signer, relayState string, change ...func(*devidp.Logout)) string {
	query, err := s.RedirectQuery("SAMLRequest", l.write(l.request(change...).Document()), relayState)
	l.fatal(err)
	return query
}

func (l *logoutMaker) honest() {
	l.posted("signed, all login sessions", "", l.post())
	l.posted("signed, without an end", "", l.post(func(r *devidp.Logout) { r.NotOnOrAfter = time.Time{} }))
	l.posted("signed, a login session that is not known", "", l.post(func(r *devidp.Logout) { r.SessionIndexes = []string{"_unknown"} }))
	l.posted("signed, somebody else", "", l.post(func(r *devidp.Logout) { r.NameID = "nobody" }))
	l.posted("pretty-printed", "", l.signedPost(indent))
	l.sent("signed", "", l.redirect(l.idp.Signer, ""))
	l.sent("signed, with relay state", "", l.redirect(l.idp.Signer, "state of theirs & more"))
}

func (l *logoutMaker) signatures() {
	unsigned := l.write(l.request().Document())
	l.posted("not signed", "saml.unsigned", unsigned)
	foreign, err := l.evil.Post(l.request())
	l.fatal(err)
	l.posted("signed by a foreign key", "saml.signature", foreign)
	l.posted("signature removed", "saml.unsigned", l.changedPost(func(r *etree.Element) { remove(l.find(r, "./Signature")) }))
	l.posted("name changed", "saml.signature", l.changedPost(func(r *etree.Element) { l.find(r, "./NameID").SetText("victim") }))
	l.posted("login session added", "saml.signature", l.changedPost(func(r *etree.Element) { r.CreateElement("samlp:SessionIndex").SetText("_x") }))
	l.posted("signature value flipped", "saml.signature", l.changedPost(func(r *etree.Element) { l.flip(l.find(r, "./Signature/SignatureValue")) }))
	l.posted("two signatures", "saml.signature-place", l.changedPost(func(r *etree.Element) { r.AddChild(l.find(r, "./Signature").Copy()) }))
	l.posted("signature deeper down", "saml.signature-place", l.changedPost(func(r *etree.Element) {
		s := l.find(r, "./Signature")
		remove(s)
		r.CreateElement("samlp:Extensions").AddChild(s)
	}))
	l.posted("signature of another message", "saml.signature-shape", l.changedPost(func(r *etree.Element) {
		remove(l.find(r, "./Signature"))
		r.InsertChildAt(1, l.find(l.parse(l.post()), "./Signature").Copy())
	}))
	l.posted("SHA-1 in the signature", "saml.algorithm", l.changedPost(func(r *etree.Element) {
		l.find(r, "./Signature/SignedInfo/SignatureMethod").CreateAttr("Algorithm", "http://www.w3.org/2000/09/xmldsig#rsa-sha1")
		l.resign(l.find(r, "./Signature"))
	}))
	l.posted("reference to the whole document", "saml.signature-shape", l.changedPost(func(r *etree.Element) {
		l.find(r, "./Signature/SignedInfo/Reference").CreateAttr("URI", "")
		l.resign(l.find(r, "./Signature"))
	}))
	l.posted("XPath transform", "saml.signature-shape", l.changedPost(func(r *etree.Element) {
		r.FindElements("./Signature/SignedInfo/Reference/Transforms/Transform")[1].CreateAttr("Algorithm", "http://www.w3.org/TR/1999/REC-xpath-19991116")
		l.resign(l.find(r, "./Signature"))
	}))
}

// wrapping hides behind something that is truly signed.
func (l *logoutMaker) wrapping() {
	victim := func(r *devidp.Logout) { r.NameID, r.ID = "victim", "_forged" }
	around := func(place func(forged, genuine *etree.Element)) []byte {
		forged := l.request(victim).Document()
		genuine := l.parse(l.post())
		place(forged, genuine)
		return l.write(forged)
	}
	l.posted("the true request in an Object of the forged one's signature", "saml.signature-shape", around(func(forged, genuine *etree.Element) {
		s := l.find(genuine, "./Signature").Copy()
		inherit(s, genuine)
		original := genuine.Copy()
		remove(l.find(original, "./Signature"))
		s.CreateElement("ds:Object").AddChild(original)
		forged.InsertChildAt(1, s)
	}))
	l.posted("the true request in Extensions of a forged one", "saml.signature-place", around(func(forged, genuine *etree.Element) {
		e := etree.NewElement("samlp:Extensions")
		e.AddChild(genuine)
		forged.InsertChildAt(1, e)
	}))
	l.posted("the true request's signature in a forged one of the same ID", "saml.signature", func() []byte {
		genuine := l.parse(l.post())
		forged := l.request(victim).Document()
		forged.CreateAttr("ID", genuine.SelectAttrValue("ID", ""))
		s := l.find(genuine, "./Signature").Copy()
		inherit(s, genuine)
		forged.InsertChildAt(1, s)
		return l.write(forged)
	}())
	l.posted("a captured signed assertion inside (samlify 634)", "saml.shape", around(func(forged, _ *etree.Element) {
		captured := l.parse(l.source.Assertion)
		as := l.find(captured, "./Assertion")
		inherit(as, captured)
		e := etree.NewElement("samlp:Extensions")
		e.AddChild(as.Copy())
		forged.InsertChildAt(1, e)
	}))
	l.posted("the signature of a captured assertion on it", "saml.signature-shape", around(func(forged, _ *etree.Element) {
		captured := l.parse(l.source.Assertion)
		s := l.find(captured, "./Assertion/Signature")
		inherit(s, s.Parent())
		forged.InsertChildAt(1, s.Copy())
	}))
	l.posted("a captured signed response, renamed", "saml.shape", func() []byte {
		r := l.parse(l.source.Response)
		r.Tag = "LogoutRequest"
		return l.write(r)
	}())
}

// queries are about the redirect binding, whose signature is over the query as
// it was sent.
func (l *logoutMaker) queries() {
	honest := l.redirect(l.idp.Signer, "state")
	parts := strings.Split(honest, "&") // message, relay state, algorithm, signature
	l.sent("not signed", "saml.unsigned", parts[0])
	l.sent("signature empty", "saml.unsigned", parts[0]+"&"+parts[2]+"&Signature=")
	l.sent("algorithm missing", "saml.unsigned", parts[0]+"&"+parts[3])
	l.sent("signed by a foreign key", "saml.signature", l.redirect(l.evil.Signer, "state"))
	l.sent("relay state changed", "saml.signature", strings.Replace(honest, "RelayState=state", "RelayState=other", 1))
	l.sent("relay state removed", "saml.signature", parts[0]+"&"+parts[2]+"&"+parts[3])
	l.sent("relay state added", "saml.signature", "RelayState=x&"+l.redirect(l.idp.Signer, ""))
	l.sent("encoded otherwise than it was signed", "saml.signature", strings.Replace(honest, "RelayState=state", "RelayState=%73tate", 1))
	l.sent("message twice", "saml.query", honest+"&"+parts[0])
	l.sent("relay state twice", "saml.query", honest+"&RelayState=other")
	l.sent("signature twice", "saml.query", honest+"&"+parts[3])
	l.sent("name of a parameter encoded", "saml.query", strings.Replace(honest, "SAMLRequest=", "SAMLReques%74=", 1))
	l.sent("request and response at once", "saml.query", honest+"&SAMLResponse=x")
	l.sent("SHA-1 in the query", "saml.algorithm", strings.Replace(honest, parts[2], "SigAlg="+url.QueryEscape("http://www.w3.org/2000/09/xmldsig#rsa-sha1"), 1))
	l.sent("HMAC in the query", "saml.algorithm", strings.Replace(honest, parts[2], "SigAlg="+url.QueryEscape(algorithms+"hmac-sha256"), 1))
	l.sent("signature not base64", "saml.signature-shape", strings.Replace(honest, parts[3], "Signature=%25%25", 1))
	other := l.redirect(l.idp.Signer, "state", func(r *devidp.Logout) { r.NameID = "victim" })
	l.sent("signature of another request", "saml.signature", strings.Join(parts[:3], "&")+"&"+strings.Split(other, "&")[3])
	l.sent("not deflated", "saml.encoding", l.signQuery("SAMLRequest="+url.QueryEscape(Encode([]byte("<x/>")))))
	l.sent("not base64", "saml.encoding", l.signQuery("SAMLRequest=%25"))
	l.sent("a deflate bomb of 12 MB", "saml.size", l.bomb())
	l.sent("signed inside as well", "saml.signature-place", func() string {
		q, err := l.idp.RedirectQuery("SAMLRequest", l.post(), "")
		l.fatal(err)
		return q
	}())
	l.sent("captured sign-in in place of a request", "saml.shape", func() string {
		q, err := l.idp.RedirectQuery("SAMLRequest", l.source.Assertion, "")
		l.fatal(err)
		return q
	}())
}

func (l *logoutMaker) signQuery(query string) string {
	signed, err := l.idp.SignQuery(query)
	l.fatal(err)
	return signed
}

// bomb deflates 12 MB of spaces to what a query may hold.
func (l *logoutMaker) bomb() string {
	query, err := l.idp.RedirectQuery("SAMLRequest", []byte("<x>"+strings.Repeat(" ", 12<<20)), "")
	l.fatal(err)
	return query
}

// fields are requests that verify and still must not be obeyed.
func (l *logoutMaker) fields() {
	add := func(name, check string, change func(*devidp.Logout)) {
		l.posted(name, check, l.post(change))
		l.sent(name, check, l.redirect(l.idp.Signer, "", change))
	}
	add("destination of another service provider", "saml.destination", func(r *devidp.Logout) { r.Destination = "https://other.example/slo" })
	add("no destination", "saml.destination", func(r *devidp.Logout) { r.Destination = "" })
	add("issued ten minutes ago", "saml.expired", func(r *devidp.Logout) { r.IssueInstant = l.now.Add(-10 * time.Minute) })
	add("issued in the future", "saml.issue-instant", func(r *devidp.Logout) { r.IssueInstant = l.now.Add(10 * time.Minute) })
	add("issued at no time", "saml.issue-instant", func(r *devidp.Logout) { r.IssueInstant = time.Time{} })
	add("over", "saml.expired", func(r *devidp.Logout) { r.NotOnOrAfter = l.now.Add(-2 * time.Minute) })
	add("no name", "saml.subject", func(r *devidp.Logout) { r.NameID = "" })
	add("an empty login session", "saml.shape", func(r *devidp.Logout) { r.SessionIndexes = []string{" "} })
}

// documents are about the XML of it.
func (l *logoutMaker) documents() {
	l.posted("version 1.1", "saml.shape", l.signedPost(func(r *etree.Element) { r.CreateAttr("Version", "1.1") }))
	l.posted("of another namespace", "saml.shape", l.signedPost(func(r *etree.Element) { r.CreateAttr("xmlns:samlp", "urn:x") }))
	l.posted("two names", "saml.subject", l.signedPost(func(r *etree.Element) { r.AddChild(l.find(r, "./NameID").Copy()) }))
	l.posted("markup in the name", "saml.subject", l.signedPost(func(r *etree.Element) { l.find(r, "./NameID").CreateElement("saml:x") }))
	l.posted("two issuers", "saml.issuer", l.signedPost(func(r *etree.Element) { r.AddChild(l.find(r, "./Issuer").Copy()) }))
	l.posted("the ID twice", "saml.id", l.changedPost(func(r *etree.Element) {
		l.find(r, "./NameID").CreateAttr("ID", r.SelectAttrValue("ID", ""))
	}))
	text := string(l.post())
	l.posted("a document type", "saml.dtd", []byte(`<!DOCTYPE r [<!ENTITY e "x">]>`+text))
	l.posted("a comment in the name", "saml.xml", []byte(strings.Replace(text, ">"+l.subject+"<", ">"+l.subject+"<!---->x<", 1)))
	l.posted("5,000 nested elements", "saml.limits", []byte(strings.Replace(text, "</samlp:LogoutRequest>",
		strings.Repeat("<x>", 5000)+strings.Repeat("</x>", 5000)+"</samlp:LogoutRequest>", 1)))
	l.posted("junk", "saml.xml", []byte("junk"))
}

// PostField is the SAMLRequest field of a case by POST.
func (c LogoutCase) PostField() string { return base64.StdEncoding.EncodeToString(c.Raw) }
