package provisioning_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/provisioning"
)

// kept are credentials in memory, which can't be read for a while.
type kept struct {
	mu   sync.Mutex
	all  []provisioning.Credential
	away int // how many readings fail
}

func (k *kept) AddCredential(_ context.Context, c provisioning.Credential, _ int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, c)
	return nil
}

func (k *kept) List(context.Context) ([]provisioning.Credential, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away > 0 {
		k.away--
		return nil, errors.New("the database is away")
	}
	return append([]provisioning.Credential(nil), k.all...), nil
}

func (k *kept) RemoveCredential(context.Context, identity.CredentialID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all, k.away = nil, 3
	return nil
}

func (k *kept) Touch(context.Context, identity.CredentialID, time.Time) error { return nil }

func (k *kept) Atomic(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (k *kept) Record(context.Context, event.Event) error { return nil }

// A database that is away for a moment, just when a server hears that a credential was
// removed, must not let it count on until the next change.
func TestAttackRemovedCredentialWhileTheDatabaseIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		s, err := provisioning.Open(t.Context(), provisioning.Config{Credentials: k, State: k, Trail: k, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		c, bearer, err := s.MakeCredential(t.Context(), provisioning.NewCredential{IdP: "idp_a", Label: "directory", Owner: "ops"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(t.Context(), bearer); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		changed, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); s.Run(ctx, changed) }()
		if err := s.RemoveCredential(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		changed <- struct{}{}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if _, err := s.Authenticate(t.Context(), bearer); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a credential that was removed is taken: %v", err)
		}
		stop()
		<-done
	})
}
