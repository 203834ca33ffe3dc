package sts

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
)

// AssumeRoleWithWebIdentity trades a verified ID token for the credentials of a
// role. The session is not capped by the token's end, as measured at AWS.
// Errors are faults with STS's codes.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, r WebRequest) (*WebAnswer, error) {
	x, err := s.beginWeb(&r)
	if err != nil {
		return nil, err
	}
	claims, provider, err := s.verifyToken(ctx, x, r.Token.Reveal())
	if err != nil {
		return nil, err
	}
	f, err := readWeb(claims)
	if err != nil {
		return nil, err
	}
	x.provider = provider.ARN
	x.sourceIdentity, x.tags, x.transitive = f.sourceIdentity, f.tags, f.transitive
	pinned, err := authorizedRole(claims, x.role)
	if err != nil {
		return nil, err
	}
	x.context.Set("sts:RoleAuthorizedByIdp", strconv.FormatBool(pinned))
	methods := webContext(&x.context, provider.Name, claims)
	role, err := x.trusted()
	if err != nil {
		return nil, err
	}
	duration, err := x.duration(role)
	if err != nil {
		return nil, err
	}
	// The epoch comes first: who is revoked while we look is refused by it.
	epoch, err := s.Revocations.Epoch()
	if err != nil {
		return nil, err
	}
	if err := s.ours(ctx, x, claims); err != nil {
		return nil, err
	}
	c := x.claims(role, x.now.Add(duration), epoch)
	c.Subject, c.Audience, c.Methods = claims.Subject, claims.Audience, methods
	detail := map[string]string{"issuer": claims.Issuer, "subject": claims.Subject, "audience": claims.Audience}
	if claims.ID != "" {
		detail["token"] = claims.ID
	}
	out, err := s.issueRole(ctx, x, c, detail)
	if err != nil {
		return nil, err
	}
	return &WebAnswer{RoleAnswer: out, Subject: claims.Subject, Audience: claims.Audience, Provider: provider.ARN}, nil
}

func (s *Service) beginWeb(r *WebRequest) (*exchange, error) {
	var c checks
	c.given("roleArn", r.RoleARN, 20, arn.MaxLength)
	c.givenName("roleSessionName", r.SessionName, 2, 64)
	c.given("webIdentityToken", r.Token.Reveal(), 4, oidc.MaxCharacters)
	c.policies(&r.Limits)
	c.duration(&r.Limits, s.MinDuration, MostDuration)
	if err := c.err(); err != nil {
		return nil, err
	}
	if r.ProviderID != "" {
		return nil, invalid("ProviderId %q names an OAuth 2.0 provider, of which this authority has none: leave it out for an ID token", clip(r.ProviderID))
	}
	role, err := roleARN(r.RoleARN)
	if err != nil {
		return nil, err
	}
	x, err := s.begin("AssumeRoleWithWebIdentity", role, &r.Limits, &r.Caller)
	if err != nil {
		return nil, err
	}
	x.sessionName = r.SessionName
	return x, nil
}

// verifyToken proves the ID token by the keys of the provider that IAM holds for
// its issuer, in the account of the role. An issuer that isn't there is never
// asked for anything.
func (s *Service) verifyToken(ctx context.Context, x *exchange, text string) (*oidc.Claims, *iam.OIDCProvider, error) {
	token, err := oidc.Parse(text)
	if err != nil {
		return nil, nil, identityFault("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token): " + fault.Of(err).Public)
	}
	issuer := token.ClaimedIssuer()
	if issuer == "" {
		return nil, nil, identityFault("Missing a required claim: iss")
	}
	provider, ok := x.authority.OIDCProvider(x.role.Account, issuer)
	if !ok || s.KeySets == nil {
		return nil, nil, identityFault("No OpenIDConnect provider found in your account for " + clip(issuer))
	}
	want := oidc.Expect{Issuer: provider.Issuer, Audiences: provider.ClientIDs, Skew: TokenSkew}
	keys, err := s.KeySets.Keys(ctx, provider.Issuer, false)
	if err != nil {
		return nil, nil, noKeys(err)
	}
	claims, err := token.Verify(keys, want, x.now)
	if fault.Of(err) != nil && fault.Of(err).Code == oidc.CheckKey {
		again, bad := s.KeySets.Keys(ctx, provider.Issuer, true)
		if bad != nil {
			return nil, nil, noKeys(bad)
		}
		if again != keys {
			claims, err = token.Verify(again, want, x.now)
		}
	}
	if err != nil {
		return nil, nil, explainToken(err)
	}
	return claims, provider, nil
}

// noKeys tells a provider that is away, which the SDKs try again, from one that
// publishes nothing of use.
func noKeys(err error) error {
	f := fault.Of(err)
	if f.Kind == fault.Unavailable {
		return fault.Coded(fault.Unavailable, "IDPCommunicationError", "The identity provider could not be reached to verify the token: "+f.Public).WithCause(err)
	}
	return identityFault("Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements: " + f.Public).WithCause(err)
}

// explainToken puts AWS's words before our verifier's.
func explainToken(err error) error {
	f := fault.Of(err)
	switch f.Code {
	case oidc.CheckExpired:
		return fault.Coded(fault.Expired, "ExpiredTokenException", "Token expired: "+f.Public).WithCause(err)
	case oidc.CheckAudience:
		return identityFault("Incorrect token audience: " + f.Public).WithCause(err)
	case oidc.CheckKey:
		return identityFault("Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements: " + f.Public).WithCause(err)
	case oidc.CheckSignature:
		return identityFault("Invalid signature: " + f.Public).WithCause(err)
	}
	return identityFault(f.Public).WithCause(err)
}

