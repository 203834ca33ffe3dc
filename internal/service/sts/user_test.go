package sts_test

import (
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
)

func TestGetSessionToken(t *testing.T) {
	t.Parallel()
	w := newSigners(t)
	w.state.Users[0].Policies = nil // it needs no permission
	caller := sts.Caller{Signed: w.bob(t), Request: "REQ1"}
	out, err := w.service().GetSessionToken(t.Context(), sts.SessionRequest{Caller: caller})
	if err != nil {
		t.Fatal(err)
	}
	c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	if c.Kind != sessiontoken.UserSession || c.User.String() != bobARN || c.UserID != "AIDABOB" || !c.Expires.Equal(now.Add(12*time.Hour)) || c.Epoch != 42 || out.FederatedUserARN != "" {
		t.Errorf("%+v", c)
	}
	if e := w.recorded[0]; e.Action != "sts.GetSessionToken" || e.Target != bobARN || e.AccessKeyID != out.Credentials.AccessKeyID {
		t.Errorf("%+v", e)
	}
	for seconds, want := range map[int]string{899: "greater than or equal to 900", 900: "", 129600: "", 129601: "less than or equal to 129600"} {
		r := sts.SessionRequest{Caller: caller}
		r.HasDuration, r.Duration = true, time.Duration(seconds)*time.Second
		out, err := w.service().GetSessionToken(t.Context(), r)
		switch {
		case want == "" && (err != nil || !out.Credentials.Expiration.Equal(now.Add(r.Duration))):
			t.Errorf("%d seconds: %v", seconds, err)
		case want != "" && (err == nil || fault.Of(err).Code != "ValidationError" || !strings.Contains(fault.Of(err).Public, want)):
			t.Errorf("%d seconds: %v", seconds, err)
		}
	}
}

