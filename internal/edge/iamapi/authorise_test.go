package iamapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// allow is a policy of one statement.
func allow(actions, resource, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":"` + resource + `"` + condition + `}]}`
}

// TestConditionsOfOperations: what each operation tells the policy engine. Each
// policy allows one call and not the other.
func TestConditionsOfOperations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	admin := w.keys(t, w.role(t, account, "operator", anything), nil)
	for _, s := range walk(t)[:1] {
		w.post(t, admin, s.action, s.pairs...)
	}
	for _, call := range [][]string{
		{"CreateUser", "UserName", "blue", "Path", "/team/", "Tags.member.1.Key", "team", "Tags.member.1.Value", "blue", "PermissionsBoundary", awsRead},
		{"CreateUser", "UserName", "red", "Tags.member.1.Key", "team", "Tags.member.1.Value", "red"},
		{"CreateGroup", "GroupName", "readers", "Path", "/team/"}, {"CreateGroup", "GroupName", "writers"},
		{"CreateRole", "RoleName", "loader", "AssumeRolePolicyDocument", trustsAll, "PermissionsBoundary", awsRead, "Tags.member.1.Key", "team", "Tags.member.1.Value", "blue"},
		{"CreateRole", "RoleName", "free", "AssumeRolePolicyDocument", trustsAll},
		{"CreateInstanceProfile", "InstanceProfileName", "meta"},
	} {
		if r := w.post(t, admin, call[0], call[1:]...); r.status != 200 {
			t.Fatal(call, r.code, r.message)
		}
	}
	bounded := `{"StringEquals":{"iam:PermissionsBoundary":"` + awsRead + `"}}`
	for i, tc := range []struct {
		name, policy string
		yes, no      []string
	}{
		{"path in the resource", allow(`"iam:GetUser"`, prefix+"user/team/*", ""), []string{"GetUser", "UserName", "blue"}, []string{"GetUser", "UserName", "red"}},
		{"path that a listing asks for", allow(`"iam:ListUsers"`, prefix+"user/team/*", ""), []string{"ListUsers", "PathPrefix", "/team/"}, []string{"ListUsers"}},
		{"group's path", allow(`"iam:*"`, prefix+"group/team/*", ""), []string{"GetGroup", "GroupName", "readers"}, []string{"GetGroup", "GroupName", "writers"}},
		{"aws:ResourceTag of a user", allow(`"iam:TagUser"`, "*", `{"StringEquals":{"aws:ResourceTag/team":"blue"}}`),
			[]string{"TagUser", "UserName", "blue", "Tags.member.1.Key", "x", "Tags.member.1.Value", "y"}, []string{"TagUser", "UserName", "red", "Tags.member.1.Key", "x", "Tags.member.1.Value", "y"}},
		{"iam:ResourceTag of a role", allow(`"iam:ListRolePolicies"`, "*", `{"StringEquals":{"iam:ResourceTag/team":"blue"}}`),
			[]string{"ListRolePolicies", "RoleName", "loader"}, []string{"ListRolePolicies", "RoleName", "free"}},
		{"aws:ResourceTag of a policy", allow(`"iam:GetPolicy"`, "*", `{"StringEquals":{"aws:ResourceTag/team":"blue"}}`), []string{"GetPolicy", "PolicyArn", ownARN}, []string{"GetPolicy", "PolicyArn", awsRead}},
		{"aws:RequestTag", allow(`["iam:CreateUser","iam:TagUser"]`, "*", `{"StringEquals":{"aws:RequestTag/team":"blue"}}`),
			[]string{"CreateUser", "UserName", "new1", "Tags.member.1.Key", "team", "Tags.member.1.Value", "blue"}, []string{"CreateUser", "UserName", "new2", "Tags.member.1.Key", "team", "Tags.member.1.Value", "red"}},
		{"tags at creation need TagUser too", allow(`"iam:CreateUser"`, "*", ""), []string{"CreateUser", "UserName", "new3"}, []string{"CreateUser", "UserName", "new4", "Tags.member.1.Key", "team", "Tags.member.1.Value", "red"}},
		{"aws:TagKeys", allow(`"iam:UntagUser"`, "*", `{"ForAllValues:StringEquals":{"aws:TagKeys":["x"]}}`),
			[]string{"UntagUser", "UserName", "blue", "TagKeys.member.1", "x"}, []string{"UntagUser", "UserName", "blue", "TagKeys.member.1", "team"}},
		{"iam:PolicyARN", allow(`"iam:AttachUserPolicy"`, "*", `{"ArnEquals":{"iam:PolicyARN":"`+awsRead+`"}}`),
			[]string{"AttachUserPolicy", "UserName", "red", "PolicyArn", awsRead}, []string{"AttachUserPolicy", "UserName", "red", "PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess"}},
		{"iam:PolicyARN at a role", allow(`"iam:AttachRolePolicy"`, "*", `{"ArnEquals":{"iam:PolicyARN":"`+awsRead+`"}}`),
			[]string{"AttachRolePolicy", "RoleName", "free", "PolicyArn", awsRead}, []string{"AttachRolePolicy", "RoleName", "free", "PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess"}},
		{"boundary that a new user gets", allow(`"iam:CreateUser"`, "*", bounded), []string{"CreateUser", "UserName", "new5", "PermissionsBoundary", awsRead}, []string{"CreateUser", "UserName", "new6"}},
		{"boundary that a user has", allow(`"iam:PutUserPolicy"`, "*", bounded),
			[]string{"PutUserPolicy", "UserName", "blue", "PolicyName", "p", "PolicyDocument", anything}, []string{"PutUserPolicy", "UserName", "red", "PolicyName", "p", "PolicyDocument", anything}},
		{"boundary that a role has", allow(`"iam:AttachRolePolicy"`, "*", bounded),
			[]string{"AttachRolePolicy", "RoleName", "loader", "PolicyArn", awsRead}, []string{"AttachRolePolicy", "RoleName", "free", "PolicyArn", awsRead}},
		{"boundary that is set", allow(`"iam:PutUserPermissionsBoundary"`, "*", bounded),
			[]string{"PutUserPermissionsBoundary", "UserName", "red", "PermissionsBoundary", awsRead}, []string{"PutUserPermissionsBoundary", "UserName", "blue", "PermissionsBoundary", ownARN}},
		{"where a user moves to", allow(`"iam:UpdateUser"`, prefix+"user/*", `{"StringNotLike":{"aws:userid":"x"}}`),
			[]string{"UpdateUser", "UserName", "new5", "NewPath", "/other/"}, []string{"UpdateGroup", "GroupName", "readers", "NewPath", "/other/"}},
		{"a role passed to a profile", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*InstanceProfile*","Resource":"*"},{"Effect":"Allow","Action":"iam:PassRole","Resource":"` + prefix + `role/free"}]}`,
			[]string{"AddRoleToInstanceProfile", "InstanceProfileName", "meta", "RoleName", "free"}, []string{"AddRoleToInstanceProfile", "InstanceProfileName", "meta", "RoleName", "loader"}},
		{"simulation of one principal", allow(`"iam:SimulatePrincipalPolicy"`, prefix+"user/red", ""),
			[]string{"SimulatePrincipalPolicy", "PolicySourceArn", prefix + "user/red", "ActionNames.member.1", simulate},
			[]string{"SimulatePrincipalPolicy", "PolicySourceArn", prefix + "role/free", "ActionNames.member.1", simulate}},
	} {
		keys := w.keys(t, w.role(t, account, "delegate"+string(rune('a'+i)), tc.policy), nil)
		if r := w.post(t, keys, tc.yes[0], tc.yes[1:]...); r.status != 200 {
			t.Errorf("%s: allowed call: %d %s %s", tc.name, r.status, r.code, r.message)
		}
		if r := w.post(t, keys, tc.no[0], tc.no[1:]...); r.code != "AccessDenied" {
			t.Errorf("%s: denied call: %d %s %s", tc.name, r.status, r.code, r.message)
		}
	}
}

