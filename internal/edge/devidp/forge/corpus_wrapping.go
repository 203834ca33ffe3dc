package forge

import (
	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// wrapping are attacks that keep the true signed element somewhere and put a
// forged one where a careless reader looks (Somorovsky et al. 2012; XSW1-8 of
// SAML Raider; CVE-2022-41912; the "golden response" of 2025).
func (m *maker) wrapping() {
	m.wrappedResponses()
	m.wrappedAssertions()
	m.hidingPlaces()
	m.sameIDs()
}

func (m *maker) wrappedResponses() {
	add := func(name, check string, change func(r, as *etree.Element)) {
		m.add("wrapping", name, check, m.changedReply(change))
	}
	// The forged response stands outside; the true one, signed, is kept in the
	// signature's Object or beside.
	evil := func(r *etree.Element, detached bool) {
		signature := m.find(r, "./Signature")
		original := r.Copy()
		remove(m.find(original, "./Signature"))
		r.CreateAttr("ID", "_forged")
		m.find(r, "./Assertion/Subject/NameID").SetText("mallory")
		m.find(r, "./Assertion").CreateAttr("ID", "_forgedassertion")
		if detached {
			r.AddChild(original)
			return
		}
		signature.CreateElement("ds:Object").AddChild(original)
	}
	add("XSW1: forged response, the true one in the signature", "saml.shape", func(r, _ *etree.Element) { evil(r, false) })
	add("XSW2: forged response, the true one beside the signature", "saml.shape", func(r, _ *etree.Element) { evil(r, true) })
	add("golden response: signed error response with a forged assertion in Object", "saml.signature-shape", func(r, as *etree.Element) {
		twin := m.evilTwin(as, "_forged")
		remove(as)
		s := m.find(r, "./Signature")
		s.CreateElement("ds:Object")
		r.AddChild(twin)
	})
	add("response inside a response", "saml.id", func(r, _ *etree.Element) { r.AddChild(r.Copy()) })
	add("response inside a response, IDs of its own", "saml.shape", func(r, _ *etree.Element) {
		inner := r.Copy()
		inner.CreateAttr("ID", "_inner")
		remove(m.find(inner, "./Assertion"))
		remove(m.find(inner, "./Signature"))
		r.AddChild(inner)
	})
}

func (m *maker) wrappedAssertions() {
	add := func(name, check string, change func(r, as *etree.Element)) {
		m.add("wrapping", name, check, m.changed(change))
	}
	add("XSW3: forged assertion before the true one", "saml.shape", func(r, as *etree.Element) {
		r.InsertChildAt(as.Index(), m.evilTwin(as, "_forged"))
	})
	add("XSW4: the true assertion inside the forged one", "saml.shape", func(r, as *etree.Element) {
		twin := m.evilTwin(as, "_forged")
		remove(as)
		twin.AddChild(as)
		r.AddChild(twin)
	})
	add("XSW5: forged assertion with the signature, the true one beside", "saml.shape", func(r, as *etree.Element) {
		twin := m.evilTwin(as, "")
		remove(m.find(as, "./Signature"))
		as.CreateAttr("ID", "_forged")
		m.find(as, "./Subject/NameID").SetText("mallory")
		r.AddChild(twin)
	})
	add("XSW6: the true assertion inside the signature of the forged one", "saml.shape", func(_, as *etree.Element) {
		original := as.Copy()
		remove(m.find(original, "./Signature"))
		m.find(as, "./Subject/NameID").SetText("mallory")
		as.CreateAttr("ID", "_forged")
		m.find(as, "./Signature").AddChild(original)
	})
	add("XSW7: the forged assertion in Extensions", "saml.shape", func(r, as *etree.Element) {
		e := etree.NewElement("samlp:Extensions")
		e.AddChild(m.evilTwin(as, "_forged"))
		r.InsertChildAt(1, e)
	})
	add("XSW8: the true assertion in an Object of the forged one's signature", "saml.shape", func(_, as *etree.Element) {
		original := as.Copy()
		remove(m.find(original, "./Signature"))
		m.find(as, "./Subject/NameID").SetText("mallory")
		as.CreateAttr("ID", "_forged")
		m.find(as, "./Signature").CreateElement("ds:Object").AddChild(original)
	})
	add("two assertions, both signed", "saml.shape", func(r, _ *etree.Element) {
		r.AddChild(m.find(m.parse(m.answer(noChange)), "./Assertion").Copy())
	})
	add("second assertion unsigned, after the true one", "saml.shape", func(r, as *etree.Element) { r.AddChild(m.evilTwin(as, "_forged")) })
}

// hidingPlaces moves the true signed assertion where schemas admit anything,
// and puts a forged one in its place.
func (m *maker) hidingPlaces() {
	places := map[string]func(r, twin, as *etree.Element){
		"Extensions": func(r, _, as *etree.Element) {
			e := etree.NewElement("samlp:Extensions")
			e.AddChild(as)
			r.InsertChildAt(1, e)
		},
		"StatusDetail": func(r, _, as *etree.Element) { m.find(r, "./Status").CreateElement("samlp:StatusDetail").AddChild(as) },
		"StatusMessage": func(r, _, as *etree.Element) {
			m.find(r, "./Status").CreateElement("samlp:StatusMessage").AddChild(as)
		},
		"Advice": func(_, twin, as *etree.Element) { twin.CreateElement("saml:Advice").AddChild(as) },
		"AttributeValue": func(_, twin, as *etree.Element) {
			m.find(twin, "./AttributeStatement/Attribute/AttributeValue").AddChild(as)
		},
		"SubjectData": func(_, twin, as *etree.Element) {
			m.find(twin, "./Subject/SubjectConfirmation/SubjectConfirmationData").AddChild(as)
		},
		"unknown element": func(r, _, as *etree.Element) { r.CreateElement("samlp:Box").AddChild(as) },
		"own element": func(r, _, as *etree.Element) {
			b := r.CreateElement("x:Box")
			b.CreateAttr("xmlns:x", "urn:x")
			b.AddChild(as)
		},
	}
	for place, hide := range places {
		for _, kept := range []bool{true, false} {
			name, id := "true assertion hidden in "+place+", forged one with another ID", "_forged"
			if kept {
				name, id = "true assertion hidden in "+place+", forged one with the same ID", ""
			}
			check := "saml.shape"
			if kept {
				check = "saml.id"
			}
			m.add("wrapping", name, check, m.changed(func(r, as *etree.Element) {
				twin := m.evilTwin(as, id)
				remove(as)
				r.AddChild(twin)
				hide(r, twin, as)
			}))
		}
	}
	m.add("wrapping", "signature of the assertion moved to the response", "saml.signature-shape", m.changed(func(r, as *etree.Element) {
		s := m.find(as, "./Signature")
		remove(s)
		r.InsertChildAt(1, s)
	}))
	m.add("wrapping", "signature moved into the subject", "saml.signature-place", m.changed(func(_, as *etree.Element) {
		s := m.find(as, "./Signature")
		remove(s)
		m.find(as, "./Subject").AddChild(s)
	}))
	m.add("wrapping", "two signatures on one assertion", "saml.signature-place", m.changed(func(_, as *etree.Element) {
		as.AddChild(m.find(as, "./Signature").Copy())
	}))
	m.add("wrapping", "decoy signature in Extensions", "saml.signature-place", m.changed(func(r, as *etree.Element) {
		e := etree.NewElement("samlp:Extensions")
		e.AddChild(m.find(as, "./Signature").Copy())
		r.InsertChildAt(1, e)
	}))
	m.add("wrapping", "assertion of another namespace in front", "saml.shape", m.changed(func(r, as *etree.Element) {
		twin := m.evilTwin(as, "_forged")
		another(twin, "urn:x")
		r.InsertChildAt(as.Index(), twin)
	}))
	m.add("wrapping", "assertion by letter case", "saml.shape", m.changed(func(r, as *etree.Element) {
		twin := m.evilTwin(as, "_forged")
		twin.Tag = "assertion"
		r.InsertChildAt(as.Index(), twin)
	}))
}

// sameIDs plays on what an ID attribute is.
func (m *maker) sameIDs() {
	add := func(name, check string, change func(r, as *etree.Element)) {
		m.add("wrapping", name, check, m.changed(change))
	}
	add("response with the assertion's ID", "saml.id", func(r, as *etree.Element) { r.CreateAttr("ID", as.SelectAttrValue("ID", "")) })
	add("Id beside ID, in another letter case", "saml.signature", func(_, as *etree.Element) { as.CreateAttr("Id", "_other") })
	add("the ID in lower case on another element", "saml.id", func(r, as *etree.Element) {
		m.find(r, "./Status").CreateAttr("id", as.SelectAttrValue("ID", ""))
	})
	add("xml:id on the response", "saml.id", func(r, _ *etree.Element) { r.CreateAttr("xml:id", "_x") })
	add("ID with a prefix before the true one", "saml.id", func(r, as *etree.Element) {
		r.CreateAttr("xmlns:x", dsig.Namespace)
		as.Attr = append([]etree.Attr{{Space: "x", Key: "ID", Value: "_forged"}}, as.Attr...)
	})
	add("assertion without ID", "saml.id", func(_, as *etree.Element) { as.RemoveAttr("ID") })
}
