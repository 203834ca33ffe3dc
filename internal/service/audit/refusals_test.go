package audit_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// refuseAll notes refusals, has them written, and gives what the trail holds then.
func refuseAll(t *testing.T, refuse func(*audit.Refusals)) []audit.Document {
	t.Helper()
	db := sqltest.Open(t)
	r := audit.NewRefusals(open(t, db, ring(t, db), nil))
	refuse(r)
	ended, end := context.WithCancel(t.Context())
	end()
	r.Run(ended)
	found, err := audit.Search(t.Context(), sqlaudit.Store{DB: db}, audit.Query{Oldest: true})
	if err != nil {
		t.Fatal(err)
	}
	return found.Documents
}

// TestRefusals: the first of a kind stands whole in the trail, the rest as a number.
func TestRefusals(t *testing.T) {
	t.Parallel()
	all := refuseAll(t, func(r *audit.Refusals) {
		ctx := identity.WithRequestID(t.Context(), "REQ1")
		for range 5 {
			r.Refuse(ctx, event.Event{Action: "iam.CreateRole", Code: "AccessDenied", Principal: "arn:p", AccessKeyID: "ASIA1", Source: "192.0.2.1"})
		}
		r.Refuse(ctx, event.Event{Action: "iam.CreateRole", Code: "AccessDenied", Principal: "arn:other", AccessKeyID: "ASIA2", Source: "192.0.2.1"})
		(*audit.Refusals)(nil).Refuse(ctx, event.Event{Action: "x"})
	})
	if len(all) != 3 || all[0].RequestID != "REQ1" || all[0].Outcome != event.Denied || all[1].UserIdentity.ARN != "arn:other" || all[2].Detail["repeated"] != "4" {
		t.Errorf("%+v", all)
	}
}

// TestAttackStrangersFillTheTrail: a hundred thousand refused sign-ins from as many
// places, with as many faults, leave some dozens of records.
func TestAttackStrangersFillTheTrail(t *testing.T) {
	t.Parallel()
	all := refuseAll(t, func(r *audit.Refusals) {
		for i := range 100_000 {
			r.Refuse(t.Context(), event.Event{Action: "sign-in", Code: fmt.Sprint("code", i), Source: fmt.Sprintf("2001:db8::%x", i), IdP: identity.IdPID(fmt.Sprint("idp_", i%900))})
		}
	})
	total := 0
	for _, d := range all {
		n := 1
		if many := d.Detail["repeated"]; many != "" {
			if _, err := fmt.Sscan(many, &n); err != nil {
				t.Fatal(err)
			}
		}
		total += n
	}
	if len(all) > 70 || total != 100_000 {
		t.Errorf("%d records of %d refusals", len(all), total)
	}
}

// TestReadingIsOneRecord: who looks for the same thing page by page leaves one record
// at once, and a number when the while has ended; looking for another thing is another.
func TestReadingIsOneRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var kept []event.Event
		reader := audit.NewReader(audit.ReaderConfig{Trail: nothing{}, Recorder: keeps{&kept}, Now: time.Now})
		ctx := identity.WithSource(identity.WithActor(t.Context(), identity.Actor{Person: "psn_a", UserName: "Ann", LoginSession: "lgn_1"}), addr)
		for _, q := range []audit.Query{{Who: "bob"}, {Who: "bob", From: time.Now().Add(-time.Hour)}, {Who: "bob", Most: 7}, {Who: "eve"}} {
			if _, err := reader.Search(ctx, q); err != nil {
				t.Fatal(err)
			}
		}
		if err := reader.Export(ctx, audit.Query{}, func([]audit.Document) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if len(kept) != 3 || kept[0].Detail["filter"] != "who=bob" || kept[1].Detail["filter"] != "who=eve" || kept[2].Action != audit.ActionExport || kept[0].Source != addr.String() {
			t.Fatalf("%+v", kept)
		}
		running, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { reader.Run(running); close(done) }()
		time.Sleep(time.Hour)
		synctest.Wait() // what is written then is written
		if len(kept) != 4 || kept[3].Detail["repeated"] != "2" || kept[3].Person != "psn_a" {
			t.Errorf("%+v", kept[3:])
		}
		end()
		<-done
	})
}

// TestUnrecordedReadingIsRefused: the trail isn't read where that can't be recorded.
func TestUnrecordedReadingIsRefused(t *testing.T) {
	t.Parallel()
	reader := audit.NewReader(audit.ReaderConfig{Trail: nothing{}, Recorder: keeps{}, Now: time.Now})
	if _, err := reader.Search(t.Context(), audit.Query{}); err == nil {
		t.Error("a search goes on without its record")
	}
	err := reader.Export(t.Context(), audit.Query{}, func([]audit.Document) error { t.Error("an export goes on without its record"); return nil })
	if err == nil {
		t.Error("an export goes on without its record")
	}
}

var addr = netip.MustParseAddr("192.0.2.9")

// nothing is an empty trail.
type nothing struct{}

func (nothing) Slice(context.Context, audit.Slice) (audit.Looked, error) { return audit.Looked{}, nil }
func (nothing) Count(context.Context, audit.Slice, time.Duration) (audit.Counted, error) {
	return audit.Counted{}, nil
}

// keeps keeps records; none where it has no place for them.
type keeps struct{ all *[]event.Event }

func (k keeps) Record(_ context.Context, e event.Event) error {
	if k.all == nil {
		return errors.New("the database is away")
	}
	*k.all = append(*k.all, e)
	return nil
}
