package generate_test

import (
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/generate"
)

const sp = "sp:spn_aaaaaaaaaaaaaaaaaaaaaaaaaa"

func workload() generate.AWS {
	return generate.AWS{Accounts: []string{"777788889999"}, Buckets: []generate.Access{{Bucket: "lake"}}, Role: "nightly", ReadOnly: true,
		OIDC: &generate.OIDC{Issuer: "https://carnet.example.com/oidc", Subjects: []string{sp}}}
}

func bridge() generate.AWS {
	s := setup()
	s.OIDC = &generate.OIDC{Issuer: "https://carnet.example.com/oidc", Patterns: []string{"user:*"}}
	return s
}

func TestCommandsOfOIDC(t *testing.T) {
	t.Parallel()
	out := made(t, workload())
	if len(out.Warnings) != 0 {
		t.Errorf("warnings %q", out.Warnings)
	}
	want := []string{
		`aws iam create-open-id-connect-provider --url https://carnet.example.com/oidc --client-id-list sts.amazonaws.com`,
		`aws iam create-role --role-name nightly --max-session-duration 3600 --assume-role-policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::777788889999:oidc-provider/carnet.example.com/oidc"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"],"Condition":{"Bool":{"sts:RoleAuthorizedByIdp":["true"]},"StringEquals":{"carnet.example.com/oidc:aud":["sts.amazonaws.com"],"carnet.example.com/oidc:sub":["sp:spn_aaaaaaaaaaaaaaaaaaaaaaaaaa"]}}}]}'`,
	}
	if got := strings.Join(out.Accounts[0].Commands[:2], "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if got := out.Accounts[0].OIDC; got != "arn:aws:iam::777788889999:oidc-provider/carnet.example.com/oidc" {
		t.Errorf("provider %s", got)
	}
}

// TestBridgeCommands: both trusts stand in one policy, and the risk is said.
func TestBridgeCommands(t *testing.T) {
	t.Parallel()
	out := made(t, bridge())
	if out.Warnings[0] != generate.BridgeRisk || !strings.Contains(strings.Join(out.Warnings, "\n"), "every subject like user:*") {
		t.Errorf("warnings %q", out.Warnings)
	}
	a := out.Accounts[0]
	var verbs []string
	for _, c := range a.Commands {
		verbs = append(verbs, strings.Fields(c)[2])
	}
	if got := strings.Join(verbs, " "); got != "create-saml-provider create-open-id-connect-provider create-role put-role-policy" {
		t.Errorf("commands %s", got)
	}
	for _, want := range []string{"saml-provider/okta", "oidc-provider/carnet.example.com/oidc", `"StringLike":{"carnet.example.com/oidc:sub":["user:*"]}`} {
		if strings.Count(a.Trust, want) != 1 {
			t.Errorf("trust has no %s: %s", want, a.Trust)
		}
	}
}

// TestExistingRoleGetsTrustOnly: a role that trusts assertions keeps all but
// its trust policy.
func TestExistingRoleGetsTrustOnly(t *testing.T) {
	t.Parallel()
	s := bridge()
	s.Existing, s.Buckets = true, nil
	a := made(t, s).Accounts[0]
	if len(a.Commands) != 2 || !strings.HasPrefix(a.Commands[0], "aws iam create-open-id-connect-provider ") ||
		a.Commands[1] != "aws iam update-assume-role-policy --role-name lake-analyst --policy-document '"+a.Trust+"'" || a.Permissions != "" {
		t.Errorf("%+v", a)
	}
}

// TestTrustOfOIDC asks the engine whom the generated policy trusts.
func TestTrustOfOIDC(t *testing.T) {
	t.Parallel()
	s := workload()
	s.OIDC.Subjects = append(s.OIDC.Subjects, "job:dlg_b")
	like := workload()
	like.OIDC.Patterns = []string{"user:*"}
	for name, tt := range map[string]struct {
		setup            generate.AWS
		action, aud, sub string
		pinned, other    bool
		want             bool
	}{
		"named":                 {setup: s, aud: "sts.amazonaws.com", sub: sp, pinned: true, want: true},
		"second":                {setup: s, aud: "sts.amazonaws.com", sub: "job:dlg_b", pinned: true, want: true},
		"tags":                  {setup: s, action: "sts:TagSession", aud: "sts.amazonaws.com", sub: sp, pinned: true, want: true},
		"source identity":       {setup: s, action: "sts:SetSourceIdentity", aud: "sts.amazonaws.com", sub: sp, pinned: true, want: true},
		"no roles claim":        {setup: s, aud: "sts.amazonaws.com", sub: sp},
		"another audience":      {setup: s, aud: "https://carnet.example.com/api", sub: sp, pinned: true},
		"another subject":       {setup: s, aud: "sts.amazonaws.com", sub: "user:psn_a", pinned: true},
		"another provider":      {setup: s, aud: "sts.amazonaws.com", sub: sp, pinned: true, other: true},
		"another action":        {setup: s, action: "sts:AssumeRoleWithSAML", aud: "sts.amazonaws.com", sub: sp, pinned: true},
		"person by pattern":     {setup: like, aud: "sts.amazonaws.com", sub: "user:psn_a", pinned: true, want: true},
		"named beside patterns": {setup: like, aud: "sts.amazonaws.com", sub: sp, pinned: true, want: true},
		"no person":             {setup: like, aud: "sts.amazonaws.com", sub: "job:dlg_b", pinned: true},
	} {
		a := made(t, tt.setup).Accounts[0]
		d, err := policy.Parse(policy.Trust, "trust", []byte(a.Trust))
		if err != nil {
			t.Fatal(err)
		}
		if tt.action == "" {
			tt.action = "sts:AssumeRoleWithWebIdentity"
		}
		provider := a.OIDC
		if tt.other {
			provider += "/other"
		}
		r := policy.Request{Principal: policy.Principal{Provider: provider}, Action: tt.action}
		r.Context.Set("carnet.example.com/oidc:aud", tt.aud)
		r.Context.Set("carnet.example.com/oidc:sub", tt.sub)
		r.Context.Set("sts:RoleAuthorizedByIdp", map[bool]string{true: "true", false: "false"}[tt.pinned])
		if got := d.Trusts(&r).Allow; got != tt.want {
			t.Errorf("%s: trusted %v", name, got)
		}
	}
}

