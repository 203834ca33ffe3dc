//go:build interop

package agentbench

import (
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/attest"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
)

var (
	rounds     = flag.Int("rounds", 7, "rounds per row; every target takes one turn in each")
	window     = flag.Duration("window", 2*time.Second, "length of a turn")
	identities = flag.Int("identities", 4000, "how many attachments hold keys when memory is measured")
	rows       = flag.String("rows", "", "regular expression: the parts to run, of idle, burst, hot, attestation, paced, memory")
	out        = flag.String("out", "", "file that the results go to, too")
)

// upstreamTakes is how long the server takes for a set of keys.
const upstreamTakes = 50 * time.Millisecond

// TestBenchAgent prints each row as it ends and the table of claims last. A figure
// that is not met fails nothing: a machine has its moods. A wrong answer, and more
// upstream calls than one, do.
func TestBenchAgent(t *testing.T) {
	p := newPaper(t)
	w := start(t, upstreamTakes)
	pick := regexp.MustCompile(*rows)
	var bearer string
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"idle", func() { p.idle(t, w) }},
		{"", func() {
			person := attachment(t, w.person, "att_person", personUID)
			w.server.attach(t, person)
			bearer = w.bearer(t, person)
		}},
		{"burst", func() { p.coldBurst(t, w, bearer) }}, {"hot", func() { p.hot(t, w, bearer) }}, {"attestation", func() { p.attestation(t) }},
		{"paced", func() { p.paced(t, w, bearer) }}, {"memory", func() { p.memory(t, w) }},
	} {
		if part.name == "" || pick.MatchString(part.name) {
			part.run()
		}
	}
	p.close(t)
}

// idle is the memory of an agent that has nothing to do yet.
func (p *paper) idle(t *testing.T, w *world) {
	time.Sleep(2 * time.Second) // what it does at its start is done
	p.claim("idle", "memory, MiB", resident(t, w.node.AgentPID())/1024, -25)
}

// coldBurst has nobody's keys in memory yet: a hundred first fetches at once.
func (p *paper) coldBurst(t *testing.T, w *world, bearer string) {
	w.server.calls()
	one := w.load.do(t, job{Address: endpoint, Bearers: []string{bearer}, C: 100, Once: true})
	calls, _ := w.server.calls()
	if one.Refused > 0 || one.Fetches != 100 || calls != 1 {
		t.Errorf("100 first fetches of one person: %d answered, %d refused %v, %d upstream calls", one.Fetches, one.Refused, one.Errors, calls)
	}
	p.say("\ncold burst of 100, upstream %s\n  one person            %d upstream call   p50 %s  p99 %s  longest %s\n", upstreamTakes, calls, one.P50.Round(time.Millisecond/10), one.P99.Round(time.Millisecond/10), one.Longest.Round(time.Millisecond/10))
	p.claim("cold burst of 100", "upstream calls", float64(calls), -1)
	p.claim("cold burst of 100", "p99, ms", ms(one.P99), -80)
	p.manyPeople(t, w)
}

// manyPeople is the burst with ten fetches each of ten people.
func (p *paper) manyPeople(t *testing.T, w *world) {
	people := []nodedoc.Attachment{attachment(t, w.person, "att_person", personUID)}
	j := job{Address: endpoint, C: 10, Once: true}
	for i := range 10 {
		uid := uint32(72001 + i)
		a := attachment(t, w.root, fmt.Sprintf("att_%d", uid), uid)
		people, j.UIDs, j.Bearers = append(people, a), append(j.UIDs, uid), append(j.Bearers, w.bearer(t, a))
	}
	w.server.attach(t, people...)
	w.server.calls()
	ten := w.many.do(t, j)
	calls, again := w.server.calls()
	if ten.Refused > 0 || ten.Fetches != 100 || calls != 10 || again != 0 {
		t.Errorf("100 first fetches of ten people: %d answered, %d refused %v, %d upstream calls", ten.Fetches, ten.Refused, ten.Errors, calls)
	}
	p.say("  ten people            %d upstream calls p50 %s  p99 %s  longest %s\n", calls, ten.P50.Round(time.Millisecond/10), ten.P99.Round(time.Millisecond/10), ten.Longest.Round(time.Millisecond/10))
	p.claim("cold burst of 10 × 10", "upstream calls for each", float64(calls)/10, -1)
	p.claim("cold burst of 10 × 10", "p99, ms", ms(ten.P99), -80)
}

