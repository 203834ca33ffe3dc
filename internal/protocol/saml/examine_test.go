package saml_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

// TestSHA1 is taken only where it is switched on, for signatures and digests.
func TestSHA1(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		idp    *forge.IdP
		method string
	}{{rsaIdP(), dsig.RSASHA1SignatureMethod}, {ecdsaIdP(), dsig.ECDSASHA1SignatureMethod}} {
		r := c.idp.Answer(requestID, now).Document()
		as := r.FindElement("./Assertion")
		ctx, err := dsig.NewSigningContext(c.idp.Key, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
		if err := ctx.SetSignatureMethod(c.method); err != nil {
			t.Fatal(err)
		}
		signature, err := ctx.ConstructSignature(as.Copy(), true)
		if err != nil {
			t.Fatal(err)
		}
		as.InsertChildAt(1, signature)
		raw, m := written(t, r), metadata(t, c.idp)
		_, err = saml.Verify(raw, m, expect(), now)
		wantCode(t, err, saml.CheckAlgorithm)
		_, err = saml.VerifyForSTS(raw, m, saml.STSExpect{Skew: saml.DefaultSkew}, now)
		wantCode(t, err, saml.CheckAlgorithm)
		want := expect()
		want.AllowSHA1 = true
		_, err = saml.Verify(raw, m, want, now)
		wantCode(t, err, "")
		_, err = saml.VerifyForSTS(raw, m, saml.STSExpect{Skew: saml.DefaultSkew, AllowSHA1: true}, now)
		wantCode(t, err, "")
	}
}

// TestAttributeMatch: a mapped fact is found by Name, else by FriendlyName, and
// never by both; what AWS reads is found by Name alone.
func TestAttributeMatch(t *testing.T) {
	t.Parallel()
	a := saml.Assertion{Attributes: []saml.Attribute{
		{Name: "urn:oid:0.9.2342.19200300.100.1.3", FriendlyName: "mail", Values: []string{"a@x"}},
		{Name: "groups", FriendlyName: "mail", Values: []string{"g1"}},
		{Name: "groups", Values: []string{"g2"}},
		{Name: "x", FriendlyName: "groups", Values: []string{"evil"}},
		{Name: "y", FriendlyName: saml.AttrRole, Values: []string{"evil"}},
	}}
	for name, want := range map[string][]string{
		"mail": {"a@x", "g1"}, "groups": {"g1", "g2"}, "urn:oid:0.9.2342.19200300.100.1.3": {"a@x"}, "": nil, "none": nil, "Groups": nil,
	} {
		if got := a.AttributeMatch(name); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
	if pairs, malformed := saml.RolePairs(&a); len(pairs)+len(malformed) != 0 {
		t.Errorf("roles by FriendlyName: %v %v", pairs, malformed)
	}
}

// TestExamine: the list says what the one verifier passed, once each, and ends
// with the refusal.
func TestExamine(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	codes := func(results []saml.CheckResult, ok bool) (out []string) {
		for _, r := range results {
			if r.OK == ok {
				out = append(out, r.Code)
			}
		}
		return out
	}
	all := []string{
		saml.CheckXML, saml.CheckShape, saml.CheckSignature, saml.CheckDestination, saml.CheckInResponseTo, saml.CheckIssuer, saml.CheckIssueInstant, saml.CheckSubject,
		saml.CheckRecipient, saml.CheckConfirmationTime, saml.CheckExpired, saml.CheckAudience, saml.CheckConditions, saml.CheckLoginSessionEnded, saml.CheckAuthnStatement, saml.CheckAttribute,
	}
	want := expect()
	raw := idp.Respond(t, idp.Answer(requestID, now))
	a, results, err := saml.Examine(raw, m, want, now)
	plain, verr := saml.Verify(raw, m, want, now)
	if err != nil || verr != nil || !reflect.DeepEqual(a, plain) {
		t.Fatalf("not what Verify gives: %v %v", err, verr)
	}
	got := codes(results, true)
	for _, code := range all {
		if !slices.Contains(got, code) {
			t.Errorf("passed without %s: %v", code, got)
		}
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != len(results) {
		t.Errorf("a check is listed twice, or failed: %v", results)
	}
	a, results, err = saml.Examine(written(t, sealed(t, idp, devidp.Encryption{}, true, true)), m, decrypting(false), now)
	if err != nil || !a.Encrypted || !slices.Contains(results, saml.CheckResult{Code: saml.CheckEncrypted, OK: true, Detail: "AES-256-GCM"}) {
		t.Errorf("encrypted: %v %v", results, err)
	}
	for _, c := range rsaCorpus() {
		a, results, err := saml.Examine(c.Raw, m, want, now)
		if c.Check == "" {
			if err != nil || a == nil || len(codes(results, false)) != 0 {
				t.Errorf("%s: %v %v", c.Name, results, err)
			}
			continue
		}
		failed := codes(results, false)
		if err == nil || a != nil || len(failed) != 1 || failed[0] != c.Check || results[len(results)-1].OK || results[len(results)-1].Detail != fault.Of(err).Public {
			t.Errorf("%s: %v %v", c.Name, results, err)
		}
	}
	late, results, err := saml.Examine(raw, m, want, now.Add(time.Hour))
	if late != nil || err == nil || !slices.Contains(codes(results, true), saml.CheckSignature) || codes(results, false)[0] != saml.CheckConfirmationTime {
		t.Errorf("late: %v %v", results, err)
	}
}
