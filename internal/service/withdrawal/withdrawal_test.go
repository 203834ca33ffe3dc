package withdrawal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/revocation"
)

const account = "777788889999"

func role(name string) arn.Role {
	return arn.Role{Partition: "aws", Account: account, Path: "/", Name: name}
}

// desk is a service on stores in memory; what AWS has is in policies.
type desk struct {
	*Service
	mu       sync.Mutex // the worker writes roles side by side
	noted    []Noted
	revoked  []revocation.Entry
	denies   map[arn.Role][]Deny
	seq      map[arn.Role]int64
	due      map[arn.Role]time.Time
	tries    map[arn.Role]int
	trouble  map[arn.Role]string
	policies map[arn.Role]string
	refuse   func(document string) error
	events   []event.Event
	calls    []string
	failing  bool // the transaction does not commit
	deaf     bool // nobody can say which servers know
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{denies: map[arn.Role][]Deny{}, seq: map[arn.Role]int64{}, due: map[arn.Role]time.Time{}, tries: map[arn.Role]int{}, trouble: map[arn.Role]string{}, policies: map[arn.Role]string{}}
	d.Service = New(Config{Feed: d, Delegations: d, Ledger: d, Denies: d, Policies: d, State: d, Trail: d, Now: time.Now, Holder: "srv",
		Accounts: map[string]Account{account: {Partition: "aws", Writable: true, Margin: 30 * time.Second}, "111122223333": {Partition: "aws"}}})
	return d
}

func (d *desk) Revoke(context.Context, string, string) (uint64, error) { return 7, nil }

func (d *desk) Who(context.Context) ([]revocation.View, error) {
	if d.deaf {
		return nil, errors.New("the database has gone away")
	}
	return []revocation.View{{Server: "srv", Epoch: 6}}, nil
}
func (d *desk) Epoch() (uint64, error) { return 8, nil }

func (d *desk) Since(_ context.Context, epoch uint64) (out []revocation.Entry, _ error) {
	for _, e := range d.revoked {
		if e.Epoch >= epoch {
			out = append(out, e)
		}
	}
	return out, nil
}
func (d *desk) EndWith(context.Context, Target) error { return nil }

func (d *desk) Atomic(ctx context.Context, fn func(context.Context) error) error {
	denies, events := d.denies, d.events
	if err := fn(ctx); err != nil || d.failing {
		d.denies, d.events = denies, events
		return errors.Join(err, errors.New("not committed"))
	}
	return nil
}
func (d *desk) Record(_ context.Context, e event.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
	return nil
}
func (d *desk) Note(_ context.Context, n Noted) error { d.noted = append(d.noted, n); return nil }
func (d *desk) Noted(_ context.Context, of Of, now time.Time) (out []Noted, _ error) {
	for _, n := range d.noted {
		if n.Reach.After(now) && (of.Person == "" || of.Person == n.Person) && (of.Role.IsZero() || of.Role == n.Role) && (of.Delegation == "" || of.Delegation == n.Delegation) {
			out = append(out, n)
		}
	}
	return out, nil
}
func (d *desk) Sweep(context.Context, time.Time) error { return nil }
func (d *desk) Queue(_ context.Context, r arn.Role, denies []Deny, now time.Time) error {
	next := map[arn.Role][]Deny{}
	for k, v := range d.denies {
		next[k] = v
	}
	next[r] = append(slices.Clone(d.denies[r]), denies...)
	d.denies = next
	d.seq[r]++
	d.due[r], d.tries[r] = now, 0
	return nil
}
func (d *desk) Denies(_ context.Context, r arn.Role) (out []Standing, _ error) {
	for _, x := range d.denies[r] {
		out = append(out, Standing{Deny: x, State: DenyQueued})
	}
	return out, nil
}
func (d *desk) Take(_ context.Context, _ string, now, _ time.Time) (Work, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for r, denies := range d.denies {
		if due := d.due[r]; !due.IsZero() && !now.Before(due) {
			d.due[r] = time.Time{}
			return Work{Role: r, Seq: d.seq[r], Denies: denies, Tries: d.tries[r], Trouble: d.trouble[r]}, true, nil
		}
	}
	return Work{}, false, nil
}
func (d *desk) Settle(_ context.Context, _ string, w Work, o Outcome, _ time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due[w.Role], d.trouble[w.Role] = o.Due, o.Trouble
	if o.Trouble != "" {
		d.tries[w.Role]++
	}
	return nil
}
func (d *desk) Watch(context.Context, func()) error { return nil }
func (d *desk) Get(_ context.Context, r arn.Role) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, "get")
	return d.policies[r], nil
}
func (d *desk) Put(_ context.Context, r arn.Role, document string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, "put")
	if d.refuse != nil {
		if err := d.refuse(document); err != nil {
			return err
		}
	}
	d.policies[r] = document
	return nil
}
func (d *desk) Delete(_ context.Context, r arn.Role) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, "delete")
	delete(d.policies, r)
	return nil
}

