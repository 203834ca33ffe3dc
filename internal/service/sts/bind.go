package sts

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
)

// Bind seals the role session of live keys of ours once more, for a node: under an
// access key and a secret of its own, to end at ends (zero: open) at the latest, and
// with the attachment, the node and the cluster. It adds nothing to what the keys
// allow: role, names, tags, policies and time of issue stay. It is on no wire.
//
// Errors: those of access.Lookup where the keys don't hold now; Denied for keys that
// are no role session's, or that are bound to another place; Expired.
func (s *Service) Bind(ctx context.Context, keys credential.Temporary, on identity.OnNode, ends time.Time) (credential.Temporary, error) {
	if s.Access == nil {
		return credential.Temporary{}, errNotWired
	}
	// The epoch comes first: what is revoked after it refuses the new keys, what was
	// before it refuses the old ones here.
	epoch, err := s.Revocations.Epoch()
	if err != nil {
		return credential.Temporary{}, err
	}
	caller, key, err := s.Access.Lookup(ctx, keys.AccessKeyID, keys.SessionToken)
	if err != nil {
		return credential.Temporary{}, err
	}
	switch {
	case caller.Kind != access.RoleSession, !key.Equal(keys.SecretAccessKey):
		return credential.Temporary{}, fault.Coded(fault.Denied, "AccessDenied", "only the keys of a role session of this authority are bound to a node")
	case on.Node == "" || on.Cluster == "":
		return credential.Temporary{}, fault.New(fault.Internal, "keys are to be bound to no node")
	case !caller.OnNode.IsZero() && caller.OnNode != on:
		return credential.Temporary{}, fault.Coded(fault.Denied, "AccessDenied", "these keys are bound to another node or attachment")
	}
	now := s.Now()
	c, err := sessiontoken.Open(s.Keys, keys.AccessKeyID, keys.SessionToken, now)
	if err != nil {
		return credential.Temporary{}, err
	}
	c.SecretKey, c.Epoch, c.OnNode = secret.Random(32), epoch, on
	if ends = ends.UTC().Truncate(time.Second); !ends.IsZero() && ends.Before(c.Expires) {
		c.Expires = ends
	}
	return s.issue(ctx, &Caller{}, &c, now, event.Event{
		Action: "sts.Bind", Account: c.Role.Account, Role: c.Role.String(), Target: c.Role.AssumedRole(c.SessionName),
		Detail: map[string]string{"role_id": string(c.RoleID), "expires": c.Expires.Format(time.RFC3339), "caller_access_key_id": keys.AccessKeyID},
	})
}
