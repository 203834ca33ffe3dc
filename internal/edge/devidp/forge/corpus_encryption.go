package forge

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/edge/devidp"
)

// The settings that a case of the corpus needs beyond the strictest.
const (
	Encrypted        = "encrypted" // encrypted assertions are taken
	EncryptedWithCBC = "cbc"       // by AES-CBC too
	OnlyEncrypted    = "required"  // others are not
)

// encryption are attacks on encrypted assertions. All that they need is the
// public key, which anybody has. Behind the form of the encryption there is one
// refusal for what can't be read and for what does not verify: whoever changes
// a ciphertext must not learn what it opens to.
func (m *maker) encryption() {
	m.honestEncryption()
	m.sealedContent()
	m.sealedForms()
	m.sealedPlaces()
	m.paddings()
	m.add("encryption", "encrypted, where that is off", "saml.encrypted", m.encrypted(devidp.Encryption{}))
	m.with(OnlyEncrypted, "encryption", "in the clear, where it has to be encrypted", "saml.encrypted", m.answer(noChange))
}

// with adds a case that needs a setting.
func (m *maker) with(setting, class, name, check string, raw []byte) {
	m.add(class, name, check, raw)
	m.cases[len(m.cases)-1].Setting = setting
}

// encrypted is an honest signed assertion, encrypted.
func (m *maker) encrypted(e devidp.Encryption) []byte {
	return m.answer(func(a *devidp.Answer) { a.EncryptTo, a.Encryption = m.source.EncryptTo, e })
}

func (m *maker) honestEncryption() {
	add := func(name string, raw []byte) { m.with(Encrypted, "honest", name, "", raw) }
	for name, content := range map[string]string{"128": devidp.AES128GCM, "192": devidp.AES192GCM, "256": devidp.AES256GCM} {
		add("encrypted by AES-"+name+"-GCM", m.encrypted(devidp.Encryption{Content: content}))
	}
	add("encrypted, RSA-OAEP with SHA-256", m.encrypted(devidp.Encryption{Key: devidp.OAEP11}))
	add("encrypted, the key beside the data", m.encrypted(devidp.Encryption{Beside: true}))
	add("encrypted, the response signed around it", m.answer(func(a *devidp.Answer) {
		a.SignAssertion, a.SignReply, a.EncryptTo = false, true, m.source.EncryptTo
	}))
	add("encrypted, both signed", m.answer(func(a *devidp.Answer) { a.SignReply, a.EncryptTo = true, m.source.EncryptTo }))
	add("in the clear, where encryption may be", m.answer(noChange))
	for name, content := range map[string]string{"128": devidp.AES128CBC, "256": devidp.AES256CBC} {
		m.with(EncryptedWithCBC, "honest", "encrypted by AES-"+name+"-CBC", "", m.encrypted(devidp.Encryption{Content: content}))
	}
}

// seal puts content in the place of the assertion, encrypted.
func (m *maker) seal(e devidp.Encryption, content []byte) []byte {
	r := m.unsigned()
	as := m.find(r, "./Assertion")
	sealed, err := e.Seal(content, m.source.EncryptTo)
	m.fatal(err)
	r.InsertChildAt(as.Index(), sealed)
	remove(as)
	return m.write(r)
}

// alone is an honest signed assertion as a document of its own.
func (m *maker) alone(change func(assertion *etree.Element)) []byte {
	as := m.find(m.parse(m.answer(noChange)), "./Assertion")
	inherit(as, as.Parent())
	if change != nil {
		change(as)
	}
	return m.write(as.Copy())
}

