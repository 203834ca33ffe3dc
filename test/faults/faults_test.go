//go:build interop

// Package faults breaks a running installation, under load, in every way in which its
// machines and its database can break, and holds it to what it promised: what was
// acknowledged is there, what was taken back is refused, what may be used once is used
// once, whoever is signed in works on where they can, and all comes back by itself.
// `make faults` runs it.
package faults

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var only = flag.String("only", "", "a regular expression of the names of scenarios")

// The columns of the page. Each is held for every scenario.
var columns = []string{"kept", "revoked", "once", "works on", "clear", "back", "clean"}

// verdict is what came of one scenario: what is wrong, by column.
type verdict struct {
	scenario
	wrong map[string][]string
}

func (v *verdict) blame(column, format string, args ...any) {
	v.wrong[column] = append(v.wrong[column], fmt.Sprintf(format, args...))
}

func TestFaults(t *testing.T) {
	chosen := regexp.MustCompile(*only)
	w := newWorld(t)
	w.attach(t)
	stop := w.load(t)
	defer stop()
	w.settle(t, time.Now())
	time.Sleep(3 * time.Second)
	base := w.measure(t)
	var verdicts []verdict
	var report strings.Builder
	for _, s := range scenarios {
		if chosen.MatchString(s.name) {
			v := verdict{scenario: s, wrong: map[string][]string{}}
			t.Run(s.name, func(t *testing.T) { w.play(t, &v, base, &report) })
			verdicts = append(verdicts, v)
		}
	}
	stop()
	for i, s := range w.fleet.Servers() {
		if err := os.WriteFile(filepath.Join("..", "..", "build", fmt.Sprintf("faults-server-%d.log", i)), []byte(s.Process().Log.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
	w.verify(t, &report)
	fmt.Fprintf(&report, "\nacknowledged in all: %s\n", w.ledger.numbers())
	t.Logf("\n%s", &report)
	if err := os.WriteFile(filepath.Join("..", "..", "build", "faults.txt"), []byte(report.String()), 0o644); err != nil {
		t.Error(err)
	}
	if len(verdicts) == len(scenarios) {
		onThePage(t, verdicts)
	}
}

// play breaks one thing, mends it, and judges.
func (w *world) play(t *testing.T, v *verdict, base burden, report *strings.Builder) {
	w.watch.slow() // what was before is not of this
	e := &episode{broken: span{from: time.Now()}}
	v.breaks(t, w, e)
	e.broken.to = time.Now()
	back, missing := w.settle(t, e.broken.to)
	for i, s := range w.fleet.Servers() {
		if !s.Process().Running() {
			v.blame("back", "server %d has ended: %v\n%s", i, s.Process().Err, last(s.Process().Log.String()))
			w.fleet.Server(i).Start(w.t)
		}
	}
	for _, m := range missing {
		v.blame("back", "%v does not come back", m)
	}
	if len(missing) == 0 {
		for _, lost := range w.lost(t) {
			v.blame("kept", "%s", lost)
		}
	}
	w.judge(v, e)
	w.tidy(t, v, base)
	w.report(report, v, e, back)
	for column, all := range v.wrong {
		for _, one := range all[:min(len(all), 12)] {
			t.Errorf("%s: %s", column, one)
		}
		if len(all) > 12 {
			t.Errorf("%s: and %d more", column, len(all)-12)
		}
	}
}

// last is the end of a log.
func last(text string) string { return text[max(0, len(text)-4000):] }

// judge holds every request of an episode to the rules.
func (w *world) judge(v *verdict, e *episode) {
	for _, text := range w.ledger.faults() {
		column := "revoked"
		if strings.HasPrefix(text, "used twice") {
			column = "once"
		}
		v.blame(column, "%s", text)
	}
	for _, f := range w.watch.since(e.broken.from) {
		if e.spared(f) || f.kind == byAgent {
			v.blame("works on", "%v", f)
		}
		if f.server >= 0 && !f.clear() && !w.watch.isDown(f.server, f.began, f.ended) && f.kind != signIn {
			v.blame("clear", "%v", f)
		}
	}
	for _, to := range w.watch.ways() {
		if s, ok := e.silent[to.server]; ok { // not the agent's: it gives again what it gave before
			if n := w.watch.goodBetween(to, s); n > 0 {
				v.blame("revoked", "%s: server %d, which can't know what was taken back, served %d", to.kind, to.server, n)
			}
		}
	}
}

// settle waits until every kind of request succeeds at every server, and gives how long
// each server took, and what did not.
func (w *world) settle(t *testing.T, from time.Time) (back [3]time.Duration, missing []way) {
	t.Helper()
	var kinds []string
	for _, k := range append(slices.Clone(fromMemory), exchange, changeIAM, provision, makeKey, revokeKey, signIn, signOut) {
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	for deadline := from.Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		missing = nil
		for i := range 3 {
			for _, kind := range kinds {
				first, ok := w.watch.firstGood(way{kind, i}, from)
				if !ok {
					missing = append(missing, way{kind, i})
					continue
				}
				if kind != signIn && kind != signOut { // which come to each server every 4 s alone
					back[i] = max(back[i], first.Sub(from))
				}
			}
		}
		if len(missing) == 0 || time.Now().After(deadline) {
			return back, missing
		}
	}
}

// burden is what the servers hold open: files of each, and connections to PostgreSQL.
type burden struct{ files [3]int }

func (w *world) measure(t *testing.T) (b burden) {
	t.Helper()
	for i := range 3 {
		b.files[i] = w.files(t, i)
	}
	return b
}

// tidy holds that a server holds no more open than before, once things have calmed down.
func (w *world) tidy(t *testing.T, v *verdict, base burden) {
	t.Helper()
	const more = 40 // connections come and go under load
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		now := w.measure(t)
		fat := slices.IndexFunc([]int{0, 1, 2}, func(i int) bool { return now.files[i] > base.files[i]+more })
		if fat < 0 {
			return
		}
		if time.Now().After(deadline) {
			v.blame("clean", "server %d holds %d files open, %d before", fat, now.files[fat], base.files[fat])
			return
		}
	}
}

// verify proves the trail, by the host's own command, after all that was done to it.
func (w *world) verify(t *testing.T, report *strings.Builder) {
	t.Helper()
	for _, s := range w.fleet.Servers() {
		s.Stop(t) // the last signature of each
	}
	out := w.fleet.Host(t, "audit", "verify")
	fmt.Fprintf(report, "\ncarnet audit verify:\n%s", out)
	if !strings.Contains(out, "The trail is whole.") {
		t.Errorf("carnet audit verify says\n%s", out)
	}
}

// report writes the figures of one episode.
func (w *world) report(to *strings.Builder, v *verdict, e *episode, back [3]time.Duration) {
	fmt.Fprintf(to, "\n%s: %s\n", v.name, v.says)
	fmt.Fprintf(to, "  broken for %s; all kinds of requests answered again, by server: %s\n", e.broken.to.Sub(e.broken.from).Round(time.Millisecond), short(back[:]))
	whole := span{e.broken.from, time.Now()}
	slowest := w.watch.slow()
	var last string
	for _, to2 := range w.watch.ways() {
		if to2.kind != last {
			fmt.Fprintf(to, "\n  %-34s slowest %8s   longest without:", to2.kind, slowest[to2.kind].Round(time.Millisecond))
			last = to2.kind
		}
		name := fmt.Sprint("server ", to2.server)
		if to2.server < 0 {
			name = "any"
		}
		fmt.Fprintf(to, " %s %s", name, w.watch.gap(to2, whole).Round(10*time.Millisecond))
	}
	fmt.Fprintln(to)
}

func short(all []time.Duration) string {
	var out []string
	for _, d := range all {
		out = append(out, d.Round(10*time.Millisecond).String())
	}
	return strings.Join(out, ", ")
}
