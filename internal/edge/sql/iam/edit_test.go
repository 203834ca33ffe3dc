package iam_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	sqliam "carnet.dev/carnet/internal/edge/sql/iam"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/iam"
)

const account = "111122223333"

// everything is one record of each kind that an edit can put.
func everything(d *iam.Draft) []iam.Record {
	created := d.Now()
	allow := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`
	group := &iam.GroupRecord{ID: identity.NewIAMID("AGPA"), Account: account, Path: "/", Name: "Readers", Created: created,
		Policies: []iam.Policy{{Name: "read", Document: allow}}}
	managed := &iam.ManagedPolicyRecord{ID: identity.NewIAMID("ANPA"), Account: account, Path: "/team/", Name: "Read", Created: created,
		Updated: created, Default: "v1", Next: 2, Versions: []iam.PolicyVersion{{ID: "v1", Document: allow, Created: created}}}
	user := &iam.UserRecord{ID: identity.NewUserID(), Account: account, Path: "/", Name: "Ann", Created: created, Groups: []string{group.ID},
		Attached: []string{managed.ARN("aws"), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"},
		Boundary: &iam.Policy{Name: "AdministratorAccess", ARN: "arn:aws:iam::aws:policy/AdministratorAccess"}, Tags: map[string]string{"team": "blue"}}
	role := &iam.RoleRecord{ID: identity.NewRoleID(), Account: account, Path: "/", Name: "Loader", Created: created, MaxSession: time.Hour,
		Attached: []string{managed.ARN("aws")}, Policies: []iam.Policy{{Name: "own", Document: allow}},
		Trust: iam.Policy{Name: "trust", Document: `{"Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}}`}}
	key := &iam.AccessKeyRecord{ID: identity.NewIAMID("AKIA"), Account: account, User: user.ID, Active: true, Created: created}
	key.Sealed, _ = d.Seal(iam.SealAccessKey, key.ID, secret.New("wJalrXUtnFEMI"))
	return []iam.Record{
		managed, group, user, role, key,
		&iam.OIDCProviderRecord{Account: account, URL: "https://issuer.example/oidc", ClientIDs: []string{"sts.amazonaws.com"}, Created: created},
		&iam.InstanceProfileRecord{ID: identity.NewIAMID("AIPA"), Account: account, Path: "/", Name: "Meta", Role: role.ID, Created: created},
		&iam.AliasRecord{Account: account, Alias: "analytics", Created: created},
		&iam.GuardrailsRecord{Account: account, Created: created, ServiceControl: [][]iam.Policy{{{Name: "full", Document: allow}}}},
	}
}

func (w *world) edit(t *testing.T, fn func(*iam.Draft) error) {
	t.Helper()
	if err := w.Edit(t.Context(), event.Event{Action: "iam.Test", Target: "x"}, fn); err != nil {
		t.Fatal(err)
	}
}

// TestEveryKindIsKept writes one record of each kind and reads it back on this
// server, on another one that follows, and on one that starts.
func TestEveryKindIsKept(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := open(t, c)
		other := open(t, c)
		var put []iam.Record
		w.edit(t, func(d *iam.Draft) error {
			put = everything(d)
			for _, r := range put {
				d.Put(r)
			}
			return nil
		})
		if err := other.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string]*world{"the same": w, "another": other, "a new": open(t, c)} {
			snapshot := current(t, s.Service)
			state, err := s.Store.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			stored := map[iam.Ref]iam.Record{}
			for _, r := range state.Records() {
				stored[r.Ref()] = r
			}
			for _, want := range put {
				if got := stored[want.Ref()]; !reflect.DeepEqual(got, want) {
					t.Errorf("%s server: got %+v, want %+v", name, got, want)
				}
			}
			u, ok := snapshot.User("arn:aws:iam::111122223333:user/Ann")
			if !ok || len(u.Policies) != 1 || u.Boundary == nil || u.Tags["team"] != "blue" {
				t.Fatalf("%s server: user %+v", name, u)
			}
			k, ok := snapshot.AccessKey(put[4].UniqueID())
			if !ok || k.User != u || !k.Secret.Equal(secret.New("wJalrXUtnFEMI")) {
				t.Errorf("%s server: access key %+v", name, k)
			}
			if _, ok := snapshot.OIDCProvider(account, "https://issuer.example/oidc"); !ok {
				t.Errorf("%s server: no OIDC provider", name)
			}
			if _, ok := snapshot.OIDCProvider(account, "http://issuer.example/oidc"); ok {
				t.Errorf("%s server: an issuer without TLS is taken for the provider", name)
			}
			if service, _ := snapshot.Guardrails(account); len(service) != 1 {
				t.Errorf("%s server: guardrails %v", name, service)
			}
		}
		if len(w.trail.lines) != 1 || w.trail.lines[0] != "iam.Test x" {
			t.Errorf("trail %q", w.trail.lines)
		}
	})
}

