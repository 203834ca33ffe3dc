package gatewaykeys

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/revocation"
)

// How old what is known of an owner may be: from askAgain on it is asked for anew
// beside, from mostOld on it does not count. While nobody can be asked it counts for
// as long as the revocation feed decides without the database, whenever that went.
const (
	askAgain    = 30 * time.Second
	mostOld     = time.Minute
	mostOldAway = askAgain + revocation.DefaultBound + 2*pause
)

// had is what was found out of a key's owner.
type had struct {
	roles  []arn.Role         // those of the key that they hold
	groups []identity.GroupID // around the person, where the key was delivered on a node
}

// held gives those of a key's roles that its owner holds. What the cluster says is
// asked at each use: which roles it allows and, of a key that was delivered on one of
// its nodes, whether the person may work there.
func (s *Service) held(ctx context.Context, h *Holder) ([]arn.Role, error) {
	k := &h.key
	got, err := h.uses.held.get(ctx, s, func(ctx context.Context) (answer[had], error) {
		st, err := s.holders.Standing(ctx, k.Owner, k.Roles)
		if err != nil {
			return answer[had]{}, notHeld(err)
		}
		now := s.Now()
		out := had{roles: slices.DeleteFunc(slices.Clone(k.Roles), func(r arn.Role) bool { return !slices.Contains(st.Held, r) })}
		if k.Node != "" && k.Owner.Person != "" && s.Groups != nil {
			out.groups, err = s.Groups.GroupsAround(ctx, string(k.Owner.Person))
		}
		return answer[had]{value: out, due: now.Add(askAgain), ends: now.Add(mostOld), away: now.Add(mostOldAway)}, err
	}, func(a answer[had]) bool {
		return slices.ContainsFunc(a.value.roles, func(r arn.Role) bool { return s.revoked(revocation.Role, r.String(), a.epoch) })
	})
	if err != nil || k.Cluster == "" {
		return got.roles, err
	}
	c, err := s.Clusters.Find(k.Cluster)
	if err == nil && k.Node != "" && k.Owner.Person != "" {
		err = s.Clusters.MayAttach(c, k.Owner.Person, got.groups)
	}
	if err != nil {
		return nil, notHeld(err)
	}
	return slices.DeleteFunc(slices.Clone(got.roles), func(r arn.Role) bool { return !s.Clusters.Allows(c, r) }), nil
}

// notHeld is a refusal in the words of S3.
func notHeld(err error) error {
	if isAway(err) {
		return err
	}
	f := fault.Of(err)
	return fault.Coded(fault.Denied, "AccessDenied", "The owner of this gateway key can't act now: "+f.Public).WithMend(f.Mend).WithCause(err)
}

// Keys gives the temporary keys of a role that was chosen: those that are kept, or
// new ones. Only a role of the key's set that its owner holds has any.
func (s *Service) Keys(ctx context.Context, h *Holder, role arn.Role) (credential.Temporary, error) {
	held, err := s.held(ctx, h)
	if err != nil {
		return credential.Temporary{}, err
	}
	if !slices.Contains(h.key.Roles, role) || !slices.Contains(held, role) {
		return credential.Temporary{}, fault.Coded(fault.Denied, "AccessDenied", "The owner of this gateway key does not hold role "+role.String())
	}
	return h.uses.of(role).get(ctx, s, func(ctx context.Context) (answer[credential.Temporary], error) {
		a, err := s.fetch(ctx, h.key.Owner, role)
		if err != nil && !isAway(err) {
			f := fault.Of(err)
			err = fault.Coded(fault.Denied, "AccessDenied", "The keys of role "+role.String()+" can't be had: "+f.Code+": "+f.Public).WithMend(f.Mend).WithCause(err)
		}
		return a, err
	}, func(a answer[credential.Temporary]) bool {
		return s.revoked(revocation.Role, role.String(), a.epoch) || s.revoked(revocation.AccessKey, a.value.AccessKeyID, a.epoch)
	})
}

// revoked reports whether something was taken back since an epoch. Where that can't be
// said the key itself is refused (see Holds).
func (s *Service) revoked(kind, id string, epoch uint64) bool {
	refused, err := s.Feed.Refused(kind, id, epoch)
	return err == nil && refused
}

// fetch has the keys of a role.
func (s *Service) fetch(ctx context.Context, o Owner, role arn.Role) (answer[credential.Temporary], error) {
	now := s.Now()
	keys, err := s.holders.Keys(ctx, o, role, "gateway key")
	due := now.Add(askAgain)
	if o.LoginSession == "" {
		// Two thirds of their life, not all at the same moment.
		life := keys.Expiration.Sub(now)
		due = now.Add(life*2/3 - rand.N(life/10+1))
	}
	return answer[credential.Temporary]{value: keys, due: due, ends: keys.Expiration}, err
}