// The claims of an ID token that STS reads (IAM User Guide, "Pass session tags
// in AWS STS"). Session tags have two shapes; a token has them in one.
const (
	claimTags           = "https://aws.amazon.com/tags"
	claimTagPrefix      = claimTags + "/principal_tags/"
	claimTransitive     = claimTags + "/transitive_tag_keys"
	claimSourceIdentity = "https://aws.amazon.com/source_identity"
	claimRoles          = "https://aws.amazon.com/roles"
)

// readWeb takes AWS's claims from a verified ID token.
func readWeb(c *oidc.Claims) (*facts, error) {
	f := &facts{}
	if v, there := c.All()[claimSourceIdentity]; there {
		text, ok := v.(string)
		if !ok || !validSourceIdentity(text) {
			return nil, identityFault("The source identity claim must match [a-zA-Z_0-9+=,.@-]{2,64}")
		}
		f.sourceIdentity = text
	}
	nested, there := c.All()[claimTags]
	if there {
		if err := f.nestedTags(nested); err != nil {
			return nil, err
		}
	}
	if err := f.flatTags(c.All(), there); err != nil {
		return nil, err
	}
	slices.SortFunc(f.tags, func(a, b sessiontoken.Tag) int { return strings.Compare(a.Key, b.Key) })
	return f, f.checkTags()
}

// nestedTags reads {"principal_tags": {K: [V]}, "transitive_tag_keys": [K]}.
func (f *facts) nestedTags(v any) error {
	object, ok := v.(map[string]any)
	if !ok {
		return identityFault("Session tags passed in claim are not in correct format.")
	}
	if tags, there := object["principal_tags"]; there {
		members, ok := tags.(map[string]any)
		if !ok {
			return identityFault("principal_tags passed in claim is not in correct format.")
		}
		for key, value := range members {
			if err := f.addTag(key, value); err != nil {
				return err
			}
		}
	}
	if keys, there := object["transitive_tag_keys"]; there {
		return f.addTransitive(keys)
	}
	return nil
}

// flatTags reads one claim for each tag, as providers write it that can't nest.
func (f *facts) flatTags(all map[string]any, nested bool) error {
	for name, value := range all {
		key, isTag := strings.CutPrefix(name, claimTagPrefix)
		switch {
		case !isTag && name != claimTransitive:
			continue
		case nested:
			return identityFault("Session tags passed in claim are not in correct format: they stand in two shapes.")
		case isTag:
			if err := f.addTag(key, value); err != nil {
				return err
			}
		default:
			if err := f.addTransitive(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// addTag takes a tag whose value is a text or a list of one text.
func (f *facts) addTag(key string, value any) error {
	values, ok := oidc.Texts(value)
	if !ok || len(values) != 1 {
		return identityFault("principal_tags passed in claim is not in correct format: " + strconv.Quote(clip(key)) + " must have exactly one value")
	}
	f.tags = append(f.tags, sessiontoken.Tag{Key: key, Value: values[0]})
	return nil
}

func (f *facts) addTransitive(v any) error {
	keys, ok := oidc.Texts(v)
	if !ok {
		return identityFault("transitive_tag_keys passed in claim is not in correct format.")
	}
	f.transitive = append(f.transitive, keys...)
	return nil
}

// checkTags holds tags of an ID token to the rules of all session tags.
func (f *facts) checkTags() error {
	var c checks
	c.tags(f.tags, f.transitive)
	err := c.err()
	if err == nil {
		err = uniqueTags(f.tags, f.transitive)
	}
	if err != nil {
		return identityFault("Session tags passed in claim are not acceptable: " + fault.Of(err).Public)
	}
	return nil
}

// authorizedRole enforces the roles claim before any trust policy is asked:
// where it stands, the role must be one of those it lists, letter for letter. A
// token without it is pinned to no role.
func authorizedRole(c *oidc.Claims, role arn.Role) (pinned bool, err error) {
	v, there := c.All()[claimRoles]
	if !there || v == nil {
		return false, nil
	}
	var listed []string
	switch v := v.(type) {
	case string:
		listed = strings.Split(v, ";")
	case []any:
		for _, item := range v {
			if text, ok := item.(string); ok {
				listed = append(listed, text)
			}
		}
	default:
		return false, identityFault("The roles claim is not in a supported format")
	}
	valid := false
	for _, text := range listed {
		named, err := arn.ParseRole(strings.TrimSpace(text))
		if err != nil || strings.ContainsAny(text, "*?") {
			continue
		}
		if valid = true; named == role {
			return true, nil
		}
	}
	if !valid {
		return false, identityFault("The roles claim contains no valid role ARNs")
	}
	return false, identityFault("The target role ARN is not present in the roles claim of the identity token")
}

// webContext is what a trust policy may ask of an ID token, under the name of
// its issuer (IAM User Guide, "Available keys for AWS OIDC federation"). It
// gives amr, which stays in the session.
func webContext(ctx *policy.Context, issuer string, c *oidc.Claims) (methods []string) {
	ctx.Set(issuer+":aud", c.Audience)
	ctx.Set(issuer+":oaud", c.Audiences...)
	ctx.Set(issuer+":sub", c.Subject)
	if methods, _ = oidc.Texts(c.All()["amr"]); len(methods) > 0 {
		ctx.Set(issuer+":amr", methods...)
	}
	if mail, ok := c.All()["email"].(string); ok && mail != "" {
		ctx.Set(issuer+":email", mail)
	}
	return methods
}
