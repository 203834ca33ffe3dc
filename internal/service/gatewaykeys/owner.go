package gatewaykeys

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
)

// How old what is known of an owner may be: from askAgain on it is asked for anew
// beside, from mostOld on it does not count.
const (
	askAgain = 30 * time.Second
	mostOld  = time.Minute
)

// held gives those of a key's roles that its owner holds, and its cluster allows.
func (s *Service) held(ctx context.Context, h *Holder) ([]arn.Role, error) {
	return h.uses.held.get(ctx, s, func(ctx context.Context) (answer[[]arn.Role], error) {
		st, err := s.holders.Standing(ctx, h.key.Owner, h.key.Roles)
		if err != nil {
			return answer[[]arn.Role]{}, notHeld(err)
		}
		now := s.Now()
		roles := slices.DeleteFunc(slices.Clone(h.key.Roles), func(r arn.Role) bool { return !slices.Contains(st.Held, r) || !s.allowed(h.key.Cluster, r) })
		return answer[[]arn.Role]{value: roles, due: now.Add(askAgain), ends: now.Add(mostOld)}, nil
	})
}

// allowed reports whether the cluster that a key names, if any, allows a role.
func (s *Service) allowed(name string, r arn.Role) bool {
	if name == "" {
		return true
	}
	c, err := s.Clusters.Find(name)
	return err == nil && s.Clusters.Allows(c, r)
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
	})
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
