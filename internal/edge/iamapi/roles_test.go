package iamapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/iam"
	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func decoded(t testing.TB, document *string) string {
	t.Helper()
	text, err := url.PathUnescape(aws.ToString(document))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func tagsOf(pairs ...string) (out []types.Tag) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, types.Tag{Key: aws.String(pairs[i]), Value: aws.String(pairs[i+1])})
	}
	return out
}

// TestRoles walks a role through its life with the AWS SDK.
func TestRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	made := must[*awsiam.CreateRoleOutput](t)(c.CreateRole(ctx, &awsiam.CreateRoleInput{
		RoleName: aws.String("analyst"), Path: aws.String("/data/"), AssumeRolePolicyDocument: aws.String(trustsAll), Description: aws.String("reads"),
		MaxSessionDuration: aws.Int32(14400), Tags: tagsOf("team", "blue"), PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AmazonS3FullAccess"),
	})).Role
	if *made.Arn != prefix+"role/data/analyst" || !strings.HasPrefix(*made.RoleId, "AROA") || decoded(t, made.AssumeRolePolicyDocument) != trustsAll || len(made.Tags) != 1 {
		t.Errorf("%+v", made)
	}
	if e := w.trail.last(); e.Action != "iam.CreateRole" || e.Target != *made.Arn || e.Person != "psn_carol" || e.Request == "" || e.Detail["caller"] == "" {
		t.Errorf("%+v", e)
	}
	must[*awsiam.UpdateRoleOutput](t)(c.UpdateRole(ctx, &awsiam.UpdateRoleInput{RoleName: made.RoleName, MaxSessionDuration: aws.Int32(7200)}))
	must[*awsiam.UpdateRoleDescriptionOutput](t)(c.UpdateRoleDescription(ctx, &awsiam.UpdateRoleDescriptionInput{RoleName: made.RoleName, Description: aws.String("reads more")}))
	must[*awsiam.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: made.RoleName, PolicyName: aws.String("own"), PolicyDocument: aws.String(readsS3)}))
	must[*awsiam.TagRoleOutput](t)(c.TagRole(ctx, &awsiam.TagRoleInput{RoleName: made.RoleName, Tags: tagsOf("Team", "red", "cost", "1")}))
	must[*awsiam.UntagRoleOutput](t)(c.UntagRole(ctx, &awsiam.UntagRoleInput{RoleName: made.RoleName, TagKeys: []string{"cost", "no"}}))
	r := must[*awsiam.GetRoleOutput](t)(c.GetRole(ctx, &awsiam.GetRoleInput{RoleName: made.RoleName})).Role
	if *r.RoleId != *made.RoleId || *r.MaxSessionDuration != 7200 || *r.Description != "reads more" || len(r.Tags) != 1 || *r.Tags[0].Key != "Team" ||
		*r.PermissionsBoundary.PermissionsBoundaryArn != "arn:aws:iam::aws:policy/AmazonS3FullAccess" || !r.CreateDate.Equal(*made.CreateDate) {
		t.Errorf("%+v", r)
	}
	own := must[*awsiam.GetRolePolicyOutput](t)(c.GetRolePolicy(ctx, &awsiam.GetRolePolicyInput{RoleName: made.RoleName, PolicyName: aws.String("own")}))
	names := must[*awsiam.ListRolePoliciesOutput](t)(c.ListRolePolicies(ctx, &awsiam.ListRolePoliciesInput{RoleName: made.RoleName})).PolicyNames
	tags := must[*awsiam.ListRoleTagsOutput](t)(c.ListRoleTags(ctx, &awsiam.ListRoleTagsInput{RoleName: made.RoleName})).Tags
	if decoded(t, own.PolicyDocument) != readsS3 || len(names) != 1 || names[0] != "own" || len(tags) != 1 {
		t.Errorf("%+v %q %+v", own, names, tags)
	}

	// Read your writes: the snapshot that decides holds it already.
	current := must[*iam.Snapshot](t)(w.iam.Current())
	compiled, ok := current.Role(arn.Role{Partition: "aws", Account: account, Path: "/data/", Name: "analyst"})
	if !ok || len(compiled.Policies) != 1 || compiled.Boundary == nil || compiled.MaxSession != 2*time.Hour {
		t.Errorf("%+v", compiled)
	}

	for name, tc := range map[string]struct {
		do   func() error
		text string
	}{
		"with a policy": {func() error {
			_, err := c.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: made.RoleName})
			return err
		}, "Cannot delete entity, must delete policies first."},
		"with an attached policy": {func() error {
			must[*awsiam.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &awsiam.AttachRolePolicyInput{RoleName: made.RoleName, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonS3FullAccess")}))
			_, err := c.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: made.RoleName})
			must[*awsiam.DetachRolePolicyOutput](t)(c.DetachRolePolicy(ctx, &awsiam.DetachRolePolicyInput{RoleName: made.RoleName, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonS3FullAccess")}))
			return err
		}, "Cannot delete entity, must detach all policies first."},
	} {
		if err := tc.do(); code(t, err) != "DeleteConflict" || message(err) != tc.text {
			t.Errorf("%s: %v", name, err)
		}
	}
	must[*awsiam.DeleteRolePermissionsBoundaryOutput](t)(c.DeleteRolePermissionsBoundary(ctx, &awsiam.DeleteRolePermissionsBoundaryInput{RoleName: made.RoleName}))
	must[*awsiam.DeleteRolePolicyOutput](t)(c.DeleteRolePolicy(ctx, &awsiam.DeleteRolePolicyInput{RoleName: made.RoleName, PolicyName: aws.String("own")}))
	must[*awsiam.DeleteRoleOutput](t)(c.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: made.RoleName}))
	_, err := c.GetRole(ctx, &awsiam.GetRoleInput{RoleName: made.RoleName})
	if code(t, err) != "NoSuchEntity" || message(err) != "The role with name analyst cannot be found." {
		t.Errorf("%v", err)
	}
}

