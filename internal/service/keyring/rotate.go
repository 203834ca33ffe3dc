package keyring

import (
	"context"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Rotate publishes a new key of a ring. It is used once every live server has
// loaded it (Tend); old keys go on opening. Conflict when one is on its way.
func (k *Keyring) Rotate(ctx context.Context, ring string) error {
	if !slices.Contains(rings(), ring) {
		return fault.New(fault.Invalid, "there is no key ring "+ring)
	}
	if err := k.Reload(ctx); err != nil {
		return err
	}
	var newest WrappedKey
	for _, w := range k.loaded.Load().state.Keys {
		if w.Ring == ring && w.Generation > newest.Generation {
			newest = w
		}
	}
	if newest.UsedFrom.IsZero() {
		return fault.New(fault.Conflict, "a new key of this ring is still on its way to all servers").
			WithMend("wait a minute")
	}
	if err := k.add(ctx, ring, newest.Generation+1, time.Time{}); err != nil {
		return err
	}
	return k.Tend(ctx)
}

// OnItsWay reports whether a new key of the ring is published and not in use
// yet, as of the last load.
func (k *Keyring) OnItsWay(ring string) bool {
	return slices.ContainsFunc(k.loaded.Load().state.Keys, func(w WrappedKey) bool { return w.Ring == ring && w.UsedFrom.IsZero() })
}

// Servers gives the other live servers, as of the last load.
func (k *Keyring) Servers() []ServerView {
	l, now := k.loaded.Load(), k.now()
	return slices.DeleteFunc(slices.Clone(l.state.Servers), func(s ServerView) bool {
		return s.Server == k.server || now.Sub(s.Seen) >= ServerStale
	})
}

// Waiting gives those of Servers that have not loaded all keys.
func (k *Keyring) Waiting() []ServerView {
	generation := k.loaded.Load().generation
	return slices.DeleteFunc(k.Servers(), func(s ServerView) bool { return s.Generation >= generation })
}

// WrappedUnder reports whether every data key is wrapped under that
// key-encryption key, as of the last load.
func (k *Keyring) WrappedUnder(kek string) bool {
	return !slices.ContainsFunc(k.loaded.Load().state.Keys, func(w WrappedKey) bool { return w.KEK != kek })
}

// Rewrap moves every data key under the first of keks, all at once. Give it
// the new key first and the old one second; give the other servers the same
// file before: a running one reads it again (Config.Reread), one that restarts
// with the old file alone refuses to start. Sealed data and tokens stay as
// they are.
func (k *Keyring) Rewrap(ctx context.Context, keks KEKs) error {
	state, err := k.store.Load(ctx)
	if err != nil {
		return err
	}
	var moved []WrappedKey
	for _, w := range state.Keys {
		key, err := unwrap(w, keks)
		if err != nil {
			return err
		}
		if w.KEK == keks[0].id {
			continue
		}
		if w, err = wrap(w, key, keks[0]); err != nil {
			return err
		}
		moved = append(moved, w)
	}
	if err := k.store.Rewrap(ctx, moved); err != nil {
		return err
	}
	k.keks.Store(&keks)
	return k.Reload(ctx)
}

// Tend is one turn of the ring's upkeep: load what changed, tell the others
// what this server knows, and use a published key that all live servers know.
func (k *Keyring) Tend(ctx context.Context) error {
	if err := k.Reload(ctx); err != nil {
		return err
	}
	if err := k.confirm(ctx); err != nil {
		return err
	}
	// A server that was silent for ServerStale refuses decisions until it has
	// loaded the ring again, so nobody waits for it longer.
	if len(k.Waiting()) > 0 {
		return nil
	}
	for _, w := range k.loaded.Load().state.Keys {
		if !w.UsedFrom.IsZero() {
			continue
		}
		k.log.Info("a key is in use now", "key", w.ID, "ring", w.Ring)
		if err := k.store.Use(ctx, w.ID, k.now()); err != nil {
			return err
		}
	}
	return k.Reload(ctx)
}

func (k *Keyring) confirm(ctx context.Context) error {
	if k.server == "" {
		return nil
	}
	return k.store.Confirm(ctx, ServerView{Server: k.server, Generation: k.loaded.Load().generation, Seen: k.now()})
}

// TendEvery is how often Run tends the ring: well within ServerStale.
const TendEvery = 10 * time.Second

// leave says that this server uses no key any more: no rotation waits for it.
func (k *Keyring) leave(ctx context.Context) {
	if k.server == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	gone := ServerView{Server: k.server, Generation: k.loaded.Load().generation, Seen: time.UnixMilli(0)}
	if err := k.store.Confirm(ctx, gone); err != nil {
		k.log.Warn("the other servers can't be told that this one ends", "error", err)
	}
}

// Run tends the ring until ctx ends, and at once when changed fires. This
// server must seal nothing after that.
func (k *Keyring) Run(ctx context.Context, changed <-chan struct{}) {
	tick := time.NewTicker(TendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.leave(ctx)
			return
		case <-tick.C:
		case <-changed:
		}
		if err := k.Tend(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("the key ring can't be tended", "error", err)
		}
	}
}
