package saml_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

func codeOf(err error) string { return fault.Of(err).Code }

// seeds adds the files that match and fails when there are none: a fuzz target
// without seeds finds nothing and says so to nobody.
func seeds(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds in %s: %v", pattern, err)
	}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
}

// providersKept reads the metadata of those who signed the kept responses.
func providersKept(tb testing.TB) []*saml.Metadata {
	tb.Helper()
	var out []*saml.Metadata
	for _, name := range []string{"rsa", "ecdsa", "java-rsa", "java-ecdsa", "encrypting"} {
		src, err := os.ReadFile("testdata/metadata-" + name + ".xml")
		if err != nil {
			tb.Fatal(err)
		}
		m, err := saml.ParseMetadata(src)
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		out = append(out, m)
	}
	return out
}

// keptExpect reads the key that the kept encrypted responses are for; it is
// used nowhere else.
func keptExpect(tb testing.TB) saml.Expect {
	tb.Helper()
	src, err := os.ReadFile("testdata/decryption-key.pem")
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(src)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	want := expect()
	want.Decrypt = &saml.Decrypter{Keys: []*rsa.PrivateKey{key.(*rsa.PrivateKey)}, AllowCBC: true}
	return want
}

// TestKeptResponses verifies responses that were signed once, by this
// repository's identity provider and by the XML signatures of Java 17
// (testdata/java): another canonicalizer has to come to the same bytes.
func TestKeptResponses(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/responses/*.xml")
	if err != nil || len(names) < 19 {
		t.Fatalf("%d kept responses: %v", len(names), err)
	}
	providers, want := providersKept(t), keptExpect(t)
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			taken := 0
			for _, m := range providers {
				a, err := saml.Verify(src, m, want, now)
				if err == nil {
					taken++
					checkSeedFacts(t, a)
				} else if codeOf(err) != saml.CheckSignature {
					t.Error(err)
				}
			}
			if taken != 1 {
				t.Errorf("taken by %d of %d identity providers, want one", taken, len(providers))
			}
		})
	}
}

// FuzzVerify begins with real responses, whose keys are gone: whatever is taken
// has to say what they say.
func FuzzVerify(f *testing.F) {
	seeds(f, "testdata/responses/*.xml")
	providers, want := providersKept(f), keptExpect(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, m := range providers {
			if a, err := saml.Verify(src, m, want, now); err == nil {
				checkSeedFacts(t, a)
			} else if codeOf(err) == "" || fault.KindOf(err) == fault.Internal {
				t.Fatalf("refused without a name: %v", err)
			}
			if a, err := saml.VerifyForSTS(src, m, saml.STSExpect{Skew: saml.DefaultSkew, AllowSHA1: true}, now); err == nil {
				checkSeedFacts(t, a)
			}
		}
	})
}

// FuzzEncrypted encrypts what it makes up for us, as anybody can: whatever is
// taken has to say what the kept assertions say, which somebody else signed.
func FuzzEncrypted(f *testing.F) {
	for _, name := range []string{"rsa-assertion", "rsa-typed", "rsa-cdata", "ecdsa-both"} {
		src, err := os.ReadFile("testdata/responses/" + name + ".xml")
		if err != nil {
			f.Fatal(err)
		}
		const end = "</saml:Assertion>"
		from, to := bytes.Index(src, []byte("<saml:Assertion")), bytes.LastIndex(src, []byte(end))
		if from < 0 || to < from {
			f.Fatalf("%s holds no assertion", name)
		}
		f.Add(src[from : to+len(end)])
	}
	providers, want := providersKept(f), keptExpect(f)
	m := providers[0] // one verification for all of their keys: decryption is slow
	for _, other := range providers[1:] {
		m.Certificates = append(m.Certificates, other.Certificates...)
	}
	outer := rsaIdP().Answer(requestID, now).Document()
	outer.RemoveChild(outer.FindElement("./Assertion"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		sealed, err := devidp.Encryption{}.Seal(plain, &want.Decrypt.Keys[0].PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		response := outer.Copy()
		response.AddChild(sealed)
		if a, err := saml.Verify(written(t, response), m, want, now); err == nil {
			checkSeedFacts(t, a)
		} else if codeOf(err) == "" || fault.KindOf(err) == fault.Internal {
			t.Fatalf("refused without a name: %v", err)
		}
	})
}

func checkSeedFacts(t *testing.T, a *saml.Assertion) {
	t.Helper()
	pairs, malformed := saml.RolePairs(a)
	name, single := a.Single(saml.AttrRoleSessionName)
	if a.NameID != forge.Subject || a.Recipient != forge.ACS || len(pairs) != 1 || len(malformed) != 0 ||
		pairs[0].Role.String() != forge.Role || pairs[0].Provider.String() != forge.Provider || !single || name != forge.Subject {
		t.Fatalf("taken, and says something else: %+v", a)
	}
}

// FuzzParseMetadata holds that what is taken can be used.
func FuzzParseMetadata(f *testing.F) {
	seeds(f, "testdata/metadata-*.xml")
	f.Fuzz(func(t *testing.T, src []byte) {
		m, err := saml.ParseMetadata(src)
		if err != nil {
			if codeOf(err) == "" {
				t.Fatalf("refused without a name: %v", err)
			}
			return
		}
		if m.EntityID == "" || len(m.Certificates) == 0 || len(m.SSO) == 0 {
			t.Fatalf("taken without what is needed: %+v", m)
		}
		for _, e := range append(m.SSO, m.SLO...) {
			if !strings.HasPrefix(strings.ToLower(e.Location), "http") {
				t.Fatalf("location %q", e.Location)
			}
		}
	})
}

// FuzzRolePairs holds that a pair written out again is in the value.
func FuzzRolePairs(f *testing.F) {
	seeds(f, "testdata/roles/*.txt")
	f.Fuzz(func(t *testing.T, value []byte) {
		pairs, malformed := saml.RolePairs(withRoleValues(string(value)))
		if len(pairs)+len(malformed) != 1 {
			t.Fatalf("%d pairs and %d malformed of one value", len(pairs), len(malformed))
		}
		for _, p := range pairs {
			role, provider := p.Role.String(), p.Provider.String()
			if !strings.Contains(string(value), role) || !strings.Contains(string(value), provider) {
				t.Fatalf("%q gives %s and %s", value, role, provider)
			}
			if p.Swapped != (strings.Index(string(value), provider) < strings.Index(string(value), role)) {
				t.Fatalf("%q: swapped %v", value, p.Swapped)
			}
		}
	})
}
