package iamapi_test

import (
	"strconv"
	"strings"
	"testing"
)

// refusal is one call and how it is refused.
type refusal struct {
	call          []string
	status        int
	code, message string
}

// TestErrorsOfUsersGroupsAndPolicies provokes each documented error of these
// operations that has a cause here, in AWS's words.
func TestErrorsOfUsersGroupsAndPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	do := func(call ...string) {
		t.Helper()
		if r := w.post(t, keys, call[0], call[1:]...); r.status != 200 {
			t.Fatal(call, r.status, r.code, r.message)
		}
	}
	do("CreateUser", "UserName", "ann")
	do("CreateUser", "UserName", "bob")
	do("CreateGroup", "GroupName", "g")
	do("AddUserToGroup", "GroupName", "g", "UserName", "ann")
	do("CreateAccessKey", "UserName", "bob")
	do("CreateAccessKey", "UserName", "bob")
	do("CreatePolicy", "PolicyName", "p", "PolicyDocument", readsS3)
	do("CreatePolicy", "PolicyName", "full", "PolicyDocument", readsS3)
	for range 4 {
		do("CreatePolicyVersion", "PolicyArn", prefix+"policy/full", "PolicyDocument", readsS3)
	}
	do("AttachUserPolicy", "UserName", "ann", "PolicyArn", prefix+"policy/p")
	for i := range 10 {
		n := strconv.Itoa(i)
		do("CreatePolicy", "PolicyName", "n"+n, "PolicyDocument", readsS3)
		do("AttachUserPolicy", "UserName", "bob", "PolicyArn", prefix+"policy/n"+n)
		do("CreateGroup", "GroupName", "g"+n)
		do("AddUserToGroup", "GroupName", "g"+n, "UserName", "bob")
	}
	do("PutGroupPolicy", "GroupName", "g1", "PolicyName", "x", "PolicyDocument", readsS3)
	do("RemoveUserFromGroup", "GroupName", "g1", "UserName", "bob")
	do("AddUserToGroup", "GroupName", "g", "UserName", "bob")
	const key = "AKIAEXAMPLEEXAMPLE01"
	long := allow(`"s3:GetObject"`, "arn:aws:s3:::"+strings.Repeat("x", 6200), "")
	const bad = `{"Version":"2012-10-17","Statement":[{"Effect":"Perhaps","Action":"*","Resource":"*"}]}`
	for _, tc := range []refusal{
		{[]string{"CreateUser", "UserName", "Ann"}, 409, "EntityAlreadyExists", "User with name Ann already exists."},
		{[]string{"UpdateUser", "UserName", "ann", "NewUserName", "BOB"}, 409, "EntityAlreadyExists", "User with name BOB already exists."},
		{[]string{"CreateUser", "UserName", "x", "PermissionsBoundary", prefix + "policy/none"}, 404, "NoSuchEntity", "Policy " + prefix + "policy/none does not exist or is not attachable."},
		{[]string{"GetUser", "UserName", "x"}, 404, "NoSuchEntity", "The user with name x cannot be found."},
		{[]string{"DeleteUser", "UserName", "ann"}, 409, "DeleteConflict", "Cannot delete entity, must remove users from group first."},
		{[]string{"DeleteUser", "UserName", "bob"}, 409, "DeleteConflict", "Cannot delete entity, must delete access keys first."},
		{[]string{"DeleteUserPermissionsBoundary", "UserName", "ann"}, 404, "NoSuchEntity", "The user with name ann has no permissions boundary."},
		{[]string{"PutUserPermissionsBoundary", "UserName", "ann", "PermissionsBoundary", "arn:aws:iam::" + account + ":role/x"}, 400, "InvalidInput", ""},
		{[]string{"CreateGroup", "GroupName", "G"}, 409, "EntityAlreadyExists", "Group with name G already exists."},
		{[]string{"UpdateGroup", "GroupName", "g", "NewGroupName", "G2"}, 409, "EntityAlreadyExists", ""},
		{[]string{"GetGroup", "GroupName", "none"}, 404, "NoSuchEntity", "The group with name none cannot be found."},
		{[]string{"DeleteGroup", "GroupName", "g"}, 409, "DeleteConflict", "Cannot delete entity, must remove users from group first."},
		{[]string{"DeleteGroup", "GroupName", "g1"}, 409, "DeleteConflict", "Cannot delete entity, must delete policies first."},
		{[]string{"AddUserToGroup", "GroupName", "g1", "UserName", "bob"}, 409, "LimitExceeded", "Cannot exceed quota for GroupsPerUser: 10"},
		{[]string{"AddUserToGroup", "GroupName", "g", "UserName", "none"}, 404, "NoSuchEntity", "The user with name none cannot be found."},
		{[]string{"RemoveUserFromGroup", "GroupName", "g2", "UserName", "ann"}, 404, "NoSuchEntity", ""},
		{[]string{"CreateAccessKey", "UserName", "bob"}, 409, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2"},
		{[]string{"CreateAccessKey", "UserName", "none"}, 404, "NoSuchEntity", ""},
		{[]string{"DeleteAccessKey", "UserName", "ann", "AccessKeyId", key}, 404, "NoSuchEntity", "The Access Key with id " + key + " cannot be found."},
		{[]string{"UpdateAccessKey", "UserName", "ann", "AccessKeyId", key, "Status", "Active"}, 404, "NoSuchEntity", ""},
		{[]string{"GetAccessKeyLastUsed", "AccessKeyId", key}, 404, "NoSuchEntity", ""},
		{[]string{"PutUserPolicy", "UserName", "ann", "PolicyName", "x", "PolicyDocument", bad}, 400, "MalformedPolicyDocument", ""},
		{[]string{"PutUserPolicy", "UserName", "ann", "PolicyName", "x", "PolicyDocument", allow(`"s3:*"`, "arn:aws:s3:::"+strings.Repeat("x", 2000), "")}, 409, "LimitExceeded",
			"Maximum policy size of 2048 bytes exceeded for user ann"},
		{[]string{"PutGroupPolicy", "GroupName", "g", "PolicyName", "x", "PolicyDocument", allow(`"s3:*"`, "arn:aws:s3:::"+strings.Repeat("x", 5200), "")}, 409, "LimitExceeded",
			"Maximum policy size of 5120 bytes exceeded for group g"},
		{[]string{"GetUserPolicy", "UserName", "ann", "PolicyName", "x"}, 404, "NoSuchEntity", "The user policy with name x cannot be found."},
		{[]string{"DeleteGroupPolicy", "GroupName", "g", "PolicyName", "x"}, 404, "NoSuchEntity", "The group policy with name x cannot be found."},
		{[]string{"AttachUserPolicy", "UserName", "bob", "PolicyArn", prefix + "policy/p"}, 409, "LimitExceeded", "Cannot exceed quota for PoliciesPerUser: 10"},
		{[]string{"AttachUserPolicy", "UserName", "ann", "PolicyArn", "arn:aws:iam::aws:policy/AmazonEC2FullAccess"}, 404, "NoSuchEntity", ""},
		{[]string{"AttachGroupPolicy", "GroupName", "g", "PolicyArn", "arn:aws:s3:::some/policy/x"}, 400, "InvalidInput", "ARN arn:aws:s3:::some/policy/x is not valid."},
		{[]string{"AttachRolePolicy", "RoleName", "none", "PolicyArn", prefix + "policy/p"}, 404, "NoSuchEntity", "The role with name none cannot be found."},
		{[]string{"DetachUserPolicy", "UserName", "ann", "PolicyArn", awsRead}, 404, "NoSuchEntity", "Policy " + awsRead + " was not found."},
		{[]string{"CreatePolicy", "PolicyName", "P", "PolicyDocument", readsS3}, 409, "EntityAlreadyExists", "A policy called P already exists. Duplicate names are not allowed."},
		{[]string{"CreatePolicy", "PolicyName", "x", "PolicyDocument", bad}, 400, "MalformedPolicyDocument", ""},
		{[]string{"CreatePolicy", "PolicyName", "x", "PolicyDocument", "{"}, 400, "MalformedPolicyDocument", ""},
		{[]string{"CreatePolicy", "PolicyName", "x", "PolicyDocument", long}, 409, "LimitExceeded", "Cannot exceed quota for PolicySize: 6144"},
		{[]string{"CreatePolicyVersion", "PolicyArn", prefix + "policy/full", "PolicyDocument", readsS3}, 409, "LimitExceeded",
			"A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."},
		{[]string{"CreatePolicyVersion", "PolicyArn", prefix + "policy/p", "PolicyDocument", bad}, 400, "MalformedPolicyDocument", ""},
		{[]string{"DeletePolicyVersion", "PolicyArn", prefix + "policy/p", "VersionId", "v1"}, 409, "DeleteConflict", "Cannot delete the default version of a policy."},
		{[]string{"DeletePolicyVersion", "PolicyArn", prefix + "policy/p", "VersionId", "v7"}, 404, "NoSuchEntity", ""},
		{[]string{"SetDefaultPolicyVersion", "PolicyArn", prefix + "policy/p", "VersionId", "v7"}, 404, "NoSuchEntity", ""},
		{[]string{"GetPolicyVersion", "PolicyArn", prefix + "policy/p", "VersionId", "v7"}, 404, "NoSuchEntity", ""},
		{[]string{"DeletePolicy", "PolicyArn", prefix + "policy/p"}, 409, "DeleteConflict", "Cannot delete a policy attached to entities."},
		{[]string{"DeletePolicy", "PolicyArn", prefix + "policy/full"}, 409, "DeleteConflict", "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."},
		{[]string{"DeletePolicy", "PolicyArn", prefix + "policy/none"}, 404, "NoSuchEntity", "Policy " + prefix + "policy/none was not found."},
		{[]string{"DeletePolicy", "PolicyArn", prefix + "policy/team/p"}, 404, "NoSuchEntity", ""},
		{[]string{"DeletePolicy", "PolicyArn", awsRead}, 403, "AccessDenied", ""},
		{[]string{"GetPolicy", "PolicyArn", "arn:aws:iam::" + account + ":user/x"}, 400, "InvalidInput", ""},
		{[]string{"DeleteAccountAlias", "AccountAlias", "none"}, 404, "NoSuchEntity", "The account alias none cannot be found."},
	} {
		r := w.post(t, keys, tc.call[0], tc.call[1:]...)
		if r.status != tc.status || r.code != tc.code || tc.message != "" && r.message != tc.message {
			t.Errorf("%.60q:\ngot  %d %s %s\nwant %d %s %s", tc.call, r.status, r.code, r.message, tc.status, tc.code, tc.message)
		}
	}
	if r := w.post(t, keys, "GetPolicyVersion", "PolicyArn", prefix+"policy/full", "VersionId", "v1"); r.field("IsDefaultVersion") != "true" {
		t.Error(r.body)
	}
}

