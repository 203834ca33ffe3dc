package gatewaykeys

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/holder"
	"carnet.dev/carnet/internal/service/revocation"
)

// NewKey is what a gateway key shall be.
type NewKey struct {
	// Owner has one of LoginSession, Delegation and ServicePrincipal set.
	Owner   Owner
	Cluster string
	Binding Binding
	// Roles are those that the owner holds now; none: all of them.
	Roles   []arn.Role
	Default arn.Role // one of Roles, or zero
	// Lifetime is Longest where it is 0. What the key rests on may end it earlier.
	Lifetime time.Duration

	delivered  bool
	attachment identity.AttachmentID
	node       identity.NodeID
	until      time.Time // the end of what it is delivered for; zero: open
	follows    *Key
	ends       time.Time // of the key that it follows
}

// Made is a new gateway key with its secret, which nobody is shown again.
type Made struct {
	Key
	Secret secret.Text
}

// Make makes a gateway key, on an administrator's word. Its owner must be there:
// signed in, or having delegated, and hold each of the roles. Faults: Invalid,
// Denied, NotFound, Conflict.
func (s *Service) Make(ctx context.Context, n NewKey) (Made, error) {
	// What is revoked from here on refuses the key.
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Made{}, err
	}
	if n.Lifetime == 0 {
		n.Lifetime = Longest
	}
	if err := s.placed(n); err != nil {
		return Made{}, err
	}
	st, err := s.holders.Standing(ctx, n.Owner, nil)
	if err != nil {
		return Made{}, err
	}
	if st.Owner.Cluster != "" && n.attachment == "" {
		return Made{}, fault.Coded(fault.Denied, "gateway-key.delegation", "this delegation is to a cluster: it serves attachments there alone").WithMend("use a delegation to a service principal")
	}
	now := s.now()
	k := Key{ID: identity.NewGatewayKeyID(), AccessKeyID: identity.NewGatewayAccessKeyID(), Owner: st.Owner, Cluster: n.Cluster, Binding: n.Binding,
		Delivered: n.delivered, Attachment: n.attachment, Node: n.node, Made: now, Expires: now.Add(n.Lifetime).Truncate(time.Second), Epoch: epoch}
	if n.Cluster != "" {
		c, err := s.cluster(n.Cluster)
		if err != nil {
			return Made{}, err
		}
		k.Cluster = c.Name // as it is written there
	}
	for _, end := range [...]time.Time{st.Ends, n.until} {
		if !end.IsZero() && end.Before(k.Expires) {
			k.Expires = end.UTC().Truncate(time.Second)
		}
	}
	if !now.Before(k.Expires) {
		return Made{}, fault.Coded(fault.Expired, "gateway-key.ended", "what the key would rest on has ended")
	}
	if k.Roles, k.Default, err = roleSet(n, st); err != nil {
		return Made{}, err
	}
	action := "gateway-key.make"
	if n.follows != nil {
		k.Follows, action = n.follows.ID, "gateway-key.roll"
	}
	return s.store(ctx, k, action, n.ends)
}

// store seals a fresh secret and stores the key with its record.
func (s *Service) store(ctx context.Context, k Key, action string, ends time.Time) (Made, error) {
	m := Made{Key: k, Secret: secret.Random(30)} // 40 characters
	sealed, err := s.Sealer.Seal(purpose, binding(k.ID, k.AccessKeyID), []byte(m.Secret.Reveal()))
	if err != nil {
		return Made{}, err
	}
	e := k.event(action)
	if k.Follows != "" {
		e.Detail["follows"], e.Detail["old_ends"] = string(k.Follows), ends.Format(time.RFC3339)
	}
	most := MostPerOwner
	if k.Delivered {
		most = MostDelivered
	}
	err = s.recorded(ctx, e, func(ctx context.Context) error {
		return s.Store.AddKey(ctx, Stored{Key: k, Sealed: sealed}, ends, most)
	})
	if err != nil {
		return Made{}, err
	}
	return m, nil
}

