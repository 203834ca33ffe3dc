//go:build interop

package policydiff

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	count = flag.Int("cases", 2000, "how many random cases")
	seed  = flag.Uint64("seed", 1, "seed of the generator")

	update = flag.Bool("update", false, "write the result of a full run to result.json")
)

// simulator is the other engine, in its own process.
type simulator struct {
	in  *bufio.Writer
	out *bufio.Scanner
}

func start(t *testing.T) *simulator {
	t.Helper()
	dir := os.Getenv("CARNET_SIMULATOR")
	if dir == "" {
		t.Fatal("CARNET_SIMULATOR is not set: start this test with make policy-diff")
	}
	cmd := exec.Command("node", filepath.Join(dir, "simulate.mjs"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the simulator ended with: %v", err)
		}
	})
	s := &simulator{in: bufio.NewWriter(in), out: bufio.NewScanner(out)}
	s.out.Buffer(nil, 1<<24)
	return s
}

// answer is what the simulator says; Error where it would not take the case.
type answer struct {
	Decision string
	Ignored  []string
	Error    string
}

// word is the decision, or "none".
func (a answer) word() string {
	if a.Error != "" {
		return "none"
	}
	return a.Decision
}

var decisions = map[string]string{"Allowed": "allow", "ExplicitlyDenied": "explicit", "ImplicitlyDenied": "implicit"}

// ask sends all cases at once and gives the answers in their order.
func (s *simulator) ask(cases []Case) ([]answer, error) {
	failed := make(chan error, 1)
	go func() {
		for i := range cases {
			b, err := cases[i].theirs()
			if err == nil {
				_, err = s.in.Write(append(b, '\n'))
			}
			if err != nil {
				failed <- err
				return
			}
		}
		failed <- s.in.Flush()
	}()
	out := make([]answer, len(cases))
	for i := range out {
		if !s.out.Scan() {
			return nil, io.ErrUnexpectedEOF
		}
		if err := json.Unmarshal(s.out.Bytes(), &out[i]); err != nil {
			return nil, err
		}
		out[i].Decision = decisions[out[i].Decision]
	}
	return out, <-failed
}

// Explanation says why the engines differ on cases of one form.
type Explanation struct {
	ID     string   `json:"id"`
	Ours   []string `json:"ours"`
	Theirs []string `json:"theirs"` // "none": the simulator gave no decision
	// Match are expressions that the reduced case, as JSON, must all fit.
	Match  []string `json:"match"`
	Reason string   `json:"reason"`
	Source string   `json:"source"` // in AWS's documentation
	// Example is a case that differs so: it is asked in every run.
	Example Case `json:"example"`

	match []*regexp.Regexp
	count int
}

func (e *Explanation) fits(text, ours, theirs string) bool {
	if !slices.Contains(e.Ours, ours) || !slices.Contains(e.Theirs, theirs) {
		return false
	}
	for _, m := range e.match {
		if !m.MatchString(text) {
			return false
		}
	}
	return true
}

func explanations(t *testing.T) []*Explanation {
	t.Helper()
	b, err := os.ReadFile("explained.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		About     string         `json:"about"`
		Explained []*Explanation `json:"explained"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, e := range file.Explained {
		if e.ID == "" || e.Reason == "" || e.Source == "" || len(e.Match) == 0 {
			t.Fatalf("explanation %q is not whole", e.ID)
		}
		for _, m := range e.Match {
			r, err := regexp.Compile(m)
			if err != nil {
				t.Fatalf("%s: %v", e.ID, err)
			}
			e.match = append(e.match, r)
		}
	}
	return file.Explained
}

// text is the form that explanations match: JSON with its names in order.
func (c *Case) text() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// TestExplanationsHold asks the example of every explanation: it must differ as
// the explanation says, and no other explanation may be needed for it.
func TestExplanationsHold(t *testing.T) {
	s := start(t)
	for _, e := range explanations(t) {
		ours, err := e.Example.ours()
		if err != nil {
			t.Fatalf("%s: %v", e.ID, err)
		}
		answers, err := s.ask([]Case{e.Example})
		if err != nil {
			t.Fatal(err)
		}
		if !e.fits(e.Example.text(), ours, answers[0].word()) {
			t.Errorf("%s explains nothing any more: the example gives %s and %s", e.ID, ours, answers[0].word())
		}
	}
}

// Result is what a run found; that of a full run is kept with the sources.
type Result struct {
	Simulator string         `json:"simulator"`
	Seed      uint64         `json:"seed"`
	Cases     int            `json:"cases"`
	Agree     int            `json:"agree"`
	Explained map[string]int `json:"explained"`
}

const fullRun = 20000

// TestPolicyDiff asks both engines the same random cases. A difference that no
// explanation fits fails, and in a full run so does an explanation that fits
// no difference, and a result that is not the one kept.
func TestPolicyDiff(t *testing.T) {
	s := start(t)
	g := newGenerator(*seed)
	cases := make([]Case, *count)
	for i := range cases {
		cases[i] = g.draw()
	}
	answers, err := s.ask(cases)
	if err != nil {
		t.Fatal(err)
	}
	all := explanations(t)
	result := Result{Simulator: version(t), Seed: *seed, Cases: *count, Explained: map[string]int{}}
	tally := map[string]int{}
	for i := range cases {
		ours, err := cases[i].ours()
		if err != nil {
			t.Fatalf("case %d: %v\n%s", i, err, cases[i].text())
		}
		a := answers[i]
		tally[ours]++
		switch {
		case len(a.Ignored) > 0:
			t.Errorf("case %d: the simulator left out context keys %v of %s", i, a.Ignored, cases[i].Action)
		case ours == a.word():
			result.Agree++
		default:
			e, small := s.explain(t, all, cases[i], ours, a.word())
			if e == nil {
				t.Errorf("case %d is not explained: ours %s, theirs %s %s\n%s", i, ours, a.word(), a.Error, small.text())
				continue
			}
			e.count++
			result.Explained[e.ID]++
		}
	}
	t.Logf("%d cases: %d agree, %d differ as explained %v; ours %v", *count, result.Agree, *count-result.Agree, result.Explained, tally)
	for _, word := range []string{"allow", "explicit", "implicit"} {
		if tally[word] < *count/10 {
			t.Errorf("only %d cases of %d ended in %s: the generator asks too little", tally[word], *count, word)
		}
	}
	if *count == fullRun {
		keep(t, all, result)
	}
}

// explain finds the explanation of a difference, on the case made small.
func (s *simulator) explain(t *testing.T, all []*Explanation, c Case, ours, theirs string) (*Explanation, Case) {
	t.Helper()
	if theirs != "none" {
		var err error
		if c, err = s.reduce(c, ours, theirs); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range all {
		if e.fits(c.text(), ours, theirs) {
			return e, c
		}
	}
	return nil, c
}

func keep(t *testing.T, all []*Explanation, result Result) {
	t.Helper()
	for _, e := range all {
		if e.count == 0 {
			t.Errorf("explanation %q fits none of %d cases", e.ID, result.Cases)
		}
	}
	b, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	if *update {
		if err := os.WriteFile("result.json", b, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if kept, err := os.ReadFile("result.json"); err != nil || !bytes.Equal(kept, b) {
		t.Errorf("result.json is not what this run found (%v); make conformance writes it:\n%s", err, b)
	}
}

// version reads which simulator was asked.
func version(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("CARNET_SIMULATOR"), "node_modules/@cloud-copilot/iam-simulate/package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Name, Version string }
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	return p.Name + " " + p.Version
}
