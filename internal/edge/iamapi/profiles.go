package iamapi

import (
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

func profileOperations() map[string]operation {
	return map[string]operation{
		"CreateInstanceProfile":         createInstanceProfile,
		"GetInstanceProfile":            getInstanceProfile,
		"DeleteInstanceProfile":         deleteInstanceProfile,
		"ListInstanceProfiles":          listInstanceProfiles,
		"ListInstanceProfilesForRole":   listInstanceProfilesForRole,
		"AddRoleToInstanceProfile":      addRoleToInstanceProfile,
		"RemoveRoleFromInstanceProfile": removeRoleFromInstanceProfile,
		"TagInstanceProfile":            tagInstanceProfile,
		"UntagInstanceProfile":          untagInstanceProfile,
		"ListInstanceProfileTags":       listInstanceProfileTags,
	}
}

func (c *call) profileQuestion(v *iam.View, name string) (arn string, keys []key) {
	r, ok := v.InstanceProfile(c.caller.Account, name)
	if !ok {
		return c.arn("instance-profile", "/", name), nil
	}
	return r.ARN(c.partition()), resourceTags(r.Tags)
}

// editProfile changes an instance profile once the caller may.
func (c *call) editProfile(name string, ask []key, change func(*iam.Draft) error) error {
	return c.edit(func(d *iam.Draft) error {
		arn, keys := c.profileQuestion(&d.View, name)
		d.Concerns(arn, nil)
		if err := c.may(arn, keys, ask); err != nil {
			return err
		}
		return change(d)
	})
}

// profile reads one instance profile for an operation that shows it.
func (c *call) profile(name string) (*iam.View, iam.InstanceProfileRecord, error) {
	v, err := c.view()
	if err != nil {
		return nil, iam.InstanceProfileRecord{}, err
	}
	arn, keys := c.profileQuestion(v, name)
	if err := c.may(arn, keys); err != nil {
		return nil, iam.InstanceProfileRecord{}, err
	}
	r, ok := v.InstanceProfile(c.caller.Account, name)
	if !ok {
		return nil, r, noSuch("Instance Profile %s cannot be found.", name)
	}
	return v, r, nil
}

func (c *call) profileFields(v *iam.View, r iam.InstanceProfileRecord, tags bool) []awsquery.Field {
	var roles []iam.RoleRecord
	if role, ok := v.RoleByID(r.Account, r.Role); ok {
		roles = append(roles, role)
	}
	fields := []awsquery.Field{
		{Name: "Path", Text: r.Path}, {Name: "InstanceProfileName", Text: r.Name}, {Name: "InstanceProfileId", Text: r.ID},
		{Name: "Arn", Text: r.ARN(c.partition())}, {Name: "CreateDate", Text: instant(r.Created)},
		awsquery.List("Roles", roles, func(r iam.RoleRecord) []awsquery.Field { return c.roleFields(v, r, false) }),
	}
	if tags {
		fields = append(fields, someTags(r.Tags)...)
	}
	return fields
}

func createInstanceProfile(c *call) ([]awsquery.Field, error) {
	r := iam.InstanceProfileRecord{
		Account: c.caller.Account, Path: c.in.or("Path", pathText, "/"), Name: c.in.text("InstanceProfileName", profileName), Tags: c.in.tags("Tags"),
	}
	if err := c.in.err(); err != nil {
		return nil, err
	}
	arn := c.arn("instance-profile", r.Path, r.Name)
	var fields []awsquery.Field
	err := c.edit(func(d *iam.Draft) error {
		d.Concerns(arn, nil)
		if err := c.may(arn, requestTags(r.Tags)); err != nil {
			return err
		}
		if len(r.Tags) > 0 {
			if err := c.mayDo("iam:TagInstanceProfile", arn, requestTags(r.Tags)); err != nil {
				return err
			}
		}
		made, err := d.CreateInstanceProfile(r)
		fields = c.profileFields(&d.View, made, true)
		return err
	})
	return []awsquery.Field{{Name: "InstanceProfile", Fields: fields}}, err
}

func getInstanceProfile(c *call) ([]awsquery.Field, error) {
	name := c.in.text("InstanceProfileName", profileName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	v, r, err := c.profile(name)
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{{Name: "InstanceProfile", Fields: c.profileFields(v, r, true)}}, nil
}

func deleteInstanceProfile(c *call) ([]awsquery.Field, error) {
	name := c.in.text("InstanceProfileName", profileName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editProfile(name, nil, func(d *iam.Draft) error { return d.DeleteInstanceProfile(c.caller.Account, name) })
}

func (c *call) profilePage(v *iam.View, p page, all []iam.InstanceProfileRecord) []awsquery.Field {
	part, more := paged(p, all, func(r iam.InstanceProfileRecord) string { return r.Name })
	list := awsquery.List("InstanceProfiles", part, func(r iam.InstanceProfileRecord) []awsquery.Field { return c.profileFields(v, r, false) })
	return append([]awsquery.Field{list}, more...)
}

func listInstanceProfiles(c *call) ([]awsquery.Field, error) {
	prefix, p := c.in.or("PathPrefix", pathPrefix, "/"), c.page()
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if err := c.may(c.arn("instance-profile", prefix, "")); err != nil {
		return nil, err
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	all := below(v.InstanceProfiles(c.caller.Account), prefix, func(r iam.InstanceProfileRecord) string { return r.Path })
	return c.profilePage(v, p, all), nil
}

func listInstanceProfilesForRole(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("RoleName", roleName), c.page()
	if err := c.in.err(); err != nil {
		return nil, err
	}
	v, r, err := c.role(name)
	if err != nil {
		return nil, err
	}
	return c.profilePage(v, p, v.ProfilesOf(r.Account, r.ID)), nil
}

// addRoleToInstanceProfile asks for iam:PassRole too: whoever holds the profile
// acts as the role.
func addRoleToInstanceProfile(c *call) ([]awsquery.Field, error) {
	name, role := c.in.text("InstanceProfileName", profileName), c.in.text("RoleName", roleName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editProfile(name, nil, func(d *iam.Draft) error {
		arn, keys := c.roleQuestion(&d.View, role)
		if err := c.mayDo("iam:PassRole", arn, append(keys, []key{{"iam:PassedToService", []string{"ec2.amazonaws.com"}}})...); err != nil {
			return err
		}
		return d.AddRoleToProfile(c.caller.Account, name, role)
	})
}

func removeRoleFromInstanceProfile(c *call) ([]awsquery.Field, error) {
	name, role := c.in.text("InstanceProfileName", profileName), c.in.text("RoleName", roleName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editProfile(name, nil, func(d *iam.Draft) error { return d.RemoveRoleFromProfile(c.caller.Account, name, role) })
}

func tagInstanceProfile(c *call) ([]awsquery.Field, error) {
	name, tags := c.in.text("InstanceProfileName", profileName), c.in.tags("Tags")
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editProfile(name, requestTags(tags), func(d *iam.Draft) error { return d.TagInstanceProfile(c.caller.Account, name, tags) })
}

func untagInstanceProfile(c *call) ([]awsquery.Field, error) {
	name, keys := c.in.text("InstanceProfileName", profileName), c.in.texts("TagKeys", tagKey, 0, 50)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editProfile(name, tagKeys(keys), func(d *iam.Draft) error { return d.UntagInstanceProfile(c.caller.Account, name, keys) })
}

func listInstanceProfileTags(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("InstanceProfileName", profileName), c.page()
	if err := c.in.err(); err != nil {
		return nil, err
	}
	_, r, err := c.profile(name)
	if err != nil {
		return nil, err
	}
	return tagPage(p, r.Tags), nil
}
