package sts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
)

const (
	issuer      = "https://id.example/oidc"
	oidcARN     = "arn:aws:iam::111122223333:oidc-provider/id.example/oidc"
	loaderARN   = "arn:aws:iam::111122223333:role/jobs/loader"
	loaderID    = "AROAEXAMPLEEXAMPLE001"
	webTrust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + oidcARN + `"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"],"Condition":{"StringEquals":{"ID.example/oidc:aud":"sts.amazonaws.com","id.example/oidc:sub":"job:nightly"}}}]}`
	onlyWeb     = `{"Statement":{"Effect":"Allow","Principal":{"Federated":"` + oidcARN + `"},"Action":"sts:AssumeRoleWithWebIdentity"}}`
	managedRead = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
)

// web is a world with an OpenID provider and a role that trusts it.
type web struct {
	*world
	key   issuertest.Key
	sets  map[string]*oidc.KeySet
	again *oidc.KeySet // after a look for an unknown key
	away  error
	asked []string
	own   sts.Own
}

func (w *web) Keys(_ context.Context, issuer string, unknown bool) (*oidc.KeySet, error) {
	w.asked = append(w.asked, fmt.Sprintf("%s %v", issuer, unknown))
	if w.away != nil {
		return nil, w.away
	}
	if unknown && w.again != nil {
		return w.again, nil
	}
	return w.sets[issuer], nil
}

