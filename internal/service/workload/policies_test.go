package workload_test

import (
	"context"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/service/workload"
)

// TestPolicyRules: what an administrator may not write, and the word for it.
func TestPolicyRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := asJSON(t, issuertest.Set(w.foreign.Keys...))
	for name, c := range map[string]struct {
		change func(p *workload.FederationPolicy)
		code   string
	}{
		"good":                       {func(*workload.FederationPolicy) {}, ""},
		"with audiences and keys":    {func(p *workload.FederationPolicy) { p.Name, p.Audiences, p.JWKS = "b", []string{"x"}, keys }, ""},
		"with an address of keys":    {func(p *workload.FederationPolicy) { p.Name, p.JWKSURL = "c", "https://keys.example.com/jwks?x=1" }, ""},
		"no name":                    {func(p *workload.FederationPolicy) { p.Name = "" }, "federation-policy.name"},
		"name with a line break":     {func(p *workload.FederationPolicy) { p.Name = "a\nb" }, "federation-policy.name"},
		"no issuer":                  {func(p *workload.FederationPolicy) { p.Issuer = "" }, "federation-policy.issuer"},
		"issuer in plain http":       {func(p *workload.FederationPolicy) { p.Issuer = "http://issuer.example.com" }, "federation-policy.issuer"},
		"issuer with a query":        {func(p *workload.FederationPolicy) { p.Issuer = "https://issuer.example.com/?a=b" }, "federation-policy.issuer"},
		"issuer with an empty query": {func(p *workload.FederationPolicy) { p.Issuer = "https://issuer.example.com/?" }, "federation-policy.issuer"},
		"issuer with a fragment":     {func(p *workload.FederationPolicy) { p.Issuer = "https://issuer.example.com/#x" }, "federation-policy.issuer"},
		"issuer with a user":         {func(p *workload.FederationPolicy) { p.Issuer = "https://a:b@issuer.example.com" }, "federation-policy.issuer"},
		"issuer is a file":           {func(p *workload.FederationPolicy) { p.Issuer = "file:///etc/passwd" }, "federation-policy.issuer"},
		"issuer without a scheme":    {func(p *workload.FederationPolicy) { p.Issuer = "issuer.example.com" }, "federation-policy.issuer"},
		"issuer is ours":             {func(p *workload.FederationPolicy) { p.Issuer = base + "/oidc" }, "federation-policy.issuer"},
		"issuer is our other one":    {func(p *workload.FederationPolicy) { p.Issuer = base + "/oidc/accounts/" + org }, "federation-policy.issuer"},
		"a pasted discovery address": {func(p *workload.FederationPolicy) {
			p.Issuer = "https://issuer.example.com/x/.well-known/openid-configuration"
		}, "federation-policy.issuer"},
		"eleven audiences":        {func(p *workload.FederationPolicy) { p.Audiences = strings.Split(strings.Repeat("a,", 11), ",")[:11] }, "federation-policy.audiences"},
		"an empty audience":       {func(p *workload.FederationPolicy) { p.Audiences = []string{""} }, "federation-policy.audiences"},
		"AWS's audience":          {func(p *workload.FederationPolicy) { p.Audiences = []string{"sts.amazonaws.com"} }, "federation-policy.audiences"},
		"nobody":                  {func(p *workload.FederationPolicy) { p.ServicePrincipal = "" }, "federation-policy.whom"},
		"both":                    {func(p *workload.FederationPolicy) { p.IdP = okta }, "federation-policy.whom"},
		"no subject":              {func(p *workload.FederationPolicy) { p.Subject = "" }, "federation-policy.subject"},
		"a pattern":               {func(p *workload.FederationPolicy) { p.Subject = "repo:acme/*" }, "federation-policy.subject"},
		"people with a subject":   {func(p *workload.FederationPolicy) { p.ServicePrincipal, p.IdP = "", okta }, "federation-policy.subject"},
		"people by mail":          {people(func(p *workload.FederationPolicy) { p.SubjectClaim = "email" }), "federation-policy.subject-claim"},
		"people by a mail's like": {people(func(p *workload.FederationPolicy) { p.SubjectClaim = "UPN" }), "federation-policy.subject-claim"},
		"a claim without a name":  {func(p *workload.FederationPolicy) { p.SubjectClaim = " " }, "federation-policy.subject-claim"},
		"keys twice":              {func(p *workload.FederationPolicy) { p.JWKS, p.JWKSURL = keys, "https://keys.example.com" }, "federation-policy.keys"},
		"keys in plain http":      {func(p *workload.FederationPolicy) { p.JWKSURL = "http://keys.example.com/" }, "federation-policy.jwks-url"},
		"keys inside":             {func(p *workload.FederationPolicy) { p.JWKSURL = "http://169.254.169.254/latest" }, "federation-policy.jwks-url"},
		"no keys":                 {func(p *workload.FederationPolicy) { p.JWKS = []byte(`{"keys":[]}`) }, "federation-policy.keys"},
		"no set":                  {func(p *workload.FederationPolicy) { p.JWKS = []byte(`[]`) }, "federation-policy.keys"},
		"a private key":           {func(p *workload.FederationPolicy) { p.JWKS = private(t, w.foreign.Keys[0]) }, "federation-policy.keys"},
		"keys for an HMAC":        {func(p *workload.FederationPolicy) { p.JWKS = []byte(`{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}`) }, "federation-policy.keys"},
		"keys without end":        {func(p *workload.FederationPolicy) { p.JWKS = append(make([]byte, 70000), keys...) }, "federation-policy.keys"},
	} {
		p := w.policy()
		p.Name = "a " + name
		c.change(&p)
		got, err := w.Add(t.Context(), p)
		if code(err) != c.code || err == nil && (got.ID == "" || got.SubjectClaim == "") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	p := w.policy()
	p.ServicePrincipal = "spn_none"
	if _, err := w.Add(t.Context(), p); fault.KindOf(err) != fault.NotFound {
		t.Errorf("for nobody: %v", err)
	}
	if _, err := w.Add(t.Context(), workload.FederationPolicy{Name: "x", Issuer: w.foreign.URL, IdP: "idp_none"}); err == nil {
		t.Error("for people of nobody")
	}
}