func TestGetFederationToken(t *testing.T) {
	t.Parallel()
	w := newSigners(t)
	r := sts.FederationRequest{Name: "visitor", Tags: []sessiontoken.Tag{{Key: "team", Value: "blue"}}, Caller: sts.Caller{Signed: w.bob(t)}}
	r.HasPolicy, r.Policy = true, `{"Version": "2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	r.PolicyARNs = []string{managedRead}
	out, err := w.service().GetFederationToken(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	if c.Kind != sessiontoken.FederatedUser || c.FederatedName != "visitor" || c.User.String() != bobARN || len(c.Tags) != 1 || c.SessionPolicy == "" || len(c.SessionPolicyARNs) != 1 ||
		!c.Expires.Equal(now.Add(12*time.Hour)) {
		t.Errorf("%+v", c)
	}
	if out.FederatedUserID != here+":visitor" || out.FederatedUserARN != "arn:aws:sts::111122223333:federated-user/visitor" || out.PackedPolicySize < 1 {
		t.Errorf("%+v", out)
	}
}

func TestGetFederationTokenNeedsItsPermission(t *testing.T) {
	t.Parallel()
	const tag = `["sts:GetFederationToken","sts:TagSession"]`
	for name, tc := range map[string]struct {
		own  iam.Policy
		tags bool
		want string // the action that is denied
	}{
		"none":                {allowed(`"s3:*"`, "*"), false, "sts:GetFederationToken"},
		"by name":             {allowed(`"sts:GetFederationToken"`, "arn:aws:sts::*:federated-user/vis*"), false, ""},
		"for another name":    {allowed(`"sts:GetFederationToken"`, "arn:aws:sts::*:federated-user/other"), false, "sts:GetFederationToken"},
		"tags without TagS.":  {allowed(`"sts:GetFederationToken"`, "*"), true, "sts:TagSession"},
		"tags with TagS.":     {allowed(tag, "*"), true, ""},
		"not needed, no tags": {allowed(`"sts:GetFederationToken"`, "*"), false, ""},
	} {
		w := newSigners(t)
		w.state.Users[0].Policies = []iam.Policy{tc.own}
		r := sts.FederationRequest{Name: "visitor", Caller: sts.Caller{Signed: w.bob(t)}}
		if tc.tags {
			r.Tags = []sessiontoken.Tag{{Key: "a", Value: "b"}}
		}
		_, err := w.service().GetFederationToken(t.Context(), r)
		want := "User: " + bobARN + " is not authorized to perform: " + tc.want + " on resource: arn:aws:sts::111122223333:federated-user/visitor"
		if f := fault.Of(err); (f == nil) != (tc.want == "") || f != nil && (f.Code != "AccessDenied" || f.Public != want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOnlyLongTermKeysGetTokens: neither operation can be called with keys that
// are temporary themselves.
func TestOnlyLongTermKeysGetTokens(t *testing.T) {
	t.Parallel()
	w := newSigners(t)
	for name, c := range map[string]access.Caller{
		"role session": w.session(t, nil), "user session": w.session(t, ofUser(sessiontoken.UserSession)), "federated user": w.session(t, ofUser(sessiontoken.FederatedUser)),
	} {
		caller := sts.Caller{Signed: c}
		_, err := w.service().GetSessionToken(t.Context(), sts.SessionRequest{Caller: caller})
		if f := fault.Of(err); f == nil || f.Code != "AccessDenied" || f.Public != "Cannot call GetSessionToken with session credentials" {
			t.Errorf("%s: %v", name, err)
		}
		_, err = w.service().GetFederationToken(t.Context(), sts.FederationRequest{Name: "visitor", Caller: caller})
		if f := fault.Of(err); f == nil || f.Code != "AccessDenied" || f.Public != "Cannot call GetFederationToken with session credentials" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUserRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change     func(*sts.FederationRequest)
		code, text string
	}{
		"unsigned":        {func(r *sts.FederationRequest) { r.Caller.Signed = access.Caller{} }, "MissingAuthenticationToken", ""},
		"no name":         {func(r *sts.FederationRequest) { r.Name = "" }, "ValidationError", "Value null at 'name'"},
		"name too short":  {func(r *sts.FederationRequest) { r.Name = "a" }, "ValidationError", "'name'"},
		"name too long":   {func(r *sts.FederationRequest) { r.Name = strings.Repeat("a", 33) }, "ValidationError", "less than or equal to 32"},
		"name characters": {func(r *sts.FederationRequest) { r.Name = "a/b" }, "ValidationError", "'name'"},
		"tag twice":       {func(r *sts.FederationRequest) { r.Tags = []sessiontoken.Tag{{Key: "a"}, {Key: "A"}} }, "InvalidParameterValue", "Duplicate tag keys"},
		"duration":        {func(r *sts.FederationRequest) { r.HasDuration, r.Duration = true, time.Second }, "ValidationError", "'durationSeconds'"},
		"policy":          {func(r *sts.FederationRequest) { r.HasPolicy, r.Policy = true, "{}" }, "MalformedPolicyDocument", ""},
		"managed policy":  {func(r *sts.FederationRequest) { r.PolicyARNs = []string{"arn:aws:iam::444455556666:policy/x"} }, "ValidationError", "no managed policy"},
		"eleven policies": {func(r *sts.FederationRequest) { r.PolicyARNs = make([]string, 11) }, "ValidationError", "'policyArns'"},
	} {
		w := newSigners(t)
		r := sts.FederationRequest{Name: "visitor", Caller: sts.Caller{Signed: w.bob(t)}}
		tc.change(&r)
		out, err := w.service().GetFederationToken(t.Context(), r)
		if f := fault.Of(err); err == nil || out != nil || f.Code != tc.code || !strings.Contains(f.Public, tc.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newSigners(t)
	r := sts.SessionRequest{Caller: sts.Caller{Signed: w.bob(t)}}
	r.HasTokenCode, r.TokenCode = true, "123456"
	if _, err := w.service().GetSessionToken(t.Context(), r); fault.Of(err).Code != "AccessDenied" {
		t.Errorf("a device: %v", err)
	}
}
