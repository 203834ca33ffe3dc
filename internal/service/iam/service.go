package iam

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// Store keeps the authority.
type Store interface {
	// Load gives everything, on one snapshot.
	Load(ctx context.Context) (State, error)
	// Since gives what was changed after a revision, on one snapshot: Revision
	// is the newest one, Delete what is gone, Put what is there now. ok is
	// false where that isn't known, and Load has to tell.
	Since(ctx context.Context, revision int64) (c Change, ok bool, err error)
	// Apply makes a change in one transaction, which note is part of. Errors:
	// a fault Conflict when the state's revision is no longer the change's.
	Apply(ctx context.Context, c Change, note func(context.Context) error) error
}

// Trail records what was administered, in the transaction that ctx carries.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Sealer seals the authority's secrets at rest (service/keyring).
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Config is what a Service stands on.
type Config struct {
	Store    Store
	Accounts []Account
	// Sealer is needed where access keys or private keys are stored: records
	// with a secret that can't be opened are left out.
	Sealer Sealer
	// BucketAccount gives the account to which the configuration's rules
	// give a bucket.
	BucketAccount func(bucket string) (account string, ok bool)
	// SAMLURL is the audience that SAML trusts should name; empty leaves that
	// out of warnings.
	SAMLURL string
	// LoopbackProviders lets OpenID Connect providers on loopback addresses
	// have a port and no TLS.
	LoopbackProviders bool
	Quotas            Quotas
	Trail             Trail // nil: nothing is recorded; for tests and tools
	Now               func() time.Time
	// Stale is how long a view counts after a failed attempt to renew it;
	// 0 means 60 s (design 7.5).
	Stale  time.Duration
	Logger *slog.Logger
}

// Service holds the current snapshot. Safe for concurrent use.
type Service struct {
	Config

	current atomic.Pointer[Snapshot]
	// failing is when reloading began to fail, in ms UTC; 0 while it works.
	failing atomic.Int64
	reload  sync.Mutex
	edits   sync.Mutex // one edit at a time on this server
}

// Open loads the authority; it fails when the store can't be read.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Stale == 0 {
		c.Stale = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c}
	if err := s.Reload(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Current gives the snapshot to decide with. Errors: Unavailable, when the
// store changed or may have changed and could not be read for too long.
func (s *Service) Current() (*Snapshot, error) {
	if since := s.failing.Load(); since != 0 && s.Now().UnixMilli()-since > s.Stale.Milliseconds() {
		return nil, fault.Coded(fault.Unavailable, "iam.unconfirmed", "The authority's state can't be confirmed at the moment.").
			WithMend("try again in a minute")
	}
	return s.current.Load(), nil
}

// Reload takes the store's state in. An error leaves the last view in place
// until it is stale.
func (s *Service) Reload(ctx context.Context) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	before := s.current.Load()
	v, err := s.newest(ctx, before)
	if err != nil {
		s.failing.CompareAndSwap(0, s.Now().UnixMilli())
		return err
	}
	s.failing.Store(0)
	if before != nil && before.revision == v.revision {
		return nil
	}
	next := s.compile(v, before)
	for _, f := range next.Faults() {
		s.Logger.Error("left out of the authority: it does not compile", "what", f)
	}
	s.current.Store(next)
	return nil
}

// newest gives the store's state: what changed since the last one, or all.
func (s *Service) newest(ctx context.Context, before *Snapshot) (*View, error) {
	if before != nil {
		c, ok, err := s.Store.Since(ctx, before.revision)
		if err != nil {
			return nil, err
		}
		if ok {
			return before.view.with(c, c.Revision), nil
		}
	}
	state, err := s.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	v := newView(state.Revision, state.Records(), s.Accounts)
	if before != nil {
		v.keep(before.view)
	}
	return v, nil
}

func (s *Service) compile(v *View, before *Snapshot) *Snapshot {
	return compile(v, s.Sealer, before)
}

// retry is the pause between attempts to renew a failing view, confirm between
// looks without a cause. A look that takes longer than patience has failed: a
// store that hangs must not keep an old view in force.
const (
	retry    = time.Second
	confirm  = 20 * time.Second
	patience = 10 * time.Second
)

// Run takes changes in as they are announced, until ctx ends.
func (s *Service) Run(ctx context.Context, changed <-chan struct{}) {
	pause := confirm
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
		pause = confirm
		look, cancel := context.WithTimeout(ctx, patience)
		err := s.Reload(look)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.Logger.Error("the authority's state can't be read", "error", err)
			pause = retry
		}
	}
}
