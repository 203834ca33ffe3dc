// Package audit writes the trail of who did what, and proves that it is whole.
//
// Each server process writes one chain: every record carries the hash of the
// one before, in the same transaction as the act it records, so what can't be
// recorded doesn't happen. Checkpoints signed about every second pin the
// chains, in the database and, where configured, outside. Verify reads all of
// it back. Someone who owns the database and the signing key can rewrite
// history since the last outside checkpoint, and nothing here hides that. It
// must never record a secret, or an act that didn't happen.
package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// Record is one link of a chain, as it is stored.
type Record struct {
	Writer string
	Seq    int64 // from 1, without gaps
	At     time.Time
	Action string
	Person string
	Body   string // JSON of event.Event: this is what is hashed
	Hash   [32]byte
}

// Head is the end of a chain. The zero Hash is that of an empty one.
type Head struct {
	Writer string
	Seq    int64
	Hash   [32]byte
}

// Checkpoint is a signed head.
type Checkpoint struct {
	Head
	At        time.Time
	Signer    string
	Signature []byte
}

// Signer is a signing key as it is stored: the private half is sealed.
type Signer struct {
	ID      string
	Public  ed25519.PublicKey
	Sealed  []byte
	Created time.Time
}

// Store keeps the trail. Append and Head take part in the transaction that ctx
// carries.
type Store interface {
	Head(ctx context.Context, writer string) (Head, error)
	// Append stores records of one writer, in their order, that follow after, and
	// moves the head. It is not ok, and stores nothing, where the chain ends
	// elsewhere.
	Append(ctx context.Context, after Head, records []Record) (ok bool, err error)
	PutCheckpoint(ctx context.Context, c Checkpoint) error
	// Signers gives all signing keys, newest first; with add set and none
	// there, it stores that one first.
	Signers(ctx context.Context, add *Signer) ([]Signer, error)
	// Atomic makes one transaction of what fn does.
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Sealer seals the signing key at rest.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Outside takes checkpoints to a place that the database's owner can't reach.
type Outside interface {
	Put(ctx context.Context, c Checkpoint) error
}

// Config is what a Writer stands on.
type Config struct {
	Store   Store
	Sealer  Sealer
	Outside Outside // nil: none
	// Count is told of each record that is made; nil: nobody counts.
	Count  func(action, outcome string)
	Now    func() time.Time
	Logger *slog.Logger
}

// Writer writes this process's chain. Safe for concurrent use.
type Writer struct {
	Config
	signer string
	key    ed25519.PrivateKey
	tail   *tail

	mu sync.Mutex // one checkpoint at a time
}

// Open begins a new chain and loads, or makes, the signing key. The chain's
// name is random: a process never continues another's, so two servers can't
// fork one.
func Open(ctx context.Context, c Config) (*Writer, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Writer{Config: c, tail: newTail()}
	return w, w.loadSigner(ctx)
}

func newChain() string { return "aud_" + strings.ToLower(hex.EncodeToString(random(10))) }

const sealPurpose = "audit-signer"

func (w *Writer) loadSigner(ctx context.Context) error {
	have, err := w.Store.Signers(ctx, nil)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		id := SignerID(public)
		sealed, err := w.Sealer.Seal(sealPurpose, []byte(id), private.Seed())
		if err != nil {
			return err
		}
		// Another server may have been first: then its key counts.
		have, err = w.Store.Signers(ctx, &Signer{ID: id, Public: public, Sealed: sealed, Created: w.Now()})
		if err != nil {
			return err
		}
	}
	seed, err := w.Sealer.Open(sealPurpose, []byte(have[0].ID), have[0].Sealed)
	if err != nil {
		return err
	}
	if len(seed) != ed25519.SeedSize {
		return fault.New(fault.Misconfigured, "the audit signing key in the database is damaged").WithMend("restore the last backup")
	}
	w.key, w.signer = ed25519.NewKeyFromSeed(seed), have[0].ID
	if SignerID(w.key.Public().(ed25519.PublicKey)) != w.signer {
		return fault.New(fault.Misconfigured, "the audit signing key in the database is damaged").WithMend("restore the last backup")
	}
	return nil
}

// SignerID names a public key: write it down outside the database.
func SignerID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:16])
}

// Signer gives the id of the key that signs this writer's checkpoints.
func (w *Writer) Signer() string { return w.signer }

// Chain gives the name of the chain that this writer writes now.
func (w *Writer) Chain() string { return w.tail.chain() }

const maxBody = 32 << 10

