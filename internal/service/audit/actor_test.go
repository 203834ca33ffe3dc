package audit_test

import (
	"encoding/json"
	"maps"
	"testing"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

// TestRecordsNameWhoActed: what an event leaves out comes from the context, and
// an event about somebody never gets half of another.
func TestRecordsNameWhoActed(t *testing.T) {
	db := sqltest.Open(t)
	w := open(t, db, ring(t, db), nil)
	admin := identity.Actor{Person: "psn_admin", UserName: "ada", LoginSession: "lgn_admin"}
	for _, c := range []struct {
		name  string
		actor identity.Actor
		event event.Event
		want  event.Event // Person, UserName, LoginSession, Detail
	}{
		{"an administrator", admin, event.Event{IdP: "idp_a"},
			event.Event{Person: "psn_admin", UserName: "ada", LoginSession: "lgn_admin"}},
		{"the same login session named already", admin, event.Event{LoginSession: "lgn_admin"},
			event.Event{Person: "psn_admin", UserName: "ada", LoginSession: "lgn_admin"}},
		{"another login session", admin, event.Event{LoginSession: "lgn_other"}, event.Event{LoginSession: "lgn_other"}},
		{"another person", admin, event.Event{Person: "psn_other"}, event.Event{Person: "psn_other"}},
		{"another name", admin, event.Event{UserName: "other"}, event.Event{UserName: "other"}},
		{"a set-up link's bearer", identity.Actor{UserName: "set-up link", LoginSession: "lgn_setup"}, event.Event{},
			event.Event{UserName: "set-up link", LoginSession: "lgn_setup"}},
		{"nobody", identity.Actor{}, event.Event{LoginSession: "lgn_a"}, event.Event{LoginSession: "lgn_a"}},
		{"the host", identity.Actor{Host: "root"}, event.Event{Detail: map[string]string{"steps": "2"}},
			event.Event{Detail: map[string]string{"actor": "host", "os_user": "root", "steps": "2"}}},
	} {
		given := maps.Clone(c.event.Detail)
		c.event.Action = "test"
		ctx := identity.WithActor(identity.WithRequestID(t.Context(), "REQ1"), c.actor)
		if err := w.Record(ctx, c.event); err != nil {
			t.Fatal(err)
		}
		got := lastEvent(t, db)
		if got.Person != c.want.Person || got.UserName != c.want.UserName || got.LoginSession != c.want.LoginSession ||
			!maps.Equal(got.Detail, c.want.Detail) || got.Request != "REQ1" {
			t.Errorf("%s: %+v", c.name, got)
		}
		if !maps.Equal(given, c.event.Detail) {
			t.Errorf("%s: the caller's detail was changed", c.name)
		}
	}
}

func lastEvent(t *testing.T, db *sql.DB) (e event.Event) {
	t.Helper()
	var body string
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT body FROM audit_record ORDER BY seq DESC LIMIT 1`).Scan(&body)
	})
	if err == nil {
		err = json.Unmarshal([]byte(body), &e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}