// keyOf is a person's, by SAML.
func (d *desk) keyOf(t *testing.T, name string, r arn.Role, life time.Duration) {
	t.Helper()
	if err := d.Issued(t.Context(), "", Key{Role: r, Person: "psn_" + "x", SessionName: name, AccessKeyID: "ASIA" + name, Until: time.Now().Add(life)}); err != nil {
		t.Fatal(err)
	}
}

func (d *desk) take(t *testing.T, kind, id string) Result {
	t.Helper()
	r, err := d.Service.Revoke(t.Context(), Target{kind, id})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRevoke: what is outstanding is told, and denies are queued for the roles where
// they are, and for no others.
func TestRevoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.keyOf(t, "ann", role("analyst"), time.Hour)
		elsewhere := role("analyst")
		elsewhere.Account = "111122223333"
		d.keyOf(t, "ann", elsewhere, time.Hour)
		local := role("analyst")
		local.Account = "444455556666"
		d.keyOf(t, "ann", local, time.Hour)
		r := d.take(t, revocation.Person, "psn_x")
		if len(r.Outstanding) != 2 || r.Epoch != 7 || len(r.Servers) != 1 {
			t.Fatalf("%+v", r)
		}
		for _, k := range r.Outstanding {
			if want := map[string]DenyState{account: DenyQueued, "111122223333": DenyNone}[k.Account]; k.Deny != want {
				t.Errorf("account %s: %s, want %s", k.Account, k.Deny, want)
			}
		}
		cut := time.Now().UTC().Add(31 * time.Second).Truncate(time.Second)
		if got := d.denies[role("analyst")]; len(got) != 1 || got[0] != (Deny{ByName, "ann", cut, cut.Add(MostSession)}) || len(d.denies) != 1 {
			t.Errorf("queued: %v", d.denies)
		}
		if e := d.events[0]; e.Action != "revoke" || e.Target != "psn_x" || e.Detail["kind"] != "person" {
			t.Errorf("recorded: %+v", e)
		}
	})
}

// TestWhatEachKindDenies at AWS.
func TestWhatEachKindDenies(t *testing.T) {
	t.Parallel()
	issuer := "https://carnet.example.com/oidc"
	for name, x := range map[string]struct {
		key  Key
		to   Target
		want string
	}{
		"a person's key by SAML": {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"person", "psn_x"}, "name ann"},
		"a person's ID token":    {Key{Issuer: issuer, Subject: "user:psn_x"}, Target{"person", "psn_x"}, "subject carnet.example.com/oidc user:psn_x"},
		"a person's renewed key": {Key{Issuer: issuer, Subject: "user:psn_x", SessionName: "ann", AccessKeyID: "A"}, Target{"person", "psn_x"}, "name ann, subject carnet.example.com/oidc user:psn_x"},
		"a job, not its person":  {Key{Issuer: issuer, Subject: "job:dlg_x", SessionName: "ann", AccessKeyID: "A", Delegation: "dlg_x"}, Target{"delegation", "dlg_x"}, "subject carnet.example.com/oidc job:dlg_x"},
		"a role, whoever has it": {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"role", role("analyst").String()}, "all "},
		"a role that nobody had": {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"role", role("other").String()}, "all "},
		"everything":             {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"everything", "everything"}, "all "},
		"a role of our own":      {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"role", "AROAX"}, ""},
		"what AWS knows not of":  {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"gateway-key", "gwk_x"}, ""},
		"somebody else's keys":   {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"person", "psn_y"}, ""},
		"a role in no account":   {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"role", "arn:aws:iam::999999999999:role/analyst"}, ""},
		"a role elsewhere":       {Key{SessionName: "ann", AccessKeyID: "A"}, Target{"role", "arn:aws-cn:iam::" + account + ":role/analyst"}, ""},
	} {
		d := newDesk(t)
		x.key.Role, x.key.Person, x.key.Until = role("analyst"), "psn_x", time.Now().Add(time.Hour)
		if err := d.Issued(t.Context(), "jti", x.key); err != nil {
			t.Fatal(name, err)
		}
		d.take(t, x.to.Kind, x.to.ID)
		var got []string
		for _, denies := range d.denies {
			for _, x := range denies {
				got = append(got, string(x.Form)+" "+x.Value)
			}
		}
		if strings.Join(got, ", ") != x.want {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
	}
}

