package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/service/generate"
)

// awsWorld is an installation with an account at AWS, which another Carnet plays.
type awsWorld struct {
	*gatewayWorld
	paper   *paper
	address string
	cloud   *installation
	admin   *awsiam.Client // of the account at AWS
}

// newAWSWorld makes one; with writable Carnet may deny keys there.
func newAWSWorld(t *testing.T, writable bool) *awsWorld {
	t.Helper()
	w := &awsWorld{paper: newPaper(t), address: freeAddress(t)}
	ca, more := w.paper.file(t), ""
	if writable {
		more = fmt.Sprintf(`, revocation_role: "arn:aws:iam::777788889999:role/carnet-revocation", revocation_margin: 1s, iam: {endpoint: "https://%s", ca: %s}`, w.address, ca)
	}
	w.gatewayWorld = newGatewayWorld(t, replace(`{id: "777788889999", name: lake, kind: aws}`,
		`{id: "777788889999", name: lake, kind: aws, exchanges: [saml, web-identity], bridge: {renew: accept}, sts: {endpoint: "https://`+w.address+`", ca: `+ca+`}`+more+`}`))
	w.cloud = w.gatewayWorld.cloud(t, w.paper, w.address, replace("accounts:", "iam: {loopback_providers: true}\naccounts:"))
	others, _ := identityProvider(t, w.cloud.base+"/saml/consume")
	w.cloud.must(t, "sso", "add", "--name", "Other", "--metadata", w.cloud.write(t, "other.xml", string(others.Metadata())), "--accounts", "777788889999", "--roles", "*", "--domains", "*")
	v := visitor.New(nil)
	submit(t, v, open(t, v, w.cloud.link(w.cloud.must(t, "admin", "recover"))), "code", nil)
	var k fetched
	if status := ask(t, v, http.MethodPost, w.cloud.base+"/api/v1/accounts/777788889999/administrator-credentials", `{}`, &k); status != http.StatusOK {
		t.Fatal(status, k)
	}
	w.admin = awsiam.New(awsiam.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://" + w.address), HTTPClient: w.paper.client(t, "", ""),
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)})
	w.setUp(t)
	return w
}

