package sts_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// world is an authority with one provider and one role, of which a test
// changes what it wants.
type world struct {
	idp       *forge.IdP
	state     iam.State
	now       time.Time
	epoch     uint64
	epochErr  error
	recorded  []event.Event
	recordErr error
	min       time.Duration
	revoked   map[string]uint64 // "kind id" to the epoch of its revocation
	other     string            // metadata with the same names and another key
}

func (w *world) Current() (*iam.Snapshot, error) {
	return iam.Compile(w.state, []iam.Account{{ID: "111122223333"}, {ID: "444455556666"}}), nil
}
func (w *world) Epoch() (uint64, error) { return w.epoch, w.epochErr }
func (w *world) Refused(kind, id string, epoch uint64) (bool, error) {
	at, ok := w.revoked[kind+" "+id]
	return ok && epoch <= at, w.epochErr
}
func (w *world) Record(_ context.Context, e event.Event) error {
	w.recorded = append(w.recorded, e)
	return w.recordErr
}

type ring struct{}

func (ring) Current() (string, [32]byte)     { return "k1", [32]byte{7} }
func (ring) ByID(id string) ([32]byte, bool) { return [32]byte{7}, id == "k1" }

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + forge.Provider + `"},"Action":["sts:AssumeRoleWithSAML","sts:TagSession","sts:SetSourceIdentity"],"Condition":{"StringEquals":{"SAML:aud":"` + forge.ACS + `"}}}]}`

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{idp: forge.NewECDSA(t, now), now: now, epoch: 42}
	w.state = iam.State{
		Providers: []iam.ProviderRecord{{Account: "111122223333", Name: "dev-idp", Metadata: pad(w.idp.Metadata())}},
		Roles: []iam.RoleRecord{{
			ID: "AROAEXAMPLEEXAMPLE000", Account: "111122223333", Path: "/", Name: "analyst",
			Trust: iam.Policy{Name: "trust", Document: trust}, MaxSession: 4 * time.Hour, Tags: map[string]string{"stage": "prod"},
		}},
	}
	w.other = pad(forge.NewECDSA(t, now).Metadata())
	return w
}

// pad brings small metadata over IAM's least size.
func pad(b []byte) string { return string(b) + strings.Repeat("\n", max(0, 1000-len(b))) }

func (w *world) service() *sts.Service {
	return sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: w, Trail: w, Now: func() time.Time { return w.now }, MinDuration: w.min})
}

func attribute(name string, values ...string) devidp.Attribute {
	return devidp.Attribute{Name: name, Values: values}
}

func request(t testing.TB, w *world, change func(*devidp.Answer)) sts.SAMLRequest {
	t.Helper()
	a := w.idp.Answer("_r1", now)
	if change != nil {
		change(&a)
	}
	return sts.SAMLRequest{
		RoleARN: forge.Role, PrincipalARN: forge.Provider, Assertion: secret.New(forge.Encode(w.idp.Respond(t, a))),
		Caller: sts.Caller{Secure: true, Source: netip.MustParseAddr("10.1.2.3"), Request: "REQ1"},
	}
}

