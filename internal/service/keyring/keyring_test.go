package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/keyring"
)

var _ sessiontoken.Keys = keyring.TokenKeys{}

func keks(t testing.TB, n int) keyring.KEKs {
	t.Helper()
	var text []byte
	for range n {
		text = append(text, keyring.NewKEKFile()...)
	}
	k, err := keyring.ParseKEKs(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t testing.TB, db *sql.DB, k keyring.KEKs, server string, now func() time.Time) *keyring.Keyring {
	t.Helper()
	r, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: k, Server: server, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealedOpensOnlyWhereItBelongs(t *testing.T) {
	r := open(t, sqltest.Open(t), keks(t, 1), "a", time.Now)
	plain := []byte("AKIA and its secret")
	box, err := r.Seal("role-keys", []byte("row 1"), plain)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := r.Seal("role-keys", []byte("row 1"), plain); bytes.Equal(again, box) {
		t.Error("the same value sealed twice looks the same")
	}
	if bytes.Contains(box, plain[:8]) {
		t.Error("the sealed value shows its text")
	}
	if got, err := r.Open("role-keys", []byte("row 1"), box); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := r.Open("relay-state", []byte("row 1"), box); err == nil {
		t.Error("opened for another purpose")
	}
	if _, err := r.Open("role-keys", []byte("row 2"), box); err == nil {
		t.Error("opened for another row")
	}
	// The border between purpose and aad can't be moved.
	if _, err := r.Open("role-keysrow", []byte(" 1"), box); err == nil {
		t.Error("opened with the border moved")
	}
	for i := range box {
		bad := bytes.Clone(box)
		bad[i] ^= 1
		if _, err := r.Open("role-keys", []byte("row 1"), bad); !errors.Is(err, fault.Coded(fault.Invalid, "keyring.sealed", "")) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for n := range len(box) {
		if _, err := r.Open("role-keys", []byte("row 1"), box[:n]); err == nil {
			t.Fatalf("opened when cut to %d bytes", n)
		}
	}
}

func TestTheRingsAreApart(t *testing.T) {
	r := open(t, sqltest.Open(t), keks(t, 1), "a", time.Now)
	id, key := r.SessionTokenKeys().Current()
	if got, ok := r.SessionTokenKeys().ByID(id); !ok || got != key || key == [32]byte{} {
		t.Errorf("the current key %q isn't found by its id", id)
	}
	box, err := r.Seal("p", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.SessionTokenKeys().ByID(string(box[1:9])); ok {
		t.Error("the key of stored data serves session tokens")
	}
}

func TestServersShareOneRing(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		k := keks(t, 1)
		type opened struct {
			ring *keyring.Keyring
			err  error
		}
		results := make(chan opened, 3)
		for i := range 3 { // all start at once on a new database
			db := sqltest.OpenWith(t, c)
			go func() {
				r, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: k, Server: fmt.Sprint(i), Now: time.Now})
				results <- opened{r, err}
			}()
		}
		var first string
		for range 3 {
			o := <-results
			if o.err != nil {
				t.Fatal(o.err)
			}
			id, _ := o.ring.SessionTokenKeys().Current()
			if first != "" && id != first {
				t.Errorf("two servers seal under %q and %q", first, id)
			}
			first = id
		}
	})
}