func people(change func(*workload.FederationPolicy)) func(*workload.FederationPolicy) {
	return func(p *workload.FederationPolicy) {
		p.ServicePrincipal, p.Subject, p.IdP = "", "", okta
		change(p)
	}
}

// private is a key set with a private exponent in it.
func private(t *testing.T, k issuertest.Key) []byte {
	t.Helper()
	jwk := k.JWK()
	jwk["d"] = "AQAB"
	return asJSON(t, map[string]any{"keys": []any{jwk}})
}

// TestPolicyBounds: twenty for each service principal, and twenty for people.
func TestPolicyBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, whom := range []func(*workload.FederationPolicy){func(*workload.FederationPolicy) {}, people(func(*workload.FederationPolicy) {})} {
		for i := range 21 {
			p := w.policy()
			p.Name = strings.Repeat("x", i+1)
			whom(&p)
			if _, err := w.Add(t.Context(), p); (err == nil) != (i < 20) || err != nil && code(err) != "federation-policy.most" {
				t.Errorf("policy %d: %v", i+1, err)
			}
		}
	}
	if len(w.All()) != 40 {
		t.Errorf("%d policies", len(w.All()))
	}
	if _, err := w.Find("X"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a name of two: %v", err)
	}
	if p, err := w.Find(string(w.All()[3].ID)); err != nil || p.ID != w.All()[3].ID {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := w.Find("none"); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// TestPoliciesFollowOtherServers: what another server adds counts here.
func TestPoliciesFollowOtherServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.policy()
	p.ID, p.SubjectClaim = identity.NewFederationPolicyID(), "sub"
	w.must(w.store.AddPolicy(context.WithoutCancel(t.Context()), p, 20))
	w.eventually("the other server's policy", func() bool {
		_, err := w.resolve(w.token(nil), w.sp.ID)
		return err == nil
	})
}
