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

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/entitlement"
)

const provider = "arn:aws:iam::111122223333:saml-provider/dev-idp"

// authority is STS as a function, with a maximum duration per role name.
type authority struct {
	mu      sync.Mutex
	calls   []broker.Call
	longest map[string]time.Duration
	refuse  map[string]error
	answer  func(broker.Call) (broker.Assumed, error)
	takes   time.Duration
}

func (a *authority) AssumeRoleWithSAML(ctx context.Context, c broker.Call) (broker.Assumed, error) {
	a.mu.Lock()
	a.calls = append(a.calls, c)
	a.mu.Unlock()
	if a.takes > 0 {
		select {
		case <-time.After(a.takes):
		case <-ctx.Done():
			return broker.Assumed{}, fault.Wrap(ctx.Err(), fault.Unavailable, "STS did not answer in time")
		}
	}
	if err := a.refuse[c.Role.Name]; err != nil {
		return broker.Assumed{}, err
	}
	if m := a.longest[c.Role.Name]; m > 0 && c.Duration > m {
		return broker.Assumed{}, fault.Coded(fault.Invalid, "ValidationError",
			"The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if a.answer != nil {
		return a.answer(c)
	}
	return assumed(c, time.Now().Add(c.Duration)), nil
}

func (a *authority) AssumeRoleWithWebIdentity(context.Context, broker.WebCall) (broker.Assumed, error) {
	return broker.Assumed{}, fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
}

func (a *authority) asked(role string) (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		if c.Role.Name == role {
			out = append(out, c.Duration.String())
		}
	}
	return out
}

func assumed(c broker.Call, until time.Time) broker.Assumed {
	return broker.Assumed{AssumedRoleARN: c.Role.AssumedRole("ann"), Credentials: credential.Temporary{
		AccessKeyID: "ASIA" + strings.ToUpper(c.Role.Name), SecretAccessKey: secret.New("key of " + c.Role.Name),
		SessionToken: secret.New("token of " + c.Role.Name), Expiration: until.UTC().Truncate(time.Second)}}
}

// shelf is a store in memory, for tests of the exchange; the stored form has
// its own tests on the real store.
type shelf struct {
	broker.Store
	longest []broker.Longest
	rows    []broker.Row
	err     error
}

func (s *shelf) Longest(context.Context, []string) ([]broker.Longest, error) { return s.longest, s.err }

func (s *shelf) Save(_ context.Context, _ identity.LoginSessionID, rows []broker.Row, learned []broker.Longest) error {
	s.rows, s.longest = rows, append(s.longest, learned...)
	return s.err
}

func (s *shelf) Load(context.Context, identity.LoginSessionID) ([]broker.Row, error) {
	return s.rows, s.err
}

