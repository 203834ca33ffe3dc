package broker_test

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

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
)

// ward is a broker in a bubble of its own time: what it stands on is in memory.
type ward struct {
	*broker.Broker
	t *testing.T

	mu     sync.Mutex
	rows   map[string]broker.Row
	words  map[string]broker.Word
	away   error         // of STS
	takes  time.Duration // of STS
	calls  []time.Time
	under  int // calls under way
	most   int
	trail  []event.Event
	minted int
}

// inWard runs do in a bubble, with a role whose keys by SAML last an hour.
func inWard(t *testing.T, do func(t *testing.T, w *ward, o broker.Outcome)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &ward{t: t, rows: map[string]broker.Row{}, words: map[string]broker.Word{}}
		w.Broker = w.server()
		do(t, w, w.signIn("lgn_1"))
	})
}

func (w *ward) server() *broker.Broker {
	accounts := entitlement.Accounts{
		ours: {ID: ours, Partition: "aws", SAML: true, WebIdentity: true, Bridge: true, Tags: true, SourceIdentity: true},
		web:  {ID: web, Partition: "aws", WebIdentity: true, Tags: true, SourceIdentity: true},
	}
	return broker.New(broker.Config{STS: w, Store: wardStore{w}, Sealer: plainSealer{}, Now: time.Now,
		Bridge: broker.Bridge{Tokens: w, Accounts: accounts, Standing: w, Renewals: w, State: w, Trail: w}})
}

func (w *ward) signIn(id identity.LoginSessionID) broker.Outcome { return w.signInTo(id, ours) }

func (w *ward) signInTo(id identity.LoginSessionID, account string) broker.Outcome {
	w.t.Helper()
	r := broker.Request{LoginSession: id, Person: "psn_ann", Epoch: 7, Started: time.Now(), Ends: time.Now().Add(12 * time.Hour), IssueInstant: time.Now(),
		Assertion: secret.New("PHNhbWw+"), Entitlements: entitlement.Of(assertionOf(account), w.speaker(), w.Accounts, "ann")}
	out, err := w.Exchange(w.t.Context(), r)
	if err == nil {
		err = w.Keep(w.t.Context(), r, out)
	}
	if err != nil || out[0].Failure != nil {
		w.t.Fatal(out, err)
	}
	return out[0]
}

func (w *ward) speaker() *federation.Speaker {
	return &federation.Speaker{IdP: federation.IdP{ID: "idp_a", Name: "Corp", Enabled: true, Accounts: []string{ours, web}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"}}}
}

func (w *ward) AssumeRoleWithSAML(_ context.Context, c broker.Call) (broker.Assumed, error) {
	return assumed(c, time.Now().Add(time.Hour)), nil
}

func (w *ward) AssumeRoleWithWebIdentity(ctx context.Context, c broker.WebCall) (broker.Assumed, error) {
	w.mu.Lock()
	w.calls = append(w.calls, time.Now())
	w.under++
	w.most = max(w.most, w.under)
	n, away, takes := len(w.calls), w.away, w.takes
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.under--; w.mu.Unlock() }()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return broker.Assumed{}, fault.Wrap(ctx.Err(), fault.Unavailable, "STS did not answer in time")
		}
	}
	if away != nil {
		return broker.Assumed{}, away
	}
	a := assumed(broker.Call{Role: c.Role}, time.Now().Add(c.Duration))
	a.Credentials.AccessKeyID = fmt.Sprintf("ASIA%d", n)
	if c.Role.Account == web {
		a.SourceIdentity = "ann"
	}
	return a, nil
}

func (w *ward) MintID(issuer.IDToken) (issuer.Minted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.minted++
	return issuer.Minted{Token: secret.New("an.id.token"), ID: "jti", Issuer: "https://carnet.example.com/oidc"}, nil
}

