package saml_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"io"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

func logout() devidp.Logout {
	return devidp.Logout{
		ID: "_out1", Issuer: forge.EntityID, Destination: forge.ACS, IssueInstant: now, NotOnOrAfter: now.Add(5 * time.Minute),
		NameID: forge.Subject, NameIDFormat: "urn:x", NameQualifier: "q", SPNameQualifier: "s", SessionIndexes: []string{"_s1", "_s2"},
	}
}

func logoutAnswer() devidp.Logout {
	return devidp.Logout{ID: "_out2", Issuer: forge.EntityID, Destination: forge.ACS, IssueInstant: now, InResponseTo: requestID}
}

func logoutExpect() saml.LogoutExpect {
	return saml.LogoutExpect{URL: forge.ACS, RequestID: requestID, Skew: saml.DefaultSkew}
}

func byPost(t testing.TB, idp *forge.IdP, l devidp.Logout) saml.LogoutInput {
	t.Helper()
	raw, err := idp.Post(l)
	if err != nil {
		t.Fatal(err)
	}
	return saml.LogoutInput{Binding: saml.BindingPOST, XML: raw}
}

func byRedirect(t testing.TB, idp *forge.IdP, l devidp.Logout, relay string) saml.LogoutInput {
	t.Helper()
	q, err := idp.RedirectQuery(l.Field(), written(t, l.Document()), relay)
	if err != nil {
		t.Fatal(err)
	}
	return saml.LogoutInput{Binding: saml.BindingRedirect, RawQuery: q}
}

func TestLogoutMessages(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	for _, in := range []saml.LogoutInput{byPost(t, idp, logout()), byRedirect(t, idp, logout(), ""), byRedirect(t, idp, logout(), "a b&c=d")} {
		r, err := saml.VerifyLogoutRequest(in, m, logoutExpect(), now)
		if err != nil {
			t.Fatal(err)
		}
		if r.ID != "_out1" || r.Issuer != forge.EntityID || r.NameID != forge.Subject || r.NameIDFormat != "urn:x" || r.NameQualifier != "q" || r.SPNameQualifier != "s" ||
			!slices.Equal(r.SessionIndexes, []string{"_s1", "_s2"}) || !r.IssueInstant.Equal(now) || !r.NotOnOrAfter.Equal(now.Add(5*time.Minute)) {
			t.Errorf("%+v", r)
		}
		doc, err := in.Document()
		if err != nil {
			t.Fatal(err)
		}
		kind, err := saml.MessageKind(doc)
		if issuer, ierr := saml.ClaimedIssuer(doc, 0); err != nil || ierr != nil || kind != saml.KindLogoutRequest || issuer != forge.EntityID {
			t.Errorf("%s of %s: %v %v", kind, issuer, err, ierr)
		}
		_, err = saml.VerifyLogoutResponse(in, m, logoutExpect(), now)
		wantCode(t, err, saml.CheckShape)
	}
	for _, in := range []saml.LogoutInput{byPost(t, idp, logoutAnswer()), byRedirect(t, idp, logoutAnswer(), "x")} {
		r, err := saml.VerifyLogoutResponse(in, m, logoutExpect(), now)
		if err != nil || r.Status != saml.StatusSuccess || r.InResponseTo != requestID || r.SubStatus != "" {
			t.Errorf("%+v %v", r, err)
		}
		_, err = saml.VerifyLogoutRequest(in, m, logoutExpect(), now)
		wantCode(t, err, saml.CheckShape)
		other := logoutExpect()
		other.RequestID = ""
		_, err = saml.VerifyLogoutResponse(in, m, other, now)
		wantCode(t, err, saml.CheckInResponseTo)
	}
	denied := logoutAnswer()
	denied.Status = saml.StatusResponder
	if r, err := saml.VerifyLogoutResponse(byPost(t, idp, denied), m, logoutExpect(), now); err != nil || r.Status != saml.StatusResponder {
		t.Errorf("%+v %v", r, err)
	}
	ec := ecdsaIdP()
	if _, err := saml.VerifyLogoutRequest(byPost(t, ec, logout()), metadata(t, ec), logoutExpect(), now); err != nil {
		t.Error(err)
	}
}

