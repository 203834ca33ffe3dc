package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
)

// Config is what a Service stands on.
type Config struct {
	Clusters   Clusters
	Nodes      Nodes
	Healths    Healths
	JoinTokens JoinTokens
	Directory  Directory
	Providers  Providers
	Once       Once
	Sealer     Sealer
	Feed       Revocations
	State      Atomic
	Trail      Trail
	Now        func() time.Time
	Logger     *slog.Logger // nil discards
}

// Service knows clusters and nodes. Safe for concurrent use.
type Service struct {
	Config
	loading sync.Mutex // orders loads, so that an older one can't win
	known   atomic.Pointer[book]
	looks   struct { // for nodes that are not in memory
		mu   sync.Mutex
		next time.Time
	}
	seen sync.Map // identity.NodeID → *sighting
}

// Open loads clusters and nodes and follows their changes until ctx ends.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c}
	if err := c.Clusters.Watch(ctx, func() { s.follow(ctx) }); err != nil {
		return nil, err
	}
	return s, s.load(ctx)
}

// book is every cluster and node, in memory. Immutable.
type book struct {
	all    []Cluster // by name
	byID   map[identity.ClusterID]Cluster
	byName map[string]Cluster // by folded name
	nodes  map[identity.NodeID]Node
}

func (s *Service) load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	all, err := s.Clusters.Clusters(ctx)
	if err != nil {
		return err
	}
	nodes, err := s.Nodes.Nodes(ctx)
	if err != nil {
		return err
	}
	b := &book{all: all, byID: map[identity.ClusterID]Cluster{}, byName: map[string]Cluster{}, nodes: map[identity.NodeID]Node{}}
	for _, c := range all {
		b.byID[c.ID], b.byName[directory.Fold(c.Name)] = c, c
	}
	for _, n := range nodes {
		if _, ok := b.byID[n.Cluster]; ok {
			b.nodes[n.ID] = n
		}
	}
	s.known.Store(b)
	return nil
}

// follow loads until one load succeeds. What was known before counts meanwhile: what
// is removed reaches its users by the revocation feed.
func (s *Service) follow(ctx context.Context) {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.Logger.Error("clusters can't be read; those known before serve on", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// Refresh reads clusters and nodes anew, for one that another server may have just
// made.
func (s *Service) Refresh(ctx context.Context) error { return s.load(ctx) }

// sweepEvery is how often join tokens that expired are forgotten.
const sweepEvery = time.Hour

// Run forgets join tokens that expired, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.JoinTokens.SweepJoinTokens(ctx, s.Now()); err != nil && ctx.Err() == nil {
			s.Logger.Warn("join tokens that expired can't be swept", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Changed is called after every change of clusters and nodes by any server, once this
// Service has followed it, until ctx ends.
func (s *Service) Changed(ctx context.Context, changed func()) error {
	return s.Clusters.Watch(ctx, func() {
		s.follow(ctx)
		changed()
	})
}

// List gives all clusters, by name.
func (s *Service) List() []Cluster { return slices.Clone(s.known.Load().all) }

// Find gives a cluster by id, or by name, letter case aside. Fault: NotFound.
func (s *Service) Find(text string) (Cluster, error) {
	b := s.known.Load()
	if c, ok := b.byID[identity.ClusterID(text)]; ok {
		return c, nil
	}
	if c, ok := b.byName[directory.Fold(text)]; ok {
		return c, nil
	}
	return Cluster{}, unknown(text)
}

// Cluster gives a cluster by id.
func (s *Service) Cluster(id identity.ClusterID) (Cluster, bool) {
	c, ok := s.known.Load().byID[id]
	return c, ok
}

// Node gives a node by id.
func (s *Service) Node(id identity.NodeID) (Node, bool) {
	n, ok := s.known.Load().nodes[id]
	return n, ok
}

// NodesOf gives the nodes of a cluster, by name.
func (s *Service) NodesOf(id identity.ClusterID) (out []Node) {
	for _, n := range s.known.Load().nodes {
		if n.Cluster == id {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, byName)
	return out
}

func unknown(text string) *fault.Fault {
	return fault.Coded(fault.NotFound, "cluster.unknown", fmt.Sprintf("no cluster is called %q", fault.Clip(text))).
		WithMend("list them: carnet cluster list")
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
	if err := s.load(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Warn("clusters could not be read after a change", "error", err)
	}
	return nil
}

func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }
