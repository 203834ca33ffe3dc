package iamapi_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/edge/iamapi"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
)

// TestCallsAsClientsSendThem: form, GET, parameters in the address of an empty
// POST, and both.
func TestCallsAsClientsSendThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	call := form("ListRoles", "MaxItems", "10").Encode()
	for name, r := range map[string]reply{
		"form":                      w.send(t, keys, "POST", "/", call, nil),
		"GET":                       w.send(t, keys, "GET", "/?"+call, "", nil),
		"address of an empty POST":  w.send(t, keys, "POST", "/?"+call, "", nil),
		"address and form together": w.send(t, keys, "POST", "/?Action=ListRoles", "Version=2010-05-08&MaxItems=10", nil),
	} {
		if r.status != 200 || r.field("RoleName") != "operator" || !strings.HasPrefix(r.body, `<ListRolesResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListRolesResult>`) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// TestMalformedCalls: refused before anything is decided.
func TestMalformedCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	const roles = "Action=ListRoles&Version=2010-05-08"
	for name, tc := range map[string]struct {
		target, body, code string
	}{
		"no Action":            {"/", "Version=2010-05-08", "MissingAction"},
		"no Version":           {"/", "Action=ListRoles", "InvalidAction"},
		"the version of STS":   {"/", "Action=ListRoles&Version=2011-06-15", "InvalidAction"},
		"unknown parameter":    {"/", roles + "&PathPrefx=/a/", "ValidationError"},
		"unknown member":       {"/", roles + "&PathPrefix.member.1=/a/", "ValidationError"},
		"parameter twice":      {"/", roles + "&MaxItems=1&MaxItems=2", "InvalidParameterValue"},
		"in address and form":  {"/?MaxItems=1", roles + "&MaxItems=2", "InvalidParameterValue"},
		"Action twice":         {"/?Action=DeleteRole", roles, "InvalidParameterValue"},
		"cut percent":          {"/", roles + "&PathPrefix=%2", "MalformedQueryString"},
		"another path":         {"/iam", roles, "InvalidAction"},
		"marker of nobody":     {"/", roles + "&Marker=abc", "ValidationError"},
		"marker of other list": {"/", roles + "&Marker=TGlzdFVzZXJzAGE", "ValidationError"},
		"no page":              {"/", roles + "&MaxItems=0", "ValidationError"},
		"no number":            {"/", roles + "&MaxItems=x", "ValidationError"},
		"large":                {"/", roles + "&PathPrefix=" + strings.Repeat("x", 600<<10), "ValidationError"},
	} {
		if r := w.send(t, keys, "POST", tc.target, tc.body, nil); r.code != tc.code {
			t.Errorf("%s: %d %s %s", name, r.status, r.code, r.message)
		}
	}
	if r := w.send(t, keys, "PUT", "/", roles, nil); r.code != "InvalidAction" {
		t.Errorf("PUT: %s", r.code)
	}
	over := w.send(t, keys, "POST", "/", roles+"&PathPrefix="+strings.Repeat("x", 16<<20), nil)
	if over.code != "RequestEntityTooLarge" {
		t.Errorf("over the limit: %s", over.code)
	}
}

