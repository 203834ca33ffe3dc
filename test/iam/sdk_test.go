//go:build interop

package iam

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// ground is a folder with what the SDK scenarios read.
func (w *world) ground() (dir string, i *issuer) {
	w.t.Helper()
	i = newIssuer(w.t)
	dir = folder(w.t, map[string]string{"alice.jwt": i.token("user:alice", "sts.amazonaws.com"), "assertion.txt": w.assertion("alice")})
	w.metadata(dir)
	return dir, i
}

// holds compares what a scenario printed with what it must print.
func holds(t *testing.T, printed string, want string) {
	t.Helper()
	var got any
	if err := json.Unmarshal([]byte(printed), &got); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	compact, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	var expected any
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	wanted, _ := json.MarshalIndent(expected, "", " ")
	if string(compact) != string(wanted) {
		t.Errorf("got\n%s\nwant\n%s", compact, wanted)
	}
}

// TestBoto3 reads answers and errors with botocore's own parsers.
func TestBoto3(t *testing.T) {
	w := start(t)
	dir, i := w.ground()
	script, err := filepath.Abs("scenario.py")
	if err != nil {
		t.Fatal(err)
	}
	out := w.must(dir, w.administrator(), filepath.Join(w.venv, "bin", "python"), script, account, "assertion.txt", "alice.jwt", i.url, w.Web+"/saml/consume")
	holds(t, out, `{
		"role": ["arn:aws:iam::111122223333:role/analyst", "AROA", 3600], "trust": "sts:AssumeRoleWithSAML", "roles": ["analyst", "carnet-admin", "job"],
		"saml": ["arn:aws:sts::111122223333:assumed-role/analyst/alice", "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified", true, "alice"],
		"web": ["arn:aws:sts::111122223333:assumed-role/job/nightly", "user:alice", "sts.amazonaws.com"],
		"refused": [["NoSuchEntityException", "NoSuchEntity", 404], ["EntityAlreadyExistsException", "EntityAlreadyExists", 409],
			["DeleteConflictException", "DeleteConflict", 409], ["MalformedPolicyDocumentException", "MalformedPolicyDocument", 400],
			["InvalidIdentityTokenException", "InvalidIdentityToken", 400], ["ClientError", "AccessDenied", 403], ["ClientError", "AccessDenied", 403]],
		"simulated": [["s3:GetObject", "allowed", 1], ["s3:PutObject", "implicitDeny", 0]]}`)
}

// TestJavaScriptSDK does so with the AWS SDK for JavaScript.
func TestJavaScriptSDK(t *testing.T) {
	w := start(t)
	dir, i := w.ground()
	env := w.administrator()
	env["NODE_NO_WARNINGS"] = "1"
	out := w.must(dir, env, "node", filepath.Join(need(t, "CARNET_IAM_JS"), "scenario.mjs"), i.url, w.Web+"/saml/consume")
	holds(t, out, `{
		"role": ["arn:aws:iam::111122223333:role/analyst", "AROA", true], "roles": ["analyst", "carnet-admin", "job"],
		"saml": ["arn:aws:sts::111122223333:assumed-role/analyst/alice", "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified", true],
		"web": "arn:aws:sts::111122223333:assumed-role/job/nightly", "keys": 2,
		"refused": [["NoSuchEntityException", 404], ["EntityAlreadyExistsException", 409], ["InvalidIdentityTokenException", 400], ["AccessDenied", 403]]}`)
}

// TestGoSDK does so with the AWS SDK for Go, and renews keys with its provider
// of web identities.
func TestGoSDK(t *testing.T) {
	w := start(t)
	dir, i := w.ground()
	keys := w.administrator()
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"), config.WithBaseEndpoint(w.AWS), config.WithRetryMaxAttempts(1),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"])))
	if err != nil {
		t.Fatal(err)
	}
	client := awsiam.NewFromConfig(cfg)
	provider, err := client.CreateOpenIDConnectProvider(ctx, &awsiam.CreateOpenIDConnectProviderInput{Url: aws.String(i.url), ClientIDList: []string{"sts.amazonaws.com"}})
	if err != nil {
		t.Fatal(err)
	}
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"` + *provider.OpenIDConnectProviderArn +
		`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` + i.host() + `:aud":"sts.amazonaws.com"}}}}`
	role, err := client.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: aws.String("job"), AssumeRolePolicyDocument: aws.String(trust)})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials = stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(w.AWS)}), *role.Role.Arn,
		stscreds.IdentityTokenFile(filepath.Join(dir, "alice.jwt")), func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = "nightly" })
	me, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil || *me.Arn != "arn:aws:sts::"+account+":assumed-role/job/nightly" {
		t.Fatalf("%v %+v", err, me)
	}
	_, err = awsiam.NewFromConfig(cfg).ListRoles(ctx, nil)
	var refused smithy.APIError
	if !errors.As(err, &refused) || refused.ErrorCode() != "AccessDenied" || !strings.Contains(refused.ErrorMessage(), "is not authorized to perform: iam:ListRoles") {
		t.Errorf("the role lists roles: %v", err)
	}
}
