package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/event"
)

// Trail reads everything back, on one snapshot per method.
type Trail interface {
	// Writers gives the names of all chains that have records, whether or not they
	// have a head.
	Writers(ctx context.Context) ([]string, error)
	Heads(ctx context.Context) ([]Head, error)
	// Records gives a writer's records after a number, in order.
	Records(ctx context.Context, writer string, after int64, most int) ([]Record, error)
	Checkpoints(ctx context.Context) ([]Checkpoint, error)
	Signers(ctx context.Context, add *Signer) ([]Signer, error)
}

// Expect is what verification compares the database with.
type Expect struct {
	// Signers are ids of trusted keys, noted outside the database. Empty: the
	// database's own word is taken, which its owner could have changed.
	Signers []string
	// Outside are checkpoints kept elsewhere.
	Outside []Checkpoint
	// Copies are exports kept elsewhere.
	Copies []Copy
	// Unsigned is the longest time that the unsigned records at the end of a chain may
	// span: a server signs each second, so checkpoints of what spans more were
	// removed. 0: any.
	Unsigned time.Duration
}

// MostUnsigned is the Expect.Unsigned of the command line: with room for a server that
// stood still, or whose clock was set.
const MostUnsigned = time.Minute

// Report is what verification found. No Problems means that the trail is what
// was written.
type Report struct {
	Writers     int `json:"writers"`
	Records     int `json:"records"`
	Checkpoints int `json:"checkpoints"`
	Unsigned    int `json:"unsigned"` // records after their chain's last checkpoint
	// Open says where those are: what whoever owns the database could have changed,
	// removed or added.
	Open []Stretch `json:"open"`
	// Kept counts the records up to a checkpoint that is kept outside. All others are
	// proven by what the database itself says, and its signing key.
	Kept int `json:"kept"`
	// KeptUntil is when the last of those checkpoints was made; zero: there is none.
	KeptUntil time.Time `json:"keptUntil,omitzero"`
	// Cut are chains whose beginning was pruned, as the trail itself says.
	Cut int `json:"cut"`
	// Copied are lines of copies that say what the database does, and Unreadable those
	// that are no records: one after each power cut is no wonder.
	Copied     int      `json:"copied"`
	Unreadable int      `json:"unreadable"`
	Problems   []string `json:"problems"`
}

