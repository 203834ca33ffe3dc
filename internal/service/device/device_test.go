package device_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	sqldevice "carnet.dev/carnet/internal/edge/sql/device"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/device"
)

// world is the grant on a real database, with a clock that the test turns.
type world struct {
	*device.Service
	mu     sync.Mutex
	now    time.Time
	events []event.Event
	store  sqldevice.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := sqltest.Open(t)
	w := &world{now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), store: sqldevice.Store{DB: db}}
	w.Service = device.New(device.Config{Grants: w.store, Decisions: w.store, State: db, Trail: w, Now: w.clock, Page: "https://carnet.example.com/device"})
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) Record(_ context.Context, e event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	return nil
}

func (w *world) actions() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, e := range w.events {
		all = append(all, e.Action)
	}
	return strings.Join(all, " ")
}

func from(a string) netip.Addr { return netip.MustParseAddr(a) }

func approver(n int) device.Approver {
	return device.Approver{Person: "psn_alice", UserName: "alice", LoginSession: identity.LoginSessionID(fmt.Sprintf("lgn_%d", n)), Source: from("192.0.2.7")}
}

var ask = device.Ask{Level: "workspace", Client: "oac_tool", Scope: "openid all-apis", Source: from("198.51.100.9"), UserAgent: "tool/1.0 (linux)\r\nX: y"}

func (w *world) begin(t *testing.T) device.Begun {
	t.Helper()
	b, err := w.Begin(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) poll(t *testing.T, b device.Begun) (device.Approval, error) {
	t.Helper()
	got, err := w.Poll(t.Context(), "workspace", "oac_tool", b.DeviceCode)
	if err != nil {
		return got, err
	}
	refusal, err := w.Use(t.Context(), b.DeviceCode)
	return got, errors.Join(refusal, err)
}

func wants(t *testing.T, err error, code string) {
	t.Helper()
	if code == "" && err == nil {
		return
	}
	if got := fault.Of(err); got == nil || got.Code != code || got.Public == "" {
		t.Errorf("error %v, want code %q", err, code)
	}
}

func TestADeviceIsApprovedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.begin(t)
	if !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(b.UserCode) || b.Expires != 10*time.Minute || b.Interval != 5*time.Second ||
		b.VerificationURI != "https://carnet.example.com/device" {
		t.Errorf("began %+v", b)
	}
	_, err := w.poll(t, b)
	wants(t, err, device.AuthorizationPending)
	w.pass(6 * time.Second)
	r, err := w.Review(t.Context(), approver(1), " "+strings.ToLower(b.UserCode)+" ")
	if err != nil || r.Client != "oac_tool" || r.Source != "198.51.100.9" || r.UserAgent != "tool/1.0 (linux)  X: y" || r.Scope != "openid all-apis" || r.UserCode != b.UserCode {
		t.Errorf("review %+v, %v", r, err)
	}
	if _, err := w.Decide(t.Context(), approver(1), r.UserCode, true); err != nil {
		t.Fatal(err)
	}
	_, err = w.Decide(t.Context(), approver(2), r.UserCode, true)
	wants(t, err, device.CodeWrong)
	a, err := w.poll(t, b)
	if err != nil || a.LoginSession != "lgn_1" || a.Scope != "openid all-apis" {
		t.Errorf("redeemed %+v, %v", a, err)
	}
	_, err = w.poll(t, b)
	wants(t, err, device.InvalidGrant)
	if got := w.actions(); got != "device.approve" {
		t.Errorf("recorded %s", got)
	}
	if e := w.events[0]; e.Target != "oac_tool" || e.LoginSession != "lgn_1" || e.Source != "192.0.2.7" || e.Detail["device_source"] != "198.51.100.9" {
		t.Errorf("recorded %+v", e)
	}
}

func TestPollingTooFastIsSlowedDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.begin(t)
	for i, step := range []struct {
		after time.Duration
		code  string
	}{
		{0, device.AuthorizationPending},
		{5 * time.Second, device.AuthorizationPending},
		{4 * time.Second, device.SlowDown}, // 10 s from here
		{9 * time.Second, device.SlowDown}, // 15 s from here
		{15 * time.Second, device.AuthorizationPending},
		{14 * time.Second, device.SlowDown},
	} {
		w.pass(step.after)
		_, err := w.poll(t, b)
		if got := fault.Of(err).Code; got != step.code {
			t.Errorf("poll %d: %s, want %s", i, got, step.code)
		}
	}
	for range 30 { // the interval has a longest
		_, err := w.poll(t, b)
		wants(t, err, device.SlowDown)
	}
	w.pass(device.LongestInterval)
	_, err := w.poll(t, b)
	wants(t, err, device.AuthorizationPending)
}

func TestAGrantEndsAfterTenMinutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, late := w.begin(t), w.begin(t)
	if _, err := w.Decide(t.Context(), approver(1), late.UserCode, true); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Minute)
	_, err := w.poll(t, b)
	wants(t, err, device.ExpiredToken)
	_, err = w.poll(t, late) // approved, and fetched too late
	wants(t, err, device.ExpiredToken)
	_, err = w.Review(t.Context(), approver(1), b.UserCode)
	wants(t, err, device.CodeWrong)
	_, err = w.Decide(t.Context(), approver(1), b.UserCode, true)
	wants(t, err, device.CodeWrong)
	if err := w.store.Sweep(t.Context(), w.clock().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = w.poll(t, b)
	wants(t, err, device.InvalidGrant)
}

func TestANoStaysANo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.begin(t)
	if _, err := w.Decide(t.Context(), approver(1), b.UserCode, false); err != nil {
		t.Fatal(err)
	}
	_, err := w.Decide(t.Context(), approver(1), b.UserCode, true)
	wants(t, err, device.CodeWrong)
	_, err = w.poll(t, b)
	wants(t, err, device.AccessDenied)
	if got := w.actions(); got != "device.deny" {
		t.Errorf("recorded %s", got)
	}
}

func TestSwitchedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.begin(t)
	w.Off = true
	_, begin := w.Begin(t.Context(), ask)
	_, poll := w.poll(t, b)
	_, review := w.Review(t.Context(), approver(1), b.UserCode)
	_, decide := w.Decide(t.Context(), approver(1), b.UserCode, true)
	for _, err := range []error{begin, poll} {
		wants(t, err, device.UnsupportedGrant)
	}
	for _, err := range []error{review, decide} {
		wants(t, err, device.CodeOff)
	}
}

// TestAttackDevicePhishingAnotherClientRedeems: a code is worth something to
// the client that began, at the issuer where it began, alone.
func TestAttackDevicePhishingAnotherClientRedeems(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.begin(t)
	if _, err := w.Decide(t.Context(), approver(1), b.UserCode, true); err != nil {
		t.Fatal(err)
	}
	for _, as := range [][3]string{
		{"workspace", "oac_thief", b.DeviceCode.Reveal()}, {"account", "oac_tool", b.DeviceCode.Reveal()},
		{"workspace", "oac_tool", b.UserCode}, {"workspace", "oac_tool", ""},
	} {
		_, err := w.Poll(t.Context(), as[0], as[1], secret.New(as[2]))
		wants(t, err, device.InvalidGrant)
	}
	if _, err := w.poll(t, b); err != nil {
		t.Error(err)
	}
}

// TestAttackDevicePhishingGuesses: whoever types wrong codes is stopped, by
// login session, then by address; right ones don't count. Whoever is stopped is
// not told about a code that fits.
func TestAttackDevicePhishingGuesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.begin(t)
	guess := func(who device.Approver, code string) error {
		_, err := w.Review(t.Context(), who, code)
		return err
	}
	for range 30 {
		if err := guess(approver(1), b.UserCode); err != nil {
			t.Fatal(err)
		}
	}
	for i := range device.WrongPerSession {
		wants(t, guess(approver(1), []string{"BBBB-BBBB", "no code at all", ""}[i%3]), device.CodeWrong)
	}
	wants(t, guess(approver(1), "BBBB-BBBB"), device.CodeTries)
	wants(t, guess(approver(1), b.UserCode), device.CodeTries)
	_, err := w.Decide(t.Context(), approver(1), b.UserCode, true)
	wants(t, err, device.CodeTries)
	if got := w.actions(); got != "device.guess" {
		t.Errorf("recorded %s", got)
	}
	for n := 2; n < 12; n++ { // other login sessions at the same address
		for range device.WrongPerSession {
			err = guess(approver(n), "BBBB-BBBB")
		}
	}
	wants(t, err, device.CodeTries)
	wants(t, guess(approver(50), b.UserCode), device.CodeTries)
	elsewhere := approver(51)
	elsewhere.Source = from("203.0.113.1")
	wants(t, guess(elsewhere, b.UserCode), "")
	w.pass(device.Lifetime)
	wants(t, guess(approver(1), b.UserCode), device.CodeWrong) // counted anew; the grant has ended
	wants(t, guess(device.Approver{LoginSession: "lgn_setup", Source: from("192.0.2.7")}, b.UserCode), "device.nobody")
}

