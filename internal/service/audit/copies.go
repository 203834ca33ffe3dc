package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"iter"
	"reflect"
	"slices"
	"time"
)

// Copy is an export of the trail that was kept elsewhere: JSON lines, each chain in its
// order, from any record on.
type Copy struct {
	Name  string
	Lines iter.Seq2[Copied, error]
}

// Copied is a line of a copy. A line that can't be read has no Chain.
type Copied struct {
	Number int // of the line, from 1
	Chain  Link
	At     time.Time
	fields map[string]any
}

// mostLine bounds a line of a copy, in bytes: a record's body has 32 KiB at most.
const mostLine = 1 << 20

// ReadCopy reads JSON lines. The error of a line is that of reading; one that is no
// document comes without Chain.
func ReadCopy(name string, r io.Reader) Copy {
	return Copy{name, func(yield func(Copied, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 64<<10), mostLine)
		for n := 1; lines.Scan(); n++ {
			if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 && !yield(readLine(n, line), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Copied{}, err)
		}
	}}
}

func readLine(n int, line []byte) Copied {
	var d struct {
		At    time.Time `json:"eventTime"`
		Chain Link      `json:"chain"`
	}
	c := Copied{Number: n}
	if json.Unmarshal(line, &d) != nil || d.Chain.Writer == "" || d.Chain.Seq < 1 || json.Unmarshal(line, &c.fields) != nil {
		return Copied{Number: n}
	}
	c.Chain, c.At = d.Chain, d.At
	return c
}

// holdCopies holds the database to every copy. What a copy has must be there, word for
// word, or have been pruned; and a copy itself has no gaps.
func (v *verifier) holdCopies(ctx context.Context, t Trail) error {
	for _, c := range v.x.Copies {
		last, pages := map[string]int64{}, pages{trail: t, of: map[string][]Record{}}
		read := false
		for line, err := range c.Lines {
			if err != nil {
				return err
			}
			if line.Chain.Writer == "" {
				v.report.Unreadable++
				continue
			}
			read = true
			writer, seq := line.Chain.Writer, line.Chain.Seq
			if before := last[writer]; before > 0 && seq > before+1 {
				v.problem("%s lacks records %d to %d of chain %s before line %d", c.Name, before+1, seq-1, writer, line.Number)
			}
			last[writer] = max(last[writer], seq)
			r, ok, err := pages.find(ctx, writer, seq)
			if err != nil {
				return err
			}
			v.compare(c.Name, line, r, ok)
		}
		if !read {
			v.problem("%s holds no record, so nothing was compared", c.Name)
		}
	}
	return nil
}

func (v *verifier) compare(name string, line Copied, r Record, ok bool) {
	at := Checkpoint{Head: Head{Writer: line.Chain.Writer, Seq: line.Chain.Seq}, At: line.At}
	switch {
	case !ok && v.pruned(line.Chain.Writer, at):
		return
	case !ok:
		v.problem("chain %s lacks record %d, which stands in line %d of %s", line.Chain.Writer, line.Chain.Seq, line.Number, name)
	case hex.EncodeToString(r.Hash[:]) != line.Chain.Hash:
		v.problem("record %d of chain %s is another than in line %d of %s", r.Seq, r.Writer, line.Number, name)
	case !says(r.Document(), line.fields):
		v.problem("line %d of %s says something else than record %d of chain %s", line.Number, name, r.Seq, r.Writer)
	default:
		v.report.Copied++
	}
}

// says reports whether a document says all that a line does. It may say more, by
// fields that were added since.
func says(d Document, line map[string]any) bool {
	text, err := json.Marshal(d)
	if err != nil {
		return false
	}
	var have map[string]any
	return json.Unmarshal(text, &have) == nil && covers(have, line)
}

func covers(have, want any) bool {
	w, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(have, want)
	}
	h, ok := have.(map[string]any)
	if !ok {
		return false
	}
	for name, value := range w {
		if !covers(h[name], value) {
			return false
		}
	}
	return true
}

// pages reads chains a page at a time, in the order in which a copy names records.
type pages struct {
	trail Trail
	of    map[string][]Record
}

// mostPages bounds what is kept of chains that take turns in a copy.
const mostPages = 16

func (p *pages) find(ctx context.Context, writer string, seq int64) (Record, bool, error) {
	if r, ok := within(p.of[writer], seq); ok {
		return r, true, nil
	}
	page, err := p.trail.Records(ctx, writer, seq-1, 1000)
	if err != nil {
		return Record{}, false, err
	}
	if len(p.of) >= mostPages {
		clear(p.of)
	}
	p.of[writer] = page
	r, ok := within(page, seq)
	return r, ok, nil
}

// within finds a record by its number.
func within(page []Record, seq int64) (Record, bool) {
	i, ok := slices.BinarySearchFunc(page, seq, func(r Record, seq int64) int { return cmp.Compare(r.Seq, seq) })
	if !ok {
		return Record{}, false
	}
	return page[i], true
}
