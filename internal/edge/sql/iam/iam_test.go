package iam_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/sql"
	sqliam "carnet.dev/carnet/internal/edge/sql/iam"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/iam"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

type trail struct{ lines []string }

func (t *trail) Record(_ context.Context, e event.Event) error {
	t.lines = append(t.lines, e.Action+" "+e.Target)
	return nil
}

// box seals for tests: it binds purpose and additional data, and hides nothing.
type box struct{}

func (box) Seal(purpose string, aad, plain []byte) ([]byte, error) {
	return []byte(purpose + "|" + string(aad) + "|" + string(plain)), nil
}

func (box) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	plain, ok := strings.CutPrefix(string(sealed), purpose+"|"+string(aad)+"|")
	if !ok {
		return nil, errors.New("damaged")
	}
	return []byte(plain), nil
}

type world struct {
	*iam.Service
	db       *sql.DB
	trail    *trail
	metadata string
}

func open(t testing.TB, c sql.Config) *world {
	t.Helper()
	db := sqltest.OpenWith(t, c)
	w := &world{db: db, trail: &trail{}, metadata: string(forge.NewECDSA(t, now).Metadata())}
	s, err := iam.Open(t.Context(), iam.Config{
		Quotas: iam.Quotas{Roles: 10_000}, Store: sqliam.Store{DB: db}, Trail: w.trail, Sealer: box{}, Now: func() time.Time { return now },
		Accounts: []iam.Account{{ID: "111122223333"}, {ID: "444455556666"}},
		BucketAccount: func(name string) (string, bool) {
			return "111122223333", strings.HasPrefix(name, "sales")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
	return w
}

func (w *world) parse(t *testing.T, src string) *iam.Authority {
	t.Helper()
	a, err := iam.ParseAuthority([]byte(src), func(name string) ([]byte, error) {
		if name == "idp.xml" {
			return []byte(w.metadata), nil
		}
		return nil, os.ErrNotExist
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) apply(t *testing.T, src string) []string {
	t.Helper()
	p, err := w.Plan(t.Context(), w.parse(t, src))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return lines(p)
}

func lines(p *iam.Plan) (out []string) {
	for _, s := range p.Steps {
		out = append(out, s.String())
	}
	return out
}

const full = `
accounts:
  "111122223333":
    saml_providers:
      - {name: dev-idp, metadata_file: idp.xml}
    roles:
      - name: analyst
        path: /data/
        description: reads sales
        max_session_duration: 12h
        tags: {team: blue}
        trust_policy:
          Version: 2012-10-17
          Statement:
            Effect: Allow
            Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/dev-idp"}
            Action: sts:AssumeRoleWithSAML
            Condition: {StringEquals: {"SAML:aud": "http://127.0.0.1:8480/saml/consume"}}
        policies:
          - name: sales
            document: |
              {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::sales"]}]}
        permissions_boundary:
          name: most
          document: {Statement: {Effect: Allow, Action: "s3:*", Resource: "*"}}
    buckets:
      - name: sales
        policy:
          Version: 2012-10-17
          Statement: {Effect: Deny, Principal: "*", Action: "s3:*", Resource: "arn:aws:s3:::sales/*", Condition: {Bool: {"aws:SecureTransport": false}}}
`

var analyst = arn.Role{Partition: "aws", Account: "111122223333", Path: "/data/", Name: "analyst"}

func current(t *testing.T, s *iam.Service) *iam.Snapshot {
	t.Helper()
	snapshot, err := s.Current()
	if err != nil {
		t.Fatal(err)
	}
	if f := snapshot.Faults(); len(f) > 0 {
		t.Fatal(f)
	}
	return snapshot
}

func TestApplyThenNothingToDo(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := open(t, c)
		want := []string{"create saml-provider 111122223333/dev-idp", "create role 111122223333/analyst", "create bucket sales"}
		if got := w.apply(t, full); !slices.Equal(got, want) {
			t.Errorf("plan %q", got)
		}
		if got := w.apply(t, full); len(got) != 0 {
			t.Errorf("second plan %q", got)
		}
		if len(w.trail.lines) != 3 || w.trail.lines[1] != "authority.create role 111122223333/analyst" {
			t.Errorf("trail %q", w.trail.lines)
		}
		s := current(t, w.Service)
		r, ok := s.Role(analyst)
		if !ok || r.MaxSession != 12*time.Hour || r.Tags["team"] != "blue" || r.Boundary == nil || len(r.Policies) != 1 {
			t.Fatalf("role %+v", r)
		}
		if byID, ok := s.RoleByID(r.ID); !ok || byID != r {
			t.Error("the role is not found by its id")
		}
		if _, ok := s.Role(arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"}); ok {
			t.Error("the role is found without its path")
		}
		if p, ok := s.Provider(arn.SAMLProvider{Partition: "aws", Account: "111122223333", Name: "dev-idp"}); !ok || p.Metadata.EntityID != forge.EntityID {
			t.Error("the provider is not found")
		}
		if b, ok := s.Bucket("sales"); !ok || b.Policy == nil || b.Account != "111122223333" {
			t.Error("the bucket policy is not found")
		}
	})
}

func TestAnotherServerSeesTheSame(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := open(t, c)
		other := open(t, c)
		w.apply(t, full)
		if _, ok := current(t, other.Service).Role(analyst); ok {
			t.Fatal("seen without a reload")
		}
		if err := other.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		mine, _ := current(t, w.Service).Role(analyst)
		theirs, ok := current(t, other.Service).Role(analyst)
		if !ok || mine.ID != theirs.ID {
			t.Errorf("%v and %v", mine, theirs)
		}
	})
}

func TestUpdateKeepsTheIDAndReplaceDoesNot(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.apply(t, full)
	first, _ := current(t, w.Service).Role(analyst)
	got := w.apply(t, strings.Replace(full, "12h", "4h", 1))
	if !slices.Equal(got, []string{"update role 111122223333/analyst (maximum session duration)"}) {
		t.Errorf("plan %q", got)
	}
	second, _ := current(t, w.Service).Role(analyst)
	if second.ID != first.ID || second.MaxSession != 4*time.Hour {
		t.Errorf("%+v", second)
	}
	got = w.apply(t, strings.Replace(full, "/data/", "/lake/", 1))
	if !slices.Equal(got, []string{"replace role 111122223333/analyst (path or name)"}) {
		t.Errorf("plan %q", got)
	}
	s := current(t, w.Service)
	if _, ok := s.RoleByID(first.ID); ok {
		t.Error("the replaced role lives on under its id")
	}
	w.apply(t, `accounts: {"111122223333": {}}`)
	w.apply(t, full)
	again, _ := current(t, w.Service).Role(analyst)
	if again.ID == first.ID {
		t.Error("a role made again has its old id")
	}
}

func TestFileSaysAllOfItsAccountsAndNothingOfOthers(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.apply(t, full)
	if got := w.apply(t, `accounts: {"444455556666": {}}`); len(got) != 0 {
		t.Errorf("plan %q", got)
	}
	want := []string{"delete saml-provider 111122223333/dev-idp", "delete role 111122223333/analyst", "delete bucket sales"}
	if got := w.apply(t, `accounts: {"111122223333": {}}`); !slices.Equal(got, want) {
		t.Errorf("plan %q", got)
	}
	s := current(t, w.Service)
	if _, ok := s.Bucket("sales"); ok {
		t.Error("the bucket policy is still there")
	}
}

const pinned = `
accounts:
  "111122223333":
    roles:
      - name: loader
        path: %s
        trust_policy: {Statement: {Effect: Allow, Principal: {AWS: "111122223333"}, Action: "sts:AssumeRole"}}
      - name: data
        trust_policy: {Statement: {Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:role%sloader"}, Action: "sts:AssumeRole"}}
`

// TestTrustIsPinnedToTheRoleThatWasMeant deletes a trusted role from another
// account file's view and makes it again: its successor is not trusted until
// the trust policy is written anew, which the plan shows.
func TestTrustIsPinnedToTheRoleThatWasMeant(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.apply(t, fmt.Sprintf(pinned, "/", "/"))
	loader := arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "loader"}
	data := arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "data"}
	trusts := func() bool {
		s := current(t, w.Service)
		l, _ := s.Role(loader)
		d, _ := s.Role(data)
		return d.Trust.Trusts(&policy.Request{Action: "sts:AssumeRole", Principal: policy.Principal{
			Account: "111122223333", ARN: l.ARN.String(), UniqueID: string(l.ID),
		}}).Allow
	}
	if !trusts() {
		t.Fatal("the named role is not trusted")
	}
	// Made again behind the file's back, as an IAM call could.
	state, err := w.Store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(state.Roles, func(r iam.RoleRecord) bool { return r.Name == "loader" })
	again := state.Roles[i]
	again.ID = "AROASECONDSECONDSECON"
	change := iam.Change{Revision: state.Revision, Delete: []iam.Ref{again.Ref()}, Put: []iam.Record{&again}}
	if err := w.Store.Apply(t.Context(), change, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if trusts() {
		t.Error("a role made again is trusted as the old one")
	}
	got := w.apply(t, fmt.Sprintf(pinned, "/", "/"))
	if !slices.Equal(got, []string{"update role 111122223333/data (trust policy)"}) || !trusts() {
		t.Errorf("plan %q, trusted %v", got, trusts())
	}
}