func role(t testing.TB, name string) arn.Role {
	t.Helper()
	r, err := arn.ParseRole("arn:aws:iam::111122223333:role/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func request(t testing.TB, names ...string) broker.Request {
	t.Helper()
	p, err := arn.ParseSAMLProvider(provider)
	if err != nil {
		t.Fatal(err)
	}
	r := broker.Request{LoginSession: "lgn_a", Person: "psn_a", Ends: time.Now().Add(12 * time.Hour),
		Entitlements: entitlement.Entitlements{SessionName: "ann"},
		Assertion:    secret.New(strings.Repeat("PHNhbWxwOlJlc3BvbnNlPg", 20)), IssueInstant: time.Now()}
	for i, n := range names {
		r.Entitlements.Candidates = append(r.Entitlements.Candidates,
			entitlement.Candidate{Role: role(t, n), Provider: p, Account: entitlement.Account{ID: "111122223333"}, Index: i})
	}
	return r
}

func TestExchangeTriesEveryRole(t *testing.T) {
	t.Parallel()
	sts := &authority{refuse: map[string]error{
		"b": fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML")}}
	b := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now})
	r := request(t, "a", "b", "c")
	out, err := b.Exchange(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if out[0].Failure != nil || out[2].Failure != nil {
		t.Errorf("the other roles failed: %+v", out)
	}
	f := out[1].Failure
	if f == nil || f.Code != "AccessDenied" || !strings.Contains(f.Mend, "role/b") || !strings.Contains(f.Mend, provider) {
		t.Errorf("failure %+v", f)
	}
	if got := out[0].Session; got.SessionName != "ann" || got.AssumedRoleARN != "arn:aws:sts::111122223333:assumed-role/a/ann" ||
		got.Credentials.SecretAccessKey.Reveal() != "key of a" {
		t.Errorf("session %+v", got)
	}
	if len(sts.asked("b")) != 1 {
		t.Errorf("a refused call was repeated: %v", sts.asked("b"))
	}
	for _, c := range sts.calls {
		if !c.Assertion.Equal(r.Assertion) || c.LoginSession != "lgn_a" || c.Person != "psn_a" || c.Provider.String() != provider {
			t.Errorf("call %+v", c)
		}
	}
}

func TestDurationFallsBackAndIsLearned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sts := &authority{longest: map[string]time.Duration{"hour": time.Hour, "eight": 8 * time.Hour, "never": time.Second}}
		store := &shelf{}
		b := broker.New(broker.Config{STS: sts, Store: store, Sealer: plainSealer{}, Now: time.Now})
		exchange := func() []broker.Outcome {
			t.Helper()
			sts.calls = nil
			out, err := b.Exchange(t.Context(), request(t, "any", "eight", "hour", "never"))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Keep(t.Context(), broker.Request{LoginSession: "lgn_a", Ends: time.Now()}, out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		check := func(role, want string) {
			t.Helper()
			if got := strings.Join(sts.asked(role), " "); got != want {
				t.Errorf("role %s was asked for %s, want %s", role, got, want)
			}
		}
		out := exchange()
		check("any", "12h0m0s")
		check("eight", "12h0m0s 8h0m0s")
		check("hour", "12h0m0s 8h0m0s 4h0m0s 2h0m0s 1h0m0s")
		if f := out[3].Failure; f == nil || f.Code != "ValidationError" || !strings.Contains(f.Mend, "maximum session duration") {
			t.Errorf("a role that grants nothing: %+v", f)
		}
		warned := func(out []broker.Outcome) {
			t.Helper()
			want := broker.Warning{Message: "the keys of this role last 1 hour at most, so you have to sign in again after that",
				Command: "aws iam update-role --role-name hour --max-session-duration 14400"}
			for i, want := range []broker.Warning{{}, {}, want, {}} {
				if out[i].Warning != want {
					t.Errorf("role %s: warning %+v, want %+v", out[i].Role.Name, out[i].Warning, want)
				}
			}
			if kept, err := b.Kept(t.Context(), "lgn_a"); err != nil || kept[2].Warning != want {
				t.Errorf("kept: %+v, %v", kept, err)
			}
		}
		warned(out)
		warned(exchange())
		check("any", "12h0m0s")
		check("eight", "8h0m0s")
		check("hour", "1h0m0s")
		time.Sleep(25 * time.Hour)
		exchange()
		check("eight", "12h0m0s 8h0m0s") // the maximum may have been raised
	})
}

func TestDurationIsBoundedByTheLoginSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			left  time.Duration
			want  string
			steps []time.Duration
		}{
			{20 * time.Hour, "12h0m0s 8h0m0s 4h0m0s 2h0m0s 1h0m0s", nil},
			{12 * time.Hour, "12h0m0s 8h0m0s 4h0m0s 2h0m0s 1h0m0s", nil},
			{5*time.Hour + 300*time.Millisecond, "5h0m0s 4h0m0s 2h0m0s 1h0m0s", nil},
			{30 * time.Minute, "30m0s", nil},
			{time.Minute, "15m0s", nil}, // the least that AWS grants
			{-time.Minute, "15m0s", nil},
			{time.Hour, "3s 1s", []time.Duration{3 * time.Second, time.Second}},
			{2 * time.Second, "2s 1s", []time.Duration{3 * time.Second, time.Second}},
		} {
			sts := &authority{longest: map[string]time.Duration{"a": time.Nanosecond}}
			b := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now, Durations: tt.steps})
			r := request(t, "a")
			r.Ends = time.Now().Add(tt.left)
			if _, err := b.Exchange(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(sts.asked("a"), " "); got != tt.want {
				t.Errorf("%s left: asked for %s, want %s", tt.left, got, tt.want)
			}
		}
	})
}

