package saml_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

// wantCode fails unless err is refused by the check; "" wants no refusal.
func wantCode(t *testing.T, err error, check string) {
	t.Helper()
	switch {
	case check == "" && err != nil:
		t.Errorf("refused: %v", err)
	case check != "" && err == nil:
		t.Errorf("accepted, want %s", check)
	case check != "" && fault.Of(err).Code != check:
		t.Errorf("refused by %s (%v), want %s", fault.Of(err).Code, err, check)
	}
}

func TestWhatHasToBeSigned(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	for policy, taken := range map[saml.Signed][3]bool{ // by assertion, response, both signed
		saml.SignedEither: {true, true, true}, saml.SignedAssertion: {true, false, true},
		saml.SignedResponse: {false, true, true}, saml.SignedBoth: {false, false, true},
	} {
		for i, signed := range [][2]bool{{true, false}, {false, true}, {true, true}} {
			a := idp.Answer(requestID, now)
			a.SignAssertion, a.SignReply = signed[0], signed[1]
			want := expect()
			want.Signed = policy
			_, err := saml.Verify(idp.Respond(t, a), m, want, now)
			check := saml.CheckUnsigned
			if taken[i] {
				check = ""
			}
			wantCode(t, err, check)
		}
	}
}

func TestUnsolicited(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	for _, c := range []struct {
		name, expected, answered string
		allow                    bool
		check                    string
	}{
		{"asked and answered", requestID, requestID, false, ""},
		{"asked, answered another", requestID, "_b", false, saml.CheckInResponseTo},
		{"asked, answered none", requestID, "", true, saml.CheckInResponseTo},
		{"not asked, not allowed", "", "", false, saml.CheckUnsolicited},
		{"not asked, allowed", "", "", true, ""},
		{"not asked, allowed, answers a request all the same", "", "_b", true, saml.CheckInResponseTo},
		{"not asked, not allowed, answers a request", "", "_b", false, saml.CheckUnsolicited},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := expect()
			want.RequestID, want.AllowUnsolicited = c.expected, c.allow
			_, err := saml.Verify(idp.Respond(t, idp.Answer(c.answered, now)), m, want, now)
			wantCode(t, err, c.check)
		})
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	raw := idp.Respond(t, idp.Answer(requestID, now)) // holds from -5 s to +5 min
	for _, c := range []struct {
		at, skew time.Duration
		check    string
	}{
		{0, 0, ""}, {-5 * time.Second, 0, saml.CheckIssueInstant}, {-30 * time.Second, saml.DefaultSkew, ""},
		{-61 * time.Second, saml.DefaultSkew, saml.CheckIssueInstant},
		{5*time.Minute - time.Second, 0, ""}, {5 * time.Minute, 0, saml.CheckConfirmationTime},
		{5*time.Minute + 59*time.Second, saml.DefaultSkew, ""}, {6 * time.Minute, saml.DefaultSkew, saml.CheckConfirmationTime},
		{24 * time.Hour, saml.DefaultSkew, saml.CheckConfirmationTime},
	} {
		want := expect()
		want.Skew = c.skew
		_, err := saml.Verify(raw, m, want, now.Add(c.at))
		if wantCode(t, err, c.check); t.Failed() {
			t.Fatalf("at %v with skew %v", c.at, c.skew)
		}
	}
}

