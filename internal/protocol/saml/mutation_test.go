package saml_test

import (
	"flag"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

var mutants = flag.Int("mutants", 5000, "how many mutants of valid responses to try")

// TestMutants flips, removes, doubles and moves bytes and nodes of valid
// responses: no mutant that is taken says anything else.
func TestMutants(t *testing.T) {
	t.Parallel()
	m := metadata(t, rsaIdP())
	var valid []forge.Case
	facts := map[string]saml.Assertion{}
	for _, c := range rsaCorpus() {
		if c.Check != "" || c.Name == "900 roles" {
			continue
		}
		a, err := saml.Verify(c.Raw, m, expect(), now)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		facts[c.Name] = withoutResponse(a)
		valid = append(valid, c)
	}
	rng := rand.New(rand.NewPCG(20261121, uint64(*mutants)))
	taken, reached := 0, map[string]int{}
	for i := range *mutants {
		c := valid[i%len(valid)]
		mutant := mutate(t, rng, c.Raw)
		a, err := saml.Verify(mutant, m, expect(), now)
		if err != nil {
			reached[codeOf(err)]++
			continue
		}
		taken++
		if got := withoutResponse(a); !reflect.DeepEqual(got, facts[c.Name]) {
			t.Fatalf("mutant %d of %q is taken and says something else:\n%+v\nwas\n%+v\n%s", i, c.Name, got, facts[c.Name], mutant)
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