func TestNothingIsTradedThatMustNotBe(t *testing.T) {
	t.Parallel()
	sts := &authority{}
	b := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now})

	r := request(t, "a", "b")
	r.Entitlements.Refusal = fault.Coded(fault.Denied, "InvalidIdentityToken", "RoleSessionName bob is not the signed-in user name ann").WithMend("mend it")
	out, err := b.Exchange(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		if o.Failure == nil || o.Failure.Code != "InvalidIdentityToken" || o.Failure.Mend != "mend it" || o.Role.Name == "" {
			t.Errorf("with a foreign session name: %+v", o)
		}
	}

	r = request(t, "a")
	r.Assertion = secret.New(strings.Repeat("A", 100_001))
	if out, err = b.Exchange(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if f := out[0].Failure; f == nil || f.Code != "ValidationError" || !strings.Contains(f.Message, "100000") || strings.Contains(f.Message, "AAA") {
		t.Errorf("with 100,001 characters: %+v", f)
	}
	if len(sts.calls) != 0 {
		t.Errorf("STS was called %d times", len(sts.calls))
	}
	r.Assertion = secret.New(strings.Repeat("A", 100_000))
	if out, err = b.Exchange(t.Context(), r); err != nil || out[0].Failure != nil {
		t.Errorf("with 100,000 characters: %+v, %v", out, err)
	}
}

// TestAnswersAreChecked: what STS answers is held against what was asked for.
func TestAnswersAreChecked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*broker.Assumed){
		"another role":    func(a *broker.Assumed) { a.AssumedRoleARN = "arn:aws:sts::111122223333:assumed-role/admin/ann" },
		"another person":  func(a *broker.Assumed) { a.AssumedRoleARN = "arn:aws:sts::111122223333:assumed-role/a/bob" },
		"no role":         func(a *broker.Assumed) { a.AssumedRoleARN = "" },
		"no key id":       func(a *broker.Assumed) { a.Credentials.AccessKeyID = "" },
		"no secret":       func(a *broker.Assumed) { a.Credentials.SecretAccessKey = secret.Text{} },
		"no token":        func(a *broker.Assumed) { a.Credentials.SessionToken = secret.Text{} },
		"expired already": func(a *broker.Assumed) { a.Credentials.Expiration = time.Now().Add(-time.Second) },
	} {
		sts := &authority{answer: func(c broker.Call) (broker.Assumed, error) {
			a := assumed(c, time.Now().Add(time.Hour))
			change(&a)
			return a, nil
		}}
		out, err := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now}).Exchange(t.Context(), request(t, "a"))
		if err != nil {
			t.Fatal(err)
		}
		if f := out[0].Failure; f == nil || f.Classic() != "" || out[0].Session.Credentials.AccessKeyID != "" {
			t.Errorf("%s: %+v", name, out[0])
		}
	}
}

// TestFailuresCarryNoAssertion: AWS quotes the value that broke a rule, and
// the value is a credential.
func TestFailuresCarryNoAssertion(t *testing.T) {
	t.Parallel()
	r := request(t, "a", "b")
	raw := r.Assertion.Reveal()
	sts := &authority{refuse: map[string]error{
		"a": fault.Coded(fault.Invalid, "ValidationError", "1 validation error detected: Value '"+raw+"' at 'sAMLAssertion' failed to satisfy constraint"),
		"b": fault.Coded(fault.Invalid, "ValidationError", "tail: "+raw[60:200]+" end "+strings.Repeat("x", 5000)),
	}}
	out, err := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now}).Exchange(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		text := fmt.Sprintf("%+v %+v", o, o.Failure)
		for i := 0; i+24 < len(raw); i++ {
			if strings.Contains(text, raw[i:i+24]) {
				t.Fatalf("a piece of the assertion is in %s", text)
			}
		}
		if len(text) > 2000 || !strings.Contains(o.Failure.Message, "[assertion]") {
			t.Errorf("message %q", o.Failure.Message)
		}
	}
	if !strings.HasSuffix(out[0].Failure.Message, "at 'sAMLAssertion' failed to satisfy constraint") {
		t.Errorf("what STS said is gone: %q", out[0].Failure.Message)
	}
}

func TestSTSAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sts := &authority{takes: time.Hour}
		b := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now})
		began := time.Now()
		out, err := b.Exchange(t.Context(), request(t, "a"))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("a person waited %s", took)
		}
		if f := out[0].Failure; f == nil || f.Code != "ServiceUnavailable" || f.Classic() != "" || !strings.Contains(f.Message, "111122223333") {
			t.Errorf("failure %+v", f)
		}
		r := request(t, "a")
		r.IssueInstant = time.Now().Add(-10 * time.Minute)
		began = time.Now()
		if _, err := b.Exchange(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("a dead assertion was tried for %s", took)
		}
	})
}

func TestRolesAreTradedTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("r%d", i))
		}
		sts := &authority{takes: 50 * time.Millisecond}
		began := time.Now()
		out, err := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now}).Exchange(t.Context(), request(t, names...))
		if err != nil {
			t.Fatal(err)
		}
		if took, ideal := time.Since(began), 4*50*time.Millisecond; took > ideal {
			t.Errorf("100 roles at 32 in parallel took %s, want %s", took, ideal)
		}
		for i, o := range out {
			if o.Failure != nil || o.Role.Name != names[i] {
				t.Fatalf("outcome %d: %+v", i, o)
			}
		}
	})
}

// TestSlowAccountHoldsUpNoOther: each account has its own bound.
func TestSlowAccountHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := request(t, "a", "b", "c", "d", "e", "f")
		for i := range 4 {
			c := &r.Entitlements.Candidates[i]
			c.Role.Account, c.Account.ID = "444455556666", "444455556666"
		}
		began, done := time.Now(), map[string]time.Duration{}
		var mu sync.Mutex
		sts := &authority{takes: time.Second, answer: func(c broker.Call) (broker.Assumed, error) {
			mu.Lock()
			defer mu.Unlock()
			done[c.Role.Name] = time.Since(began)
			return assumed(c, time.Now().Add(c.Duration)), nil
		}}
		parallel := func(account string) int { return map[string]int{"444455556666": 1}[account] }
		if _, err := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now, Parallel: parallel}).Exchange(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if done["e"] != time.Second || done["f"] != time.Second {
			t.Errorf("roles of the quick account came after %s and %s", done["e"], done["f"])
		}
		if last := max(done["a"], done["b"], done["c"], done["d"]); last != 4*time.Second {
			t.Errorf("four roles one at a time took %s", last)
		}
	})
}

func TestStoreAwayIsAnError(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	sts := &authority{}
	if _, err := broker.New(broker.Config{STS: sts, Store: &shelf{err: away}, Now: time.Now}).Exchange(t.Context(), request(t, "a")); !errors.Is(err, away) {
		t.Errorf("error %v", err)
	}
	if len(sts.calls) != 0 {
		t.Error("keys were fetched that could not be kept")
	}
}

func TestClassic(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"ValidationError": "ValidationError", "MalformedPolicyDocument": "ValidationError", "PackedPolicyTooLarge": "ValidationError",
		"InvalidIdentityToken": "InvalidIdentityToken", "ExpiredTokenException": "InvalidIdentityToken",
		"IDPRejectedClaim": "InvalidIdentityToken", "IDPCommunicationError": "InvalidIdentityToken",
		"AccessDenied": "AccessDenied", "RegionDisabledException": "AccessDenied",
		"Throttling": "", "ServiceUnavailable": "", "InternalFailure": "", "": "",
	} {
		if got := (broker.Failure{Code: code}).Classic(); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
}

func TestEveryFailureSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for code, message := range map[string]string{
		"ValidationError": "Request ARN is invalid", "PackedPolicyTooLarge": "x", "InvalidIdentityToken": "Response signature invalid",
		"ExpiredTokenException": "Token must be redeemed within 5 minutes of issuance", "IDPRejectedClaim": "x", "AccessDenied": "x",
		"RegionDisabledException": "x", "Throttling": "Rate exceeded", "SomethingNew": "x",
	} {
		sts := &authority{refuse: map[string]error{"a": fault.Coded(fault.Invalid, code, message)}}
		out, err := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now}).Exchange(t.Context(), request(t, "a"))
		if err != nil {
			t.Fatal(err)
		}
		f := out[0].Failure
		if f == nil || f.Code != code || f.Message != message || f.Mend == "" || strings.Contains(f.Mend, "%!") || strings.Contains(f.Mend, "{") {
			t.Errorf("%s: %+v", code, f)
		}
	}
}

// plainSealer seals nothing: for tests that look at other things.
type plainSealer struct{}

func (plainSealer) Seal(_ string, _, plain []byte) ([]byte, error)  { return slices.Clone(plain), nil }
func (plainSealer) Open(_ string, _, sealed []byte) ([]byte, error) { return sealed, nil }
