package saml_test

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

func withRoles(tb testing.TB, idp *forge.IdP, n int) []byte {
	tb.Helper()
	a := idp.Answer(requestID, now)
	a.Attributes[0].Values = nil
	for i := range n {
		a.Attributes[0].Values = append(a.Attributes[0].Values, fmt.Sprintf("arn:aws:iam::111122223333:role/team-%03d,%s", i, forge.Provider))
	}
	return idp.Respond(tb, a)
}

// BenchmarkVerify verifies a response and maps its roles, and prints the ratio
// to the signature library alone (tree and Validate) and to the bare RSA
// operation, measured in the same run.
func BenchmarkVerify(b *testing.B) {
	idp := rsaIdP()
	m := metadata(b, idp)
	for _, roles := range []int{1, 20, 100, 900} {
		raw := withRoles(b, idp, roles)
		b.Run(fmt.Sprintf("roles=%d", roles), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				a, err := saml.Verify(raw, m, expect(), now)
				if err != nil {
					b.Fatal(err)
				}
				if pairs, _ := saml.RolePairs(a); len(pairs) != roles {
					b.Fatalf("%d pairs", len(pairs))
				}
			}
			ours := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(ours)/float64(libraryAlone(b, raw, idp)), "x/library")
			b.ReportMetric(float64(ours)/float64(bareRSA(b, idp)), "x/rsa")
		})
	}
}

// each times f over enough rounds to be steady.
func each(b *testing.B, f func()) time.Duration {
	b.Helper()
	f()
	begin, n := time.Now(), 0
	for ; n < 20 || time.Since(begin) < 200*time.Millisecond; n++ {
		f()
	}
	return time.Since(begin) / time.Duration(n)
}

func libraryAlone(b *testing.B, raw []byte, idp *forge.IdP) time.Duration {
	b.Helper()
	ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{idp.Certificate}})
	ctx.Clock = dsig.NewFakeClockAt(now)
	return each(b, func() {
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(raw); err != nil {
			b.Fatal(err)
		}
		if _, err := ctx.Validate(doc.FindElement("./Response/Assertion")); err != nil {
			b.Fatal(err)
		}
	})
}

func bareRSA(b *testing.B, idp *forge.IdP) time.Duration {
	b.Helper()
	message := []byte("signed")
	ctx, err := dsig.NewSigningContext(idp.Key, nil)
	if err != nil {
		b.Fatal(err)
	}
	signature, err := ctx.SignString(string(message))
	if err != nil {
		b.Fatal(err)
	}
	if _, ok := idp.Key.(*rsa.PrivateKey); !ok {
		b.Fatal("want an RSA key")
	}
	return each(b, func() {
		if err := idp.Certificate.CheckSignature(x509.SHA256WithRSA, message, signature); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkRefuse shows that size and structure are refused before they cost.
func BenchmarkRefuse(b *testing.B) {
	idp := rsaIdP()
	m := metadata(b, idp)
	for _, c := range rsaCorpus() {
		if c.Class != "exhaustion" {
			continue
		}
		b.Run(c.Name, func(b *testing.B) {
			for b.Loop() {
				if _, err := saml.Verify(c.Raw, m, expect(), now); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// BenchmarkRespond is the development identity provider's side, for scale.
func BenchmarkRespond(b *testing.B) {
	idp := rsaIdP()
	for b.Loop() {
		if _, err := idp.Signer.Respond(idp.Answer(devidp.NewID(), now)); err != nil {
			b.Fatal(err)
		}
	}
}
