//go:build interop

package audit_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// events is how many the trail of the benchmark holds.
var events = flag.Int("events", 1_000_000, "how many events the trail holds that is searched")

var first = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)

// eventOf gives one of a month's work: mostly reads of 500 people.
func eventOf(i int) event.Event {
	who := i * 7919 % 500
	e := event.Event{
		At: first.Add(time.Duration(i) * 2592 * time.Millisecond), Action: "s3.GetObject", Outcome: event.Done,
		Person: identity.PersonID(fmt.Sprintf("psn_%022d", who)), UserName: fmt.Sprintf("person%d@example.com", who), LoginSession: identity.LoginSessionID(fmt.Sprintf("lgn_%022d", i/40)),
		Request: identity.RequestID(fmt.Sprintf("%016X", uint64(i)*0x9E3779B97F4A7C15)), Source: fmt.Sprintf("10.%d.%d.%d", who%7, who%200, i%250),
		Account: "111122223333", Role: "arn:aws:iam::111122223333:role/analyst", AccessKeyID: fmt.Sprintf("ASIA%016d", i/40),
		Principal: fmt.Sprintf("arn:aws:sts::111122223333:assumed-role/analyst/person%d@example.com", who), Cluster: "lab", Target: fmt.Sprintf("s3://warehouse/sales/part-%07d.parquet", i%5000),
		Detail: map[string]string{"status": "200", "user_agent": "aws-sdk-go-v2/1.36.3 ua/2.1 os/linux lang/go"},
	}
	switch {
	case i%20 == 7:
		e.Outcome, e.Code = event.Denied, "AccessDenied"
	case i%50 == 9:
		e.Action, e.Target = "sign-in", ""
	case i%30 == 11:
		e.Action = "sts.AssumeRoleWithSAML"
	case i == 5000:
		e.Action, e.UserName = "person.add", "Rare Person"
	}
	return e
}

func fill(t testing.TB, store sqlaudit.Store) {
	t.Helper()
	head := audit.Head{Writer: "aud_0123456789abcdef0123"}
	for i := 0; i < *events; {
		records := make([]audit.Record, 1024)
		for k := range records {
			e := eventOf(i)
			body, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			head.Seq++
			records[k] = audit.Record{Writer: head.Writer, Seq: head.Seq, At: e.At, Action: e.Action, Person: string(e.Person), Body: string(body)}
			if i++; i == *events {
				records = records[:k+1]
				break
			}
		}
		before := audit.Head{Writer: head.Writer, Seq: records[0].Seq - 1}
		if ok, err := store.Append(t.Context(), before, records); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
}

// BenchmarkSearchMillion is what people look for in a trail of a million events, one
// page each; the last ones match nothing.
func BenchmarkSearchMillion(b *testing.B) {
	for _, engine := range []struct {
		name   string
		config func() sql.Config
	}{
		{"sqlite", func() sql.Config { return sql.Config{SQLite: filepath.Join(b.TempDir(), "carnet.db")} }},
		{"postgresql", func() sql.Config { return sql.Config{PostgreSQL: sqltest.PostgreSQL(b)} }},
	} {
		b.Run(engine.name, func(b *testing.B) {
			db := sqltest.OpenWith(b, engine.config())
			store := sqlaudit.Store{DB: db}
			began := time.Now()
			fill(b, store)
			b.Logf("%s: filled in %v", engine.name, time.Since(began).Round(time.Millisecond))
			end := first.Add(time.Duration(*events) * 2592 * time.Millisecond)
			for _, c := range []struct {
				name string
				q    audit.Query
				want int
			}{
				{"newest", audit.Query{}, 100},
				{"request", audit.Query{RequestID: string(eventOf(12345).Request)}, 1},
				{"person", audit.Query{Who: string(eventOf(7).Person)}, 100},
				{"user-name", audit.Query{Who: "PERSON7@example.com"}, 100},
				{"event", audit.Query{Event: "person.add"}, 1},
				{"denied", audit.Query{Outcome: "denied"}, 100},
				{"network", audit.Query{Source: "10.3.0.0/16"}, 100},
				{"a-day-of-a-month-ago", audit.Query{From: first.Add(24 * time.Hour), To: first.Add(48 * time.Hour), Outcome: "denied"}, 100},
				{"no-request", audit.Query{RequestID: "AAAAAAAAAAAAAAAA"}, 0},
				{"no-name", audit.Query{Who: "nobody@example.com"}, 0},
				{"no-target", audit.Query{Target: "s3://nowhere"}, 0},
				{"no-event", audit.Query{Event: "no.*"}, 0},
				{"no-network", audit.Query{Source: "192.0.2.0/24"}, 0},
			} {
				c.q.Most = 100
				b.Run(c.name, func(b *testing.B) {
					for b.Loop() {
						found, err := audit.Search(b.Context(), store, c.q)
						if err != nil || len(found.Documents) != c.want {
							b.Fatalf("%d events, want %d: %v", len(found.Documents), c.want, err)
						}
					}
				})
			}
			for name, q := range map[string]audit.Query{"picture-of-a-day": {From: end.Add(-24 * time.Hour), To: end}, "picture-of-all": {From: first, To: end}, "picture-of-a-name": {From: first, To: end, Who: "person7@example.com"}} {
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						if a, err := audit.CountActivity(b.Context(), store, q); err != nil || len(a.Counts) == 0 {
							b.Fatal(a, err)
						}
					}
				})
			}
		})
	}
}
