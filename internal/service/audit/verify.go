package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/event"
)

// Trail reads everything back, on one snapshot per method.
type Trail interface {
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
	// Now and Unsigned: a record older than Unsigned without a checkpoint
	// over it is reported.
	Now      time.Time
	Unsigned time.Duration
}

// Report is what verification found. No Problems means that the trail is what
// was written.
type Report struct {
	Writers     int `json:"writers"`
	Records     int `json:"records"`
	Checkpoints int `json:"checkpoints"`
	Unsigned    int `json:"unsigned"` // records after their chain's last checkpoint
	// Cut are chains whose beginning was pruned, as the trail itself says.
	Cut      int      `json:"cut"`
	Problems []string `json:"problems"`
}

// Verify reads the whole trail and compares every hash, number, column and
// signature. Errors are those of reading.
func Verify(ctx context.Context, t Trail, x Expect) (Report, error) {
	v := &verifier{x: x, report: Report{Problems: []string{}}, signers: map[string]ed25519.PublicKey{}, marks: map[string]map[int64][]Checkpoint{},
		cuts: map[string][]anchor{}, said: map[string][]anchor{}}
	// Heads come last: what is written meanwhile is then beyond all of them.
	signers, err := t.Signers(ctx, nil)
	if err != nil {
		return v.report, err
	}
	for _, s := range signers {
		switch {
		case SignerID(s.Public) != s.ID:
			v.problem("signing key %s is not the key of that id", s.ID)
		case len(x.Signers) > 0 && !slices.Contains(x.Signers, s.ID):
			v.problem("signing key %s is not one of the trusted ones", s.ID)
		default:
			v.signers[s.ID] = s.Public
		}
	}
	marks, err := t.Checkpoints(ctx)
	if err != nil {
		return v.report, err
	}
	v.takeCheckpoints(marks)
	heads, err := t.Heads(ctx)
	if err != nil {
		return v.report, err
	}
	for _, h := range heads {
		if err := v.chain(ctx, t, h); err != nil {
			return v.report, err
		}
	}
	v.holdCuts()
	for writer, rest := range v.marks {
		for seq, marks := range rest {
			if !v.pruned(writer, marks[0]) {
				v.problem("chain %s has a checkpoint over record %d, which is gone", writer, seq)
			}
		}
	}
	slices.Sort(v.report.Problems)
	return v.report, nil
}

type verifier struct {
	x       Expect
	signers map[string]ed25519.PublicKey
	marks   map[string]map[int64][]Checkpoint // by writer and record; taken out when met
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
	for _, c := range slices.Concat(marks, v.x.Outside) {
		public, ok := v.signers[c.Signer]
		if !ok || !ed25519.Verify(public, c.signedBytes(), c.Signature) {
			v.problem("the checkpoint of chain %s at record %d has no valid signature of a trusted key", c.Writer, c.Seq)
			continue
		}
		if v.marks[c.Writer] == nil {
			v.marks[c.Writer] = map[int64][]Checkpoint{}
		}
		v.marks[c.Writer][c.Seq] = append(v.marks[c.Writer][c.Seq], c)
	}
}

func (v *verifier) chain(ctx context.Context, t Trail, head Head) error {
	v.report.Writers++
	first, err := t.Records(ctx, head.Writer, 0, 1)
	if err != nil {
		return err
	}
	begins := head.Seq + 1
	if len(first) > 0 {
		begins = first[0].Seq
	}
	at, ok := v.begin(head.Writer, begins)
	if !ok {
		return nil
	}
	signed := at.Seq
	var oldestUnsigned time.Time
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
			if r.Seq > head.Seq {
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
			if writer, a, ok := anchorOf(r, v.signers); ok {
				v.said[writer] = append(v.said[writer], a)
			}
			if v.met(at) {
				signed, oldestUnsigned = r.Seq, time.Time{}
			} else if oldestUnsigned.IsZero() {
				oldestUnsigned = r.At
			}
		}
	}
	v.report.Unsigned += int(at.Seq - signed)
	if at != head {
		v.problem("the head of chain %s is not its last record", head.Writer)
	}
	if !oldestUnsigned.IsZero() && v.x.Unsigned > 0 && v.x.Now.Sub(oldestUnsigned) > v.x.Unsigned {
		v.problem("chain %s has no checkpoint after record %d", head.Writer, signed)
	}
	return nil
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