func (w *ward) Active(context.Context, identity.PersonID) error                  { return nil }
func (w *ward) Speaker(identity.IdPID) (*federation.Speaker, error)              { return w.speaker(), nil }
func (w *ward) Refused(string, string, uint64) (bool, error)                     { return false, nil }
func (w *ward) Epoch() (uint64, error)                                           { return 8, nil }
func (w *ward) Atomic(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (w *ward) Record(_ context.Context, e event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trail = append(w.trail, e)
	return nil
}

func (w *ward) Row(_ context.Context, id identity.LoginSessionID, role string) (broker.Row, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.rows[string(id)+role]
	if !ok {
		return r, fault.New(fault.NotFound, "ended")
	}
	return r, nil
}

func (w *ward) Renew(_ context.Context, id identity.LoginSessionID, r broker.Row, was string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, ok := w.rows[string(id)+r.Role]
	switch {
	case !ok:
		return fault.New(fault.NotFound, "ended")
	case old.AccessKeyID != was:
		return fault.New(fault.Conflict, "another server was faster")
	}
	w.rows[string(id)+r.Role] = r
	return nil
}

func (w *ward) Refuse(context.Context, identity.LoginSessionID, string, broker.Trouble) error {
	return nil
}

func (w *ward) PutWord(_ context.Context, word broker.Word) error {
	w.words[string(word.Person)] = word
	return nil
}

func (w *ward) Word(_ context.Context, p identity.PersonID, _ identity.IdPID) (broker.Word, error) {
	return w.words[string(p)], nil
}

// wardStore is the half of the store that a sign-in needs.
type wardStore struct{ *ward }

func (s wardStore) Save(_ context.Context, id identity.LoginSessionID, rows []broker.Row, _ []broker.Longest) error {
	for _, r := range rows {
		s.rows[string(id)+r.Role] = r
	}
	return nil
}

func (s wardStore) Load(_ context.Context, id identity.LoginSessionID) (out []broker.Row, _ error) {
	for k, r := range s.rows {
		if strings.HasPrefix(k, string(id)) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s wardStore) Forget(context.Context, identity.LoginSessionID) error       { return nil }
func (s wardStore) Longest(context.Context, []string) ([]broker.Longest, error) { return nil, nil }
func (s wardStore) Sweep(context.Context, time.Time) error                      { return nil }

// asked gives when STS was asked.
func (w *ward) asked() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// sts sets how STS answers from now on.
func (w *ward) sts(takes time.Duration, away error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takes, w.away = takes, away
}

// TestRenewalIsEarly: new keys are there when two thirds of the life of the old
// ones are over, and not long before.
func TestRenewalIsEarly(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		began := time.Now()
		for {
			got, err := w.Fresh(t.Context(), "lgn_1", o)
			if err != nil {
				t.Fatal(err)
			}
			if got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
				break
			}
			time.Sleep(10 * time.Second)
		}
		if after := time.Since(began); after < 34*time.Minute || after > 41*time.Minute {
			t.Errorf("renewed after %s of an hour", after)
		}
	})
}

// TestRenewalsSpread: what came together is not renewed together.
func TestRenewalsSpread(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, _ broker.Outcome) {
		var all []broker.Outcome
		for i := range 50 {
			id := identity.LoginSessionID(fmt.Sprintf("lgn_%d", i))
			o := w.signIn(id)
			all = append(all, o)
		}
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.Run(ctx) })
		for i, o := range all {
			if _, err := w.Fresh(ctx, identity.LoginSessionID(fmt.Sprintf("lgn_%d", i)), o); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(45 * time.Minute)
		stop()
		run.Wait()
		if len(w.asked()) != 50 {
			t.Fatalf("%d of 50 renewed", len(w.asked()))
		}
		if spread := w.asked()[49].Sub(w.asked()[0]); spread < 2*time.Minute {
			t.Errorf("all within %s", spread)
		}
	})
}

// TestOnlyWhatIsInUseIsRenewed: nobody asked for it for an hour, so nobody needs it.
func TestOnlyWhatIsInUseIsRenewed(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.Run(ctx) })
		if _, err := w.Fresh(ctx, "lgn_1", o); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Hour)
		if n := len(w.asked()); n != 1 { // at 40 minutes; then it had not been fetched for an hour
			t.Errorf("renewed %d times", n)
		}
		if _, err := w.Fresh(ctx, "lgn_1", o); fault.Of(err) == nil || fault.Of(err).Code != "bridge.deadline" {
			t.Errorf("past the deadline: %v", err)
		}
		stop()
		run.Wait()
	})
}