// TestLogoutRefusals: what the identity provider signed may still be for
// another place, of another, or old.
func TestLogoutRefusals(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	for name, c := range map[string]struct {
		change func(*devidp.Logout)
		check  string
	}{
		"for another place":       {func(l *devidp.Logout) { l.Destination = "https://other.example" }, saml.CheckDestination},
		"for no place":            {func(l *devidp.Logout) { l.Destination = "" }, saml.CheckDestination},
		"of another issuer":       {func(l *devidp.Logout) { l.Issuer = "urn:other" }, saml.CheckIssuer},
		"no ID":                   {func(l *devidp.Logout) { l.ID = "" }, saml.CheckShape},
		"old":                     {func(l *devidp.Logout) { l.IssueInstant = now.Add(-7 * time.Minute) }, saml.CheckExpired},
		"over":                    {func(l *devidp.Logout) { l.NotOnOrAfter = now.Add(-2 * time.Minute) }, saml.CheckExpired},
		"from the future":         {func(l *devidp.Logout) { l.IssueInstant = now.Add(2 * time.Minute) }, saml.CheckIssueInstant},
		"no time":                 {func(l *devidp.Logout) { l.IssueInstant = time.Time{} }, saml.CheckIssueInstant},
		"no name":                 {func(l *devidp.Logout) { l.NameID = "" }, saml.CheckSubject},
		"name with spaces around": {func(l *devidp.Logout) { l.NameID = " alice" }, saml.CheckSubject},
		"an empty index":          {func(l *devidp.Logout) { l.SessionIndexes = []string{""} }, saml.CheckShape},
	} {
		l := logout()
		c.change(&l)
		for _, in := range []saml.LogoutInput{byPost(t, idp, l), byRedirect(t, idp, l, "x")} {
			if _, err := saml.VerifyLogoutRequest(in, m, logoutExpect(), now); true {
				if wantCode(t, err, c.check); t.Failed() {
					t.Fatal(name)
				}
			}
		}
	}
	for _, in := range []saml.LogoutInput{byPost(t, otherIdP(), logout()), byRedirect(t, otherIdP(), logout(), "")} {
		_, err := saml.VerifyLogoutRequest(in, m, logoutExpect(), now)
		wantCode(t, err, saml.CheckSignature)
	}
	late := now.Add(48 * time.Hour)
	l := logout()
	l.IssueInstant, l.NotOnOrAfter = late, time.Time{}
	want := logoutExpect()
	_, err := saml.VerifyLogoutRequest(byRedirect(t, idp, l, ""), m, want, late)
	wantCode(t, err, saml.CheckCertificate)
	want.AcceptExpiredCertificate = true
	_, err = saml.VerifyLogoutRequest(byRedirect(t, idp, l, ""), m, want, late)
	wantCode(t, err, "")
	_, err = saml.VerifyLogoutRequest(saml.LogoutInput{Binding: "urn:x"}, m, logoutExpect(), now)
	wantCode(t, err, saml.CheckShape)
	_, err = saml.VerifyLogoutRequest(byPost(t, idp, logout()), m, saml.LogoutExpect{}, now)
	wantCode(t, err, saml.CheckIssuer)
}