// TestValidationErrorsNameEachRule holds AWS's texts.
func TestValidationErrorsNameEachRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	long := strings.Repeat("x", 65)
	for want, r := range map[string]reply{
		"1 validation error detected: Value null at 'userName' failed to satisfy constraint: Member must not be null":                                              w.post(t, keys, "DeleteUser"),
		"1 validation error detected: Value '" + long + "' at 'userName' failed to satisfy constraint: Member must have length less than or equal to 64":           w.post(t, keys, "CreateUser", "UserName", long),
		"1 validation error detected: Value 'a/b' at 'userName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+":        w.post(t, keys, "CreateUser", "UserName", "a/b"),
		"1 validation error detected: Value '' at 'tags.1.member.key' failed to satisfy constraint: Member must have length greater than or equal to 1":            w.post(t, keys, "CreateUser", "UserName", "a", "Tags.member.1.Key", "", "Tags.member.1.Value", "x"),
		"1 validation error detected: Value 'On' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]":                 w.post(t, keys, "UpdateAccessKey", "UserName", "a", "AccessKeyId", "AKIAEXAMPLEEXAMPLE01", "Status", "On"),
		"1 validation error detected: Value '1001' at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 1000":                  w.post(t, keys, "ListUsers", "MaxItems", "1001"),
		"1 validation error detected: Value 'x' at 'onlyAttached' failed to satisfy constraint: Member must satisfy enum value set: [true, false]":                 w.post(t, keys, "ListPolicies", "OnlyAttached", "x"),
		"1 validation error detected: Value at 'actionNames' failed to satisfy constraint: Member must have length greater than or equal to 1":                     w.post(t, keys, "SimulateCustomPolicy", "PolicyInputList.member.1", anything),
		"1 validation error detected: Value 'a-' at 'accountAlias' failed to satisfy constraint: Member must have length greater than or equal to 3":               w.post(t, keys, "CreateAccountAlias", "AccountAlias", "a-"),
		"2 validation errors detected: Value null at 'policyName' failed to satisfy constraint: Member must not be null; Value null at 'policyDocument' failed to": w.post(t, keys, "CreatePolicy"),
	} {
		if r.status != 400 || r.code != "ValidationError" || !strings.HasPrefix(r.message, want) {
			t.Errorf("got  %d %s %s\nwant %s", r.status, r.code, r.message, want)
		}
	}
	for name, pairs := range map[string][]string{
		"gap":          {"Tags.member.2.Key", "a", "Tags.member.2.Value", "b"},
		"leading zero": {"Tags.member.01.Key", "a", "Tags.member.01.Value", "b"},
		"other field":  {"Tags.member.1.Key", "a", "Tags.member.1.Value", "b", "Tags.member.1.Kind", "c"},
		"plain":        {"Tags.member.1", "a"},
	} {
		if r := w.post(t, keys, "CreateUser", append([]string{"UserName", "a"}, pairs...)...); r.code != "ValidationError" {
			t.Errorf("%s: %d %s %s", name, r.status, r.code, r.message)
		}
	}
	for name, pairs := range map[string][]string{
		"twice, letter case aside": {"Tags.member.1.Key", "a", "Tags.member.1.Value", "b", "Tags.member.2.Key", "A", "Tags.member.2.Value", "b"},
		"AWS's own":                {"Tags.member.1.Key", "AWS:x", "Tags.member.1.Value", "b"},
	} {
		if r := w.post(t, keys, "CreateUser", append([]string{"UserName", "a"}, pairs...)...); r.code != "InvalidInput" {
			t.Errorf("%s: %d %s %s", name, r.status, r.code, r.message)
		}
	}
}

// TestSignatures: whose they are and what for.
func TestSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	role := w.role(t, account, "operator", anything)
	good := must[aws.Credentials](t)(w.keys(t, role, nil).Retrieve(t.Context()))
	client := func(region string, change func(*aws.Credentials)) *awsiam.Client {
		c := good
		if change != nil {
			change(&c)
		}
		return awsiam.New(awsiam.Options{Region: region, BaseEndpoint: &w.url, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)})
	}
	list := func(c *awsiam.Client) string {
		_, err := c.ListRoles(t.Context(), &awsiam.ListRolesInput{})
		return code(t, err)
	}
	for _, region := range []string{"us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"} {
		if got := list(client(region, nil)); got != "" {
			t.Errorf("signed for %s: %s", region, got)
		}
	}
	for name, tc := range map[string]struct {
		c    *awsiam.Client
		code string
	}{
		"another region":   {client("ap-south-1", nil), "IncompleteSignature"},
		"wrong secret":     {client("us-east-1", func(c *aws.Credentials) { c.SecretAccessKey = "x" }), "SignatureDoesNotMatch"},
		"unknown key":      {client("us-east-1", func(c *aws.Credentials) { c.AccessKeyID = "ASIA7777777777777777" }), "InvalidClientTokenId"},
		"a key from AWS":   {client("us-east-1", func(c *aws.Credentials) { c.SessionToken = "IQoJb3JpZ2luX2VjEA==" }), "InvalidClientTokenId"},
		"no session token": {client("us-east-1", func(c *aws.Credentials) { c.SessionToken = "" }), "InvalidClientTokenId"},
	} {
		if got := list(tc.c); got != tc.code {
			t.Errorf("%s: %s, want %s", name, got, tc.code)
		}
	}
	w.ended["role "+string(role.ID)] = true
	if got := list(client("us-east-1", nil)); got != "ExpiredToken" {
		t.Errorf("revoked: %s", got)
	}
	delete(w.ended, "role "+string(role.ID))
	gone := w.client(w.keys(t, role, func(c *sessiontoken.Claims) { c.RoleID = "AROAEXAMPLEEXAMPLE000" }))
	if got := list(gone); got != "InvalidClientTokenId" {
		t.Errorf("a role that is gone: %s", got)
	}
}

// refused gives what the trail is told of refusals to a trail in memory.
type refused struct{ *trail }

func (r refused) Refuse(ctx context.Context, e event.Event) { _ = r.Record(ctx, e) }