// TestMovingAUserAsksForBothPlaces: what a delegate may not touch there, it
// can't move there.
func TestMovingAUserAsksForBothPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	admin := w.keys(t, w.role(t, account, "operator", anything), nil)
	w.post(t, admin, "CreateUser", "UserName", "ann", "Path", "/team/")
	keys := w.keys(t, w.role(t, account, "delegate", allow(`"iam:*"`, prefix+"user/team/*", "")), nil)
	for _, pairs := range [][]string{{"NewPath", "/"}, {"NewPath", "/other/", "NewUserName", "boss"}} {
		if r := w.post(t, keys, "UpdateUser", append([]string{"UserName", "ann"}, pairs...)...); r.code != "AccessDenied" {
			t.Errorf("%q: %d %s", pairs, r.status, r.code)
		}
	}
	if r := w.post(t, keys, "UpdateUser", "UserName", "ann", "NewUserName", "anna"); r.status != 200 {
		t.Errorf("%d %s %s", r.status, r.code, r.message)
	}
}

// TestAccountsAreApart: an administrator of one account reaches nothing of
// another, neither by name nor by ARN.
func TestAccountsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	here, there := w.keys(t, w.role(t, account, "operator", anything), nil), w.keys(t, w.role(t, other, "operator", anything), nil)
	for _, call := range [][]string{
		{"CreateUser", "UserName", "ann"}, {"CreatePolicy", "PolicyName", "own", "PolicyDocument", anything}, {"CreateAccountAlias", "AccountAlias", "analytics"},
	} {
		if r := w.post(t, here, call[0], call[1:]...); r.status != 200 {
			t.Fatal(call, r.code, r.message)
		}
	}
	made := w.post(t, here, "CreateAccessKey", "UserName", "ann")
	for _, tc := range []struct{ call, code string }{
		{"GetUser UserName ann", "NoSuchEntity"},
		{"GetPolicy PolicyArn " + prefix + "policy/own", "NoSuchEntity"},
		{"DeletePolicy PolicyArn " + prefix + "policy/own", "NoSuchEntity"},
		{"GetAccessKeyLastUsed AccessKeyId " + made.field("AccessKeyId"), "NoSuchEntity"},
		{"CreateAccountAlias AccountAlias analytics", "EntityAlreadyExists"},
		{"DeleteAccountAlias AccountAlias analytics", "NoSuchEntity"},
		{"SimulatePrincipalPolicy ActionNames.member.1 s3:GetObject PolicySourceArn " + prefix + "user/ann", "NoSuchEntity"},
	} {
		f := strings.Fields(tc.call)
		if r := w.post(t, there, f[0], f[1:]...); r.code != tc.code && r.code != "AccessDenied" {
			t.Errorf("%s: %d %s %s", tc.call, r.status, r.code, r.message)
		}
	}
	w.post(t, there, "CreateUser", "UserName", "eve")
	if r := w.post(t, there, "AttachUserPolicy", "UserName", "eve", "PolicyArn", prefix+"policy/own"); r.code != "NoSuchEntity" {
		t.Errorf("a policy of another account: %d %s", r.status, r.code)
	}
	if r := w.post(t, there, "ListUsers"); strings.Contains(r.body, "ann") {
		t.Error(r.body)
	}
}

