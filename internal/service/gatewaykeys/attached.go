package gatewaykeys

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
)

// Attached is whom a gateway key is delivered to on a node.
type Attached struct {
	Owner      Owner
	Attachment identity.AttachmentID // empty: a connection to an engine there
	Cluster    cluster.Cluster
	Node       identity.NodeID
	Ends       time.Time // of what it is delivered for; zero: open
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
	n := NewKey{Owner: a.Owner, Roles: []arn.Role{role}, Default: role, Lifetime: deliveredLife, delivered: true, attachment: a.Attachment, node: a.Node, until: a.Ends}
	n.Cluster = a.Cluster.Name
	if a.Cluster.Binding.IsZero() {
		if !from.IsValid() {
			return Made{}, fault.New(fault.Internal, "the address that the node asks from is not known, so a gateway key can't be bound to it")
		}
		n.Binding.Networks = []netip.Prefix{cluster.Only(from)}
	}
	if e := s.young(func(k Key) bool {
		return k.Attachment == a.Attachment && k.Node == a.Node && k.Owner.Kind() == a.Owner.Kind() && k.Owner.ID() == a.Owner.ID() && k.Cluster == n.Cluster && slices.Equal(k.Roles, n.Roles) && slices.Equal(k.Binding.Networks, n.Binding.Networks)
	}); e != nil {
		return Made{Key: e.Key, Secret: e.secret}, nil
	}
	return s.Make(ctx, n)
}

// TrinoUser is somebody attached, for an engine's rules. Roles gives those that may be
// in their key, and its default or zero; it is asked where they have no key yet.
type TrinoUser struct {
	Attached
	Roles func(ctx context.Context) (roles []arn.Role, fallback arn.Role, err error)
}

// TrinoRulesFor gives the rules of a cluster for those alone who are attached to one of
// its nodes, the same for all of users. Who has no key for the cluster yet is given one, which ends with the attachment. Errors and
// notes as for TrinoRules.
func (s *Service) TrinoRulesFor(ctx context.Context, c cluster.Cluster, users []TrinoUser) (TrinoRules, error) {
	if err := s.load(ctx); err != nil {
		return TrinoRules{}, err
	}
	admitted, node := map[identity.PersonID]bool{}, identity.NodeID("")
	var notes []string
	for _, u := range users {
		admitted[u.Owner.Person], node = true, u.Node
		if s.keyed(c.Name, u) {
			continue
		}
		if err := s.keyFor(ctx, c, u); err != nil {
			if isAway(err) {
				return TrinoRules{}, err
			}
			notes = append(notes, fmt.Sprintf("%q has no rule: %s", u.Owner.Name, fault.Of(err).Public))
		}
	}
	out, err := s.trinoRules(ctx, c.Name, 0, -1, func(k Key) bool { return k.Owner.Person != "" && admitted[k.Owner.Person] && on(k, node) })
	out.Notes = append(notes, out.Notes...)
	return out, err
}

// on reports whether a node may have a key: it is its own, or no node's. Another's would
// outlive this one.
func on(k Key, node identity.NodeID) bool { return k.Node == "" || k.Node == node }

// keyed reports whether somebody has a key for a cluster that counts, and that their
// node may have.
func (s *Service) keyed(cluster string, u TrinoUser) bool {
	for _, e := range s.known.Load().byAccessKey {
		if e.Owner.Person == u.Owner.Person && on(e.Key, u.Node) && fold(e.Cluster) == fold(cluster) && !e.Delivered && s.state(e.Key) == Active {
			return true
		}
	}
	return false
}

func (s *Service) keyFor(ctx context.Context, c cluster.Cluster, u TrinoUser) error {
	roles, fallback, err := u.Roles(ctx)
	if err != nil {
		return err
	}
	_, err = s.Make(ctx, NewKey{Owner: u.Owner, Cluster: c.Name, Roles: roles, Default: fallback, Lifetime: Longest, attachment: u.Attachment, node: u.Node, until: u.Ends})
	return err
}
