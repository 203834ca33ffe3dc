package saml_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

const (
	xmlenc   = "http://www.w3.org/2001/04/xmlenc#"
	xmlenc11 = "http://www.w3.org/2009/xmlenc11#"
)

// ourKey is the one that identity providers encrypt for.
var ourKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func decrypting(cbc bool) saml.Expect {
	want := expect()
	want.Decrypt = &saml.Decrypter{Keys: []*rsa.PrivateKey{ourKey()}, AllowCBC: cbc}
	return want
}

// sealed gives a response with an encrypted assertion, as a tree to change.
func sealed(tb testing.TB, idp *forge.IdP, e devidp.Encryption, signAssertion, signReply bool) *etree.Element {
	tb.Helper()
	a := idp.Answer(requestID, now)
	a.SignAssertion, a.SignReply, a.EncryptTo, a.Encryption = signAssertion, signReply, &ourKey().PublicKey, e
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(idp.Respond(tb, a)); err != nil {
		tb.Fatal(err)
	}
	return doc.Root()
}

func written(tb testing.TB, root *etree.Element) []byte {
	tb.Helper()
	raw, err := devidp.Serialize(root)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// TestEncryptedAssertions: every allowed way to encrypt, in both places of the
// key, whatever is signed.
func TestEncryptedAssertions(t *testing.T) {
	t.Parallel()
	for _, idp := range []*forge.IdP{rsaIdP(), ecdsaIdP()} {
		m := metadata(t, idp)
		for _, content := range []string{devidp.AES128GCM, devidp.AES192GCM, devidp.AES256GCM, devidp.AES128CBC, devidp.AES256CBC} {
			for i, e := range []devidp.Encryption{{Content: content, Key: devidp.OAEP}, {Content: content, Key: devidp.OAEP11, Beside: true}} {
				for _, signed := range [][2]bool{{true, false}, {false, true}, {true, true}} {
					raw := written(t, sealed(t, idp, e, signed[0], signed[1]))
					cbc := strings.Contains(content, "cbc")
					a, err := saml.Verify(raw, m, decrypting(cbc), now)
					if err != nil {
						t.Fatalf("%s, place %d, signed %v: %v", content, i, signed, err)
					}
					if pairs, _ := saml.RolePairs(a); !a.Encrypted || a.NameID != forge.Subject || len(pairs) != 1 || a.Certificate == nil || signed[1] != (a.ResponseID != "") {
						t.Errorf("%s: %+v", content, a)
					}
					sts, err := saml.VerifyForSTS(raw, m, saml.STSExpect{Skew: saml.DefaultSkew, Decrypt: decrypting(cbc).Decrypt, RequireEncrypted: true}, now)
					if err != nil || sts.NameID != a.NameID {
						t.Errorf("STS: %v", err)
					}
					if cbc {
						_, err = saml.Verify(raw, m, decrypting(false), now)
						wantCode(t, err, saml.CheckAlgorithm)
					}
					_, err = saml.Verify(raw, m, expect(), now)
					wantCode(t, err, saml.CheckEncrypted)
				}
			}
		}
	}
}

// TestEncryptionPolicies: the rules on signatures hold for what was encrypted,
// and encryption can be demanded.
func TestEncryptionPolicies(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	for policy, taken := range map[saml.Signed][3]bool{
		saml.SignedEither: {true, true, true}, saml.SignedAssertion: {true, false, true},
		saml.SignedResponse: {false, true, true}, saml.SignedBoth: {false, false, true},
	} {
		for i, signed := range [][2]bool{{true, false}, {false, true}, {true, true}} {
			want := decrypting(false)
			want.Signed, want.RequireEncrypted = policy, true
			_, err := saml.Verify(written(t, sealed(t, idp, devidp.Encryption{}, signed[0], signed[1])), m, want, now)
			check := saml.CheckUnsigned
			if taken[i] {
				check = ""
			}
			wantCode(t, err, check)
			plain := idp.Answer(requestID, now)
			plain.SignAssertion, plain.SignReply = signed[0], signed[1]
			_, err = saml.Verify(idp.Respond(t, plain), m, want, now)
			wantCode(t, err, saml.CheckEncrypted)
		}
	}
	_, err := saml.Verify(written(t, sealed(t, idp, devidp.Encryption{}, false, false)), m, decrypting(false), now)
	wantCode(t, err, saml.CheckUnsigned)
}

// TestSeveralDecryptionKeys: during a rollover the old key still opens.
func TestSeveralDecryptionKeys(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	next, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	raw := written(t, sealed(t, idp, devidp.Encryption{}, true, false))
	for _, keys := range [][]*rsa.PrivateKey{{next, ourKey()}, {ourKey(), next}} {
		want := expect()
		want.Decrypt = &saml.Decrypter{Keys: keys}
		_, err := saml.Verify(raw, metadata(t, idp), want, now)
		wantCode(t, err, "")
	}
	for _, keys := range [][]*rsa.PrivateKey{{next}, nil} {
		want := expect()
		want.Decrypt = &saml.Decrypter{Keys: keys}
		_, err := saml.Verify(raw, metadata(t, idp), want, now)
		wantCode(t, err, saml.CheckSignature)
	}
}

// TestEncryptionForms: what is not of the one form is refused by name.
func TestEncryptionForms(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	find := func(r *etree.Element, path string) *etree.Element {
		if el := r.FindElement("./EncryptedAssertion/" + path); el != nil {
			return el
		}
		t.Fatalf("no %s", path)
		return nil
	}
	const data, key = "EncryptedData", "EncryptedData/KeyInfo/EncryptedKey"
	set := func(path, name, value string) func(*etree.Element) {
		return func(r *etree.Element) { find(r, path).CreateAttr(name, value) }
	}
	drop := func(path string) func(*etree.Element) {
		return func(r *etree.Element) { el := find(r, path); el.Parent().RemoveChild(el) }
	}
	double := func(path string) func(*etree.Element) {
		return func(r *etree.Element) { el := find(r, path); el.Parent().InsertChildAt(el.Index(), el.Copy()) }
	}
	for name, c := range map[string]struct {
		e      devidp.Encryption
		change func(*etree.Element)
		check  string
	}{
		"RSA 1.5":                   {devidp.Encryption{Key: devidp.PKCS1v1}, func(*etree.Element) {}, saml.CheckAlgorithm},
		"triple DES":                {devidp.Encryption{}, set(data+"/EncryptionMethod", "Algorithm", xmlenc+"tripledes-cbc"), saml.CheckAlgorithm},
		"no content algorithm":      {devidp.Encryption{}, set(data+"/EncryptionMethod", "Algorithm", ""), saml.CheckAlgorithm},
		"AES key wrap":              {devidp.Encryption{}, set(key+"/EncryptionMethod", "Algorithm", xmlenc+"kw-aes256"), saml.CheckAlgorithm},
		"OAEP with MD5":             {devidp.Encryption{}, set(key+"/EncryptionMethod/DigestMethod", "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#md5"), saml.CheckAlgorithm},
		"OAEP with an unknown mask": {devidp.Encryption{Key: devidp.OAEP11}, set(key+"/EncryptionMethod/MGF", "Algorithm", xmlenc11+"mgf1md5"), saml.CheckAlgorithm},
		"mask for the older OAEP":   {devidp.Encryption{Key: devidp.OAEP11}, set(key+"/EncryptionMethod", "Algorithm", devidp.OAEP), saml.CheckAlgorithm},
		"OAEP parameters": {devidp.Encryption{}, func(r *etree.Element) {
			find(r, key+"/EncryptionMethod").CreateElement("xenc:OAEPparams").SetText("AAAA")
		}, saml.CheckAlgorithm},
		"key size stated":           {devidp.Encryption{}, func(r *etree.Element) { find(r, data+"/EncryptionMethod").CreateElement("xenc:KeySize").SetText("8") }, saml.CheckAlgorithm},
		"no EncryptedData":          {devidp.Encryption{}, drop(data), saml.CheckEncryptionShape},
		"two EncryptedData":         {devidp.Encryption{}, double(data), saml.CheckEncryptionShape},
		"no EncryptedKey":           {devidp.Encryption{}, drop(key), saml.CheckEncryptionShape},
		"two EncryptedKey":          {devidp.Encryption{}, double(key), saml.CheckEncryptionShape},
		"one inside and one beside": {devidp.Encryption{}, func(r *etree.Element) { find(r, data).Parent().AddChild(find(r, key).Copy()) }, saml.CheckEncryptionShape},
		"no KeyInfo, no key":        {devidp.Encryption{}, drop(data + "/KeyInfo"), saml.CheckEncryptionShape},
		"no CipherData":             {devidp.Encryption{}, drop(data + "/CipherData"), saml.CheckEncryptionShape},
		"two CipherValue":           {devidp.Encryption{}, double(data + "/CipherData/CipherValue"), saml.CheckEncryptionShape},
		"CipherReference (SSRF)": {devidp.Encryption{}, func(r *etree.Element) {
			el := find(r, data+"/CipherData/CipherValue")
			el.Tag = "CipherReference"
			el.CreateAttr("URI", "http://127.0.0.1/")
		}, saml.CheckEncryptionShape},
		"content type":               {devidp.Encryption{}, set(data, "Type", xmlenc+"Content"), saml.CheckEncryptionShape},
		"text between":               {devidp.Encryption{}, func(r *etree.Element) { find(r, data).CreateText("x") }, saml.CheckEncryptionShape},
		"not base64":                 {devidp.Encryption{}, func(r *etree.Element) { find(r, data+"/CipherData/CipherValue").SetText("%") }, saml.CheckEncryptionShape},
		"short GCM (crewjam panics)": {devidp.Encryption{}, func(r *etree.Element) { find(r, data+"/CipherData/CipherValue").SetText("AAAA") }, saml.CheckEncryptionShape},
		"empty content":              {devidp.Encryption{}, func(r *etree.Element) { find(r, data+"/CipherData/CipherValue").SetText("") }, saml.CheckEncryptionShape},
		"CBC cut off": {devidp.Encryption{Content: devidp.AES128CBC}, func(r *etree.Element) {
			el := find(r, data+"/CipherData/CipherValue")
			el.SetText(cutBase64(t, el.Text(), 1))
		}, saml.CheckEncryptionShape},
		"retrieval from elsewhere (SSRF)": {devidp.Encryption{Beside: true}, set(data+"/KeyInfo/RetrievalMethod", "URI", "http://127.0.0.1/key"), saml.CheckEncryptionShape},
		"retrieval of another element":    {devidp.Encryption{Beside: true}, set(data+"/KeyInfo/RetrievalMethod", "URI", "#_other"), saml.CheckEncryptionShape},
		"retrieval with transforms":       {devidp.Encryption{Beside: true}, func(r *etree.Element) { find(r, data+"/KeyInfo/RetrievalMethod").CreateElement("ds:Transforms") }, saml.CheckEncryptionShape},
		"a name of a key only": {devidp.Encryption{}, func(r *etree.Element) {
			info := find(r, data+"/KeyInfo")
			info.Child = nil
			info.CreateElement("ds:KeyName").SetText("k")
		}, saml.CheckEncryptionShape},
		"encrypted twice over":    {devidp.Encryption{}, func(r *etree.Element) { el := find(r, data).Parent(); el.Parent().AddChild(el.Copy()) }, saml.CheckShape},
		"beside one in the clear": {devidp.Encryption{}, func(r *etree.Element) { r.AddChild(idp.Answer(requestID, now).Document().FindElement("./Assertion")) }, saml.CheckShape},
		"inside Extensions": {devidp.Encryption{}, func(r *etree.Element) {
			el := find(r, data).Parent()
			r.RemoveChild(el)
			r.CreateElement("samlp:Extensions").AddChild(el)
		}, saml.CheckShape},
	} {
		t.Run(name, func(t *testing.T) {
			root := sealed(t, idp, c.e, true, false)
			c.change(root)
			_, err := saml.Verify(written(t, root), m, decrypting(true), now)
			wantCode(t, err, c.check)
		})
	}
	// A key beside the data needs no pointer, and a list of references is not read.
	root := sealed(t, idp, devidp.Encryption{Beside: true}, true, false)
	info := find(root, "EncryptedData/KeyInfo")
	info.Parent().RemoveChild(info)
	find(root, "EncryptedKey").CreateElement("xenc:ReferenceList").CreateElement("xenc:DataReference").CreateAttr("URI", "#_data")
	_, err := saml.Verify(written(t, root), m, decrypting(false), now)
	wantCode(t, err, "")
}

func cutBase64(t *testing.T, s string, n int) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b[:len(b)-n])
}

