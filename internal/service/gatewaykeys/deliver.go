package gatewaykeys

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
)

// deliveredLife is how long a key lives that a person is given: they fetch the next
// one as they would fetch temporary keys.
const deliveredLife = time.Hour

// Deliver gives a person, in their own login session, a gateway key for one of
// their roles: the one that they have, while half of its life is left, else a new
// one. It is bound to the networks that are set for that, or to the address that
// they ask from. Where the role's own keys can't be had there is none. Faults as
// for login.Service.Credentials.
func (s *Service) Deliver(ctx context.Context, l login.LoginSession, role arn.Role, from netip.Addr) (Made, error) {
	if _, err := s.Sessions.Credentials(ctx, l, role.String()); err != nil {
		return Made{}, err
	}
	bound := Binding{Networks: s.Networks}
	if len(bound.Networks) == 0 {
		if !from.IsValid() {
			return Made{}, fault.New(fault.Internal, "the address that the request comes from is not known, so a gateway key can't be bound to it")
		}
		bound.Networks = []netip.Prefix{cluster.Only(from)}
	}
	if e := s.young(func(k Key) bool {
		return k.Attachment == "" && k.Owner.LoginSession == l.ID && k.Cluster == "" && slices.Equal(k.Roles, []arn.Role{role}) && slices.Equal(k.Binding.Networks, bound.Networks)
	}); e != nil {
		return Made{Key: e.Key, Secret: e.secret}, nil
	}
	return s.Make(ctx, NewKey{Owner: Owner{LoginSession: l.ID}, Binding: bound, Roles: []arn.Role{role}, Default: role, Lifetime: deliveredLife, delivered: true})
}

// young finds a key that was delivered for the same, and that still has a good part
// of its life.
func (s *Service) young(same func(k Key) bool) *entry {
	var best *entry
	now := s.Now()
	for _, e := range s.known.Load().byAccessKey {
		if !e.Delivered || !same(e.Key) {
			continue
		}
		left, whole := e.Expires.Sub(now), e.Expires.Sub(e.Made)
		// One that what it rests on cuts short has no better successor.
		young := left > deliveredLife/2 || whole < deliveredLife-time.Second && left > Shortest
		if young && s.state(e.Key) == Active && (best == nil || best.Expires.Before(e.Expires)) {
			best = e
		}
	}
	return best
}
