package attachment

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/revocation"
)

// lookEvery is how often a View that waits looks again by itself: what is revoked, and
// what ends by the clock, raises nothing.
const lookEvery = 500 * time.Millisecond

// View gives what counts on a node, once that is of another revision than the one
// given, or after Wait. Errors: Unauthenticated "node.removed", Unavailable.
func (s *Service) View(ctx context.Context, n cluster.Node, revision int64) (View, error) {
	end := time.NewTimer(Wait)
	defer end.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		changed := s.next()
		v, err := s.view(n)
		if err != nil || v.Revision != revision {
			return v, err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-end.C:
			return v, nil
		case <-s.ctx.Done():
			return v, nil
		case <-ctx.Done():
			return View{}, ctx.Err()
		}
	}
}

// view is what counts now, from memory.
func (s *Service) view(n cluster.Node) (View, error) {
	c, err := s.clusterOf(n)
	if err != nil {
		return View{}, err
	}
	v := View{Cluster: c}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d", c.ID, c.Revision)
	for _, a := range s.known.Load().byNode[n.ID] {
		why, err := s.over(a)
		if err != nil {
			return View{}, err
		}
		if why != "" {
			continue
		}
		v.Attachments = append(v.Attachments, *a)
		fmt.Fprintf(sum, "\n%s %s", a.ID, a.Role) // the rest of one never changes
	}
	for _, e := range s.Feed.Latest(revocation.Role, revocation.AccessKey) {
		v.Revoked = append(v.Revoked, e)
		fmt.Fprintf(sum, "\n%s %s %d", e.Kind, e.ID, e.Epoch)
	}
	v.Revision = max(1, int64(binary.BigEndian.Uint64(sum.Sum(nil))>>1))
	return v, nil
}
