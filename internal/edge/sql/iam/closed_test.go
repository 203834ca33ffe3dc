package iam_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/iam"
)

const (
	may    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	assume = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}}`
)

// TestWhatDoesNotCompileNeverWeakens plants one broken record of each kind, as
// an older release or a damaged database might hold it, and asks what is left.
func TestWhatDoesNotCompileNeverWeakens(t *testing.T) {
	t.Parallel()
	role := iam.RoleRecord{ID: "AROA1", Account: account, Path: "/", Name: "r", Trust: iam.Policy{Name: "trust", Document: assume}, MaxSession: time.Hour}
	user := iam.UserRecord{ID: "AIDA1", Account: account, Path: "/", Name: "u", Groups: []string{"AGPA1"}}
	group := iam.GroupRecord{ID: "AGPA1", Account: account, Path: "/", Name: "g"}
	managed := iam.ManagedPolicyRecord{ID: "ANPA1", Account: account, Path: "/", Name: "m", Default: "v1", Versions: []iam.PolicyVersion{{ID: "v1", Document: may}}}
	name := managed.ARN("aws")
	for label, tc := range map[string]struct {
		spoil func(s *iam.State)
		left  func(s *iam.Snapshot) bool
	}{
		"nothing": {func(*iam.State) {}, func(s *iam.Snapshot) bool {
			_, r := s.RoleByID("AROA1")
			_, u := s.UserByID("AIDA1")
			return !r || !u
		}},
		"a managed policy that a role has": {func(s *iam.State) {
			s.Roles[0].Attached, s.ManagedPolicies[0].Versions[0].Document = []string{name}, "{}"
		}, func(s *iam.Snapshot) bool { _, ok := s.RoleByID("AROA1"); return ok }},
		"a managed policy without its version": {func(s *iam.State) {
			s.Roles[0].Attached, s.ManagedPolicies[0].Default = []string{name}, "v9"
		}, func(s *iam.Snapshot) bool { _, ok := s.RoleByID("AROA1"); return ok }},
		"a managed policy that is gone": {func(s *iam.State) {
			s.Roles[0].Attached = []string{"arn:aws:iam::111122223333:policy/ghost"}
		}, func(s *iam.Snapshot) bool { _, ok := s.RoleByID("AROA1"); return ok }},
		"a policy of another account": {func(s *iam.State) {
			foreign := s.ManagedPolicies[0]
			foreign.Account, foreign.ID = "444455556666", "ANPA2"
			s.ManagedPolicies = append(s.ManagedPolicies, foreign)
			s.Roles[0].Attached = []string{foreign.ARN("aws")}
		}, func(s *iam.Snapshot) bool { _, ok := s.RoleByID("AROA1"); return ok }},
		"a boundary that is gone": {func(s *iam.State) {
			s.Roles[0].Boundary = iam.BoundaryOf("arn:aws:iam::111122223333:policy/ghost")
		}, func(s *iam.Snapshot) bool { _, ok := s.RoleByID("AROA1"); return ok }},
		"a group's policy": {func(s *iam.State) {
			s.Groups[0].Policies = []iam.Policy{{Name: "p", Document: "{}"}}
		}, func(s *iam.Snapshot) bool { _, ok := s.UserByID("AIDA1"); return ok }},
		"a group that is gone":        {func(s *iam.State) { s.Groups = nil }, func(s *iam.Snapshot) bool { _, ok := s.UserByID("AIDA1"); return ok }},
		"a user whose keys live on":   {func(s *iam.State) { s.Users = nil }, func(s *iam.Snapshot) bool { _, ok := s.AccessKey("AKIA1"); return ok }},
		"a key sealed for another id": {func(s *iam.State) { s.AccessKeys[0].ID = "AKIA2" }, func(s *iam.Snapshot) bool { _, ok := s.AccessKey("AKIA2"); return ok }},
		"an inactive key":             {func(s *iam.State) { s.AccessKeys[0].Active = false }, func(s *iam.Snapshot) bool { _, ok := s.AccessKey("AKIA1"); return ok }},
		"a guardrail": {func(s *iam.State) {
			s.Guardrails = []iam.GuardrailsRecord{{Account: account, ServiceControl: [][]iam.Policy{{{Name: "p", Document: "{}"}}}}}
		}, func(s *iam.Snapshot) bool { return allowed(s) }},
		"an empty level": {func(s *iam.State) {
			s.Guardrails = []iam.GuardrailsRecord{{Account: account, ServiceControl: [][]iam.Policy{{}}}}
		}, func(s *iam.Snapshot) bool { return allowed(s) }},
		"an account that is not configured": {func(s *iam.State) { s.Roles[0].Account = "999988887777" }, func(s *iam.Snapshot) bool { _, ok := s.RoleByID("AROA1"); return ok }},
	} {
		state := iam.State{
			Roles: []iam.RoleRecord{role}, Users: []iam.UserRecord{user}, Groups: []iam.GroupRecord{group},
			ManagedPolicies: []iam.ManagedPolicyRecord{managed},
			AccessKeys:      []iam.AccessKeyRecord{{ID: "AKIA1", Account: account, User: "AIDA1", Active: true, Sealed: []byte(iam.SealAccessKey + "|AKIA1|s")}},
		}
		state.ManagedPolicies[0].Versions = slices.Clone(managed.Versions)
		tc.spoil(&state)
		s := iam.CompileSealed(state, []iam.Account{{ID: account}, {ID: "444455556666"}}, box{})
		if tc.left(s) {
			t.Errorf("%s: it still counts", label)
		}
		if faults := s.Faults(); (len(faults) == 0) != (label == "nothing" || label == "an inactive key") {
			t.Errorf("%s: faults %q", label, faults)
		}
	}
}

// allowed asks the account's service control alone.
func allowed(s *iam.Snapshot) bool {
	d, err := policy.Parse(policy.Identity, "p", []byte(may))
	if err != nil {
		return false
	}
	service, _ := s.Guardrails(account)
	set := policy.Set{Guardrails: service, Identity: []*policy.Document{d}}
	return set.Decide(&policy.Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: account, Principal: policy.Principal{Account: account}}).Allow
}

// TestStepByStepIsTheSameAsAtOnce: after any edits, the snapshot that took over
// what did not change decides as one that is compiled anew.
func TestStepByStepIsTheSameAsAtOnce(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	r := rand.New(rand.NewPCG(1, 2))
	for step := range 60 {
		w.edit(t, func(d *iam.Draft) error { return randomEdit(d, r, step) })
		fresh, err := iam.Open(t.Context(), w.Config)
		if err != nil {
			t.Fatal(err)
		}
		a, b := current(t, w.Service), current(t, fresh)
		for _, name := range []string{"arn:aws:iam::111122223333:user/u0", "arn:aws:iam::111122223333:user/u1"} {
			x, xok := a.User(name)
			y, yok := b.User(name)
			if xok != yok || xok && answers(x.Policies, x.Boundary) != answers(y.Policies, y.Boundary) {
				t.Fatalf("step %d: %s: %+v and %+v", step, name, x, y)
			}
		}
		for _, record := range a.View().Roles(account) {
			x, xok := a.RoleByID(record.ID)
			y, yok := b.RoleByID(record.ID)
			if !xok || !yok || answers(x.Policies, x.Boundary) != answers(y.Policies, y.Boundary) || !reflect.DeepEqual(x.Tags, y.Tags) {
				t.Fatalf("step %d: %s: %+v and %+v", step, record.Name, x, y)
			}
		}
	}
}

// answers asks a principal's policies for every action that the edits write.
func answers(identity []*policy.Document, boundary *policy.Document) (out string) {
	for i := range 10 {
		set := policy.Set{Identity: identity, Boundary: boundary}
		v := set.Decide(&policy.Request{Action: fmt.Sprintf("s3:Action%d", i), Resource: "arn:aws:s3:::b", ResourceAccount: account, Principal: policy.Principal{Account: account}})
		out += fmt.Sprint(v.Allow, v.Cites(), " ")
	}
	return out
}

// randomEdit changes one thing among a few roles, users, groups and policies.
func randomEdit(d *iam.Draft, r *rand.Rand, step int) error {
	document := func() string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Sid":"s%d","Effect":"Allow","Action":"s3:Action%d","Resource":"*"}}`, step, r.IntN(10))
	}
	n := func(prefix string) string { return fmt.Sprint(prefix, r.IntN(2)) }
	managed := func() string { return "arn:aws:iam::111122223333:policy/" + n("m") }
	some := func() (out []string) {
		for _, m := range []string{"m0", "m1"} {
			if _, ok := d.ManagedPolicy(account, m); ok && r.IntN(2) == 0 {
				out = append(out, "arn:aws:iam::111122223333:policy/"+m)
			}
		}
		return out
	}
	switch r.IntN(6) {
	case 0, 1:
		p, ok := d.ManagedPolicy(account, n("m"))
		if !ok {
			p = iam.ManagedPolicyRecord{ID: identity.NewIAMID("ANPA"), Account: account, Path: "/", Name: n("m"), Next: 1}
		}
		p.AddVersion(document(), d.Now())
		d.Put(&p)
	case 2:
		g, ok := d.Group(account, "g")
		if !ok {
			g = iam.GroupRecord{ID: identity.NewIAMID("AGPA"), Account: account, Path: "/", Name: "g"}
		}
		g.Policies, g.Attached = []iam.Policy{{Name: "p", Document: document()}}, some()
		d.Put(&g)
	case 3:
		u, ok := d.User(account, n("u"))
		if !ok {
			u = iam.UserRecord{ID: identity.NewUserID(), Account: account, Path: "/", Name: n("u")}
		}
		u.Attached, u.Groups, u.Boundary = some(), nil, nil
		if g, ok := d.Group(account, "g"); ok && r.IntN(2) == 0 {
			u.Groups = []string{g.ID}
		}
		if m := managed(); d.HasManagedPolicy(account, m) && r.IntN(2) == 0 {
			u.Boundary = iam.BoundaryOf(m)
		}
		d.Put(&u)
	case 4:
		role, ok := d.Role(account, n("r"))
		if !ok {
			role = iam.RoleRecord{ID: identity.NewRoleID(), Account: account, Path: "/", Name: n("r"), Trust: iam.Policy{Name: "trust", Document: assume}, MaxSession: time.Hour}
		}
		role.Attached, role.Policies = some(), []iam.Policy{{Name: "p", Document: document()}}
		d.Put(&role)
	case 5:
		if role, ok := d.Role(account, n("r")); ok {
			d.Delete(role.Ref())
		}
	}
	return nil
}