func TestRefusedChanges(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.apply(t, full)
	for name, tc := range map[string]struct{ from, to, want string }{
		"account not configured":    {`"111122223333":`, `"999988887777":`, "not a local account"},
		"bucket of another account": {"- name: sales\n        policy", "- name: hr\n        policy", "no buckets rule"},
		"policy outside its bucket": {`Resource: "arn:aws:s3:::sales/*"`, `Resource: "arn:aws:s3:::hr/*"`, "outside it"},
		"unknown operator":          {"{Bool:", "{Boole:", "no such operator"},
		"trust without principal":   {`Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/dev-idp"}`, "Sid: x", "Principal is missing"},
		"trust in an unknown role":  {`{Federated: "arn:aws:iam::111122223333:saml-provider/dev-idp"}`, `{AWS: "arn:aws:iam::111122223333:role/ghost"}`, "Invalid principal in policy"},
		"session too long":          {"12h", "13h", "maximum session duration"},
		"session too short":         {"12h", "59m", "maximum session duration"},
		"role name with a slash":    {"name: analyst", "name: a/b", "slash"},
		"AWS's own role name":       {"name: analyst", "name: AWSReservedSSO_x", "AWS's own"},
		"role name too long":        {"name: analyst", "name: " + strings.Repeat("a", 65), "longer than 64"},
		"tag of AWS":                {"{team: blue}", "{\"aws:team\": blue}", "not beginning with aws:"},
		"tag twice":                 {"{team: blue}", "{team: blue, Team: red}", "stands twice"},
		"provider name":             {"name: dev-idp, m", "name: dev=idp, m", "provider name"},
		"metadata too short":        {"metadata_file: idp.xml", "metadata: <x/>", "want 1000"},
		"role twice":                {"    buckets:", "      - {name: Analyst, trust_policy: \"{}\"}\n    buckets:", "stands twice"},
	} {
		src := strings.Replace(full, tc.from, tc.to, 1)
		if src == full {
			t.Fatalf("%s: nothing was replaced", name)
		}
		p, err := w.Plan(t.Context(), w.parse(t, src))
		if err == nil || !strings.Contains(fault.Of(err).Public, tc.want) {
			t.Errorf("%s: plan %v, error %v; want %q in it", name, p, err, tc.want)
		}
	}
	if _, ok := current(t, w.Service).Role(analyst); !ok {
		t.Error("a refused change changed something")
	}
}