// TestWhatWasEncrypted: the same rules hold for what comes out, and where no
// oracle can be made of it the refusal says what is wrong.
func TestWhatWasEncrypted(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	honest := func() string {
		r := idp.Answer(requestID, now).Document()
		as := r.FindElement("./Assertion")
		if err := idp.Sign(as); err != nil {
			t.Fatal(err)
		}
		return string(written(t, as))
	}()
	edit := func(old, replacement string) string {
		if !strings.Contains(honest, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(honest, old, replacement, 1)
	}
	for name, c := range map[string]struct{ plain, check string }{
		"as it is":                    {honest, ""},
		"with an XML declaration":     {`<?xml version="1.0"?>` + honest, ""},
		"changed":                     {edit(">alice<", ">mallory<"), saml.CheckSignature},
		"a document type":             {"<!DOCTYPE x>" + honest, saml.CheckDTD},
		"two assertions":              {honest + honest, saml.CheckXML},
		"an assertion inside":         {edit("<saml:Subject>", "<saml:Subject><saml:Assertion/>"), saml.CheckShape},
		"encrypted again":             {edit("<saml:Subject>", "<saml:Subject><saml:EncryptedAssertion/>"), saml.CheckShape},
		"a signature hidden inside":   {edit("<saml:Subject>", `<saml:Subject><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>`), saml.CheckSignaturePlace},
		"a response":                  {string(idp.Respond(t, idp.Answer(requestID, now))), saml.CheckShape},
		"nested 20,000 deep":          {strings.Repeat("<a>", 20000), saml.CheckLimits},
		"text":                        {"alice", saml.CheckXML},
		"a comment in the name":       {edit(">alice<", ">ali<!---->ce<"), saml.CheckXML},
		"an assertion of another IdP": {string(written(t, otherAssertion(t))), saml.CheckSignature},
	} {
		t.Run(name, func(t *testing.T) {
			root := sealed(t, idp, devidp.Encryption{}, true, false)
			replaceSealed(t, root, devidp.Encryption{}, c.plain)
			_, err := saml.Verify(written(t, root), m, decrypting(true), now)
			wantCode(t, err, c.check)
			// The same content by CBC tells nothing but that it is refused.
			replaceSealed(t, root, devidp.Encryption{Content: devidp.AES128CBC}, c.plain)
			_, err = saml.Verify(written(t, root), m, decrypting(true), now)
			check := saml.CheckSignature
			if c.check == "" {
				check = ""
			}
			wantCode(t, err, check)
		})
	}
}

func otherAssertion(t *testing.T) *etree.Element {
	t.Helper()
	as := otherIdP().Answer(requestID, now).Document().FindElement("./Assertion")
	if err := otherIdP().Sign(as); err != nil {
		t.Fatal(err)
	}
	return as
}

func replaceSealed(t *testing.T, root *etree.Element, e devidp.Encryption, plain string) {
	t.Helper()
	old := root.FindElement("./EncryptedAssertion")
	again, err := e.Seal([]byte(plain), &ourKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	root.InsertChildAt(old.Index(), again)
	root.RemoveChild(old)
}

// TestPaddingOracle (Jager and Somorovsky 2011; "one bad apple" 2013): flipped
// ciphertext, another key, AES-GCM content relabelled as CBC and a bad
// signature inside are one refusal, to the letter. BenchmarkPaddingOracle shows
// the times.
func TestPaddingOracle(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	for _, content := range []string{devidp.AES128CBC, devidp.AES256CBC, devidp.AES128GCM, devidp.AES256GCM} {
		root := sealed(t, idp, devidp.Encryption{Content: content}, true, false)
		bad := root.Copy()
		replaceSealed(t, bad, devidp.Encryption{Content: content}, tampered(t, idp))
		_, want := saml.Verify(written(t, bad), m, decrypting(true), now)
		wantCode(t, want, saml.CheckSignature)
		check := func(what string, changed *etree.Element) {
			t.Helper()
			a, err := saml.Verify(written(t, changed), m, decrypting(true), now)
			if err == nil {
				t.Fatalf("%s: taken as %q", what, a.NameID)
			}
			if !reflect.DeepEqual(fault.Of(err), fault.Of(want)) {
				t.Errorf("%s: %v, want the same as %v", what, err, want)
			}
		}
		for _, place := range []string{"EncryptedData/CipherData/CipherValue", "EncryptedData/KeyInfo/EncryptedKey/CipherData/CipherValue"} {
			value := root.FindElement("./EncryptedAssertion/" + place)
			size := len(value.Text()) / 4 * 3
			for at := 0; at < size-3; at += max(1, size/97) {
				changed := root.Copy()
				el := changed.FindElement("./EncryptedAssertion/" + place)
				el.SetText(flipped(t, value.Text(), at))
				// A flip in CBC's padding or in white space changes nothing that is read.
				if a, err := saml.Verify(written(t, changed), m, decrypting(true), now); err == nil && a.NameID == forge.Subject && strings.Contains(content, "cbc") {
					continue
				}
				check(fmt.Sprintf("%s: byte %d of %s", content, at, place), changed)
			}
		}
		if strings.Contains(content, "gcm") {
			changed := root.Copy()
			method := changed.FindElement("./EncryptedAssertion/EncryptedData/EncryptionMethod")
			method.CreateAttr("Algorithm", strings.Replace(strings.Replace(content, xmlenc11, xmlenc, 1), "gcm", "cbc", 1))
			value := changed.FindElement("./EncryptedAssertion/EncryptedData/CipherData/CipherValue")
			value.SetText(cutBase64(t, value.Text(), len(decoded(t, value.Text()))%16))
			check("one bad apple", changed)
		}
	}
}

func decoded(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func flipped(t testing.TB, s string, at int) string {
	t.Helper()
	b := decoded(t, s)
	b[at%len(b)] ^= 0x41
	return base64.StdEncoding.EncodeToString(b)
}

// tampered gives an assertion whose signature is over another name.
func tampered(tb testing.TB, idp *forge.IdP) string {
	tb.Helper()
	as := idp.Answer(requestID, now).Document().FindElement("./Assertion")
	if err := idp.Sign(as); err != nil {
		tb.Fatal(err)
	}
	as.FindElement("./Subject/NameID").SetText("mallory")
	return string(written(tb, as))
}

// TestSignedAroundEncrypted: the response's signature is over the encrypted
// form, so an assertion inside needs none; but a changed one is refused there.
func TestSignedAroundEncrypted(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	m := metadata(t, idp)
	root := sealed(t, idp, devidp.Encryption{}, false, true)
	other := root.Copy()
	again, err := devidp.Encryption{}.Seal([]byte(tampered(t, idp)), &ourKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	old := other.FindElement("./EncryptedAssertion")
	other.InsertChildAt(old.Index(), again)
	other.RemoveChild(old)
	_, got := saml.Verify(written(t, other), m, decrypting(false), now)
	wantCode(t, got, saml.CheckSignature)
	// Not ours to read, though signed: the refusal is the same as for a bad signature inside.
	want := decrypting(false)
	want.Decrypt = &saml.Decrypter{Keys: []*rsa.PrivateKey{otherKey(t)}}
	_, got = saml.Verify(written(t, root), m, want, now)
	wantCode(t, got, saml.CheckSignature)
}

func otherKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// BenchmarkPaddingOracle prints how long a flipped CBC ciphertext takes beside
// a bad signature inside an intact one. About 1 is right; the figure is an
// average over places, by AES-CBC, where it matters.
func BenchmarkPaddingOracle(b *testing.B) {
	idp := rsaIdP()
	m := metadata(b, idp)
	const value = "./EncryptedAssertion/EncryptedData/CipherData/CipherValue"
	cbc := devidp.Encryption{Content: devidp.AES128CBC}
	root := sealed(b, idp, cbc, true, false)
	size := len(decoded(b, root.FindElement(value).Text()))
	inside, err := cbc.Seal([]byte(tampered(b, idp)), &ourKey().PublicKey)
	if err != nil {
		b.Fatal(err)
	}
	bad := root.Copy()
	old := bad.FindElement("./EncryptedAssertion")
	bad.InsertChildAt(old.Index(), inside)
	bad.RemoveChild(old)
	refused := func(raw []byte) func() {
		return func() {
			if _, err := saml.Verify(raw, m, decrypting(true), now); err == nil {
				b.Fatal("accepted")
			}
		}
	}
	signature := refused(written(b, bad))
	for name, at := range map[string]int{"first block": 20, "middle": size / 2, "padding": size - 17, "key": -1} {
		b.Run(name, func(b *testing.B) {
			changed := root.Copy()
			el := changed.FindElement(value)
			if at < 0 {
				el, at = changed.FindElement("./EncryptedAssertion/EncryptedData/KeyInfo/EncryptedKey/CipherData/CipherValue"), 100
			}
			el.SetText(flipped(b, el.Text(), at))
			once := refused(written(b, changed))
			for b.Loop() {
				once()
			}
			ours := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(ours)/float64(each(b, signature)), "x/bad-signature")
		})
	}
}
