package gatewaykeys

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// ParsePlace reads s3://bucket/prefix. What follows the slash after the bucket is
// the prefix, as it stands; without one it is the whole bucket. Fault: Invalid.
func ParsePlace(text string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(text, "s3://")
	bucket, prefix, _ = strings.Cut(rest, "/")
	if !ok || bucket == "" || strings.ContainsAny(bucket, "*? ") || len(bucket) > 63 {
		return "", "", fault.Coded(fault.Invalid, "prefix-grant.place", fmt.Sprintf("%q is not a place: want s3://bucket or s3://bucket/prefix", clip(text)))
	}
	if len(prefix) > 1024 || !utf8.ValidString(prefix) || strings.ContainsRune(prefix, 0) {
		return "", "", fault.Coded(fault.Invalid, "prefix-grant.place", "a prefix is UTF-8, of at most 1024 bytes")
	}
	return bucket, prefix, nil
}

// AddGrant says which role serves a place. The bucket must be one that a rule
// places, and the role of an account that is configured, both here or both at
// AWS. Faults: Invalid, Conflict.
func (s *Service) AddGrant(ctx context.Context, place string, role arn.Role) (Grant, error) {
	bucket, prefix, err := ParsePlace(place)
	if err != nil {
		return Grant{}, err
	}
	number, ok := s.BucketAccount(bucket)
	if !ok {
		return Grant{}, fault.Coded(fault.Invalid, "prefix-grant.bucket", fmt.Sprintf("no bucket rule covers %q", bucket)).WithMend("add it to buckets in carnet.yaml")
	}
	account, ok := s.Accounts[role.Account]
	if !ok || account.Partition != role.Partition {
		return Grant{}, fault.Coded(fault.Invalid, "prefix-grant.role", "account "+role.Account+" of partition "+role.Partition+" is not configured here")
	}
	if owner := s.Accounts[number]; owner.Local != account.Local {
		return Grant{}, fault.Coded(fault.Invalid, "prefix-grant.role", fmt.Sprintf("bucket %s belongs to account %s, and a role of account %s can't reach it: one is at AWS, the other is not", bucket, number, role.Account))
	}
	g := Grant{ID: identity.NewPrefixGrantID(), Bucket: bucket, Prefix: prefix, Role: role, Made: s.now()}
	return g, s.recorded(ctx, g.event("prefix-grant.add"), func(ctx context.Context) error { return s.Grants.AddGrant(ctx, g) })
}

// RemoveGrant takes a grant out. Fault: NotFound.
func (s *Service) RemoveGrant(ctx context.Context, id identity.PrefixGrantID) error {
	e := event.Event{Action: "prefix-grant.remove", Outcome: event.Done, Target: string(id)}
	return s.recorded(ctx, e, func(ctx context.Context) error {
		gone, err := s.Grants.RemoveGrant(ctx, id)
		if err == nil && !gone {
			err = fault.Coded(fault.NotFound, "prefix-grant.unknown", fmt.Sprintf("there is no prefix grant %s", clip(string(id)))).WithMend("list them: carnet prefix-grant list")
		}
		return err
	})
}

// ListGrants gives all, by place.
func (s *Service) ListGrants(ctx context.Context) ([]Grant, error) { return s.Grants.Grants(ctx) }

// Place gives s3://bucket/prefix.
func (g Grant) Place() string {
	if g.Prefix == "" {
		return "s3://" + g.Bucket
	}
	return "s3://" + g.Bucket + "/" + g.Prefix
}

func (g Grant) event(action string) event.Event {
	return event.Event{Action: action, Outcome: event.Done, Target: string(g.ID), Account: g.Role.Account, Role: g.Role.String(),
		Detail: map[string]string{"place": g.Place()}}
}
