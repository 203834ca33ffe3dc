package sts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
)

// AssumeRoleWithSAML trades a verified assertion for the credentials of one of
// the roles it names. Errors are faults with STS's codes.
func (s *Service) AssumeRoleWithSAML(ctx context.Context, r SAMLRequest) (*SAMLAnswer, error) {
	role, provider, err := s.checkRequest(&r)
	if err != nil {
		return nil, err
	}
	if r.HasPolicy {
		document, err := policy.Parse(policy.Session, "session-policy", []byte(r.Policy))
		if err != nil {
			return nil, err
		}
		if err := iam.CheckSupplied(document); err != nil {
			return nil, err
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(r.Policy)); err != nil {
			return nil, err
		}
		r.Policy = compact.String()
	}
	authority, err := s.IAM.Current()
	if err != nil {
		return nil, err
	}
	now := s.Now()
	a, err := s.verify(authority, provider, r.Assertion, now)
	if err != nil {
		return nil, err
	}
	facts, err := s.read(a, provider)
	if err != nil {
		return nil, err
	}
	pairs, err := s.pairs(ctx, a)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(pairs, func(p saml.RolePair) bool { return p.Role == role && p.Provider == provider }) {
		return nil, deny("sts:AssumeRoleWithSAML", "the assertion does not name this role with this provider")
	}
	target, err := trusting(authority, role, provider, a, facts, &r.Caller, now)
	if err != nil {
		return nil, err
	}
	expires, err := s.end(&r, target, a, facts, now)
	if err != nil {
		return nil, err
	}
	// The epoch comes first: who is revoked while we look is refused by it.
	epoch, err := s.Revocations.Epoch()
	if err != nil {
		return nil, err
	}
	if err := s.identify(ctx, &r.Caller, Claim{EntityID: a.Issuer, NameID: a.NameID, SessionName: facts.sessionName, Role: target.ARN, Assertion: a}); err != nil {
		return nil, err
	}
	return s.issue(ctx, &r, target, a, facts, epoch, now, expires)
}

// identify puts the person behind the assertion into the claims to come,
// whoever sent it. What the broker says must agree.
func (s *Service) identify(ctx context.Context, c *Caller, said Claim) error {
	if s.Subjects == nil {
		return nil
	}
	person, err := s.Subjects.Subject(ctx, said)
	if errors.Is(err, fault.New(fault.Denied, "")) {
		return fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML").WithCause(err)
	}
	if err != nil {
		return err
	}
	if c.Person != "" && c.Person != person {
		return fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML").
			WithCause(errors.New("the assertion speaks of another person than the login session"))
	}
	c.Person = person
	return nil
}

// pairs gives the roles that an assertion names, and those that Carnet derives
// from it for an identity provider that can't name roles.
func (s *Service) pairs(ctx context.Context, a *saml.Assertion) ([]saml.RolePair, error) {
	named, _ := saml.RolePairs(a)
	if s.Subjects == nil {
		return named, nil
	}
	derived, err := s.Subjects.Pairs(ctx, a.Issuer, a)
	if err != nil {
		return nil, err
	}
	return append(named, derived...), nil
}

// deny is the one text of every denial; why is for the log.
func deny(action, why string) error {
	return fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform "+action).WithCause(errors.New(why))
}

func invalid(format string, args ...any) error {
	return fault.Coded(fault.Invalid, "ValidationError", fmt.Sprintf(format, args...))
}

