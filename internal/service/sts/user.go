package sts

import (
	"context"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
)

// GetSessionToken gives an IAM user temporary keys for all that their long-term
// ones may, but for IAM and most of STS. It needs no permission (STS API
// Reference).
func (s *Service) GetSessionToken(ctx context.Context, r SessionRequest) (*UserAnswer, error) {
	if err := s.beginUser("GetSessionToken", &r.Caller); err != nil {
		return nil, err
	}
	var c checks
	c.duration(&r.Limits, s.MinDuration, MostUserDuration)
	c.mfa(&r.MFA)
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := r.MFA.refuse(); err != nil {
		return nil, err
	}
	claims, now, err := s.userClaims(sessiontoken.UserSession, &r.Caller, &r.Limits)
	if err != nil {
		return nil, err
	}
	keys, err := s.issue(ctx, &r.Caller, &claims, now, event.Event{
		Action: "sts.GetSessionToken", Account: claims.User.Account, Target: claims.User.String(), Detail: userDetail(&claims, &r.Caller),
	})
	if err != nil {
		return nil, err
	}
	return &UserAnswer{Credentials: keys}, nil
}

// GetFederationToken gives temporary keys for a part of what an IAM user may: at
// most what the session policies allow.
func (s *Service) GetFederationToken(ctx context.Context, r FederationRequest) (*UserAnswer, error) {
	if err := s.beginUser("GetFederationToken", &r.Caller); err != nil {
		return nil, err
	}
	var c checks
	c.givenName("name", r.Name, 2, 32)
	c.policies(&r.Limits)
	c.duration(&r.Limits, s.MinDuration, MostUserDuration)
	c.tags(r.Tags, nil)
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := uniqueTags(r.Tags, nil); err != nil {
		return nil, err
	}
	if err := r.sizes(); err != nil {
		return nil, err
	}
	authority, err := s.IAM.Current()
	if err != nil {
		return nil, err
	}
	if err := r.compact(r.Caller.Signed.Account); err != nil {
		return nil, err
	}
	user := r.Caller.Signed.User
	name := user.Federated(r.Name)
	if err := s.mayFederate(ctx, &r, name); err != nil {
		return nil, err
	}
	if err := r.exist(authority, user.Account); err != nil {
		return nil, err
	}
	claims, now, err := s.userClaims(sessiontoken.FederatedUser, &r.Caller, &r.Limits)
	if err != nil {
		return nil, err
	}
	claims.FederatedName, claims.Tags = r.Name, r.Tags
	claims.SessionPolicy, claims.SessionPolicyARNs = r.Policy, r.PolicyARNs
	keys, err := s.issue(ctx, &r.Caller, &claims, now, event.Event{
		Action: "sts.GetFederationToken", Account: user.Account, Target: name, Detail: userDetail(&claims, &r.Caller),
	})
	if err != nil {
		return nil, err
	}
	return &UserAnswer{
		Credentials: keys, FederatedUserID: user.Account + ":" + r.Name, FederatedUserARN: name, PackedPolicySize: sessiontoken.PackedSize(claims),
	}, nil
}

// beginUser takes long-term keys of an IAM user alone.
func (s *Service) beginUser(operation string, c *Caller) error {
	if err := signed(c); err != nil {
		return err
	}
	if c.Signed.Kind != access.User {
		return fault.Coded(fault.Denied, "AccessDenied", "Cannot call "+operation+" with session credentials")
	}
	if s.Access == nil {
		return errNotWired
	}
	return nil
}

func (s *Service) mayFederate(ctx context.Context, r *FederationRequest, name string) error {
	q := access.Question{Action: "sts:GetFederationToken", Resource: name, ResourceAccount: r.Caller.Signed.Account, Environment: s.environment(&r.Caller)}
	requestTags(&q.Context, r.Tags)
	actions := []string{q.Action}
	if len(r.Tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	for _, q.Action = range actions {
		if d := s.Access.Authorize(ctx, r.Caller.Signed, q); !d.Allow {
			return fault.Coded(fault.Denied, "AccessDenied",
				"User: "+r.Caller.Signed.ARN+" is not authorized to perform: "+q.Action+" on resource: "+name).WithCause(errors.New(d.Reason))
		}
	}
	return nil
}

// userClaims are the claims of temporary keys of a user.
func (s *Service) userClaims(kind sessiontoken.Kind, c *Caller, l *Limits) (sessiontoken.Claims, time.Time, error) {
	epoch, err := s.Revocations.Epoch()
	if err != nil {
		return sessiontoken.Claims{}, time.Time{}, err
	}
	duration := DefaultUserDuration
	if l.HasDuration {
		duration = l.Duration
	}
	now := s.Now()
	return sessiontoken.Claims{
		Kind: kind, User: c.Signed.User, UserID: c.Signed.IAMUser, SecretKey: secret.Random(32),
		IssuedAt: now.UTC().Truncate(time.Second), Expires: now.Add(duration).UTC().Truncate(time.Second), Epoch: epoch,
	}, now, nil
}

func userDetail(c *sessiontoken.Claims, caller *Caller) map[string]string {
	return map[string]string{
		"user": c.User.String(), "user_id": string(c.UserID), "expires": c.Expires.Format(time.RFC3339), "caller_access_key_id": caller.Signed.AccessKeyID,
	}
}