// TestHowAndWhenThePersonSignedIn: a person could take RequestedAuthnContext and
// ForceAuthn out of a request that is not signed; the answer tells.
func TestHowAndWhenThePersonSignedIn(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	raw := idp.Respond(t, idp.Answer(requestID, now)) // by PasswordProtectedTransport, now
	const password, card = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI"
	for _, c := range []struct {
		contexts []string
		since    time.Time
		check    string
	}{
		{nil, time.Time{}, ""}, {[]string{card, password}, now, ""}, {[]string{card}, now, saml.CheckAuthnContext}, {[]string{""}, now, saml.CheckAuthnContext},
		{nil, now.Add(time.Minute), ""}, {nil, now.Add(61 * time.Second), saml.CheckAuthnInstant}, {[]string{password}, now.Add(-time.Hour), ""},
	} {
		want := expect()
		want.AuthnContexts, want.AuthnSince = c.contexts, c.since
		_, err := saml.Verify(raw, m, want, now)
		wantCode(t, err, c.check)
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	idp, next := rsaIdP(), otherIdP()
	raw := idp.Respond(t, idp.Answer(requestID, now))
	for name, certificates := range map[string][]*forge.IdP{"before": {idp, next}, "after": {next, idp}} {
		m := metadata(t, idp)
		m.Certificates = nil
		for _, c := range certificates {
			m.Certificates = append(m.Certificates, c.Certificate)
		}
		if a, err := saml.Verify(raw, m, expect(), now); err != nil || !a.Certificate.Equal(idp.Certificate) {
			t.Errorf("rollover, true certificate %s the other: %v", name, err)
		}
	}
	m := metadata(t, idp)
	for _, at := range []time.Time{now.Add(48 * time.Hour), now.Add(-48 * time.Hour)} {
		late := idp.Respond(t, idp.Answer(requestID, at))
		_, err := saml.Verify(late, m, expect(), at)
		wantCode(t, err, saml.CheckCertificate)
		want := expect()
		want.AcceptExpiredCertificate = true
		_, err = saml.Verify(late, m, want, at)
		wantCode(t, err, "")
	}
	// A certificate renewed for the same key, beside the old one.
	late := now.Add(48 * time.Hour)
	renewed, err := devidp.SelfSign(idp.Key, "renewed", now, now.Add(96*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	m.Certificates = append(m.Certificates, renewed)
	if a, err := saml.Verify(idp.Respond(t, idp.Answer(requestID, late)), m, expect(), late); err != nil || !a.Certificate.Equal(renewed) {
		t.Errorf("renewed for the same key: %v", err)
	}
	ec := ecdsaIdP()
	_, err = saml.Verify(raw, metadata(t, ec), expect(), now)
	wantCode(t, err, saml.CheckSignature)
	_, err = saml.Verify(raw, &saml.Metadata{EntityID: forge.EntityID}, expect(), now)
	wantCode(t, err, saml.CheckSignature)
}

func TestVerifyNeedsSomethingToCompareWith(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	raw := idp.Respond(t, idp.Answer(requestID, now))
	for _, want := range []saml.Expect{{}, {ACS: forge.ACS, RequestID: requestID}, {Audience: forge.ACS, RequestID: requestID}} {
		if _, err := saml.Verify(raw, metadata(t, idp), want, now); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("%+v: %v", want, err)
		}
	}
	for _, m := range []*saml.Metadata{nil, {}} {
		if _, err := saml.VerifyForSTS(raw, m, saml.STSExpect{}, now); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("no identity provider: %v", err)
		}
	}
	want := expect()
	want.MaxBytes = len(raw) - 1
	_, err := saml.Verify(raw, metadata(t, idp), want, now)
	wantCode(t, err, saml.CheckSize)
}

func TestSTS(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	sts := saml.STSExpect{Skew: saml.DefaultSkew}
	for _, c := range []struct {
		name   string
		change func(*devidp.Answer)
		check  string
	}{
		{"for any recipient and audience", func(a *devidp.Answer) {
			a.Recipient, a.Destination, a.Audiences = "https://other.example/acs", "https://other.example/acs", nil
		}, ""},
		{"answers any request", func(a *devidp.Answer) { a.InResponseTo = "_b" }, ""},
		{"answers none", func(a *devidp.Answer) { a.InResponseTo = "" }, ""},
		{"no recipient", func(a *devidp.Answer) { a.Recipient = "" }, saml.CheckRecipient},
		{"over", func(a *devidp.Answer) { a.NotOnOrAfter = now.Add(-time.Hour) }, saml.CheckConfirmationTime},
		{"login session over", func(a *devidp.Answer) { a.SessionNotOnOrAfter = now.Add(-time.Hour) }, saml.CheckLoginSessionEnded},
		{"another issuer", func(a *devidp.Answer) { a.Issuer = "urn:other" }, saml.CheckIssuer},
		{"unsigned", func(a *devidp.Answer) { a.SignAssertion = false }, saml.CheckUnsigned},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := idp.Answer(requestID, now)
			c.change(&answer)
			a, err := saml.VerifyForSTS(idp.Respond(t, answer), m, sts, now)
			wantCode(t, err, c.check)
			if err == nil && a.Recipient != answer.Recipient {
				t.Errorf("Recipient %q, want %q", a.Recipient, answer.Recipient)
			}
		})
	}
}

