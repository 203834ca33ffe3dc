package iamapi

import (
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

func groupOperations() map[string]operation {
	return map[string]operation{
		"CreateGroup": createGroup, "GetGroup": getGroup, "ListGroups": listGroups, "UpdateGroup": updateGroup, "DeleteGroup": deleteGroup,
		"AddUserToGroup": addUserToGroup, "RemoveUserFromGroup": removeUserFromGroup,
	}
}

// userGroup gives the finder of a group of the account.
func (c *call) userGroup(name string) finder[iam.GroupRecord] {
	return func(v *iam.View) (iam.GroupRecord, string, error) {
		g, ok := v.Group(c.caller.Account, name)
		arn := c.arn("group", "/", name)
		if ok {
			arn = c.arn("group", g.Path, g.Name)
		}
		err := c.may(arn)
		if err == nil && !ok {
			err = missing("group", name)
		}
		return g, arn, err
	}
}

func (c *call) groupFields(g iam.GroupRecord) []awsquery.Field {
	return []awsquery.Field{
		text("Path", g.Path), text("GroupName", g.Name), text("GroupId", g.ID), text("Arn", c.arn("group", g.Path, g.Name)),
		when("CreateDate", g.Created),
	}
}

func createGroup(c *call) ([]awsquery.Field, error) {
	g := iam.GroupRecord{Account: c.caller.Account, Path: c.in.or("Path", pathText, "/"), Name: c.in.text("GroupName", groupName)}
	var made iam.GroupRecord
	err := change(c, c.created(c.arn("group", g.Path, g.Name), "", nil), func(d *iam.Draft, _ struct{}) (err error) {
		made, err = d.CreateGroup(g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{group("Group", c.groupFields(made)...)}, nil
}

func getGroup(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("GroupName", groupName), c.page()
	g, v, err := see(c, c.userGroup(name))
	if err != nil {
		return nil, err
	}
	users := part("Users", p, v.Members(g), func(u iam.UserRecord) string { return u.Name }, c.userFields)
	return append([]awsquery.Field{group("Group", c.groupFields(g)...)}, users...), nil
}

func listGroups(c *call) ([]awsquery.Field, error) {
	prefix, p := c.in.or("PathPrefix", pathPrefix, "/"), c.page()
	all, err := listed(c, "group", prefix, func(v *iam.View) []iam.GroupRecord { return v.Groups(c.caller.Account) },
		func(g iam.GroupRecord) string { return g.Path })
	if err != nil {
		return nil, err
	}
	return part("Groups", p, all, func(g iam.GroupRecord) string { return g.Name }, c.groupFields), nil
}

func updateGroup(c *call) ([]awsquery.Field, error) {
	name := c.in.text("GroupName", groupName)
	newName, renamed := c.in.maybe("NewGroupName", groupName)
	newPath, moved := c.in.maybe("NewPath", pathText)
	return nil, change(c, func(v *iam.View) (iam.GroupRecord, string, error) {
		g, arn, err := c.userGroup(name)(v)
		if err == nil && (renamed || moved) {
			err = c.may(c.arn("group", or(newPath, g.Path), or(newName, g.Name)))
		}
		return g, arn, err
	}, func(d *iam.Draft, _ iam.GroupRecord) error {
		return d.UpdateGroup(c.caller.Account, name, newName, newPath)
	})
}

func deleteGroup(c *call) ([]awsquery.Field, error) {
	name := c.in.text("GroupName", groupName)
	return nil, change(c, c.userGroup(name), func(d *iam.Draft, _ iam.GroupRecord) error { return d.DeleteGroup(c.caller.Account, name) })
}

// addUserToGroup and removeUserFromGroup are asked on the group alone, as AWS
// does (Service Authorization Reference).
func addUserToGroup(c *call) ([]awsquery.Field, error) {
	name, member := c.in.text("GroupName", groupName), c.in.text("UserName", anyUserName)
	return nil, change(c, c.userGroup(name), func(d *iam.Draft, _ iam.GroupRecord) error {
		return d.AddUserToGroup(c.caller.Account, name, member)
	})
}

func removeUserFromGroup(c *call) ([]awsquery.Field, error) {
	name, member := c.in.text("GroupName", groupName), c.in.text("UserName", anyUserName)
	return nil, change(c, c.userGroup(name), func(d *iam.Draft, _ iam.GroupRecord) error {
		return d.RemoveUserFromGroup(c.caller.Account, name, member)
	})
}