// TestTemporaryKeysOfUsersDoNotReachIAM: as on AWS; and the trail knows who tried.
func TestTemporaryKeysOfUsersDoNotReachIAM(t *testing.T) {
	t.Parallel()
	noted := refused{&trail{}}
	w := newWorld(t, func(c *iamapi.Config) { c.Refusals = noted })
	admin := w.keys(t, w.role(t, account, "operator", anything), nil)
	w.post(t, admin, "CreateUser", "UserName", "ann")
	w.post(t, admin, "PutUserPolicy", "UserName", "ann", "PolicyName", "all", "PolicyDocument", anything)
	made := w.post(t, admin, "CreateAccessKey", "UserName", "ann")
	own := credentials.NewStaticCredentialsProvider(made.field("AccessKeyId"), made.field("SecretAccessKey"), "")
	me := w.post(t, own, "GetUser")
	if me.status != 200 || me.field("UserName") != "ann" {
		t.Fatalf("%d %s", me.status, me.body)
	}
	if r := w.post(t, admin, "GetUser"); r.code != "ValidationError" || r.message != "Must specify userName when calling with non-User credentials" {
		t.Errorf("a role asks for itself: %s %s", r.code, r.message)
	}
	for _, kind := range []sessiontoken.Kind{sessiontoken.UserSession, sessiontoken.FederatedUser} {
		keys := w.userKeys(t, kind, "ann", me.field("UserId"))
		if r := w.post(t, keys, "ListRoles"); r.status != 403 || r.code != "AccessDenied" || !strings.Contains(r.message, "use the keys of a role") {
			t.Errorf("kind %d: %d %s %s", kind, r.status, r.code, r.message)
		}
		if e := noted.last(); e.Action != "iam.ListRoles" || e.Code != "AccessDenied" || !strings.Contains(e.Principal, "ann") && !strings.Contains(e.Principal, "job") {
			t.Errorf("kind %d: the trail is told %+v", kind, e)
		}
	}
	w.post(t, admin, "UpdateAccessKey", "UserName", "ann", "AccessKeyId", made.field("AccessKeyId"), "Status", "Inactive")
	if r := w.post(t, own, "GetUser"); r.code != "InvalidClientTokenId" {
		t.Errorf("an inactive key: %d %s", r.status, r.code)
	}
}

// TestStaticKeysAreOffUnlessAllowed: the answer names the setting.
func TestStaticKeysAreOffUnlessAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *iamapi.Config) { c.StaticKeys = false })
	admin := w.keys(t, w.role(t, account, "operator", anything), nil)
	w.post(t, admin, "CreateUser", "UserName", "ann")
	r := w.post(t, admin, "CreateAccessKey", "UserName", "ann")
	if r.status != 403 || r.code != "AccessDenied" || !strings.Contains(r.message, "static_keys") {
		t.Errorf("%d %s %s", r.status, r.code, r.message)
	}
	if r := w.post(t, admin, "ListAccessKeys", "UserName", "ann"); r.status != 200 || strings.Contains(r.body, "<member>") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestPresignedCall: a call may be signed in its address, and nowhere else then.
func TestPresignedCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := must[aws.Credentials](t)(w.keys(t, w.role(t, account, "operator", anything), nil).Retrieve(t.Context()))
	r, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/?"+form("ListRoles").Encode()+"&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	address, _, err := v4.NewSigner().PresignHTTP(t.Context(), keys, r, empty, "iam", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	target := strings.TrimPrefix(address, w.url)
	if got := w.send(t, nil, "GET", target, "", nil); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := w.send(t, nil, "GET", strings.Replace(target, "Action=ListRoles", "Action=ListUsers", 1), "", nil); got.code != "SignatureDoesNotMatch" {
		t.Errorf("another action: %s", got.code)
	}
	if got := w.send(t, nil, "POST", target, "x=1", nil); got.status == 200 {
		t.Errorf("with a body: %s", got.body)
	}
}

// TestPagesGoOnWhereTheyWere: markers hold over changes between pages.
func TestPagesGoOnWhereTheyWere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.post(t, keys, "CreateUser", "UserName", name)
	}
	var got []string
	marker := ""
	for range 10 {
		pairs := []string{"MaxItems", "2"}
		if marker != "" {
			pairs = append(pairs, "Marker", marker)
		}
		r := w.post(t, keys, "ListUsers", pairs...)
		for _, part := range strings.Split(r.body, "<UserName>")[1:] {
			name, _, _ := strings.Cut(part, "<")
			got = append(got, name)
		}
		if len(got) == 2 {
			w.post(t, keys, "DeleteUser", "UserName", "b") // the marker's own
			w.post(t, keys, "CreateUser", "UserName", "a1")
		}
		if r.field("IsTruncated") != "true" {
			break
		}
		marker = r.field("Marker")
	}
	if strings.Join(got, " ") != "a b c d e" {
		t.Errorf("%q", got)
	}
	if _, err := url.ParseQuery("Marker=" + marker); err != nil || strings.ContainsAny(marker, "+/=") {
		t.Errorf("marker %q", marker)
	}
}
