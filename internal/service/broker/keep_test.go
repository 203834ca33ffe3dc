package broker_test

import (
	"bytes"
	"testing"
	"time"

	sqlbroker "carnet.dev/carnet/internal/edge/sql/broker"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/keyring"
)

// TestKeysRestSealed goes through the real store and the real key ring.
func TestKeysRestSealed(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Server: "a", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	store := sqlbroker.Store{DB: db}
	b := broker.New(broker.Config{STS: &authority{}, Store: store, Sealer: ring, Now: time.Now})
	r := request(t, "a", "b")
	out, err := b.Exchange(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	out[1].Failure = &broker.Failure{Code: "AccessDenied", Message: "no", Mend: "mend"}
	if err := b.Keep(t.Context(), r, out); err != nil {
		t.Fatal(err)
	}
	got, err := b.Kept(t.Context(), "lgn_a")
	if err != nil {
		t.Fatal(err)
	}
	if keys := got[0].Session.Credentials; len(got) != 2 || keys.SecretAccessKey.Reveal() != "key of a" || keys.SessionToken.Reveal() != "token of a" ||
		keys.AccessKeyID != "ASIAA" || !keys.Expiration.Equal(out[0].Session.Credentials.Expiration) || got[0].Session.SessionName != "ann" {
		t.Errorf("kept %+v", got)
	}
	if got[1].Failure == nil || *got[1].Failure != *out[1].Failure || got[1].Role != out[1].Role || got[1].Index != 1 {
		t.Errorf("kept failure %+v", got[1])
	}
	rows, err := store.Load(t.Context(), "lgn_a")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if bytes.Contains(row.Sealed, []byte("key of")) || bytes.Contains(row.Sealed, []byte("token of")) {
			t.Error("keys rest unsealed")
		}
	}

	// Sealed keys open in their own row only.
	if err := store.Save(t.Context(), "lgn_b", rows, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Kept(t.Context(), "lgn_b"); err == nil {
		t.Error("the keys of another login session were opened")
	}
	rows[0].Role = role(t, "admin").String()
	if err := store.Save(t.Context(), "lgn_c", rows[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Kept(t.Context(), "lgn_c"); err == nil {
		t.Error("keys were opened as those of another role")
	}

	if err := b.Forget(t.Context(), "lgn_a"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Kept(t.Context(), "lgn_a"); err != nil || len(got) != 0 {
		t.Errorf("after Forget: %v, %v", got, err)
	}
}