// checkRequest holds the parameters to their shapes, in AWS's words.
func (s *Service) checkRequest(r *SAMLRequest) (role arn.Role, provider arn.SAMLProvider, err error) {
	var wrong []string
	length := func(name, value string, least, most int) {
		if n := len(value); n < least {
			wrong = append(wrong, fmt.Sprintf("Value at '%s' failed to satisfy constraint: Member must have length greater than or equal to %d", name, least))
		} else if n > most {
			wrong = append(wrong, fmt.Sprintf("Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", name, most))
		}
	}
	length("roleArn", r.RoleARN, 20, 2048)
	length("principalArn", r.PrincipalARN, 20, 2048)
	length("sAMLAssertion", r.Assertion.Reveal(), 4, saml.MaxSTSCharacters)
	all := len(r.Policy)
	if r.HasPolicy {
		length("policy", r.Policy, 1, 2048)
	}
	for _, a := range r.PolicyARNs {
		length("policyArns", a, 20, 2048)
		all += len(a)
	}
	if len(r.PolicyARNs) > 10 {
		wrong = append(wrong, "Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to 10")
	}
	if r.HasDuration && r.Duration < s.MinDuration {
		wrong = append(wrong, fmt.Sprintf("Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to %d", int64(r.Duration/time.Second), int64(s.MinDuration/time.Second)))
	}
	if r.HasDuration && r.Duration > MostDuration {
		wrong = append(wrong, fmt.Sprintf("Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to %d", int64(r.Duration/time.Second), int64(MostDuration/time.Second)))
	}
	if len(wrong) > 0 {
		errors := "errors"
		if len(wrong) == 1 {
			errors = "error"
		}
		return role, provider, invalid("%d validation %s detected: %s", len(wrong), errors, strings.Join(wrong, "; "))
	}
	if role, err = arn.ParseRole(r.RoleARN); err != nil {
		return role, provider, invalid("Request ARN is invalid: %s", err)
	}
	if provider, err = arn.ParseSAMLProvider(r.PrincipalARN); err != nil {
		return role, provider, invalid("Principal ARN is invalid: %s", err)
	}
	if all > 2048 {
		return role, provider, fault.Coded(fault.TooLarge, "PackedPolicyTooLarge", "The session policy and the ARNs of managed session policies have more than 2048 characters together.")
	}
	if len(r.PolicyARNs) > 0 {
		// A managed policy that isn't there must not be read as no limit.
		return role, provider, invalid("PolicyArns: there is no managed policy %q in this authority", r.PolicyARNs[0])
	}
	return role, provider, nil
}

// verify proves the assertion against the provider that IAM holds.
func (s *Service) verify(authority *iam.Snapshot, name arn.SAMLProvider, assertion secret.Text, now time.Time) (*saml.Assertion, error) {
	provider, ok := authority.Provider(name)
	if !ok {
		return nil, identityFault("Specified provider doesn't exist")
	}
	raw, err := saml.Decode(assertion.Reveal(), 0)
	if err != nil {
		return nil, identityFault("Invalid base64 SAMLResponse").WithCause(err)
	}
	want := saml.STSExpect{Skew: Skew, Decrypt: provider.Decrypter, RequireEncrypted: provider.RequireEncrypted}
	if s.Expect != nil {
		if issuer, err := saml.ClaimedIssuer(raw, 0); err == nil { // else the verifier says why
			want = s.Expect(issuer, want)
		}
	}
	a, err := saml.VerifyForSTS(raw, provider.Metadata, want, now)
	if err != nil {
		return nil, explain(err)
	}
	if now.Sub(a.IssueInstant) > Redemption {
		return nil, fault.Coded(fault.Expired, "ExpiredTokenException", "Token must be redeemed within 5 minutes of issuance")
	}
	return a, nil
}

func identityFault(text string) *fault.Fault {
	return fault.Coded(fault.Unauthenticated, "InvalidIdentityToken", text)
}

// explain puts AWS's words before our verifier's. Its public text names the
// check and holds nothing of the response beyond what the sender knows.
func explain(err error) error {
	f := fault.Of(err)
	if f.Kind == fault.Internal {
		return err
	}
	switch f.Code {
	case saml.CheckExpired, saml.CheckConfirmationTime, saml.CheckLoginSessionEnded:
		return fault.Coded(fault.Expired, "ExpiredTokenException", "Response has expired: "+f.Public).WithCause(err)
	case saml.CheckIssuer:
		return identityFault("Issuer not present in specified provider: " + f.Public).WithCause(err)
	case saml.CheckSubject:
		return fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML: "+f.Public).WithCause(err)
	case saml.CheckSignature, saml.CheckUnsigned, saml.CheckSignaturePlace, saml.CheckSignatureShape, saml.CheckAlgorithm, saml.CheckCertificate:
		return identityFault("Response signature invalid: " + f.Public).WithCause(err)
	}
	return identityFault("SAMLResponse is not acceptable: " + f.Public).WithCause(err)
}

// facts is what STS takes from an assertion beyond its own fields.
type facts struct {
	sessionName    string
	sourceIdentity string
	duration       time.Duration // SessionDuration; 0 when absent
	tags           []sessiontoken.Tag
	transitive     []string
	subjectType    string
	nameQualifier  string
}