// hot compares fetches of keys that lie ready with canned ones.
func (p *paper) hot(t *testing.T, w *world, bearer string) {
	kept := job{Bearers: []string{bearer}, C: 32, Window: *window}
	single, fresh := kept, kept
	single.C, fresh.Fresh = 1, true
	of := map[string]int{"agent": w.node.AgentPID(), "canned": w.canned.pid}
	for _, row := range []struct {
		name  string
		job   job
		least float64
	}{{"hot, c=32, kept connections", kept, 0.80}, {"hot, c=32, a new connection each", fresh, 0.50}, {"hot, c=1, kept connection", single, 0}} {
		all := map[string][]sample{}
		cost := map[string][]float64{}
		var ratios, p50s []float64
		for range *rounds {
			round := map[string]sample{}
			for target, address := range map[string]string{"agent": endpoint, "canned": cannedAddress} {
				row.job.Address = address
				before := processorTime(t, of[target])
				s := w.load.do(t, row.job)
				if s.Refused > 0 || s.Fetches == 0 {
					t.Fatalf("%s of %s: %d refused %v", row.name, target, s.Refused, s.Errors)
				}
				cost[target] = append(cost[target], float64((processorTime(t, of[target])-before).Microseconds())/float64(s.Fetches))
				round[target] = s
				all[target] = append(all[target], s)
			}
			ratios = append(ratios, round["agent"].rate()/round["canned"].rate())
			p50s = append(p50s, float64(round["agent"].P50)/float64(round["canned"].P50))
		}
		p.say("\n%s\n", row.name)
		for _, target := range []string{"canned", "agent"} {
			p.say("  %-20s %9.0f/s  p50 %7.0f µs  p99 %7.0f µs  processor %5.1f µs/fetch\n", target, median(all[target], sample.rate), median(all[target], func(s sample) float64 { return us(s.P50) }),
				median(all[target], func(s sample) float64 { return us(s.P99) }), middle(cost[target]))
		}
		if row.least > 0 {
			p.claim(row.name, "agent / canned, rate", middle(ratios), row.least)
		} else {
			p.claim(row.name, "agent / canned, p50", middle(p50s), -1.15)
		}
		if row.job.Fresh {
			p.say("  of which attestation and what else a connection costs beside canned: %.1f µs of processor time per connection\n", middle(cost["agent"])-middle(cost["canned"]))
		}
	}
}

// attestation is what the kernel's word costs, once per connection.
func (p *paper) attestation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const times = 5000
	var each []float64
	for range *rounds {
		began := time.Now()
		for range times {
			if _, err := attest.TCP(c.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
		}
		each = append(each, us(time.Since(began))/times)
	}
	p.say("\nattestation: %.1f µs for each connection, none for the fetches on it\n", middle(each))
}

// paced asks 5,000 times a second: nobody is refused.
func (p *paper) paced(t *testing.T, w *world, bearer string) {
	s := w.load.do(t, job{Address: endpoint, Bearers: []string{bearer}, C: 32, Window: 2 * *window, Rate: 5000})
	p.say("\n5,000 a second for %s: %d answered (%.0f/s), %d refused %v, p99 %s\n", 2**window, s.Fetches, s.rate(), s.Refused, s.Errors, s.P99.Round(time.Microsecond))
	p.claim("5,000 a second", "refusals", float64(s.Refused), 0)
}

// settle is longer than an agent waits before it gives memory back.
const settle = 45 * time.Second

// memory is what each attachment with keys adds.
func (p *paper) memory(t *testing.T, w *world) {
	// A node anew: what the load left in the heap would count.
	w.server.attach(t)
	w.node.KillAgent(t)
	w.node.StartAgent(t)
	people := []nodedoc.Attachment{}
	for i := range *identities {
		people = append(people, attachment(t, w.root, fmt.Sprintf("att_%d", 100_000+i), uint32(100_000+i)))
	}
	before := atRest(t, w.node.AgentPID())
	w.server.attach(t, people...)
	for begin := 0; begin < len(people); begin += 50 {
		j := job{Address: endpoint, C: 1, Once: true}
		for _, a := range people[begin:min(begin+50, len(people))] {
			j.UIDs = append(j.UIDs, a.UID)
			j.Bearers = append(j.Bearers, w.bearer(t, a))
		}
		if s := w.many.do(t, j); s.Refused > 0 {
			t.Fatalf("fetches of many people: %d refused %v", s.Refused, s.Errors)
		}
	}
	after := atRest(t, w.node.AgentPID())
	p.say("\nmemory: %.1f MiB with no attachment, %.1f MiB with %d that hold keys\n", before/1024, after/1024, *identities)
	p.claim("memory", "KiB for each identity", (after-before)/float64(*identities), -3)
}

// atRest is the memory of an agent of which nobody asks anything, in KiB: it gives back
// what it needed for a while, and what stays is what it costs. Pages of the program's
// file are not counted: the system drops them whenever it wants to, so that they differ
// by more than what is measured here.
func atRest(t *testing.T, pid int) float64 {
	t.Helper()
	var least []float64
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(time.Second) {
		least = append(least, memoryOf(t, pid, "RssAnon:"))
	}
	return middle(least[len(least)/2:])
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(all []sample, of func(sample) float64) float64 {
	var each []float64
	for _, s := range all {
		each = append(each, of(s))
	}
	return middle(each)
}

func middle(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	if len(all) == 0 {
		return math.NaN()
	}
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// paper takes the results.
type paper struct {
	file   *os.File
	claims []string
}

func newPaper(t *testing.T) *paper {
	t.Helper()
	p := &paper{}
	if *out == "" {
		return p
	}
	if err := os.MkdirAll(filepath.Dir(*out), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.file, err = os.Create(*out); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *paper) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Print(text)
	if p.file != nil {
		_, _ = p.file.WriteString(text)
	}
}

// claim holds a figure to its target: at least, or where that is not positive at most
// its absolute value.
func (p *paper) claim(row, what string, value, target float64) {
	sign, met := "≥", value >= target
	if target <= 0 {
		target = math.Abs(target)
		sign, met = "≤", value <= target
	}
	p.claims = append(p.claims, fmt.Sprintf("%-34s %-26s %8.2f  %s %6.2f  %s", row, what, value, sign, target, map[bool]string{true: "met", false: "NOT MET"}[met]))
}

func (p *paper) close(t *testing.T) {
	p.say("\n%-34s %-26s %8s  %8s\n%s\n", "row", "figure", "value", "target", strings.Join(p.claims, "\n"))
	if p.file != nil {
		if err := p.file.Close(); err != nil {
			t.Error(err)
		}
	}
}
