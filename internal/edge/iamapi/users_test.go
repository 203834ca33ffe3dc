package iamapi_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// TestUsersAndGroups walks users, groups and membership with the AWS SDK.
func TestUsersAndGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	made := must[*awsiam.CreateUserOutput](t)(c.CreateUser(ctx, &awsiam.CreateUserInput{
		UserName: aws.String("Ann"), Path: aws.String("/team/blue/"), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
	}))
	if u := made.User; *u.Arn != prefix+"user/team/blue/Ann" || !strings.HasPrefix(*u.UserId, "AIDA") || u.CreateDate == nil || len(u.Tags) != 1 {
		t.Errorf("%+v", u)
	}
	if e := w.trail.last(); e.Action != "iam.CreateUser" || e.Target != prefix+"user/team/blue/Ann" || e.Person != "psn_carol" || e.LoginSession != "lgn_carol" || e.Account != account {
		t.Errorf("%+v", e)
	}
	_, err := c.CreateUser(ctx, &awsiam.CreateUserInput{UserName: aws.String("ANN")})
	if code(t, err) != "EntityAlreadyExists" {
		t.Errorf("a name that differs in letter case alone: %v", err)
	}
	must[*awsiam.CreateGroupOutput](t)(c.CreateGroup(ctx, &awsiam.CreateGroupInput{GroupName: aws.String("readers")}))
	must[*awsiam.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &awsiam.AddUserToGroupInput{GroupName: aws.String("readers"), UserName: aws.String("Ann")}))
	group := must[*awsiam.GetGroupOutput](t)(c.GetGroup(ctx, &awsiam.GetGroupInput{GroupName: aws.String("readers")}))
	if len(group.Users) != 1 || *group.Users[0].UserName != "Ann" || *group.Group.Arn != prefix+"group/readers" {
		t.Errorf("%+v", group)
	}
	of := must[*awsiam.ListGroupsForUserOutput](t)(c.ListGroupsForUser(ctx, &awsiam.ListGroupsForUserInput{UserName: aws.String("Ann")}))
	if len(of.Groups) != 1 || *of.Groups[0].GroupName != "readers" {
		t.Errorf("%+v", of)
	}
	_, err = c.DeleteGroup(ctx, &awsiam.DeleteGroupInput{GroupName: aws.String("readers")})
	if code(t, err) != "DeleteConflict" {
		t.Errorf("a group with a member: %v", err)
	}
	_, err = c.DeleteUser(ctx, &awsiam.DeleteUserInput{UserName: aws.String("Ann")})
	if code(t, err) != "DeleteConflict" {
		t.Errorf("a user in a group: %v", err)
	}

	// Renamed, it is the same user: same id, still a member.
	must[*awsiam.UpdateUserOutput](t)(c.UpdateUser(ctx, &awsiam.UpdateUserInput{UserName: aws.String("Ann"), NewUserName: aws.String("anna"), NewPath: aws.String("/")}))
	renamed := must[*awsiam.GetUserOutput](t)(c.GetUser(ctx, &awsiam.GetUserInput{UserName: aws.String("anna")}))
	if *renamed.User.UserId != *made.User.UserId || *renamed.User.Arn != prefix+"user/anna" {
		t.Errorf("%+v", renamed.User)
	}
	must[*awsiam.UpdateGroupOutput](t)(c.UpdateGroup(ctx, &awsiam.UpdateGroupInput{GroupName: aws.String("readers"), NewGroupName: aws.String("Readers")}))
	must[*awsiam.RemoveUserFromGroupOutput](t)(c.RemoveUserFromGroup(ctx, &awsiam.RemoveUserFromGroupInput{GroupName: aws.String("Readers"), UserName: aws.String("anna")}))
	_, err = c.RemoveUserFromGroup(ctx, &awsiam.RemoveUserFromGroupInput{GroupName: aws.String("Readers"), UserName: aws.String("anna")})
	if code(t, err) != "NoSuchEntity" {
		t.Errorf("not a member: %v", err)
	}

	must[*awsiam.TagUserOutput](t)(c.TagUser(ctx, &awsiam.TagUserInput{UserName: aws.String("anna"), Tags: []types.Tag{
		{Key: aws.String("Team"), Value: aws.String("red")}, {Key: aws.String("empty"), Value: aws.String("")},
	}}))
	tags := must[*awsiam.ListUserTagsOutput](t)(c.ListUserTags(ctx, &awsiam.ListUserTagsInput{UserName: aws.String("anna")}))
	if len(tags.Tags) != 2 || *tags.Tags[0].Key != "Team" || *tags.Tags[0].Value != "red" {
		t.Errorf("%+v", tags.Tags)
	}
	must[*awsiam.UntagUserOutput](t)(c.UntagUser(ctx, &awsiam.UntagUserInput{UserName: aws.String("anna"), TagKeys: []string{"TEAM", "nothing"}}))
	tags = must[*awsiam.ListUserTagsOutput](t)(c.ListUserTags(ctx, &awsiam.ListUserTagsInput{UserName: aws.String("anna")}))
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "empty" {
		t.Errorf("%+v", tags.Tags)
	}

	boundary := "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
	must[*awsiam.PutUserPermissionsBoundaryOutput](t)(c.PutUserPermissionsBoundary(ctx, &awsiam.PutUserPermissionsBoundaryInput{UserName: aws.String("anna"), PermissionsBoundary: &boundary}))
	got := must[*awsiam.GetUserOutput](t)(c.GetUser(ctx, &awsiam.GetUserInput{UserName: aws.String("anna")}))
	if b := got.User.PermissionsBoundary; b == nil || *b.PermissionsBoundaryArn != boundary || b.PermissionsBoundaryType != types.PermissionsBoundaryAttachmentTypePolicy {
		t.Errorf("%+v", got.User)
	}
	must[*awsiam.DeleteUserPermissionsBoundaryOutput](t)(c.DeleteUserPermissionsBoundary(ctx, &awsiam.DeleteUserPermissionsBoundaryInput{UserName: aws.String("anna")}))

	must[*awsiam.DeleteUserOutput](t)(c.DeleteUser(ctx, &awsiam.DeleteUserInput{UserName: aws.String("anna")}))
	must[*awsiam.DeleteGroupOutput](t)(c.DeleteGroup(ctx, &awsiam.DeleteGroupInput{GroupName: aws.String("Readers")}))
	again := must[*awsiam.CreateUserOutput](t)(c.CreateUser(ctx, &awsiam.CreateUserInput{UserName: aws.String("anna")}))
	if *again.User.UserId == *made.User.UserId {
		t.Error("a user made again has the id of the old one")
	}
	if users := must[*awsiam.ListUsersOutput](t)(c.ListUsers(ctx, &awsiam.ListUsersInput{PathPrefix: aws.String("/team/")})); len(users.Users) != 0 {
		t.Errorf("%+v", users)
	}
}