// TestLongJobLives: fetched now and then, the keys never end before the deadline.
func TestLongJobLives(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.Run(ctx) })
		for range 23 {
			got, err := w.Fresh(ctx, "lgn_1", o)
			if err != nil || !got.Session.Credentials.Live(time.Now().Add(14*time.Minute)) && time.Until(got.Basis.SignedIn.Add(4*time.Hour)) > 15*time.Minute {
				t.Fatalf("after %s: keys until %s, %v", time.Since(o.Basis.SignedIn), got.Session.Credentials.Expiration, err)
			}
			time.Sleep(10 * time.Minute)
		}
		if n := len(w.asked()); n < 5 || n > 7 {
			t.Errorf("%d renewals in 4 hours", n)
		}
		stop()
		run.Wait()
	})
}

// TestOneRenewalAtATime: a hundred fetches at once make one call, and whoever began
// it may go away.
func TestOneRenewalAtATime(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		w.sts(200*time.Millisecond, nil)
		time.Sleep(61 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = w.Fresh(ctx, "lgn_1", o) })
		synctest.Wait()
		cancel()
		for range 100 {
			all.Go(func() {
				if got, err := w.Fresh(t.Context(), "lgn_1", o); err != nil || got.Session.Credentials.AccessKeyID != "ASIA1" {
					t.Errorf("%s, %v", got.Session.Credentials.AccessKeyID, err)
				}
			})
		}
		all.Wait()
		if len(w.asked()) != 1 || w.minted != 1 || len(w.trail) != 1 {
			t.Errorf("%d calls, %d tokens, %d records", len(w.asked()), w.minted, len(w.trail))
		}
	})
}

// TestFetchDoesNotWaitWhileKeysLive: a slow STS holds up nobody for more than a
// moment.
func TestFetchDoesNotWaitWhileKeysLive(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		w.sts(20*time.Second, nil)
		time.Sleep(45 * time.Minute)
		began := time.Now()
		got, err := w.Fresh(t.Context(), "lgn_1", o)
		if err != nil || got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID || time.Since(began) != time.Second {
			t.Errorf("after %s: %s, %v", time.Since(began), got.Session.Credentials.AccessKeyID, err)
		}
		time.Sleep(30 * time.Second)
		if got, err = w.Fresh(t.Context(), "lgn_1", o); err != nil || got.Session.Credentials.AccessKeyID != "ASIA1" {
			t.Errorf("later: %s, %v", got.Session.Credentials.AccessKeyID, err)
		}
	})
}

// TestRenewalSurvivesSTSOutage: kept keys serve, the status says what is wrong, STS
// is left in peace between the attempts, and the first that works renews.
func TestRenewalSurvivesSTSOutage(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		w.sts(0, fault.New(fault.Unavailable, "STS did not answer"))
		time.Sleep(41 * time.Minute)
		for range 18 * 60 {
			got, err := w.Fresh(t.Context(), "lgn_1", o)
			if err != nil || got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
				t.Fatalf("%s, %v", got.Session.Credentials.AccessKeyID, err)
			}
			time.Sleep(time.Second)
		}
		if n := len(w.asked()); n < 15 || n > 30 {
			t.Errorf("%d calls in 18 minutes of outage", n)
		}
		st := w.Status("lgn_1", o)
		if !st.Renewable || !strings.Contains(st.Warning.Message, "STS does not answer") {
			t.Errorf("status %+v", st)
		}
		time.Sleep(2 * time.Minute)
		_, err := w.Fresh(t.Context(), "lgn_1", o)
		if f := fault.Of(err); f == nil || f.Kind != fault.Unavailable || f.Code != "ServiceUnavailable" || f.Mend == "" {
			t.Errorf("once the keys have ended: %v", err)
		}
		for _, e := range w.trail {
			t.Errorf("recorded: %+v", e)
		}
		w.sts(0, nil)
		time.Sleep(time.Minute)
		if got, err := w.Fresh(t.Context(), "lgn_1", o); err != nil || !got.Session.Credentials.Live(time.Now()) {
			t.Errorf("STS is back: %v", err)
		}
		if st := w.Status("lgn_1", o); st.Warning.Message != "" || st.Served != broker.ServedBridge {
			t.Errorf("STS is back: %+v", st)
		}
	})
}