// TestAttackDevicePhishingGuessesAtOnce: guesses sent together don't outrun the
// count.
func TestAttackDevicePhishingGuessesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	heard := map[string]int{}
	for range 40 {
		wg.Go(func() {
			_, err := w.Review(t.Context(), approver(1), "BBBB-BBBB")
			mu.Lock()
			defer mu.Unlock()
			heard[fault.Of(err).Code]++
		})
	}
	wg.Wait()
	if heard[device.CodeWrong] != device.WrongPerSession || heard[device.CodeTries] != 40-device.WrongPerSession {
		t.Errorf("heard %v", heard)
	}
}

// TestAttackDevicePhishingOneApproval: of many who approve at once, one does;
// of many polls at once, one gets tokens.
func TestAttackDevicePhishingOneApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.begin(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	approved, given := 0, map[identity.LoginSessionID]int{}
	for n := range 12 {
		wg.Go(func() {
			if _, err := w.Decide(t.Context(), approver(n), b.UserCode, true); err == nil {
				mu.Lock()
				defer mu.Unlock()
				approved++
			}
		})
	}
	wg.Wait()
	for range 12 {
		wg.Go(func() {
			if a, err := w.poll(t, b); err == nil {
				mu.Lock()
				defer mu.Unlock()
				given[a.LoginSession]++
			}
		})
	}
	wg.Wait()
	if approved != 1 || len(given) != 1 {
		t.Errorf("%d approvals, %v given", approved, given)
	}
	for _, n := range given {
		if n != 1 {
			t.Errorf("given %d times", n)
		}
	}
}

// TestAttackDeviceFloodIsBounded: one address fills the places of one bucket
// and no more, however it writes itself, and frees them as they end.
func TestAttackDeviceFloodIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	flood := func(source string) (stored int, err error) {
		for range 3 * device.PerBucket {
			a := ask
			a.Source = from(source)
			if _, err = w.Begin(t.Context(), a); err == nil {
				stored++
			}
		}
		return stored, err
	}
	if n, err := flood("2001:db8:1::1"); n != device.PerBucket || fault.Of(err).Code != device.CodeBusy {
		t.Errorf("%d stored, then %v", n, err)
	}
	if n, _ := flood("2001:db8:1:ffff::2"); n != 0 { // the same customer
		t.Errorf("%d stored from the same /48", n)
	}
	w.pass(device.Lifetime)
	if n, _ := flood("2001:db8:1:ffff::2"); n != device.PerBucket {
		t.Errorf("%d stored after the others ended", n)
	}
}

// TestAttackDeviceFloodFromManyAddresses: what begins at one server is paced.
func TestAttackDeviceFloodFromManyAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	full := 0
	for i := range device.AtOnce + 50 {
		a := ask
		a.Source = from(fmt.Sprintf("10.%d.%d.1", i/250, i%250))
		if _, err := w.Begin(t.Context(), a); err != nil {
			wants(t, err, device.CodeBusy)
			full++
		}
	}
	if full < 50 {
		t.Errorf("%d refused", full)
	}
	w.pass(time.Second)
	a := ask
	a.Source = from("203.0.113.77")
	if _, err := w.Begin(t.Context(), a); err != nil {
		t.Errorf("a second later: %v", err)
	}
	a.Scope = strings.Repeat("x", 257)
	_, err := w.Begin(t.Context(), a)
	wants(t, err, "invalid_scope")
}

// FuzzTyped: what a person types is a code of a grant that waits, or nothing.
func FuzzTyped(f *testing.F) {
	for _, seed := range []string{"BCDF-GHJK", "bcdf ghjk", "BCDFGHJK", "", "AEIOUAEI", "BCDF–GHJK", strings.Repeat("-", 70), "BCDF-GHJK\x00", "ſCDFGHJK"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		code, ok := device.TypedCode(text)
		if ok && !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{8}$`).MatchString(code) {
			t.Errorf("%q was read as %q", text, code)
		}
	})
}
