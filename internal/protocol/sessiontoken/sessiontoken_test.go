package sessiontoken

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"github.com/google/go-cmp/cmp"
)

type ring struct {
	current string
	keys    map[string][32]byte
}

func (r ring) Current() (string, [32]byte) { return r.current, r.keys[r.current] }
func (r ring) ByID(id string) ([32]byte, bool) {
	k, ok := r.keys[id]
	return k, ok
}

func testRing() ring {
	return ring{current: "k2", keys: map[string][32]byte{"k1": {1}, "k2": {2}}}
}

const keyID = "ASIAABCDEFGHIJKLMNOP"

var issued = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func full() Claims {
	return Claims{
		Role:   arn.Role{Partition: "aws", Account: "111122223333", Path: "/data/", Name: "analyst"},
		RoleID: "AROAXXXXXXXXXXXXXXXXX", SessionName: "alice@example.com",
		SecretKey: secret.New("0123456789abcdef0123456789abcdef"),
		IssuedAt:  issued, Expires: issued.Add(time.Hour), Epoch: 1<<63 + 7,
		Person: "psn_a", LoginSession: "lgn_b", OnNode: identity.OnNode{Cluster: "c"}, Delegation: "d",
		SourceIdentity: "alice", Tags: []Tag{{"team", "blue"}, {"empty", ""}},
		TransitiveTagKeys: []string{"team"}, Provider: "arn:aws:iam::111122223333:saml-provider/p",
		Subject: "alice", SubjectType: "persistent", NameQualifier: "nq",
		SessionPolicy: `{"Version":"2012-10-17"}`, SessionPolicyARNs: []string{"arn:aws:iam::aws:policy/x"},
	}
}

func same(t *testing.T, got, want Claims) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("claims changed (-want +got):\n%s", diff)
	}
}