// TestAnotherServerRenewed: what one server renewed the others take from the row.
func TestAnotherServerRenewed(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		second := w.server()
		time.Sleep(61 * time.Minute)
		for i, b := range []*broker.Broker{w.Broker, second, w.Broker} {
			if got, err := b.Fresh(t.Context(), "lgn_1", o); err != nil || got.Session.Credentials.AccessKeyID != "ASIA1" || got.Renewals != 1 {
				t.Errorf("server %d: %s, %v", i, got.Session.Credentials.AccessKeyID, err)
			}
		}
		if len(w.asked()) != 1 {
			t.Errorf("%d calls", len(w.asked()))
		}
	})
}

// TestTwoServersAtOnce: both ask, one stores; both give the stored keys.
func TestTwoServersAtOnce(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		second := w.server()
		w.sts(time.Second, nil)
		time.Sleep(61 * time.Minute)
		var both sync.WaitGroup
		var given [2]string
		for i, b := range []*broker.Broker{w.Broker, second} {
			both.Go(func() {
				got, err := b.Fresh(t.Context(), "lgn_1", o)
				if err != nil {
					t.Error(err)
				}
				given[i] = got.Session.Credentials.AccessKeyID
			})
		}
		both.Wait()
		row := w.rows["lgn_1"+o.Role.String()]
		if given[0] != given[1] || given[0] != row.AccessKeyID || len(w.trail) != 1 || row.Renewals != 1 {
			t.Errorf("given %v, stored %s, %d records", given, row.AccessKeyID, len(w.trail))
		}
	})
}

// TestTradedAtFirstUse: a role of an account that takes web identity alone makes no
// call at sign-in, is shown as available, and comes with the first fetch.
func TestTradedAtFirstUse(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, _ broker.Outcome) {
		o := w.signInTo("lgn_2", web)
		st := w.Status("lgn_2", o)
		if len(w.asked()) != 0 || o.Session.Credentials.AccessKeyID != "" || st.Served != broker.ServedWebIdentity || !st.Renewable ||
			!st.NeededBy.Equal(time.Now().Add(4*time.Hour)) || st.Refused != nil {
			t.Errorf("after the sign-in: %+v, %d calls", st, len(w.asked()))
		}
		kept, err := w.Kept(t.Context(), "lgn_2")
		if err != nil || len(kept) != 1 || kept[0].Failure != nil || kept[0].Basis == nil {
			t.Fatalf("kept %+v, %v", kept, err)
		}
		got, err := w.Fresh(t.Context(), "lgn_2", kept[0])
		if err != nil || !got.Session.Credentials.Live(time.Now()) || got.Served != broker.ServedWebIdentity || got.Session.SessionName != "ann" {
			t.Errorf("first use: %+v, %v", got, err)
		}
		if kept, err = w.Kept(t.Context(), "lgn_2"); err != nil || kept[0].Session.Credentials.AccessKeyID != got.Session.Credentials.AccessKeyID {
			t.Errorf("kept %+v, %v", kept, err)
		}
	})
}

