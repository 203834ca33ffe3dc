package workload_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/workload"
)

// TestTokensOfOthers: what GitHub, Kubernetes and others issue, by each way to
// their keys.
func TestTokensOfOthers(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]func(w *world, p *workload.FederationPolicy){
		"by discovery": func(*world, *workload.FederationPolicy) {},
		"at an address": func(w *world, p *workload.FederationPolicy) {
			p.JWKSURL = w.foreign.URL + issuertest.KeySet
		},
		"given": func(w *world, p *workload.FederationPolicy) { p.JWKS = asJSON(w.t, issuertest.Set(w.foreign.Keys...)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.policy()
			keys(w, &p)
			p = w.add(p)
			w.taken("GitHub's", w.token(nil))
			w.taken("one signed with ES256", w.foreign.Keys[1].Sign(t, nil, w.claims(nil)))
			w.taken("Kubernetes': a list of audiences, no typ", w.foreign.Keys[0].Sign(t, map[string]any{"typ": issuertest.Absent},
				w.claims(map[string]any{"aud": []string{"https://kubernetes.default.svc", base + "/oidc"}, "nbf": w.Now().Unix(), "jti": issuertest.Absent,
					"kubernetes.io": map[string]any{"namespace": "data"}})))
			w.taken("for the account level", w.token(map[string]any{"aud": base + "/oidc/accounts/" + org}))
			w.taken("of another authorized party", w.token(map[string]any{"azp": "gitlab-runner"}))
			again := w.token(nil)
			w.taken("once", again)
			w.taken("and again within its life", again)
			proven, err := w.resolve(again, "")
			if err != nil || proven.Policy.ID != p.ID || proven.Claims.ID != "run-1" || proven.Detail()["foreign_subject"] != p.Subject {
				t.Errorf("%+v, %v", proven, err)
			}
			if asked := w.foreign.Asked(issuertest.Discovery) > 0; asked != (name == "by discovery") {
				t.Errorf("discovery was asked: %v", asked)
			}
		})
	}
}

// TestSubjectClaim: another claim than sub may name the workload.
func TestSubjectClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.policy()
	p.SubjectClaim, p.Subject = "job_workflow_ref", "acme/ci/.github/workflows/build.yml@refs/heads/main"
	w.add(p)
	w.taken("the claim", w.token(map[string]any{"job_workflow_ref": p.Subject, "sub": "anything"}))
	w.refused("sub has its value", w.token(map[string]any{"sub": p.Subject}))
	w.refused("another value", w.token(map[string]any{"job_workflow_ref": "x"}))
}

// TestPeopleByPolicy: the claim is the subject by which an identity provider knows
// a person, and nothing else links anybody.
func TestPeopleByPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(workload.FederationPolicy{Name: "people", Issuer: w.foreign.URL, IdP: okta})
	p, err := w.resolve(w.token(map[string]any{"sub": "subject-of-alice"}), "")
	want := workload.Principal{Person: w.alice.ID, IdP: okta}
	if err != nil || p.Principal != want || p.Subject() != "user:"+string(w.alice.ID) {
		t.Fatalf("%+v, %v", p.Principal, err)
	}
	w.refused("nobody", w.token(map[string]any{"sub": "subject-of-bob"}))
	w.refused("by user name", w.token(map[string]any{"sub": "alice@example.com"}))
	w.refused("by mail", w.token(map[string]any{"sub": "mail@example.com", "email": "mail@example.com"}))
	if _, err := w.resolve(w.token(map[string]any{"sub": "subject-of-alice"}), w.sp.ID); code(err) != workload.CodeGrant {
		t.Errorf("as a service principal: %v", err)
	}
	w.must(w.dir.SetActive(t.Context(), w.alice.ID, false))
	w.refused("switched off", w.token(map[string]any{"sub": "subject-of-alice"}))
	if e := w.trail.last(); e.Outcome != "denied" || e.Target != want.Subject() || e.Detail["policy"] == "" {
		t.Errorf("the refusal of somebody who was proven is not recorded: %+v", e)
	}
	w.must(w.dir.SetActive(t.Context(), w.alice.ID, true))
	sp := w.idps[okta]
	delete(w.idps, okta)
	w.refused("the identity provider is switched off", w.token(map[string]any{"sub": "subject-of-alice"}))
	other := *sp
	other.IdP.UserNameDomains = []string{"other.example"}
	w.idps[okta] = &other
	w.refused("the domain was taken from its list", w.token(map[string]any{"sub": "subject-of-alice"}))
}