// TestARoleMadeAgainIsNotTheOldOne: trust is in who was meant, not in a name.
func TestARoleMadeAgainIsNotTheOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	create := func(name, trust string) *types.Role {
		return must[*awsiam.CreateRoleOutput](t)(c.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})).Role
	}
	first := create("loader", trustsAll)
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + *first.Arn + `"},"Action":"sts:AssumeRole"}]}`
	create("data", trust)
	trusts := func(id string) bool {
		s, err := w.iam.Current()
		if err != nil {
			t.Fatal(err)
		}
		r, _ := s.Role(arn.Role{Partition: "aws", Account: account, Path: "/", Name: "data"})
		return r.Trust.Trusts(&policy.Request{Action: "sts:AssumeRole", Principal: policy.Principal{Account: account, ARN: *first.Arn, UniqueID: id}}).Allow
	}
	if !trusts(*first.RoleId) {
		t.Fatal("the role that was named is not trusted")
	}
	must[*awsiam.DeleteRoleOutput](t)(c.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: first.RoleName}))
	second := create("loader", trustsAll)
	if *second.RoleId == *first.RoleId || trusts(*second.RoleId) {
		t.Error("a role made again passes for the old one")
	}
	shown := must[*awsiam.GetRoleOutput](t)(c.GetRole(ctx, &awsiam.GetRoleInput{RoleName: aws.String("data")})).Role
	if text := decoded(t, shown.AssumeRolePolicyDocument); !strings.Contains(text, *first.RoleId) || strings.Contains(text, *first.Arn) {
		t.Errorf("the policy is shown as %s", text)
	}
	// Written anew, it means the new one.
	must[*awsiam.UpdateAssumeRolePolicyOutput](t)(c.UpdateAssumeRolePolicy(ctx, &awsiam.UpdateAssumeRolePolicyInput{RoleName: aws.String("data"), PolicyDocument: &trust}))
	if !trusts(*second.RoleId) {
		t.Error("written anew, it does not trust the new role")
	}
}

