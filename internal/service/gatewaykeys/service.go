package gatewaykeys

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/holder"
)

// Config is what a Service stands on.
type Config struct {
	Store    Keys
	Clusters Clusters
	Groups   Groups // nil: nobody is in any
	Grants   Grants
	Sealer   Sealer
	Sessions Sessions
	Entitled Entitled
	Machines Machines
	STS      STS // nil for a command that uses no key
	// Meta serves delegations to clusters; nil: there is none.
	Meta holder.Meta
	// Ledger notes the keys of accounts at AWS; nil: nothing is noted.
	Ledger   holder.Ledger
	Accounts entitlement.Accounts
	// BucketAccount gives the account of a bucket by the configuration; false
	// where no rule covers the name.
	BucketAccount func(bucket string) (string, bool)
	// Networks bind keys that are delivered to people; none: the address that
	// each person asks from.
	Networks []netip.Prefix
	Feed     Revocations
	State    Atomic
	Trail    Trail
	Now      func() time.Time
	Logger   *slog.Logger // nil discards
}

// Service makes gateway keys and picks their roles. Safe for concurrent use.
type Service struct {
	Config
	holders holder.Holders
	loading sync.Mutex // orders loads, so that an older one can't win
	known   atomic.Pointer[book]
	flights sync.WaitGroup
	looks   struct { // for keys that are not in memory
		mu   sync.Mutex
		next chan struct{} // closed when the reading that comes next is done; nil: none is wanted

		reading chan struct{} // a place for the one that is under way
		due     time.Time     // when another may begin; of who has that place
	}
}

// Open loads keys and grants and follows their changes until ctx ends.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c, holders: holder.Holders{Sessions: c.Sessions, Entitled: c.Entitled, Machines: c.Machines, STS: c.STS, Meta: c.Meta, Accounts: c.Accounts, Ledger: c.Ledger, Now: c.Now}}
	s.looks.reading = make(chan struct{}, 1)
	if err := c.Grants.Watch(ctx, func() { s.follow(ctx) }); err != nil {
		return nil, err
	}
	return s, s.load(ctx)
}

// book is everything in memory. Immutable, but for what is learned of uses.
type book struct {
	byAccessKey map[string]*entry
	grants      map[string][]Grant // by bucket, longest prefix first
}

// entry is a key that may be used.
type entry struct {
	Key
	secret secret.Text
	uses   *uses
}

// uses is what is learned of a key while it is used. It outlives the loading of a
// newer book.
type uses struct {
	noted    atomic.Bool  // the first use was recorded, or is about to be
	strayed  atomic.Int64 // when a use from elsewhere was last recorded, Unix nanoseconds
	held     kept[had]
	mu       sync.Mutex
	roleKeys map[arn.Role]*kept[credential.Temporary]
}

// of gives what is kept of a role.
func (u *uses) of(r arn.Role) *kept[credential.Temporary] {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.roleKeys[r]
	if k == nil {
		k = &kept[credential.Temporary]{}
		u.roleKeys[r] = k
	}
	return k
}

func (s *Service) load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	keys, err := s.Store.Keys(ctx, s.Now())
	if err != nil {
		return err
	}
	grants, err := s.Grants.Grants(ctx)
	if err != nil {
		return err
	}
	b := &book{byAccessKey: map[string]*entry{}, grants: map[string][]Grant{}}
	old := s.known.Load()
	for _, k := range keys {
		if e := s.entry(k, old); e != nil {
			b.byAccessKey[k.AccessKeyID] = e
		}
	}
	for _, g := range grants {
		b.grants[g.Bucket] = append(b.grants[g.Bucket], g)
	}
	for _, list := range b.grants {
		slices.SortStableFunc(list, func(a, b Grant) int { return len(b.Prefix) - len(a.Prefix) })
	}
	s.known.Store(b)
	return nil
}

// entry makes a key ready for use; nil for one that was revoked or can't be opened.
func (s *Service) entry(k Stored, old *book) *entry {
	if !k.Revoked.IsZero() {
		return nil
	}
	if old != nil {
		if e := old.byAccessKey[k.AccessKeyID]; e != nil && e.ID == k.ID {
			return &entry{Key: k.Key, secret: e.secret, uses: e.uses}
		}
	}
	plain, err := s.Sealer.Open(purpose, binding(k.ID, k.AccessKeyID), k.Sealed)
	if err != nil {
		s.Logger.Error("a gateway key can't be opened and is refused", "gateway_key", k.ID, "error", err)
		return nil
	}
	u := &uses{roleKeys: map[arn.Role]*kept[credential.Temporary]{}}
	u.noted.Store(!k.Used.IsZero())
	return &entry{Key: k.Key, secret: secret.New(string(plain)), uses: u}
}

const purpose = "gateway-key"

// binding ties a sealed secret to its key.
func binding(id identity.GatewayKeyID, accessKeyID string) []byte {
	return []byte(string(id) + "\x00" + accessKeyID)
}

// follow loads until one load succeeds. Keys known before serve on meanwhile: what
// is revoked reaches them by the feed.
func (s *Service) follow(ctx context.Context) {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.Logger.Error("gateway keys can't be read; those known before serve on", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// listed is how long a key that has ended is still shown.
const listed = 7 * 24 * time.Hour

// Run forgets keys that ended long ago, until ctx ends; then it waits for what is
// under way.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := s.Store.SweepKeys(ctx, s.Now().Add(-listed)); err != nil && ctx.Err() == nil {
			s.Logger.Warn("gateway keys that ended can't be swept", "error", err)
		}
		select {
		case <-ctx.Done():
			s.flights.Wait()
			return
		case <-tick.C:
		}
	}
}

// recorded does what fn does, with its record, in one transaction, and has it in
// this server's memory before it returns; other servers follow at once.
func (s *Service) recorded(ctx context.Context, e event.Event, fn func(context.Context) error) error {
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return s.Trail.Record(ctx, e)
	})
	if err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		s.Logger.Warn("gateway keys can't be read anew", "error", err)
	}
	return nil
}

func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }

func unknownKey() *fault.Fault {
	return fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.").
		WithMend("gateway keys live for 24 hours at most: have a new one made")
}
