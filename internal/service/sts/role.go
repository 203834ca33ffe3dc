package sts

import (
	"context"
	"errors"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
)

// AssumeRole gives a signed caller the credentials of a role whose trust policy
// admits them. Errors are faults with STS's codes.
func (s *Service) AssumeRole(ctx context.Context, r RoleRequest) (*RoleAnswer, error) {
	if s.Access == nil {
		return nil, errNotWired
	}
	x, err := s.beginRole(&r)
	if err != nil {
		return nil, err
	}
	chained := r.Caller.Signed.Kind == access.RoleSession
	if err := x.inherit(&r.Caller.Signed); err != nil {
		return nil, err
	}
	if r.HasExternalID {
		x.context.Set("sts:ExternalId", r.ExternalID)
	}
	// The epoch comes first: whoever is revoked after it gets keys that are
	// refused, whoever was before it is not admitted.
	epoch, err := s.Revocations.Epoch()
	if err != nil {
		return nil, err
	}
	role, err := s.admitted(ctx, x)
	if err != nil {
		return nil, err
	}
	if chained && r.HasDuration && r.Duration > MostChained {
		return nil, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	duration, err := x.duration(role)
	if err != nil {
		return nil, err
	}
	// Whoever the calling session belongs to, this one does too. Of one that was
	// made for a node it has the end as well: that is not past the attachment's.
	from := &r.Caller.Signed
	r.Caller.OwnSubject = OwnSubject{Person: from.Person, LoginSession: from.LoginSession, ServicePrincipal: from.ServicePrincipal, Delegation: from.Delegation, OnNode: from.OnNode}
	if !from.OnNode.IsZero() {
		r.Caller.Ends = from.Expires
	}
	claims := x.claims(role, x.now.Add(duration), epoch)
	claims.Chained = chained
	out, err := s.issueRole(ctx, x, claims, map[string]string{"caller": r.Caller.Signed.ARN, "caller_access_key_id": r.Caller.Signed.AccessKeyID})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func (s *Service) beginRole(r *RoleRequest) (*exchange, error) {
	if err := signed(&r.Caller); err != nil {
		return nil, err
	}
	var c checks
	c.given("roleArn", r.RoleARN, 20, arn.MaxLength)
	c.givenName("roleSessionName", r.SessionName, 2, 64)
	c.policies(&r.Limits)
	c.duration(&r.Limits, s.MinDuration, MostDuration)
	c.tags(r.Tags, r.TransitiveTagKeys)
	c.mfa(&r.MFA)
	if r.HasExternalID {
		c.pattern("externalId", r.ExternalID, 2, 1224, externalCharacters)
	}
	if r.HasSourceIdentity {
		c.pattern("sourceIdentity", r.SourceIdentity, 2, 64, nameCharacters)
	}
	if r.ProvidedContexts > 5 {
		c.add("", "providedContexts", "have length less than or equal to 5")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := uniqueTags(r.Tags, r.TransitiveTagKeys); err != nil {
		return nil, err
	}
	switch {
	case r.HasSourceIdentity && !validSourceIdentity(r.SourceIdentity):
		return nil, invalid("SourceIdentity can't begin with aws:")
	case r.ProvidedContexts > 0:
		return nil, invalid("ProvidedContexts: this authority has no context provider")
	}
	if err := r.MFA.refuse(); err != nil {
		return nil, err
	}
	role, err := roleARN(r.RoleARN)
	if err != nil {
		return nil, err
	}
	x, err := s.begin("AssumeRole", role, &r.Limits, &r.Caller)
	if err != nil {
		return nil, err
	}
	x.sessionName, x.sourceIdentity, x.tags, x.transitive = r.SessionName, r.SourceIdentity, r.Tags, r.TransitiveTagKeys
	return x, nil
}

func signed(c *Caller) error {
	if c.Signed.Kind == access.Nobody {
		return fault.Coded(fault.Unauthenticated, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	return nil
}

// refuse answers a code of a device: IAM users have none here.
func (m *MFA) refuse() error {
	if !m.HasSerialNumber && !m.HasTokenCode {
		return nil
	}
	return fault.Coded(fault.Denied, "AccessDenied",
		"MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.").
		WithMend("users of this authority have no devices: people sign in at an identity provider, which asks for a second factor")
}

// inherit takes over what a chain of role sessions must not lose: transitive
// tags, which can't be set again, and the source identity, which can't change
// (IAM User Guide, "Chaining roles with session tags").
func (x *exchange) inherit(c *access.Caller) error {
	if c.SourceIdentity != "" {
		if x.sourceIdentity != "" && x.sourceIdentity != c.SourceIdentity {
			return x.refuse("sts:SetSourceIdentity", "the calling session has another source identity, which can't change")
		}
		x.sourceIdentity = c.SourceIdentity
	}
	for _, key := range c.TransitiveTagKeys {
		same := func(t sessiontoken.Tag) bool { return strings.EqualFold(t.Key, key) }
		if slices.ContainsFunc(x.tags, same) {
			return invalid("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
		i := slices.IndexFunc(c.Tags, same)
		if i < 0 {
			continue // a session token holds no transitive key without its tag
		}
		x.tags = append(slices.Clip(x.tags), c.Tags[i])
		x.transitive = append(slices.Clip(x.transitive), key)
	}
	if len(x.tags) > maxTags {
		return invalid("The session would have %d tags with those of the calling session, more than %d", len(x.tags), maxTags)
	}
	return nil
}

// refuse is the denial of a signed caller, in AWS's words; why is for the log.
func (x *exchange) refuse(action, why string) error {
	return fault.Coded(fault.Denied, "AccessDenied",
		"User: "+x.caller.Signed.ARN+" is not authorized to perform: "+action+" on resource: "+x.role.String()).WithCause(errors.New(why))
}

// admitted asks the caller's own policies and the trust policy together, as for
// any resource with a policy. Whatever is missing, the answer is the same.
func (s *Service) admitted(ctx context.Context, x *exchange) (*iam.Role, error) {
	role, ok := x.authority.Role(x.role)
	if !ok {
		return nil, x.refuse(x.action(), "there is no role "+x.role.String())
	}
	q := access.Question{
		Resource: x.role.String(), ResourceAccount: x.role.Account, ResourcePolicy: role.Trust, Context: x.context.Clone(), Environment: s.environment(x.caller),
	}
	x.common(&q.Context, role)
	for _, q.Action = range x.actions() {
		if d := s.Access.Authorize(ctx, x.caller.Signed, q); !d.Allow {
			return nil, x.refuse(q.Action, d.Reason)
		}
	}
	return role, nil
}

// environment is what a signed request shows of itself.
func (s *Service) environment(c *Caller) access.Environment {
	return access.Environment{SourceIP: c.Source, Secure: c.Secure, UserAgent: c.UserAgent, Now: s.Now(), RequestID: c.Request}
}
