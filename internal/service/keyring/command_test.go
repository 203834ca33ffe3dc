package keyring_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/keyring"
)

// TestACommandRotates: a command on the host publishes a key, the servers use
// it once both know it, and nobody ever waits for a command.
func TestACommandRotates(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		k := keks(t, 1)
		a := open(t, sqltest.OpenWith(t, c), k, "a", time.Now)
		b := open(t, sqltest.OpenWith(t, c), k, "b", time.Now)
		old, _ := a.SessionTokenKeys().Current()
		db := sqltest.OpenWith(t, c)
		open(t, db, k, "", time.Now) // an earlier command, which knows only the old key
		command := open(t, db, k, "", time.Now)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(command.Rotate(t.Context(), keyring.SessionToken))
		if late := command.Waiting(); len(late) != 2 || !command.OnItsWay(keyring.SessionToken) || command.OnItsWay(keyring.Rest) {
			t.Fatalf("waiting for %+v", late)
		}
		must(a.Tend(t.Context()))
		must(command.Reload(t.Context()))
		if late := command.Waiting(); len(late) != 1 || late[0].Server != "b" {
			t.Fatalf("waiting for %+v", late)
		}
		must(b.Tend(t.Context()))
		must(command.Reload(t.Context()))
		if id, _ := b.SessionTokenKeys().Current(); id == old || command.OnItsWay(keyring.SessionToken) || len(command.Waiting()) != 0 {
			t.Error("the key isn't in use though every server knows it")
		}
	})
}

// TestARunningServerTakesTheNewFile: after a rewrap by a command the servers
// read their key file again; where it doesn't fit, they keep what they have.
func TestARunningServerTakesTheNewFile(t *testing.T) {
	db := sqltest.Open(t)
	both := keks(t, 2)
	old := both[1]
	file := keyring.KEKs{old}
	server, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keyring.KEKs{old},
		Reread: func() (keyring.KEKs, error) { return file, nil }, Server: "a", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	box, err := server.Seal("p", nil, []byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
	if err := open(t, db, both, "", time.Now).Rewrap(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	if err := server.Tend(t.Context()); !errors.Is(err, fault.Coded(fault.Misconfigured, "keyring.kek", "")) {
		t.Fatalf("with the old file: %v", err)
	}
	if got, err := server.Open("p", nil, box); err != nil || string(got) != "kept" {
		t.Errorf("the keys in memory: %q, %v", got, err)
	}
	file = both
	if err := server.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	file = keyring.KEKs{old} // what it has read once, it keeps
	if err := server.Rotate(t.Context(), keyring.Rest); err != nil {
		t.Error(err)
	}
}

func TestCheckWritesNothing(t *testing.T) {
	db := sqltest.Open(t)
	k := keks(t, 1)
	store := sqlkeyring.Store{DB: db}
	if err := keyring.Check(t.Context(), store, k); !errors.Is(err, fault.New(fault.Conflict, "")) {
		t.Errorf("an empty database: %v", err)
	}
	open(t, db, k, "", time.Now)
	before := dump(t, db)
	if err := keyring.Check(t.Context(), store, k); err != nil {
		t.Error(err)
	}
	if err := keyring.Check(t.Context(), store, keks(t, 1)); !errors.Is(err, fault.Coded(fault.Misconfigured, "keyring.kek", "")) {
		t.Errorf("the wrong key: %v", err)
	}
	if dump(t, db) != before {
		t.Error("a check wrote")
	}
}

func TestNobodyWaitsForAServerThatEnded(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		k := keks(t, 1)
		ends := open(t, sqltest.OpenWith(t, c), k, "ends", time.Now)
		stays := open(t, sqltest.OpenWith(t, c), k, "stays", time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); ends.Run(ctx, nil) }()
		cancel()
		<-done
		if err := stays.Rotate(t.Context(), keyring.SessionToken); err != nil {
			t.Fatal(err)
		}
		if stays.OnItsWay(keyring.SessionToken) || len(stays.Servers()) != 0 {
			t.Errorf("waiting for %+v", stays.Waiting())
		}
	})
}
