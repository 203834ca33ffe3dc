package federation_test

import (
	"crypto/rsa"
	"testing"

	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// TestExpect: what is set for one identity provider, and nothing else, loosens
// or tightens what a response has to be.
func TestExpect(t *testing.T) {
	t.Parallel()
	ours := &saml.Decrypter{Keys: []*rsa.PrivateKey{{}}}
	base := saml.Expect{ACS: "https://x/saml/consume", RequestID: "_1", AllowUnsolicited: true, AllowSHA1: true, AcceptExpiredCertificate: true,
		Signed: saml.SignedBoth, Decrypt: ours, RequireEncrypted: true}
	expect := func(s federation.Settings, base saml.Expect) saml.Expect {
		return (&federation.Speaker{IdP: federation.IdP{Settings: s}}).Expect(base)
	}
	strict := expect(federation.Settings{}, base)
	if strict.AllowUnsolicited || strict.AllowSHA1 || strict.AcceptExpiredCertificate || strict.Decrypt != nil || strict.RequireEncrypted ||
		strict.Signed != saml.SignedEither || strict.ACS != base.ACS {
		t.Errorf("without settings: %+v", strict)
	}
	all := federation.Settings{AllowUnsolicited: true, AllowSHA1: true, CertificateDates: federation.DatesIgnore, Signed: federation.SignedResponse,
		Encryption: federation.EncryptionRequired, AllowCBC: true}
	loose := expect(all, base)
	if loose.AllowUnsolicited || !loose.AllowSHA1 || !loose.AcceptExpiredCertificate || loose.Signed != saml.SignedResponse || !loose.RequireEncrypted {
		t.Errorf("with all settings, answering a request: %+v", loose)
	}
	if loose.Decrypt == nil || len(loose.Decrypt.Keys) != 1 || !loose.Decrypt.AllowCBC || ours.AllowCBC {
		t.Errorf("decrypter %+v", loose.Decrypt)
	}
	if len(loose.AuthnContexts) != 0 || !loose.AuthnSince.IsZero() {
		t.Errorf("a way or time of sign-in is required that was not set: %+v", loose)
	}
	base.RequestID = ""
	if !expect(all, base).AllowUnsolicited {
		t.Error("a response that nobody asked for is refused though it is allowed")
	}
	if expect(all, saml.Expect{}).Decrypt != nil {
		t.Error("a decrypter from nowhere")
	}
	for set, want := range map[string]saml.Signed{"": saml.SignedEither, federation.SignedAssertion: saml.SignedAssertion, federation.SignedBoth: saml.SignedBoth} {
		if got := expect(federation.Settings{Signed: set}, saml.Expect{}).Signed; got != want {
			t.Errorf("signed %q: %v", set, got)
		}
	}
	sts := (&federation.Speaker{IdP: federation.IdP{Settings: all}}).ExpectAtSTS(saml.STSExpect{Decrypt: ours}, ours)
	if !sts.AllowSHA1 || !sts.AcceptExpiredCertificate || len(sts.Decrypt.Keys) != 2 || !sts.RequireEncrypted || len(ours.Keys) != 1 {
		t.Errorf("at STS: %+v", sts)
	}
	if kept := (&federation.Speaker{}).ExpectAtSTS(saml.STSExpect{Decrypt: ours, RequireEncrypted: true}, ours); kept.Decrypt != ours || !kept.RequireEncrypted || kept.AllowSHA1 {
		t.Errorf("at STS without settings: %+v", kept)
	}
	if out := (&federation.Speaker{IdP: federation.IdP{Settings: all}}).ExpectLogout(saml.LogoutExpect{URL: "u"}); !out.AllowSHA1 || !out.AcceptExpiredCertificate || out.URL != "u" {
		t.Errorf("logout: %+v", out)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	quiet := federation.IdP{Enabled: true}
	off := federation.IdP{Settings: federation.Settings{SignRequests: true, Encryption: federation.EncryptionAllowed}}
	on := off
	on.Enabled = true
	if sp := federation.Describe(saml.SP{URL: "u", WantEncrypted: true, AuthnRequestsSigned: true}, quiet, off); sp.WantEncrypted || sp.AuthnRequestsSigned || sp.URL != "u" {
		t.Errorf("nobody encrypts: %+v", sp)
	}
	if sp := federation.Describe(saml.SP{}, quiet, on); !sp.WantEncrypted || !sp.AuthnRequestsSigned {
		t.Errorf("one encrypts: %+v", sp)
	}
}

// attributes is an assertion with these names and values.
func attributes(pairs ...string) *saml.Assertion {
	a := &saml.Assertion{NameID: "_opaque"}
	for i := 0; i < len(pairs); i += 3 {
		a.Attributes = append(a.Attributes, saml.Attribute{Name: pairs[i], FriendlyName: pairs[i+1], Values: []string{pairs[i+2]}})
	}
	return a
}

func TestMapping(t *testing.T) {
	t.Parallel()
	plain := &federation.Speaker{}
	set := &federation.Speaker{IdP: federation.IdP{GroupsAttribute: "memberOf", Settings: federation.Settings{
		UserNameAttribute: "uid", DisplayNameAttribute: "cn", MailAttribute: "m"}}}
	a := attributes("uid", "", "ann", "urn:cn", "cn", "Ann O'Hara", "mail", "", "ann@example.com", "urn:x", "memberOf", "staff", "groups", "", "others")
	if name, err := plain.UserName(a); name != "_opaque" || err != nil {
		t.Errorf("by NameID: %q, %v", name, err)
	}
	if name, err := set.UserName(a); name != "ann" || err != nil {
		t.Errorf("by attribute: %q, %v", name, err)
	}
	if set.DisplayName(a) != "Ann O'Hara" || set.Mail(a) != "" || plain.Mail(a) != "ann@example.com" {
		t.Errorf("names %q, %q, %q", set.DisplayName(a), set.Mail(a), plain.Mail(a))
	}
	if g := set.Groups(a); len(g) != 1 || g[0] != "staff" {
		t.Errorf("groups by FriendlyName: %q", g)
	}
	if g := plain.Groups(a); len(g) != 1 || g[0] != "others" {
		t.Errorf("groups by default: %q", g)
	}
	for name, bad := range map[string]*saml.Assertion{
		"none": attributes(), "two": attributes("uid", "", "ann", "uid", "", "bob"), "blank": attributes("uid", "", " "),
		"with a line end": attributes("uid", "", "ann\nbob"), "with a space around": attributes("uid", "", " ann"), "empty": attributes("uid", "", ""),
	} {
		if got, err := set.UserName(bad); err == nil {
			t.Errorf("%s: user name %q", name, got)
		}
	}
	// A Name wins over any FriendlyName, whatever their order.
	both := attributes("urn:other", "uid", "mallory", "uid", "x", "ann")
	if name, err := set.UserName(both); name != "ann" || err != nil {
		t.Errorf("Name and FriendlyName: %q, %v", name, err)
	}
}