// Stretch are records at the end of a chain that are under no signature.
type Stretch struct {
	Writer string    `json:"writer"`
	From   int64     `json:"from"`
	To     int64     `json:"to"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// Verify reads the whole trail and compares every hash, number, column and
// signature. Errors are those of reading.
func Verify(ctx context.Context, t Trail, x Expect) (Report, error) {
	v := &verifier{x: x, report: Report{Problems: []string{}, Open: []Stretch{}}, signers: map[string]ed25519.PublicKey{}, marks: map[string]map[int64][]Checkpoint{},
		kept: map[string]int64{}, cuts: map[string][]anchor{}, said: map[string][]anchor{}}
	// Heads come last: what is written meanwhile is then beyond all of them.
	signers, err := t.Signers(ctx, nil)
	if err != nil {
		return v.report, err
	}
	v.takeSigners(signers)
	marks, err := t.Checkpoints(ctx)
	if err != nil {
		return v.report, err
	}
	v.takeCheckpoints(marks)
	writers, err := t.Writers(ctx)
	if err != nil {
		return v.report, err
	}
	heads, err := t.Heads(ctx)
	if err != nil {
		return v.report, err
	}
	for _, h := range heads {
		if err := v.chain(ctx, t, h); err != nil {
			return v.report, err
		}
	}
	if err := v.headless(ctx, t, writers, heads); err != nil {
		return v.report, err
	}
	v.holdCuts()
	for writer, rest := range v.marks {
		for seq, marks := range rest {
			if !v.pruned(writer, marks[0]) {
				v.problem("chain %s has a checkpoint over record %d, which is gone", writer, seq)
			}
		}
	}
	if err := v.holdCopies(ctx, t); err != nil {
		return v.report, err
	}
	slices.Sort(v.report.Problems)
	return v.report, nil
}

// takeSigners keeps the keys that count.
func (v *verifier) takeSigners(signers []Signer) {
	for _, s := range signers {
		switch {
		case len(s.Public) != ed25519.PublicKeySize || SignerID(s.Public) != s.ID:
			v.problem("signing key %s is not the key of that id", s.ID)
		case len(v.x.Signers) > 0 && !slices.Contains(v.x.Signers, s.ID):
			v.problem("signing key %s is not one of the trusted ones", s.ID)
		default:
			v.signers[s.ID] = s.Public
		}
	}
	for _, id := range v.x.Signers {
		if v.signers[id] == nil {
			v.problem("the trusted signing key %s is not there", id)
		}
	}
}

// headless finds records of chains that have no head.
func (v *verifier) headless(ctx context.Context, t Trail, writers []string, heads []Head) error {
	for _, w := range writers {
		if slices.ContainsFunc(heads, func(h Head) bool { return h.Writer == w }) {
			continue
		}
		// Heads were read later: a chain that was pruned as a whole meanwhile has none, and
		// no records either.
		first, err := t.Records(ctx, w, beforeAll, 1)
		if err != nil {
			return err
		}
		if len(first) > 0 {
			v.problem("chain %s has records and no head", w)
		}
	}
	return nil
}

// beyond finds records after a chain's head. Where a server goes on writing, the head
// that is read after them has moved, too.
func (v *verifier) beyond(ctx context.Context, t Trail, head Head) error {
	more, err := t.Records(ctx, head.Writer, head.Seq, 1)
	if err != nil || len(more) == 0 {
		return err
	}
	heads, err := t.Heads(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(heads, func(h Head) bool { return h.Writer == head.Writer && h.Seq >= more[0].Seq }) {
		v.problem("chain %s has record %d, which is beyond its head", head.Writer, more[0].Seq)
	}
	return nil
}

// beforeAll is before every number that a row can have.
const beforeAll = math.MinInt64

type verifier struct {
	x       Expect
	signers map[string]ed25519.PublicKey
	marks   map[string]map[int64][]Checkpoint // by writer and record; taken out when met
	kept    map[string]int64                  // by writer, the last record under a checkpoint outside
	report  Report
	cuts    map[string][]anchor // where chains begin, that don't begin at record 1
	said    map[string][]anchor // where chains were cut, by the trail's own word
}

// holdCuts holds the beginning of each cut chain to what the trail says of it.
func (v *verifier) holdCuts() {
	for writer, cuts := range v.cuts {
		for _, c := range cuts {
			if !slices.ContainsFunc(v.said[writer], func(a anchor) bool { return a.seq == c.seq && a.hash == c.hash }) {
				v.problem("chain %s begins after record %d, and nothing says that it was cut there", writer, c.seq)
			}
		}
	}
}

// pruned reports whether the trail says that what a checkpoint covers went.
func (v *verifier) pruned(writer string, c Checkpoint) bool {
	for _, a := range v.said[writer] {
		if c.Seq <= a.seq {
			return true
		}
	}
	// The record of a cut goes one day too: then the time says it.
	for _, all := range v.said {
		for _, a := range all {
			if c.At.Before(a.before) && len(v.said[writer]) == 0 {
				return true
			}
		}
	}
	return false
}

// begin gives where the records of a chain begin: at nothing, or at a signed
// checkpoint where the first ones are gone.
func (v *verifier) begin(writer string, first int64) (Head, bool) {
	at := Head{Writer: writer}
	if first == 1 {
		return at, true
	}
	marks := v.marks[writer][first-1]
	if len(marks) == 0 {
		v.problem("chain %s lacks record 1", writer)
		return at, false
	}
	at.Seq, at.Hash = first-1, marks[0].Hash
	v.met(at)
	v.report.Cut++
	v.cuts[writer] = append(v.cuts[writer], anchor{seq: at.Seq, hash: hex.EncodeToString(at.Hash[:])})
	return at, true
}

// most keeps the report of a ruined trail readable.
const mostProblems = 100

func (v *verifier) problem(format string, args ...any) {
	if len(v.report.Problems) < mostProblems {
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	}
}

func (v *verifier) takeCheckpoints(marks []Checkpoint) {
	v.report.Checkpoints = len(marks)
	for i, c := range slices.Concat(marks, v.x.Outside) {
		public, ok := v.signers[c.Signer]
		if !ok || !ed25519.Verify(public, c.signedBytes(), c.Signature) {
			v.problem("the checkpoint of chain %s at record %d has no valid signature of a trusted key", c.Writer, c.Seq)
			continue
		}
		if v.marks[c.Writer] == nil {
			v.marks[c.Writer] = map[int64][]Checkpoint{}
		}
		v.marks[c.Writer][c.Seq] = append(v.marks[c.Writer][c.Seq], c)
		if i < len(marks) {
			continue
		}
		v.kept[c.Writer] = max(v.kept[c.Writer], c.Seq)
		if c.At.After(v.report.KeptUntil) {
			v.report.KeptUntil = c.At
		}
	}
}

func (v *verifier) chain(ctx context.Context, t Trail, head Head) error {
	v.report.Writers++
	if err := v.beyond(ctx, t, head); err != nil {
		return err
	}
	first, err := t.Records(ctx, head.Writer, beforeAll, 1)
	if err != nil {
		return err
	}
	if len(first) > 0 && first[0].Seq < 1 {
		v.problem("chain %s has record %d, which no server wrote", head.Writer, first[0].Seq)
		return nil
	}
	begins := head.Seq + 1
	if len(first) > 0 {
		begins = first[0].Seq
	}
	at, ok := v.begin(head.Writer, begins)
	if !ok {
		return nil
	}
	signed, kept := at.Seq, v.kept[head.Writer]
	var open Stretch
	for at.Seq < head.Seq {
		page, err := t.Records(ctx, head.Writer, at.Seq, 1000)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			v.problem("chain %s ends at record %d; its head says %d", head.Writer, at.Seq, head.Seq)
			return nil
		}
		for _, r := range page {
			if at.Seq == head.Seq {
				break // written since the heads were read
			}
			if r.Seq != at.Seq+1 {
				v.problem("chain %s lacks record %d", head.Writer, at.Seq+1)
				return nil
			}
			if r.link(at.Hash) != r.Hash || !r.columnsMatch() {
				v.problem("record %d of chain %s was changed", r.Seq, head.Writer)
				return nil
			}
			at.Seq, at.Hash = r.Seq, r.Hash
			v.report.Records++
			if r.Action == ActionBroken {
				v.problem("a server found another chain changed: record %d of chain %s says which", r.Seq, head.Writer)
			}
			if writer, a, ok := anchorOf(r, v.signers); ok {
				v.said[writer] = append(v.said[writer], a)
			}
			if r.Seq <= kept {
				v.report.Kept++
			}
			if v.met(at) {
				signed, open = r.Seq, Stretch{}
			} else {
				open.add(r)
			}
		}
	}
	v.report.Unsigned += int(at.Seq - signed)
	if at != head {
		v.problem("the head of chain %s is not its last record", head.Writer)
	}
	if open.From == 0 {
		return nil
	}
	v.report.Open = append(v.report.Open, open)
	if v.x.Unsigned > 0 && open.Until.Sub(open.Since) > v.x.Unsigned {
		v.problem("chain %s has no checkpoint after record %d, though it went on for %s", head.Writer, signed, open.Until.Sub(open.Since))
	}
	return nil
}

func (o *Stretch) add(r Record) {
	if o.From == 0 {
		*o = Stretch{Writer: r.Writer, From: r.Seq, Since: r.At}
	}
	o.To, o.Until = r.Seq, r.At
}

// met compares the checkpoints over a record and takes them off the list.
func (v *verifier) met(at Head) bool {
	marks := v.marks[at.Writer][at.Seq]
	delete(v.marks[at.Writer], at.Seq)
	for _, c := range marks {
		if c.Hash != at.Hash {
			v.problem("record %d of chain %s is not the one that was signed", at.Seq, at.Writer)
		}
	}
	return len(marks) > 0
}

// columnsMatch reports whether the searchable columns say what the body says.
func (r Record) columnsMatch() bool {
	var e event.Event
	return json.Unmarshal([]byte(r.Body), &e) == nil && e.Action == r.Action && string(e.Person) == r.Person
}