func TestIssuers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		issuer string
		local  bool
		want   string // what the refusal says; empty: taken
	}{
		{issuer: "https://mycompany.cloud.databricks.com/oidc"},
		{issuer: "https://accounts.cloud.databricks.com/oidc/accounts/123456789012"},
		{issuer: "https://carnet.example.com"},
		{issuer: "http://127.0.0.1:8480/oidc", local: true},
		{issuer: "https://localhost:8490/oidc", local: true},
		{issuer: "https://carnet.example.com/oidc/.well-known/openid-configuration", want: "the issuer is https://carnet.example.com/oidc;"},
		{issuer: "https://carnet.example.com/oidc/.well-known/openid-configuration/", want: "the issuer is https://carnet.example.com/oidc;"},
		{issuer: "https://carnet.example.com/oidc/.well-known/oauth-authorization-server", want: "the issuer is https://carnet.example.com/oidc;"},
		{issuer: "https://carnet.example.com/.well-known/oauth-authorization-server/oidc", want: "the issuer is https://carnet.example.com/oidc;"},
		{issuer: "http://127.0.0.1:8480/oidc", want: "oidc.public_url"},
		{issuer: "https://127.0.0.1/oidc", want: "oidc.publish"},
		{issuer: "http://carnet.example.com/oidc", want: "oidc.public_url"},
		{issuer: "https://carnet.example.com:8480/oidc", want: "without a port"},
		{issuer: "https://carnet.example.com:8480/oidc", local: true, want: "oidc.public_url"},
		{issuer: "https://carnet.example.com/oidc?x=1", want: "no query"},
		{issuer: "https://carnet.example.com/oidc#x", want: "no query"},
		{issuer: "https://carnet.example.com/oidc/", want: "is not an issuer"},
		{issuer: "https://user@carnet.example.com/oidc", want: "is not an issuer"},
		{issuer: "https://carnet.example.com/'$(id)'", want: "is not an issuer"},
		{issuer: "https://${aws:x}/oidc", want: "is not an issuer"},
		{issuer: "https://*/oidc", want: "is not an issuer"},
		{issuer: "https://a.example.com/oidc;id", want: "is not an issuer"},
		{issuer: "carnet.example.com/oidc", want: "is not an issuer"},
		{issuer: "https://" + strings.Repeat("a", 250) + "/oidc", want: "is not an issuer"},
	} {
		s := workload()
		s.OIDC.Issuer, s.OIDC.Local = tt.issuer, tt.local
		_, err := s.Generate()
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.issuer, err)
			}
			continue
		}
		f := fault.Of(err)
		if f == nil || f.Kind != fault.Invalid || !strings.Contains(f.Public+" "+f.Mend, tt.want) {
			t.Errorf("%s: %v, want %q", tt.issuer, err, tt.want)
		}
	}
}

// TestSubjectsReachNoShell: who is trusted is always said, and never more.
func TestSubjectsReachNoShell(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*generate.AWS){
		"nobody":              func(s *generate.AWS) { s.OIDC.Subjects = nil },
		"wildcard":            func(s *generate.AWS) { s.OIDC.Subjects = []string{"sp:*"} },
		"no kind":             func(s *generate.AWS) { s.OIDC.Subjects = []string{"spn_a"} },
		"kind of another":     func(s *generate.AWS) { s.OIDC.Subjects = []string{"user:spn_a"} },
		"quote":               func(s *generate.AWS) { s.OIDC.Subjects = []string{"sp:spn_a'"} },
		"pattern of all":      func(s *generate.AWS) { s.OIDC.Patterns = []string{"*"} },
		"pattern of kinds":    func(s *generate.AWS) { s.OIDC.Patterns = []string{"*:*"} },
		"pattern with a name": func(s *generate.AWS) { s.OIDC.Patterns = []string{"user:${aws:x}"} },
		"no trust":            func(s *generate.AWS) { s.OIDC = nil },
		"too long":            func(s *generate.AWS) { s.MaxSession = 13 * time.Hour },
	} {
		s := workload()
		change(&s)
		if _, err := s.Generate(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
