package gatewaykeys

import (
	"context"
	"net/netip"
	"slices"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
)

// Attached is whom a gateway key is delivered to on a node.
type Attached struct {
	Owner      Owner
	Attachment identity.AttachmentID
	Cluster    cluster.Cluster
}

// DeliverAttached gives a gateway key for one role to whoever is attached to a node:
// the one that the attachment has, while half of its life is left, else a new one. It
// is bound to where the cluster calls from, else to the address that the node asks
// from, and ends with the attachment. Where the role's own keys can't be had there is
// none.
func (s *Service) DeliverAttached(ctx context.Context, a Attached, role arn.Role, from netip.Addr) (Made, error) {
	if a.Owner.LoginSession != "" {
		if _, err := s.holders.Keys(ctx, a.Owner, role, "gateway key"); err != nil {
			return Made{}, err
		}
	}
	n := NewKey{Owner: a.Owner, Roles: []arn.Role{role}, Default: role, Lifetime: deliveredLife, delivered: true, attachment: a.Attachment}
	switch {
	case !a.Cluster.Binding.IsZero():
		n.Cluster = a.Cluster.Name
	case from.IsValid():
		n.Binding.Networks = []netip.Prefix{cluster.Only(from)}
	default:
		return Made{}, fault.New(fault.Internal, "the address that the node asks from is not known, so a gateway key can't be bound to it")
	}
	if e := s.young(func(k Key) bool {
		return k.Attachment == a.Attachment && k.Cluster == n.Cluster && slices.Equal(k.Roles, n.Roles) && slices.Equal(k.Binding.Networks, n.Binding.Networks)
	}); e != nil {
		return Made{Key: e.Key, Secret: e.secret}, nil
	}
	return s.Make(ctx, n)
}

// TrinoRulesFor gives the rules of a cluster for those alone whom only admits.
func (s *Service) TrinoRulesFor(ctx context.Context, cluster string, only func(Owner) bool) (TrinoRules, error) {
	return s.trinoRules(ctx, cluster, 0, -1, only)
}
