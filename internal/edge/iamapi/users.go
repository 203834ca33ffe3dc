package iamapi

import (
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
)

func userOperations() map[string]operation {
	return map[string]operation{
		"CreateUser": createUser, "GetUser": getUser, "ListUsers": listUsers, "UpdateUser": updateUser, "DeleteUser": deleteUser,
		"TagUser": tagUser, "UntagUser": untagUser, "ListUserTags": listUserTags,
		"PutUserPermissionsBoundary": putUserBoundary, "DeleteUserPermissionsBoundary": deleteUserBoundary,
		"ListGroupsForUser": listGroupsForUser,
	}
}

// user gives the finder of a user of the account.
func (c *call) user(name string, keys ...[]key) finder[iam.UserRecord] {
	return func(v *iam.View) (iam.UserRecord, string, error) {
		u, ok := v.User(c.caller.Account, name)
		arn := c.arn("user", "/", name)
		if ok {
			arn = c.arn("user", u.Path, u.Name)
		}
		all := append([][]key{resourceTags(u.Tags)}, keys...)
		if u.Boundary != nil {
			all = append([][]key{boundaryOf(boundaryARN(c.partition(), c.caller.Account, u.Boundary))}, all...)
		}
		err := c.may(arn, all...)
		if err == nil && !ok {
			err = missing("user", name)
		}
		return u, arn, err
	}
}

// ownOr reads UserName, which a user may leave out to mean themselves.
func (c *call) ownOr(name string) string {
	if given, ok := c.in.maybe(name, anyUserName); ok {
		return given
	}
	if c.caller.Kind != access.User {
		c.in.fails(fault.Coded(fault.Invalid, "ValidationError", "Must specify userName when calling with non-User credentials"))
	}
	return c.caller.User.Name
}

func (c *call) userFields(u iam.UserRecord) []awsquery.Field {
	return []awsquery.Field{
		text("Path", u.Path), text("UserName", u.Name), text("UserId", string(u.ID)), text("Arn", c.arn("user", u.Path, u.Name)),
		when("CreateDate", u.Created),
	}
}

func (c *call) wholeUser(u iam.UserRecord) awsquery.Field {
	return group("User", slices.Concat(c.userFields(u), boundaryFields(c.partition(), u.Account, u.Boundary), someTags(u.Tags))...)
}