// TestEditOfARevisionThatMoved lets another server be quicker: the function
// runs again on what that one wrote.
func TestEditOfARevisionThatMoved(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w, other := open(t, c), open(t, c)
		runs := 0
		w.edit(t, func(d *iam.Draft) error {
			if runs++; runs == 1 {
				other.edit(t, func(d *iam.Draft) error {
					d.Put(&iam.AliasRecord{Account: account, Alias: "first", Created: d.Now()})
					return nil
				})
			}
			if _, ok := d.Alias(account); runs == 2 && !ok {
				t.Error("the second run does not see what the other server wrote")
			}
			d.Put(&iam.AliasRecord{Account: "444455556666", Alias: "second", Created: d.Now()})
			return nil
		})
		v := current(t, w.Service).View()
		if _, ok := v.Alias(account); !ok || runs != 2 {
			t.Errorf("%d runs; the other server's alias is there: %v", runs, ok)
		}
	})
}

// TestAnOlderReleaseLeavesNoTrace changes the state as a release would that
// does not say what it touched: everything is read again.
func TestAnOlderReleaseLeavesNoTrace(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := open(t, c)
		err := w.db.Write(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.Exec(`INSERT INTO iam_saml_provider (account, name_fold, name, metadata, created) VALUES ($1, $2, $3, $4, $5)`,
				account, "old", "Old", w.metadata, now.UnixMilli()); err != nil {
				return err
			}
			_, err := tx.Exec(`UPDATE iam_revision SET revision = revision + 1`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.edit(t, func(d *iam.Draft) error {
			if _, ok := d.Provider(account, "Old"); !ok {
				t.Error("what the older release wrote is not seen")
			}
			return nil
		})
	})
}

func TestAFailedEditChangesNothing(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	refused := fault.New(fault.Denied, "no")
	broken := &iam.RoleRecord{ID: identity.NewRoleID(), Account: account, Path: "/", Name: "x", MaxSession: time.Hour}
	for name, tc := range map[string]struct {
		want error
		fn   func(*iam.Draft) error
	}{
		"its own error": {refused, func(d *iam.Draft) error {
			d.Put(&iam.AliasRecord{Account: account, Alias: "x"})
			return refused
		}},
		"what does not compile": {fault.Coded(fault.Invalid, "MalformedPolicyDocument", ""), func(d *iam.Draft) error {
			broken.Trust = iam.Policy{Name: "trust", Document: "{}"}
			d.Put(broken)
			return nil
		}},
		"a managed policy that is not there": {fault.Coded(fault.NotFound, "NoSuchEntity", ""), func(d *iam.Draft) error {
			d.Put(&iam.GroupRecord{ID: identity.NewIAMID("AGPA"), Account: account, Path: "/", Name: "g", Attached: []string{"arn:aws:iam::111122223333:policy/ghost"}})
			return nil
		}},
	} {
		if err := w.Edit(t.Context(), event.Event{Action: "x"}, tc.fn); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	state, err := w.Store.Load(context.Background())
	if err != nil || state.Revision != 0 || len(state.Records()) != 0 || len(w.trail.lines) != 0 {
		t.Errorf("%+v, %v, trail %q", state, err, w.trail.lines)
	}
}

// TestAnotherServerFollows edits on one server and waits for the other, which
// is told by the database.
func TestAnotherServerFollows(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w, other := open(t, c), open(t, c)
		changed := make(chan struct{}, 1)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		if err := other.db.Watch(ctx, sqliam.Topic, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		}); err != nil {
			t.Fatal(err)
		}
		go other.Run(ctx, changed)
		for _, alias := range []string{"first", "second"} {
			w.edit(t, func(d *iam.Draft) error {
				d.Put(&iam.AliasRecord{Account: account, Alias: alias, Created: d.Now()})
				return nil
			})
			mine, _ := current(t, w.Service).View().Alias(account)
			if mine.Alias != alias {
				t.Fatalf("on the server that wrote: %+v", mine)
			}
			for {
				if theirs, _ := current(t, other.Service).View().Alias(account); theirs.Alias == alias {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
	})
}