// TestAttackForeignTokens holds the checklist of RFC 8725 and of products that
// missed a line of it, against a policy that takes the good token.
func TestAttackForeignTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(w.policy())
	rsaKey, stranger := w.foreign.Keys[0], issuertest.NewKey(t, "rsa", "RS256")
	w.taken("the good one", w.token(nil))
	now := w.Now().Unix()
	public, err := x509.MarshalPKIXPublicKey(rsaKey.Private.Public())
	w.must(err)
	none := issuertest.Encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + issuertest.Encode(asJSON(t, w.claims(nil))) + "."
	input := issuertest.Encode([]byte(`{"alg":"HS256","typ":"JWT","kid":"rsa"}`)) + "." + issuertest.Encode(asJSON(t, w.claims(nil)))
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(input))
	good := asJSON(t, w.claims(nil))
	header := []byte(`{"alg":"RS256","typ":"JWT","kid":"rsa"}`)
	for name, token := range map[string]string{
		"audience of another":         w.token(map[string]any{"aud": "https://other.example.com"}),
		"audience is AWS's":           w.token(map[string]any{"aud": issuer.AudienceAWS}),
		"audience in other case":      w.token(map[string]any{"aud": strings.ToUpper(org)}),
		"azp alone is ours":           w.token(map[string]any{"aud": "https://other.example.com", "azp": org}),
		"no audience":                 w.token(map[string]any{"aud": issuertest.Absent}),
		"issuer of another":           w.token(map[string]any{"iss": "https://other.example.com"}),
		"issuer with a slash":         w.token(map[string]any{"iss": w.foreign.URL + "/"}),
		"issuer in other case":        w.token(map[string]any{"iss": strings.ToUpper(w.foreign.URL)}),
		"issuer as a list":            w.token(map[string]any{"iss": []string{w.foreign.URL}}),
		"our own issuer":              w.token(map[string]any{"iss": base + "/oidc"}),
		"key of a stranger, our kid":  stranger.Sign(t, nil, w.claims(nil)),
		"foreign kid":                 rsaKey.Sign(t, map[string]any{"kid": "../../dev/null"}, w.claims(nil)),
		"kid of the other key":        rsaKey.Sign(t, map[string]any{"kid": "ec"}, w.claims(nil)),
		"embedded jwk":                stranger.Sign(t, map[string]any{"jwk": stranger.JWK(), "kid": issuertest.Absent}, w.claims(nil)),
		"embedded jwk, our kid":       stranger.Sign(t, map[string]any{"jwk": stranger.JWK()}, w.claims(nil)),
		"alg none":                    none,
		"alg HS256 with a public key": input + "." + issuertest.Encode(mac.Sum(nil)),
		"access token":                rsaKey.Sign(t, map[string]any{"typ": "at+jwt"}, w.claims(nil)),
		"logout token":                rsaKey.Sign(t, map[string]any{"typ": "logout+jwt"}, w.claims(nil)),
		"crit":                        rsaKey.Sign(t, map[string]any{"crit": []string{"x"}, "x": 1}, w.claims(nil)),
		"ended this second":           w.token(map[string]any{"exp": now}),
		"ended within the skew":       w.token(map[string]any{"exp": now - 30, "iat": now - 600}),
		"no end":                      w.token(map[string]any{"exp": issuertest.Absent}),
		"end as text":                 w.token(map[string]any{"exp": fmt.Sprint(now + 600)}),
		"end with a fraction":         w.token(map[string]any{"exp": json.RawMessage(fmt.Sprint(now+600) + ".5")}),
		"end with an exponent":        w.token(map[string]any{"exp": json.RawMessage("9e9")}),
		"end beyond all numbers":      w.token(map[string]any{"exp": json.RawMessage("99999999999999999999")}),
		"not before later":            w.token(map[string]any{"nbf": now + 61}),
		"not before as text":          w.token(map[string]any{"nbf": "0"}),
		"issued later":                w.token(map[string]any{"iat": now + 61}),
		"not issued":                  w.token(map[string]any{"iat": issuertest.Absent}),
		"issued null":                 w.token(map[string]any{"iat": nil}),
		"subject of another":          w.token(map[string]any{"sub": "repo:acme/data:environment:dev"}),
		"subject longer":              w.token(map[string]any{"sub": "repo:acme/data:environment:prod2"}),
		"subject in other case":       w.token(map[string]any{"sub": "repo:Acme/data:environment:prod"}),
		"subject with an end":         w.token(map[string]any{"sub": "repo:acme/data:environment:prod\x00"}),
		"subject as a list":           w.token(map[string]any{"sub": []string{"repo:acme/data:environment:prod"}}),
		"subject as an object":        w.token(map[string]any{"sub": map[string]any{"repo:acme/data:environment:prod": true}}),
		"subject empty":               w.token(map[string]any{"sub": ""}),
		"subject in other letters":    w.token(map[string]any{"sub": "somebody", "SUB": "repo:acme/data:environment:prod", "Sub": "repo:acme/data:environment:prod"}),
		"subject twice":               rsaKey.SignRaw(t, header, append([]byte(`{"sub":"repo:acme/data:environment:prod",`), asJSON(t, w.claims(map[string]any{"sub": "x"}))[1:]...)),
		"audience twice":              rsaKey.SignRaw(t, header, append([]byte(`{"aud":"`+org+`",`), good[1:]...)),
		"audience twice, escaped":     rsaKey.SignRaw(t, header, append([]byte(`{"\u0061ud":"`+org+`",`), good[1:]...)),
		"something follows":           rsaKey.SignRaw(t, header, append(good, '{', '}')),
		"no token":                    "",
		"an opaque text":              "carnet_s_abcdef",
		"20,001 characters":           strings.Repeat("a", 20001),
	} {
		w.refused(name, token)
	}
}

