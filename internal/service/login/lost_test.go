package login

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
)

// TestManyLostAllRoles: ten people within an hour are a warning, once an hour; one
// person over and over, and ten over a day, are none.
func TestManyLostAllRoles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		people int
		apart  time.Duration
		times  int
		want   int
	}{
		"ten at once":        {10, time.Minute, 10, 1},
		"nine at once":       {9, time.Minute, 9, 0},
		"one, often":         {1, time.Minute, 50, 0},
		"ten over a day":     {10, 3 * time.Hour, 10, 0},
		"many, for 3 hours":  {180, time.Minute, 180, 3},
		"many, in a moment":  {500, time.Millisecond, 500, 1},
		"ten, who come back": {10, time.Minute, 30, 1},
	} {
		var out bytes.Buffer
		now := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
		s := &Service{}
		s.Now, s.Logger = func() time.Time { return now }, slog.New(slog.NewTextHandler(&out, nil))
		for i := range c.times {
			s.lost.note(s, Subject{ID: identity.PersonID(fmt.Sprint("psn_", i%c.people)), IdP: "idp_corp"})
			now = now.Add(c.apart)
		}
		if got := strings.Count(out.String(), "many people lost all their roles"); got != c.want || (got > 0 && !strings.Contains(out.String(), "idp_corp")) {
			t.Errorf("%s: warned %d times, want %d\n%s", name, got, c.want, &out)
		}
	}
}
