// Package onceonly lets an id be used once, across all servers: assertion
// ids, codes, join tokens.
//
// The store decides by a unique insert, never by read and write. What is kept
// has a fixed size and goes when its time is over. It must never say yes when
// the store can't be asked, and never forget an id that could still be valid
// anywhere.
package onceonly

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Slack is added to an id's time before it is forgotten, for clocks that differ.
const Slack = 15 * time.Minute

// Longest is the longest time for which an id is remembered. One that claims a
// longer validity can't be held to one use, so it is refused.
const Longest = 31 * 24 * time.Hour

// Store keeps used ids.
type Store interface {
	// Insert stores the digest under kind and reports whether it was new. It
	// takes part in a transaction that ctx carries.
	Insert(ctx context.Context, kind string, digest [32]byte, until time.Time) (bool, error)
	// Sweep forgets at most some ids whose time is before now, and gives how
	// many it forgot and how many are left (counted up to most).
	Sweep(ctx context.Context, now time.Time, most int) (forgot, left int, err error)
}

// Once is the guard of one-time use.
type Once struct {
	store Store
	most  int
	now   func() time.Time
	full  atomic.Bool
}

// New makes the guard. It refuses new ids while more than most are kept
// (looked at by Sweep): a flood ends in refusals, not in a full disk.
func New(store Store, most int, now func() time.Time) *Once {
	return &Once{store: store, most: most, now: now}
}

// Consume uses the id and reports whether this call was the one that did.
// until is when the id stops being valid by itself. Kinds are separate spaces.
// Errors: the store is away (never a yes), Limited when too many ids are kept,
// Invalid when until is further away than Longest.
func (o *Once) Consume(ctx context.Context, kind, id string, until time.Time) (bool, error) {
	if until.After(o.now().Add(Longest)) {
		return false, fault.Coded(fault.Invalid, "onceonly.too-long",
			fmt.Sprintf("a thing for one use must not be valid for more than %d days", int(Longest.Hours())/24))
	}
	if o.full.Load() {
		return false, fault.Coded(fault.Limited, "onceonly.full", "too many things for one use are in use").
			WithMend("try again in a few minutes")
	}
	return o.store.Insert(ctx, kind, sha256.Sum256([]byte(kind+"\x00"+id)), until.Add(Slack))
}

// Sweep forgets ids whose time is over.
func (o *Once) Sweep(ctx context.Context) error {
	for {
		forgot, left, err := o.store.Sweep(ctx, o.now(), o.most+1)
		if err != nil {
			return err
		}
		o.full.Store(left > o.most)
		if forgot == 0 {
			return nil
		}
	}
}

// SweepEvery is how often Run sweeps.
const SweepEvery = time.Minute

// Run sweeps until ctx ends.
func (o *Once) Run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := o.Sweep(ctx); err != nil && ctx.Err() == nil {
			log.Warn("used ids can't be swept", "error", err)
		}
	}
}