// placed holds a new key to its form: a binding, and a life within bounds.
func (s *Service) placed(n NewKey) error {
	if n.Lifetime < Shortest || n.Lifetime > Longest {
		return fault.Coded(fault.Invalid, "gateway-key.lifetime", "a gateway key lives for a minute to 24 hours")
	}
	if n.Cluster == "" && n.Binding.IsZero() {
		return fault.Coded(fault.Invalid, "gateway-key.unbound", "a gateway key must be bound: to a cluster, to networks or to client certificates").
			WithMend("say where it is used from: --cluster NAME, --network CIDR or --certificate FINGERPRINT")
	}
	if n.Cluster == "" {
		return nil
	}
	c, err := s.cluster(n.Cluster)
	if err == nil && c.Binding.IsZero() && n.Binding.IsZero() {
		err = fault.Coded(fault.Invalid, "gateway-key.unbound", "it is not said where cluster "+c.Name+" calls from, so a gateway key would work nowhere").
			WithMend("say it: carnet cluster set " + c.Name + " --network CIDR")
	}
	return err
}

// cluster gives the one that a key names.
func (s *Service) cluster(name string) (cluster.Cluster, error) {
	c, err := s.Clusters.Find(name)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		err = fault.Coded(fault.NotFound, "gateway-key.cluster", fmt.Sprintf("no cluster is called %q", clip(name))).
			WithMend("list them: carnet cluster list; or add it: carnet gateway-key cluster add " + clip(name) + " --network CIDR")
	}
	return c, err
}

// roleSet holds the roles of a new key to those that its owner holds.
func roleSet(n NewKey, st holder.Standing) ([]arn.Role, arn.Role, error) {
	roles := slices.Clone(n.Roles)
	if len(roles) == 0 {
		roles = slices.Clone(st.Held)
	}
	for _, r := range roles {
		if !slices.Contains(st.Held, r) {
			return nil, arn.Role{}, fault.Coded(fault.Denied, "gateway-key.role", fmt.Sprintf("%s does not hold role %s now%s", st.Owner.Name, r, holds(st.Held))).
				WithMend("choose among the roles that are held; who is not signed in needs an account that takes web identity")
		}
	}
	slices.SortFunc(roles, func(a, b arn.Role) int { return strings.Compare(a.String(), b.String()) })
	roles = slices.Compact(roles)
	switch {
	case len(roles) == 0:
		return nil, arn.Role{}, fault.Coded(fault.Denied, "gateway-key.role", st.Owner.Name+" holds no role that a gateway key could be used for")
	case len(roles) > MostRoles:
		return nil, arn.Role{}, fault.Coded(fault.Invalid, "gateway-key.roles", fmt.Sprintf("a gateway key has at most %d roles", MostRoles)).WithMend("name those that it is for")
	case n.Default != (arn.Role{}) && !slices.Contains(roles, n.Default):
		return nil, arn.Role{}, fault.Coded(fault.Invalid, "gateway-key.default", "the default role "+n.Default.String()+" is not one of the key's roles")
	}
	return roles, n.Default, nil
}

func holds(held []arn.Role) string {
	if len(held) == 0 {
		return ", nor any other"
	}
	var names []string
	for i, r := range held {
		if i == 20 {
			names = append(names, "…")
			break
		}
		names = append(names, r.String())
	}
	return "; held are " + strings.Join(names, ", ")
}

// Roll makes the successor of a key: another id and secret, bound as it is, with
// those of its roles that are held now. The old one lives on for overlap at most,
// DefaultOverlap where that is negative. Faults: NotFound; Conflict where it was
// rolled before; Expired, Revoked.
func (s *Service) Roll(ctx context.Context, id identity.GatewayKeyID, overlap time.Duration) (Made, error) {
	old, err := s.find(ctx, id)
	if err != nil {
		return Made{}, err
	}
	if overlap < 0 {
		overlap = DefaultOverlap
	}
	now := s.now()
	switch s.state(old) {
	case Revoked:
		return Made{}, fault.Coded(fault.Revoked, "gateway-key.revoked", fmt.Sprintf("the gateway key %s was revoked", id))
	case Ended:
		return Made{}, fault.Coded(fault.Expired, "gateway-key.ended", fmt.Sprintf("the gateway key %s ended at %s", id, old.Expires.Format(time.RFC3339))).WithMend("make a new one")
	}
	n := NewKey{Owner: old.Owner, Cluster: old.Cluster, Binding: old.Binding, Lifetime: lifetime(old), delivered: old.Delivered, attachment: old.Attachment, node: old.Node, follows: &old,
		ends: now.Add(overlap).Truncate(time.Second)}
	if old.Expires.Before(n.ends) {
		n.ends = old.Expires
	}
	st, err := s.holders.Standing(ctx, old.Owner, old.Roles)
	if err != nil {
		return Made{}, err
	}
	n.Roles = slices.DeleteFunc(slices.Clone(old.Roles), func(r arn.Role) bool { return !slices.Contains(st.Held, r) })
	if len(n.Roles) == 0 {
		return Made{}, fault.Coded(fault.Denied, "gateway-key.role", old.Owner.Name+" holds none of the key's roles any more")
	}
	if slices.Contains(n.Roles, old.Default) {
		n.Default = old.Default
	}
	return s.Make(ctx, n)
}

