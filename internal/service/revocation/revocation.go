// Package revocation is the feed of what no longer holds.
//
// A revocation is (kind, id, epoch). The epoch comes from one counter whose
// commits are in order, and every token carries the epoch that its issuer had
// seen, plus one: a token with an epoch up to a revocation's is refused, and no
// clock takes part. It is acknowledged when it is committed; every server
// applies it within two seconds and says so. A server that can't confirm its
// view for longer than the bound must refuse whatever could have been revoked:
// it must never say yes from an old view.
package revocation

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// What can be revoked. Later parts add kinds; the feed knows none of them.
const (
	Person       = "person"
	LoginSession = "login-session"
	Role         = "role"       // id: the role's ARN and, of a local account, its stable unique id
	AccessKey    = "access-key" // id: the access key id
	// Of the issuer: a machine identity, what it or a person may have run for
	// them, a registered client, and one access token (id: its jti).
	ServicePrincipal = "service-principal"
	Delegation       = "delegation"
	OAuthClient      = "oauth-client"
	AccessToken      = "access-token"
	GatewayKey       = "gateway-key" // id: gwk_…
	Cluster          = "cluster"     // id: cls_…, with its nodes and attachments
	Node             = "node"        // id: nod_…
	Attachment       = "attachment"  // id: att_…
	// Everything, with id Everything, refuses all that carries an epoch: for a
	// restored backup, which has forgotten what was revoked after it.
	Everything = "everything"
)

const (
	// DefaultBound is how long a view counts without being confirmed.
	DefaultBound = 60 * time.Second
	// Every is how often a server confirms its view.
	Every = time.Second
	// Keep is how long a revocation is kept: longer than anything lives that
	// carries an epoch.
	Keep = 8 * 24 * time.Hour
)

// Entry is one revocation.
type Entry struct {
	Kind, ID string
	Epoch    uint64
	At       time.Time
}

// View is what a server has applied.
type View struct {
	Server string
	Epoch  uint64
	Seen   time.Time
}

// Store keeps revocations.
type Store interface {
	// Add revokes all of ids with the next epoch, in the transaction that ctx
	// carries.
	Add(ctx context.Context, kind string, ids []string, at time.Time) (epoch uint64, err error)
	// After gives the entries above an epoch and the last epoch, on one snapshot.
	After(ctx context.Context, epoch uint64) (entries []Entry, head uint64, err error)
	// Applied stores what a server has applied, and forgets servers not seen
	// since stale and entries from before old.
	Applied(ctx context.Context, v View, stale, old time.Time) error
	Views(ctx context.Context) ([]View, error)
}

// Config is what a Feed stands on.
type Config struct {
	Store Store
	// Server is the id of this server process; empty for a command that soon
	// ends, which nobody waits for.
	Server string
	Now    func() time.Time
	Bound  time.Duration // 0: DefaultBound
	Logger *slog.Logger
}

// Feed is this server's view. Safe for concurrent use; questions touch no
// database.
type Feed struct {
	Config

	mu        sync.RWMutex
	revoked   map[key]Entry
	head      uint64
	confirmed time.Time // when the last good look at the store began
	told      View      // what this server last told the others
}

type key struct{ kind, id string }

// Open reads the feed. It fails when the store can't be read.
func Open(ctx context.Context, c Config) (*Feed, error) {
	if c.Bound == 0 {
		c.Bound = DefaultBound
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Feed{Config: c, revoked: map[key]Entry{}}
	return f, f.Confirm(ctx)
}

// Refused reports whether what (kind, id) stands for was revoked after it was
// issued at epoch. It is a fault Unavailable ("revocation.unconfirmed") while
// this server can't confirm its view: deny then.
func (f *Feed) Refused(kind, id string, epoch uint64) (bool, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := f.current(); err != nil {
		return false, err
	}
	// An absent entry has epoch 0, which no token carries.
	last := max(f.revoked[key{kind, id}].Epoch, f.revoked[key{Everything, Everything}].Epoch)
	return epoch <= last, nil
}

// Latest gives the last revocation of each id of some kinds, or of all, by epoch: for those who
// keep what was issued and can't ask at each use.
func (f *Feed) Latest(kinds ...string) []Entry {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var out []Entry
	for k, e := range f.revoked {
		if len(kinds) == 0 || slices.Contains(kinds, k.kind) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), strings.Compare(a.ID, b.ID)) })
	return out
}

// Since gives what was revoked at an epoch or after it, as the store has it: also what
// this server has yet to apply. In the transaction that ctx carries, what it gives
// holds until that commits.
func (f *Feed) Since(ctx context.Context, epoch uint64) ([]Entry, error) {
	entries, _, err := f.Store.After(ctx, max(epoch, 1)-1)
	return entries, err
}

