package sts

import (
	"context"
	"errors"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/iam"
)

// AssumeRoleWithSAML trades a verified assertion for the credentials of one of
// the roles it names. Errors are faults with STS's codes.
func (s *Service) AssumeRoleWithSAML(ctx context.Context, r SAMLRequest) (*SAMLAnswer, error) {
	x, provider, err := s.beginSAML(&r)
	if err != nil {
		return nil, err
	}
	a, err := s.verify(x.authority, provider, r.Assertion, x.now)
	if err != nil {
		return nil, err
	}
	f, err := s.read(a, provider)
	if err != nil {
		return nil, err
	}
	x.sessionName, x.sourceIdentity, x.tags, x.transitive = f.sessionName, f.sourceIdentity, f.tags, f.transitive
	if err := s.named(ctx, x, a, provider); err != nil {
		return nil, err
	}
	f.context(&x.context, a, provider)
	role, err := x.trusted()
	if err != nil {
		return nil, err
	}
	expires, err := x.end(role, a, f)
	if err != nil {
		return nil, err
	}
	// The epoch comes first: who is revoked while we look is refused by it.
	epoch, err := s.Revocations.Epoch()
	if err != nil {
		return nil, err
	}
	if err := s.identify(ctx, x.caller, Claim{EntityID: a.Issuer, NameID: a.NameID, SessionName: f.sessionName, Role: role.ARN, Assertion: a}); err != nil {
		return nil, err
	}
	claims := x.claims(role, expires, epoch)
	claims.Subject, claims.SubjectType, claims.NameQualifier = a.NameID, f.subjectType, f.nameQualifier
	out, err := s.issueRole(ctx, x, claims, map[string]string{"assertion": a.ID, "issuer": a.Issuer, "subject": a.NameID})
	if err != nil {
		return nil, err
	}
	return &SAMLAnswer{
		RoleAnswer: out, Subject: a.NameID, SubjectType: f.subjectType, Issuer: a.Issuer, Audience: a.Recipient, NameQualifier: f.nameQualifier,
	}, nil
}

// beginSAML holds the parameters to their shapes.
func (s *Service) beginSAML(r *SAMLRequest) (*exchange, arn.SAMLProvider, error) {
	var c checks
	c.given("roleArn", r.RoleARN, 20, arn.MaxLength)
	c.given("principalArn", r.PrincipalARN, 20, arn.MaxLength)
	c.given("sAMLAssertion", r.Assertion.Reveal(), 4, saml.MaxSTSCharacters)
	c.policies(&r.Limits)
	c.duration(&r.Limits, s.MinDuration, MostDuration)
	if err := c.err(); err != nil {
		return nil, arn.SAMLProvider{}, err
	}
	role, err := roleARN(r.RoleARN)
	if err != nil {
		return nil, arn.SAMLProvider{}, err
	}
	provider, err := arn.ParseSAMLProvider(r.PrincipalARN)
	if err != nil {
		return nil, provider, invalid("Principal ARN is invalid: %s", err)
	}
	x, err := s.begin("AssumeRoleWithSAML", role, &r.Limits, &r.Caller)
	if err != nil {
		return nil, provider, err
	}
	x.provider = provider.String()
	return x, provider, nil
}

// begin opens an exchange for one role.
func (s *Service) begin(operation string, role arn.Role, limits *Limits, caller *Caller) (*exchange, error) {
	if err := limits.sizes(); err != nil {
		return nil, err
	}
	authority, err := s.IAM.Current()
	if err != nil {
		return nil, err
	}
	if err := limits.compact(role.Account); err != nil {
		return nil, err
	}
	return &exchange{operation: operation, role: role, limits: limits, caller: caller, authority: authority, now: s.Now()}, nil
}

// named refuses a role that the assertion does not name with this provider, and
// that Carnet does not derive from it either.
func (s *Service) named(ctx context.Context, x *exchange, a *saml.Assertion, provider arn.SAMLProvider) error {
	pairs, _ := saml.RolePairs(a)
	if s.Subjects != nil {
		derived, err := s.Subjects.Pairs(ctx, a.Issuer, a)
		if err != nil {
			return err
		}
		pairs = append(pairs, derived...)
	}
	if !slices.ContainsFunc(pairs, func(p saml.RolePair) bool { return p.Role == x.role && p.Provider == provider }) {
		return deny(x.action(), "the assertion does not name this role with this provider")
	}
	if provider.Account != x.role.Account || provider.Partition != x.role.Partition {
		return deny(x.action(), "role and provider are of different accounts")
	}
	return nil
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
		return deny("sts:AssumeRoleWithSAML", "the assertion speaks of another person than the login session")
	}
	c.Person = person
	return nil
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
		want = s.Expect(provider.Metadata.EntityID, want) // what the response claims may be anybody's
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
	case saml.CheckStatus:
		return fault.Coded(fault.Denied, "IDPRejectedClaim", "The identity provider reported that authentication failed: "+f.Public).WithCause(err)
	case saml.CheckIssuer:
		return identityFault("Issuer not present in specified provider: " + f.Public).WithCause(err)
	case saml.CheckSubject:
		return fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML: "+f.Public).WithCause(err)
	case saml.CheckSignature, saml.CheckUnsigned, saml.CheckSignaturePlace, saml.CheckSignatureShape, saml.CheckAlgorithm, saml.CheckCertificate:
		return identityFault("Response signature invalid: " + f.Public).WithCause(err)
	}
	return identityFault("SAMLResponse is not acceptable: " + f.Public).WithCause(err)
}

// end is when the role session ends: what is asked for, and never later than
// the assertion lets it.
func (x *exchange) end(role *iam.Role, a *saml.Assertion, f *facts) (time.Time, error) {
	duration, err := x.duration(role)
	if err != nil {
		return time.Time{}, err
	}
	if f.duration > 0 {
		duration = min(duration, f.duration)
	}
	expires := x.now.Add(duration)
	if end := a.SessionNotOnOrAfter; !end.IsZero() && end.Before(expires) {
		expires = end
	}
	expires = expires.UTC().Truncate(time.Second)
	if !x.now.Before(expires) {
		return time.Time{}, fault.Coded(fault.Expired, "ExpiredTokenException", "Response has expired: the identity provider's session is over")
	}
	return expires, nil
}
