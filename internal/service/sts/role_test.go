package sts_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
)

const (
	here, there = "111122223333", "444455556666"
	metaARN     = "arn:aws:iam::111122223333:role/meta"
	dataARN     = "arn:aws:iam::111122223333:role/data"
	farARN      = "arn:aws:iam::444455556666:role/far"
	bobARN      = "arn:aws:iam::111122223333:user/bob"
	bobKey      = "AKIA2222222222222222"
	metaKey     = "ASIA2222222222222222"
)

// plain seals nothing: what it protects is made up.
type plain struct{}

func (plain) Seal(_ string, _, p []byte) ([]byte, error) { return p, nil }
func (plain) Open(_ string, _, p []byte) ([]byte, error) { return p, nil }

// signers is a world of signed callers: a user, a role of jobs (meta), and
// roles to be assumed, in the same account and in another.
type signers struct {
	*world
	may *access.Access
}

func (w *signers) Current() (*iam.Snapshot, error) {
	return iam.CompileSealed(w.state, []iam.Account{{ID: here}, {ID: there}}, plain{}), nil
}

func allowed(action, resource string) iam.Policy {
	return iam.Policy{Name: "own", Document: fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":%s,"Resource":%q}}`, action, resource)}
}

func trusts2(principal, actions, condition string) iam.Policy {
	return iam.Policy{Name: "trust", Document: fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":%q},"Action":%s,"Condition":{%s}}}`, principal, actions, condition)}
}

const all3 = `["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`

func newSigners(t testing.TB) *signers {
	t.Helper()
	w := &signers{world: newWorld(t)}
	w.state = iam.State{
		Users:      []iam.UserRecord{{ID: "AIDABOB", Account: here, Path: "/", Name: "bob", Policies: []iam.Policy{allowed(`"sts:*"`, "*")}}},
		AccessKeys: []iam.AccessKeyRecord{{ID: bobKey, Account: here, User: "AIDABOB", Sealed: []byte("long"), Active: true}},
		Roles: []iam.RoleRecord{
			{ID: "AROAMETA", Account: here, Path: "/", Name: "meta", MaxSession: time.Hour, Trust: trusts2(here, `"sts:AssumeRole"`, ""), Policies: []iam.Policy{allowed(`"sts:*"`, "*")}},
			{ID: "AROADATA", Account: here, Path: "/", Name: "data", MaxSession: 4 * time.Hour, Trust: trusts2(here, all3, ""), Tags: map[string]string{"stage": "prod"}},
			{ID: "AROAFAR", Account: there, Path: "/", Name: "far", MaxSession: 4 * time.Hour, Trust: trusts2(here, all3, "")},
		},
	}
	w.may = access.New(access.Config{Authority: w, Keys: ring{}, Revocations: w, StaticKeys: true, Region: "us-east-1", Now: func() time.Time { return w.now }})
	return w
}

func (w *signers) service() *sts.Service {
	return sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: w, Access: w.may, Trail: w, Now: func() time.Time { return w.now }})
}