// TestSTSWantsOneConfirmation: AWS takes exactly one, sign-in the first that holds.
func TestSTSWantsOneConfirmation(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	for _, c := range rsaCorpus() {
		if c.Class == "honest" && strings.Contains(c.Name, "confirmation") {
			_, err := saml.VerifyForSTS(c.Raw, metadata(t, idp), saml.STSExpect{Skew: saml.DefaultSkew}, now)
			wantCode(t, err, saml.CheckConfirmation)
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	lines := func(s string) string {
		var b strings.Builder
		for chunk := range slices.Chunk([]byte(s), 64) {
			b.Write(chunk)
			b.WriteString("\r\n")
		}
		return b.String()
	}
	full := base64.StdEncoding.EncodeToString(make([]byte, 1000))
	for _, c := range []struct {
		name, posted string
		limit        int
		check        string
	}{
		{"plain", full, 1000, ""}, {"in lines", lines(full), 1000, ""}, {"default limit", full, 0, ""},
		{"one byte over", base64.StdEncoding.EncodeToString(make([]byte, 1001)), 1000, saml.CheckSize},
		{"far over", strings.Repeat("A", 1<<20), 1000, saml.CheckSize},
		{"not base64", "<xml/>", 0, saml.CheckEncoding}, {"padding missing", "YWI", 0, saml.CheckEncoding},
		{"bits left over", "YWJ=", 0, saml.CheckEncoding}, {"URL alphabet", "_-8=", 0, saml.CheckEncoding},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := saml.Decode(c.posted, c.limit)
			wantCode(t, err, c.check)
			if err == nil && len(raw) != 1000 {
				t.Errorf("%d bytes", len(raw))
			}
		})
	}
}

func TestClaimedIssuer(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	a := idp.Answer(requestID, now)
	a.Issuer = "https://idp.example/?a=1&b=2"
	if s, err := saml.ClaimedIssuer(idp.Respond(t, a), 0); err != nil || s != a.Issuer {
		t.Errorf("%q, %v", s, err)
	}
	_, err := saml.ClaimedIssuer([]byte("<a/>"), 0)
	wantCode(t, err, saml.CheckIssuer)
	_, err = saml.ClaimedIssuer([]byte("<!DOCTYPE a><a/>"), 0)
	wantCode(t, err, saml.CheckDTD)
}

// TestErrorsNeverRepeatTheResponse: a raw response is a credential.
func TestErrorsNeverRepeatTheResponse(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	for _, c := range rsaCorpus() {
		if c.Check == "" {
			continue
		}
		_, err := saml.Verify(c.Raw, m, expect(), now)
		if err == nil {
			t.Fatalf("%s was taken", c.Name)
		}
		f := fault.Of(err)
		if len(f.Error()) > 1200 || strings.Contains(f.Error(), "SignatureValue>") || strings.Contains(f.Error(), "X509") {
			t.Errorf("%s: the error repeats the response: %.300s", c.Name, f.Error())
		}
		if f.Public == "" {
			t.Errorf("%s: no public text", c.Name)
		}
	}
}