// lifetime is what was asked for when a key was made, as far as that can be told.
func lifetime(k Key) time.Duration { return min(Longest, max(Shortest, k.Expires.Sub(k.Made))) }

// Revoke ends a key at once, everywhere. Faults: NotFound; none where it was
// revoked before.
func (s *Service) Revoke(ctx context.Context, id identity.GatewayKeyID) error {
	k, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	return s.recorded(ctx, k.event("gateway-key.revoke"), func(ctx context.Context) error {
		if _, err := s.Store.RevokeKey(ctx, id, s.now()); err != nil {
			return err
		}
		_, err := s.Feed.Revoke(ctx, revocation.GatewayKey, string(id))
		return err
	})
}

// event begins the record of something that is done with a key.
func (k Key) event(action string) event.Event {
	roles := make([]string, len(k.Roles))
	for i, r := range k.Roles {
		roles[i] = r.String()
	}
	e := event.Event{Action: action, Outcome: event.Done, Target: string(k.ID), AccessKeyID: k.AccessKeyID,
		Detail: map[string]string{"owner": k.Owner.Kind(), "owner_id": k.Owner.ID(), "owner_name": k.Owner.Name,
			"roles": strings.Join(roles, " "), "expires": k.Expires.Format(time.RFC3339)}}
	if k.Cluster != "" {
		e.Detail["cluster"] = k.Cluster
	}
	if k.Owner.Person != "" {
		e.Detail["person"] = string(k.Owner.Person)
	}
	return e
}

// State is what has become of a key.
type State string

// The states.
const (
	Active  State = "active"
	Revoked State = "revoked"
	Ended   State = "ended"
)

func (s *Service) state(k Key) State {
	if !k.Revoked.IsZero() {
		return Revoked
	}
	if !s.Now().Before(k.Expires) {
		return Ended
	}
	if err := s.Holds(&Holder{key: k}); err != nil && fault.KindOf(err) == fault.Revoked {
		return Revoked
	}
	return Active
}

// Listed is a key as it is shown: never with its secret.
type Listed struct {
	Key
	State State
	// RolledTo is the key that follows it; empty: none.
	RolledTo identity.GatewayKeyID
}

// List gives the keys that stand, and those that ended lately, by time of making.
func (s *Service) List(ctx context.Context) ([]Listed, error) {
	stored, err := s.Store.Keys(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	next := map[identity.GatewayKeyID]identity.GatewayKeyID{}
	for _, k := range stored {
		next[k.Follows] = k.ID
	}
	out := make([]Listed, len(stored))
	for i, k := range stored {
		out[i] = Listed{Key: k.Key, State: s.state(k.Key), RolledTo: next[k.ID]}
	}
	return out, nil
}

// OfPerson gives the keys that work as a person and stand, newest first, from memory.
func (s *Service) OfPerson(id identity.PersonID) (out []Listed) {
	if id == "" {
		return nil
	}
	next := map[identity.GatewayKeyID]identity.GatewayKeyID{}
	for _, e := range s.known.Load().byAccessKey {
		if e.Owner.Person != id {
			continue
		}
		next[e.Follows] = e.ID
		if st := s.state(e.Key); st == Active {
			out = append(out, Listed{Key: e.Key, State: st})
		}
	}
	for i := range out {
		out[i].RolledTo = next[out[i].ID]
	}
	slices.SortFunc(out, func(a, b Listed) int {
		return cmp.Or(b.Made.Compare(a.Made), strings.Compare(string(a.ID), string(b.ID)))
	})
	return out
}

// find gives a key by its id, or its access key id.
func (s *Service) find(ctx context.Context, id identity.GatewayKeyID) (Key, error) {
	stored, err := s.Store.Keys(ctx, time.Time{})
	if err != nil {
		return Key{}, err
	}
	for _, k := range stored {
		if k.ID == id || k.AccessKeyID == string(id) {
			return k.Key, nil
		}
	}
	return Key{}, fault.Coded(fault.NotFound, "gateway-key.unknown", fmt.Sprintf("there is no gateway key %s", clip(string(id)))).
		WithMend("list them: carnet gateway-key list")
}

func fold(name string) string { return directory.Fold(name) }