// TestRoleErrors provokes each documented error of the role operations that has
// a cause here.
func TestRoleErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	name, ghost := aws.String("r"), aws.String("ghost")
	must[*awsiam.CreateRoleOutput](t)(c.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustsAll)}))
	if err := w.iam.EnsureAdministratorRoles(ctx); err != nil {
		t.Fatal(err)
	}
	create := func(change func(*awsiam.CreateRoleInput)) error {
		in := &awsiam.CreateRoleInput{RoleName: aws.String("new"), AssumeRolePolicyDocument: aws.String(trustsAll)}
		change(in)
		_, err := c.CreateRole(ctx, in)
		return err
	}
	long := `{"Version":"2012-10-17","Statement":[{"Sid":"` + strings.Repeat("a", 200) + `%d","Effect":"Allow","Action":"s3:GetObject","Resource":["` +
		strings.Repeat(`arn:aws:s3:::bucket/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","`, 80) + `*"]}]}`
	for label, tc := range map[string]struct {
		do         func() error
		code, text string
	}{
		"made twice": {func() error { return create(func(in *awsiam.CreateRoleInput) { in.RoleName = aws.String("R") }) }, "EntityAlreadyExists", "Role with name R already exists."},
		"Carnet's own": {func() error {
			return create(func(in *awsiam.CreateRoleInput) { in.RoleName = aws.String("Carnet-Admin") })
		}, "EntityAlreadyExists", ""},
		"bad trust": {func() error {
			return create(func(in *awsiam.CreateRoleInput) { in.AssumeRolePolicyDocument = aws.String(readsS3) })
		}, "MalformedPolicyDocument", ""},
		"trust in nobody": {func() error {
			return create(func(in *awsiam.CreateRoleInput) {
				in.AssumeRolePolicyDocument = aws.String(strings.Replace(trustsAll, `"`+account+`"`, `"`+prefix+`role/ghost"`, 1))
			})
		}, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"` + prefix + `role/ghost"`},
		"trust too long": {func() error {
			return create(func(in *awsiam.CreateRoleInput) {
				in.AssumeRolePolicyDocument = aws.String(strings.Replace(trustsAll, `"Action"`, `"Condition":{"StringLike":{"sts:RoleSessionName":"`+strings.Repeat("a", 4096)+`"}},"Action"`, 1))
			})
		}, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 4096"},
		"service-linked path": {func() error {
			return create(func(in *awsiam.CreateRoleInput) { in.Path = aws.String("/aws-service-role/x/") })
		}, "InvalidInput", ""},
		"service-linked name": {func() error {
			return create(func(in *awsiam.CreateRoleInput) { in.RoleName = aws.String("AWSServiceRoleForX") })
		}, "InvalidInput", ""},
		"AWS's own name": {func() error {
			return create(func(in *awsiam.CreateRoleInput) { in.RoleName = aws.String("AWSReservedSSO_x") })
		}, "InvalidInput", "Roles that begin with AWSReservedSSO_ are AWS's own: choose another name and path."},
		"boundary that is not there": {func() error {
			return create(func(in *awsiam.CreateRoleInput) { in.PermissionsBoundary = aws.String(prefix + "policy/ghost") })
		}, "NoSuchEntity", ""},
		"boundary of another account": {func() error {
			return create(func(in *awsiam.CreateRoleInput) {
				in.PermissionsBoundary = aws.String("arn:aws:iam::" + other + ":policy/ghost")
			})
		}, "NoSuchEntity", ""},
		"too long a session": {func() error {
			return create(func(in *awsiam.CreateRoleInput) { in.MaxSessionDuration = aws.Int32(43201) })
		}, "ValidationError", ""},
		"bad name": {func() error { return create(func(in *awsiam.CreateRoleInput) { in.RoleName = aws.String("a b") }) }, "ValidationError", ""},
		"bad path": {func() error { return create(func(in *awsiam.CreateRoleInput) { in.Path = aws.String("x") }) }, "ValidationError", ""},
		"tag twice": {func() error {
			return create(func(in *awsiam.CreateRoleInput) { in.Tags = tagsOf("a", "1", "A", "2") })
		}, "InvalidInput", ""},
		"inline policy that is not there": {func() error {
			_, err := c.GetRolePolicy(ctx, &awsiam.GetRolePolicyInput{RoleName: name, PolicyName: ghost})
			return err
		}, "NoSuchEntity", "The role policy with name ghost cannot be found."},
		"inline policy to delete": {func() error {
			_, err := c.DeleteRolePolicy(ctx, &awsiam.DeleteRolePolicyInput{RoleName: name, PolicyName: ghost})
			return err
		}, "NoSuchEntity", "The role policy with name ghost cannot be found."},
		"malformed inline policy": {func() error {
			_, err := c.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: name, PolicyName: ghost, PolicyDocument: aws.String(`{"Statement":[{}]}`)})
			return err
		}, "MalformedPolicyDocument", ""},
		"inline policies too long": {func() error {
			for i := range 3 {
				if _, err := c.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String(fmt.Sprint("p", i)), PolicyDocument: aws.String(fmt.Sprintf(long, i))}); err != nil {
					return err
				}
			}
			return nil
		}, "LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role r"},
		"fifty-one tags": {func() error {
			var tags []string
			for i := range 50 {
				tags = append(tags, fmt.Sprint("k", i), "v")
			}
			if _, err := c.TagRole(ctx, &awsiam.TagRoleInput{RoleName: name, Tags: tagsOf(tags...)}); err != nil {
				return err
			}
			_, err := c.TagRole(ctx, &awsiam.TagRoleInput{RoleName: name, Tags: tagsOf("more", "v")})
			return err
		}, "LimitExceeded", "Cannot exceed quota for TagsPerRole: 50"},
		"the administrator's role": {func() error {
			_, err := c.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: aws.String("carnet-admin"), PolicyName: ghost, PolicyDocument: aws.String(readsS3)})
			return err
		}, "UnmodifiableEntity", "Cannot perform the operation on the protected role 'carnet-admin' - this role is only modifiable by Carnet"},
		"a policy attached to it": {func() error {
			_, err := c.AttachRolePolicy(ctx, &awsiam.AttachRolePolicyInput{RoleName: aws.String("carnet-admin"), PolicyArn: aws.String("arn:aws:iam::aws:policy/IAMFullAccess")})
			return err
		}, "UnmodifiableEntity", ""},
		"a name in other letters": {func() error {
			_, err := c.GetRole(ctx, &awsiam.GetRoleInput{RoleName: aws.String("R")})
			return err
		}, "NoSuchEntity", ""},
	} {
		err := tc.do()
		if code(t, err) != tc.code || tc.text != "" && message(err) != tc.text {
			t.Errorf("%s: got %v, want %s %s", label, err, tc.code, tc.text)
		}
	}
	for label, do := range map[string]func() error{
		"DeleteRole": func() error { _, err := c.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: ghost}); return err },
		"UpdateRole": func() error { _, err := c.UpdateRole(ctx, &awsiam.UpdateRoleInput{RoleName: ghost}); return err },
		"TagRole": func() error {
			_, err := c.TagRole(ctx, &awsiam.TagRoleInput{RoleName: ghost, Tags: tagsOf("a", "b")})
			return err
		},
		"ListRoleTags": func() error { _, err := c.ListRoleTags(ctx, &awsiam.ListRoleTagsInput{RoleName: ghost}); return err },
		"ListRolePolicies": func() error {
			_, err := c.ListRolePolicies(ctx, &awsiam.ListRolePoliciesInput{RoleName: ghost})
			return err
		},
		"UpdateAssumeRolePolicy": func() error {
			_, err := c.UpdateAssumeRolePolicy(ctx, &awsiam.UpdateAssumeRolePolicyInput{RoleName: ghost, PolicyDocument: aws.String(trustsAll)})
			return err
		},
		"PutRolePermissionsBoundary": func() error {
			_, err := c.PutRolePermissionsBoundary(ctx, &awsiam.PutRolePermissionsBoundaryInput{RoleName: ghost, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/IAMFullAccess")})
			return err
		},
	} {
		if err := do(); code(t, err) != "NoSuchEntity" || message(err) != "The role with name ghost cannot be found." {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// TestRolesByPage lists by path and by page.
func TestRolesByPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	for i := range 7 {
		path := "/a/"
		if i%2 == 1 {
			path = "/b/"
		}
		must[*awsiam.CreateRoleOutput](t)(c.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: aws.String(fmt.Sprint("r", i)), Path: &path, AssumeRolePolicyDocument: aws.String(trustsAll)}))
	}
	pages := awsiam.NewListRolesPaginator(c, &awsiam.ListRolesInput{PathPrefix: aws.String("/a/"), MaxItems: aws.Int32(3)})
	var names []string
	n := 0
	for pages.HasMorePages() {
		n++
		for _, r := range must[*awsiam.ListRolesOutput](t)(pages.NextPage(ctx)).Roles {
			names = append(names, *r.RoleName)
		}
	}
	if n != 2 || strings.Join(names, " ") != "r0 r2 r4 r6" {
		t.Errorf("%d pages, %q", n, names)
	}
}

// TestRolesUnderPolicies: each operation asks for its own action on the role's
// ARN, with the keys that policies delegate by.
func TestRolesUnderPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	boundary := "arn:aws:iam::aws:policy/AmazonS3FullAccess"
	c := w.client(w.keys(t, w.role(t, account, "delegate", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["iam:CreateRole","iam:PutRolePolicy","iam:DeleteRolePolicy"],"Resource":"arn:aws:iam::111122223333:role/team/*","Condition":{"StringEquals":{"iam:PermissionsBoundary":"`+boundary+`"}}},
		{"Effect":"Allow","Action":"iam:TagRole","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":"cost"},"StringLike":{"aws:RequestTag/cost":"*"}}},
		{"Effect":"Allow","Action":["iam:DeleteRole","iam:UntagRole"],"Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/cost":"1"}}},
		{"Effect":"Allow","Action":["iam:CreateInstanceProfile","iam:AddRoleToInstanceProfile"],"Resource":"*"},
		{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::111122223333:role/team/passable","Condition":{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}}]}`), nil))
	create := func(name, path, bound string, tags ...string) error {
		in := &awsiam.CreateRoleInput{RoleName: &name, Path: &path, AssumeRolePolicyDocument: aws.String(trustsAll), Tags: tagsOf(tags...)}
		if bound != "" {
			in.PermissionsBoundary = &bound
		}
		_, err := c.CreateRole(ctx, in)
		return err
	}
	for label, tc := range map[string]struct {
		err  error
		want string
	}{
		"without the boundary":  {create("a", "/team/", ""), "AccessDenied"},
		"with another boundary": {create("a", "/team/", "arn:aws:iam::aws:policy/AdministratorAccess"), "AccessDenied"},
		"elsewhere":             {create("a", "/other/", boundary), "AccessDenied"},
		"with a foreign tag":    {create("a", "/team/", boundary, "owner", "me"), "AccessDenied"},
		"as allowed":            {create("a", "/team/", boundary), ""},
		"with a tag":            {create("passable", "/team/", boundary, "cost", "1"), ""},
	} {
		if got := code(t, tc.err); got != tc.want {
			t.Errorf("%s: got %q, want %q: %v", label, got, tc.want, tc.err)
		}
	}
	_, err := c.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: aws.String("a"), PolicyName: aws.String("p"), PolicyDocument: aws.String(readsS3)})
	if err != nil {
		t.Errorf("a policy of a role with the boundary: %v", err)
	}
	w.role(t, account, "unbound", readsS3)
	_, err = c.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: aws.String("unbound"), PolicyName: aws.String("p"), PolicyDocument: aws.String(readsS3)})
	if code(t, err) != "AccessDenied" {
		t.Errorf("a policy of a role without it: %v", err)
	}
	if _, err := c.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: aws.String("unbound")}); code(t, err) != "AccessDenied" {
		t.Errorf("a role without the tag: %v", err)
	}
	// Without permission nobody learns what exists.
	_, there := c.GetRole(ctx, &awsiam.GetRoleInput{RoleName: aws.String("unbound")})
	_, ghost := c.GetRole(ctx, &awsiam.GetRoleInput{RoleName: aws.String("unbounx")})
	if code(t, there) != "AccessDenied" || strings.ReplaceAll(message(there), "unbound", "unbounx") != message(ghost) {
		t.Errorf("%v\n%v", there, ghost)
	}
	must[*awsiam.CreateInstanceProfileOutput](t)(c.CreateInstanceProfile(ctx, &awsiam.CreateInstanceProfileInput{InstanceProfileName: aws.String("p")}))
	if _, err := c.AddRoleToInstanceProfile(ctx, &awsiam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("p"), RoleName: aws.String("a")}); code(t, err) != "AccessDenied" {
		t.Errorf("a role that may not be passed: %v", err)
	}
	must[*awsiam.AddRoleToInstanceProfileOutput](t)(c.AddRoleToInstanceProfile(ctx, &awsiam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("p"), RoleName: aws.String("passable")}))
}