// Current is a fault while this server can't confirm its view.
func (f *Feed) Current() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.current()
}

// Age gives how long ago this server last confirmed its view.
func (f *Feed) Age() time.Duration {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.Now().Sub(f.confirmed)
}

// Epoch gives the epoch that a token issued now carries: every revocation that
// this server hasn't seen yet refuses it.
func (f *Feed) Epoch() (uint64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.head + 1, f.current()
}

func (f *Feed) current() error {
	if f.Now().Sub(f.confirmed) <= f.Bound {
		return nil
	}
	return fault.Coded(fault.Unavailable, "revocation.unconfirmed", "this server can't confirm what was revoked, so it decides nothing").
		WithMend("try again in a moment; an administrator looks at the database connection")
}

// Revoke takes back everything of (kind, id) issued up to now, in the
// transaction that ctx carries. When it has committed it is acknowledged; Who
// tells which servers have applied it.
func (f *Feed) Revoke(ctx context.Context, kind, id string) (epoch uint64, err error) {
	if kind == "" || id == "" {
		return 0, fault.New(fault.Internal, "a revocation of nothing")
	}
	return f.Store.Add(ctx, kind, []string{id}, f.Now())
}

// RevokePeople takes back all that these people have, at one epoch.
func (f *Feed) RevokePeople(ctx context.Context, ids []identity.PersonID) error {
	if len(ids) == 0 {
		return nil
	}
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = string(id)
	}
	slices.Sort(all)
	_, err := f.Store.Add(ctx, Person, slices.Compact(all), f.Now())
	return err
}

// RevokeLoginSession takes back all that rests on a login session.
func (f *Feed) RevokeLoginSession(ctx context.Context, id identity.LoginSessionID) error {
	_, err := f.Revoke(ctx, LoginSession, string(id))
	return err
}

// Who gives every live server's view: one that has not told its own within the
// bound decides nothing any more.
func (f *Feed) Who(ctx context.Context) ([]View, error) {
	views, err := f.Store.Views(ctx)
	oldest := f.Now().Add(-f.Bound)
	return slices.DeleteFunc(views, func(v View) bool { return v.Seen.Before(oldest) }), err
}

// Confirm looks at the store once, applies what is new and tells the others.
func (f *Feed) Confirm(ctx context.Context) error {
	began := f.Now()
	f.mu.RLock()
	from := f.head
	f.mu.RUnlock()
	entries, head, err := f.Store.After(ctx, from)
	if err != nil {
		return err
	}
	f.mu.Lock()
	for _, e := range entries {
		if e.Epoch > f.revoked[key{e.Kind, e.ID}].Epoch {
			f.revoked[key{e.Kind, e.ID}] = e
		}
	}
	f.head = max(f.head, head)
	if began.After(f.confirmed) {
		f.confirmed = began
	}
	view := View{Server: f.Server, Epoch: f.head, Seen: began}
	tell := f.Server != "" && (view.Epoch != f.told.Epoch || began.Sub(f.told.Seen) >= f.Bound/6)
	if tell {
		f.told = view
		for k, e := range f.revoked {
			if began.Sub(e.At) > Keep {
				delete(f.revoked, k)
			}
		}
	}
	f.mu.Unlock()
	if !tell {
		return nil
	}
	if err := f.Store.Applied(ctx, view, began.Add(-f.Bound), began.Add(-Keep)); err != nil {
		f.mu.Lock()
		f.told = View{}
		f.mu.Unlock()
		return err
	}
	return nil
}

// leave says that this server decides nothing any more, so that nobody waits
// for it. One that can't say so is waited for until the bound.
func (f *Feed) leave(ctx context.Context) {
	if f.Server == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*Every)
	defer cancel()
	f.mu.RLock()
	gone := View{Server: f.Server, Epoch: f.head, Seen: time.UnixMilli(0)}
	f.mu.RUnlock()
	now := f.Now()
	if err := f.Store.Applied(ctx, gone, now.Add(-f.Bound), now.Add(-Keep)); err != nil {
		f.Logger.Warn("the other servers can't be told that this one ends", "error", err)
	}
}

// Run confirms the view every second, and at once when changed fires, until
// ctx ends: this server must decide nothing after that.
func (f *Feed) Run(ctx context.Context, changed <-chan struct{}) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			f.leave(ctx)
			return
		case <-tick.C:
		case <-changed:
		}
		look, cancel := context.WithTimeout(ctx, 5*Every)
		err := f.Confirm(look)
		cancel()
		switch {
		case ctx.Err() != nil:
			continue
		case err != nil && !away:
			f.Logger.Warn("the revocation feed can't be read", "error", err, "refusing_after", f.Bound)
		case err == nil && away:
			f.Logger.Info("the revocation feed is read again")
		}
		away = err != nil
	}
}
