package iamapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/iamapi"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// reply is an answer as it travels.
type reply struct {
	status        int
	code, message string // of an error
	body          string
}

// field gives the text of the first element of a name.
func (r reply) field(name string) string {
	_, rest, _ := strings.Cut(r.body, "<"+name+">")
	text, _, _ := strings.Cut(rest, "</"+name+">")
	return text
}

// form makes a call's parameters: name, value, name, value.
func form(action string, pairs ...string) url.Values {
	v := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// post sends a call as most clients do.
func (w *world) post(t testing.TB, keys aws.CredentialsProvider, action string, pairs ...string) reply {
	t.Helper()
	return w.send(t, keys, "POST", "/", form(action, pairs...).Encode(), nil)
}

// send signs and sends a request; no keys leave it unsigned.
func (w *world) send(t testing.TB, keys aws.CredentialsProvider, method, target, body string, change func(*http.Request)) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, w.url+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if keys != nil {
		c, err := keys.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), c, r, hex.EncodeToString(sum[:]), "iam", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if change != nil {
		change(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := reply{status: res.StatusCode, body: string(b)}
	if res.StatusCode != http.StatusOK {
		var doc struct {
			Code    string `xml:"Error>Code"`
			Message string `xml:"Error>Message"`
			ID      string `xml:"RequestId"`
		}
		if err := xml.Unmarshal(b, &doc); err != nil || doc.Code == "" || doc.ID == "" {
			t.Fatalf("%d %s: %v", res.StatusCode, b, err)
		}
		out.code, out.message = doc.Code, doc.Message
	}
	return out
}

// step is one call of the walk, and the code that it is refused with, if any.
type step struct {
	action string
	pairs  []string
	code   string
}

const (
	awsRead  = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
	ownARN   = prefix + "policy/team/read"
	samlARN  = prefix + "saml-provider/idp"
	oidcARN  = prefix + "oidc-provider/issuer.example/oidc"
	thumb    = "0123456789012345678901234567890123456789"
	simulate = "s3:GetObject"
)

// walk is a life of every entity, over every operation of the table. KEY stands
// for the access key id that was made on the way.
func walk(t testing.TB) []step {
	do := func(action string, pairs ...string) step { return step{action: action, pairs: pairs} }
	tag := []string{"Tags.member.1.Key", "team", "Tags.member.1.Value", "blue", "Tags.member.2.Key", "empty", "Tags.member.2.Value", ""}
	with := func(s step, more []string) step {
		s.pairs = append(s.pairs, more...)
		return s
	}
	return []step{
		with(do("CreatePolicy", "PolicyName", "read", "Path", "/team/", "Description", "reads & no more", "PolicyDocument", readsS3), tag),
		do("CreatePolicyVersion", "PolicyArn", ownARN, "PolicyDocument", anything, "SetAsDefault", "true"),
		do("CreatePolicyVersion", "PolicyArn", ownARN, "PolicyDocument", readsS3),
		do("SetDefaultPolicyVersion", "PolicyArn", ownARN, "VersionId", "v3"),
		do("DeletePolicyVersion", "PolicyArn", ownARN, "VersionId", "v2"),
		do("GetPolicy", "PolicyArn", ownARN), do("GetPolicyVersion", "PolicyArn", ownARN, "VersionId", "v1"),
		do("ListPolicyVersions", "PolicyArn", ownARN), do("ListPolicies", "Scope", "All"), do("ListPolicies", "Scope", "Local", "OnlyAttached", "true"),
		with(do("TagPolicy", "PolicyArn", ownARN), tag), do("ListPolicyTags", "PolicyArn", ownARN), do("UntagPolicy", "PolicyArn", ownARN, "TagKeys.member.1", "empty"),

		with(do("CreateUser", "UserName", "ann", "Path", "/team/", "PermissionsBoundary", awsRead), tag),
		do("GetUser", "UserName", "ann"), do("ListUsers", "PathPrefix", "/team/"),
		with(do("TagUser", "UserName", "ann"), tag), do("ListUserTags", "UserName", "ann"), do("UntagUser", "UserName", "ann", "TagKeys.member.1", "team"),
		do("PutUserPolicy", "UserName", "ann", "PolicyName", "own", "PolicyDocument", readsS3), do("GetUserPolicy", "UserName", "ann", "PolicyName", "own"),
		do("ListUserPolicies", "UserName", "ann"), do("AttachUserPolicy", "UserName", "ann", "PolicyArn", ownARN), do("ListAttachedUserPolicies", "UserName", "ann"),
		do("DeleteUserPermissionsBoundary", "UserName", "ann"), do("PutUserPermissionsBoundary", "UserName", "ann", "PermissionsBoundary", awsRead),
		do("CreateAccessKey", "UserName", "ann"), do("ListAccessKeys", "UserName", "ann"), do("GetAccessKeyLastUsed", "AccessKeyId", "KEY"),
		do("UpdateAccessKey", "UserName", "ann", "AccessKeyId", "KEY", "Status", "Inactive"),
		do("ListMFADevices", "UserName", "ann"), do("ListSSHPublicKeys", "UserName", "ann"), do("ListSigningCertificates", "UserName", "ann"),
		do("ListServiceSpecificCredentials", "UserName", "ann"), do("ListServiceSpecificCredentials", "AllUsers", "true"),
		{"GetLoginProfile", []string{"UserName", "ann"}, "NoSuchEntity"}, {"DeleteLoginProfile", []string{"UserName", "ann"}, "NoSuchEntity"},

		do("CreateGroup", "GroupName", "readers", "Path", "/team/"), do("AddUserToGroup", "GroupName", "readers", "UserName", "ann"),
		do("GetGroup", "GroupName", "readers"), do("ListGroups"), do("ListGroupsForUser", "UserName", "ann"),
		do("PutGroupPolicy", "GroupName", "readers", "PolicyName", "own", "PolicyDocument", readsS3), do("GetGroupPolicy", "GroupName", "readers", "PolicyName", "own"),
		do("ListGroupPolicies", "GroupName", "readers"), do("AttachGroupPolicy", "GroupName", "readers", "PolicyArn", awsRead),
		do("ListAttachedGroupPolicies", "GroupName", "readers"),

		with(do("CreateRole", "RoleName", "loader", "Path", "/team/", "AssumeRolePolicyDocument", trustsAll, "Description", "loads", "PermissionsBoundary", awsRead), tag),
		do("GetRole", "RoleName", "loader"), do("ListRoles"), do("UpdateRole", "RoleName", "loader", "MaxSessionDuration", "7200"),
		do("UpdateRoleDescription", "RoleName", "loader", "Description", "loads more"), do("UpdateAssumeRolePolicy", "RoleName", "loader", "PolicyDocument", trustsAll),
		with(do("TagRole", "RoleName", "loader"), tag), do("ListRoleTags", "RoleName", "loader"), do("UntagRole", "RoleName", "loader", "TagKeys.member.1", "team"),
		do("PutRolePolicy", "RoleName", "loader", "PolicyName", "own", "PolicyDocument", readsS3), do("GetRolePolicy", "RoleName", "loader", "PolicyName", "own"),
		do("ListRolePolicies", "RoleName", "loader"), do("AttachRolePolicy", "RoleName", "loader", "PolicyArn", ownARN), do("ListAttachedRolePolicies", "RoleName", "loader"),
		do("DeleteRolePermissionsBoundary", "RoleName", "loader"), do("PutRolePermissionsBoundary", "RoleName", "loader", "PermissionsBoundary", awsRead),

		with(do("CreateInstanceProfile", "InstanceProfileName", "meta", "Path", "/team/"), tag), do("AddRoleToInstanceProfile", "InstanceProfileName", "meta", "RoleName", "loader"),
		do("GetInstanceProfile", "InstanceProfileName", "meta"), do("ListInstanceProfiles"), do("ListInstanceProfilesForRole", "RoleName", "loader"),
		with(do("TagInstanceProfile", "InstanceProfileName", "meta"), tag), do("ListInstanceProfileTags", "InstanceProfileName", "meta"),
		do("UntagInstanceProfile", "InstanceProfileName", "meta", "TagKeys.member.1", "team"),

		with(do("CreateSAMLProvider", "Name", "idp", "SAMLMetadataDocument", *metadata(t)), tag), do("GetSAMLProvider", "SAMLProviderArn", samlARN), do("ListSAMLProviders"),
		do("UpdateSAMLProvider", "SAMLProviderArn", samlARN, "SAMLMetadataDocument", *metadata(t)), with(do("TagSAMLProvider", "SAMLProviderArn", samlARN), tag),
		do("ListSAMLProviderTags", "SAMLProviderArn", samlARN), do("UntagSAMLProvider", "SAMLProviderArn", samlARN, "TagKeys.member.1", "team"),
		with(do("CreateOpenIDConnectProvider", "Url", "https://issuer.example/oidc", "ClientIDList.member.1", "sts.amazonaws.com", "ThumbprintList.member.1", thumb), tag),
		do("GetOpenIDConnectProvider", "OpenIDConnectProviderArn", oidcARN), do("ListOpenIDConnectProviders"),
		do("AddClientIDToOpenIDConnectProvider", "OpenIDConnectProviderArn", oidcARN, "ClientID", "carnet"),
		do("RemoveClientIDFromOpenIDConnectProvider", "OpenIDConnectProviderArn", oidcARN, "ClientID", "carnet"),
		do("UpdateOpenIDConnectProviderThumbprint", "OpenIDConnectProviderArn", oidcARN, "ThumbprintList.member.1", thumb),
		with(do("TagOpenIDConnectProvider", "OpenIDConnectProviderArn", oidcARN), tag), do("ListOpenIDConnectProviderTags", "OpenIDConnectProviderArn", oidcARN),
		do("UntagOpenIDConnectProvider", "OpenIDConnectProviderArn", oidcARN, "TagKeys.member.1", "team"),

		do("ListEntitiesForPolicy", "PolicyArn", ownARN), do("GetAccountSummary"), do("GetAccountAuthorizationDetails"),
		do("GetAccountAuthorizationDetails", "Filter.member.1", "User", "Filter.member.2", "AWSManagedPolicy"),
		do("CreateAccountAlias", "AccountAlias", "analytics"), do("ListAccountAliases"), do("DeleteAccountAlias", "AccountAlias", "analytics"),
		do("ListVirtualMFADevices"), do("ListServerCertificates"),
		{"GetAccountPasswordPolicy", nil, "NoSuchEntity"}, {"DeleteAccountPasswordPolicy", nil, "NoSuchEntity"},
		do("SimulateCustomPolicy", "PolicyInputList.member.1", readsS3, "ActionNames.member.1", simulate, "ActionNames.member.2", "iam:GetRole",
			"PermissionsBoundaryPolicyInputList.member.1", anything, "OrderedOrganizationPolicyInputList.member.1.ServiceControlPolicyInputList.member.1", anything,
			"ContextEntries.member.1.ContextKeyName", "aws:SourceIp", "ContextEntries.member.1.ContextKeyType", "ip",
			"ContextEntries.member.1.ContextKeyValues.member.1", "10.0.0.1"),
		do("SimulatePrincipalPolicy", "PolicySourceArn", prefix+"user/team/ann", "ActionNames.member.1", simulate, "ResourceArns.member.1", "arn:aws:s3:::lake/x"),
		do("GetContextKeysForCustomPolicy", "PolicyInputList.member.1", readsS3), do("GetContextKeysForPrincipalPolicy", "PolicySourceArn", prefix+"role/team/loader"),

		do("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", oidcARN), do("DeleteSAMLProvider", "SAMLProviderArn", samlARN),
		do("RemoveRoleFromInstanceProfile", "InstanceProfileName", "meta", "RoleName", "loader"), do("DeleteInstanceProfile", "InstanceProfileName", "meta"),
		do("DetachRolePolicy", "RoleName", "loader", "PolicyArn", ownARN), do("DeleteRolePolicy", "RoleName", "loader", "PolicyName", "own"), do("DeleteRole", "RoleName", "loader"),
		do("RemoveUserFromGroup", "GroupName", "readers", "UserName", "ann"), do("DetachGroupPolicy", "GroupName", "readers", "PolicyArn", awsRead),
		do("DeleteGroupPolicy", "GroupName", "readers", "PolicyName", "own"), do("UpdateGroup", "GroupName", "readers", "NewGroupName", "Readers"),
		do("DeleteGroup", "GroupName", "Readers"), do("DeleteAccessKey", "UserName", "ann", "AccessKeyId", "KEY"), do("DetachUserPolicy", "UserName", "ann", "PolicyArn", ownARN),
		do("DeleteUserPolicy", "UserName", "ann", "PolicyName", "own"), do("UpdateUser", "UserName", "ann", "NewUserName", "anna"), do("DeleteUser", "UserName", "anna"),
		do("DeletePolicyVersion", "PolicyArn", ownARN, "VersionId", "v1"), do("DeletePolicy", "PolicyArn", ownARN),
	}
}

// through makes the calls of the walk and gives each answer to see.
func (w *world) through(t testing.TB, keys aws.CredentialsProvider, see func(step, reply)) {
	t.Helper()
	key := "AKIAEXAMPLEEXAMPLE01"
	for _, s := range walk(t) {
		pairs := slices.Clone(s.pairs)
		for i := range pairs {
			if pairs[i] == "KEY" {
				pairs[i] = key
			}
		}
		r := w.post(t, keys, s.action, pairs...)
		if s.action == "CreateAccessKey" && r.status == http.StatusOK {
			key = r.field("AccessKeyId")
		}
		see(s, r)
	}
}

// TestEveryOperation makes every call of the table; each leaves an account in
// which nothing is left, and each change its record.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	made := map[string]bool{}
	w.through(t, keys, func(s step, r reply) {
		made[s.action] = true
		if r.code != s.code {
			t.Errorf("%s: %d %s %s, want %q", s.action, r.status, r.code, r.message, s.code)
		}
		changes := !strings.HasPrefix(s.action, "Get") && !strings.HasPrefix(s.action, "List") && !strings.HasPrefix(s.action, "Simulate")
		if e := w.trail.last(); changes && s.code == "" && (e.Action != "iam."+s.action || e.Target == "" || e.AccessKeyID == "" || e.Detail["caller"] == "") {
			t.Errorf("%s left the record %+v", s.action, e)
		}
	})
	if iamapi.Parted() != len(iamapi.Operations()) {
		t.Error("an operation stands twice in the table")
	}
	for _, action := range iamapi.Operations() {
		if !made[action] {
			t.Errorf("the walk leaves %s out", action)
		}
	}
	left := w.post(t, keys, "GetAccountAuthorizationDetails")
	if strings.Count(left.body, "<member>") != 2 || left.field("RoleName") != "operator" { // the role and its policy
		t.Errorf("what is left: %s", left.body)
	}
	if strings.Contains(w.log.String(), "SecretAccessKey") {
		t.Error("the log carries a secret")
	}
}

// TestRefusedByName: what is not offered says why, and what AWS doesn't have
// isn't either.
func TestRefusedByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	offered := iamapi.Operations()
	for _, action := range iamapi.Refused() {
		if slices.Contains(offered, action) {
			t.Errorf("%s is offered and refused", action)
		}
		if r := w.post(t, keys, action); r.status != 400 || r.code != "InvalidAction" || !strings.Contains(r.message, "does not offer "+action+": ") {
			t.Errorf("%s: %d %s %s", action, r.status, r.code, r.message)
		}
	}
	if r := w.post(t, keys, "MakeCoffee"); r.code != "InvalidAction" || r.message != "Could not find operation MakeCoffee for version 2010-05-08" {
		t.Errorf("%s %s", r.code, r.message)
	}
}

// TestS3RolesGetNothing: a person with a role for S3 alone is denied every
// operation, whether what it is about exists or not.
func TestS3RolesGetNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	operator := w.keys(t, w.role(t, account, "operator", anything), nil)
	analyst := w.keys(t, w.role(t, account, "analyst", readsS3), nil)
	const who = "User: arn:aws:sts::" + account + ":assumed-role/analyst/carol is not authorized to perform: iam:"
	before := map[string]bool{}
	denied := func(s step, r reply) {
		if r.status != 403 || r.code != "AccessDenied" || !strings.HasPrefix(r.message, who+s.action+" on resource: ") ||
			!strings.HasSuffix(r.message, " because no identity-based policy allows the iam:"+s.action+" action") {
			t.Errorf("%s: %d %s %s", s.action, r.status, r.code, r.message)
		}
		before[s.action] = true
	}
	w.through(t, analyst, denied)
	for _, s := range walk(t)[:30] { // entities that exist
		w.post(t, operator, s.action, s.pairs...)
	}
	w.through(t, analyst, denied)
	if len(before) != len(iamapi.Operations()) {
		t.Errorf("%d operations were asked", len(before))
	}
}