// trusting finds the role and asks its trust policy. Whatever is missing, the
// answer is the same; the cause is for the log.
func trusting(authority *iam.Snapshot, name arn.Role, provider arn.SAMLProvider, a *saml.Assertion, f *facts, c *Caller, now time.Time) (*iam.Role, error) {
	const assume = "sts:AssumeRoleWithSAML"
	role, ok := authority.Role(name)
	if !ok {
		return nil, deny(assume, "there is no role "+name.String())
	}
	if provider.Account != name.Account || provider.Partition != name.Partition {
		return nil, deny(assume, "role and provider are of different accounts")
	}
	actions := []string{assume}
	if len(f.tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if f.sourceIdentity != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	request := policy.Request{
		Principal: policy.Principal{Provider: provider.String()},
		Resource:  name.String(), ResourceAccount: name.Account,
		Context: trustContext(role, provider, a, f, c, now),
	}
	for _, action := range actions {
		request.Action = action
		if role.Trust.Trusts(&request).Allow {
			continue
		}
		return nil, deny(action, "the trust policy of "+name.String()+" does not allow it: "+unmet(role.Trust.ExplainTrust(&request)))
	}
	return role, nil
}

// unmet tells in one line why no statement of a trust policy allows.
func unmet(e policy.Explanation) string {
	if e.Explicit {
		return "explicit deny in " + e.Cites()
	}
	var out []string
	for _, f := range e.Findings {
		if !f.Deny {
			out = append(out, f.Statement+": "+strings.Join(f.Unmet, ", "))
		}
	}
	return strings.Join(out, "; ")
}

// end is when the role session ends: what is asked for, and never later than
// the assertion lets it.
func (s *Service) end(r *SAMLRequest, role *iam.Role, a *saml.Assertion, f *facts, now time.Time) (time.Time, error) {
	duration := DefaultDuration
	if r.HasDuration {
		duration = r.Duration
	}
	if duration > role.MaxSession {
		return time.Time{}, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if f.duration > 0 {
		duration = min(duration, f.duration)
	}
	expires := now.Add(duration)
	if end := a.SessionNotOnOrAfter; !end.IsZero() && end.Before(expires) {
		expires = end
	}
	expires = expires.UTC().Truncate(time.Second)
	if !now.Before(expires) {
		return time.Time{}, fault.Coded(fault.Expired, "ExpiredTokenException", "Response has expired: the identity provider's session is over")
	}
	return expires, nil
}

// issue makes the credentials and records that it did.
func (s *Service) issue(ctx context.Context, r *SAMLRequest, role *iam.Role, a *saml.Assertion, f *facts, epoch uint64, now, expires time.Time) (*SAMLAnswer, error) {
	claims := sessiontoken.Claims{
		Role: role.ARN, RoleID: role.ID, SessionName: f.sessionName, SecretKey: secret.Random(32),
		IssuedAt: now.UTC().Truncate(time.Second), Expires: expires, Epoch: epoch,
		Person: r.Caller.Person, LoginSession: r.Caller.LoginSession,
		SourceIdentity: f.sourceIdentity, Tags: f.tags, TransitiveTagKeys: f.transitive,
		Provider: r.PrincipalARN, Subject: a.NameID, SubjectType: f.subjectType, NameQualifier: f.nameQualifier,
		SessionPolicy: r.Policy,
	}
	id := identity.NewAccessKeyID()
	token, err := sessiontoken.Seal(s.Keys, id, claims)
	if err != nil {
		return nil, err
	}
	// What leaves is opened once as any checker would.
	if _, err := sessiontoken.Open(s.Keys, id, token, now); err != nil {
		return nil, fmt.Errorf("sts: a fresh session token does not open: %w", err)
	}
	if err := s.record(ctx, r, &claims, id, a); err != nil {
		return nil, err
	}
	return &SAMLAnswer{
		Credentials: credential.Temporary{
			AccessKeyID: id, SecretAccessKey: claims.SecretKey, SessionToken: token, Expiration: expires,
		},
		AssumedRoleID:    string(role.ID) + ":" + f.sessionName,
		AssumedRoleARN:   role.ARN.AssumedRole(f.sessionName),
		PackedPolicySize: sessiontoken.PackedSize(claims),
		Subject:          a.NameID, SubjectType: f.subjectType, Issuer: a.Issuer, Audience: a.Recipient,
		NameQualifier: f.nameQualifier, SourceIdentity: f.sourceIdentity,
	}, nil
}

func (s *Service) record(ctx context.Context, r *SAMLRequest, c *sessiontoken.Claims, id string, a *saml.Assertion) error {
	if s.Trail == nil {
		return nil
	}
	e := event.Event{
		At: s.Now(), Action: "sts.AssumeRoleWithSAML", Outcome: event.Done,
		Person: c.Person, LoginSession: c.LoginSession, Request: r.Caller.Request,
		Account: c.Role.Account, Role: c.Role.String(), AccessKeyID: id, Target: c.Role.AssumedRole(c.SessionName),
		Detail: map[string]string{
			"assertion": a.ID, "issuer": a.Issuer, "subject": a.NameID, "role_id": string(c.RoleID),
			"expires": c.Expires.Format(time.RFC3339),
		},
	}
	if r.Caller.Source.IsValid() {
		e.Source = r.Caller.Source.String()
	}
	return s.Trail.Record(ctx, e)
}