func keySet(t testing.TB, keys ...issuertest.Key) *oidc.KeySet {
	t.Helper()
	raw, err := json.Marshal(issuertest.Set(keys...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := oidc.ParseKeySet(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newWeb(t testing.TB) *web {
	t.Helper()
	w := &web{world: newWorld(t), key: issuertest.NewKey(t, "k1", "ES256")}
	w.sets = map[string]*oidc.KeySet{issuer: keySet(t, w.key)}
	w.state.OIDCProviders = []iam.OIDCProviderRecord{{Account: "111122223333", URL: issuer, ClientIDs: []string{"other", "sts.amazonaws.com"}}}
	w.state.Roles = append(w.state.Roles, iam.RoleRecord{
		ID: loaderID, Account: "111122223333", Path: "/jobs/", Name: "loader", MaxSession: 2 * time.Hour, Tags: map[string]string{"stage": "prod"},
		Trust: iam.Policy{Name: "trust", Document: webTrust},
	})
	return w
}

func (w *web) service() *sts.Service {
	return sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: w, KeySets: w, Own: w.own, Trail: w, Now: func() time.Time { return w.now }, MinDuration: w.min})
}

func webClaims(change map[string]any) map[string]any {
	c := map[string]any{"iss": issuer, "sub": "job:nightly", "aud": "sts.amazonaws.com", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "t1"}
	for name, v := range change {
		if v == issuertest.Absent {
			delete(c, name)
		} else {
			c[name] = v
		}
	}
	return c
}

func (w *web) request(t testing.TB, change map[string]any) sts.WebRequest {
	t.Helper()
	return sts.WebRequest{
		RoleARN: loaderARN, SessionName: "nightly", Token: secret.New(w.key.Sign(t, nil, webClaims(change))),
		Caller: sts.Caller{Secure: true, Source: netip.MustParseAddr("10.1.2.3"), Request: "REQ1"},
	}
}

func opened(t testing.TB, accessKeyID string, token secret.Text) sessiontoken.Claims {
	t.Helper()
	c, err := sessiontoken.Open(ring{}, accessKeyID, token, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	r := w.request(t, map[string]any{
		"amr": []string{"pwd", "mfa"}, "https://aws.amazon.com/source_identity": "alice",
		"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"team": []string{"blue"}, "city": []string{"Zürich"}}, "transitive_tag_keys": []string{"team"}},
	})
	r.HasPolicy, r.Policy = true, `{"Version":"2012-10-17", "Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`
	r.PolicyARNs = []string{managedRead}
	// One minute is left of the token, two hours are asked for and given: as
	// measured at AWS.
	r.HasDuration, r.Duration = true, 2*time.Hour
	out, err := w.service().AssumeRoleWithWebIdentity(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if out.AssumedRoleARN != "arn:aws:sts::111122223333:assumed-role/loader/nightly" || out.AssumedRoleID != loaderID+":nightly" || out.Subject != "job:nightly" ||
		out.Audience != "sts.amazonaws.com" || out.Provider != oidcARN || out.SourceIdentity != "alice" || out.PackedPolicySize < 1 || !out.Credentials.Expiration.Equal(now.Add(2*time.Hour)) {
		t.Errorf("%+v", out)
	}
	c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	if c.Kind != sessiontoken.RoleSession || c.Provider != oidcARN || c.Subject != "job:nightly" || c.Audience != "sts.amazonaws.com" || len(c.Methods) != 2 || c.SubjectType != "" ||
		c.SourceIdentity != "alice" || len(c.Tags) != 2 || c.Tags[0].Value != "Zürich" || len(c.TransitiveTagKeys) != 1 || c.SessionPolicy == "" || len(c.SessionPolicyARNs) != 1 || c.Epoch != 42 || c.Chained {
		t.Errorf("%+v", c)
	}
	e := w.recorded[0]
	if e.Action != "sts.AssumeRoleWithWebIdentity" || e.Role != loaderARN || e.AccessKeyID != out.Credentials.AccessKeyID || e.Detail["issuer"] != issuer ||
		e.Detail["subject"] != "job:nightly" || e.Detail["token"] != "t1" || e.Source != "10.1.2.3" {
		t.Errorf("%+v", e)
	}
	if raw := fmt.Sprint(e); strings.Contains(raw, r.Token.Reveal()[:40]) {
		t.Error("the trail carries the ID token")
	}
}

// TestWebIdentityTagShapes: the two shapes of session tags in ID tokens.
func TestWebIdentityTagShapes(t *testing.T) {
	t.Parallel()
	const tags = "https://aws.amazon.com/tags"
	for name, tc := range map[string]struct {
		claims map[string]any
		want   string
		text   string
	}{
		"nested":                 {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": []string{"1"}, "b": []string{"2"}}, "transitive_tag_keys": []string{"b"}}}, "a=1 b=2 b", ""},
		"nested, bare text":      {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": "1"}}}, "a=1", ""},
		"flat":                   {map[string]any{tags + "/principal_tags/a": "1", tags + "/principal_tags/b": []string{"2"}, tags + "/transitive_tag_keys": []string{"a"}}, "a=1 b=2 a", ""},
		"flat, one key":          {map[string]any{tags + "/principal_tags/a": "1", tags + "/transitive_tag_keys": "a"}, "a=1 a", ""},
		"empty value":            {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": []string{""}}}}, "a=", ""},
		"nothing in it":          {map[string]any{tags: map[string]any{}}, "", ""},
		"both shapes":            {map[string]any{tags: map[string]any{}, tags + "/principal_tags/a": "1"}, "", "not in correct format"},
		"not an object":          {map[string]any{tags: "a"}, "", "Session tags passed in claim are not in correct format."},
		"tags not an object":     {map[string]any{tags: map[string]any{"principal_tags": []string{"a"}}}, "", "principal_tags passed in claim is not in correct format."},
		"two values":             {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": []string{"1", "2"}}}}, "", "exactly one value"},
		"no value":               {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": []string{}}}}, "", "exactly one value"},
		"number":                 {map[string]any{tags + "/principal_tags/a": 1}, "", "exactly one value"},
		"letter case":            {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": "1", "A": "2"}}}, "", "Duplicate tag keys"},
		"of AWS":                 {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"aws:x": "1"}}}, "", "System tags"},
		"characters":             {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": "*"}}}, "", "regular expression"},
		"value too long":         {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": strings.Repeat("é", 257)}}}, "", "length"},
		"transitive without tag": {map[string]any{tags: map[string]any{"transitive_tag_keys": []string{"a"}}}, "", "must be included"},
		"transitive twice":       {map[string]any{tags: map[string]any{"principal_tags": map[string]any{"a": "1"}, "transitive_tag_keys": []string{"a", "A"}}}, "", "must be included"},
		"transitive as number":   {map[string]any{tags: map[string]any{"transitive_tag_keys": 5}}, "", "transitive_tag_keys"},
	} {
		w := newWeb(t)
		out, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, tc.claims))
		if err != nil {
			if f := fault.Of(err); tc.text == "" || f.Code != "InvalidIdentityToken" || !strings.Contains(f.Public, tc.text) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
		var got []string
		for _, tag := range c.Tags {
			got = append(got, tag.Key+"="+tag.Value)
		}
		if got := strings.Join(append(got, c.TransitiveTagKeys...), " "); got != tc.want || tc.text != "" {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestRolesClaim: where the claim stands it is enforced before the trust policy.
func TestRolesClaim(t *testing.T) {
	t.Parallel()
	const missing, none, format = "The target role ARN is not present in the roles claim of the identity token", "The roles claim contains no valid role ARNs", "The roles claim is not in a supported format"
	other := "arn:aws:iam::111122223333:role/other"
	for name, tc := range map[string]struct {
		claim  any
		pinned string
		text   string
	}{
		"absent":              {issuertest.Absent, "false", ""},
		"null":                {nil, "false", ""},
		"the role":            {loaderARN, "true", ""},
		"a list with it":      {[]any{other, loaderARN}, "true", ""},
		"separated":           {other + "; " + loaderARN, "true", ""},
		"another":             {other, "", missing},
		"a list without it":   {[]any{other, other + "2"}, "", missing},
		"another path":        {"arn:aws:iam::111122223333:role/loader", "", missing},
		"letter case":         {"arn:aws:iam::111122223333:role/jobs/Loader", "", missing},
		"another account":     {"arn:aws:iam::444455556666:role/jobs/loader", "", missing},
		"a wildcard":          {"arn:aws:iam::111122223333:role/jobs/*", "", none},
		"a name":              {"loader", "", none},
		"empty":               {"", "", none},
		"empty list":          {[]any{}, "", none},
		"numbers":             {[]any{1, 2}, "", none},
		"a number":            {5, "", format},
		"an object":           {map[string]any{"a": loaderARN}, "", format},
		"numbers beside it":   {[]any{1, loaderARN}, "true", ""},
		"a session of it":     {"arn:aws:sts::111122223333:assumed-role/loader/x", "", none},
		"as prefix of a name": {loaderARN + "2", "", missing},
	} {
		for _, pinned := range []string{"true", "false"} {
			w := newWeb(t)
			w.state.Roles[1].Trust.Document = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"` + oidcARN + `"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"Bool":{"sts:RoleAuthorizedByIdp":"` + pinned + `"}}}}`
			_, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, map[string]any{"https://aws.amazon.com/roles": tc.claim}))
			switch f := fault.Of(err); {
			case tc.text != "":
				if f == nil || f.Code != "InvalidIdentityToken" || f.Public != tc.text {
					t.Errorf("%s: %v", name, err)
				}
			case (err == nil) != (pinned == tc.pinned):
				t.Errorf("%s, trust asks for %s: %v", name, pinned, err)
			}
		}
	}
}

// TestWebIdentityRefusals: each cause has AWS's code and words.
func TestWebIdentityRefusals(t *testing.T) {
	t.Parallel()
	stranger := issuertest.NewKey(t, "k1", "ES256")
	session := func(name string) func(*sts.WebRequest) { return func(r *sts.WebRequest) { r.SessionName = name } }
	role := func(arn string) func(*sts.WebRequest) { return func(r *sts.WebRequest) { r.RoleARN = arn } }
	token := func(text string) func(*sts.WebRequest) { return func(r *sts.WebRequest) { r.Token = secret.New(text) } }
	trusting := func(document string) func(*web) { return func(w *web) { w.state.Roles[1].Trust.Document = document } }
	for name, tc := range map[string]struct {
		claims     map[string]any
		call       func(*sts.WebRequest)
		world      func(*web)
		code, text string
	}{
		"no role":                 {call: role(""), code: "ValidationError", text: "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"},
		"role ARN of a user":      {call: role("arn:aws:iam::111122223333:user/somebody"), code: "ValidationError", text: "Request ARN is invalid"},
		"no session name":         {call: session(""), code: "ValidationError", text: "Value null at 'roleSessionName'"},
		"session name too short":  {call: session("a"), code: "ValidationError", text: "Value 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2"},
		"session name too long":   {call: session(strings.Repeat("a", 65)), code: "ValidationError", text: "less than or equal to 64"},
		"session name characters": {call: session("a b"), code: "ValidationError", text: `[\w+=,.@-]*`},
		"no token":                {call: token(""), code: "ValidationError", text: "Value null at 'webIdentityToken'"},
		"token too short":         {call: token("abc"), code: "ValidationError"},
		"token too long":          {call: token(strings.Repeat("a", 20001)), code: "ValidationError", text: "less than or equal to 20000"},
		"duration too short":      {call: func(r *sts.WebRequest) { r.HasDuration, r.Duration = true, 899*time.Second }, code: "ValidationError", text: "Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		"duration too long":       {call: func(r *sts.WebRequest) { r.HasDuration, r.Duration = true, 43201*time.Second }, code: "ValidationError", text: "less than or equal to 43200"},
		"over the role's":         {call: func(r *sts.WebRequest) { r.HasDuration, r.Duration = true, 7201*time.Second }, code: "ValidationError", text: "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		"ProviderId":              {call: func(r *sts.WebRequest) { r.ProviderID = "www.amazon.com" }, code: "ValidationError", text: "ProviderId"},
		"two at once":             {call: func(r *sts.WebRequest) { r.SessionName, r.RoleARN = "", "" }, code: "ValidationError", text: "2 validation errors detected: "},
		"not a JWT":               {call: token("not-a-token"), code: "InvalidIdentityToken", text: "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"},
		"no issuer":               {claims: map[string]any{"iss": issuertest.Absent}, code: "InvalidIdentityToken", text: "Missing a required claim: iss"},
		"issuer not in IAM":       {claims: map[string]any{"iss": "https://evil.example"}, code: "InvalidIdentityToken", text: "No OpenIDConnect provider found in your account for https://evil.example"},
		"issuer without scheme":   {claims: map[string]any{"iss": "id.example/oidc"}, code: "InvalidIdentityToken", text: "No OpenIDConnect provider"},
		"another account":         {call: role("arn:aws:iam::444455556666:role/jobs/loader"), code: "InvalidIdentityToken", text: "No OpenIDConnect provider"},
		"stranger's key":          {call: token(stranger.Sign(t, nil, webClaims(nil))), code: "InvalidIdentityToken", text: "Invalid signature"},
		"unknown key":             {world: func(w *web) { w.key.ID = "k9" }, code: "InvalidIdentityToken", text: "Couldn't retrieve verification key from your identity provider"},
		"provider away":           {world: func(w *web) { w.away = fault.New(fault.Unavailable, "away") }, code: "IDPCommunicationError", text: "could not be reached"},
		"provider's page":         {world: func(w *web) { w.away = fault.New(fault.Misconfigured, "not a key set") }, code: "InvalidIdentityToken", text: "Couldn't retrieve verification key"},
		"wrong audience":          {claims: map[string]any{"aud": "sts"}, code: "InvalidIdentityToken", text: "Incorrect token audience"},
		"no client id":            {world: func(w *web) { w.state.OIDCProviders[0].ClientIDs = nil }, code: "InvalidIdentityToken", text: "Incorrect token audience"},
		"expired":                 {claims: map[string]any{"exp": now.Add(-5 * time.Minute).Unix()}, code: "ExpiredTokenException", text: fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), now.Unix()-300)},
		"from the future":         {claims: map[string]any{"iat": now.Add(6 * time.Minute).Unix()}, code: "InvalidIdentityToken", text: "future"},
		"subject as number":       {claims: map[string]any{"sub": 5}, code: "InvalidIdentityToken", text: "sub"},
		"source identity":         {claims: map[string]any{"https://aws.amazon.com/source_identity": "a b"}, code: "InvalidIdentityToken", text: "source identity"},
		"source identity of AWS":  {claims: map[string]any{"https://aws.amazon.com/source_identity": "aws:x"}, code: "InvalidIdentityToken"},
		"source identity, list":   {claims: map[string]any{"https://aws.amazon.com/source_identity": []string{"alice"}}, code: "InvalidIdentityToken"},
		"role that is not there":  {call: role(loaderARN + "2"), code: "AccessDenied", text: "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"another subject":         {claims: map[string]any{"sub": "job:daily"}, code: "AccessDenied", text: "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"tags not trusted":        {world: trusting(onlyWeb), claims: map[string]any{"https://aws.amazon.com/tags/principal_tags/a": "1"}, code: "AccessDenied", text: "sts:TagSession"},
		"source id not trusted":   {world: trusting(onlyWeb), claims: map[string]any{"https://aws.amazon.com/source_identity": "alice"}, code: "AccessDenied", text: "sts:SetSourceIdentity"},
		"trust in SAML alone":     {world: trusting(strings.ReplaceAll(onlyWeb, "WebIdentity", "SAML")), code: "AccessDenied"},
		"trust in every AWS one":  {world: trusting(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:*"}}`), code: "AccessDenied"},
		"trust in the account":    {world: trusting(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:*"}}`), code: "AccessDenied"},
		"trust in another issuer": {world: trusting(strings.ReplaceAll(onlyWeb, "id.example/oidc", "id.example")), code: "AccessDenied"},
		"resource control": {world: func(w *web) {
			w.state.Guardrails = []iam.GuardrailsRecord{{Account: "111122223333", ResourceControl: [][]iam.Policy{{{Name: "rcp", Document: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRoleWithWebIdentity","Resource":"*","Condition":{"StringNotEquals":{"id.example/oidc:sub":"job:weekly"}}}]}`}}}}}
		}, code: "AccessDenied"},
		"managed policy gone": {call: func(r *sts.WebRequest) { r.PolicyARNs = []string{managedRead + "2"} }, code: "ValidationError", text: "no managed policy"},
		"managed, not an ARN": {call: func(r *sts.WebRequest) { r.PolicyARNs = []string{"AmazonS3ReadOnlyAccess-not-an-arn"} }, code: "ValidationError", text: "not the ARN of a managed policy"},
		"policy malformed":    {call: func(r *sts.WebRequest) { r.HasPolicy, r.Policy = true, `{"Statement":[{"Effect":"Maybe"}]}` }, code: "MalformedPolicyDocument"},
		"policy and ARNs large": {call: func(r *sts.WebRequest) {
			r.HasPolicy, r.Policy, r.PolicyARNs = true, strings.Repeat(" ", 2040), []string{managedRead}
		}, code: "PackedPolicyTooLarge"},
		"authority away": {world: func(w *web) { w.epochErr = fault.New(fault.Unavailable, "away") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWeb(t)
			if tc.world != nil {
				tc.world(w)
			}
			r := w.request(t, tc.claims)
			if tc.call != nil {
				tc.call(&r)
			}
			out, err := w.service().AssumeRoleWithWebIdentity(t.Context(), r)
			if err == nil || out != nil {
				t.Fatalf("granted: %+v", out)
			}
			f := fault.Of(err)
			if f.Code != tc.code || !strings.Contains(f.Public, tc.text) {
				t.Errorf("got %s %q, want %s %q", f.Code, f.Public, tc.code, tc.text)
			}
			if len(w.recorded) > 0 {
				t.Error("a refusal stands in the trail as an exchange")
			}
		})
	}
}

// TestUnknownKeysAreLookedForOnce: a token of a key that the provider has just
// begun to use is good; an issuer that is not in IAM is never asked.
func TestUnknownKeysAreLookedForOnce(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	w.key.ID = "k2"
	w.again = keySet(t, w.key)
	if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, nil)); err != nil {
		t.Error(err)
	}
	if got := strings.Join(w.asked, "; "); got != issuer+" false; "+issuer+" true" {
		t.Errorf("asked %s", got)
	}
	w = newWeb(t)
	if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, map[string]any{"iss": "https://evil.example"})); err == nil || len(w.asked) != 0 {
		t.Errorf("an issuer that a token names was asked: %v", w.asked)
	}
}

// TestWebTrustConditions asks what a trust policy may ask of an ID token.
func TestWebTrustConditions(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]bool{
		`"StringEquals":{"id.example/oidc:aud":"other"}`:                                                     true,
		`"ForAllValues:StringEquals":{"id.example/oidc:oaud":["x","y"]}`:                                     true,
		`"StringEquals":{"id.example/oidc:aud":"x"}`:                                                         false,
		`"StringEquals":{"ID.EXAMPLE/OIDC:SUB":"job:nightly"}`:                                               true,
		`"StringLike":{"id.example/oidc:sub":"job:*"}`:                                                       true,
		`"ForAnyValue:StringEquals":{"id.example/oidc:amr":"mfa"}`:                                           true,
		`"StringEquals":{"id.example/oidc:email":"a@example.com"}`:                                           true,
		`"Null":{"id.example/oidc:department":"true"}`:                                                       true,
		`"StringEquals":{"sts:RoleSessionName":"nightly"}`:                                                   true,
		`"StringEquals":{"sts:SourceIdentity":"alice"}`:                                                      true,
		`"StringEquals":{"aws:RequestTag/team":"blue"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}`: true,
		`"ForAllValues:StringEquals":{"sts:TransitiveTagKeys":["team"]}`:                                     true,
		`"StringEquals":{"aws:ResourceTag/stage":"prod"}`:                                                    true,
		`"StringEquals":{"aws:FederatedProvider":"` + oidcARN + `"}`:                                         true,
		`"StringEquals":{"aws:ResourceAccount":"111122223333"}`:                                              true,
		`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`:                                                          true,
		`"Bool":{"sts:RoleAuthorizedByIdp":"false"}`:                                                         true,
		`"Null":{"saml:sub":"true"}`:                                                                         true,
	} {
		w := newWeb(t)
		w.state.Roles[1].Trust.Document = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"` + oidcARN + `"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"],"Condition":{` + condition + `}}}`
		r := w.request(t, map[string]any{
			"aud": []string{"x", "y"}, "azp": "other", "amr": []string{"mfa"}, "email": "a@example.com", "department": "x",
			"https://aws.amazon.com/source_identity": "alice",
			"https://aws.amazon.com/tags":            map[string]any{"principal_tags": map[string]any{"team": "blue"}, "transitive_tag_keys": []string{"team"}},
		})
		if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), r); (err == nil) != want {
			t.Errorf("%s: %v", condition, err)
		}
	}
}

func TestAFailingTrailStopsAWebIdentity(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	w.recordErr = fault.New(fault.Unavailable, "away")
	if out, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, nil)); err == nil || out != nil {
		t.Errorf("%+v", out)
	}
}
