package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// ActionPrune is the event by which the trail says where it was cut.
const ActionPrune = "audit.prune"

// Pruned is what the store needs for cutting. Each call takes part in the
// transaction that ctx carries.
type Pruned interface {
	Heads(ctx context.Context) ([]Head, error)
	// Cut gives the last checkpoint of a chain, over no record beyond most, before which
	// every record is older than a time; ok is false where there is none. first is the
	// chain's first record that is still there, 0 where none is.
	Cut(ctx context.Context, writer string, before time.Time, most int64) (c Checkpoint, first int64, ok bool, err error)
	// Forget deletes the records of a chain up to a checkpoint, and the checkpoints
	// before that; whole: that one and the chain too.
	Forget(ctx context.Context, c Checkpoint, whole bool) error
	// Records gives a writer's records after a number, in order.
	Records(ctx context.Context, writer string, after int64, most int) ([]Record, error)
	// Checkpoint gives the one over a record; ok is false where there is none.
	Checkpoint(ctx context.Context, writer string, seq int64) (c Checkpoint, ok bool, err error)
}

// Retention says what stays.
type Retention struct {
	// Before is the time before which records go.
	Before time.Time
	// Taken gives the last record of a chain that every target has, 0 for none; nil:
	// there is no target. What is beyond stays until it is older than Bound.
	Taken func(ctx context.Context, writer string) (int64, error)
	Bound time.Time
}

// Cutting is what Prune did.
type Cutting struct {
	Before  time.Time `json:"before"`
	Records int64     `json:"records"` // that went
	Chains  int       `json:"chains"`  // that were cut or went
	Whole   int       `json:"whole"`   // of them, those that went as a whole
	// Untaken are records that went though a target had not taken them, and Held those
	// that stay for one.
	Untaken int64 `json:"untaken"`
	Held    int64 `json:"held"`
}

// Prune takes out what is older than a time, chain by chain, each in one transaction
// with the record of it. A chain is cut at a signed checkpoint, which stays: what
// follows is still proven. What is under no checkpoint yet, and this writer's own
// chain beyond its cut, stay. What goes is proven first: else whoever can write to the
// database could have the server delete what is young or changed, under its own word.
func (w *Writer) Prune(ctx context.Context, t Pruned, r Retention) (out Cutting, err error) {
	r.Before = r.Before.UTC().Truncate(time.Millisecond)
	out.Before = r.Before
	heads, err := t.Heads(ctx)
	if err != nil {
		return out, err
	}
	for _, h := range heads {
		err := w.Store.Atomic(ctx, func(ctx context.Context) error {
			c, first, ok, err := t.Cut(ctx, h.Writer, r.Before, math.MaxInt64)
			if err != nil || !ok {
				return err
			}
			wanted, gone := c.Seq, first-1
			if first == 0 {
				gone = wanted
			}
			c, taken, ok, err := r.spare(ctx, t, c)
			if err != nil {
				return err
			}
			if !ok {
				out.Held += max(0, wanted-gone)
				return nil
			}
			held, untaken := max(0, wanted-max(c.Seq, gone)), max(0, c.Seq-max(taken, gone))
			whole := c.Seq == h.Seq && h.Writer != w.Chain()
			gone = 0
			if first != 0 && first <= c.Seq {
				gone = c.Seq - first + 1
			} else if !whole && first <= 1 {
				return nil // never cut, and nothing to cut now
			}
			if why := w.unproven(ctx, t, c, first, out.Before); why != nil {
				w.Logger.Error("an audit chain is not what was signed: nothing of it is deleted", "chain", h.Writer, "error", why)
				return w.Record(ctx, event.Event{Action: ActionBroken, Outcome: event.Failed, Target: h.Writer, Detail: map[string]string{"why": fault.Of(why).Public}})
			}
			if err := t.Forget(ctx, c, whole); err != nil {
				return err
			}
			out.Records += gone
			out.Untaken += untaken
			out.Held += held
			out.Chains++
			if whole {
				out.Whole++
			}
			// Said anew each time: the record of the last cut may be cut itself one day.
			a := anchor{seq: c.Seq, hash: hex.EncodeToString(c.Hash[:]), before: out.Before}
			return w.Record(ctx, event.Event{Action: ActionPrune, Target: h.Writer, Detail: map[string]string{
				"seq": strconv.FormatInt(a.seq, 10), "hash": a.hash, "before": a.before.Format(time.RFC3339Nano),
				"records": strconv.FormatInt(gone, 10), "untaken": strconv.FormatInt(untaken, 10), "whole": strconv.FormatBool(whole),
				"signer": w.signer, "signature": hex.EncodeToString(ed25519.Sign(w.key, a.signedBytes(h.Writer)))}})
		})
		if err != nil {
			return out, err
		}
	}
	// Said even where nothing went: so no running server's chain lies still for longer
	// than a day, and only chains of processes that ended go as a whole.
	return out, w.Record(ctx, event.Event{Action: ActionPrune, Detail: map[string]string{"before": out.Before.Format(time.RFC3339Nano),
		"records": strconv.FormatInt(out.Records, 10), "untaken": strconv.FormatInt(out.Untaken, 10), "held": strconv.FormatInt(out.Held, 10), "chains": strconv.Itoa(out.Chains), "whole": strconv.Itoa(out.Whole)}})
}

