package iam_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/iam"
)

// quicker is a store that another server always changes first.
type quicker struct {
	empty
	revision int64
}

func (q *quicker) Since(context.Context, int64) (iam.Change, bool, error) {
	return iam.Change{Revision: q.revision}, true, nil
}

func (q *quicker) Apply(context.Context, iam.Change, func(context.Context) error) error {
	q.revision++
	return fault.Coded(fault.Conflict, "iam.changed", "changed")
}

// TestServersThatAreAlwaysQuicker: an edit gives up in the end, in AWS's words.
func TestServersThatAreAlwaysQuicker(t *testing.T) {
	t.Parallel()
	s, err := iam.Open(t.Context(), iam.Config{Store: &quicker{}, Now: time.Now, Accounts: []iam.Account{{ID: "111122223333"}}})
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	err = s.Edit(t.Context(), event.Event{Action: "x"}, func(*iam.Draft) error { runs++; return nil })
	if !errors.Is(err, fault.Coded(fault.Conflict, "ConcurrentModification", "")) || runs < 2 {
		t.Errorf("%v after %d runs", err, runs)
	}
}