// TestAttackTokenTradedAfterTheRevocation: AWS takes an ID token that was out until
// it ends, so keys of its subject are denied until then, whatever was revoked; keys
// of others, and those by another way, are not.
func TestAttackTokenTradedAfterTheRevocation(t *testing.T) {
	t.Parallel()
	for _, to := range []Target{{revocation.Person, "psn_x"}, {revocation.Everything, revocation.Everything}, {revocation.Role, role("analyst").String()}} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.keyOf(t, "ann", role("analyst"), time.Hour)
			ends := time.Now().Add(5 * time.Minute)
			k := IDToken(Key{Role: role("analyst"), Person: "psn_x", Issuer: "https://carnet.example.com/oidc", Subject: "user:psn_x"}, ends)
			if err := d.Issued(t.Context(), "jti", k); err != nil {
				t.Fatal(err)
			}
			d.take(t, to.Kind, to.ID)
			for _, x := range d.denies[role("analyst")] {
				late := x.Cut.After(ends.Add(29 * time.Second))
				if want := x.Form == BySubject; late != want {
					t.Errorf("%s: %s %q until %s", to.Kind, x.Form, x.Value, x.Cut)
				}
			}
			if n := len(d.denies[role("analyst")]); n != 2 {
				t.Errorf("%s: %d denies", to.Kind, n)
			}
			time.Sleep(6 * time.Minute)
			d.denies = map[arn.Role][]Deny{}
			d.take(t, revocation.Person, "psn_x")
			for _, x := range d.denies[role("analyst")] {
				if x.Cut.After(time.Now().Add(time.Minute)) {
					t.Errorf("after the token ended: %v", x)
				}
			}
		})
	}
}

// TestLostRoles: who lost a role is denied there alone; the keys that the very same
// sign-in brought of other roles go on.
func TestLostRoles(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.keyOf(t, "ann", role("analyst"), time.Hour)
	d.keyOf(t, "ann", role("other"), time.Hour)
	if err := d.DenyIn(t.Context(), "psn_x", []arn.Role{role("analyst"), role("never-had")}); err != nil {
		t.Fatal(err)
	}
	if got := d.denies[role("analyst")]; len(got) != 1 || got[0].Value != "ann" || len(d.denies) != 1 {
		t.Errorf("queued: %v", d.denies)
	}
	if err := d.DenyPeople(t.Context(), []identity.PersonID{"psn_x", "psn_y"}); err != nil || len(d.denies[role("other")]) != 1 {
		t.Errorf("people: %v, %v", d.denies, err)
	}
}

// TestAttackUnwritableKeyIsNotGiven: keys that no deny could name, or that could
// not be found again, are not given at all.
func TestAttackUnwritableKeyIsNotGiven(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, k := range map[string]Key{
		"a wildcard":       {SessionName: "a*b", AccessKeyID: "A"},
		"no name":          {AccessKeyID: "A"},
		"a strange bearer": {Issuer: "https://carnet.example.com", Subject: "carnet:revocation"},
		"no id":            {SessionName: "ann"},
	} {
		k.Role, k.Until = role("analyst"), time.Now().Add(time.Hour)
		if err := d.Issued(t.Context(), "", k); fault.KindOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := d.Issued(t.Context(), "x", Key{Role: role("analyst"), SessionName: "ann"}); fault.KindOf(err) != fault.Internal {
		t.Errorf("no end: %v", err)
	}
	if len(d.noted) != 0 {
		t.Errorf("noted: %v", d.noted)
	}
}

// TestKeysPastCarnet: whoever has the assertion or an ID token may buy keys that
// Carnet never saw. They are remembered as long as such keys may live.
func TestKeysPastCarnet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.keyOf(t, "ann", role("analyst"), time.Hour)
		time.Sleep(11 * time.Hour)
		r := d.take(t, revocation.Person, "psn_x")
		if len(r.Outstanding) != 0 || len(d.denies) != 1 {
			t.Errorf("told %v, queued %v", r.Outstanding, d.denies)
		}
		k := IDToken(Key{}, time.Now().Add(5*time.Minute))
		if k.Until != time.Now().Add(12*time.Hour+5*time.Minute) {
			t.Errorf("an ID token reaches until %s", k.Until)
		}
	})
}