// TestAttackForeignTokenNamesAnAddress: jku and x5u, and whatever else a token
// names, are never fetched, and never believed.
func TestAttackForeignTokenNamesAnAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := issuertest.NewKey(t, "stranger", "RS256")
	var asked atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_ = json.NewEncoder(rw).Encode(issuertest.Set(stranger))
	}))
	t.Cleanup(trap.Close)
	w.add(w.policy())
	for _, header := range []map[string]any{{"jku": trap.URL}, {"x5u": trap.URL}, {"jku": trap.URL, "kid": issuertest.Absent}, {"jwks_uri": trap.URL}} {
		w.refused(fmt.Sprint(header), stranger.Sign(t, header, w.claims(map[string]any{"jwks_uri": trap.URL, "_claim_sources": map[string]any{"a": map[string]any{"endpoint": trap.URL}}})))
	}
	w.refused("an issuer that no policy has", stranger.Sign(t, nil, w.claims(map[string]any{"iss": trap.URL})))
	w.taken("the good one, with such a header", w.foreign.Keys[0].Sign(t, map[string]any{"jku": trap.URL, "x5u": trap.URL}, w.claims(nil)))
	if n := asked.Load(); n != 0 {
		t.Errorf("an address that a token names was fetched %d times", n)
	}
}

