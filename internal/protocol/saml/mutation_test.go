package saml_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/protocol/saml"
)

var mutants = flag.Int("mutants", 5000, "how many mutants of valid responses to try")

// honestResponse is one that is taken, and what it says.
type honestResponse struct {
	name  string
	raw   []byte
	want  saml.Expect
	facts saml.Assertion
	// plain is what was encrypted, and how: anybody can encrypt for us, so what
	// is inside is mutated too.
	plain      []byte
	encryption devidp.Encryption
}

// honestResponses gives the honest variants of the corpus, and encrypted ones
// signed in every way, by AES-GCM and AES-CBC.
func honestResponses(t *testing.T, m *saml.Metadata) (out []honestResponse) {
	t.Helper()
	for _, c := range rsaCorpus() {
		if c.Check == "" && c.Name != "900 roles" {
			out = append(out, honestResponse{name: c.Name, raw: c.Raw, want: decrypting(true)})
		}
	}
	for _, e := range []devidp.Encryption{{Content: devidp.AES128GCM}, {Content: devidp.AES256CBC, Beside: true}} {
		for _, signed := range [][2]bool{{true, false}, {false, true}, {true, true}} {
			h := honestResponse{name: fmt.Sprintf("encrypted by %s, signed %v", e.Content, signed), want: decrypting(true), encryption: e}
			root := sealed(t, rsaIdP(), e, signed[0], signed[1])
			if !signed[1] { // else the signature around stops every other content
				as := rsaIdP().Answer(requestID, now).Document().FindElement("./Assertion")
				if err := rsaIdP().Sign(as); err != nil {
					t.Fatal(err)
				}
				h.plain = written(t, as)
				replaceSealed(t, root, e, string(h.plain))
			}
			h.raw = written(t, root)
			out = append(out, h)
		}
	}
	for i := range out {
		a, err := saml.Verify(out[i].raw, m, out[i].want, now)
		if err != nil {
			t.Fatalf("%s: %v", out[i].name, err)
		}
		out[i].facts = withoutResponse(a)
	}
	return out
}

// mutant mutates the response or, half the time where there is one, what is
// encrypted in it.
func (h honestResponse) mutant(t *testing.T, rng *rand.Rand) []byte {
	if h.plain == nil || rng.IntN(2) == 0 {
		return mutate(t, rng, h.raw)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(h.raw); err != nil {
		t.Fatal(err)
	}
	replaceSealed(t, doc.Root(), h.encryption, string(mutate(t, rng, h.plain)))
	return written(t, doc.Root())
}

// TestMutants flips, removes, doubles and moves bytes and nodes of valid
// responses: no mutant that is taken says anything else.
func TestMutants(t *testing.T) {
	t.Parallel()
	m := metadata(t, rsaIdP())
	valid := honestResponses(t, m)
	rng := rand.New(rand.NewPCG(20261121, uint64(*mutants)))
	taken, reached := 0, map[string]int{}
	for i := range *mutants {
		h := valid[i%len(valid)]
		mutant := h.mutant(t, rng)
		a, err := saml.Verify(mutant, m, h.want, now)
		if err != nil {
			reached[codeOf(err)]++
			continue
		}
		taken++
		if got := withoutResponse(a); !reflect.DeepEqual(got, h.facts) {
			t.Fatalf("mutant %d of %q is taken and says something else:\n%+v\nwas\n%+v\n%s", i, h.name, got, h.facts, mutant)
		}
	}
	t.Logf("%d mutants: %d taken unchanged, refused by %v", *mutants, taken, reached)
	// A mutation that the reader always stops would prove nothing of the checks behind it.
	if taken == 0 || reached[saml.CheckSignature] < *mutants/10 || len(reached) < 8 {
		t.Errorf("the mutants do not reach the checks: %d taken, refused by %v", taken, reached)
	}
}

// withoutResponse leaves out the ID of the response, which a mutant may lose
// with the response's own signature: the assertion's still holds.
func withoutResponse(a *saml.Assertion) saml.Assertion {
	c := *a
	c.ResponseID = ""
	return c
}

func mutate(t *testing.T, rng *rand.Rand, raw []byte) []byte {
	if rng.IntN(3) == 0 {
		return mutateBytes(rng, raw)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil {
		t.Fatal(err)
	}
	for range 1 + rng.IntN(2) {
		mutateTree(rng, doc.Root())
	}
	out, err := doc.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mutateBytes(rng *rand.Rand, raw []byte) []byte {
	out := append([]byte(nil), raw...)
	at := rng.IntN(len(out))
	end := min(len(out), at+1+rng.IntN(40))
	switch rng.IntN(4) {
	case 0: // flip
		out[at] ^= 1 << rng.IntN(8)
	case 1: // remove
		out = append(out[:at], out[end:]...)
	case 2: // double
		out = append(out[:end], append(append([]byte(nil), out[at:end]...), out[end:]...)...)
	default: // put in
		pieces := []string{"<!---->", "<![CDATA[x]]>", " ", "&amp;", "<x/>", "mallory", "\r\n", "]]>", "xmlns=\"urn:x\"", " ID=\"_x\""}
		piece := pieces[rng.IntN(len(pieces))]
		out = append(out[:at], append([]byte(piece), out[at:]...)...)
	}
	return out
}

func mutateTree(rng *rand.Rand, root *etree.Element) {
	all := root.FindElements("//*")
	if len(all) == 0 {
		return
	}
	el, other := all[rng.IntN(len(all))], all[rng.IntN(len(all))]
	if el == root || el.Parent() == nil {
		return
	}
	switch rng.IntN(8) {
	case 0:
		el.Parent().RemoveChild(el)
	case 1:
		el.Parent().InsertChildAt(el.Index(), el.Copy())
	case 2: // move, but never into itself
		moved := el.Copy()
		el.Parent().RemoveChild(el)
		other.AddChild(moved)
	case 3:
		copied := el.Copy()
		if len(copied.Child) == 0 {
			copied.SetText("mallory")
		}
		other.InsertChildAt(0, copied)
	case 4:
		el.SetText([]string{"mallory", "", "arn:aws:iam::111122223333:role/admin,arn:aws:iam::111122223333:saml-provider/dev-idp", other.Text()}[rng.IntN(4)])
	case 5:
		if len(el.Attr) > 0 {
			a := &el.Attr[rng.IntN(len(el.Attr))]
			a.Value = []string{"", "_x", "2099-01-01T00:00:00Z", "urn:x", a.Value + " "}[rng.IntN(5)]
		}
	case 6:
		el.CreateAttr([]string{"ID", "Id", "xmlns", "Recipient", "NotOnOrAfter", "x"}[rng.IntN(6)], "urn:x")
	default:
		el.Tag = other.Tag
	}
}