// TestLogoutThatWrapsASignedAssertion (samlify #634): a captured signed
// assertion, or response, gives a logout message no authority.
func TestLogoutThatWrapsASignedAssertion(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	captured := func() *etree.Element {
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(idp.Respond(t, idp.Answer(requestID, now))); err != nil {
			t.Fatal(err)
		}
		return doc.Root()
	}
	for name, c := range map[string]struct {
		wrap  func(l *etree.Element)
		check string
	}{
		"the assertion inside": {func(l *etree.Element) { l.AddChild(captured().FindElement("./Assertion")) }, saml.CheckShape},
		"the assertion in Extensions": {func(l *etree.Element) {
			l.CreateElement("samlp:Extensions").AddChild(captured().FindElement("./Assertion"))
		}, saml.CheckShape},
		"its signature moved": {func(l *etree.Element) { l.InsertChildAt(1, captured().FindElement("./Assertion/Signature")) }, saml.CheckSignatureShape},
		"its signature moved, and its ID": {func(l *etree.Element) {
			s := captured().FindElement("./Assertion")
			l.CreateAttr("ID", s.SelectAttrValue("ID", ""))
			l.InsertChildAt(1, s.FindElement("./Signature"))
		}, saml.CheckSignature},
		"encrypted inside": {func(l *etree.Element) { l.CreateElement("saml:EncryptedAssertion") }, saml.CheckShape},
		"the signature of a response hidden deep": {func(l *etree.Element) {
			l.FindElement("./NameID").AddChild(captured().FindElement("./Assertion/Signature"))
		}, saml.CheckSignaturePlace},
		"unsigned": {func(*etree.Element) {}, saml.CheckUnsigned},
	} {
		t.Run(name, func(t *testing.T) {
			l := logout().Document()
			c.wrap(l)
			_, err := saml.VerifyLogoutRequest(saml.LogoutInput{Binding: saml.BindingPOST, XML: written(t, l)}, m, logoutExpect(), now)
			wantCode(t, err, c.check)
		})
	}
	// Two signatures, and one that is genuine but over another message.
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(byPost(t, idp, logout()).XML); err != nil {
		t.Fatal(err)
	}
	twice := doc.Root().Copy()
	twice.AddChild(twice.FindElement("./Signature").Copy())
	_, err := saml.VerifyLogoutRequest(saml.LogoutInput{Binding: saml.BindingPOST, XML: written(t, twice)}, m, logoutExpect(), now)
	wantCode(t, err, saml.CheckSignaturePlace)
	doc.Root().FindElement("./NameID").SetText("bob")
	_, err = saml.VerifyLogoutRequest(saml.LogoutInput{Binding: saml.BindingPOST, XML: written(t, doc.Root())}, m, logoutExpect(), now)
	wantCode(t, err, saml.CheckSignature)
}

// TestRedirectSignature: the signature is over the parameters in one order, as
// they were sent; nothing doubled, renamed or left out gets through.
func TestRedirectSignature(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	honest := byRedirect(t, idp, logout(), "state").RawQuery
	part := map[string]string{}
	for _, p := range strings.Split(honest, "&") {
		name, _, _ := strings.Cut(p, "=")
		part[name] = p
	}
	join := func(names ...string) string {
		for i, n := range names {
			names[i] = part[n]
		}
		return strings.Join(names, "&")
	}
	other := byRedirect(t, idp, devidp.Logout{ID: "_o", Issuer: forge.EntityID, Destination: forge.ACS, IssueInstant: now, NameID: "bob"}, "").RawQuery
	otherRequest, _, _ := strings.Cut(other, "&")
	signedOverOtherOrder, err := idp.SignQuery(part["RelayState"] + "&" + part["SAMLRequest"])
	if err != nil {
		t.Fatal(err)
	}
	sha1 := strings.Replace(honest, "rsa-sha256", "rsa-sha1", 1)
	inside := byPost(t, idp, logout()).XML
	signedInside, err := idp.RedirectQuery("SAMLRequest", inside, "")
	if err != nil {
		t.Fatal(err)
	}
	bomb, err := idp.RedirectQuery("SAMLRequest", bytes.Repeat([]byte(" "), 50<<20), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ query, check string }{
		"as it was sent":                      {honest, ""},
		"sent in another order":               {join("Signature", "SigAlg", "RelayState", "SAMLRequest"), ""},
		"another parameter beside":            {"x=1&" + honest + "&y", ""},
		"signed over another order":           {signedOverOtherOrder, saml.CheckSignature},
		"relay state left out":                {join("SAMLRequest", "SigAlg", "Signature"), saml.CheckSignature},
		"relay state changed":                 {strings.Replace(honest, "RelayState=state", "RelayState=evil", 1), saml.CheckSignature},
		"relay state encoded anew":            {strings.Replace(honest, "RelayState=state", "RelayState=stat%65", 1), saml.CheckSignature},
		"relay state put in":                  {byRedirect(t, idp, logout(), "").RawQuery + "&RelayState=evil", saml.CheckSignature},
		"message doubled, true first":         {honest + "&" + otherRequest, saml.CheckQuery},
		"message doubled, true last":          {otherRequest + "&" + honest, saml.CheckQuery},
		"message doubled, empty":              {honest + "&SAMLRequest=", saml.CheckQuery},
		"name of the message encoded":         {honest + "&SAML%52equest=x", saml.CheckQuery},
		"name of the only message encoded":    {strings.Replace(honest, "SAMLRequest", "SAML%52equest", 1), saml.CheckQuery},
		"as a request and as a response":      {honest + "&" + strings.Replace(otherRequest, "Request", "Response", 1), saml.CheckQuery},
		"another message under the signature": {strings.Replace(honest, part["SAMLRequest"], otherRequest, 1), saml.CheckSignature},
		"relay state doubled":                 {honest + "&RelayState=evil", saml.CheckQuery},
		"algorithm doubled":                   {honest + "&" + part["SigAlg"], saml.CheckQuery},
		"signature doubled":                   {honest + "&" + part["Signature"], saml.CheckQuery},
		"no signature":                        {join("SAMLRequest", "RelayState", "SigAlg"), saml.CheckUnsigned},
		"an empty signature":                  {join("SAMLRequest", "RelayState", "SigAlg") + "&Signature=", saml.CheckUnsigned},
		"no algorithm":                        {join("SAMLRequest", "RelayState", "Signature"), saml.CheckUnsigned},
		"neither":                             {join("SAMLRequest", "RelayState"), saml.CheckUnsigned},
		"SHA-1":                               {sha1, saml.CheckAlgorithm},
		"an unknown algorithm":                {strings.Replace(honest, "rsa-sha256", "hmac-sha256", 1), saml.CheckAlgorithm},
		"an algorithm of another key type":    {strings.Replace(honest, "rsa-sha256", "ecdsa-sha256", 1), saml.CheckSignature},
		"a signature inside too":              {signedInside, saml.CheckSignaturePlace},
		"a signature inside only":             {strings.Split(signedInside, "&SigAlg")[0], saml.CheckSignaturePlace},
		"signature not base64":                {join("SAMLRequest", "RelayState", "SigAlg") + "&Signature=%25", saml.CheckSignatureShape},
		"message not base64":                  {"SAMLRequest=%25", saml.CheckEncoding},
		"message not deflated":                {"SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(inside)), saml.CheckEncoding},
		"a deflate bomb of 50 MB":             {bomb, saml.CheckSize},
		"a query of 1 MB":                     {honest + "&x=" + strings.Repeat("x", 1<<20), saml.CheckSize},
		"broken escapes":                      {honest + "&%zz", saml.CheckQuery},
		"a semicolon":                         {honest + ";SAMLRequest=x", saml.CheckQuery},
		"nothing":                             {"", saml.CheckQuery},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := saml.VerifyLogoutRequest(saml.LogoutInput{Binding: saml.BindingRedirect, RawQuery: c.query}, m, logoutExpect(), now)
			wantCode(t, err, c.check)
		})
	}
}

