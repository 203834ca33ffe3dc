package workload

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// Directory knows who there is and what they hold.
type Directory interface {
	Person(ctx context.Context, id identity.PersonID) (directory.Person, error)
	// BySubject gives the person that (idp, subject) proves; NotFound.
	BySubject(ctx context.Context, idp identity.IdPID, subject string) (directory.Person, error)
	ServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error)
	ServicePrincipals(ctx context.Context) ([]directory.ServicePrincipal, error)
	// EffectiveRoles gives what a person or service principal holds.
	EffectiveRoles(ctx context.Context, subject string) ([]directory.Held, error)
}

// Speakers knows the identity providers: an enabled one, or why not.
type Speakers interface {
	Speaker(id identity.IdPID) (*federation.Speaker, error)
}

// KeySets gives the keys of other issuers, from where an administrator said. With
// unknown set the caller met a key id that is not in the last set. Faults:
// Unavailable where the issuer can't be reached.
type KeySets interface {
	Keys(ctx context.Context, issuer string, unknown bool) (*oidc.KeySet, error)
	KeysAt(ctx context.Context, issuer, at string, unknown bool) (*oidc.KeySet, error)
}

// Minter makes ID tokens, and knows our own issuers.
type Minter interface {
	MintID(t issuer.IDToken) (issuer.Minted, error)
	URL(l issuer.Level) string
	// LevelOf tells our own issuers from others.
	LevelOf(issuerURL string) (issuer.Level, bool)
}

// Revocations is the feed of what no longer holds.
type Revocations interface {
	Epoch() (uint64, error)
	Refused(kind, id string, epoch uint64) (bool, error)
	// Revoke works in the transaction that ctx carries.
	Revoke(ctx context.Context, kind, id string) (epoch uint64, err error)
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Trail records in the transaction that ctx carries: what can't be recorded
// doesn't happen.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Ledger notes ID tokens that buy keys of accounts at AWS.
type Ledger interface {
	// Issued works in the transaction that ctx carries: what can't be noted is not
	// given.
	Issued(ctx context.Context, id string, k withdrawal.Key) error
}

// Clusters are the clusters, in memory.
type Clusters interface {
	// Find gives one by id or name; NotFound.
	Find(text string) (cluster.Cluster, error)
	Cluster(id identity.ClusterID) (cluster.Cluster, bool)
	Allows(c cluster.Cluster, role arn.Role) bool
}

// Config is what a Service stands on.
type Config struct {
	Policies    Policies
	Delegations Delegations
	Directory   Directory
	IdPs        Speakers
	Accounts    entitlement.Accounts
	KeySets     KeySets
	Issuer      Minter
	// Entitled is asked before a job gets anything; nil refuses all jobs.
	Entitled Entitled
	// Clusters are where people may let themselves be attached; nil: there are none.
	Clusters Clusters
	Feed     Revocations
	State    Atomic
	Trail    Trail
	// Ledger notes tokens for accounts at AWS; nil: nothing is noted.
	Ledger Ledger
	// Organisation is the id that foreign tokens may name as their audience.
	Organisation string
	// Loopback admits issuers and key sets in plain http on loopback.
	Loopback bool
	Now      func() time.Time
	Logger   *slog.Logger // nil discards
}

// Service says who machines are and what they may have. Safe for concurrent use.
type Service struct {
	Config
	loading sync.Mutex // orders loads, so that an older one can't win
	known   atomic.Pointer[book]
}

// Open loads the federation policies and follows changes until ctx ends.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c}
	if err := c.Policies.WatchPolicies(ctx, func() { s.follow(ctx) }); err != nil {
		return nil, err
	}
	return s, s.load(ctx)
}

// book is every federation policy, in memory: a stranger's token costs no look at
// the database.
type book struct {
	all      []FederationPolicy // by name
	byIssuer map[string][]*rule
}

// rule is a policy ready for use.
type rule struct {
	FederationPolicy
	keys *oidc.KeySet // of JWKS; nil where they are looked for elsewhere
}

func (s *Service) load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	all, err := s.Policies.Policies(ctx)
	if err != nil {
		return err
	}
	b := &book{all: all, byIssuer: map[string][]*rule{}}
	for _, p := range all {
		r := &rule{FederationPolicy: p}
		if p.JWKS != nil {
			if r.keys, err = oidc.ParseKeySet(p.JWKS); err != nil {
				s.Logger.Error("a federation policy can't be used: its keys can't be read", "policy", p.ID, "error", err)
				continue
			}
		}
		b.byIssuer[p.Issuer] = append(b.byIssuer[p.Issuer], r)
	}
	s.known.Store(b)
	return nil
}

// follow loads until one load succeeds. Meanwhile the policies known before
// count: nothing is issued without a record in the same database.
func (s *Service) follow(ctx context.Context) {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.Logger.Error("the federation policies can't be read; those known before serve on", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// kept is how long an ended delegation is still shown.
const kept = 90 * 24 * time.Hour

// Run ends delegations that were revoked with their person, and forgets those
// that ended long ago, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := s.Tend(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Warn("delegations can't be looked after", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// recorded does what fn does, with its record, in one transaction.
func (s *Service) recorded(ctx context.Context, e event.Event, fn func(context.Context) error) error {
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return s.Trail.Record(ctx, e)
	})
}

func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }
