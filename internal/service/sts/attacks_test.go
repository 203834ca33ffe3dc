package sts_test

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
)

// late is a feed to which a revocation comes just as an epoch is asked for.
type late struct{ asked bool }

func (l *late) Epoch() (uint64, error)                       { l.asked = true; return 43, nil }
func (l *late) Refused(string, string, uint64) (bool, error) { return l.asked, nil }

// TestAttackChainDuringRevocation: a session that is revoked while it assumes a
// role doesn't leave behind a new one with a newer epoch.
func TestAttackChainDuringRevocation(t *testing.T) {
	t.Parallel()
	w, feed := newSigners(t), &late{}
	w.may = access.New(access.Config{Authority: w, Keys: ring{}, Revocations: feed, Region: "us-east-1", Now: func() time.Time { return w.now }})
	s := sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: feed, Access: w.may, Trail: w, Now: func() time.Time { return w.now }})
	_, err := s.AssumeRole(t.Context(), roleRequest("arn:aws:iam::"+here+":role/data", w.session(t, nil)))
	if fault.Of(err) == nil || fault.Of(err).Code != "AccessDenied" {
		t.Errorf("got %v", err)
	}
}

// TestAttackManagedPolicyOracle: strangers can't find out which managed policies
// an account has by naming them as session policies.
func TestAttackManagedPolicyOracle(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	const there, missing = "arn:aws:iam::111122223333:policy/secret-project", "arn:aws:iam::111122223333:policy/no-such-policy"
	w.state.ManagedPolicies = []iam.ManagedPolicyRecord{{
		ID: "ANPA1", Account: "111122223333", Path: "/", Name: "secret-project", Default: "v1", Next: 2,
		Versions: []iam.PolicyVersion{{ID: "v1", Document: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`}},
	}}
	ask := func(policy string, change func(*sts.WebRequest)) string {
		r := w.request(t, nil)
		r.PolicyARNs = []string{policy}
		change(&r)
		_, err := w.service().AssumeRoleWithWebIdentity(t.Context(), r)
		if err == nil {
			return ""
		}
		return fault.Of(err).Code + " " + fault.Of(err).Public
	}
	for name, change := range map[string]func(*sts.WebRequest){
		"no token": func(r *sts.WebRequest) { r.Token = secret.New("a.b.c") },
		"not trusted": func(r *sts.WebRequest) {
			r.Token = secret.New(w.key.Sign(t, nil, webClaims(map[string]any{"sub": "job:other"})))
		},
	} {
		if a, b := ask(there, change), ask(missing, change); a != b || a == "" {
			t.Errorf("%s: %q for one that is there, %q for one that is not", name, a, b)
		}
	}
	same := func(*sts.WebRequest) {}
	if got := ask(there, same); got != "" {
		t.Errorf("a policy that is there: %s", got)
	}
	if got := ask(missing, same); got == "" {
		t.Error("a policy that is not there limits nothing")
	}
}

// TestAttackFederatedTrustByASignature: a role that trusts a provider, with any
// action, is entered by the provider's word alone. Whoever came to another role
// by that word doesn't get on from there by AssumeRole.
func TestAttackFederatedTrustByASignature(t *testing.T) {
	t.Parallel()
	const provider = "arn:aws:iam::" + here + ":oidc-provider/login.example.com"
	w := newSigners(t)
	w.state.Roles = append(w.state.Roles, iam.RoleRecord{
		ID: "AROAVAULT", Account: here, Path: "/", Name: "vault", MaxSession: time.Hour,
		Trust: iam.Policy{Name: "trust", Document: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":"sts:*","Condition":{"StringEquals":{"login.example.com:aud":"app"}}}}`},
	})
	caller := w.session(t, func(c *sessiontoken.Claims) { c.Provider, c.Audience, c.Subject = provider, "app", "job:nightly" })
	_, err := w.service().AssumeRole(t.Context(), roleRequest("arn:aws:iam::"+here+":role/vault", caller))
	if fault.Of(err) == nil || fault.Of(err).Code != "AccessDenied" {
		t.Errorf("got %v", err)
	}
}