// TestFirstUseRefused: the reason is said at once, and again, until it is mended.
func TestFirstUseRefused(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, _ broker.Outcome) {
		o := w.signInTo("lgn_2", web)
		w.sts(0, fault.Coded(fault.Unauthenticated, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://carnet.example.com/oidc"))
		for range 3 {
			_, err := w.Fresh(t.Context(), "lgn_2", o)
			if f := fault.Of(err); f == nil || f.Code != "InvalidIdentityToken" || !strings.Contains(f.Mend, "carnet setup aws --oidc") {
				t.Errorf("%v", err)
			}
		}
		if st := w.Status("lgn_2", o); st.Refused == nil || st.Refused.Code != "InvalidIdentityToken" || st.Renewable {
			t.Errorf("status %+v", st)
		}
		if len(w.asked()) != 1 {
			t.Errorf("%d calls at once", len(w.asked()))
		}
		w.sts(0, nil)
		time.Sleep(15 * time.Second)
		if _, err := w.Fresh(t.Context(), "lgn_2", o); err != nil {
			t.Error(err)
		}
	})
}

// TestWarnedBeforeTheEnd: whoever has to sign in again is told half an hour before.
func TestWarnedBeforeTheEnd(t *testing.T) {
	inWard(t, func(t *testing.T, w *ward, o broker.Outcome) {
		bare := broker.New(broker.Config{STS: w, Store: wardStore{w}, Sealer: plainSealer{}, Now: time.Now})
		saml := o
		saml.Basis = nil
		if st := bare.Status("lgn_1", saml); st.Warning.Message != "" || st.Renewable || st.Served != broker.ServedSAML || !st.NeededBy.Equal(o.Session.Credentials.Expiration) {
			t.Errorf("%+v", st)
		}
		time.Sleep(31 * time.Minute)
		if st := bare.Status("lgn_1", saml); !strings.Contains(st.Warning.Message, "takes SAML alone: sign in again") {
			t.Errorf("29 minutes before the end: %+v", st)
		}
		if st := w.Status("lgn_1", o); st.Warning.Message != "" || !st.Renewable {
			t.Errorf("renewable: %+v", st)
		}
		time.Sleep(3 * time.Hour)
		got, err := w.Fresh(t.Context(), "lgn_1", o)
		if err != nil {
			t.Fatal(err)
		}
		if st := w.Status("lgn_1", o); !strings.Contains(st.Warning.Message, "sign in again") || !st.NeededBy.Equal(got.Session.Credentials.Expiration) {
			t.Errorf("29 minutes before the deadline: %+v", st)
		}
		time.Sleep(time.Hour)
		if st := bare.Status("lgn_1", saml); st.Warning.Message != "" || !st.NeededBy.IsZero() {
			t.Errorf("after the end: %+v", st)
		}
	})
}

// TestStillEntitled: by the last word of the identity provider, and by its list as
// it is now.
func TestStillEntitled(t *testing.T) {
	t.Parallel()
	w := newBridge(t)
	ask := func(name string) error {
		return w.StillEntitled(t.Context(), "psn_ann", "idp_a", bridged(t, ours, name))
	}
	wantFault(t, ask("analyst"), "bridge.word") // nothing was said yet
	o := w.analyst()
	if err := ask("analyst"); err != nil {
		t.Error(err)
	}
	wantFault(t, ask("admin"), "bridge.word")
	if err := w.store.Forget(t.Context(), "lgn_1"); err != nil { // signed out: the word stays
		t.Fatal(err)
	}
	w.pass(100 * 24 * time.Hour)
	if err := ask("analyst"); err != nil {
		t.Error(err)
	}
	w.idp.RolePatterns = []string{"*engineer"}
	wantFault(t, ask("analyst"), "entitlement.ended")
	w.idp.RolePatterns = []string{"*"}
	w.config(ours, func(a *account) { a.AuthnContexts = []string{"token"} })
	wantFault(t, ask("analyst"), "bridge.authn-context")
	w.config(ours, func(a *account) { a.AuthnContexts = nil })
	w.inactive = true
	wantFault(t, ask("analyst"), "directory.inactive")
	w.inactive = false
	w.idp.Enabled = false
	wantFault(t, ask("analyst"), "federation.disabled")
	w.idp.Enabled = true
	if err := w.StillEntitled(t.Context(), "psn_ann", "idp_b", o.Role); err == nil {
		t.Error("by the word of another identity provider")
	}
	w.signIn("lgn_2", w.assertion())
	err := ask("analyst")
	wantFault(t, err, "bridge.word")
	if !strings.Contains(err.Error(), "did not bring role "+o.Role.String()) {
		t.Errorf("it says %v", err)
	}
}