func createUser(c *call) ([]awsquery.Field, error) {
	u := iam.UserRecord{Account: c.caller.Account, Path: c.in.or("Path", pathText, "/"), Name: c.in.text("UserName", userName), Tags: c.in.tags("Tags")}
	boundary, bounded := c.in.maybe("PermissionsBoundary", arnText)
	if bounded {
		u.Boundary = iam.BoundaryOf(boundary)
	}
	find := c.created(c.arn("user", u.Path, u.Name), "iam:TagUser", u.Tags, boundaryOf(boundary))
	var made iam.UserRecord
	err := change(c, find, func(d *iam.Draft, _ struct{}) (err error) {
		made, err = d.CreateUser(u)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{c.wholeUser(made)}, nil
}

// created gives the finder of what a call makes: whoever tags it must be
// allowed to tag, too (IAM User Guide, "Tags for IAM resources").
func (c *call) created(arn, tagging string, tags map[string]string, keys ...[]key) finder[struct{}] {
	return func(*iam.View) (none struct{}, _ string, err error) {
		all := append([][]key{requestTags(tags)}, keys...)
		if err = c.may(arn, all...); err == nil && len(tags) > 0 {
			err = c.mayDo(tagging, arn, all...)
		}
		return none, arn, err
	}
}

func getUser(c *call) ([]awsquery.Field, error) {
	name := c.ownOr("UserName")
	u, _, err := see(c, c.user(name))
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{c.wholeUser(u)}, nil
}

func listUsers(c *call) ([]awsquery.Field, error) {
	prefix, p := c.in.or("PathPrefix", pathPrefix, "/"), c.page()
	all, err := listed(c, "user", prefix, func(v *iam.View) []iam.UserRecord { return v.Users(c.caller.Account) },
		func(u iam.UserRecord) string { return u.Path })
	if err != nil {
		return nil, err
	}
	return part("Users", p, all, func(u iam.UserRecord) string { return u.Name }, c.userFields), nil
}

// listed gives the records of a kind under a path, to whoever may list it.
func listed[R any](c *call, word, prefix string, all func(*iam.View) []R, path func(R) string) ([]R, error) {
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if err := c.may(c.arn(word, prefix, "")); err != nil {
		return nil, err
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all(v), func(r R) bool { return !strings.HasPrefix(path(r), prefix) }), nil
}

// updateUser renames a user or moves it. Who it is stays: policies that name
// its ARN keep its id.
func updateUser(c *call) ([]awsquery.Field, error) {
	name := c.in.text("UserName", anyUserName)
	newName, renamed := c.in.maybe("NewUserName", userName)
	newPath, moved := c.in.maybe("NewPath", pathText)
	return nil, change(c, func(v *iam.View) (iam.UserRecord, string, error) {
		u, arn, err := c.user(name)(v)
		if err == nil && (renamed || moved) {
			// The place that it goes to is asked for too (IAM User Guide,
			// "Renaming users").
			err = c.may(c.arn("user", or(newPath, u.Path), or(newName, u.Name)), resourceTags(u.Tags))
		}
		return u, arn, err
	}, func(d *iam.Draft, _ iam.UserRecord) error {
		return d.UpdateUser(c.caller.Account, name, newName, newPath)
	})
}

func or(given, otherwise string) string {
	if given == "" {
		return otherwise
	}
	return given
}

func deleteUser(c *call) ([]awsquery.Field, error) {
	name := c.in.text("UserName", anyUserName)
	return nil, change(c, c.user(name), func(d *iam.Draft, _ iam.UserRecord) error { return d.DeleteUser(c.caller.Account, name) })
}

func tagUser(c *call) ([]awsquery.Field, error) {
	name, tags := c.in.text("UserName", anyUserName), c.in.tags("Tags")
	return nil, change(c, c.user(name, requestTags(tags)), func(d *iam.Draft, _ iam.UserRecord) error {
		return d.TagUser(c.caller.Account, name, tags)
	})
}

func untagUser(c *call) ([]awsquery.Field, error) {
	name, names := c.in.text("UserName", anyUserName), c.in.texts("TagKeys", tagKey, 0, 50)
	return nil, change(c, c.user(name, tagKeys(names)), func(d *iam.Draft, _ iam.UserRecord) error {
		return d.UntagUser(c.caller.Account, name, names)
	})
}

func listUserTags(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("UserName", anyUserName), c.page()
	u, _, err := see(c, c.user(name))
	if err != nil {
		return nil, err
	}
	return tagPage(p, u.Tags), nil
}

func putUserBoundary(c *call) ([]awsquery.Field, error) {
	name, boundary := c.in.text("UserName", anyUserName), c.in.text("PermissionsBoundary", arnText)
	return nil, change(c, c.user(name, boundaryOf(boundary)), func(d *iam.Draft, _ iam.UserRecord) error {
		return d.SetUserBoundary(c.caller.Account, name, boundary)
	})
}

func deleteUserBoundary(c *call) ([]awsquery.Field, error) {
	name := c.in.text("UserName", anyUserName)
	return nil, change(c, c.user(name), func(d *iam.Draft, _ iam.UserRecord) error { return d.SetUserBoundary(c.caller.Account, name, "") })
}

func listGroupsForUser(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("UserName", anyUserName), c.page()
	u, v, err := see(c, c.user(name))
	if err != nil {
		return nil, err
	}
	return part("Groups", p, v.GroupsOf(u), func(g iam.GroupRecord) string { return g.Name }, c.groupFields), nil
}