func (w *signers) bob(t testing.TB) access.Caller {
	t.Helper()
	c, _, err := w.may.Lookup(context.Background(), bobKey, secret.Text{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// session gives the caller behind a session of the meta role, or of what change
// makes of it.
func (w *signers) session(t testing.TB, change func(*sessiontoken.Claims)) access.Caller {
	t.Helper()
	c := sessiontoken.Claims{
		Role: arn.Role{Partition: "aws", Account: here, Path: "/", Name: "meta"}, RoleID: "AROAMETA", SessionName: "job", SecretKey: secret.New("s"),
		IssuedAt: now, Expires: now.Add(time.Hour), Epoch: 42, Person: "psn_1", LoginSession: "lgn_1",
	}
	if change != nil {
		change(&c)
	}
	token, err := sessiontoken.Seal(ring{}, metaKey, c)
	if err != nil {
		t.Fatal(err)
	}
	caller, _, err := w.may.Lookup(context.Background(), metaKey, token)
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func ofUser(kind sessiontoken.Kind) func(*sessiontoken.Claims) {
	return func(c *sessiontoken.Claims) {
		*c = sessiontoken.Claims{
			Kind: kind, User: arn.User{Partition: "aws", Account: here, Path: "/", Name: "bob"}, UserID: "AIDABOB",
			SecretKey: secret.New("s"), IssuedAt: now, Expires: now.Add(time.Hour), Epoch: 42,
		}
		if kind == sessiontoken.FederatedUser {
			c.FederatedName, c.SessionPolicy = "visitor", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
		}
	}
}

func roleRequest(role string, c access.Caller) sts.RoleRequest {
	return sts.RoleRequest{RoleARN: role, SessionName: "nightly", Caller: sts.Caller{Secure: true, Request: "REQ1", Signed: c}}
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	w := newSigners(t)
	r := roleRequest(dataARN, w.bob(t))
	r.Tags, r.TransitiveTagKeys = []sessiontoken.Tag{{Key: "team", Value: "blue"}, {Key: "city", Value: ""}}, []string{"team"}
	r.HasSourceIdentity, r.SourceIdentity = true, "alice"
	r.HasDuration, r.Duration = true, 4*time.Hour
	r.PolicyARNs = []string{managedRead}
	out, err := w.service().AssumeRole(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if out.AssumedRoleARN != "arn:aws:sts::111122223333:assumed-role/data/nightly" || out.AssumedRoleID != "AROADATA:nightly" || out.SourceIdentity != "alice" ||
		out.PackedPolicySize < 1 || !out.Credentials.Expiration.Equal(now.Add(4*time.Hour)) {
		t.Errorf("%+v", out)
	}
	c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	if c.Chained || len(c.Tags) != 2 || len(c.TransitiveTagKeys) != 1 || c.Provider != "" || c.Person != "" || len(c.SessionPolicyARNs) != 1 {
		t.Errorf("%+v", c)
	}
	if e := w.recorded[0]; e.Action != "sts.AssumeRole" || e.Detail["caller"] != bobARN || e.Detail["caller_access_key_id"] != bobKey {
		t.Errorf("%+v", e)
	}
}

// TestChain: a role session that another assumes lives an hour at most, keeps
// transitive tags and source identity, and belongs to the same person.
func TestChain(t *testing.T) {
	t.Parallel()
	w := newSigners(t)
	from := func(c *sessiontoken.Claims) {
		c.SourceIdentity, c.TransitiveTagKeys = "alice", []string{"team"}
		c.ServicePrincipal, c.Delegation = "spn_1", "dlg_1"
		c.Tags = []sessiontoken.Tag{{Key: "Team", Value: "blue"}, {Key: "city", Value: "Bern"}}
	}
	r := roleRequest(dataARN, w.session(t, from))
	r.Tags = []sessiontoken.Tag{{Key: "job", Value: "7"}}
	out, err := w.service().AssumeRole(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	if !c.Chained || c.SourceIdentity != "alice" || len(c.Tags) != 2 || c.Tags[1] != (sessiontoken.Tag{Key: "Team", Value: "blue"}) || len(c.TransitiveTagKeys) != 1 ||
		c.Person != "psn_1" || c.LoginSession != "lgn_1" || c.ServicePrincipal != "spn_1" || c.Delegation != "dlg_1" || !c.Expires.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v", c)
	}
	// And once more: what is transitive goes all the way.
	w.state.Roles[1].Policies = []iam.Policy{allowed(`"sts:*"`, "*")}
	next := func(c2 *sessiontoken.Claims) { *c2 = c }
	far, err := w.service().AssumeRole(t.Context(), roleRequest(farARN, w.session(t, next)))
	if err != nil {
		t.Fatal(err)
	}
	if c := opened(t, far.Credentials.AccessKeyID, far.Credentials.SessionToken); c.SourceIdentity != "alice" || len(c.Tags) != 1 || c.Tags[0].Value != "blue" {
		t.Errorf("%+v", c)
	}
	for name, tc := range map[string]struct {
		change     func(*sts.RoleRequest)
		trust      string
		code, text string
	}{
		"over an hour":            {func(r *sts.RoleRequest) { r.HasDuration, r.Duration = true, time.Hour+time.Second }, "", "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."},
		"an hour":                 {func(r *sts.RoleRequest) { r.HasDuration, r.Duration = true, time.Hour }, "", "", ""},
		"transitive tag again":    {func(r *sts.RoleRequest) { r.Tags = []sessiontoken.Tag{{Key: "TEAM", Value: "red"}} }, "", "ValidationError", "conflicts with a transitive tag key"},
		"tag that isn't":          {func(r *sts.RoleRequest) { r.Tags = []sessiontoken.Tag{{Key: "city", Value: "Basel"}} }, "", "", ""},
		"another source identity": {func(r *sts.RoleRequest) { r.HasSourceIdentity, r.SourceIdentity = true, "bob" }, "", "AccessDenied", "sts:SetSourceIdentity"},
		"the same one":            {func(r *sts.RoleRequest) { r.HasSourceIdentity, r.SourceIdentity = true, "alice" }, "", "", ""},
		"no right to tag":         {nil, `["sts:AssumeRole","sts:SetSourceIdentity"]`, "AccessDenied", "sts:TagSession"},
		"no right to name":        {nil, `["sts:AssumeRole","sts:TagSession"]`, "AccessDenied", "sts:SetSourceIdentity"},
	} {
		w := newSigners(t)
		if tc.trust != "" {
			// The trust policy names the role itself, so that it alone decides.
			w.state.Roles[1].Trust = trusts2(metaARN, tc.trust, "")
			w.state.Roles[1].Trust.Pins = map[string]string{metaARN: "AROAMETA"}
			w.state.Roles[0].Policies = nil
		}
		r := roleRequest(dataARN, w.session(t, from))
		if tc.change != nil {
			tc.change(&r)
		}
		_, err := w.service().AssumeRole(t.Context(), r)
		if f := fault.Of(err); (f == nil) != (tc.code == "") || f != nil && (f.Code != tc.code || !strings.Contains(f.Public, tc.text)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhoMayAssume: the caller's own policies and the trust policy together (IAM
// User Guide, "Policy evaluation logic", and "How to use trust policies").
func TestWhoMayAssume(t *testing.T) {
	t.Parallel()
	const user, session, other = "user", "session", "federated"
	named := func(principal, id string) func(*signers) {
		return func(w *signers) {
			w.state.Roles[1].Trust = trusts2(principal, all3, "")
			w.state.Roles[1].Trust.Pins = map[string]string{principal: id}
		}
	}
	nothing := func(w *signers) { w.state.Users[0].Policies, w.state.Roles[0].Policies = nil, nil }
	both := func(fs ...func(*signers)) func(*signers) {
		return func(w *signers) {
			for _, f := range fs {
				f(w)
			}
		}
	}
	bounded := func(w *signers) {
		p := allowed(`"s3:*"`, "*")
		w.state.Users[0].Boundary, w.state.Roles[0].Boundary = &p, &p
	}
	for name, tc := range map[string]struct {
		who, role string
		change    func(*signers)
		want      bool
	}{
		"trust by account, own policy":             {user, dataARN, nil, true},
		"trust by account, no policy":              {user, dataARN, nothing, false},
		"trust by user, no policy":                 {user, dataARN, both(nothing, named(bobARN, "AIDABOB")), true},
		"trust by user made again":                 {user, dataARN, both(nothing, named(bobARN, "AIDAOLD")), false},
		"trust by user, boundary":                  {user, dataARN, both(nothing, bounded, named(bobARN, "AIDABOB")), true},
		"trust by account, boundary":               {user, dataARN, bounded, false},
		"trust by role, no policy":                 {session, dataARN, both(nothing, named(metaARN, "AROAMETA")), true},
		"trust by role, boundary":                  {session, dataARN, both(nothing, bounded, named(metaARN, "AROAMETA")), false},
		"trust by session, boundary":               {session, dataARN, both(nothing, bounded, named("arn:aws:sts::111122223333:assumed-role/meta/job", "")), true},
		"trust by everybody":                       {session, dataARN, both(nothing, func(w *signers) { w.state.Roles[1].Trust = trusts2("*", all3, "") }), true},
		"trust in another role":                    {session, dataARN, named(dataARN, "AROADATA"), false},
		"own policy for another role":              {user, dataARN, func(w *signers) { w.state.Users[0].Policies = []iam.Policy{allowed(`"sts:*"`, farARN)} }, false},
		"another account: both":                    {session, farARN, nil, true},
		"another account: trust alone":             {session, farARN, nothing, false},
		"another account: policy alone":            {session, farARN, func(w *signers) { w.state.Roles[2].Trust = trusts2(there, all3, "") }, false},
		"service control":                          {session, farARN, func(w *signers) { w.state.Guardrails = []iam.GuardrailsRecord{rail(here, true)} }, false},
		"service control of the role's account":    {session, farARN, func(w *signers) { w.state.Guardrails = []iam.GuardrailsRecord{rail(there, true)} }, true},
		"resource control of the role's account":   {session, farARN, func(w *signers) { w.state.Guardrails = []iam.GuardrailsRecord{rail(there, false)} }, false},
		"resource control of the caller's account": {session, farARN, func(w *signers) { w.state.Guardrails = []iam.GuardrailsRecord{rail(here, false)} }, true},
		"keys of GetSessionToken":                  {"temporary", dataARN, nil, true},
		"keys of GetFederationToken":               {other, dataARN, nil, false},
		"itself, trusting its account":             {session, metaARN, nil, true},
		"itself, trusting another":                 {session, metaARN, func(w *signers) { w.state.Roles[0].Trust = trusts2(there, all3, "") }, false},
		"a role that is not there":                 {user, dataARN + "2", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSigners(t)
			if tc.change != nil {
				tc.change(w)
			}
			caller := w.bob(t)
			switch tc.who {
			case session:
				caller = w.session(t, nil)
			case "temporary":
				caller = w.session(t, ofUser(sessiontoken.UserSession))
			case other:
				caller = w.session(t, ofUser(sessiontoken.FederatedUser))
			}
			_, err := w.service().AssumeRole(t.Context(), roleRequest(tc.role, caller))
			if (err == nil) != tc.want {
				t.Fatalf("got %v", err)
			}
			if f := fault.Of(err); err != nil && (f.Code != "AccessDenied" || f.Public != "User: "+caller.ARN+" is not authorized to perform: sts:AssumeRole on resource: "+tc.role) {
				t.Errorf("a denial tells %q", f.Public)
			}
		})
	}
}

func rail(account string, service bool) iam.GuardrailsRecord {
	levels := [][]iam.Policy{{{Name: "rail", Document: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"sts:*","Resource":"*"}]}`}}}
	g := iam.GuardrailsRecord{Account: account, ServiceControl: levels}
	if !service {
		g.ServiceControl, g.ResourceControl = nil, [][]iam.Policy{{{Name: "rail", Document: strings.ReplaceAll(levels[0][0].Document, `"Action"`, `"Principal":"*","Action"`)}}}
	}
	return g
}

func TestAssumeRoleConditions(t *testing.T) {
	t.Parallel()
	external := func(r *sts.RoleRequest) { r.HasExternalID, r.ExternalID = true, "tenant:7" }
	for condition, tc := range map[string]struct {
		change func(*sts.RoleRequest)
		want   bool
	}{
		`"StringEquals":{"sts:ExternalId":"tenant:7"}`:                             {external, true},
		`"StringEquals":{"sts:ExternalId":"tenant:8"}`:                             {external, false},
		`"Null":{"sts:ExternalId":"false"}`:                                        {nil, false},
		`"StringLike":{"sts:RoleSessionName":"night*"}`:                            {nil, true},
		`"StringEquals":{"sts:RoleSessionName":"${aws:username}"}`:                 {func(r *sts.RoleRequest) { r.SessionName = "bob" }, true},
		`"ArnEquals":{"aws:PrincipalArn":"` + bobARN + `"}`:                        {nil, true},
		`"StringEquals":{"aws:PrincipalAccount":"111122223333"}`:                   {nil, true},
		`"StringEquals":{"aws:ResourceTag/stage":"prod"}`:                          {nil, true},
		`"StringEquals":{"iam:ResourceTag/stage":"prod"}`:                          {nil, true},
		`"StringEquals":{"aws:RequestTag/team":"blue"}`:                            {func(r *sts.RoleRequest) { r.Tags = []sessiontoken.Tag{{Key: "Team", Value: "blue"}} }, true},
		`"StringLike":{"sts:SourceIdentity":"ali*"}`:                               {func(r *sts.RoleRequest) { r.HasSourceIdentity, r.SourceIdentity = true, "alice" }, true},
		`"Bool":{"aws:SecureTransport":"true"}`:                                    {nil, true},
		`"Bool":{"aws:MultiFactorAuthPresent":"true"}`:                             {nil, false},
		`"Null":{"aws:FederatedProvider":"true","sts:RoleAuthorizedByIdp":"true"}`: {nil, true},
		`"DateGreaterThan":{"aws:CurrentTime":"2030-01-01"}`:                       {nil, false},
	} {
		w := newSigners(t)
		w.state.Roles[1].Trust = trusts2(here, all3, condition)
		r := roleRequest(dataARN, w.bob(t))
		if tc.change != nil {
			tc.change(&r)
		}
		if _, err := w.service().AssumeRole(t.Context(), r); (err == nil) != tc.want {
			t.Errorf("%s: %v", condition, err)
		}
	}
}

func TestAssumeRoleRefusals(t *testing.T) {
	t.Parallel()
	tags := func(n int) []sessiontoken.Tag {
		var out []sessiontoken.Tag
		for i := range n {
			out = append(out, sessiontoken.Tag{Key: fmt.Sprint("k", i), Value: "v"})
		}
		return out
	}
	for name, tc := range map[string]struct {
		change     func(*sts.RoleRequest)
		code, text string
	}{
		"unsigned":                {func(r *sts.RoleRequest) { r.Caller.Signed = access.Caller{} }, "MissingAuthenticationToken", "Request is missing Authentication Token"},
		"no session name":         {func(r *sts.RoleRequest) { r.SessionName = "" }, "ValidationError", "Value null at 'roleSessionName'"},
		"session name characters": {func(r *sts.RoleRequest) { r.SessionName = "a/b" }, "ValidationError", `'a/b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		"ARN of a provider":       {func(r *sts.RoleRequest) { r.RoleARN = oidcARN }, "ValidationError", "Request ARN is invalid"},
		"external id too short":   {func(r *sts.RoleRequest) { r.HasExternalID, r.ExternalID = true, "a" }, "ValidationError", "'externalId'"},
		"external id too long":    {func(r *sts.RoleRequest) { r.HasExternalID, r.ExternalID = true, strings.Repeat("a", 1225) }, "ValidationError", "'externalId'"},
		"external id characters":  {func(r *sts.RoleRequest) { r.HasExternalID, r.ExternalID = true, "a b" }, "ValidationError", "'externalId'"},
		"source identity short":   {func(r *sts.RoleRequest) { r.HasSourceIdentity, r.SourceIdentity = true, "" }, "ValidationError", "'sourceIdentity'"},
		"source identity of AWS":  {func(r *sts.RoleRequest) { r.HasSourceIdentity, r.SourceIdentity = true, "AWS:x" }, "ValidationError", "ourceIdentity"},
		"51 tags":                 {func(r *sts.RoleRequest) { r.Tags = tags(51) }, "ValidationError", "'tags'"},
		"51 transitive keys":      {func(r *sts.RoleRequest) { r.TransitiveTagKeys = make([]string, 51) }, "ValidationError", "'transitiveTagKeys'"},
		"empty tag key":           {func(r *sts.RoleRequest) { r.Tags = []sessiontoken.Tag{{Value: "v"}} }, "ValidationError", "'tags.1.member.key'"},
		"tag value characters":    {func(r *sts.RoleRequest) { r.Tags = []sessiontoken.Tag{{Key: "k", Value: "*"}} }, "ValidationError", "'tags.1.member.value'"},
		"tag twice":               {func(r *sts.RoleRequest) { r.Tags = []sessiontoken.Tag{{Key: "k"}, {Key: "K"}} }, "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		"tag of AWS":              {func(r *sts.RoleRequest) { r.Tags = []sessiontoken.Tag{{Key: "aws:k"}} }, "ValidationError", "System tags"},
		"transitive without tag":  {func(r *sts.RoleRequest) { r.TransitiveTagKeys = []string{"k"} }, "ValidationError", "The specified transitive tag key must be included in the requested tags."},
		"token code":              {func(r *sts.RoleRequest) { r.HasTokenCode, r.TokenCode = true, "12345a" }, "ValidationError", "'tokenCode'"},
		"serial number too short": {func(r *sts.RoleRequest) { r.HasSerialNumber, r.SerialNumber = true, "123" }, "ValidationError", "'serialNumber'"},
		"a device": {func(r *sts.RoleRequest) {
			r.HasSerialNumber, r.SerialNumber, r.HasTokenCode, r.TokenCode = true, "arn:aws:iam::111122223333:mfa/bob", true, "123456"
		}, "AccessDenied", "MultiFactorAuthentication failed"},
		"six contexts":    {func(r *sts.RoleRequest) { r.ProvidedContexts = 6 }, "ValidationError", "'providedContexts'"},
		"a context":       {func(r *sts.RoleRequest) { r.ProvidedContexts = 1 }, "ValidationError", "context provider"},
		"over the role's": {func(r *sts.RoleRequest) { r.HasDuration, r.Duration = true, 4*time.Hour+time.Second }, "ValidationError", "MaxSessionDuration"},
		"too much packed": {func(r *sts.RoleRequest) {
			r.Tags = tags(50)
			for i := range r.Tags {
				r.Tags[i].Value = strings.Repeat("v", 256)
			}
		}, "PackedPolicyTooLarge", "%"},
	} {
		w := newSigners(t)
		r := roleRequest(dataARN, w.bob(t))
		tc.change(&r)
		out, err := w.service().AssumeRole(t.Context(), r)
		if f := fault.Of(err); err == nil || out != nil || f.Code != tc.code || !strings.Contains(f.Public, tc.text) {
			t.Errorf("%s: %v", name, err)
		}
		if len(w.recorded) > 0 {
			t.Errorf("%s: a refusal stands in the trail as an exchange", name)
		}
	}
}

// TestCVE_2024_55949 (MinIO): privileges rose by what the caller sent about
// itself. Here nothing that comes in a request widens the caller's own rights.
func TestCVE_2024_55949(t *testing.T) {
	t.Parallel()
	w := newSigners(t)
	w.state.Users[0].Policies = nil
	w.state.Roles[1].Trust = trusts2(here, all3, `"StringEquals":{"aws:PrincipalTag/admin":"true"}`)
	r := roleRequest(dataARN, w.bob(t))
	r.Tags = []sessiontoken.Tag{{Key: "admin", Value: "true"}}
	r.HasPolicy, r.Policy = true, `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	if out, err := w.service().AssumeRole(t.Context(), r); err == nil {
		t.Errorf("%+v", out)
	}
}
