package web_test

import (
	"testing"
	"time"

	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/keyring"
)

// newTrail opens a real trail.
func newTrail(t *testing.T) (*audit.Writer, *audit.Reader) {
	t.Helper()
	db := sqltest.Open(t)
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Server: "s", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now
	store := sqlaudit.Store{DB: db}
	w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: ring, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return w, audit.NewReader(audit.ReaderConfig{Trail: store, Recorder: w, Now: now})
}