// TestNothingIsQueuedWithoutTheRevocation, nor the other way round.
func TestNothingIsQueuedWithoutTheRevocation(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.keyOf(t, "ann", role("analyst"), time.Hour)
	d.failing = true
	if _, err := d.Service.Revoke(t.Context(), Target{"person", "psn_x"}); err == nil || len(d.denies) != 0 {
		t.Errorf("%v, %v", err, d.denies)
	}
	d.failing = false
	for _, bad := range []Target{{"person", ""}, {"", "x"}, {"persons", "psn_x"}, {"everything", "psn_x"}} {
		if _, err := d.Service.Revoke(t.Context(), bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// run lets the worker go on for a while.
func (d *desk) run(t *testing.T, while time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	time.Sleep(while)
	stop()
	<-done
}

// TestWorker: a deny is written, beside those of another installation, kept as long
// as it must, and taken away.
func TestWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		other := Deny{ByName, "bob", time.Now().UTC().Truncate(time.Second), time.Now().UTC().Truncate(time.Second).Add(time.Hour)}
		d.policies[role("analyst")] = render([]Deny{other})
		d.keyOf(t, "ann", role("analyst"), time.Hour)
		d.take(t, revocation.Person, "psn_x")
		d.run(t, 10*time.Second)
		there, err := parse(d.policies[role("analyst")])
		if err != nil || len(there) != 2 {
			t.Fatalf("%v, %v", there, err)
		}
		if e := d.events[1]; e.Action != "revocation.deny" || e.Outcome != event.Done || e.Role != role("analyst").String() || e.Detail["form"] != "each" {
			t.Errorf("recorded: %+v", e)
		}
		d.run(t, 11*time.Hour)
		if there, err = parse(d.policies[role("analyst")]); err != nil || len(there) == 0 {
			t.Fatalf("before the end: %v, %v", there, err)
		}
		d.run(t, 2*time.Hour)
		if text, ok := d.policies[role("analyst")]; ok {
			t.Errorf("after the end: %s", text)
		}
	})
}

// TestWorkerTriesAgain: with growing pauses, one record for the same trouble, until
// AWS takes it; a policy of somebody else is left alone.
func TestWorkerTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.refuse = func(string) error { return fault.Coded(fault.Denied, "AccessDenied", "not allowed") }
		d.keyOf(t, "ann", role("analyst"), time.Hour)
		d.take(t, revocation.Person, "psn_x")
		d.run(t, 10*time.Minute)
		if n := len(d.calls); n < 10 || n > 40 {
			t.Errorf("%d calls in 10 minutes", n)
		}
		if len(d.events) != 2 || d.events[1].Outcome != event.Denied || d.events[1].Code != "AccessDenied" {
			t.Errorf("recorded: %+v", d.events)
		}
		d.refuse = nil
		d.run(t, 6*time.Minute)
		if there, err := parse(d.policies[role("analyst")]); err != nil || len(there) != 1 {
			t.Errorf("%v, %v", there, err)
		}

		theirs := `{"Version":"2012-10-17","Statement":[{"Sid":"Theirs","Effect":"Allow","Action":["*"],"Resource":["*"]}]}`
		d.policies[role("analyst")] = theirs
		d.take(t, revocation.Person, "psn_x")
		d.run(t, time.Minute)
		if d.policies[role("analyst")] != theirs || !strings.Contains(d.trouble[role("analyst")], "did not write") {
			t.Errorf("%s, trouble %q", d.policies[role("analyst")], d.trouble[role("analyst")])
		}
	})
}

// TestShorterForms: what AWS has no room for is said shorter, and denies more, never
// less.
func TestShorterForms(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		people, most int
		at           time.Duration // apart
		want         string
	}{
		{40, MostPolicy, 0, "each"},
		{60, MostPolicy, time.Second, "at one time"},
		{900, MostPolicy, 0, "all keys"},
		{40, 300, 0, "all keys"},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.refuse = func(document string) error {
				if len(document) > x.most {
					return fault.Coded(fault.TooLarge, "LimitExceeded", "too large")
				}
				return nil
			}
			for i := range x.people {
				d.keyOf(t, fmt.Sprintf("person-%d", i), role("analyst"), time.Hour)
				if x.at != 0 || i == x.people-1 {
					d.take(t, revocation.Person, "psn_x")
				}
				time.Sleep(x.at)
				if x.at != 0 {
					d.noted = nil
				}
			}
			d.run(t, 10*time.Second)
			last := d.events[len(d.events)-1]
			if len(d.policies[role("analyst")]) > x.most || last.Detail["form"] != x.want {
				t.Errorf("%d people: %d characters, %v; want the form %q", x.people, len(d.policies[role("analyst")]), last.Detail, x.want)
			}
		})
	}
}

// TestAppliedAsksEveryServer.
func TestAppliedAsksEveryServer(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for epoch, want := range map[uint64]bool{6: true, 7: false} {
		if _, all, err := d.Applied(t.Context(), epoch); err != nil || all != want {
			t.Errorf("epoch %d: %v, %v", epoch, all, err)
		}
	}
}

// TestDoneIsNoFailure: a revocation that has committed is done, also where nobody can say
// any more who knows of it; one that has not is none.
func TestDoneIsNoFailure(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.deaf = true
	r, err := d.Service.Revoke(t.Context(), Target{revocation.Person, "psn_a"})
	if err != nil || r.Epoch != 7 || len(r.Servers) != 0 {
		t.Errorf("Revoke = %+v, %v", r, err)
	}
	d.failing = true
	if r, err := d.Service.Revoke(t.Context(), Target{revocation.Person, "psn_a"}); err == nil || r.Epoch != 0 {
		t.Errorf("not committed: %+v, %v", r, err)
	}
}
