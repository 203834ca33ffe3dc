package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// ledger keeps what is noted, or refuses.
type ledger struct {
	ids    []string
	keys   []withdrawal.Key
	broken error
}

func (l *ledger) Issued(_ context.Context, id string, k withdrawal.Key) error {
	l.ids, l.keys = append(l.ids, id), append(l.keys, k)
	return l.broken
}

// TestKeysOfAWSAreNoted: those of a renewal by the token that bought them and by name,
// an ID token that somebody asks for by its id; what can't be noted is not given.
func TestKeysOfAWSAreNoted(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		l := &ledger{}
		w.Ledger = l
		time.Sleep(time.Until(o.Session.Credentials.Expiration))
		got, err := w.Fresh(t.Context(), "lgn_1", o)
		if err != nil || len(l.keys) != 1 {
			t.Fatalf("%v; noted %+v", err, l.keys)
		}
		if k := l.keys[0]; k.AccessKeyID != got.Session.Credentials.AccessKeyID || k.SessionName != got.Session.SessionName || k.LoginSession != "lgn_1" ||
			k.Person != o.Basis.Person || k.Subject != "user:"+string(o.Basis.Person) || !k.Until.Equal(got.Session.Credentials.Expiration) || k.Role != o.Role || k.Epoch == 0 {
			t.Errorf("noted %+v", k)
		}
		m, err := w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{})
		if err != nil || len(l.keys) != 2 {
			t.Fatalf("%v; noted %+v", err, l.keys)
		}
		if k := l.keys[1]; l.ids[1] != m.ID || k.AccessKeyID+k.SessionName != "" || k.Subject != "user:"+string(o.Basis.Person) || !k.Until.Equal(m.Expires.Add(12*time.Hour)) || k.Epoch == 0 {
			t.Errorf("noted %v %+v", l.ids, k)
		}
		l.broken = errors.New("full")
		if _, err := w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{}); !errors.Is(err, l.broken) {
			t.Errorf("a token that can't be noted: %v", err)
		}
		time.Sleep(time.Until(got.Session.Credentials.Expiration))
		if _, err := w.Fresh(t.Context(), "lgn_1", o); !errors.Is(err, l.broken) {
			t.Errorf("keys that can't be noted: %v", err)
		}
	})
}
