package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// Bounds of what a node's report may hold; more is cut.
const (
	mostVersion  = 64 // characters
	mostFaces    = 16
	mostFace     = 32
	mostTroubles = 20
	mostTrouble  = 300
	// reportEvery is how often a report that says nothing new is written down.
	reportEvery = 30 * time.Second
)

// sighting is what was last written down of a node's report.
type sighting struct {
	mu   sync.Mutex
	last Report
	at   time.Time
}

// Reported takes what a node's agent says of itself, bounded. One that says nothing
// new within half a minute is not written down again.
func (s *Service) Reported(ctx context.Context, n Node, r Report) error {
	r = r.bounded()
	kept, _ := s.seen.LoadOrStore(n.ID, &sighting{})
	last := kept.(*sighting)
	last.mu.Lock()
	defer last.mu.Unlock()
	now := s.now()
	if r.equal(last.last) && now.Sub(last.at) < reportEvery {
		return nil
	}
	there, err := s.Healths.SetHealth(ctx, Health{Node: n.ID, Report: r, Seen: now})
	if err != nil {
		return err
	}
	if !there {
		s.seen.Delete(n.ID)
		return fault.Coded(fault.Revoked, "node.removed", "this node was removed").WithMend("have it join again: carnet agent join")
	}
	last.last, last.at = r, now
	return nil
}

// ListNodes gives the nodes of a cluster with their health, by name.
func (s *Service) ListNodes(ctx context.Context, of identity.ClusterID) ([]Listed, error) {
	healths, err := s.Healths.Healths(ctx, of)
	if err != nil {
		return nil, err
	}
	by := map[identity.NodeID]Health{}
	for _, h := range healths {
		by[h.Node] = h
	}
	out := []Listed{}
	for _, n := range s.NodesOf(of) {
		out = append(out, Listed{Node: n, Health: by[n.ID]})
	}
	return out, nil
}

func (r Report) equal(o Report) bool {
	return r.Version == o.Version && r.MetadataReachable == o.MetadataReachable && slices.Equal(r.Faces, o.Faces) && slices.Equal(r.Troubles, o.Troubles)
}

// bounded cuts a report to what is kept, in characters that can be seen.
func (r Report) bounded() Report {
	cut := func(list []string, most, each int) []string {
		var out []string
		for _, t := range list[:min(len(list), most)] {
			out = append(out, printable(t, each))
		}
		return out
	}
	return Report{Version: printable(r.Version, mostVersion), Faces: cut(r.Faces, mostFaces, mostFace), Troubles: cut(r.Troubles, mostTroubles, mostTrouble), MetadataReachable: r.MetadataReachable}
}

// printable keeps at most most characters of a text, those that can be seen.
func printable(text string, most int) string {
	var b strings.Builder
	for _, c := range strings.ToValidUTF8(text, "?") {
		if most == 0 {
			break
		}
		if unicode.IsPrint(c) {
			b.WriteRune(c)
			most--
		}
	}
	return b.String()
}

// State is how a node does.
type State string

// The states of a node.
const (
	Well     State = "well"
	Troubled State = "troubled" // it reports, and says what is wrong
	Silent   State = "silent"   // it has not been heard for SilentAfter
)

// SilentAfter is how long a node may be quiet: its agent reports every five minutes,
// and proves itself every ten.
const SilentAfter = 11 * time.Minute

// State says how a node does.
func (l Listed) State(now time.Time) State {
	switch {
	case now.Sub(l.Health.Seen) > SilentAfter:
		return Silent
	case len(l.Health.Report.Troubles) > 0:
		return Troubled
	}
	return Well
}