// sealedContent is about what is inside.
func (m *maker) sealedContent() {
	add := func(name, check string, raw []byte) { m.with(Encrypted, "encryption", name, check, raw) }
	gcm := devidp.Encryption{}
	add("assertion unsigned inside, response unsigned", "saml.unsigned", m.answer(func(a *devidp.Answer) {
		a.SignAssertion, a.EncryptTo = false, m.source.EncryptTo
	}))
	add("assertion of a foreign key inside", "saml.signature", m.signedBy(m.evil, func(a *devidp.Answer) { a.EncryptTo = m.source.EncryptTo }))
	add("assertion changed and encrypted again", "saml.signature", m.seal(gcm, m.alone(func(as *etree.Element) { m.find(as, "./Subject/NameID").SetText("mallory") })))
	add("signature removed and encrypted again", "saml.unsigned", m.seal(gcm, m.alone(func(as *etree.Element) { remove(m.find(as, "./Signature")) })))
	add("forged assertion around the true one inside", "saml.shape", m.seal(gcm, m.alone(func(as *etree.Element) {
		inner := as.Copy()
		inherit(inner, as)
		as.CreateAttr("ID", "_forged")
		m.find(as, "./Subject/NameID").SetText("mallory")
		m.find(as, "./Signature").CreateElement("ds:Object").AddChild(inner)
	})))
	add("the true assertion hidden in Advice of a forged one inside", "saml.shape", m.seal(gcm, m.alone(func(as *etree.Element) {
		inner := as.Copy()
		remove(m.find(as, "./Signature"))
		as.CreateAttr("ID", "_forged")
		m.find(as, "./Subject/NameID").SetText("mallory")
		as.CreateElement("saml:Advice").AddChild(inner)
	})))
	nested, err := gcm.Seal(m.alone(nil), m.source.EncryptTo)
	m.fatal(err)
	add("encrypted twice", "saml.shape", m.seal(gcm, m.write(nested)))
	add("a response inside", "saml.shape", m.seal(gcm, m.answer(noChange)))
	add("two assertions inside", "saml.xml", m.seal(gcm, append(m.alone(nil), m.alone(nil)...)))
	add("no XML inside", "saml.xml", m.seal(gcm, []byte("hello")))
	add("nothing inside", "saml.encryption-shape", m.shortened())
	add("a document type inside", "saml.dtd", m.seal(gcm, append([]byte(`<!DOCTYPE r [<!ENTITY e "x">]>`), m.alone(nil)...)))
	add("a comment in the NameID inside", "saml.xml", m.seal(gcm, bytes.Replace(m.alone(nil), []byte(">"+m.subject+"<"), []byte(">"+m.subject+"<!---->.evil<"), 1)))
	add("20,000 nested elements inside", "saml.limits", m.seal(gcm, []byte(strings.Repeat("<x>", 20000)+strings.Repeat("</x>", 20000))))
	add("the response's ID inside", "saml.id", m.sameIDInside())
	add("audience of another service provider inside", "saml.audience", m.answer(func(a *devidp.Answer) {
		a.Audiences, a.EncryptTo = []string{"https://other.example/saml"}, m.source.EncryptTo
	}))
	add("over since ten minutes inside", "saml.confirmation-time", m.answer(func(a *devidp.Answer) {
		a.NotOnOrAfter, a.EncryptTo = m.now.Add(-10*time.Minute), m.source.EncryptTo
	}))
}

func (m *maker) sameIDInside() []byte {
	r := m.unsigned()
	as := m.find(r, "./Assertion")
	as.CreateAttr("ID", r.SelectAttrValue("ID", ""))
	m.fatal(m.idp.Sign(as))
	sealed, err := devidp.Encryption{}.Encrypt(as, m.source.EncryptTo)
	m.fatal(err)
	remove(as)
	r.AddChild(sealed)
	return m.write(r)
}

// resealed changes an encrypted response.
func (m *maker) resealed(e devidp.Encryption, change func(r, sealed *etree.Element)) []byte {
	r := m.parse(m.encrypted(e))
	change(r, m.find(r, "./EncryptedAssertion"))
	return m.write(r)
}

func (m *maker) shortened() []byte {
	return m.resealed(devidp.Encryption{}, func(_, sealed *etree.Element) { m.find(sealed, contentValue).SetText("AAAA") })
}

const (
	contentValue = "./EncryptedData/CipherData/CipherValue"
	keyValue     = ".//EncryptedKey/CipherData/CipherValue"
)