// TestOurLogoutMessages: what we send is what we would take from another.
func TestOurLogoutMessages(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	us := saml.Signer{Key: ourKey(), Certificate: certificateOf(t, ourKey())}
	m := metadata(t, idp)
	m.EntityID, m.Certificates = "urn:us", nil
	m.Certificates = append(m.Certificates, us.Certificate)
	want := saml.LogoutExpect{URL: "https://idp.example/slo?x=1", RequestID: "_r", Skew: saml.DefaultSkew}
	sent := saml.LogoutRequest{
		ID: "_1", Issuer: "urn:us", Destination: want.URL, IssueInstant: now, NotOnOrAfter: now.Add(time.Minute),
		NameID: `a<b>&"c'`, NameIDFormat: "urn:f", NameQualifier: "q", SPNameQualifier: "s", SessionIndexes: []string{"i<1>", "i2"},
	}
	for _, in := range sentBoth(t, func() (string, error) { return sent.RedirectURL("relay &=", &us) }, func() (string, error) { return sent.PostForm(&us) }) {
		got, err := saml.VerifyLogoutRequest(in, m, want, now)
		if err != nil || !reflect.DeepEqual(*got, sent) {
			t.Errorf("%+v %v", got, err)
		}
	}
	answer := saml.LogoutResponse{ID: "_2", InResponseTo: "_r", Issuer: "urn:us", Destination: want.URL, IssueInstant: now, Status: saml.StatusResponder, SubStatus: saml.StatusPartialLogout}
	for _, in := range sentBoth(t, func() (string, error) { return answer.RedirectURL("", &us) }, func() (string, error) { return answer.PostForm(&us) }) {
		got, err := saml.VerifyLogoutResponse(in, m, want, now)
		if err != nil || !reflect.DeepEqual(*got, answer) {
			t.Errorf("%+v %v", got, err)
		}
	}
	for _, err := range []error{second(sent.RedirectURL("", nil)), second(sent.PostForm(nil)), second(answer.RedirectURL("", nil)), second(answer.PostForm(nil))} {
		wantCode(t, err, saml.CheckUnsigned)
	}
}

