package workload_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/withdrawal"
	"carnet.dev/carnet/internal/service/workload"
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

// TestTokensForAWSAreNoted: with who stands behind them, and as long as keys may live
// that they buy; others are not, and what can't be noted is not given.
func TestTokensForAWSAreNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := &ledger{}
	w.Ledger = l
	machine := workload.Principal{ServicePrincipal: w.sp.ID}
	m, err := w.ask(machine, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline})
	w.must(err)
	if k := l.keys[0]; l.ids[0] != m.ID || k.Subject != "sp:"+string(w.sp.ID) || k.ServicePrincipal != w.sp.ID || k.Role.String() != pipeline || k.Issuer != m.Issuer ||
		!k.Until.Equal(m.Expires.Add(12*time.Hour)) || k.AccessKeyID+k.SessionName != "" || k.Epoch == 0 {
		t.Errorf("noted %v %+v", l.ids, k)
	}
	d := w.delegation()
	m, err = w.ask(workload.Principal{ServicePrincipal: w.sp.ID, Delegation: d.ID}, workload.Ask{Audience: issuer.AudienceAWS})
	w.must(err)
	if k := l.keys[1]; l.ids[1] != m.ID || k.Subject != "job:"+string(d.ID) || k.Delegation != d.ID || k.Person != w.alice.ID || k.ServicePrincipal != w.sp.ID {
		t.Errorf("noted %v %+v", l.ids, k)
	}
	_, err = w.ask(machine, workload.Ask{Audience: listed})
	w.must(err)
	_, err = w.ask(machine, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline, Traded: true})
	w.must(err)
	if len(l.keys) != 2 {
		t.Errorf("noted too: %+v", l.keys[2:])
	}
	l.broken = errors.New("full")
	if _, err := w.ask(machine, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline}); !errors.Is(err, l.broken) {
		t.Errorf("a token that can't be noted: %v", err)
	}
}