// TestAttackKeySets: what another issuer publishes can harm its own tokens alone.
func TestAttackKeySets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.foreign.Keys[0]
	set := func(extra ...any) string {
		return string(asJSON(t, map[string]any{"keys": append(extra, good.JWK())}))
	}
	many := make([]any, 0, 1001)
	for i := range 1001 {
		k := good.JWK()
		k["kid"] = fmt.Sprint("k", i)
		many = append(many, k)
	}
	for name, c := range map[string]struct {
		set   string
		taken bool
	}{
		"unknown kinds of keys beside": {set(map[string]any{"kty": "AKP", "kid": "pq", "alg": "ML-DSA-44", "pub": "AAAA"}, map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "AAAA"},
			map[string]any{"kty": "oct", "kid": "rsa", "k": "AAAA"}), true}, // the last has the kid of the good one
		"unknown kinds, other names": {set(map[string]any{"kty": "AKP", "kid": "pq"}, map[string]any{"kty": "oct", "kid": "h", "k": "AAAA", "alg": "HS256"}), true},
		"keys for encryption beside": {set(map[string]any{"kty": "RSA", "use": "enc", "kid": "e", "n": "AQAB", "e": "AQAB"}), true},
		"broken keys beside":         {set(map[string]any{"kty": "RSA", "kid": "b", "n": "!", "e": "AQAB"}, map[string]any{"kty": "EC", "crv": "P-256", "kid": "c", "x": "AA", "y": "AA"}), true},
		"a bomb of keys":             {string(asJSON(t, map[string]any{"keys": many})), false},
		"a bomb of depth":            {`{"keys":` + strings.Repeat("[", 200000) + strings.Repeat("]", 200000) + `}`, false},
		"a bomb of a modulus":        {string(asJSON(t, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "kid": "rsa", "n": strings.Repeat("A", 900000), "e": "AQAB"}}})), false},
		"a body without end":         {strings.Repeat(" ", 2<<20) + set(), false},
		"no set":                     {`[]`, false},
		"a page":                     {`<!doctype html>`, false},
	} {
		w.foreign.Answer(issuertest.KeySet, func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(c.set)) })
		p := w.policy()
		p.Name = "ci " + name
		p = w.add(p)
		w.pass(2 * time.Hour) // what was known has gone stale
		got, err := w.resolve(w.token(nil), w.sp.ID)
		if (err == nil) != c.taken || err != nil && code(err) != workload.CodeGrant && code(err) != "temporarily_unavailable" {
			t.Errorf("%s: %+v, %v", name, got.Principal, err)
		}
		w.must(w.Remove(t.Context(), p.ID))
	}
}

// TestAttackAnothersPolicy: a policy speaks for its own service principal, whoever
// the caller says they are, and two that would speak for two are no choice.
func TestAttackAnothersPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(w.policy())
	other, err := w.dir.NewServicePrincipal(t.Context(), "other", "")
	w.must(err)
	for _, sp := range []identity.ServicePrincipalID{other.ID, "spn_none", "spn_", identity.ServicePrincipalID(strings.ToUpper(string(w.sp.ID)))} {
		if _, err := w.resolve(w.token(nil), sp); code(err) != workload.CodeGrant {
			t.Errorf("as %s: %v", sp, err)
		}
	}
	p := w.policy()
	p.ServicePrincipal = other.ID
	w.add(p)
	w.taken("by name", w.token(nil))
	if got, err := w.resolve(w.token(nil), ""); code(err) != workload.CodeGrant || got.Principal != (workload.Principal{}) {
		t.Errorf("two principals: %+v, %v", got.Principal, err)
	}
	// A person whose subject is the workload's makes it no clearer.
	w.must(w.dir.ServicePrincipals.DeleteServicePrincipal(t.Context(), other.ID))
	w.must(w.Forget(t.Context(), other.ID))
	_, _, err = w.dir.EnsurePerson(t.Context(), okta, w.policy().Subject, "mallory@example.com", "", "")
	w.must(err)
	w.add(workload.FederationPolicy{Name: "people", Issuer: w.foreign.URL, IdP: okta})
	w.eventually("the policies of the one who is gone", func() bool {
		_, err := w.resolve(w.token(nil), other.ID)
		return code(err) == workload.CodeGrant
	})
	if got, err := w.resolve(w.token(nil), ""); code(err) != workload.CodeGrant {
		t.Errorf("a person and a service principal: %+v, %v", got.Principal, err)
	}
	w.taken("by name", w.token(nil))
}

