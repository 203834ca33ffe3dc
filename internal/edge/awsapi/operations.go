package awsapi

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/sts"
)

// Each operation reads its parameters, refuses those it does not know, asks the
// authority, and writes the answer with AWS's names (STS API Reference).

// getCallerIdentity needs no permission and works despite a deny (STS API
// Reference).
func getCallerIdentity(c *call) ([]awsquery.Field, error) {
	if c.caller == nil {
		return nil, fault.Coded(fault.Unauthenticated, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	if err := c.parameters.Only(); err != nil {
		return nil, err
	}
	c.role = c.caller.ARN
	return []awsquery.Field{
		{Name: "Arn", Text: c.caller.ARN},
		{Name: "UserId", Text: c.caller.UserID},
		{Name: "Account", Text: c.caller.Account},
	}, nil
}

func (s *STS) assumeRoleWithSAML(r *http.Request, c *call) ([]awsquery.Field, error) {
	p := c.parameters
	if err := p.Only("RoleArn", "PrincipalArn", "SAMLAssertion", "PolicyArns", "PolicyArns.", "Policy", "DurationSeconds"); err != nil {
		return nil, err
	}
	limits, err := readLimits(p)
	if err != nil {
		return nil, err
	}
	request := sts.SAMLRequest{
		RoleARN: text(p, "RoleArn"), PrincipalARN: text(p, "PrincipalArn"), Assertion: secret.New(text(p, "SAMLAssertion")),
		Limits: limits, Caller: s.callerOf(r, c),
	}
	c.role = request.RoleARN
	if err := s.enter(r.Context(), s.slots); err != nil {
		return nil, err
	}
	defer func() { <-s.slots }()
	out, err := s.config.Authority.AssumeRoleWithSAML(r.Context(), request)
	if err != nil {
		return nil, err
	}
	return append([]awsquery.Field{
		{Name: "Subject", Text: out.Subject},
		{Name: "SubjectType", Text: out.SubjectType},
		{Name: "Issuer", Text: out.Issuer},
		{Name: "Audience", Text: out.Audience},
		{Name: "NameQualifier", Text: out.NameQualifier},
	}, roleFields(&out.RoleAnswer)...), nil
}

func (s *STS) assumeRoleWithWebIdentity(r *http.Request, c *call) ([]awsquery.Field, error) {
	p := c.parameters
	if err := p.Only("RoleArn", "RoleSessionName", "WebIdentityToken", "ProviderId", "PolicyArns", "PolicyArns.", "Policy", "DurationSeconds"); err != nil {
		return nil, err
	}
	limits, err := readLimits(p)
	if err != nil {
		return nil, err
	}
	request := sts.WebRequest{
		RoleARN: text(p, "RoleArn"), SessionName: text(p, "RoleSessionName"), Token: secret.New(text(p, "WebIdentityToken")),
		ProviderID: text(p, "ProviderId"), Limits: limits, Caller: s.callerOf(r, c),
	}
	c.role = request.RoleARN
	if err := s.enter(r.Context(), s.webSlots); err != nil {
		return nil, err
	}
	defer func() { <-s.webSlots }()
	out, err := s.config.Authority.AssumeRoleWithWebIdentity(r.Context(), request)
	if err != nil {
		return nil, err
	}
	return append([]awsquery.Field{
		{Name: "SubjectFromWebIdentityToken", Text: out.Subject},
		{Name: "Audience", Text: out.Audience},
		{Name: "Provider", Text: out.Provider},
	}, roleFields(&out.RoleAnswer)...), nil
}

func (s *STS) assumeRole(r *http.Request, c *call) ([]awsquery.Field, error) {
	p := c.parameters
	if err := p.Only("RoleArn", "RoleSessionName", "PolicyArns", "PolicyArns.", "Policy", "DurationSeconds", "Tags", "Tags.", "TransitiveTagKeys",
		"TransitiveTagKeys.", "ExternalId", "SerialNumber", "TokenCode", "SourceIdentity", "ProvidedContexts", "ProvidedContexts."); err != nil {
		return nil, err
	}
	request := sts.RoleRequest{RoleARN: text(p, "RoleArn"), SessionName: text(p, "RoleSessionName"), MFA: readMFA(p), Caller: s.callerOf(r, c)}
	c.role = request.RoleARN
	request.ExternalID, request.HasExternalID = p.Get("ExternalId")
	request.SourceIdentity, request.HasSourceIdentity = p.Get("SourceIdentity")
	var err error
	if request.Limits, err = readLimits(p); err != nil {
		return nil, err
	}
	if request.Tags, err = readTags(p); err != nil {
		return nil, err
	}
	if request.TransitiveTagKeys, err = readTexts(p, "TransitiveTagKeys", ""); err != nil {
		return nil, err
	}
	contexts, err := members(p, "ProvidedContexts", "ProviderArn", "ContextAssertion")
	if err != nil {
		return nil, err
	}
	request.ProvidedContexts = len(contexts)
	out, err := s.config.Authority.AssumeRole(r.Context(), request)
	if err != nil {
		return nil, err
	}
	return roleFields(out), nil
}

func (s *STS) getSessionToken(r *http.Request, c *call) ([]awsquery.Field, error) {
	p := c.parameters
	if err := p.Only("DurationSeconds", "SerialNumber", "TokenCode"); err != nil {
		return nil, err
	}
	request := sts.SessionRequest{MFA: readMFA(p), Caller: s.callerOf(r, c)}
	var err error
	if request.Limits, err = readLimits(p); err != nil {
		return nil, err
	}
	out, err := s.config.Authority.GetSessionToken(r.Context(), request)
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{credentialFields(out.Credentials)}, nil
}

func (s *STS) getFederationToken(r *http.Request, c *call) ([]awsquery.Field, error) {
	p := c.parameters
	if err := p.Only("Name", "PolicyArns", "PolicyArns.", "Policy", "DurationSeconds", "Tags", "Tags."); err != nil {
		return nil, err
	}
	request := sts.FederationRequest{Name: text(p, "Name"), Caller: s.callerOf(r, c)}
	var err error
	if request.Limits, err = readLimits(p); err != nil {
		return nil, err
	}
	if request.Tags, err = readTags(p); err != nil {
		return nil, err
	}
	out, err := s.config.Authority.GetFederationToken(r.Context(), request)
	if err != nil {
		return nil, err
	}
	fields := []awsquery.Field{
		credentialFields(out.Credentials),
		{Name: "FederatedUser", Fields: []awsquery.Field{
			{Name: "FederatedUserId", Text: out.FederatedUserID},
			{Name: "Arn", Text: out.FederatedUserARN},
		}},
	}
	return append(fields, packed(out.PackedPolicySize)...), nil
}

func roleFields(out *sts.RoleAnswer) []awsquery.Field {
	return append([]awsquery.Field{
		{Name: "SourceIdentity", Text: out.SourceIdentity},
		{Name: "AssumedRoleUser", Fields: []awsquery.Field{
			{Name: "AssumedRoleId", Text: out.AssumedRoleID},
			{Name: "Arn", Text: out.AssumedRoleARN},
		}},
		credentialFields(out.Credentials),
	}, packed(out.PackedPolicySize)...)
}

func credentialFields(k credential.Temporary) awsquery.Field {
	return awsquery.Field{Name: "Credentials", Fields: []awsquery.Field{
		{Name: "AccessKeyId", Text: k.AccessKeyID},
		{Name: "SecretAccessKey", Text: k.SecretAccessKey.Reveal()},
		{Name: "SessionToken", Text: k.SessionToken.Reveal()},
		{Name: "Expiration", Text: k.Expiration.UTC().Format(time.RFC3339)},
	}}
}

// packed is left out without session policies and tags, as at AWS.
func packed(percent int) []awsquery.Field {
	if percent == 0 {
		return nil
	}
	return []awsquery.Field{{Name: "PackedPolicySize", Text: strconv.Itoa(percent)}}
}

func text(p awsquery.Parameters, name string) string {
	v, _ := p.Get(name)
	return v
}

// readLimits reads session policies and duration, which most operations have.
func readLimits(p awsquery.Parameters) (l sts.Limits, err error) {
	l.Policy, l.HasPolicy = p.Get("Policy")
	if l.PolicyARNs, err = readTexts(p, "PolicyArns", "arn"); err != nil {
		return l, err
	}
	if v, ok := p.Get("DurationSeconds"); ok {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return l, fault.Coded(fault.Invalid, "ValidationError", fmt.Sprintf("DurationSeconds %q is not a number of seconds", clip(v)))
		}
		l.Duration, l.HasDuration = time.Duration(n)*time.Second, true
	}
	return l, nil
}

func readMFA(p awsquery.Parameters) (m sts.MFA) {
	m.SerialNumber, m.HasSerialNumber = p.Get("SerialNumber")
	m.TokenCode, m.HasTokenCode = p.Get("TokenCode")
	return m
}

// members reads a list of structures, and refuses what stands in one beside the
// named fields.
func members(p awsquery.Parameters, name string, fields ...string) ([]awsquery.Parameters, error) {
	list, err := p.Members(name)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if err := m.Only(fields...); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// readTexts reads a list of texts, or of structures of one text.
func readTexts(p awsquery.Parameters, name, field string) (out []string, err error) {
	list, err := members(p, name, field)
	for _, m := range list {
		out = append(out, text(m, field))
	}
	return out, err
}

func readTags(p awsquery.Parameters) (out []sessiontoken.Tag, err error) {
	list, err := members(p, "Tags", "Key", "Value")
	for _, m := range list {
		out = append(out, sessiontoken.Tag{Key: text(m, "Key"), Value: text(m, "Value")})
	}
	return out, err
}
