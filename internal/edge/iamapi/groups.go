package iamapi

import (
	"fmt"
	"slices"

	"carnet.dev/carnet/internal/core/identity"
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
	g := iam.GroupRecord{
		ID: identity.NewIAMID("AGPA"), Account: c.caller.Account, Path: c.in.or("Path", pathText, "/"), Name: c.in.text("GroupName", groupName),
	}
	arn := c.arn("group", g.Path, g.Name)
	err := change(c, func(v *iam.View) (struct{}, string, error) { return struct{}{}, arn, c.may(arn) }, func(d *iam.Draft, _ struct{}) error {
		if d.Taken(g.Ref()) {
			return exists("Group with name " + g.Name + " already exists.")
		}
		g.Created = d.Now()
		d.Put(&g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{group("Group", c.groupFields(g)...)}, nil
}

func getGroup(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("GroupName", groupName), c.page()
	g, v, err := see(c, c.userGroup(name))
	if err != nil {
		return nil, err
	}
	users := part("Users", p, membersOf(v, g), func(u iam.UserRecord) string { return u.Name }, c.userFields)
	return append([]awsquery.Field{group("Group", c.groupFields(g)...)}, users...), nil
}

func membersOf(v *iam.View, g iam.GroupRecord) []iam.UserRecord {
	return slices.DeleteFunc(v.Users(g.Account), func(u iam.UserRecord) bool { return !slices.Contains(u.Groups, g.ID) })
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
	}, func(d *iam.Draft, g iam.GroupRecord) error {
		old := g.Ref()
		g.Name, g.Path = or(newName, g.Name), or(newPath, g.Path)
		if old != g.Ref() {
			if d.Taken(g.Ref()) {
				return exists("Group with name " + g.Name + " already exists.")
			}
			d.Delete(old)
		}
		d.Put(&g)
		return nil
	})
}

func deleteGroup(c *call) ([]awsquery.Field, error) {
	name := c.in.text("GroupName", groupName)
	return nil, change(c, c.userGroup(name), func(d *iam.Draft, g iam.GroupRecord) error {
		switch {
		case len(membersOf(&d.View, g)) > 0:
			return deleteConflict("remove users from group first.")
		case len(g.Policies) > 0:
			return deleteConflict("delete policies first.")
		case len(g.Attached) > 0:
			return deleteConflict("detach all policies first.")
		}
		d.Delete(g.Ref())
		return nil
	})
}

// addUserToGroup and removeUserFromGroup are asked on the group alone, as AWS
// does (Service Authorization Reference).
func addUserToGroup(c *call) ([]awsquery.Field, error) {
	name, member := c.in.text("GroupName", groupName), c.in.text("UserName", anyUserName)
	return nil, change(c, c.userGroup(name), func(d *iam.Draft, g iam.GroupRecord) error {
		u, ok := d.User(g.Account, member)
		if !ok {
			return missing("user", member)
		}
		if slices.Contains(u.Groups, g.ID) {
			return nil
		}
		const most = 10
		if len(u.Groups) >= most {
			return quota(fmt.Sprintf("Cannot exceed quota for GroupsPerUser: %d", most))
		}
		u.Groups = append(u.Groups, g.ID)
		d.Put(&u)
		return nil
	})
}

func removeUserFromGroup(c *call) ([]awsquery.Field, error) {
	name, member := c.in.text("GroupName", groupName), c.in.text("UserName", anyUserName)
	return nil, change(c, c.userGroup(name), func(d *iam.Draft, g iam.GroupRecord) error {
		u, ok := d.User(g.Account, member)
		if !ok {
			return missing("user", member)
		}
		i := slices.Index(u.Groups, g.ID)
		if i < 0 {
			return noSuch("The user with name %s is not in group %s.", member, g.Name)
		}
		u.Groups = slices.Delete(u.Groups, i, i+1)
		d.Put(&u)
		return nil
	})
}
