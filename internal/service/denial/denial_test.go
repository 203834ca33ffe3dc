package denial_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/denial"
)

// shelf keeps rows in memory, and counts.
type shelf struct {
	mu     sync.Mutex
	rows   map[identity.RequestID]denial.Row
	broken error
	swept  []time.Time
}

func (s *shelf) Put(_ context.Context, rows []denial.Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		s.rows[r.Request] = r
	}
	return s.broken
}

func (s *shelf) Find(_ context.Context, id identity.RequestID) (denial.Row, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rows[id]
	return r, ok, s.broken
}

func (s *shelf) Recent(context.Context, int) (all []denial.Row, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		all = append(all, r)
	}
	return all, s.broken
}

func (s *shelf) Sweep(_ context.Context, before time.Time, most int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swept = append(s.swept, before)
	return nil
}

func (s *shelf) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

func id(n int) identity.RequestID { return identity.RequestID(fmt.Sprintf("A%015d", n)) }

// Of one principal only the first of a while are kept; others keep their own
// share; the next while begins anew; the old is swept.
func TestOnePrincipalDoesNotCrowdOutOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{rows: map[identity.RequestID]denial.Row{}}
		k := denial.New(denial.Config{Store: s, Now: time.Now})
		ctx, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { k.Run(ctx); close(done) }()
		n := 0
		keep := func(principal string, times int) {
			for range times {
				n++
				request := id(n)
				k.Keep(principal, func() denial.Denial { return denial.Denial{Request: request, At: time.Now(), Checks: []denial.Check{}} })
				synctest.Wait()
			}
		}
		keep("loud", 10*denial.MostEach)
		if s.len() != denial.MostEach {
			t.Errorf("%d kept of one principal", s.len())
		}
		keep("quiet", 5)
		if s.len() != denial.MostEach+5 {
			t.Errorf("%d kept: another principal had no place", s.len())
		}
		time.Sleep(denial.While + time.Second)
		keep("loud", 1)
		if s.len() != denial.MostEach+6 {
			t.Errorf("%d kept: the next while did not begin", s.len())
		}
		for i := range 1000 {
			keep(fmt.Sprint("many-", i), 10)
		}
		if s.len() > denial.MostEach+6+5000 {
			t.Errorf("%d kept of many principals", s.len())
		}
		end()
		<-done
		if len(s.swept) != 1 || time.Since(s.swept[0]) < denial.KeptFor {
			t.Errorf("swept %v", s.swept)
		}
	})
}

// Nobody waits for the shelf, and what is too large loses checks, not its answer.
func TestLargeDenial(t *testing.T) {
	s := &shelf{rows: map[identity.RequestID]denial.Row{}}
	k := denial.New(denial.Config{Store: s, Now: time.Now})
	big := denial.Denial{Request: id(1), Reason: "no", Checks: make([]denial.Check, 16)}
	for i := range big.Checks {
		big.Checks[i] = denial.Check{Action: "s3:GetObject", Reason: strings.Repeat("x", 10_000)}
	}
	for n := range 2000 { // nothing takes them off
		k.Keep(fmt.Sprint("p", n), func() denial.Denial { return big })
	}
	ended, end := context.WithCancel(t.Context())
	end()
	k.Run(ended)
	d, err := k.Find(t.Context(), string(id(1)))
	if err != nil || d.Reason != "no" || len(d.Checks) == 0 || len(d.Checks)+d.MoreChecks != 16 || len(s.rows[id(1)].Body) > 64<<10 {
		t.Errorf("%v: %d checks, %d more", err, len(d.Checks), d.MoreChecks)
	}
}

func TestFind(t *testing.T) {
	s := &shelf{rows: map[identity.RequestID]denial.Row{id(1): {Request: id(1), Body: `{"person":"psn_1","reason":"r"}`}, id(2): {Body: "{"}}}
	k := denial.New(denial.Config{Store: s, Now: time.Now, Name: func(context.Context, identity.PersonID) (string, error) { return "bob", nil }})
	if d, err := k.Find(t.Context(), " "+string(id(1))+"\n"); err != nil || d.PersonName != "bob" {
		t.Errorf("%+v, %v", d, err)
	}
	for text, want := range map[string]fault.Kind{"": fault.Invalid, "a": fault.Invalid, strings.ToLower(string(id(1))): fault.Invalid, string(id(3)): fault.NotFound, string(id(2)): fault.Internal} {
		if _, err := k.Find(t.Context(), text); fault.KindOf(err) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	s.broken = errors.New("away")
	if _, err := k.Find(t.Context(), string(id(1))); err == nil {
		t.Error("a store that is away finds nothing")
	}
	if all, err := k.Recent(t.Context(), 1); err == nil {
		t.Error(all)
	}
}

// The text of the terminal names each fact that there is, and no empty one.
func TestText(t *testing.T) {
	body := `{"request_id":"AAAAAAAAAAAAAAAA","at":"2026-03-04T05:06:07Z","operation":"CopyObject","code":"AccessDenied","reason":"User is not authorized","decided_by":"policy","person":"psn_1","person_name":"bob",
		"checks":[{"action":"s3:PutObject","resource":"arn:a","outcome":"allowed","determining":["w#Put"]},
		{"action":"s3:GetObject","resource":"arn:b","outcome":"denied","explicit":true,"reason":"with an explicit deny in a resource-based policy","determining":["b#No"],
		 "statements":[{"policy":"resource-based policy","statement":"b#No","effect":"Deny","applies":true},{"policy":"identity-based policy","statement":"r#Read","effect":"Allow","applies":false,"unmet":["Action does not cover it","Resource neither"]}],"more_statements":3},
		{"action":"s3:X","resource":"arn:c","outcome":"not-asked"},{"action":"s3:Y","resource":"arn:d","outcome":"denied"},{"action":"s3:Z","resource":"arn:e","outcome":"denied","reason":"because no identity-based policy allows the s3:Z action"}],"more_checks":2}`
	var d denial.Denial
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CopyObject was denied at 2026-03-04T05:06:07Z.", "",
		"  request id   AAAAAAAAAAAAAAAA", "  answer       AccessDenied: User is not authorized", "  decided by   the policies of the local authority", "  person       bob psn_1", "",
		"1. s3:PutObject on arn:a: allowed by w#Put", "",
		"2. s3:GetObject on arn:b: denied by b#No, with an explicit deny in a resource-based policy",
		"     Deny  b#No (resource-based policy): applies", "     Allow r#Read (identity-based policy): Action does not cover it; Resource neither", "     and 3 more statements that do not apply", "",
		"3. s3:X on arn:c: not asked any more", "", "4. s3:Y on arn:d: denied before any policy was asked", "",
		"5. s3:Z on arn:e: no statement allows it, because no identity-based policy allows the s3:Z action", "", "and 2 more checks that were denied", "",
	}
	if got := strings.Split(d.String(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", d, strings.Join(want, "\n"))
	}
}