func seal(t testing.TB, r ring, c Claims) secret.Text {
	t.Helper()
	token, err := Seal(r, keyID, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestSealedClaimsOpenUnchanged(t *testing.T) {
	t.Parallel()
	least := Claims{Role: full().Role, SecretKey: secret.New("s"), IssuedAt: issued, Expires: issued.Add(time.Hour)}
	for _, c := range []Claims{full(), least} {
		got, err := Open(testRing(), keyID, seal(t, testRing(), c), issued)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, c)
	}
}

func TestTokensOfOneKeyDiffer(t *testing.T) {
	t.Parallel()
	if seal(t, testRing(), full()).Equal(seal(t, testRing(), full())) {
		t.Fatal("two seals gave the same text: the nonce repeats")
	}
}

func TestTokenHidesTheSecretKey(t *testing.T) {
	t.Parallel()
	raw, err := base64.RawURLEncoding.DecodeString(seal(t, testRing(), full()).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{full().SecretKey.Reveal(), "alice", "analyst", keyID} {
		if bytes.Contains(raw, []byte(clear)) {
			t.Errorf("token shows %q", clear)
		}
	}
}

func TestRotationKeepsOldTokensAndRemovalEndsThem(t *testing.T) {
	t.Parallel()
	old := testRing()
	old.current = "k1"
	token := seal(t, old, full())
	if _, err := Open(testRing(), keyID, token, issued); err != nil {
		t.Errorf("after rotation: %v", err)
	}
	gone := testRing()
	delete(gone.keys, "k1")
	if _, err := Open(gone, keyID, token, issued); !errors.Is(err, ErrInvalid) {
		t.Errorf("after the key went: %v", err)
	}
}

func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	good := seal(t, testRing(), full()).Reveal()
	foreign := testRing()
	foreign.keys["k2"] = [32]byte{9}
	renamed := ring{current: "k1", keys: map[string][32]byte{"k1": {2}}} // same key under another id
	for name, tc := range map[string]struct {
		id, token string
		now       time.Time
		want      error
	}{
		"another access key":  {"ASIAABCDEFGHIJKLMNOQ", good, issued, ErrInvalid},
		"no access key":       {"", good, issued, ErrInvalid},
		"empty":               {keyID, "", issued, ErrInvalid},
		"not base64":          {keyID, good[:8] + "*" + good[9:], issued, ErrInvalid},
		"padded":              {keyID, good + "=", issued, ErrInvalid},
		"line break":          {keyID, good + "\n", issued, ErrInvalid},
		"cut":                 {keyID, good[:len(good)-4], issued, ErrInvalid},
		"longer":              {keyID, good + "AAAA", issued, ErrInvalid},
		"too long":            {keyID, strings.Repeat("A", MaxLength+4), issued, ErrInvalid},
		"foreign key":         {keyID, seal(t, foreign, full()).Reveal(), issued, ErrInvalid},
		"key id swapped":      {keyID, seal(t, renamed, full()).Reveal(), issued, ErrInvalid},
		"a JWT":               {keyID, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", issued, ErrInvalid},
		"at its end":          {keyID, good, issued.Add(time.Hour), ErrExpired},
		"long after":          {keyID, good, issued.Add(1e6 * time.Hour), ErrExpired},
		"expired and foreign": {"ASIA2", good, issued.Add(time.Hour), ErrInvalid},
	} {
		if _, err := Open(testRing(), tc.id, secret.New(tc.token), tc.now); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

// TestEveryBitCounts changes each byte of a token: none may open.
func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	raw, err := base64.RawURLEncoding.DecodeString(seal(t, testRing(), full()).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		text := base64.RawURLEncoding.EncodeToString(raw)
		if _, err := Open(testRing(), keyID, secret.New(text), issued); !errors.Is(err, ErrInvalid) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		raw[i] ^= 1
	}
}

func TestTooLargeIsPackedPolicyTooLarge(t *testing.T) {
	t.Parallel()
	c := full()
	last := 0
	for n := 0; ; n += 50 {
		c.SessionPolicy = strings.Repeat("x", n)
		token, err := Seal(testRing(), keyID, c)
		if err != nil {
			if f := fault.Of(err); f.Code != "PackedPolicyTooLarge" || PackedSize(c) <= 98 {
				t.Fatalf("at %d: %v, packed %d%%", n, err, PackedSize(c))
			}
			break
		}
		if len(token.Reveal()) > MaxLength {
			t.Fatalf("token of %d characters", len(token.Reveal()))
		}
		if p := PackedSize(c); p < last {
			t.Fatalf("packed size fell from %d to %d", last, p)
		} else {
			last = p
		}
	}
	if last < 95 {
		t.Errorf("the last token that fits says %d%% packed", last)
	}
}

func TestPackedSizeOfPlainSessionIsZero(t *testing.T) {
	t.Parallel()
	c := full()
	c.SessionPolicy, c.SessionPolicyARNs, c.Tags, c.TransitiveTagKeys = "", nil, nil, nil
	if got := PackedSize(c); got != 0 {
		t.Errorf("got %d", got)
	}
}

func TestSealRefusesHollowClaims(t *testing.T) {
	t.Parallel()
	c := full()
	c.SecretKey = secret.Text{}
	if _, err := Seal(testRing(), keyID, c); err == nil {
		t.Error("sealed without a secret key")
	}
	if _, err := Seal(testRing(), "", full()); err == nil {
		t.Error("sealed without an access key id")
	}
	if _, err := Seal(ring{}, keyID, full()); err == nil {
		t.Error("sealed without a key")
	}
}

func TestMalformedClaimsAreRefused(t *testing.T) {
	t.Parallel()
	good := encode(new(full()))
	tag := field(nil, fTagKey, "k")
	for name, b := range map[string][]byte{
		"empty":            {},
		"cut":              good[:len(good)-1],
		"unknown field":    append(bytes.Clone(good), field(nil, 60, "x")...),
		"field zero":       append(bytes.Clone(good), field(nil, 0, "x")...),
		"twice":            append(bytes.Clone(good), field(nil, fRoleID, "x")...),
		"tag key alone":    append(bytes.Clone(good), tag...),
		"two tag keys":     append(append(bytes.Clone(good), tag...), tag...),
		"value alone":      append(bytes.Clone(good), field(nil, fTagValue, "x")...),
		"not a role":       field(nil, fRole, "arn:aws:iam::1:role/x"),
		"number too long":  field(nil, fEpoch, "\x01\x01"),
		"number empty":     field(nil, fEpoch, ""),
		"length overflows": {fRole, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		if _, err := decode(b); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

// FuzzClaims feeds the reader of claims: what it accepts must encode to an
// equal reading, and it must not panic.
func FuzzClaims(f *testing.F) {
	files, _ := filepath.Glob("testdata/claims/*.bin")
	if len(files) == 0 {
		f.Fatal("no seed in testdata/claims")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(&c))
		if err != nil {
			t.Fatalf("re-encoded claims are refused: %v", err)
		}
		same(t, again, c)
	})
}

// TestSeedsAreCurrent keeps the fuzz seeds real: they decode today.
func TestSeedsAreCurrent(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"full", "least", "attached"} {
		b, err := os.ReadFile("testdata/claims/" + name + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkOpen is the check at the gateway; the design allows 10 µs.
func BenchmarkOpen(b *testing.B) {
	r, c := testRing(), full()
	token := seal(b, r, c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(r, keyID, token, issued); err != nil {
			b.Fatal(err)
		}
	}
	perOpen := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	bare := bareGCM(b, len(token.Reveal()))
	b.ReportMetric(perOpen/bare, "x-bare-gcm")
}

// bareGCM times only key schedule and decryption of as many bytes.
func bareGCM(b *testing.B, n int) float64 {
	key := [32]byte{2}
	g, err := aead(key)
	if err != nil {
		b.Fatal(err)
	}
	sealed := g.Seal(nil, make([]byte, nonceLength), make([]byte, n*3/4), nil)
	out := make([]byte, 0, n)
	const rounds = 2000
	start := time.Now()
	for range rounds {
		g, _ := aead(key)
		if _, err := g.Open(out, make([]byte, nonceLength), sealed, nil); err != nil {
			b.Fatal(err)
		}
	}
	return float64(time.Since(start).Nanoseconds()) / rounds
}

func Example() {
	token, _ := Seal(testRing(), keyID, full())
	c, err := Open(testRing(), keyID, token, issued)
	fmt.Println(c.Role, c.SecretKey, token, err)
	// Output: arn:aws:iam::111122223333:role/data/analyst [secret] [secret] <nil>
}