// TestAttackSubjectsOfOtherKinds: what an issuer puts into sub is a name of its
// own, even where it looks like one of ours.
func TestAttackSubjectsOfOtherKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(w.policy())
	w.add(workload.FederationPolicy{Name: "people", Issuer: w.foreign.URL, IdP: okta})
	d := w.delegation()
	for _, sub := range []string{"sp:" + string(w.sp.ID), string(w.sp.ID), "user:" + string(w.alice.ID), string(w.alice.ID), "job:" + string(d.ID), string(d.ID), "nightly", "idp_okta", "*", "%"} {
		w.refused(sub, w.token(map[string]any{"sub": sub}))
	}
}

// TestAttackDisabledPrincipal: one that is switched off, or gone, proves nothing.
func TestAttackDisabledPrincipal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(w.policy())
	w.must(w.dir.SetServicePrincipalActive(t.Context(), w.sp.ID, false))
	w.refused("switched off", w.token(nil))
	if _, err := w.ask(workload.Principal{ServicePrincipal: w.sp.ID}, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline}); code(err) != workload.CodeGrant {
		t.Errorf("a token for one that is switched off: %v", err)
	}
	w.must(w.dir.SetServicePrincipalActive(t.Context(), w.sp.ID, true))
	w.taken("switched on again", w.token(nil))
	w.must(w.dir.ServicePrincipals.DeleteServicePrincipal(t.Context(), w.sp.ID))
	w.refused("gone", w.token(nil))
}

// TestKeysAreRotated: a key that the issuer has published since is looked for, and
// one that it has withdrawn is not taken for longer than keys are kept.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(w.policy())
	w.taken("before", w.token(nil))
	old := w.foreign.Keys[0]
	w.foreign.SetKeys(issuertest.NewKey(t, "new", "ES256"))
	w.pass(15 * time.Second)
	w.taken("with the new key", w.token(nil))
	w.pass(10 * time.Minute)
	w.refused("with the old key", old.Sign(t, nil, w.claims(nil)))
}

// TestIssuerIsAway: that is nobody's fault, and comes back.
func TestIssuerIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(w.policy())
	w.foreign.Answer(issuertest.KeySet, func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "away", http.StatusBadGateway) })
	if _, err := w.resolve(w.token(nil), w.sp.ID); fault.KindOf(err) != fault.Unavailable || code(err) != "temporarily_unavailable" {
		t.Errorf("%v", err)
	}
	w.foreign.Answer(issuertest.KeySet, nil)
	w.pass(15 * time.Second)
	w.taken("back again", w.token(nil))
}

// TestCheckSaysWhy: the administrator is told of each policy why it does not take
// a token; the caller is told nothing of policies.
func TestCheckSaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.policy()
	p.Audiences = []string{"secret-audience"}
	w.add(p)
	other := w.policy()
	other.Name, other.Subject = "second", "repo:acme/other"
	w.add(other)
	all, err := w.Check(t.Context(), workload.Foreign{Token: secretOf(w.token(nil))})
	w.must(err)
	if len(all) != 2 || all[0].Refusal == nil || !strings.Contains(all[0].Refusal.Public, "secret-audience") ||
		all[1].Refusal == nil || !strings.Contains(all[1].Refusal.Public, "repo:acme/other") {
		t.Errorf("%+v", all)
	}
	_, err = w.resolve(w.token(nil), w.sp.ID)
	if text := fault.Of(err).Public + fault.Of(err).Mend; strings.Contains(text, "secret-audience") || strings.Contains(text, "acme/other") || !strings.Contains(text, "federation-policy check") {
		t.Errorf("the caller is told %q", text)
	}
	if _, err := w.Check(t.Context(), workload.Foreign{Token: secretOf(w.token(map[string]any{"iss": "https://x.example"}))}); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

func secretOf(s string) secret.Text { return secret.New(s) }

// eventually waits for what another server's change brings.
func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Errorf("%s: not within 5 s", what)
}

// TestRemovedPolicy: it counts no more, at once.
func TestRemovedPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.add(w.policy())
	w.taken("before", w.token(nil))
	w.must(w.Remove(t.Context(), p.ID))
	w.refused("after", w.token(nil))
	if err := w.Remove(t.Context(), p.ID); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if e := w.trail.last(); e.Action != "federation-policy.remove" || e.Target != string(p.ID) {
		t.Errorf("%+v", e)
	}
}
