package attachment

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/device"
	"carnet.dev/carnet/internal/service/entitlement"
)

// Config is what a Service stands on.
type Config struct {
	Requests    Requests
	Changes     Changes
	Lists       Lists
	Clusters    Clusters
	Rules       Rules
	People      People
	Sessions    Sessions
	Delegations Delegations
	Holders     Holders
	Tokens      RoleTokens
	Binder      Binder
	GatewayKeys GatewayKeys
	Accounts    entitlement.Accounts
	// ByGateway reports whether the keys of an account are delivered as gateway
	// keys.
	ByGateway func(account string) bool
	// Counts holds the wrong codes that people typed.
	Counts device.Counts
	Feed   Revocations
	State  Atomic
	Trail  Trail
	Now    func() time.Time
	Logger *slog.Logger // nil discards
	// Page is where people type a node's code: an absolute URL.
	Page string
}

// Service binds people to processes. Safe for concurrent use.
type Service struct {
	Config
	ctx     context.Context // its end ends every wait
	rest    context.CancelFunc
	loading sync.Mutex // orders loads, so that an older one can't win
	known   atomic.Pointer[book]
	tend    chan struct{} // asks for Tend now

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
}

// Open loads attachments and follows every change that counts for them until ctx
// ends.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c, changed: make(chan struct{}), tend: make(chan struct{}, 1)}
	s.ctx, s.rest = context.WithCancel(ctx)
	if err := c.Lists.Watch(ctx, func() { s.follow(ctx) }); err != nil {
		return nil, err
	}
	// One may ask for groups now, or admit fewer: who is out has to be out at once.
	err := c.Clusters.Changed(ctx, func() {
		s.follow(ctx)
		select {
		case s.tend <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	return s, s.load(ctx)
}

// Rest ends every wait of View, now and from now on, with what counts at that moment:
// a server that is about to end keeps nobody.
func (s *Service) Rest() { s.rest() }

// book is every attachment that has not been ended, in memory. Immutable.
type book struct {
	byID   map[identity.AttachmentID]*Attachment
	byNode map[identity.NodeID][]*Attachment // by time of making
	// groups are those around each person who is attached to a cluster that asks for
	// groups.
	groups map[identity.PersonID][]identity.GroupID
}

func (s *Service) load(ctx context.Context) error { return s.read(ctx, false) }

// read makes a new book. The groups of people are read where they are not known,
// and where anew says so.
func (s *Service) read(ctx context.Context, anew bool) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	all, err := s.Lists.Live(ctx)
	if err != nil {
		return err
	}
	b := &book{byID: map[identity.AttachmentID]*Attachment{}, byNode: map[identity.NodeID][]*Attachment{}, groups: map[identity.PersonID][]identity.GroupID{}}
	old := s.known.Load()
	for i := range all {
		a := &all[i]
		b.byID[a.ID] = a
		b.byNode[a.Place.Node] = append(b.byNode[a.Place.Node], a)
		c, _ := s.Clusters.Cluster(a.Cluster)
		if _, ok := b.groups[a.Person]; ok || len(c.Groups) == 0 {
			continue
		}
		if old != nil && !anew {
			if g, ok := old.groups[a.Person]; ok {
				b.groups[a.Person] = g
				continue
			}
		}
		if b.groups[a.Person], err = s.People.GroupsAround(ctx, string(a.Person)); err != nil {
			return err
		}
	}
	s.known.Store(b)
	s.wake()
	return nil
}

// wake has every View look again.
func (s *Service) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Service) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// follow loads until one load succeeds. What was known before counts meanwhile: what
// is taken back reaches it by the revocation feed.
func (s *Service) follow(ctx context.Context) {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.Logger.Error("attachments can't be read; those known before serve on", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

const (
	// tendEvery is how often attachments are looked after: who left a group has
	// nothing after as long.
	tendEvery = 15 * time.Second
	// kept is how long an ended attachment is still shown.
	kept = 30 * 24 * time.Hour
	// settled is how long a cluster or node may be unknown here before it counts as
	// gone: another server may have added it a moment ago.
	settled = time.Minute
)

// Run ends what stands no more, and forgets what ended long ago, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		if err := s.Tend(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Warn("attachments can't be looked after", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.tend:
		}
	}
}

// Tend ends attachments that stand no more, with a record, and deletes what ended
// long ago.
func (s *Service) Tend(ctx context.Context) error {
	if err := s.read(ctx, true); err != nil {
		return err
	}
	for _, a := range s.known.Load().byID {
		why, err := s.over(a)
		if err != nil {
			return err
		}
		if why == "" || why == WhyNode && s.Now().Sub(a.Made) < settled {
			continue
		}
		if _, err := s.end(ctx, a, why); err != nil {
			return err
		}
	}
	now := s.now()
	if err := s.Requests.Sweep(ctx, now); err != nil {
		return err
	}
	return s.Changes.SweepEnded(ctx, now.Add(-kept))
}

// recorded does what fn does, with its record, in one transaction, and has it in
// this server's memory before it returns; other servers follow at once.
func (s *Service) recorded(ctx context.Context, fn func(context.Context) (event.Event, error)) error {
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		e, err := fn(ctx)
		if err != nil || e.Action == "" {
			return err
		}
		return s.Trail.Record(ctx, e)
	})
	if err != nil {
		return err
	}
	if err := s.load(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Warn("attachments could not be read after a change", "error", err)
	}
	return nil
}

// event begins the record of something that is done with an attachment.
func (s *Service) event(a *Attachment, action string) event.Event {
	e := event.Event{Action: action, Outcome: event.Done, Person: a.Person, UserName: a.Name, IdP: a.IdP, LoginSession: a.LoginSession, Delegation: a.Delegation,
		ServicePrincipal: a.By, Node: a.Place.Node, Attachment: a.ID, ProcessOwner: a.Place.Owner(), Target: string(a.ID), Detail: map[string]string{"node": string(a.Place.Node), "uid": decimal(a.Place.UID), "how": string(a.How)}}
	if c, ok := s.Clusters.Cluster(a.Cluster); ok {
		e.Cluster = c.Name
	}
	if n, ok := s.Clusters.Node(a.Place.Node); ok {
		e.Detail["node_name"] = n.Name
	}
	return e
}

func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }

// listed gives attachments as they are shown.
func (s *Service) listed(all []Attachment) []Listed {
	out := make([]Listed, len(all))
	for i, a := range all {
		out[i] = Listed{Attachment: a}
		if c, ok := s.Clusters.Cluster(a.Cluster); ok {
			out[i].ClusterName = c.Name
		}
		if n, ok := s.Clusters.Node(a.Place.Node); ok {
			out[i].NodeName = n.Name
		}
		why, err := s.over(&a)
		out[i].Live = why == "" && err == nil
		if out[i].Why == "" {
			out[i].Why = why
		}
	}
	slices.Reverse(out) // the newest first came, so that the oldest were left out
	return out
}

// clusterOf gives the cluster of a node that is there.
func (s *Service) clusterOf(n cluster.Node) (cluster.Cluster, error) {
	known, there := s.Clusters.Node(n.ID)
	c, ok := s.Clusters.Cluster(n.Cluster)
	if !there || !ok || known.Cluster != n.Cluster {
		return cluster.Cluster{}, fault.Coded(fault.Unauthenticated, "node.removed", "this node, or its cluster, was removed").WithMend("have it join again: carnet agent join")
	}
	return c, nil
}