// setUp has the account trust our tokens, for reader and by what setup prints for
// the denies.
func (w *awsWorld) setUp(t *testing.T) {
	t.Helper()
	ctx, ours := t.Context(), strings.TrimPrefix(w.base, "http://")+"/oidc"
	set, err := generate.Revocation{Accounts: []string{"777788889999"}, Roles: []string{"reader"}, OIDC: generate.OIDC{Issuer: w.base + "/oidc", Local: true}}.Generate()
	must(t, err)
	_, err = w.admin.CreateOpenIDConnectProvider(ctx, &awsiam.CreateOpenIDConnectProviderInput{Url: aws.String(w.base + "/oidc"), ClientIDList: []string{"sts.amazonaws.com"}})
	must(t, err)
	_, err = w.admin.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: aws.String("carnet-revocation"), AssumeRolePolicyDocument: aws.String(set.Accounts[0].Trust)})
	must(t, err)
	_, err = w.admin.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: aws.String("carnet-revocation"), PolicyName: aws.String("deny-taken-back"), PolicyDocument: aws.String(set.Accounts[0].Permissions)})
	must(t, err)
	_, err = w.admin.UpdateAssumeRolePolicy(ctx, &awsiam.UpdateAssumeRolePolicyInput{RoleName: aws.String("reader"), PolicyDocument: aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::777788889999:saml-provider/corp"},"Action":"sts:AssumeRoleWithSAML","Condition":{"StringEquals":{"SAML:aud":%q}}},
		{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::777788889999:oidc-provider/%s"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"],
		 "Condition":{"StringEquals":{"%s:aud":"sts.amazonaws.com"},"Bool":{"sts:RoleAuthorizedByIdp":"true"}}}]}`, w.base+"/saml/consume", ours, ours))})
	must(t, err)
}

// bySAML are a person's keys as the sign-in brought them.
func (w *awsWorld) bySAML(t *testing.T, v *visitor.Visitor) (k fetched) {
	t.Helper()
	if status := ask(t, v, http.MethodPost, w.base+"/api/v1/roles/credentials", `{"role":"reader"}`, &k); status != http.StatusOK {
		t.Fatal(status, k)
	}
	return k
}

// byToken has keys for an ID token, under a session name of the bearer's choice.
func (w *awsWorld) byToken(t *testing.T, v *visitor.Visitor, name string) fetched {
	t.Helper()
	var out struct{ Token, Detail string }
	if status := ask(t, v, http.MethodPost, w.base+"/api/v1/id-tokens", `{"audience":"sts.amazonaws.com","role":"`+reader+`"}`, &out); status != http.StatusOK {
		t.Fatal(status, out.Detail)
	}
	got, err := awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://" + w.address), HTTPClient: w.paper.client(t, "", ""), Credentials: aws.AnonymousCredentials{}}).
		AssumeRoleWithWebIdentity(t.Context(), &awssts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(reader), RoleSessionName: aws.String(name), WebIdentityToken: aws.String(out.Token)})
	must(t, err)
	return fetched{AccessKeyID: *got.Credentials.AccessKeyId, SecretAccessKey: *got.Credentials.SecretAccessKey, SessionToken: *got.Credentials.SessionToken}
}

// lists asks the account at AWS for its buckets.
func (w *awsWorld) lists(t *testing.T, k fetched) error {
	t.Helper()
	_, err := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://" + w.address), UsePathStyle: true, RetryMaxAttempts: 1, HTTPClient: w.paper.client(t, "", ""),
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)}).ListBuckets(t.Context(), &awss3.ListBucketsInput{})
	return err
}

// within waits for something that becomes true.
func within(t *testing.T, what string, is func() bool, told ...func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			for _, f := range told {
				t.Log(f())
			}
			t.Fatal("not within a minute: " + what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestKeysOfAWSAreDenied: who is revoked here is refused at AWS with every key that
// was handed out, by SAML, by web identity, and by the bearer of an ID token under
// another name; keys of a later sign-in work, and other people's are never touched.
func TestKeysOfAWSAreDenied(t *testing.T) {
	t.Parallel()
	w := newAWSWorld(t, true)
	_, err := w.admin.PutRolePolicy(t.Context(), &awsiam.PutRolePolicyInput{RoleName: aws.String("reader"), PolicyName: aws.String("theirs"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`)})
	must(t, err)
	alice := w.enter(t, reader)
	saml, token := w.bySAML(t, alice), w.byToken(t, alice, "somebody-else")
	for _, k := range []fetched{saml, token} {
		if err := w.lists(t, k); err != nil {
			t.Fatal("before: ", err)
		}
	}
	var said struct {
		Keys []struct {
			Role, Deny  string
			SessionName string `json:"session_name"`
			Until       time.Time
		} `json:"outstanding"`
	}
	must(t, json.Unmarshal([]byte(w.must(t, "revoke", "person", "alice", "--output", "json")), &said))
	if len(said.Keys) < 2 || said.Keys[0].Role != reader || said.Keys[0].Until.Before(time.Now()) || said.Keys[0].Deny == "none" {
		t.Errorf("the revocation tells of %+v", said.Keys)
	}
	within(t, "keys by SAML are refused", func() bool { return w.lists(t, saml) != nil }, w.running.log.String)
	within(t, "keys by token are refused", func() bool { return w.lists(t, token) != nil })
	within(t, "keys of a later sign-in work", func() bool { return w.lists(t, w.bySAML(t, w.enter(t, reader))) == nil })
	if w.lists(t, saml) == nil || w.lists(t, token) == nil {
		t.Error("old keys work again")
	}
	policies, err := w.admin.ListRolePolicies(t.Context(), &awsiam.ListRolePoliciesInput{RoleName: aws.String("reader")})
	if err != nil || strings.Join(policies.PolicyNames, " ") != "CarnetRevocation lake theirs" {
		t.Errorf("policies of the role: %v, %v", policies, err)
	}
	within(t, "it is in the trail", func() bool {
		return strings.Contains(w.must(t, "audit", "search", "--event", "revocation.deny", "--output", "json"), reader)
	})
}

// TestKeysOfAWSThatCarnetMayNotDeny: where Carnet may not write, a revocation says
// which keys live on, and until when.
func TestKeysOfAWSThatCarnetMayNotDeny(t *testing.T) {
	t.Parallel()
	w := newAWSWorld(t, false)
	k := w.bySAML(t, w.enter(t, reader))
	text := w.must(t, "revoke", "person", "alice")
	if !strings.Contains(text, reader) || !strings.Contains(text, "may not write") || !strings.Contains(text, "until "+k.Expiration.UTC().Format("2006-01-02 15:04:05Z")) {
		t.Errorf("the revocation says:\n%s", text)
	}
	if err := w.lists(t, k); err != nil {
		t.Errorf("AWS was not told, and refuses: %v", err)
	}
}

// TestRevocationRoleOfThePage: the command of docs/operations/revocation.md prints what
// the page says.
func TestRevocationRoleOfThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/operations/revocation.md")
	must(t, err)
	line := regexp.MustCompile(`(?m)^carnet setup aws --revocation .*$`).FindString(string(page))
	cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(line)[1:]...)
	cmd.Env = append(os.Environ(), isCarnet+"=1")
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil || !strings.Contains(text, "revocation_role: arn:aws:iam::777788889999:role/carnet-revocation") || !strings.Contains(text, "# warning: whoever holds") ||
		strings.Contains(text, "create-open-id-connect-provider") || !strings.Contains(text, `"arn:aws:iam::777788889999:role/lake-analyst"`) {
		t.Errorf("%v\n%s", err, text)
	}
}
