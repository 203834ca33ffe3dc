package generate_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/generate"
)

func revocationSetup() generate.Revocation {
	return generate.Revocation{Accounts: []string{"777788889999"}, Roles: []string{"analyst", "data/*"}, OIDC: generate.OIDC{Issuer: "https://carnet.example.com/oidc"}}
}

// TestRevocation pins what an account is asked to trust.
func TestRevocation(t *testing.T) {
	t.Parallel()
	made, err := revocationSetup().Generate()
	if err != nil {
		t.Fatal(err)
	}
	a := made.Accounts[0]
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::777788889999:oidc-provider/carnet.example.com/oidc"},"Action":["sts:AssumeRoleWithWebIdentity"],` +
		`"Condition":{"Bool":{"sts:RoleAuthorizedByIdp":["true"]},"StringEquals":{"carnet.example.com/oidc:aud":["sts.amazonaws.com"],"carnet.example.com/oidc:sub":["carnet:revocation"]}}}]}`
	const permissions = `{"Version":"2012-10-17","Statement":[{"Sid":"DenyTakenBack","Effect":"Allow","Action":["iam:GetRolePolicy","iam:PutRolePolicy","iam:DeleteRolePolicy"],` +
		`"Resource":["arn:aws:iam::777788889999:role/analyst","arn:aws:iam::777788889999:role/data/*"]},` +
		`{"Sid":"NeverItself","Effect":"Deny","Action":["iam:GetRolePolicy","iam:PutRolePolicy","iam:DeleteRolePolicy"],"Resource":["arn:aws:iam::777788889999:role/carnet-revocation"]}]}`
	want := generate.Account{ID: "777788889999", Role: "arn:aws:iam::777788889999:role/carnet-revocation", OIDC: "arn:aws:iam::777788889999:oidc-provider/carnet.example.com/oidc",
		Trust: trust, Permissions: permissions, Commands: []string{
			"aws iam create-open-id-connect-provider --url https://carnet.example.com/oidc --client-id-list sts.amazonaws.com",
			"aws iam create-role --role-name carnet-revocation --max-session-duration 3600 --assume-role-policy-document '" + trust + "'",
			"aws iam put-role-policy --role-name carnet-revocation --policy-name deny-taken-back --policy-document '" + permissions + "'"}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	if text := strings.Join(made.Warnings, "\n"); !strings.Contains(text, generate.RevocationRisk) || !strings.Contains(text, "data/*") {
		t.Errorf("warnings:\n%s", text)
	}
}

func TestRevocationRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*generate.Revocation){
		"no account":       func(r *generate.Revocation) { r.Accounts = nil },
		"no number":        func(r *generate.Revocation) { r.Accounts = []string{"7"} },
		"no role":          func(r *generate.Revocation) { r.Roles = nil },
		"itself":           func(r *generate.Revocation) { r.Roles = []string{"carnet-revocation"} },
		"a shell's sign":   func(r *generate.Revocation) { r.Roles = []string{"a'b"} },
		"a variable":       func(r *generate.Revocation) { r.Roles = []string{"${aws:username}"} },
		"another's path":   func(r *generate.Revocation) { r.Roles = []string{"/x"} },
		"a strange name":   func(r *generate.Revocation) { r.Role = "a b" },
		"a partition":      func(r *generate.Revocation) { r.Partition = "aws-x" },
		"a plain issuer":   func(r *generate.Revocation) { r.OIDC.Issuer = "http://carnet.example.com/oidc" },
		"a document":       func(r *generate.Revocation) { r.OIDC.Issuer += "/.well-known/openid-configuration" },
		"an issuer's sign": func(r *generate.Revocation) { r.OIDC.Issuer += "'" },
	} {
		r := revocationSetup()
		change(&r)
		if _, err := r.Generate(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