// sealedForms is about how the encryption is written.
func (m *maker) sealedForms() {
	add := func(name, check string, change func(r, sealed *etree.Element)) {
		m.with(Encrypted, "encryption", name, check, m.resealed(devidp.Encryption{}, change))
	}
	method := func(path, uri string) func(_, sealed *etree.Element) {
		return func(_, sealed *etree.Element) { m.find(sealed, path).CreateAttr("Algorithm", uri) }
	}
	m.with(Encrypted, "encryption", "AES-CBC, where that is off", "saml.algorithm", m.encrypted(devidp.Encryption{Content: devidp.AES256CBC}))
	m.with(Encrypted, "encryption", "key handed over by RSA 1.5 (Bleichenbacher 1998)", "saml.algorithm", m.encrypted(devidp.Encryption{Key: devidp.PKCS1v1}))
	add("content by Triple DES", "saml.algorithm", method("./EncryptedData/EncryptionMethod", nsEncryption+"tripledes-cbc"))
	add("content by an unknown algorithm", "saml.algorithm", method("./EncryptedData/EncryptionMethod", "urn:none"))
	add("content by no algorithm", "saml.algorithm", method("./EncryptedData/EncryptionMethod", ""))
	add("key by an unknown algorithm", "saml.algorithm", method(".//EncryptedKey/EncryptionMethod", nsEncryption+"kw-aes256"))
	add("OAEP with MD5", "saml.algorithm", method(".//EncryptedKey/EncryptionMethod/DigestMethod", "http://www.w3.org/2001/04/xmldsig-more#md5"))
	add("key of another length than the algorithm's", "saml.signature", method("./EncryptedData/EncryptionMethod", devidp.AES128GCM))
	add("one bit of the content flipped", "saml.signature", func(_, s *etree.Element) { m.flip(m.find(s, contentValue)) })
	add("one bit of the key flipped", "saml.signature", func(_, s *etree.Element) { m.flip(m.find(s, keyValue)) })
	add("content cut short", "saml.signature", func(_, s *etree.Element) {
		el := m.find(s, contentValue)
		raw, err := base64.StdEncoding.DecodeString(el.Text())
		m.fatal(err)
		el.SetText(base64.StdEncoding.EncodeToString(raw[:len(raw)-48]))
	})
	add("content of random bytes", "saml.signature", func(_, s *etree.Element) { m.find(s, contentValue).SetText(randomText(4000)) })
	add("key of random bytes", "saml.signature", func(_, s *etree.Element) { m.find(s, keyValue).SetText(randomText(256)) })
	add("key of ten bytes", "saml.signature", func(_, s *etree.Element) { m.find(s, keyValue).SetText(randomText(10)) })
	add("key of another response", "saml.signature", func(_, s *etree.Element) {
		other := m.parse(m.encrypted(devidp.Encryption{}))
		m.find(s, keyValue).SetText(m.find(other, ".//EncryptedKey/CipherData/CipherValue").Text())
	})
	stranger := New(m.tb, m.now)
	m.with(Encrypted, "encryption", "encrypted for another service provider", "saml.signature", m.answer(func(a *devidp.Answer) {
		a.EncryptTo = &stranger.Key.(*rsa.PrivateKey).PublicKey
	}))
	shape := func(name string, change func(r, sealed *etree.Element)) { add(name, "saml.encryption-shape", change) }
	shape("content not base64", func(_, s *etree.Element) { m.find(s, contentValue).SetText("%%%") })
	shape("key not base64", func(_, s *etree.Element) { m.find(s, keyValue).SetText("%%%") })
	shape("no key", func(_, s *etree.Element) { remove(m.find(s, ".//EncryptedKey")) })
	shape("two keys", func(_, s *etree.Element) {
		k := m.find(s, ".//EncryptedKey")
		k.Parent().AddChild(k.Copy())
	})
	shape("key named by a reference to a server", func(_, s *etree.Element) {
		k := m.find(s, ".//EncryptedKey")
		info := k.Parent()
		remove(k)
		info.CreateElement("ds:RetrievalMethod").CreateAttr("URI", "http://127.0.0.1:1/key")
	})
	shape("content by reference to a server", func(_, s *etree.Element) {
		v := m.find(s, contentValue)
		data := v.Parent()
		remove(v)
		data.CreateElement("xenc:CipherReference").CreateAttr("URI", "http://127.0.0.1:1/content")
	})
	shape("content by reference to a file", func(_, s *etree.Element) {
		v := m.find(s, contentValue)
		data := v.Parent()
		remove(v)
		data.CreateElement("xenc:CipherReference").CreateAttr("URI", "file:///etc/hostname")
	})
	shape("two contents", func(_, s *etree.Element) {
		d := m.find(s, "./EncryptedData")
		s.InsertChildAt(0, d.Copy())
	})
	shape("two cipher values", func(_, s *etree.Element) {
		v := m.find(s, contentValue)
		v.Parent().AddChild(v.Copy())
	})
	shape("content of an element's inside only", func(_, s *etree.Element) { m.find(s, "./EncryptedData").CreateAttr("Type", nsEncryption+"Content") })
	shape("nothing encrypted in it", func(_, s *etree.Element) { remove(m.find(s, "./EncryptedData")) })
	shape("a symmetric key by name", func(_, s *etree.Element) {
		k := m.find(s, ".//EncryptedKey")
		info := k.Parent()
		remove(k)
		info.CreateElement("ds:KeyName").SetText("shared")
	})
}

