package audit_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/service/audit"
)

// One denial is a record at once; a thousand more of its kind are one number at
// the end of each window, and a kind that ends is forgotten.
func TestRepeatedNoiseIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := audit.NewRepeats(time.Minute)
		kind := audit.Kind{Actor: "ASIA1", Source: "192.0.2.1", Action: "s3.GetObject", Object: "hr", Why: "AccessDenied"}
		began := time.Now()
		put := func(n int) (recorded int) {
			for i := range n {
				if r.First(kind, event.Event{At: time.Now(), Action: "s3.GetObject", Request: "R", Target: fmt.Sprint(i), Detail: map[string]string{"reason": "no"}}) {
					recorded++
				}
				time.Sleep(time.Millisecond)
			}
			return recorded
		}
		if n := put(1001); n != 1 {
			t.Errorf("%d records of 1001 repeats", n)
		}
		if early := r.Ended(time.Now()); len(early) != 0 {
			t.Errorf("told before the window ended: %+v", early)
		}
		time.Sleep(time.Minute)
		told := r.Ended(time.Now())
		if len(told) != 1 || told[0].Detail["repeated"] != "1000" || told[0].Target != "1000" || told[0].Detail["reason"] != "no" ||
			told[0].Detail["since"] != began.UTC().Format(time.RFC3339) || told[0].Action != "s3.GetObject" {
			t.Errorf("%+v", told)
		}
		if n := put(10); n != 0 {
			t.Errorf("%d records while it goes on", n)
		}
		time.Sleep(time.Minute)
		if told = r.Ended(time.Now()); len(told) != 1 || told[0].Detail["repeated"] != "10" {
			t.Errorf("%+v", told)
		}
		time.Sleep(time.Minute)
		if told = r.Ended(time.Now()); len(told) != 0 {
			t.Errorf("told of nothing: %+v", told)
		}
		if n := put(1); n != 1 {
			t.Error("a kind that ended is not recorded when it begins again")
		}
	})
}

// Nobody fills the trail by never asking for the same twice: beyond a bound all
// that one actor does is one kind, and beyond another all that all do.
func TestAttackManyKindsOfNoise(t *testing.T) {
	r := audit.NewRepeats(time.Minute)
	now := time.Now()
	records := func(actor string, n int) (recorded int) {
		for i := range n {
			if r.First(audit.Kind{Actor: actor, Action: "s3.GetObject", Object: fmt.Sprint("bucket-", i)}, event.Event{At: now, Target: fmt.Sprint(i)}) {
				recorded++
			}
		}
		return recorded
	}
	if n := records("ASIA1", 10_000); n > 65 {
		t.Errorf("one actor made %d records", n)
	}
	if n := records("ASIA2", 10); n != 10 {
		t.Errorf("another actor made %d records of 10", n)
	}
	told := r.All(now)
	if len(told) != 1 || told[0].Detail["repeated"] != "9935" || told[0].Detail["kinds"] != "many" {
		t.Errorf("%+v", told)
	}
	total := 0
	for i := range 2_000 {
		total += records(fmt.Sprint("ASIA-", i), 64)
	}
	if total > 20_001 {
		t.Errorf("many actors made %d records", total)
	}
}