// Record appends an event to the chain, in the transaction that ctx carries
// (or in one of its own). When it fails the act must not happen. Request,
// source and actor come from ctx where the event leaves them out.
func (w *Writer) Record(ctx context.Context, e event.Event) error {
	r, err := w.prepare(ctx, e)
	if err != nil {
		return err
	}
	return w.append(ctx, []Record{r})
}

// prepare makes the record of an event, without its place in the chain.
func (w *Writer) prepare(ctx context.Context, e event.Event) (Record, error) {
	now := w.Now().UTC().Truncate(time.Millisecond)
	if e.At.IsZero() {
		e.At = now
	}
	if e.Outcome == "" {
		e.Outcome = event.Done
	}
	if e.Action == "" {
		return Record{}, fault.New(fault.Internal, "an audit record without an action")
	}
	attribute(ctx, &e)
	body := encode(&e)
	if len(body) > maxBody {
		return Record{}, fault.New(fault.Internal, fmt.Sprintf("an audit record of %d bytes: want at most %d", len(body), maxBody))
	}
	if w.Count != nil {
		w.Count(e.Action, string(e.Outcome))
	}
	return Record{At: now, Action: e.Action, Person: string(e.Person), Body: string(body)}, nil
}

// append links records to the end of the chain, in one transaction.
func (w *Writer) append(ctx context.Context, records []Record) error {
	return w.Store.Atomic(ctx, func(ctx context.Context) error {
		head := w.tail.last()
		ok, err := w.follow(ctx, head, records)
		if err != nil || ok {
			return err
		}
		if head, err = w.Store.Head(ctx, head.Writer); err != nil {
			return err
		}
		if ok, err = w.follow(ctx, head, records); err == nil && !ok {
			err = fault.New(fault.Internal, "the audit chain moved under its only writer")
		}
		return err
	})
}

// follow appends records after head, if the chain ends there.
func (w *Writer) follow(ctx context.Context, head Head, records []Record) (bool, error) {
	linked, after := make([]Record, len(records)), head
	for i, r := range records {
		r.Writer, r.Seq = head.Writer, head.Seq+1
		r.Hash = r.link(head.Hash)
		head.Seq, head.Hash = r.Seq, r.Hash
		linked[i] = r
	}
	ok, err := w.Store.Append(ctx, after, linked)
	if ok && err == nil {
		w.tail.moved(after, head)
	}
	return ok, err
}

// attribute fills in who acts, from where and for which request, from ctx, where
// the event doesn't say. Who acts is filled whole or not at all: an event that names
// somebody else must not get half of this one.
func attribute(ctx context.Context, e *event.Event) {
	if e.Request == "" {
		e.Request = identity.RequestIDFrom(ctx)
	}
	if e.Source == "" {
		e.Source = identity.SourceFrom(ctx)
	}
	a := identity.ActorFrom(ctx)
	if a.Host != "" {
		detail := map[string]string{"actor": "host", "os_user": a.Host}
		maps.Copy(detail, e.Detail)
		e.Detail = detail
	}
	if e.Person == "" && e.UserName == "" && (e.LoginSession == "" || e.LoginSession == a.LoginSession) {
		e.Person, e.UserName, e.LoginSession = a.Person, a.UserName, a.LoginSession
	}
}

// link gives the hash of a record that follows prev.
func (r Record) link(prev [32]byte) [32]byte {
	const heading = "carnet audit v1\x00"
	b := make([]byte, 0, len(heading)+len(prev)+32+len(r.Writer)+len(r.Action)+len(r.Person)+len(r.Body))
	b = append(append(b, heading...), prev[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixMilli()))
	for _, s := range [...]string{r.Writer, r.Action, r.Person, r.Body} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}

// signedBytes is what a checkpoint's signature covers.
func (c Checkpoint) signedBytes() []byte {
	return fmt.Appendf(nil, "carnet audit checkpoint v1\n%s\n%d\n%x\n%d\n%s\n", c.Writer, c.Seq, c.Hash, c.At.UnixMilli(), c.Signer)
}

// CheckpointEvery is the longest time that a record of a running server stays
// unsigned.
const CheckpointEvery = time.Second

// Run signs checkpoints until ctx ends, and once more then.
func (w *Writer) Run(ctx context.Context) {
	tick := time.NewTicker(CheckpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := w.Checkpoint(last); err != nil {
				w.Logger.Warn("the last audit checkpoint can't be stored", "error", err)
			}
			return
		}
		if err := w.Checkpoint(ctx); err != nil && ctx.Err() == nil {
			w.Logger.Warn("an audit checkpoint can't be stored", "error", err)
		}
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
