package iamapi

import (
	"fmt"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
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
	u := iam.UserRecord{
		ID: identity.NewUserID(), Account: c.caller.Account, Path: c.in.or("Path", pathText, "/"), Name: c.in.text("UserName", userName),
		Tags: c.in.tags("Tags"),
	}
	boundary, bounded := c.in.maybe("PermissionsBoundary", arnText)
	if bounded {
		u.Boundary = boundaryPolicy(boundary)
	}
	arn := c.arn("user", u.Path, u.Name)
	err := change(c, func(v *iam.View) (struct{}, string, error) {
		return struct{}{}, arn, c.may(arn, requestTags(u.Tags), boundaryOf(boundary))
	}, func(d *iam.Draft, _ struct{}) error {
		if d.Taken(u.Ref()) {
			return exists("User with name " + u.Name + " already exists.")
		}
		if bounded {
			if err := c.attachable(&d.View, boundary); err != nil {
				return err
			}
		}
		u.Created = d.Now()
		d.Put(&u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{c.wholeUser(u)}, nil
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
	}, func(d *iam.Draft, u iam.UserRecord) error {
		old := u.Ref()
		u.Name, u.Path = or(newName, u.Name), or(newPath, u.Path)
		if old != u.Ref() {
			if d.Taken(u.Ref()) {
				return exists("User with name " + u.Name + " already exists.")
			}
			d.Delete(old)
		}
		d.Put(&u)
		return nil
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
	return nil, change(c, c.user(name), func(d *iam.Draft, u iam.UserRecord) error {
		switch {
		case len(d.AccessKeys(u.Account, u.ID)) > 0:
			return deleteConflict("delete access keys first.")
		case len(u.Groups) > 0:
			return deleteConflict("remove users from group first.")
		case len(u.Policies) > 0:
			return deleteConflict("delete policies first.")
		case len(u.Attached) > 0:
			return deleteConflict("detach all policies first.")
		}
		d.Delete(u.Ref())
		return nil
	})
}

func tagUser(c *call) ([]awsquery.Field, error) {
	name, tags := c.in.text("UserName", anyUserName), c.in.tags("Tags")
	return nil, change(c, c.user(name, requestTags(tags)), func(d *iam.Draft, u iam.UserRecord) (err error) {
		u.Tags, err = tagged(u.Tags, tags, "TagsPerUser")
		d.Put(&u)
		return err
	})
}

// tagged gives tags with others set. Keys are told apart with letter case
// folded: a tag replaces the one that differs in case alone.
func tagged(old, set map[string]string, quotaName string) (map[string]string, error) {
	out := map[string]string{}
	for k, v := range old {
		replaced := false
		for n := range set {
			replaced = replaced || strings.EqualFold(k, n)
		}
		if !replaced {
			out[k] = v
		}
	}
	for k, v := range set {
		out[k] = v
	}
	const most = 50
	if len(out) > most {
		return nil, quota(fmt.Sprintf("Cannot exceed quota for %s: %d", quotaName, most))
	}
	return out, nil
}

// untagged gives tags without those of the named keys.
func untagged(old map[string]string, keys []string) map[string]string {
	out := map[string]string{}
	for k, v := range old {
		if !slices.ContainsFunc(keys, func(n string) bool { return strings.EqualFold(k, n) }) {
			out[k] = v
		}
	}
	return out
}

func untagUser(c *call) ([]awsquery.Field, error) {
	name, names := c.in.text("UserName", anyUserName), c.in.texts("TagKeys", tagKey, 0, 50)
	return nil, change(c, c.user(name, tagKeys(names)), func(d *iam.Draft, u iam.UserRecord) error {
		u.Tags = untagged(u.Tags, names)
		d.Put(&u)
		return nil
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
	return nil, change(c, c.user(name, boundaryOf(boundary)), func(d *iam.Draft, u iam.UserRecord) error {
		if err := c.attachable(&d.View, boundary); err != nil {
			return err
		}
		u.Boundary = boundaryPolicy(boundary)
		d.Put(&u)
		return nil
	})
}

func deleteUserBoundary(c *call) ([]awsquery.Field, error) {
	name := c.in.text("UserName", anyUserName)
	return nil, change(c, c.user(name), func(d *iam.Draft, u iam.UserRecord) error {
		if u.Boundary == nil {
			return noSuch("The user with name %s has no permissions boundary.", u.Name)
		}
		u.Boundary = nil
		d.Put(&u)
		return nil
	})
}

func listGroupsForUser(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("UserName", anyUserName), c.page()
	u, v, err := see(c, c.user(name))
	if err != nil {
		return nil, err
	}
	return part("Groups", p, groupsOf(v, u), func(g iam.GroupRecord) string { return g.Name }, c.groupFields), nil
}

func groupsOf(v *iam.View, u iam.UserRecord) []iam.GroupRecord {
	var out []iam.GroupRecord
	for _, id := range u.Groups {
		if g, ok := v.GroupByID(u.Account, id); ok {
			out = append(out, g)
		}
	}
	return out
}

// boundaryPolicy is a managed policy as a permissions boundary.
func boundaryPolicy(arn string) *iam.Policy {
	return &iam.Policy{Name: arn[strings.LastIndexByte(arn, '/')+1:], ARN: arn}
}