// TestIDToken: for whoever trades it themselves, under the same clauses.
func TestIDToken(t *testing.T) {
	t.Parallel()
	w := newBridge(t)
	o := w.analyst(tagged, sourced)
	m, err := w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{})
	if err != nil {
		t.Fatal(err)
	}
	got := w.minted[0]
	if m.ID != "jti-1" || got.Role != o.Role || got.LoginSession != "lgn_1" || got.Epoch != 7 || len(got.Tags) != 2 || got.SourceIdentity != "ann.smith" {
		t.Errorf("%+v by %+v", m, got)
	}
	if e := w.trail[0]; e.Action != "id-token" || e.Target != "_assertion1" || e.Detail["token"] != "jti-1" || e.LoginSession != "lgn_1" {
		t.Errorf("recorded %+v", e)
	}
	w.inactive = true
	_, err = w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{})
	wantFault(t, err, "directory.inactive")
	w.inactive = false
	w.pass(4 * time.Hour)
	_, err = w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{})
	wantFault(t, err, "bridge.deadline")
	w.noTrail = errors.New("full")
	w.now = w.now.Add(-4 * time.Hour)
	if m, err = w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{}); err == nil {
		t.Errorf("given without a record: %+v", m)
	}
}

// TestRowsOfTheReleaseBefore: what it wrote is served to its end, and not renewed.
func TestRowsOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	w := newBridge(t)
	o := w.analyst()
	if err := w.db.Write(t.Context(), func(tx *sqlTx) error {
		_, err := tx.Exec(`INSERT INTO role_session (login_session, role, place, session_name, assumed_role_arn, access_key_id, expiration, sealed, code, message, mend, ends, warning, command)
			SELECT 'lgn_old', role, place, session_name, assumed_role_arn, access_key_id, expiration, sealed, 'AccessDenied', 'no', 'mend', ends, warning, command FROM role_session`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	kept, err := w.Kept(t.Context(), "lgn_old")
	if err != nil || len(kept) != 1 || kept[0].Basis != nil || kept[0].Served != broker.ServedSAML || w.Status("lgn_old", kept[0]).Renewable {
		t.Errorf("%+v, %v", kept, err)
	}
	_, err = w.IDToken(t.Context(), "lgn_old", o.Role, identity.OnNode{})
	wantFault(t, err, "bridge.off")
	// It shows a role that waits for its first use as one that it can't give.
	w.signIn("lgn_2", w.assertion(pair(web, "runner")))
	rows, err := w.store.Load(t.Context(), "lgn_2")
	if err != nil || rows[0].Failure.Code == "" || rows[0].Failure.Mend == "" || !rows[0].Expiration.IsZero() {
		t.Errorf("%+v, %v", rows, err)
	}
}

// Recalled asks the provider alone: nothing provisions here.
func (w *ward) Recalled(p *federation.Speaker) bool { return p.Recalls() }

// TestAttackTheseKeysTakenBack: keys that were taken back by their id are not given
// again, and others take their place, though they end no later.
func TestAttackTheseKeysTakenBack(t *testing.T) {
	t.Parallel()
	w := newBridge(t)
	o := w.renews(w.analyst())
	ends := o.Session.Credentials.Expiration
	w.wrong = func(a *broker.Assumed) { a.Credentials.Expiration = ends }
	w.pass(time.Second)
	if again, err := w.Fresh(t.Context(), "lgn_1", o); err != nil || again.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
		t.Errorf("renewed without need: %v", err)
	}
	w.revoked["access-key "+o.Session.Credentials.AccessKeyID] = w.epoch
	next := w.fresh(o)
	if again, err := w.Fresh(t.Context(), "lgn_1", o); err != nil || again.Session.Credentials.AccessKeyID != next.Session.Credentials.AccessKeyID {
		t.Errorf("%s instead of %s, %v", again.Session.Credentials.AccessKeyID, next.Session.Credentials.AccessKeyID, err)
	}
}