// TestCVE_2025_62506_SessionPolicyCountsInIAM: keys with a session policy get
// no more of IAM than it says, in their own account too.
func TestCVE_2025_62506_SessionPolicyCountsInIAM(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), func(c *sessiontoken.Claims) { c.SessionPolicy = allow(`"iam:List*"`, "*", "") })
	if r := w.post(t, keys, "ListRoles"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.code)
	}
	for _, call := range [][]string{{"CreateUser", "UserName", "eve"}, {"PutRolePolicy", "RoleName", "operator", "PolicyName", "p", "PolicyDocument", anything}} {
		if r := w.post(t, keys, call[0], call[1:]...); r.code != "AccessDenied" || !strings.Contains(r.message, "no session policy allows") {
			t.Errorf("%s: %d %s %s", call[0], r.status, r.code, r.message)
		}
	}
}

// TestCVE_2024_24747_KeysDoNotEditTheirOwnRights: a user without iam: rights
// changes nothing of itself, and one with some only what they name.
func TestCVE_2024_24747_KeysDoNotEditTheirOwnRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	admin := w.keys(t, w.role(t, account, "operator", anything), nil)
	w.post(t, admin, "CreateUser", "UserName", "ann", "PermissionsBoundary", awsRead)
	w.post(t, admin, "PutUserPolicy", "UserName", "ann", "PolicyName", "own", "PolicyDocument", anything)
	made := w.post(t, admin, "CreateAccessKey", "UserName", "ann")
	ann := credentials.NewStaticCredentialsProvider(made.field("AccessKeyId"), made.field("SecretAccessKey"), "")
	for _, call := range [][]string{
		{"PutUserPolicy", "UserName", "ann", "PolicyName", "more", "PolicyDocument", anything},
		{"AttachUserPolicy", "UserName", "ann", "PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess"},
		{"DeleteUserPermissionsBoundary", "UserName", "ann"}, {"CreateAccessKey"}, {"AddUserToGroup", "GroupName", "g", "UserName", "ann"},
	} {
		if r := w.post(t, ann, call[0], call[1:]...); r.code != "AccessDenied" || !strings.Contains(r.message, "no permissions boundary allows") {
			t.Errorf("%s: %d %s %s", call[0], r.status, r.code, r.message)
		}
	}
}

