package policy_test

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/policy"
)

func TestLint(t *testing.T) {
	t.Parallel()
	const ours = "https://carnet.example.com/saml/consume"
	trust := func(action, condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/idp"},"Action":"` + action + `"` + condition + `}]}`
	}
	aud := func(v string) string { return `,"Condition":{"StringEquals":{"SAML:aud":` + v + `}}` }
	grant := func(rest string) string {
		return `{"Version":"2012-10-17","Statement":{"Sid":"Data","Effect":"Allow",` + rest + `}}`
	}
	for name, tt := range map[string]struct {
		kind policy.Kind
		src  string
		want []string // a part of each finding
	}{
		"right trust":       {policy.Trust, trust("sts:AssumeRoleWithSAML", aud(`"`+ours+`"`)), nil},
		"no audience":       {policy.Trust, trust("sts:AssumeRoleWithSAML", ""), []string{"any service provider"}},
		"audience refused":  {policy.Trust, trust("sts:AssumeRoleWithSAML", `,"Condition":{"StringNotEquals":{"saml:aud":"x"}}`), []string{"any service provider"}},
		"console too":       {policy.Trust, trust("sts:AssumeRoleWithSAML", aud(`["`+ours+`","`+policy.ConsoleAudience+`"]`)), []string{"AWS console"}},
		"console alone":     {policy.Trust, trust("sts:AssumeRoleWithSAML", aud(`"`+policy.ConsoleAudience+`"`)), []string{"AWS console", "does not admit Carnet"}},
		"regional console":  {policy.Trust, trust("sts:AssumeRoleWithSAML", aud(`["`+ours+`","https://eu-west-1.signin.aws.amazon.com/saml"]`)), []string{"AWS console"}},
		"wildcard audience": {policy.Trust, trust("sts:AssumeRoleWithSAML", `,"Condition":{"StringLike":{"SAML:aud":["`+ours+`","https://*"]}}`), []string{"wildcard"}},
		"another product":   {policy.Trust, trust("sts:AssumeRoleWithSAML", aud(`["`+ours+`","https://other.example.com/saml"]`)), []string{"is not Carnet's"}},
		"web, no subject": {policy.Trust, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/idp.example.com"},
			"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"idp.example.com:aud":"x"}}}]}`, []string{":sub"}},
		"everybody":    {policy.Trust, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`, []string{"everybody"}},
		"right grant":  {policy.Identity, grant(`"Action":["s3:GetObject","s3:Get*"],"Resource":"arn:aws:s3:::lake/*"`), nil},
		"every action": {policy.Identity, grant(`"Action":"s3:*","Resource":"arn:aws:s3:::lake/*"`), []string{"statement Data allows every action s3:*"}},
		"everything":   {policy.Identity, grant(`"Action":"*","Resource":"*"`), []string{"every action", "every resource"}},
		"every bucket": {policy.Identity, grant(`"Action":"s3:GetObject","Resource":"arn:aws:s3:::*"`), []string{"every resource"}},
		"all but":      {policy.Identity, grant(`"NotAction":"s3:DeleteObject","NotResource":"arn:aws:s3:::hr/*"`), []string{"NotAction", "NotResource"}},
		"a denial":     {policy.Identity, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`, nil},
		"a hollow denial": {policy.Identity, `{"Version":"2012-10-17","Statement":[
			{"Effect":"Deny","Action":"*","Resource":["arn:aws:s3:::lake/${aws:PrincipalTag/team}/*","arn:aws:s3:::lake/${aws:PrincipalTag/team, 'x'}/${*}"]},
			{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"s3:prefix":"${aws:userid}"},"StringNotEquals":{"s3:ExistingObjectTag/Team":"${aws:PrincipalTag/Team}"}}}]}`,
			[]string{"statement 1 denies nothing to a caller without aws:PrincipalTag/team", "statement 2 denies nothing to a caller without aws:userid"}},
		"a denial before variables": {policy.Identity, `{"Statement":{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::lake/${aws:userid}"}}`, nil},
		"not a policy":              {policy.Identity, `{"Statement":`, nil},
		"not for trust":             {policy.Trust, grant(`"Action":"*","Resource":"*"`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := policy.Lint(tt.kind, []byte(tt.src), ours)
			if len(got) != len(tt.want) {
				t.Fatalf("findings %q, want %d", got, len(tt.want))
			}
			for i, part := range tt.want {
				if !strings.Contains(got[i], part) {
					t.Errorf("finding %q has no %q", got[i], part)
				}
			}
		})
	}
}
