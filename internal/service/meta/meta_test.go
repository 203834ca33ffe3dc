package meta_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/meta"
)

var now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func role(account, name string) arn.Role {
	return arn.Role{Partition: "aws", Account: account, Path: "/", Name: name}
}

var reader = role("777788889999", "reader")

// world stands for AWS, the clusters and the trail.
type world struct {
	calls  []meta.Call
	spoil  func(*broker.Assumed)
	refuse error
	events []event.Event
	broken error
	stored string
}

func (w *world) AssumeRole(_ context.Context, c meta.Call) (broker.Assumed, error) {
	w.calls = append(w.calls, c)
	if w.refuse != nil {
		return broker.Assumed{}, w.refuse
	}
	out := broker.Assumed{AssumedRoleARN: c.Role.AssumedRole(c.SessionName), SourceIdentity: c.SourceIdentity,
		Credentials: credential.Temporary{AccessKeyID: "ASIAMETA", SecretAccessKey: secret.New("s"), SessionToken: secret.New("t"), Expiration: now.Add(c.Duration)}}
	if w.spoil != nil {
		w.spoil(&out)
	}
	return out, nil
}

func (w *world) Cluster(id identity.ClusterID) (cluster.Cluster, bool) {
	c, ok := map[identity.ClusterID]cluster.Cluster{"cls_meta": {ID: "cls_meta", Name: "lab", Meta: true}, "cls_plain": {ID: "cls_plain", Name: "plain"}}[id]
	return c, ok
}

func (w *world) Allows(_ cluster.Cluster, r arn.Role) bool { return r.Name != "closed" }

func (w *world) ExternalID(_ context.Context, made string) (string, error) {
	if w.stored == "" {
		w.stored = made
	}
	return w.stored, nil
}

func (w *world) Atomic(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (w *world) Record(_ context.Context, e event.Event) error {
	if w.broken == nil {
		w.events = append(w.events, e)
	}
	return w.broken
}

func open(t *testing.T, w *world) *meta.Service {
	t.Helper()
	s, err := meta.Open(t.Context(), meta.Config{STS: w, Clusters: w, ExternalIDs: w, State: w, Trail: w, Now: func() time.Time { return now }, Accounts: entitlement.Accounts{
		"777788889999": {Partition: "aws", AssumeRole: true}, "111122223333": {Partition: "aws", WebIdentity: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ann() meta.Ask {
	return meta.Ask{Cluster: "cls_meta", Role: reader, Person: "psn_ann", IdP: "idp_corp", Name: "Ann Böhm@example.com", Delegation: "dlg_a", Why: "attachment"}
}

// TestKeys: one call, under the person's name twice and this installation's id, and one
// record.
func TestKeys(t *testing.T) {
	t.Parallel()
	w := &world{}
	s := open(t, w)
	if again := open(t, w); again.ExternalID() != s.ExternalID() || len(s.ExternalID()) < 30 {
		t.Errorf("external ids %q and %q", s.ExternalID(), again.ExternalID())
	}
	k, err := s.Keys(t.Context(), ann())
	if err != nil || k.AccessKeyID != "ASIAMETA" {
		t.Fatal(k, err)
	}
	name := identity.SessionName("Ann Böhm@example.com")
	if want := (meta.Call{Role: reader, SessionName: name, SourceIdentity: name, ExternalID: s.ExternalID(), Duration: time.Hour}); len(w.calls) != 1 || w.calls[0] != want {
		t.Errorf("called %+v, want %+v", w.calls, want)
	}
	if e := w.events[0]; len(w.events) != 1 || e.Action != "meta.assume" || e.Person != "psn_ann" || e.Role != reader.String() || e.AccessKeyID != "ASIAMETA" || e.Delegation != "dlg_a" || e.Cluster != "lab" {
		t.Errorf("recorded %+v", w.events)
	}
	for left, want := range map[time.Duration]time.Duration{48 * time.Hour: time.Hour, 40 * time.Minute: 40 * time.Minute, time.Minute: 15 * time.Minute} {
		a := ann()
		a.Ends = now.Add(left)
		if _, err := s.Keys(t.Context(), a); err != nil || w.calls[len(w.calls)-1].Duration != want {
			t.Errorf("with %s left %s is asked for: %v", left, w.calls[len(w.calls)-1].Duration, err)
		}
	}
}

// TestRefused: nothing is asked of AWS that cluster, role and account do not admit.
func TestRefused(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		change func(*meta.Ask)
		code   string
	}{
		"no cluster":                       {func(a *meta.Ask) { a.Cluster = "" }, "meta.cluster"},
		"a cluster that is gone":           {func(a *meta.Ask) { a.Cluster = "cls_gone" }, "meta.cluster"},
		"a cluster without the meta role":  {func(a *meta.Ask) { a.Cluster = "cls_plain" }, "meta.off"},
		"a role that may not be used":      {func(a *meta.Ask) { a.Role = role("777788889999", "closed") }, "meta.role"},
		"an account that does not take it": {func(a *meta.Ask) { a.Role = role("111122223333", "reader") }, "meta.account"},
		"an account that is not ours":      {func(a *meta.Ask) { a.Role = role("999999999999", "reader") }, "meta.account"},
		"another partition":                {func(a *meta.Ask) { a.Role.Partition = "aws-cn" }, "meta.account"},
		"nobody":                           {func(a *meta.Ask) { a.Person = "" }, ""},
		"no name":                          {func(a *meta.Ask) { a.Name = "" }, ""},
	} {
		w := &world{}
		a := ann()
		c.change(&a)
		if k, err := open(t, w).Keys(t.Context(), a); err == nil || fault.Of(err).Code != c.code || len(w.calls) != 0 || k.AccessKeyID != "" {
			t.Errorf("%s: %v, %d calls", what, err, len(w.calls))
		}
	}
}

// TestAttackForeignAnswers: keys of another role, under another name, or that can't be
// recorded, are nobody's.
func TestAttackForeignAnswers(t *testing.T) {
	t.Parallel()
	for what, w := range map[string]*world{
		"another role":           {spoil: func(o *broker.Assumed) { o.AssumedRoleARN = role("777788889999", "admin").AssumedRole("Ann") }},
		"another name":           {spoil: func(o *broker.Assumed) { o.AssumedRoleARN = reader.AssumedRole("bob") }},
		"no source identity":     {spoil: func(o *broker.Assumed) { o.SourceIdentity = "" }},
		"another's":              {spoil: func(o *broker.Assumed) { o.SourceIdentity = "bob" }},
		"no keys":                {spoil: func(o *broker.Assumed) { o.Credentials.AccessKeyID = "" }},
		"keys that have ended":   {spoil: func(o *broker.Assumed) { o.Credentials.Expiration = now.Add(-time.Second) }},
		"a trail that is full":   {broken: errors.New("the disk is full")},
		"AWS says no":            {refuse: fault.Coded(fault.Denied, "AccessDenied", "User is not authorized to perform: sts:AssumeRole")},
		"AWS does not answer":    {refuse: fault.New(fault.Unavailable, "STS did not answer")},
		"AWS answers in riddles": {refuse: errors.New("x")},
	} {
		k, err := open(t, w).Keys(t.Context(), ann())
		if err == nil || k.AccessKeyID != "" || len(w.calls) != 1 {
			t.Errorf("%s: %v %v, %d calls", what, k.AccessKeyID, err, len(w.calls))
		}
		if f := fault.Of(err); w.refuse != nil && f.Kind == fault.Denied && !strings.Contains(f.Mend, "carnet setup aws --meta") {
			t.Errorf("%s: %q does not say what to do", what, f.Mend)
		}
	}
}
