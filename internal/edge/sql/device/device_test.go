package device_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqldevice "carnet.dev/carnet/internal/edge/sql/device"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/device"
)

func at(s int64) time.Time { return time.Unix(s, 0).UTC() }

func grant(n byte, code string, asked int64) device.Grant {
	return device.Grant{Device: [32]byte{n, 31: 0xff}, UserCode: code, Level: "workspace", Client: "oac_x", Scope: "openid", Source: "2001:db8::1", UserAgent: "tool ÿ/1",
		Asked: at(asked), Expires: at(asked + 600), State: device.Waiting, Interval: 5 * time.Second}
}

// TestStore is the conformance suite of device.Grants and device.Decisions.
func TestStore(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqldevice.Store{DB: sqltest.OpenWith(t, c)}, sqldevice.Store{DB: sqltest.OpenWith(t, c)}
		ctx := t.Context()
		put := func(g device.Grant, bucket int, want device.Placed) {
			t.Helper()
			if got, err := s.Put(ctx, g, bucket); err != nil || got != want {
				t.Errorf("Put(%s) = %v, %v; want %v", g.UserCode, got, err, want)
			}
		}
		first := grant(1, "BBBBBBBB", 100)
		put(first, 7, device.Stored)
		put(grant(2, "BBBBBBBB", 100), 7, device.Taken)
		put(grant(1, "CCCCCCCC", 100), 8, device.Taken)
		for n := range byte(device.PerBucket - 1) {
			put(grant(10+n, "BBBBBBB"+string('C'+rune(n)), 100), 7, device.Stored)
		}
		put(grant(3, "DDDDDDDD", 699), 7, device.Full)
		put(grant(3, "DDDDDDDD", 699), 8, device.Stored)
		put(grant(4, "FFFFFFFF", 700), 7, device.Stored) // in the place of one that ended

		s2 := grant(5, "GGGGGGGG", 200)
		put(s2, 9, device.Stored)
		for name, find := range map[string]func() (device.Grant, error){
			"Find":  func() (device.Grant, error) { return other.Find(ctx, s2.Device) },
			"Typed": func() (device.Grant, error) { return other.Typed(ctx, "GGGGGGGG") },
		} {
			got, err := find()
			if diff := cmp.Diff(s2, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
			}
		}
		if _, err := s.Typed(ctx, "HHHHHHHH"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Typed of nothing: %v", err)
		}
		if err := s.Polled(ctx, s2.Device, 10*time.Second, at(215)); err != nil {
			t.Fatal(err)
		}
		if got, _ := other.Find(ctx, s2.Device); got.Interval != 10*time.Second || !got.Next.Equal(at(215)) {
			t.Errorf("after a poll: %+v", got)
		}

		taken := func(want bool) {
			t.Helper()
			if won, err := s.Take(ctx, s2.Device); err != nil || won != want {
				t.Errorf("Take = %v, %v; want %v", won, err, want)
			}
		}
		decide := func(when int64, want bool) {
			t.Helper()
			if done, err := other.Decide(ctx, "GGGGGGGG", device.Approved, "lgn_x", at(when)); err != nil || done != want {
				t.Errorf("Decide = %v, %v; want %v", done, err, want)
			}
		}
		taken(false)
		decide(800, false)
		decide(799, true)
		decide(300, false)
		if got, _ := s.Find(ctx, s2.Device); got.State != device.Approved || got.LoginSession != "lgn_x" {
			t.Errorf("decided: %+v", got)
		}
		taken(true)
		taken(false)

		count := func(n int, now int64, want int) {
			t.Helper()
			if sum, err := s.Count(ctx, "source 192.0.2.1", n, at(now), at(now+600)); err != nil || sum != want {
				t.Errorf("Count = %d, %v; want %d", sum, err, want)
			}
		}
		count(1, 100, 1)
		count(1, 600, 2)
		count(-1, 600, 1)
		count(1, 700, 1) // counted anew

		if err := s.Sweep(ctx, at(701)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Find(ctx, [32]byte{11, 31: 0xff}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("one that ended is kept: %v", err)
		}
		if _, err := s.Find(ctx, [32]byte{4, 31: 0xff}); err != nil {
			t.Errorf("one that waits is gone: %v", err)
		}
		count(1, 702, 2)
	})
}
