package spkeys_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqlspkeys "carnet.dev/carnet/internal/edge/sql/spkeys"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/spkeys"
)

// trail keeps what was recorded.
type trail struct {
	mu     sync.Mutex
	events []event.Event
}

func (t *trail) Record(_ context.Context, e event.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
	return nil
}

func (t *trail) actions() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, e := range t.events {
		all = append(all, e.Action+":"+e.Detail["purpose"])
	}
	return strings.Join(all, " ")
}

func ring(t *testing.T, db *sql.DB, keks keyring.KEKs) *keyring.Keyring {
	t.Helper()
	k, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keks(t *testing.T) keyring.KEKs {
	t.Helper()
	k, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, db *sql.DB, sealer spkeys.Sealer, to *trail) *spkeys.Service {
	t.Helper()
	s, err := spkeys.Open(t.Context(), spkeys.Config{Store: sqlspkeys.Store{DB: db}, Sealer: sealer, State: db, Trail: to, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func states(s *spkeys.Service) string {
	var all []string
	for _, k := range s.List() {
		all = append(all, string(k.Purpose)+":"+string(k.State))
	}
	return strings.Join(all, " ")
}

// TestFirstKeys: two servers that start at once end with the same pair.
func TestFirstKeys(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	sealer, to := ring(t, db, keks(t)), &trail{}
	var both [2]*spkeys.Service
	var starts sync.WaitGroup
	for i := range both {
		starts.Go(func() { both[i] = open(t, db, sealer, to) })
	}
	starts.Wait()
	const want = "signing:current encryption:current"
	if a, b := states(both[0]), states(both[1]); a != want || b != want {
		t.Fatalf("keys %q and %q", a, b)
	}
	for i, k := range both[0].List() {
		if k.ID != both[1].List()[i].ID {
			t.Errorf("two servers have two current keys for %s", k.Purpose)
		}
		if k.Certificate.NotAfter.Before(time.Now().AddDate(9, 0, 0)) || !strings.HasPrefix(k.ID, "spk_") || len(k.Fingerprint()) != 64 {
			t.Errorf("key %+v", k)
		}
	}
}

// TestChangeOfKeys walks a key through its life, with its records, and another
// server follows.
func TestChangeOfKeys(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	sealer, to := ring(t, db, keks(t)), &trail{}
	s, other := open(t, db, sealer, to), open(t, db, sealer, &trail{})
	first := s.List()[1]
	if _, err := s.Promote(t.Context(), spkeys.Encryption); fault.KindOf(err) != fault.Conflict {
		t.Errorf("without a next key: %v", err)
	}
	if _, err := s.Add(t.Context(), "decoration"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a purpose that there is not: %v", err)
	}
	next, err := s.Add(t.Context(), spkeys.Encryption)
	if err != nil || next.State != spkeys.Next {
		t.Fatalf("Add = %+v, %v", next, err)
	}
	if _, err := s.Add(t.Context(), spkeys.Encryption); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second next key: %v", err)
	}
	if err := s.Remove(t.Context(), first.ID); fault.KindOf(err) != fault.Conflict {
		t.Errorf("removing the current key: %v", err)
	}
	if now, err := s.Promote(t.Context(), spkeys.Encryption); err != nil || now.ID != next.ID || now.State != spkeys.Current {
		t.Errorf("Promote = %+v, %v", now, err)
	}
	const want = "signing:current encryption:current encryption:retired"
	if got := states(s); got != want {
		t.Errorf("keys %q", got)
	}
	for range 200 {
		if states(other) == want {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := states(other); got != want {
		t.Errorf("the other server has %q", got)
	}
	if err := s.Remove(t.Context(), first.ID); err != nil {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), first.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removing what is gone: %v", err)
	}
	if got := to.actions(); got != "saml-key.add:signing saml-key.add:encryption saml-key.add:encryption saml-key.promote:encryption saml-key.remove:encryption" {
		t.Errorf("recorded %q", got)
	}
}

// TestTooManyKeys: retired keys are tried one after the other, so they are few.
func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	s := open(t, db, ring(t, db, keks(t)), &trail{})
	for range 4 {
		if _, err := s.Add(t.Context(), spkeys.Signing); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Promote(t.Context(), spkeys.Signing); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Add(t.Context(), spkeys.Signing); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "too many") {
		t.Errorf("a sixth key: %v", err)
	}
}

// TestExport gives out an encryption key only, and says so in the trail.
func TestExport(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	to := &trail{}
	s := open(t, db, ring(t, db, keks(t)), to)
	signing, encryption := s.List()[0], s.List()[1]
	if _, err := s.Export(t.Context(), signing.ID); fault.KindOf(err) != fault.Denied {
		t.Errorf("a signing key: %v", err)
	}
	if _, err := s.Export(t.Context(), "spk_none"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no key: %v", err)
	}
	text, err := s.Export(t.Context(), encryption.ID)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil {
		t.Fatal("no PEM")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := private.(*rsa.PrivateKey); !ok || !key.PublicKey.Equal(encryption.Certificate.PublicKey) {
		t.Error("what was exported is not the certificate's key")
	}
	if !strings.HasSuffix(to.actions(), "saml-key.export:encryption") {
		t.Errorf("recorded %q", to.actions())
	}
}

// TestPrivateKeysRestSealed: without the key ring the rows hold nothing, and a
// row under another id opens for nobody.
func TestPrivateKeysRestSealed(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	sealer := ring(t, db, keks(t))
	s := open(t, db, sealer, &trail{})
	text, err := s.Export(t.Context(), s.List()[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text.Reveal()))
	rows, err := sqlspkeys.Store{DB: db}.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if bytes.Contains(r.Sealed, block.Bytes[100:200]) {
			t.Error("a private key lies open in the database")
		}
		if _, err := sealer.Open("saml-key", []byte("spk_another"), r.Sealed); err == nil {
			t.Error("a row opens under another id")
		}
	}
}

// TestUse: what is published and what opens follows a change of keys.
func TestUse(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	s := open(t, db, ring(t, db, keks(t)), &trail{})
	counts := func(want ...int) {
		t.Helper()
		sp, d := s.SP("https://carnet.example.com/saml/consume"), s.Decrypter(true)
		if got := []int{len(sp.Signing), len(sp.Encryption), len(d.Keys)}; !slices.Equal(got, want) || !d.AllowCBC || sp.URL == "" {
			t.Errorf("published for signing, for encryption, opening: %v, want %v", got, want)
		}
	}
	counts(1, 1, 1)
	signer := s.Signer()
	if !signer.Key.PublicKey.Equal(signer.Certificate.PublicKey) || !signer.Certificate.Equal(s.SP("x").Signing[0]) {
		t.Error("what signs is not what is published first")
	}
	for _, p := range spkeys.Purposes() {
		if _, err := s.Add(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	counts(2, 2, 2)
	if !s.Signer().Certificate.Equal(signer.Certificate) {
		t.Error("a key signs before it was brought into use")
	}
	for _, p := range spkeys.Purposes() {
		if _, err := s.Promote(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	counts(1, 1, 2)
	if s.Signer().Certificate.Equal(signer.Certificate) {
		t.Error("the old key still signs")
	}
}