func second(_ string, err error) error { return err }

func sentBoth(t *testing.T, redirect, post func() (string, error)) []saml.LogoutInput {
	t.Helper()
	s, err := redirect()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s)
	if err != nil || !strings.HasPrefix(u.RawQuery, "x=1&SAML") {
		t.Fatalf("%s: %v", s, err)
	}
	form, err := post()
	if err != nil {
		t.Fatal(err)
	}
	return []saml.LogoutInput{{Binding: saml.BindingRedirect, RawQuery: u.RawQuery}, {Binding: saml.BindingPOST, XML: decoded(t, form)}}
}

func TestMessageKind(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]saml.Kind{
		string(rsaIdP().Respond(t, rsaIdP().Answer("", now))):               saml.KindResponse,
		string(written(t, logoutAnswer().Document())):                       saml.KindLogoutResponse,
		"<?xml version='1.0'?>\n" + string(written(t, logout().Document())): saml.KindLogoutRequest,
		`<LogoutRequest xmlns="urn:x"/>`:                                    "", `<Response/>`: "", "": "", "x": "",
		`<AuthnRequest xmlns="urn:oasis:names:tc:SAML:2.0:protocol"/>`: "",
	} {
		if got, err := saml.MessageKind([]byte(src)); got != want || (err == nil) != (want != "") {
			t.Errorf("%.40s: %q %v", src, got, err)
		}
	}
}

// keptLogout reads logout messages that were signed once, a request and its
// answer, by both bindings.
func keptLogout(tb testing.TB) (m *saml.Metadata, docs [][]byte, queries []string) {
	tb.Helper()
	read := func(name string) []byte {
		src, err := os.ReadFile("testdata/" + name)
		if err != nil {
			tb.Fatal(err)
		}
		return src
	}
	m, err := saml.ParseMetadata(read("metadata-encrypting.xml"))
	if err != nil {
		tb.Fatal(err)
	}
	return m, [][]byte{read("logout/request.xml"), read("logout/response.xml")}, []string{string(read("logout/request.query")), string(read("logout/response.query"))}
}

func TestKeptLogoutMessages(t *testing.T) {
	t.Parallel()
	m, docs, queries := keptLogout(t)
	for i := range docs {
		if taken := checkLogout(t, m, docs[i], queries[i]); taken != 2 {
			t.Errorf("%d: %d of two bindings were taken", i, taken)
		}
	}
}

// checkLogout counts what is taken, which has to say what the kept ones say.
func checkLogout(t *testing.T, m *saml.Metadata, doc []byte, query string) (taken int) {
	t.Helper()
	for _, in := range []saml.LogoutInput{{Binding: saml.BindingPOST, XML: doc}, {Binding: saml.BindingRedirect, RawQuery: query}} {
		r, err := saml.VerifyLogoutRequest(in, m, logoutExpect(), now)
		if err == nil && (r.NameID != forge.Subject || len(r.SessionIndexes) != 2 || r.ID != "_out1") {
			t.Fatalf("taken, and says something else: %+v", r)
		}
		if err != nil && codeOf(err) == "" {
			t.Fatalf("refused without a name: %v", err)
		}
		a, aerr := saml.VerifyLogoutResponse(in, m, logoutExpect(), now)
		if aerr == nil && (a.Status != saml.StatusSuccess || a.ID != "_out2") {
			t.Fatalf("taken, and says something else: %+v", a)
		}
		if err == nil || aerr == nil {
			taken++
		}
	}
	return taken
}

// FuzzLogout begins with real messages, whose keys are gone: whatever is taken,
// by either binding, says what they say.
func FuzzLogout(f *testing.F) {
	m, docs, queries := keptLogout(f)
	for i := range docs {
		f.Add(docs[i], queries[i])
	}
	f.Fuzz(func(t *testing.T, doc []byte, query string) {
		checkLogout(t, m, doc, query)
		if kind, err := saml.MessageKind(doc); err == nil && kind == "" {
			t.Fatal("a message of no kind")
		}
	})
}

// inflated gives the document of a redirect.
func inflated(t *testing.T, parameter string) []byte {
	t.Helper()
	doc, err := io.ReadAll(flate.NewReader(bytes.NewReader(decoded(t, parameter))))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
