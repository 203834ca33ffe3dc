package iamapi_test

import (
	"crypto/sha256"
	"encoding/hex"

	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
)

// TestAttackProviderUnderAnotherScheme: rights over providers whose name begins
// with dev don't reach another one by writing its name behind dev://.
func TestAttackProviderUnderAnotherScheme(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	admin, ctx := w.admin(t), t.Context()
	made := must[*awsiam.CreateOpenIDConnectProviderOutput](t)(admin.CreateOpenIDConnectProvider(ctx, &awsiam.CreateOpenIDConnectProviderInput{
		Url: aws.String("https://login.example.com"), ClientIDList: []string{"good"},
	})).OpenIDConnectProviderArn
	evil := w.keys(t, w.role(t, account, "dev", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"`+prefix+`oidc-provider/dev*"}]}`), nil)
	name := prefix + "oidc-provider/dev://login.example.com"
	for action, more := range map[string][]string{
		"AddClientIDToOpenIDConnectProvider": {"ClientID", "evil"}, "RemoveClientIDFromOpenIDConnectProvider": {"ClientID", "good"},
		"TagOpenIDConnectProvider": {"Tags.member.1.Key", "a", "Tags.member.1.Value", "b"}, "GetOpenIDConnectProvider": nil, "DeleteOpenIDConnectProvider": nil,
	} {
		if got := w.post(t, evil, action, append(more, "OpenIDConnectProviderArn", name)...).field("Code"); got != "NoSuchEntity" {
			t.Errorf("%s: %q", action, got)
		}
	}
	now := must[*awsiam.GetOpenIDConnectProviderOutput](t)(admin.GetOpenIDConnectProvider(ctx, &awsiam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: made}))
	if len(now.ClientIDList) != 1 || now.ClientIDList[0] != "good" || len(now.Tags) != 0 {
		t.Errorf("the provider was changed: %+v", now)
	}
	_, err := admin.CreateOpenIDConnectProvider(ctx, &awsiam.CreateOpenIDConnectProviderInput{Url: aws.String("https://dev.example.com/x://login.example.com")})
	if code(t, err) != "InvalidInput" {
		t.Errorf("an issuer with a second scheme: %v", err)
	}
}

// TestAttackLongPatternInASimulation: a pattern of megabytes is refused before
// it is compiled, which would take many times its length of memory, and for
// whoever may not even simulate.
func TestAttackLongPatternInASimulation(t *testing.T) {
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "reader", readsS3), nil)
	long, in := strings.Repeat("a", 4<<20), "PolicyExclusionList.member.1.InlinePolicyIdentifier."
	var before, after runtime.MemStats
	for label, pairs := range map[string][]string{
		"attachment": {in + "PolicyName", "p", in + "AttachmentType", "user", in + "AttachmentName", long},
		"ARN":        {"PolicyExclusionList.member.1.PolicyArn", long},
	} {
		runtime.ReadMemStats(&before)
		got := w.post(t, keys, "SimulatePrincipalPolicy", append(pairs, "PolicySourceArn", prefix+"role/reader", "ActionNames.member.1", "s3:GetObject")...)
		runtime.ReadMemStats(&after)
		if got.field("Code") != "ValidationError" {
			t.Errorf("%s: %s", label, got.body[:min(len(got.body), 300)])
		}
		if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 200 {
			t.Errorf("%s: took %d MiB", label, grown)
		}
	}
}

// TestAttackCostlySimulation: actions, resources and policies at their most
// together would keep a processor for minutes.
func TestAttackCostlySimulation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	statement := `{"Effect":"Allow","NotAction":"a:b","NotResource":"c"},`
	document := `{"Version":"2012-10-17","Statement":[` + strings.TrimSuffix(strings.Repeat(statement, 130000/len(statement)), ",") + `]}`
	pairs := []string{}
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		pairs = append(pairs, "PolicyInputList.member."+n, document)
	}
	for i := range 900 {
		pairs = append(pairs, "ActionNames.member."+strconv.Itoa(i+1), "s3:Action"+strconv.Itoa(i))
	}
	if got := w.post(t, keys, "SimulateCustomPolicy", pairs...); got.field("Code") != "InvalidInput" {
		t.Errorf("%s", got.body[:min(len(got.body), 300)])
	}
}

// TestAttackAddressSignedForDays: an address that was read in a log must not
// administer for a week, whatever it asks for.
func TestAttackAddressSignedForDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := must[aws.Credentials](t)(w.keys(t, w.role(t, account, "operator", anything), nil).Retrieve(t.Context()))
	for age, want := range map[time.Duration]int{14 * time.Minute: 200, 16 * time.Minute: 403} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/?"+form("ListRoles").Encode()+"&X-Amz-Expires=604800", nil)
		if err != nil {
			t.Fatal(err)
		}
		const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		address, _, err := v4.NewSigner().PresignHTTP(t.Context(), keys, r, empty, "iam", "us-east-1", time.Now().Add(-age))
		if err != nil {
			t.Fatal(err)
		}
		if got := w.send(t, nil, "GET", strings.TrimPrefix(address, w.url), "", nil); got.status != want {
			t.Errorf("%v old: %d %s", age, got.status, got.body)
		}
	}
}

// TestAttackWithoutATrace: the audit record of a change of rights says what was
// changed to what, for roles and providers as for users.
func TestAttackWithoutATrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	w.role(t, account, "reader", readsS3)
	w.post(t, keys, "CreateOpenIDConnectProvider", "Url", "https://login.example.com")
	sum := sha256.Sum256([]byte(anything))
	for _, tc := range []struct {
		action string
		sent   []string
		says   map[string]string
	}{
		{"PutRolePolicy", []string{"RoleName", "reader", "PolicyName", "more", "PolicyDocument", anything},
			map[string]string{"PolicyName": "more", "PolicyDocumentSHA256": hex.EncodeToString(sum[:])}},
		{"PutRolePermissionsBoundary", []string{"RoleName", "reader", "PermissionsBoundary", "arn:aws:iam::aws:policy/IAMFullAccess"},
			map[string]string{"PermissionsBoundary": "arn:aws:iam::aws:policy/IAMFullAccess"}},
		{"AddClientIDToOpenIDConnectProvider", []string{"OpenIDConnectProviderArn", prefix + "oidc-provider/login.example.com", "ClientID", "evil"},
			map[string]string{"ClientID": "evil"}},
		{"AttachRolePolicy", []string{"RoleName", "reader", "PolicyArn", "arn:aws:iam::aws:policy/IAMFullAccess"},
			map[string]string{"PolicyArn": "arn:aws:iam::aws:policy/IAMFullAccess"}},
	} {
		if got := w.post(t, keys, tc.action, tc.sent...); got.status != 200 {
			t.Fatalf("%s: %s", tc.action, got.body)
		}
		e := w.trail.last()
		if e.Action != "iam."+tc.action || !strings.HasSuffix(e.Detail["caller"], "assumed-role/operator/carol") {
			t.Errorf("%s: %+v", tc.action, e)
		}
		for name, want := range tc.says {
			if e.Detail[name] != want {
				t.Errorf("%s: %s is %q", tc.action, name, e.Detail[name])
			}
		}
	}
}