// TestInstanceProfiles walks an instance profile through its life.
func TestInstanceProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	name, role := aws.String("meta"), aws.String("loader")
	must[*awsiam.CreateRoleOutput](t)(c.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: aws.String(trustsAll)}))
	made := must[*awsiam.CreateInstanceProfileOutput](t)(c.CreateInstanceProfile(ctx, &awsiam.CreateInstanceProfileInput{
		InstanceProfileName: name, Path: aws.String("/x/"), Tags: tagsOf("a", "1"),
	})).InstanceProfile
	if *made.Arn != prefix+"instance-profile/x/meta" || !strings.HasPrefix(*made.InstanceProfileId, "AIPA") || made.Roles == nil || len(made.Roles) != 0 {
		t.Errorf("%+v", made)
	}
	add := func() error {
		_, err := c.AddRoleToInstanceProfile(ctx, &awsiam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: role})
		return err
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	if err := add(); code(t, err) != "LimitExceeded" || message(err) != "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1" {
		t.Errorf("a second role: %v", err)
	}
	of := must[*awsiam.ListInstanceProfilesForRoleOutput](t)(c.ListInstanceProfilesForRole(ctx, &awsiam.ListInstanceProfilesForRoleInput{RoleName: role})).InstanceProfiles
	all := must[*awsiam.ListInstanceProfilesOutput](t)(c.ListInstanceProfiles(ctx, &awsiam.ListInstanceProfilesInput{PathPrefix: aws.String("/x/")})).InstanceProfiles
	if len(of) != 1 || len(all) != 1 || *of[0].Roles[0].RoleName != "loader" {
		t.Errorf("%+v %+v", of, all)
	}
	if _, err := c.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: role}); message(err) != "Cannot delete entity, must remove roles from instance profile first." {
		t.Errorf("%v", err)
	}
	if _, err := c.DeleteInstanceProfile(ctx, &awsiam.DeleteInstanceProfileInput{InstanceProfileName: name}); code(t, err) != "DeleteConflict" {
		t.Errorf("%v", err)
	}
	must[*awsiam.TagInstanceProfileOutput](t)(c.TagInstanceProfile(ctx, &awsiam.TagInstanceProfileInput{InstanceProfileName: name, Tags: tagsOf("b", "2")}))
	must[*awsiam.UntagInstanceProfileOutput](t)(c.UntagInstanceProfile(ctx, &awsiam.UntagInstanceProfileInput{InstanceProfileName: name, TagKeys: []string{"a"}}))
	tags := must[*awsiam.ListInstanceProfileTagsOutput](t)(c.ListInstanceProfileTags(ctx, &awsiam.ListInstanceProfileTagsInput{InstanceProfileName: name})).Tags
	if len(tags) != 1 || *tags[0].Key != "b" {
		t.Errorf("%+v", tags)
	}
	must[*awsiam.RemoveRoleFromInstanceProfileOutput](t)(c.RemoveRoleFromInstanceProfile(ctx, &awsiam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: role}))
	if _, err := c.RemoveRoleFromInstanceProfile(ctx, &awsiam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: role}); code(t, err) != "NoSuchEntity" {
		t.Errorf("%v", err)
	}
	_, err := c.CreateInstanceProfile(ctx, &awsiam.CreateInstanceProfileInput{InstanceProfileName: aws.String("META")})
	if code(t, err) != "EntityAlreadyExists" || message(err) != "Instance Profile META already exists." {
		t.Errorf("%v", err)
	}
	must[*awsiam.DeleteInstanceProfileOutput](t)(c.DeleteInstanceProfile(ctx, &awsiam.DeleteInstanceProfileInput{InstanceProfileName: name}))
	if _, err := c.GetInstanceProfile(ctx, &awsiam.GetInstanceProfileInput{InstanceProfileName: name}); message(err) != "Instance Profile meta cannot be found." {
		t.Errorf("%v", err)
	}
}

// TestNoChangeWithoutItsRecord: when the trail can't be written, nothing is
// changed, and the caller learns nothing of the cause.
func TestNoChangeWithoutItsRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	w.iam.Trail = noTrail{}
	_, err := c.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trustsAll)})
	if code(t, err) != "ServiceFailure" || strings.Contains(message(err), "disk") {
		t.Errorf("%v", err)
	}
	if _, err := c.GetRole(ctx, &awsiam.GetRoleInput{RoleName: aws.String("r")}); code(t, err) != "NoSuchEntity" {
		t.Errorf("%v", err)
	}
}

type noTrail struct{}

func (noTrail) Record(context.Context, event.Event) error { return errors.New("the disk is full") }
