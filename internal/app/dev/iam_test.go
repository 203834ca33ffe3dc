package dev_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/core/fault"
)

func (s side) iam(keys aws.Credentials) *awsiam.Client {
	return awsiam.New(awsiam.Options{Region: "us-east-1", BaseEndpoint: &s.endpoint, HTTPClient: s.http, Credentials: provider(keys)})
}

// administers gives carol the keys of carnet-admin in an account.
func administers(t *testing.T, p *person, account string) aws.Credentials {
	t.Helper()
	c, err := p.api.AdministratorCredentials(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(c.Expiration); left > time.Hour || left < 50*time.Minute || c.Endpoints.IAM != p.w.AWS {
		t.Errorf("keys of carnet-admin for %s, at %+v", left, c.Endpoints)
	}
	return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey.Reveal(), SessionToken: c.SessionToken.Reveal()}
}

// TestAdministratorCallsIAM: carol administers each account by IAM, and nobody
// else does.
func TestAdministratorCallsIAM(t *testing.T) {
	t.Parallel()
	w := start(t, options(t, filepath.Join(t.TempDir(), "data")))
	carol, bob := w.arrive(t, "carol"), w.arrive(t, "bob")
	if _, err := bob.api.AdministratorCredentials(t.Context(), "analytics"); fault.KindOf(err) != fault.Denied {
		t.Errorf("bob asks for carnet-admin: %v", err)
	}
	keys, engineer := administers(t, carol, "analytics"), bob.keys(t, "engineer")
	for _, s := range w.sides() {
		t.Run(s.name, func(t *testing.T) {
			roles, err := s.iam(keys).ListRoles(t.Context(), &awsiam.ListRolesInput{})
			if err != nil || len(roles.Roles) != 4 || *roles.Roles[1].RoleName != "carnet-admin" {
				t.Errorf("%+v %v", roles, err)
			}
			_, err = s.iam(engineer).ListRoles(t.Context(), &awsiam.ListRolesInput{})
			const sentence = "User: arn:aws:sts::111122223333:assumed-role/engineer/bob is not authorized to perform: iam:ListRoles on resource: "
			if said := refused(t, err, 403, "AccessDenied"); !strings.HasPrefix(said, sentence) {
				t.Errorf("denied with %q", said)
			}
			who, err := s.sts(keys).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
			if err != nil || *who.Arn != "arn:aws:sts::111122223333:assumed-role/carnet-admin/carol" {
				t.Errorf("%+v %v", who, err)
			}
		})
	}
	c, name := w.sides()[0].iam(keys), aws.String("carnet-admin")
	t.Run("it is protected", func(t *testing.T) {
		trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/dev-idp"},"Action":"sts:AssumeRoleWithSAML"}]}`
		_, err := c.UpdateAssumeRolePolicy(t.Context(), &awsiam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: &trust})
		refused(t, err, 400, "UnmodifiableEntity")
		_, err = c.DeleteRole(t.Context(), &awsiam.DeleteRoleInput{RoleName: name})
		refused(t, err, 400, "UnmodifiableEntity")
		_, err = c.DeleteRolePolicy(t.Context(), &awsiam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("AdministratorAccess")})
		refused(t, err, 400, "UnmodifiableEntity")
		_, err = c.AttachRolePolicy(t.Context(), &awsiam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")})
		refused(t, err, 400, "UnmodifiableEntity")
		_, err = c.CreateRole(t.Context(), &awsiam.CreateRoleInput{RoleName: aws.String("Carnet-Admin"), AssumeRolePolicyDocument: &trust})
		refused(t, err, 409, "EntityAlreadyExists")
	})
}

// TestStaticKeysOfDev: only --static-keys lets an IAM user have a key that
// lasts, and with it the user reads what its policy allows.
func TestStaticKeysOfDev(t *testing.T) {
	t.Parallel()
	for _, allowed := range []bool{false, true} {
		o := options(t, filepath.Join(t.TempDir(), "data"))
		o.StaticKeys = allowed
		w := start(t, o)
		s := w.sides()[0]
		c, name := s.iam(administers(t, w.arrive(t, "carol"), "analytics")), aws.String("old-tool")
		if _, err := c.CreateUser(t.Context(), &awsiam.CreateUserInput{UserName: name}); err != nil {
			t.Fatal(err)
		}
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::sales"}]}`
		if _, err := c.PutUserPolicy(t.Context(), &awsiam.PutUserPolicyInput{UserName: name, PolicyName: name, PolicyDocument: &policy}); err != nil {
			t.Fatal(err)
		}
		made, err := c.CreateAccessKey(t.Context(), &awsiam.CreateAccessKeyInput{UserName: name})
		if !allowed {
			refused(t, err, 403, "AccessDenied")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		keys := aws.Credentials{AccessKeyID: *made.AccessKey.AccessKeyId, SecretAccessKey: *made.AccessKey.SecretAccessKey}
		if months := keysOf(t, s.s3(keys), "sales", "orders/"); len(months) != 12 {
			t.Errorf("listed %q", months)
		}
	}
}