func TestRotationWaitsForAllAndLogsNobodyOut(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }
		k := keks(t, 1)
		a := open(t, sqltest.OpenWith(t, c), k, "a", clock)
		b := open(t, sqltest.OpenWith(t, c), k, "b", clock)
		old, _ := a.SessionTokenKeys().Current()
		box, err := b.Seal("p", nil, []byte("kept"))
		if err != nil {
			t.Fatal(err)
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(a.Rotate(t.Context(), keyring.SessionToken))
		must(a.Rotate(t.Context(), keyring.Rest))
		if id, _ := a.SessionTokenKeys().Current(); id != old {
			t.Fatal("a new key is used before the other server knows it")
		}
		if err := a.Rotate(t.Context(), keyring.Rest); !errors.Is(err, fault.New(fault.Conflict, "")) {
			t.Errorf("a second rotation on the way: %v", err)
		}
		must(b.Tend(t.Context())) // b has loaded it, so all have
		must(a.Tend(t.Context()))
		id, key := a.SessionTokenKeys().Current()
		if id == old {
			t.Fatal("the new key isn't used though all servers know it")
		}
		if got, ok := b.SessionTokenKeys().ByID(id); !ok || got != key {
			t.Error("the other server doesn't know the key in use")
		}
		if _, ok := b.SessionTokenKeys().ByID(old); !ok {
			t.Error("tokens under the old key are refused")
		}
		if got, err := a.Open("p", nil, box); err != nil || string(got) != "kept" {
			t.Errorf("what was sealed before the rotation: %q, %v", got, err)
		}
		// b dies: a third rotation waits only until b is stale.
		must(a.Rotate(t.Context(), keyring.SessionToken))
		if got, _ := a.SessionTokenKeys().Current(); got != id {
			t.Error("a silent server wasn't waited for")
		}
		now = now.Add(keyring.ServerStale + time.Second)
		must(a.Tend(t.Context()))
		if got, _ := a.SessionTokenKeys().Current(); got == id {
			t.Error("a dead server holds the rotation for good")
		}
	})
}

func TestWrongKeyEncryptionKeyTouchesNothing(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		open(t, db, keks(t, 1), "a", time.Now)
		before := dump(t, db)
		_, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks(t, 1), Server: "b", Now: time.Now})
		if !errors.Is(err, fault.Coded(fault.Misconfigured, "keyring.kek", "")) {
			t.Fatalf("%v, want a clear refusal", err)
		}
		if after := dump(t, db); after != before {
			t.Errorf("the ring was touched:\n%s\n%s", before, after)
		}
	})
}

func dump(t *testing.T, db *sql.DB) string {
	t.Helper()
	s, err := sqlkeyring.Store{DB: db}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v", s)
}

func TestRewrapUnderANewKeyEncryptionKey(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		both := keks(t, 2)
		fresh, old := both[0], both[1]
		r := open(t, db, keyring.KEKs{old}, "a", time.Now)
		box, err := r.Seal("p", nil, []byte("kept"))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Rewrap(t.Context(), keyring.KEKs{fresh}); err == nil {
			t.Error("rewrapped without the old key")
		}
		if err := r.Rewrap(t.Context(), both); err != nil {
			t.Fatal(err)
		}
		again := open(t, db, keyring.KEKs{fresh}, "b", time.Now)
		if got, err := again.Open("p", nil, box); err != nil || string(got) != "kept" {
			t.Errorf("after the rewrap: %q, %v", got, err)
		}
		if _, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keyring.KEKs{old}, Server: "c", Now: time.Now}); err == nil {
			t.Error("the old key still opens the ring")
		}
	})
}

// TestStoredKeysAreBoundToTheirPlace: whoever can write the database can't
// turn one key into another, or bring an old one back under a new number.
func TestStoredKeysAreBoundToTheirPlace(t *testing.T) {
	for name, q := range map[string]string{
		"another ring":       `UPDATE keyring_key SET ring = 'other' WHERE ring = 'rest'`,
		"another generation": `UPDATE keyring_key SET generation = 9 WHERE ring = 'rest'`,
		"swapped keys": `UPDATE keyring_key SET wrapped =
			(SELECT k.wrapped FROM keyring_key k WHERE k.ring <> keyring_key.ring)`,
	} {
		db := sqltest.Open(t)
		k := keks(t, 1)
		open(t, db, k, "a", time.Now)
		err := db.Write(context.Background(), func(tx *sql.Tx) error { _, err := tx.Exec(q); return err })
		if err != nil {
			t.Fatal(err)
		}
		_, err = keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: k, Server: "b", Now: time.Now})
		if !errors.Is(err, fault.Coded(fault.Misconfigured, "keyring.damaged", "")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkSealOpen(b *testing.B) {
	r := open(b, sqltest.Open(b), keks(b, 1), "a", time.Now)
	plain := make([]byte, 1024)
	for b.Loop() {
		box, err := r.Seal("p", nil, plain)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Open("p", nil, box); err != nil {
			b.Fatal(err)
		}
	}
}