// TestCVE_2020_11012_EverySignatureIsHeld: the key of another, a signature for
// another service or body, or none.
func TestCVE_2020_11012_EverySignatureIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	call := form("CreateUser", "UserName", "eve").Encode()
	sign := func(service string) func(*http.Request) {
		return func(r *http.Request) {
			c := must[aws.Credentials](t)(keys.Retrieve(t.Context()))
			r.Header.Del("Authorization")
			if err := v4.NewSigner().SignHTTP(t.Context(), c, r, strings.Repeat("0", 64), service, "us-east-1", time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, r := range map[string]reply{
		"another body":  w.send(t, keys, "POST", "/", call, sign("iam")),
		"an empty one":  w.send(t, keys, "POST", "/", call, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 ") }),
		"cut signature": w.send(t, keys, "POST", "/", call, func(r *http.Request) { a := r.Header.Get("Authorization"); r.Header.Set("Authorization", a[:len(a)-1]) }),
		"zero signature": w.send(t, keys, "POST", "/", call, func(r *http.Request) {
			a := r.Header.Get("Authorization")
			r.Header.Set("Authorization", a[:len(a)-64]+strings.Repeat("0", 64))
		}),
		"STS's signature": w.send(t, keys, "POST", "/", call, sign("sts")),
		"another call":    w.send(t, keys, "POST", "/?MaxItems=1", call, func(r *http.Request) { r.URL.RawQuery = "MaxItems=2" }),
	} {
		if r.status == 200 || r.code == "AccessDenied" {
			t.Errorf("%s: %d %s", name, r.status, r.code)
		}
	}
	if _, ok := must[*iam.Snapshot](t)(w.iam.Current()).View().User(account, "eve"); ok {
		t.Error("the user was made")
	}
}

// TestCVE_2026_41145_TwoPlacesOfCredentials: signed in the address and in the
// header at once.
func TestCVE_2026_41145_TwoPlacesOfCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	r := w.send(t, keys, "GET", "/?"+form("ListRoles").Encode(), "", func(r *http.Request) {
		r.URL.RawQuery += "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIA7777777777777777%2F20261122%2Fus-east-1%2Fiam%2Faws4_request&X-Amz-Date=20261122T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + strings.Repeat("0", 64)
	})
	if r.status != 400 {
		t.Errorf("%d %s", r.status, r.code)
	}
}

// TestCVE_2026_72920_NothingWithoutASignature: no call is answered unsigned.
func TestCVE_2026_72920_NothingWithoutASignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, s := range walk(t) {
		for _, r := range []reply{
			w.send(t, nil, "POST", "/", form(s.action, s.pairs...).Encode(), nil),
			w.send(t, nil, "GET", "/?"+form(s.action).Encode(), "", nil),
		} {
			if r.status != 403 || r.code != "MissingAuthenticationToken" {
				t.Errorf("%s: %d %s", s.action, r.status, r.body)
			}
		}
	}
	if e := w.trail.last(); e.Action != "" {
		t.Errorf("%+v", e)
	}
}
