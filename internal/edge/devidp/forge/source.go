package forge

import (
	"crypto/rsa"
	"testing"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/edge/devidp"
)

// Source is an identity provider with what it said: the corpus is made from
// that, so each attack has the prefixes, the order and the habits of a real
// one. Its key has to be ours, for the cases that no attacker could sign.
type Source struct {
	IdP *IdP
	// RequestID is what both responses answer.
	RequestID string
	// Assertion and Response are valid responses, with the assertion signed
	// and with the response signed. Neither is encrypted.
	Assertion, Response []byte
	// EncryptTo is the key that assertions may be encrypted for; nil leaves out
	// the cases that need one.
	EncryptTo *rsa.PublicKey
}

// Own is the development identity provider as a source.
func Own(tb testing.TB, idp *IdP, requestID string, now time.Time) Source {
	tb.Helper()
	a := idp.Answer(requestID, now)
	s := Source{IdP: idp, RequestID: requestID, Assertion: idp.Respond(tb, a)}
	a = idp.Answer(requestID, now)
	a.SignAssertion, a.SignReply = false, true
	s.Response = idp.Respond(tb, a)
	return s
}

// facts reads a document's fields, as they stand in it.
func facts(r *etree.Element) devidp.Answer {
	text := func(path string) string {
		if el := r.FindElement(path); el != nil {
			return el.Text()
		}
		return ""
	}
	get := func(path, name string) string {
		if el := r.FindElement(path); el != nil {
			return el.SelectAttrValue(name, "")
		}
		return ""
	}
	instant := func(path, name string) time.Time {
		t, err := time.Parse(time.RFC3339, get(path, name))
		if err != nil {
			return time.Time{}
		}
		return t
	}
	a := devidp.Answer{
		ResponseID: get(".", "ID"), AssertionID: get("./Assertion", "ID"), Issuer: text("./Assertion/Issuer"), InResponseTo: get(".", "InResponseTo"),
		Destination: get(".", "Destination"), Recipient: get(confirmationData, "Recipient"), NameID: text("./Assertion/Subject/NameID"),
		IssueInstant: instant("./Assertion", "IssueInstant"), NotBefore: instant("./Assertion/Conditions", "NotBefore"),
		NotOnOrAfter: instant(confirmationData, "NotOnOrAfter"), SessionIndex: get("./Assertion/AuthnStatement", "SessionIndex"),
		SessionNotOnOrAfter: instant("./Assertion/AuthnStatement", "SessionNotOnOrAfter"),
	}
	for _, el := range r.FindElements("./Assertion/Conditions/AudienceRestriction/Audience") {
		a.Audiences = append(a.Audiences, el.Text())
	}
	for _, el := range r.FindElements("./Assertion/AttributeStatement/Attribute") {
		at := devidp.Attribute{Name: el.SelectAttrValue("Name", ""), NameFormat: el.SelectAttrValue("NameFormat", "")}
		for _, v := range el.FindElements("./AttributeValue") {
			at.Values = append(at.Values, v.Text())
		}
		if at.Name == AttrRole {
			a.Attributes = append([]devidp.Attribute{at}, a.Attributes...) // where changes look for it
			continue
		}
		a.Attributes = append(a.Attributes, at)
	}
	return a
}

const confirmationData = "./Assertion/Subject/SubjectConfirmation/SubjectConfirmationData"

// put writes the fields of an answer that differ from those of before into the
// document. What the document has no place for stays out, as it would with the
// identity provider that made it.
func put(r *etree.Element, before, after devidp.Answer) {
	set := func(old, value, path, name string) {
		if el := r.FindElement(path); old != value && el != nil {
			if value == "" {
				el.RemoveAttr(name)
				return
			}
			el.CreateAttr(name, value)
		}
	}
	moment := func(old, value time.Time, path, name string) {
		if !old.Equal(value) {
			text := ""
			if !value.IsZero() {
				text = value.UTC().Format("2006-01-02T15:04:05.000Z")
			}
			set("\x00", text, path, name)
		}
	}
	set(before.ResponseID, after.ResponseID, ".", "ID")
	set(before.AssertionID, after.AssertionID, "./Assertion", "ID")
	set(before.InResponseTo, after.InResponseTo, ".", "InResponseTo")
	set(before.InResponseTo, after.InResponseTo, confirmationData, "InResponseTo")
	set(before.Destination, after.Destination, ".", "Destination")
	set(before.Recipient, after.Recipient, confirmationData, "Recipient")
	set(before.SessionIndex, after.SessionIndex, "./Assertion/AuthnStatement", "SessionIndex")
	moment(before.IssueInstant, after.IssueInstant, ".", "IssueInstant")
	moment(before.IssueInstant, after.IssueInstant, "./Assertion", "IssueInstant")
	moment(before.NotBefore, after.NotBefore, "./Assertion/Conditions", "NotBefore")
	moment(before.NotOnOrAfter, after.NotOnOrAfter, "./Assertion/Conditions", "NotOnOrAfter")
	moment(before.NotOnOrAfter, after.NotOnOrAfter, confirmationData, "NotOnOrAfter")
	moment(before.SessionNotOnOrAfter, after.SessionNotOnOrAfter, "./Assertion/AuthnStatement", "SessionNotOnOrAfter")
	if before.Issuer != after.Issuer {
		for _, path := range []string{"./Issuer", "./Assertion/Issuer"} {
			if el := r.FindElement(path); el != nil {
				el.SetText(after.Issuer)
			}
		}
	}
	if el := r.FindElement("./Assertion/Subject/NameID"); el != nil && before.NameID != after.NameID {
		el.SetText(after.NameID)
	}
	putAudiences(r, before.Audiences, after.Audiences)
	putRoles(r, after.Attributes[0].Values)
}

func putAudiences(r *etree.Element, before, after []string) {
	conditions := r.FindElement("./Assertion/Conditions")
	restriction := conditions.FindElement("./AudienceRestriction")
	if same(before, after) {
		return
	}
	if len(after) == 0 {
		conditions.RemoveChild(restriction)
		return
	}
	refill(restriction, "Audience", after)
}

func putRoles(r *etree.Element, values []string) {
	at := r.FindElement("./Assertion/AttributeStatement/Attribute[@Name='" + AttrRole + "']")
	var now []string
	for _, v := range at.FindElements("./AttributeValue") {
		now = append(now, v.Text())
	}
	if !same(now, values) {
		refill(at, "AttributeValue", values)
	}
}

// refill puts values into copies of the first element of that name.
func refill(parent *etree.Element, tag string, values []string) {
	all := parent.FindElements("./" + tag)
	for _, el := range all[1:] {
		parent.RemoveChild(el)
	}
	for _, v := range values[1:] {
		el := all[0].Copy()
		el.SetText(v)
		parent.AddChild(el)
	}
	all[0].SetText(values[0])
}

func same(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