func assume(t testing.TB, w *world, r sts.SAMLRequest) *sts.SAMLAnswer {
	t.Helper()
	out, err := w.service().AssumeRoleWithSAML(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAssumeRoleWithSAML(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := request(t, w, func(a *devidp.Answer) {
		a.Attributes = append(a.Attributes, attribute(saml.AttrSourceIdentity, "alice"),
			attribute(saml.AttrPrincipalTagPrefix+"team", "grün"), attribute(saml.AttrTransitiveTagKeys, "team"))
	})
	r.Caller.Person, r.Caller.LoginSession = "psn_1", "lgn_1"
	r.HasPolicy, r.Policy = true, `{"Version": "2012-10-17", "Statement": {"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`
	out := assume(t, w, r)
	if out.AssumedRoleARN != "arn:aws:sts::111122223333:assumed-role/analyst/alice" || out.AssumedRoleID != "AROAEXAMPLEEXAMPLE000:alice" {
		t.Errorf("%s %s", out.AssumedRoleARN, out.AssumedRoleID)
	}
	sum := sha1.Sum([]byte(forge.EntityID + "111122223333/dev-idp"))
	if out.Subject != "alice" || out.Issuer != forge.EntityID || out.Audience != forge.ACS || out.SourceIdentity != "alice" ||
		out.NameQualifier != base64.StdEncoding.EncodeToString(sum[:]) || out.PackedPolicySize < 1 {
		t.Errorf("%+v", out)
	}
	if !out.Credentials.Expiration.Equal(now.Add(time.Hour)) || !strings.HasPrefix(out.Credentials.AccessKeyID, "ASIA") {
		t.Errorf("%+v", out.Credentials)
	}
	c, err := sessiontoken.Open(ring{}, out.Credentials.AccessKeyID, out.Credentials.SessionToken, now)
	if err != nil {
		t.Fatal(err)
	}
	if c.Epoch != 42 || c.Person != "psn_1" || c.LoginSession != "lgn_1" || c.RoleID != "AROAEXAMPLEEXAMPLE000" || len(c.Tags) != 1 ||
		!c.SecretKey.Equal(out.Credentials.SecretAccessKey) || c.SessionPolicy == "" || strings.Contains(c.SessionPolicy, " ") || c.Provider != forge.Provider {
		t.Errorf("%+v", c)
	}
	if len(w.recorded) != 1 || w.recorded[0].AccessKeyID != out.Credentials.AccessKeyID || w.recorded[0].Detail["subject"] != "alice" || w.recorded[0].Source != "10.1.2.3" {
		t.Errorf("%+v", w.recorded)
	}
}

// TestOneAssertionServesManyRoles: AWS lets an assertion be redeemed again
// while it is young, and one sign-in trades it for every role.
func TestOneAssertionServesManyRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := request(t, w, nil)
	a, b := assume(t, w, r), assume(t, w, r)
	if a.Credentials.AccessKeyID == b.Credentials.AccessKeyID || a.Credentials.SecretAccessKey.Equal(b.Credentials.SecretAccessKey) {
		t.Error("two exchanges gave the same keys")
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ask    time.Duration
		min    time.Duration
		change func(*devidp.Answer)
		want   time.Duration
		code   string
	}{
		"default":                       {want: time.Hour},
		"asked for":                     {ask: 4 * time.Hour, want: 4 * time.Hour},
		"least":                         {ask: 900 * time.Second, want: 900 * time.Second},
		"above the role's maximum":      {ask: 4*time.Hour + time.Second, code: "ValidationError"},
		"below the least":               {ask: 899 * time.Second, code: "ValidationError"},
		"above the most":                {ask: 43201 * time.Second, code: "ValidationError"},
		"short ones by the setting":     {ask: 2 * time.Second, min: time.Second, want: 2 * time.Second},
		"SessionDuration shortens":      {ask: 4 * time.Hour, change: with(attribute(saml.AttrSessionDuration, "1800")), want: 30 * time.Minute},
		"SessionDuration never extends": {ask: time.Hour, change: with(attribute(saml.AttrSessionDuration, "43200")), want: time.Hour},
		"SessionDuration too small":     {change: with(attribute(saml.AttrSessionDuration, "899")), code: "InvalidIdentityToken"},
		"SessionDuration too large":     {change: with(attribute(saml.AttrSessionDuration, "43201")), code: "InvalidIdentityToken"},
		"SessionDuration no number":     {change: with(attribute(saml.AttrSessionDuration, "1h")), code: "InvalidIdentityToken"},
		"SessionDuration overflows":     {change: with(attribute(saml.AttrSessionDuration, "9223372036854775807")), code: "InvalidIdentityToken"},
		"SessionDuration twice":         {change: with(attribute(saml.AttrSessionDuration, "3600", "7200")), code: "InvalidIdentityToken"},
		"SessionNotOnOrAfter shortens":  {change: func(a *devidp.Answer) { a.SessionNotOnOrAfter = now.Add(10 * time.Minute) }, want: 10 * time.Minute},
		"SessionNotOnOrAfter later":     {change: func(a *devidp.Answer) { a.SessionNotOnOrAfter = now.Add(10 * time.Hour) }, want: time.Hour},
		"SessionNotOnOrAfter over":      {change: func(a *devidp.Answer) { a.SessionNotOnOrAfter = now.Add(-10 * time.Minute) }, code: "ExpiredTokenException"},
		"SessionNotOnOrAfter just over": {change: func(a *devidp.Answer) { a.SessionNotOnOrAfter = now }, code: "ExpiredTokenException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.min = tc.min
			r := request(t, w, tc.change)
			r.Duration, r.HasDuration = tc.ask, tc.ask != 0
			out, err := w.service().AssumeRoleWithSAML(t.Context(), r)
			if tc.code != "" {
				if fault.Of(err).Code != tc.code {
					t.Errorf("got %v, want %s", err, tc.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := out.Credentials.Expiration.Sub(now); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func with(extra ...devidp.Attribute) func(*devidp.Answer) {
	return func(a *devidp.Answer) { a.Attributes = append(a.Attributes, extra...) }
}

// replace replaces an attribute of the honest answer; no values remove it.
func replace(name string, values ...string) func(*devidp.Answer) {
	return func(a *devidp.Answer) {
		var kept []devidp.Attribute
		for _, at := range a.Attributes {
			if at.Name != name {
				kept = append(kept, at)
			}
		}
		if len(values) > 0 {
			kept = append(kept, attribute(name, values...))
		}
		a.Attributes = kept
	}
}

func tags(n int) func(*devidp.Answer) {
	return func(a *devidp.Answer) {
		for i := range n {
			a.Attributes = append(a.Attributes, attribute(fmt.Sprintf("%sk%d", saml.AttrPrincipalTagPrefix, i), "v"))
		}
	}
}

// TestRefusals has one line per error that STS documents and that an assertion
// or a request can cause.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const tag = saml.AttrPrincipalTagPrefix
	for name, tc := range map[string]struct {
		answer func(*devidp.Answer)
		call   func(*sts.SAMLRequest)
		world  func(*world)
		code   string
		text   string
	}{
		"role ARN too short":        {call: func(r *sts.SAMLRequest) { r.RoleARN = "x" }, code: "ValidationError", text: "1 validation error detected: Value 'x' at 'roleArn'"},
		"two shapes wrong":          {call: func(r *sts.SAMLRequest) { r.RoleARN, r.PrincipalARN = "x", "y" }, code: "ValidationError", text: "2 validation errors detected"},
		"role and provider swapped": {call: func(r *sts.SAMLRequest) { r.RoleARN, r.PrincipalARN = r.PrincipalARN, r.RoleARN }, code: "ValidationError", text: "Request ARN is invalid"},
		"provider is a role":        {call: func(r *sts.SAMLRequest) { r.PrincipalARN = r.RoleARN }, code: "ValidationError", text: "Principal ARN is invalid"},
		"assertion over the limit":  {call: func(r *sts.SAMLRequest) { r.Assertion = secret.New(strings.Repeat("A", 100_001)) }, code: "ValidationError", text: "less than or equal to 100000"},
		"assertion empty":           {call: func(r *sts.SAMLRequest) { r.Assertion = secret.Text{} }, code: "ValidationError"},
		"assertion not base64":      {call: func(r *sts.SAMLRequest) { r.Assertion = secret.New("<xml>") }, code: "InvalidIdentityToken", text: "Invalid base64 SAMLResponse"},
		"assertion not XML":         {call: func(r *sts.SAMLRequest) { r.Assertion = secret.New("QUJDRA==") }, code: "InvalidIdentityToken"},
		"session policy empty":      {call: func(r *sts.SAMLRequest) { r.HasPolicy = true }, code: "ValidationError"},
		"session policy malformed":  {call: func(r *sts.SAMLRequest) { r.HasPolicy, r.Policy = true, "{}" }, code: "MalformedPolicyDocument"},
		"session policy too long":   {call: func(r *sts.SAMLRequest) { r.HasPolicy, r.Policy = true, strings.Repeat(" ", 2049) }, code: "ValidationError", text: "'policy'"},
		"unknown managed policy":    {call: func(r *sts.SAMLRequest) { r.PolicyARNs = []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"} }, code: "ValidationError", text: "no managed policy"},
		"eleven managed policies":   {call: func(r *sts.SAMLRequest) { r.PolicyARNs = make([]string, 11) }, code: "ValidationError", text: "policyArns"},
		"managed policies too long": {call: func(r *sts.SAMLRequest) {
			r.PolicyARNs = []string{strings.Repeat("a", 1100), strings.Repeat("b", 1100)}
		}, code: "PackedPolicyTooLarge"},
		"unknown provider": {call: func(r *sts.SAMLRequest) { r.PrincipalARN += "2" }, code: "InvalidIdentityToken", text: "Specified provider doesn't exist"},
		"provider of another account": {
			call: func(r *sts.SAMLRequest) { r.PrincipalARN = strings.Replace(r.PrincipalARN, "1111", "4444", 1) }, code: "InvalidIdentityToken",
		},
		"signed by another key": {world: func(w *world) { w.state.Providers[0].Metadata = w.other }, code: "InvalidIdentityToken", text: "Response signature invalid"},
		"unsigned":              {answer: func(a *devidp.Answer) { a.SignAssertion, a.SignReply = false, false }, code: "InvalidIdentityToken", text: "Response signature invalid"},
		"another issuer":        {answer: func(a *devidp.Answer) { a.Issuer = "http://evil.example" }, code: "InvalidIdentityToken", text: "Issuer not present in specified provider"},
		"conditions over": {answer: func(a *devidp.Answer) {
			a.NotOnOrAfter = now.Add(-2 * time.Minute)
			a.NotBefore = now.Add(-9 * time.Minute)
		}, code: "ExpiredTokenException", text: "Response has expired"},
		"older than five minutes": {world: func(w *world) { w.now = now.Add(5*time.Minute + time.Second) }, answer: func(a *devidp.Answer) { a.NotOnOrAfter = now.Add(time.Hour) },
			code: "ExpiredTokenException", text: "Token must be redeemed within 5 minutes of issuance"},
		"no NameID":                  {answer: func(a *devidp.Answer) { a.NameID = "" }, code: "AccessDenied"},
		"no RoleSessionName":         {answer: replace(saml.AttrRoleSessionName), code: "InvalidIdentityToken", text: "RoleSessionName is required in AuthnResponse"},
		"RoleSessionName characters": {answer: replace(saml.AttrRoleSessionName, "a b"), code: "InvalidIdentityToken", text: "must match [a-zA-Z_0-9+=,.@-]{2,64}"},
		"RoleSessionName length":     {answer: replace(saml.AttrRoleSessionName, strings.Repeat("a", 65)), code: "InvalidIdentityToken"},
		"two RoleSessionNames":       {answer: replace(saml.AttrRoleSessionName, "alice", "bob"), code: "InvalidIdentityToken"},
		"source identity characters": {answer: with(attribute(saml.AttrSourceIdentity, "a/b")), code: "InvalidIdentityToken"},
		"two source identities":      {answer: with(attribute(saml.AttrSourceIdentity, "aa", "bb")), code: "InvalidIdentityToken"},
		"tag twice":                  {answer: with(attribute(tag+"team", "a"), attribute(tag+"TEAM", "b")), code: "InvalidIdentityToken", text: "Duplicate tag keys"},
		"tag of two values":          {answer: with(attribute(tag+"team", "a", "b")), code: "InvalidIdentityToken", text: "exactly one value"},
		"tag of AWS":                 {answer: with(attribute(tag+"aws:x", "a")), code: "InvalidIdentityToken"},
		"tag characters":             {answer: with(attribute(tag+"team", "a*")), code: "InvalidIdentityToken"},
		"tag value length":           {answer: with(attribute(tag+"team", strings.Repeat("é", 257))), code: "InvalidIdentityToken"},
		"tag without key":            {answer: with(attribute(tag, "a")), code: "InvalidIdentityToken"},
		"51 tags":                    {answer: tags(51), code: "InvalidIdentityToken", text: "51 session tags"},
		"transitive without tag":     {answer: with(attribute(saml.AttrTransitiveTagKeys, "team")), code: "InvalidIdentityToken"},
		"role not in the assertion":  {answer: replace(saml.AttrRole, "arn:aws:iam::111122223333:role/other,"+forge.Provider), code: "AccessDenied", text: "Not authorized to perform sts:AssumeRoleWithSAML"},
		"pair with another provider": {answer: replace(saml.AttrRole, forge.Role+",arn:aws:iam::111122223333:saml-provider/other"), code: "AccessDenied"},
		"role that does not exist":   {world: func(w *world) { w.state.Roles = nil }, code: "AccessDenied", text: "Not authorized to perform sts:AssumeRoleWithSAML"},
		"role of another path":       {world: func(w *world) { w.state.Roles[0].Path = "/data/" }, code: "AccessDenied"},
		"trust names no provider":    {world: trusts(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRoleWithSAML"}}`), code: "AccessDenied"},
		"recipient not trusted":      {answer: func(a *devidp.Answer) { a.Recipient = "https://evil.example/acs"; a.Destination = a.Recipient }, code: "AccessDenied"},
		"tags not trusted":           {world: trusts(onlyAssume), answer: with(attribute(tag+"team", "a")), code: "AccessDenied", text: "sts:TagSession"},
		"source identity not trusted": {world: trusts(onlyAssume), answer: with(attribute(saml.AttrSourceIdentity, "alice")), code: "AccessDenied",
			text: "sts:SetSourceIdentity"},
		"explicit deny":        {world: trusts(strings.Replace(trust, `"Statement":[`, `"Statement":[{"Effect":"Deny","Principal":{"Federated":"`+forge.Provider+`"},"Action":"sts:*","Condition":{"StringEquals":{"saml:sub":"alice"}}},`, 1)), code: "AccessDenied"},
		"revocation view away": {world: func(w *world) { w.epochErr = fault.New(fault.Unavailable, "away") }, code: ""},
		"trail away":           {world: func(w *world) { w.recordErr = errors.New("away") }, code: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := request(t, w, tc.answer)
			if tc.call != nil {
				tc.call(&r)
			}
			if tc.world != nil {
				tc.world(w)
			}
			out, err := w.service().AssumeRoleWithSAML(t.Context(), r)
			if err == nil || out != nil {
				t.Fatalf("granted: %+v", out)
			}
			f := fault.Of(err)
			if f.Code != tc.code || !strings.Contains(f.Public, tc.text) {
				t.Errorf("got %s %q, want %s %q", f.Code, f.Public, tc.code, tc.text)
			}
			if raw := r.Assertion.Reveal(); len(raw) > 200 && strings.Contains(err.Error(), raw[:60]) {
				t.Error("the error carries the assertion")
			}
		})
	}
}

const onlyAssume = `{"Statement":{"Effect":"Allow","Principal":{"Federated":"` + forge.Provider + `"},"Action":"sts:AssumeRoleWithSAML"}}`

func trusts(document string) func(*world) {
	return func(w *world) { w.state.Roles[0].Trust.Document = document }
}

// TestDenialsAreUniform: who is denied learns nothing of why, but the log does.
func TestDenialsAreUniform(t *testing.T) {
	t.Parallel()
	texts := map[string]bool{}
	causes := map[string]bool{}
	for _, change := range []func(*world){
		func(w *world) { w.state.Roles = nil },
		trusts(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRoleWithSAML"}}`),
	} {
		w := newWorld(t)
		change(w)
		_, err := w.service().AssumeRoleWithSAML(t.Context(), request(t, w, nil))
		f := fault.Of(err)
		texts[f.Public] = true
		causes[fmt.Sprint(f.Cause)] = true
	}
	if len(texts) != 1 || len(causes) != 2 {
		t.Errorf("%v %v", texts, causes)
	}
}

// TestTrustConditions asks every family of keys that a trust policy may use.
func TestTrustConditions(t *testing.T) {
	t.Parallel()
	const affiliation = "urn:oid:1.3.6.1.4.1.5923.1.1.1.1"
	for condition, want := range map[string]bool{
		`"StringEquals":{"saml:aud":"` + forge.ACS + `"}`:                                          true,
		`"StringEquals":{"saml:iss":"` + forge.EntityID + `"}`:                                     true,
		`"StringEquals":{"saml:sub":"alice"}`:                                                      true,
		`"StringEquals":{"saml:sub":"bob"}`:                                                        false,
		`"StringEquals":{"saml:doc":"111122223333/dev-idp"}`:                                       true,
		`"StringEquals":{"sts:RoleSessionName":"${saml:sub}"}`:                                     true,
		`"ForAnyValue:StringEquals":{"saml:eduPersonAffiliation":"staff"}`:                         true,
		`"ForAnyValue:StringEquals":{"saml:eduPersonAffiliation":"dean"}`:                          false,
		`"StringEquals":{"aws:RequestTag/Team":"blue"}`:                                            true,
		`"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}`:                                     true,
		`"StringEquals":{"aws:ResourceTag/stage":"prod"}`:                                          true,
		`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`:                                                true,
		`"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}`:                                              false,
		`"Bool":{"aws:SecureTransport":"true"}`:                                                    true,
		`"DateGreaterThan":{"aws:CurrentTime":"2026-03-02"}`:                                       false,
		`"DateLessThan":{"aws:EpochTime":"1893456000"}`:                                            true,
		`"StringEquals":{"saml:sub_type":"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"}`: false,
		`"StringEquals":{"saml:sub_type":"persistent"}`:                                            true,
		`"Null":{"sts:SourceIdentity":"true"}`:                                                     true,
	} {
		w := newWorld(t)
		trusts(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + forge.Provider + `"},"Action":["sts:AssumeRoleWithSAML","sts:TagSession"],"Condition":{` + condition + `}}]}`)(w)
		r := request(t, w, func(a *devidp.Answer) {
			a.NameIDFormat = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
			with(attribute(affiliation, "member", "staff"), attribute(saml.AttrPrincipalTagPrefix+"team", "blue"))(a)
		})
		if _, err := w.service().AssumeRoleWithSAML(t.Context(), r); (err == nil) != want {
			t.Errorf("%s: %v", condition, err)
		}
	}
}

func TestPackedPolicyTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := request(t, w, func(a *devidp.Answer) {
		for i := range 40 {
			with(attribute(fmt.Sprintf("%sk%d", saml.AttrPrincipalTagPrefix, i), strings.Repeat("v", 200)))(a)
		}
	})
	_, err := w.service().AssumeRoleWithSAML(t.Context(), r)
	if f := fault.Of(err); f.Code != "PackedPolicyTooLarge" || !strings.Contains(f.Public, "%") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkAssumeRoleWithSAML reports its time as a multiple of the bare
// verification of the same assertion, in the same run.
func BenchmarkAssumeRoleWithSAML(b *testing.B) {
	w := newWorld(b)
	snapshot, err := w.Current()
	if err != nil {
		b.Fatal(err)
	}
	r := request(b, w, nil)
	s := sts.New(sts.Config{IAM: fixed{snapshot}, Keys: ring{}, Revocations: w, Now: func() time.Time { return now }})
	for b.Loop() {
		if _, err := s.AssumeRoleWithSAML(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	own := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	raw, err := saml.Decode(r.Assertion.Reveal(), 0)
	if err != nil {
		b.Fatal(err)
	}
	metadata, err := saml.ParseMetadata(w.idp.Metadata())
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 50
	start := time.Now()
	for range rounds {
		if _, err := saml.VerifyForSTS(raw, metadata, saml.STSExpect{Skew: time.Minute}, now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(own/(float64(time.Since(start).Nanoseconds())/rounds), "x-bare-verify")
}

type fixed struct{ *iam.Snapshot }

func (f fixed) Current() (*iam.Snapshot, error) { return f.Snapshot, nil }