func TestStalePlanIsRefused(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	a, b := w.parse(t, full), w.parse(t, `accounts: {"444455556666": {roles: [{name: x, trust_policy: {Statement: {Effect: Allow, Principal: {AWS: "444455556666"}, Action: "sts:AssumeRole"}}}]}}`)
	first, err := w.Plan(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Plan(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(t.Context(), second); !errors.Is(err, fault.Coded(fault.Conflict, "iam.changed", "")) {
		t.Errorf("got %v", err)
	}
}

func TestNoChangeWithoutItsRecord(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.Trail = failing{}
	p, err := w.Plan(t.Context(), w.parse(t, full))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(t.Context(), p); err == nil {
		t.Fatal("applied without a record")
	}
	state, err := w.Store.Load(t.Context())
	if err != nil || state.Revision != 0 || len(state.Roles) != 0 {
		t.Errorf("state %+v, %v", state, err)
	}
}

type failing struct{}

func (failing) Record(context.Context, event.Event) error { return errors.New("no trail") }

// TestADeletedRoleIDIsNeverUsedAgain holds the ground under session tokens.
func TestADeletedRoleIDIsNeverUsedAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := open(t, c)
		w.apply(t, full)
		r, _ := current(t, w.Service).Role(analyst)
		w.apply(t, `accounts: {"111122223333": {}}`)
		state, err := w.Store.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = w.Store.Apply(t.Context(), iam.Change{Revision: state.Revision, Put: []iam.Record{&iam.RoleRecord{ID: r.ID, Account: "111122223333", Path: "/", Name: "other"}}}, func(context.Context) error { return nil })
		if !errors.Is(err, fault.Coded(fault.Conflict, "iam.id", "")) {
			t.Errorf("got %v", err)
		}
	})
}

