package iamapi_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/iamapi"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
)

// TestFailuresOfOtherIAMs: what went wrong in the administration of other
// products, by its identifier.
func TestFailuresOfOtherIAMs(t *testing.T) {
	t.Parallel()
	for id, check := range map[string]func(*testing.T){
		"CVE-2020-11012": anySignatureIsNotEnough,
		"CVE-2026-72920": strangersAreRefused,
		"CVE-2024-24747": nobodyRaisesTheirOwnRights,
		"CVE-2026-55873": anAuthorityThatIsAwayAllowsNobody,
	} {
		t.Run(id, func(t *testing.T) { t.Parallel(); check(t) })
	}
}

func createRole(c *awsiam.Client) error {
	_, err := c.CreateRole(context.Background(), &awsiam.CreateRoleInput{RoleName: aws.String("stolen"), AssumeRolePolicyDocument: aws.String(trustsAll)})
	return err
}

func (w *world) stolen(t *testing.T) {
	t.Helper()
	s, err := w.iam.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.View().Roles(account) {
		if r.Name == "stolen" {
			t.Error("the role was made")
		}
	}
}

// The name of an administrator's key, with another secret, is nobody's.
func anySignatureIsNotEnough(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.role(t, account, "operator", anything)
	good, err := w.keys(t, admin, nil).Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		keys aws.CredentialsProvider
		code string
	}{
		"another secret":    {credentials.NewStaticCredentialsProvider(good.AccessKeyID, "x", good.SessionToken), "SignatureDoesNotMatch"},
		"no session token":  {credentials.NewStaticCredentialsProvider(good.AccessKeyID, good.SecretAccessKey, ""), "InvalidClientTokenId"},
		"an empty secret":   {credentials.NewStaticCredentialsProvider(good.AccessKeyID, " ", good.SessionToken), "SignatureDoesNotMatch"},
		"another key's":     {credentials.NewStaticCredentialsProvider("ASIA7777777777777777", good.SecretAccessKey, good.SessionToken), "InvalidClientTokenId"},
		"a long-term key":   {credentials.NewStaticCredentialsProvider("AKIA7777777777777777", good.SecretAccessKey, ""), "InvalidClientTokenId"},
		"the genuine, ever": {w.keys(t, admin, func(c *sessiontoken.Claims) { c.RoleID = "AROAOTHER" }), "InvalidClientTokenId"},
	} {
		if got := code(t, createRole(w.client(c.keys))); got != c.code {
			t.Errorf("%s: %s, want %s", name, got, c.code)
		}
	}
	w.stolen(t)
}

// Nothing of IAM is answered without a credential.
func strangersAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for _, action := range []string{"CreateRole", "ListUsers", "GetAccountAuthorizationDetails", "CreateAccessKey", "GetUser"} {
		for _, method := range []string{"GET", "POST"} {
			r, err := http.NewRequest(method, w.url+"/?Action="+action+"&Version=2010-05-08&RoleName=stolen&UserName=x", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode < 400 || strings.Contains(string(body), "Result>") {
				t.Errorf("%s %s: %d %s", method, action, res.StatusCode, body)
			}
		}
	}
	w.stolen(t)
}

// Whoever may use S3 alone can't give themselves more, by any way to write a
// policy on their own role; and a session policy limits an administrator too.
func nobodyRaisesTheirOwnRights(t *testing.T) {
	w := newWorld(t, nil)
	own := w.role(t, account, "reader", readsS3)
	limited := w.keys(t, w.role(t, account, "operator", anything), func(c *sessiontoken.Claims) { c.SessionPolicy = readsS3 })
	for name, keys := range map[string]aws.CredentialsProvider{"own role": w.keys(t, own, nil), "session policy": limited} {
		c := w.client(keys)
		_, put := c.PutRolePolicy(t.Context(), &awsiam.PutRolePolicyInput{RoleName: aws.String("reader"), PolicyName: aws.String("more"), PolicyDocument: aws.String(anything)})
		_, attach := c.AttachRolePolicy(t.Context(), &awsiam.AttachRolePolicyInput{RoleName: aws.String("reader"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")})
		_, trust := c.UpdateAssumeRolePolicy(t.Context(), &awsiam.UpdateAssumeRolePolicyInput{RoleName: aws.String("reader"), PolicyDocument: aws.String(trustsAll)})
		_, boundary := c.DeleteRolePermissionsBoundary(t.Context(), &awsiam.DeleteRolePermissionsBoundaryInput{RoleName: aws.String("reader")})
		_, user := c.CreateUser(t.Context(), &awsiam.CreateUserInput{UserName: aws.String("me")})
		_, key := c.CreateAccessKey(t.Context(), &awsiam.CreateAccessKeyInput{UserName: aws.String("me")})
		for what, err := range map[string]error{"inline": put, "attach": attach, "trust": trust, "boundary": boundary, "user": user, "key": key, "role": createRole(c)} {
			if got := code(t, err); got != "AccessDenied" {
				t.Errorf("%s, %s: %q", name, what, got)
			}
		}
	}
	w.stolen(t)
}

// away is an authority whose state can't be read.
type away struct{ *access.Access }

func (away) Current() (*iam.Snapshot, error) { return nil, fault.New(fault.Unavailable, "away") }

func (a away) Lookup(ctx context.Context, id string, token secret.Text) (access.Caller, secret.Text, error) {
	return a.Access.Lookup(ctx, id, token)
}

// When the state of IAM can't be read, an administrator is refused like everybody.
func anAuthorityThatIsAwayAllowsNobody(t *testing.T) {
	var gone away
	w := newWorld(t, func(c *iamapi.Config) {
		gone.Access = access.New(access.Config{Authority: away{}, Keys: ring{}, Revocations: &world{}, Now: c.Now,
			Rule: func(string) (access.Place, bool) { return access.Place{}, false }})
		c.Authority = gone
	})
	if got := code(t, createRole(w.admin(t))); got != "ServiceUnavailable" && got != "ServiceFailure" {
		t.Errorf("got %q", got)
	}
	w.stolen(t)
}