// sealedPlaces is about where encrypted assertions stand.
func (m *maker) sealedPlaces() {
	add := func(name, check string, change func(r, sealed *etree.Element)) {
		m.with(Encrypted, "encryption", name, check, m.resealed(devidp.Encryption{}, change))
	}
	add("two encrypted assertions", "saml.shape", func(r, s *etree.Element) { r.AddChild(s.Copy()) })
	add("a forged assertion in the clear before it", "saml.shape", func(r, s *etree.Element) { r.InsertChildAt(s.Index(), m.forgery()) })
	add("a forged assertion in the clear behind it", "saml.shape", func(r, _ *etree.Element) { r.AddChild(m.forgery()) })
	add("hidden in Extensions, a forged one in its place", "saml.shape", func(r, s *etree.Element) {
		remove(s)
		r.AddChild(m.forgery())
		e := etree.NewElement("samlp:Extensions")
		e.AddChild(s)
		r.InsertChildAt(1, e)
	})
	add("hidden in Advice of a forged one", "saml.shape", func(r, s *etree.Element) {
		remove(s)
		forged := m.forgery()
		forged.CreateElement("saml:Advice").AddChild(s)
		r.AddChild(forged)
	})
	add("in Extensions only", "saml.shape", func(r, s *etree.Element) {
		remove(s)
		e := etree.NewElement("samlp:Extensions")
		e.AddChild(s)
		r.InsertChildAt(1, e)
	})
	add("encrypted data without its assertion around", "saml.shape", func(r, s *etree.Element) {
		data := m.find(s, "./EncryptedData")
		inherit(data, s)
		remove(s)
		r.AddChild(data)
	})
	add("a signature in the encrypted part", "saml.signature-place", func(_, s *etree.Element) {
		s.AddChild(m.find(m.parse(m.answer(noChange)), "./Assertion/Signature").Copy())
	})
	add("in another letter case", "saml.shape", func(_, s *etree.Element) { s.Tag = "encryptedAssertion" })
	add("of another namespace", "saml.shape", func(_, s *etree.Element) { s.CreateAttr("xmlns:saml", "urn:x") })
	m.with(Encrypted, "encryption", "response signed, another encrypted assertion put in", "saml.signature", func() []byte {
		r := m.parse(m.answer(func(a *devidp.Answer) { a.SignAssertion, a.SignReply, a.EncryptTo = false, true, m.source.EncryptTo }))
		mine, err := devidp.Encryption{}.Encrypt(m.forgery(), m.source.EncryptTo)
		m.fatal(err)
		old := m.find(r, "./EncryptedAssertion")
		r.InsertChildAt(old.Index(), mine)
		remove(old)
		return m.write(r)
	}())
	m.with(Encrypted, "encryption", "encrypted NameID", "saml.encrypted", m.built(func(_, as *etree.Element) { m.find(as, "./Subject/NameID").Tag = "EncryptedID" }))
}

// forgery is an assertion for somebody else, not signed.
func (m *maker) forgery() *etree.Element {
	r := m.unsigned()
	as := m.find(r, "./Assertion")
	remove(as)
	as.CreateAttr("ID", "_forged")
	m.find(as, "./Subject/NameID").SetText("mallory")
	return as
}

// paddings change AES-CBC, which nothing authenticates (Jager and Somorovsky
// 2011): each answer has to be that of a bad signature.
func (m *maker) paddings() {
	add := func(name string, change func(raw []byte) []byte) {
		m.with(EncryptedWithCBC, "encryption", "AES-CBC, "+name, "saml.signature", m.resealed(devidp.Encryption{Content: devidp.AES128CBC}, func(_, s *etree.Element) {
			el := m.find(s, contentValue)
			raw, err := base64.StdEncoding.DecodeString(el.Text())
			m.fatal(err)
			el.SetText(base64.StdEncoding.EncodeToString(change(raw)))
		}))
	}
	bit := func(at func(raw []byte) int) func([]byte) []byte {
		return func(raw []byte) []byte {
			raw[at(raw)] ^= 1
			return raw
		}
	}
	add("a bit of the first block flipped", bit(func([]byte) int { return 0 }))
	add("a bit of the second block flipped", bit(func([]byte) int { return 17 }))
	add("a bit in the middle flipped", bit(func(raw []byte) int { return len(raw) / 2 }))
	add("a bit of the padding flipped", bit(func(raw []byte) int { return len(raw) - 17 }))
	add("a bit of the last block flipped", bit(func(raw []byte) int { return len(raw) - 1 }))
	add("the last block missing", func(raw []byte) []byte { return raw[:len(raw)-16] })
	add("two blocks swapped", func(raw []byte) []byte {
		half := len(raw) / 32 * 16
		return append(append(append([]byte{}, raw[:16]...), raw[half:]...), raw[16:half]...)
	})
	add("random content", func(raw []byte) []byte {
		rand.Read(raw)
		return raw
	})
	m.with(EncryptedWithCBC, "encryption", "AES-CBC, assertion unsigned inside", "saml.signature", m.answer(func(a *devidp.Answer) {
		a.SignAssertion, a.EncryptTo, a.Encryption.Content = false, m.source.EncryptTo, devidp.AES256CBC
	}))
	m.with(EncryptedWithCBC, "encryption", "AES-CBC, no XML inside", "saml.signature", m.seal(devidp.Encryption{Content: devidp.AES256CBC}, []byte(strings.Repeat("hello", 20))))
	m.with(EncryptedWithCBC, "encryption", "the same bit flipped in the clear", "saml.signature", m.changed(func(_, as *etree.Element) {
		m.flip(m.find(as, "./Signature/SignatureValue"))
	}))
}

func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}