// TestWhatDoesNotCompileDenies plants records that an older release might have
// taken: the role goes, the bucket denies.
func TestWhatDoesNotCompileDenies(t *testing.T) {
	t.Parallel()
	s := iam.Compile(iam.State{
		Roles:   []iam.RoleRecord{{ID: "AROAX", Account: "111122223333", Path: "/", Name: "x", Trust: iam.Policy{Name: "trust", Document: "{}"}, MaxSession: time.Hour}},
		Buckets: []iam.BucketRecord{{Name: "sales", Account: "111122223333", Policy: iam.Policy{Name: "b", Document: "{}"}}},
	}, []iam.Account{{ID: "111122223333"}})
	if len(s.Faults()) != 2 {
		t.Errorf("faults %q", s.Faults())
	}
	if _, ok := s.RoleByID("AROAX"); ok {
		t.Error("the role is there")
	}
	if b, ok := s.Bucket("sales"); !ok || b.Policy != nil {
		t.Error("the bucket lost its policy without a trace")
	}
}

// away is a store that can be cut off.
type away struct {
	iam.Store
	cut atomic.Bool
}

func (a *away) Load(ctx context.Context) (iam.State, error) {
	if a.cut.Load() {
		return iam.State{}, errors.New("away")
	}
	return iam.State{Revision: 1}, nil
}

func (a *away) Since(context.Context, int64) (iam.Change, bool, error) {
	if a.cut.Load() {
		return iam.Change{}, false, errors.New("away")
	}
	return iam.Change{Revision: 1}, true, nil
}

func TestAViewThatCannotBeConfirmedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{}
		s, err := iam.Open(t.Context(), iam.Config{Store: store, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changed := make(chan struct{}, 1)
		go s.Run(ctx, changed)
		store.cut.Store(true)
		changed <- struct{}{}
		time.Sleep(59 * time.Second)
		if _, err := s.Current(); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(3 * time.Second)
		if _, err := s.Current(); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("too late: %v", err)
		}
		store.cut.Store(false)
		time.Sleep(2 * time.Second)
		if _, err := s.Current(); err != nil {
			t.Errorf("after the store came back: %v", err)
		}
	})
}

func sqlite(t *testing.T) sql.Config { return sql.Config{SQLite: t.TempDir() + "/carnet.db"} }
