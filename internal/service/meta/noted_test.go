package meta_test

import (
	"context"
	"errors"
	"testing"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// ledger keeps what is noted, or refuses.
type ledger struct {
	keys   []withdrawal.Key
	broken error
}

func (l *ledger) Issued(_ context.Context, _ string, k withdrawal.Key) error {
	l.keys = append(l.keys, k)
	return l.broken
}

// TestKeysAreNoted by the name of the person; what can't be noted is not given.
func TestKeysAreNoted(t *testing.T) {
	t.Parallel()
	s, l := open(t, &world{}), &ledger{}
	s.Ledger = l
	keys, err := s.Keys(t.Context(), ann())
	if err != nil || len(l.keys) != 1 {
		t.Fatalf("%v; noted %+v", err, l.keys)
	}
	if k := l.keys[0]; k.AccessKeyID != keys.AccessKeyID || k.SessionName != identity.SessionName("Ann Böhm@example.com") || k.Person != "psn_ann" || k.Delegation != "dlg_a" ||
		k.Subject != "" || !k.Until.Equal(keys.Expiration) || k.Role != reader {
		t.Errorf("noted %+v", k)
	}
	l.broken = errors.New("full")
	if keys, err := s.Keys(t.Context(), ann()); !errors.Is(err, l.broken) || keys.AccessKeyID != "" {
		t.Errorf("keys that can't be noted: %v", err)
	}
}
