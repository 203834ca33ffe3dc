package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// recorder keeps what is recorded, unless it is away.
type recorder struct {
	away   bool
	events []event.Event
}

func (r *recorder) Record(_ context.Context, e event.Event) error {
	if r.away {
		return errors.New("away")
	}
	r.events = append(r.events, e)
	return nil
}

// TestAttackReadingUnrecorded: who has the record of a search fail, as by going away at
// once, doesn't get the next one unrecorded; and many different searches hide none.
func TestAttackReadingUnrecorded(t *testing.T) {
	t.Parallel()
	out := &recorder{away: true}
	reader := audit.NewReader(audit.ReaderConfig{Trail: sqlaudit.Store{DB: sqltest.Open(t)}, Recorder: out, Now: time.Now})
	ctx := identity.WithActor(t.Context(), identity.Actor{Person: "psn_eve", LoginSession: "lgn_1"})
	search := func(who string) error {
		_, err := reader.Search(ctx, audit.Query{Who: who})
		return err
	}
	for range 2 { // the second time is no repetition of what was never recorded
		if search("alice") == nil {
			t.Fatal("the trail was read though that could not be recorded")
		}
	}
	out.away = false
	for i := range 100 {
		for range 2 { // again is no record
			if err := search(fmt.Sprintf("person-%d", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	said := map[string]bool{}
	for _, e := range out.events {
		said[e.Detail["filter"]] = true
	}
	if len(said) != 100 {
		t.Errorf("100 searches, and the trail says of %d", len(said))
	}
}

// TestAttackLargeFilter: a filter that no record has room for is refused as such.
func TestAttackLargeFilter(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("<", 2048)
	q := audit.Query{Event: long, Who: long, Account: long, Role: long, Cluster: long, Node: long, Target: long}
	db := sqltest.Open(t)
	reader := audit.NewReader(audit.ReaderConfig{Trail: sqlaudit.Store{DB: db}, Recorder: open(t, db, ring(t, db), nil), Now: time.Now})
	if _, err := reader.Search(t.Context(), q); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	if _, err := reader.Search(t.Context(), audit.Query{Event: long, Target: long[:500]}); err != nil {
		t.Error(err)
	}
}

// TestAttackUnboundedSearch: no filter has the database look at more than a search may,
// and none breaks what the database is asked.
func TestAttackUnboundedSearch(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
		store := sqlaudit.Store{DB: db}
		w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: ring(t, db), Now: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, 20)
		for name, s := range map[string]audit.Slice{
			// Records without a request stand in the index of requests by a piece of their time.
			"the piece of a time for a request": {Request: "6-05-01T10", Most: 10, Look: 5},
			"events that a person never did":    {Person: "psn_a", Event: "never", Most: 10, Look: 5},
			"beginnings of such":                {Person: "psn_a", Event: "nev*", Most: 10, Look: 5},
		} {
			if looked, err := store.Slice(t.Context(), s); err != nil || looked.Reached.Seq != 16 || len(looked.Records) != 0 {
				t.Errorf("%s: %+v, %v: looked at all", name, looked, err)
			}
		}
		found, err := audit.Search(t.Context(), store, audit.Query{Who: "psn_a", Event: "sign-in"})
		if err != nil || len(found.Documents) != 20 {
			t.Errorf("%d events of a person, %v", len(found.Documents), err)
		}
		for _, id := range []string{"ABCDEFGé", "ééééééééé", "ABCDEFG\u2028"} { // cut in the middle of a letter it is no text
			if _, err := audit.Search(t.Context(), store, audit.Query{RequestID: id}); err != nil {
				t.Errorf("request %q: %v", id, err)
			}
		}
	})
}

// TestAttackWordsOfTargets: what a target's other end says, or has in its certificate,
// drives no terminal of who looks at the trouble.
func TestAttackWordsOfTargets(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	write(t, open(t, db, ring(t, db), nil), 1)
	evil := newPlace("evil")
	evil.failing(func([]audit.Document) error {
		return fault.New(fault.Unavailable, "not \x1b]0;owned\x07\u009b31m\u202e\n\x00believed "+strings.Repeat("é", 5000))
	})
	s := shipper(db, evil, "srv_1", time.Now)
	s.Round(t.Context())
	known, err := sqlaudit.Store{DB: db}.Targets(t.Context())
	if err != nil || len(known) != 1 {
		t.Fatal(known, err)
	}
	for _, said := range []string{s.State().Trouble, known[0].Trouble} {
		if strings.ContainsAny(said, "\x1b\x07\u009b\u202e\n\x00") || !strings.HasPrefix(said, "not ") || !strings.Contains(said, "believed") || len(said) > 1024 {
			t.Errorf("%d bytes: %q", len(said), said)
		}
	}
}

// TestAttackEmptyCopy: a copy of which nothing can be compared proves nothing, and
// verify says so.
func TestAttackEmptyCopy(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	w := open(t, db, ring(t, db), nil)
	write(t, w, 2)
	checkpoint(t, w)
	for name, text := range map[string]string{"empty": "", "blank": "\n\n", "other lines": "{}\nhello\n"} {
		if report := against(t, db, text); len(report.Problems) != 1 || !strings.Contains(report.Problems[0], "nothing was compared") {
			t.Errorf("%s: %+v", name, report)
		}
	}
}
