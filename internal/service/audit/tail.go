package audit

import (
	"context"
	"crypto/ed25519"
	"slices"
	"strconv"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/event"
)

// tail is what this process knows of the end of its chain: where it signed last, and
// every end that it made since. The chain in the database ends at one of those; else
// somebody else wrote there, and nothing of it is signed. Safe for concurrent use.
type tail struct {
	mu     sync.Mutex
	signed Head   // its name is the chain's
	made   []Head // from signed on; some were rolled back
	end    Head   // the last that was made: a guess, as that may have been rolled back
}

func newTail() *tail {
	t := &tail{}
	t.begin()
	return t
}

// begin begins a new chain, of no record. Its name is random.
func (t *tail) begin() {
	h := Head{Writer: newChain()}
	t.signed, t.end, t.made = h, h, []Head{h}
}

func (t *tail) chain() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signed.Writer
}

func (t *tail) last() Head {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end
}

// moved notes an end that this process made. What follows an end that it did not make
// is not its own either.
func (t *tail) moved(from, to Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to.Writer != t.signed.Writer {
		return
	}
	t.end = to
	if slices.Contains(t.made, from) {
		t.made = append(t.made, to)
	}
}

// state tells whether an end is this process's own, and whether it is signed.
func (t *tail) state(h Head) (own, signed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.made, h), h == t.signed
}

// sign notes that an end was signed: the chain can't end before it any more.
func (t *tail) sign(h Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.signed = h
	t.made = slices.DeleteFunc(t.made, func(m Head) bool { return m.Seq < h.Seq })
}

// leave begins another chain, and gives what was signed of the one that is left.
func (t *tail) leave() Head {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.signed
	t.begin()
	return was
}

// ActionBroken is the event by which a server says that a chain was changed under it.
const ActionBroken = "audit.broken"

// Checkpoint signs the head of this writer's chain, if it moved. A head that this
// process didn't write is not signed: whoever can write to the database could have
// history of their own signed so. The chain is left as it is, and another one begun.
func (w *Writer) Checkpoint(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	head, err := w.Store.Head(ctx, w.tail.chain())
	if err != nil {
		return err
	}
	own, signed := w.tail.state(head)
	if !own {
		was := w.tail.leave()
		w.Logger.Error("the audit chain was changed under this server: another one is begun", "chain", was.Writer, "signed", was.Seq, "found", head.Seq)
		if err := w.Record(ctx, event.Event{Action: ActionBroken, Outcome: event.Failed, Target: was.Writer, Detail: map[string]string{
			"signed": strconv.FormatInt(was.Seq, 10), "found": strconv.FormatInt(head.Seq, 10)}}); err != nil {
			return err
		}
		if head, err = w.Store.Head(ctx, w.tail.chain()); err != nil {
			return err
		}
		if own, signed = w.tail.state(head); !own {
			return nil // the next one finds it, too
		}
	}
	if signed {
		return nil
	}
	c := Checkpoint{Head: head, At: w.Now().UTC().Truncate(time.Millisecond), Signer: w.signer}
	c.Signature = ed25519.Sign(w.key, c.signedBytes())
	if err := w.Store.PutCheckpoint(ctx, c); err != nil {
		return err
	}
	if w.Outside != nil {
		if err := w.Outside.Put(ctx, c); err != nil {
			return err
		}
	}
	w.tail.sign(head)
	return nil
}