// TestVersionNumbersAreNotUsedAgain: as on AWS.
func TestVersionNumbersAreNotUsedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	w.post(t, keys, "CreatePolicy", "PolicyName", "p", "PolicyDocument", readsS3)
	for _, want := range []string{"v2", "v3"} {
		if r := w.post(t, keys, "CreatePolicyVersion", "PolicyArn", prefix+"policy/p", "PolicyDocument", anything); r.field("VersionId") != want || r.field("IsDefaultVersion") != "false" {
			t.Error(r.body)
		}
		w.post(t, keys, "DeletePolicyVersion", "PolicyArn", prefix+"policy/p", "VersionId", want)
	}
}

// TestPolicyInForceDecides: who has a policy has its default version, from the
// answer on.
func TestPolicyInForceDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	admin := w.keys(t, w.role(t, account, "operator", anything), nil)
	role := w.role(t, account, "delegate", readsS3)
	keys := w.keys(t, role, nil)
	w.post(t, admin, "CreatePolicy", "PolicyName", "p", "PolicyDocument", allow(`"iam:ListRoles"`, "*", ""))
	w.post(t, admin, "CreatePolicyVersion", "PolicyArn", prefix+"policy/p", "PolicyDocument", readsS3)
	for _, tc := range []struct {
		change []string
		code   string
	}{
		{[]string{"GetUser", "UserName", "x"}, "AccessDenied"},
		{[]string{"AttachRolePolicy", "RoleName", "delegate", "PolicyArn", prefix + "policy/p"}, ""},
		{[]string{"SetDefaultPolicyVersion", "PolicyArn", prefix + "policy/p", "VersionId", "v2"}, "AccessDenied"},
		{[]string{"SetDefaultPolicyVersion", "PolicyArn", prefix + "policy/p", "VersionId", "v1"}, ""},
		{[]string{"PutRolePermissionsBoundary", "RoleName", "delegate", "PermissionsBoundary", awsRead}, "AccessDenied"},
		{[]string{"DeleteRolePermissionsBoundary", "RoleName", "delegate"}, ""},
		{[]string{"DetachRolePolicy", "RoleName", "delegate", "PolicyArn", prefix + "policy/p"}, "AccessDenied"},
	} {
		w.post(t, admin, tc.change[0], tc.change[1:]...)
		if r := w.post(t, keys, "ListRoles"); r.code != tc.code {
			t.Errorf("after %q: %d %s, want %q", tc.change, r.status, r.code, tc.code)
		}
	}
}
