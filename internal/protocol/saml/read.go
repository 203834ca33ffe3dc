package saml

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/core/fault"
)

const methodBearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

// readAssertion checks a verified assertion and gathers its facts.
func (v *verifier) readAssertion(el *etree.Element) (*Assertion, error) {
	if err := v.checkIssuer(el); err != nil {
		return nil, err
	}
	issued, ok := instant(attrValue(el, "IssueInstant"))
	if !ok || v.early(issued) {
		return nil, refuse(fault.Unauthenticated, CheckIssueInstant, "The assertion's time of issue is missing, malformed or in the future")
	}
	v.pass(CheckIssueInstant, issued.Format(time.RFC3339))
	a := &Assertion{ID: attrValue(el, "ID"), Issuer: v.idp.EntityID, IssueInstant: issued}
	for _, step := range []func(*etree.Element, *Assertion) error{v.readSubject, v.readConditions, v.readAuthnStatement, v.readAttributes} {
		if err := step(el, a); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (v *verifier) readSubject(assertion *etree.Element, a *Assertion) error {
	subject := one(assertion, nsAssertion, "Subject")
	if subject == nil {
		return refuse(fault.Invalid, CheckSubject, "The assertion has no subject")
	}
	name, err := readNameID(subject)
	if err != nil {
		return err
	}
	a.NameID, a.NameIDFormat, a.NameQualifier, a.SPNameQualifier = name.name, name.format, name.qualifier, name.spQualifier
	v.pass(CheckSubject, a.NameID, a.NameIDFormat)
	return v.readConfirmation(named(subject, nsAssertion, "SubjectConfirmation"), a)
}

// nameID is what a NameID says.
type nameID struct{ name, format, qualifier, spQualifier string }

// readNameID reads the one NameID inside a verified element.
func readNameID(el *etree.Element) (nameID, error) {
	if len(named(el, nsAssertion, "EncryptedID")) > 0 {
		return nameID{}, refuse(fault.Unsupported, CheckEncrypted, "The NameID is encrypted, which is not supported")
	}
	found := one(el, nsAssertion, "NameID")
	if found == nil {
		return nameID{}, refuse(fault.Invalid, CheckSubject, "The subject has no NameID, or several")
	}
	name, ok := text(found)
	if !ok || !isPlainName(name) {
		return nameID{}, refuse(fault.Invalid, CheckSubject, "The NameID is empty, too long, or holds markup, invisible characters or spaces around it")
	}
	return nameID{name, attrValue(found, "Format"), attrValue(found, "NameQualifier"), attrValue(found, "SPNameQualifier")}, nil
}

// isPlainName keeps two names that look alike from being two people: no
// control or format characters (zero width, direction) and no outer spaces.
func isPlainName(s string) bool {
	if s == "" || len(s) > 1024 || strings.TrimSpace(s) != s {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return true
}

// readConfirmation takes the first bearer confirmation that holds. When none
// does, the first one's refusal is told.
func (v *verifier) readConfirmation(confirmations []*etree.Element, a *Assertion) error {
	if !v.bound && len(confirmations) != 1 {
		return refuse(fault.Invalid, CheckConfirmation, "The assertion has to hold exactly one SubjectConfirmation")
	}
	var first error
	for _, c := range confirmations {
		if attrValue(c, "Method") != methodBearer {
			continue
		}
		err := v.readBearer(c, a)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = refuse(fault.Invalid, CheckConfirmation, "The assertion has no bearer confirmation")
	}
	return first
}

// readBearer checks one bearer confirmation (saml-profiles-2.0-os section
// 4.1.4.2).
func (v *verifier) readBearer(confirmation *etree.Element, a *Assertion) error {
	data := one(confirmation, nsAssertion, "SubjectConfirmationData")
	if data == nil {
		return refuse(fault.Invalid, CheckConfirmation, "The bearer confirmation has no data")
	}
	recipient, inResponseTo := attrValue(data, "Recipient"), attrValue(data, "InResponseTo")
	if recipient == "" {
		return refuse(fault.Invalid, CheckRecipient, "The bearer confirmation names no recipient")
	}
	if v.bound {
		if recipient != v.want.ACS {
			return refuse(fault.Unauthenticated, CheckRecipient, fmt.Sprintf("The assertion was made for recipient %q, not for %q", clip(recipient), v.want.ACS))
		}
		if err := v.checkInResponseTo(inResponseTo); err != nil {
			return err
		}
	}
	end, stated, err := v.until(data, "NotOnOrAfter", CheckConfirmationTime, CheckConfirmationTime)
	if err == nil && !stated {
		err = refuse(fault.Invalid, CheckConfirmationTime, "The bearer confirmation does not say until when it holds")
	}
	if err == nil {
		err = v.since(data, CheckConfirmationTime, CheckConfirmationTime)
	}
	if err != nil {
		return err
	}
	v.pass(CheckRecipient, recipient)
	a.Recipient, a.InResponseTo, a.NotOnOrAfter = recipient, inResponseTo, end
	return nil
}

// until reads when something ends, and refuses it when that is malformed or over.
func (v *verifier) until(el *etree.Element, name, malformed, over string) (end time.Time, stated bool, err error) {
	s, stated := attr(el, name)
	if !stated {
		return end, false, nil
	}
	end, ok := instant(s)
	if !ok {
		return end, true, refuse(fault.Invalid, malformed, name+" is malformed")
	}
	return end, true, v.notPast(end, over)
}

func (v *verifier) notPast(end time.Time, check string) error {
	if !v.now.Before(end.Add(v.want.Skew)) {
		return refuse(fault.Expired, check, fmt.Sprintf("It could be used until %s; it is %s here", end.Format(time.RFC3339), v.now.UTC().Format(time.RFC3339)))
	}
	v.pass(check, end.Format(time.RFC3339))
	return nil
}

// since reads NotBefore, and refuses what does not hold yet.
func (v *verifier) since(el *etree.Element, malformed, early string) error {
	s, stated := attr(el, "NotBefore")
	begin, ok := instant(s)
	switch {
	case stated && !ok:
		return refuse(fault.Invalid, malformed, "NotBefore is malformed")
	case stated && v.early(begin):
		return refuse(fault.Unauthenticated, early, fmt.Sprintf("It holds from %s; it is %s here", begin.Format(time.RFC3339), v.now.UTC().Format(time.RFC3339)))
	}
	return nil
}

// readConditions holds saml-core-2.0-os section 2.5.1: every condition has to
// be known and to hold.
func (v *verifier) readConditions(assertion *etree.Element, a *Assertion) error {
	conditions := one(assertion, nsAssertion, "Conditions")
	if conditions == nil {
		return refuse(fault.Invalid, CheckConditions, "The assertion has no conditions")
	}
	if err := v.since(conditions, CheckConditions, CheckNotBefore); err != nil {
		return err
	}
	end, stated, err := v.until(conditions, "NotOnOrAfter", CheckConditions, CheckExpired)
	if err != nil {
		return err
	}
	if stated && end.Before(a.NotOnOrAfter) {
		a.NotOnOrAfter = end
	}
	parts, ok := children(conditions)
	if !ok {
		return refuse(fault.Invalid, CheckConditions, "There is text between the conditions")
	}
	for _, c := range parts {
		switch {
		case is(c, nsAssertion, "AudienceRestriction"):
			if err := v.checkAudience(c, a); err != nil {
				return err
			}
		case is(c, nsAssertion, "OneTimeUse"), is(c, nsAssertion, "ProxyRestriction"):
			// One-time use is the rule here; nothing is issued on behalf of the assertion.
		default:
			return refuse(fault.Invalid, CheckConditions, "The assertion holds a condition that is not known here")
		}
	}
	if v.bound && len(a.Audiences) == 0 {
		return refuse(fault.Unauthenticated, CheckAudience, "The assertion is not restricted to an audience")
	}
	v.pass(CheckAudience, a.Audiences...)
	v.pass(CheckConditions)
	return nil
}

// checkAudience wants us in this restriction: restrictions add up, and the
// audiences of one are alternatives.
func (v *verifier) checkAudience(restriction *etree.Element, a *Assertion) error {
	found := !v.bound
	for _, el := range named(restriction, nsAssertion, "Audience") {
		s, ok := text(el)
		if !ok {
			return refuse(fault.Invalid, CheckAudience, "An audience holds markup")
		}
		s = strings.TrimSpace(s)
		a.Audiences = append(a.Audiences, s)
		found = found || (v.bound && s == v.want.Audience)
	}
	if !found {
		return refuse(fault.Unauthenticated, CheckAudience, fmt.Sprintf("The assertion was made for audience %q, not for %q", clip(strings.Join(a.Audiences, " ")), v.want.Audience))
	}
	return nil
}

func (v *verifier) readAuthnStatement(assertion *etree.Element, a *Assertion) error {
	statements := named(assertion, nsAssertion, "AuthnStatement")
	if len(statements) == 0 {
		return refuse(fault.Invalid, CheckAuthnStatement, "The assertion does not say how the subject was authenticated")
	}
	for i, st := range statements {
		at, ok := instant(attrValue(st, "AuthnInstant"))
		if !ok || v.early(at) {
			return refuse(fault.Invalid, CheckAuthnStatement, "The time of authentication is missing, malformed or in the future")
		}
		if i == 0 {
			a.AuthnInstant = at
			a.SessionIndex = attrValue(st, "SessionIndex")
			if c := one(st, nsAssertion, "AuthnContext"); c != nil {
				if ref := one(c, nsAssertion, "AuthnContextClassRef"); ref != nil {
					s, _ := text(ref)
					a.AuthnContext = strings.TrimSpace(s)
				}
			}
		}
		end, stated, err := v.until(st, "SessionNotOnOrAfter", CheckAuthnStatement, CheckLoginSessionEnded)
		if err != nil {
			return err
		}
		if stated && (a.SessionNotOnOrAfter.IsZero() || end.Before(a.SessionNotOnOrAfter)) {
			a.SessionNotOnOrAfter = end
		}
	}
	v.pass(CheckAuthnStatement, a.AuthnContext)
	if len(v.want.AuthnContexts) > 0 && !slices.Contains(v.want.AuthnContexts, a.AuthnContext) {
		return refuse(fault.Unauthenticated, CheckAuthnContext, fmt.Sprintf("The person signed in by %q, which is not one of the ways that are required", clip(a.AuthnContext)))
	}
	if !v.want.AuthnSince.IsZero() && a.AuthnInstant.Add(v.want.Skew).Before(v.want.AuthnSince) {
		return refuse(fault.Unauthenticated, CheckAuthnInstant, fmt.Sprintf("The person signed in at %s, and a new sign-in is required", a.AuthnInstant.Format(time.RFC3339)))
	}
	return nil
}

// readAttributes takes attributes with plain text values. A value with markup
// inside, such as eduPersonTargetedID, is no text and is left out.
func (v *verifier) readAttributes(assertion *etree.Element, a *Assertion) error {
	for _, statement := range named(assertion, nsAssertion, "AttributeStatement") {
		if len(named(statement, nsAssertion, "EncryptedAttribute")) > 0 {
			return refuse(fault.Unsupported, CheckEncrypted, "An attribute is encrypted, which is not supported")
		}
		for _, el := range named(statement, nsAssertion, "Attribute") {
			name := attrValue(el, "Name")
			if name == "" || len(name) > 1024 {
				return refuse(fault.Invalid, CheckAttribute, "An attribute has no name, or one that is too long")
			}
			at := Attribute{Name: name, FriendlyName: attrValue(el, "FriendlyName"), NameFormat: attrValue(el, "NameFormat")}
			for _, value := range named(el, nsAssertion, "AttributeValue") {
				if s, ok := text(value); ok {
					at.Values = append(at.Values, s)
				}
			}
			a.Attributes = append(a.Attributes, at)
		}
	}
	v.pass(CheckAttribute)
	return nil
}