// spare moves a cut back before what a target has not taken, and forth again to what is
// too old to wait for one. taken is what all targets have; ok is false where nothing
// goes.
func (r Retention) spare(ctx context.Context, t Pruned, c Checkpoint) (_ Checkpoint, taken int64, ok bool, err error) {
	if r.Taken == nil {
		return c, c.Seq, true, nil
	}
	if taken, err = r.Taken(ctx, c.Writer); err != nil || taken >= c.Seq {
		return c, taken, err == nil, err
	}
	had, _, some, err := t.Cut(ctx, c.Writer, r.Before, taken)
	if err != nil {
		return c, taken, false, err
	}
	old, _, over, err := t.Cut(ctx, c.Writer, r.Bound, math.MaxInt64)
	if over && (!some || old.Seq > had.Seq) {
		return old, taken, err == nil, err
	}
	return had, taken, some && err == nil, err
}

// unproven tells why what a cut at c deletes, from record first on, is not what was
// signed, or not older than a time.
func (w *Writer) unproven(ctx context.Context, t Pruned, c Checkpoint, first int64, before time.Time) error {
	public := w.key.Public().(ed25519.PublicKey)
	signed := func(c Checkpoint) bool {
		return c.Signer == w.signer && ed25519.Verify(public, c.signedBytes(), c.Signature)
	}
	if !signed(c) {
		return fault.New(fault.Conflict, fmt.Sprintf("the checkpoint at record %d has no valid signature", c.Seq))
	}
	if first == 0 || first > c.Seq { // nothing is left of what it covers
		if !c.At.Before(before) {
			return fault.New(fault.Conflict, fmt.Sprintf("the records up to %d are gone, and were too young to go", c.Seq))
		}
		return nil
	}
	at := Head{Writer: c.Writer}
	if first != 1 {
		begin, ok, err := t.Checkpoint(ctx, c.Writer, first-1)
		if err != nil {
			return err
		}
		if !ok || !signed(begin) {
			return fault.New(fault.Conflict, fmt.Sprintf("the chain begins at record %d, under no signed checkpoint", first))
		}
		at = begin.Head
	}
	for at.Seq < c.Seq {
		page, err := t.Records(ctx, c.Writer, at.Seq, int(min(c.Seq-at.Seq, 1000)))
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return fault.New(fault.Conflict, fmt.Sprintf("record %d is gone", at.Seq+1))
		}
		for _, r := range page {
			if r.Seq != at.Seq+1 || r.link(at.Hash) != r.Hash || !r.At.Before(before) {
				return fault.New(fault.Conflict, fmt.Sprintf("record %d was changed", at.Seq+1))
			}
			at.Seq, at.Hash = r.Seq, r.Hash
		}
	}
	if at != c.Head {
		return fault.New(fault.Conflict, fmt.Sprintf("record %d is not the one that was signed", c.Seq))
	}
	return nil
}

// PruneEvery is how often a running server prunes.
const PruneEvery = 24 * time.Hour

// anchor is where a chain was cut, by the trail's own word.
type anchor struct {
	seq    int64
	hash   string
	before time.Time
}

// signedBytes is what the signature of a cut covers. A record alone could be added by
// whoever writes to the database: the next checkpoint would be over it too.
func (a anchor) signedBytes(writer string) []byte {
	return fmt.Appendf(nil, "carnet audit cut v1\n%s\n%d\n%s\n%d\n", writer, a.seq, a.hash, a.before.UnixMilli())
}

// anchorOf reads the record of a cut, where one of the keys signed that.
func anchorOf(r Record, signers map[string]ed25519.PublicKey) (writer string, a anchor, ok bool) {
	var e event.Event
	if r.Action != ActionPrune || json.Unmarshal([]byte(r.Body), &e) != nil {
		return "", anchor{}, false
	}
	seq, err := strconv.ParseInt(e.Detail["seq"], 10, 64)
	if err != nil {
		return "", anchor{}, false
	}
	before, err := time.Parse(time.RFC3339Nano, e.Detail["before"])
	if err != nil {
		return "", anchor{}, false
	}
	a = anchor{seq: seq, hash: e.Detail["hash"], before: before}
	signature, err := hex.DecodeString(e.Detail["signature"])
	public, known := signers[e.Detail["signer"]]
	return e.Target, a, err == nil && known && ed25519.Verify(public, a.signedBytes(e.Target), signature)
}
