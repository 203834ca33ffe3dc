package iamapi

import (
	"strings"
	"time"

	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

func roleOperations() map[string]operation {
	return map[string]operation{
		"CreateRole":                    createRole,
		"GetRole":                       getRole,
		"ListRoles":                     listRoles,
		"UpdateRole":                    updateRole,
		"UpdateRoleDescription":         updateRoleDescription,
		"DeleteRole":                    deleteRole,
		"UpdateAssumeRolePolicy":        updateAssumeRolePolicy,
		"PutRolePolicy":                 putRolePolicy,
		"GetRolePolicy":                 getRolePolicy,
		"ListRolePolicies":              listRolePolicies,
		"DeleteRolePolicy":              deleteRolePolicy,
		"TagRole":                       tagRole,
		"UntagRole":                     untagRole,
		"ListRoleTags":                  listRoleTags,
		"PutRolePermissionsBoundary":    putRolePermissionsBoundary,
		"DeleteRolePermissionsBoundary": deleteRolePermissionsBoundary,
	}
}

// mayRole asks for permission on a role of the caller's account, whether it is
// there or not: its ARN, tags and boundary are the question's where it is.
func (c *call) mayRole(v *iam.View, name string, more ...[]key) error {
	arn, keys := c.roleQuestion(v, name)
	return c.may(arn, append(more, keys...)...)
}

func (c *call) roleQuestion(v *iam.View, name string) (arn string, keys [][]key) {
	r, ok := v.Role(c.caller.Account, name)
	if !ok {
		return c.arn("role", "/", name), nil
	}
	return r.ARN(c.partition()), [][]key{resourceTags(r.Tags)}
}

// editRole changes a role once the caller may.
func (c *call) editRole(name string, ask [][]key, change func(*iam.Draft) error) error {
	return c.edit(func(d *iam.Draft) error {
		arn, _ := c.roleQuestion(&d.View, name)
		d.Concerns(arn, nil)
		if err := c.mayRole(&d.View, name, ask...); err != nil {
			return err
		}
		return change(d)
	})
}

// hasBoundary is the key of the boundary that a role has: what a delegated
// administrator's rights over its policies are bound to (IAM User Guide,
// "Permissions boundaries for IAM entities").
func (c *call) hasBoundary(v *iam.View, name string) []key {
	r, _ := v.Role(c.caller.Account, name)
	return boundaryOf(boundaryARN(c.partition(), c.caller.Account, r.Boundary))
}

// role reads one role for an operation that shows it.
func (c *call) role(name string) (*iam.View, iam.RoleRecord, error) {
	v, err := c.view()
	if err != nil {
		return nil, iam.RoleRecord{}, err
	}
	if err := c.mayRole(v, name); err != nil {
		return nil, iam.RoleRecord{}, err
	}
	r, ok := v.Role(c.caller.Account, name)
	if !ok {
		return nil, r, noSuch("The role with name %s cannot be found.", name)
	}
	return v, r, nil
}

func createRole(c *call) ([]awsquery.Field, error) {
	r := iam.RoleRecord{
		Account: c.caller.Account, Path: c.in.or("Path", pathText, "/"), Name: c.in.text("RoleName", roleName),
		Trust:       iam.Policy{Document: c.in.text("AssumeRolePolicyDocument", documentText)},
		Description: c.in.or("Description", description, ""), Tags: c.in.tags("Tags"),
		MaxSession: time.Duration(c.in.number("MaxSessionDuration", 3600, 43200, 3600)) * time.Second,
	}
	boundary, bounded := c.in.maybe("PermissionsBoundary", arnText)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if bounded {
		r.Boundary = iam.BoundaryOf(boundary)
	}
	arn, keys := c.arn("role", r.Path, r.Name), [][]key{requestTags(r.Tags), boundaryOf(boundary)}
	var fields []awsquery.Field
	err := c.edit(func(d *iam.Draft) error {
		d.Concerns(arn, nil)
		if err := c.may(arn, keys...); err != nil {
			return err
		}
		if len(r.Tags) > 0 {
			if err := c.mayDo("iam:TagRole", arn, keys...); err != nil {
				return err
			}
		}
		made, err := d.CreateRole(r)
		fields = c.roleFields(&d.View, made, true)
		return err
	})
	return []awsquery.Field{{Name: "Role", Fields: fields}}, err
}

func getRole(c *call) ([]awsquery.Field, error) {
	name := c.in.text("RoleName", roleName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	v, r, err := c.role(name)
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{{Name: "Role", Fields: c.roleFields(v, r, true)}}, nil
}

func listRoles(c *call) ([]awsquery.Field, error) {
	prefix, p := c.in.or("PathPrefix", pathPrefix, "/"), c.page()
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if err := c.may(c.arn("role", prefix, "")); err != nil {
		return nil, err
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	part, more := paged(p, below(v.Roles(c.caller.Account), prefix, func(r iam.RoleRecord) string { return r.Path }),
		func(r iam.RoleRecord) string { return r.Name })
	roles := awsquery.List("Roles", part, func(r iam.RoleRecord) []awsquery.Field { return c.roleFields(v, r, false) })
	return append([]awsquery.Field{roles}, more...), nil
}

// below gives the records whose path begins with prefix.
func below[R any](all []R, prefix string, path func(R) string) []R {
	var out []R
	for _, r := range all {
		if strings.HasPrefix(path(r), prefix) {
			out = append(out, r)
		}
	}
	return out
}

func updateRole(c *call) ([]awsquery.Field, error) {
	name := c.in.text("RoleName", roleName)
	text, described := c.in.maybe("Description", description)
	most := c.in.number("MaxSessionDuration", 3600, 43200, 0)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	var change *string
	if described {
		change = &text
	}
	return []awsquery.Field{}, c.editRole(name, nil, func(d *iam.Draft) error {
		_, err := d.UpdateRole(c.caller.Account, name, change, time.Duration(most)*time.Second)
		return err
	})
}

func updateRoleDescription(c *call) ([]awsquery.Field, error) {
	name, text := c.in.text("RoleName", roleName), c.in.text("Description", description)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	var fields []awsquery.Field
	err := c.editRole(name, nil, func(d *iam.Draft) error {
		r, err := d.UpdateRole(c.caller.Account, name, &text, 0)
		fields = c.roleFields(&d.View, r, true)
		return err
	})
	return []awsquery.Field{{Name: "Role", Fields: fields}}, err
}

func deleteRole(c *call) ([]awsquery.Field, error) {
	name := c.in.text("RoleName", roleName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editRole(name, nil, func(d *iam.Draft) error { return d.DeleteRole(c.caller.Account, name) })
}

func updateAssumeRolePolicy(c *call) ([]awsquery.Field, error) {
	name, document := c.in.text("RoleName", roleName), c.in.text("PolicyDocument", documentText)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editRole(name, nil, func(d *iam.Draft) error {
		return d.UpdateAssumeRolePolicy(c.caller.Account, name, document)
	})
}

// editRolePolicies is editRole for what a boundary may be demanded for.
func (c *call) editRolePolicies(name string, change func(*iam.Draft) error) error {
	return c.edit(func(d *iam.Draft) error {
		arn, _ := c.roleQuestion(&d.View, name)
		d.Concerns(arn, nil)
		if err := c.mayRole(&d.View, name, c.hasBoundary(&d.View, name)); err != nil {
			return err
		}
		return change(d)
	})
}

func putRolePolicy(c *call) ([]awsquery.Field, error) {
	name := c.in.text("RoleName", roleName)
	p := iam.Policy{Name: c.in.text("PolicyName", policyName), Document: c.in.text("PolicyDocument", documentText)}
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editRolePolicies(name, func(d *iam.Draft) error { return d.PutPolicy(iam.KindRole, c.caller.Account, name, p) })
}

func getRolePolicy(c *call) ([]awsquery.Field, error) {
	name, want := c.in.text("RoleName", roleName), c.in.text("PolicyName", policyName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	_, r, err := c.role(name)
	if err != nil {
		return nil, err
	}
	for _, p := range r.Policies {
		if p.Name == want {
			return []awsquery.Field{{Name: "RoleName", Text: r.Name}, {Name: "PolicyName", Text: p.Name}, {Name: "PolicyDocument", Text: encoded(p.Document)}}, nil
		}
	}
	return nil, noSuch("The role policy with name %s cannot be found.", want)
}

func listRolePolicies(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("RoleName", roleName), c.page()
	if err := c.in.err(); err != nil {
		return nil, err
	}
	_, r, err := c.role(name)
	if err != nil {
		return nil, err
	}
	part, more := paged(p, policyNames(r.Policies), func(name string) string { return name })
	return append([]awsquery.Field{awsquery.Texts("PolicyNames", part)}, more...), nil
}

func policyNames(policies []iam.Policy) []string {
	names := make([]string, 0, len(policies))
	for _, p := range policies {
		names = append(names, p.Name)
	}
	return names
}

func deleteRolePolicy(c *call) ([]awsquery.Field, error) {
	name, unwanted := c.in.text("RoleName", roleName), c.in.text("PolicyName", policyName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editRolePolicies(name, func(d *iam.Draft) error { return d.DeletePolicy(iam.KindRole, c.caller.Account, name, unwanted) })
}

func tagRole(c *call) ([]awsquery.Field, error) {
	name, tags := c.in.text("RoleName", roleName), c.in.tags("Tags")
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editRole(name, [][]key{requestTags(tags)}, func(d *iam.Draft) error { return d.TagRole(c.caller.Account, name, tags) })
}

func untagRole(c *call) ([]awsquery.Field, error) {
	name, keys := c.in.text("RoleName", roleName), c.in.texts("TagKeys", tagKey, 0, 50)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editRole(name, [][]key{tagKeys(keys)}, func(d *iam.Draft) error { return d.UntagRole(c.caller.Account, name, keys) })
}

func listRoleTags(c *call) ([]awsquery.Field, error) {
	name, p := c.in.text("RoleName", roleName), c.page()
	if err := c.in.err(); err != nil {
		return nil, err
	}
	_, r, err := c.role(name)
	if err != nil {
		return nil, err
	}
	return tagPage(p, r.Tags), nil
}

func putRolePermissionsBoundary(c *call) ([]awsquery.Field, error) {
	name, boundary := c.in.text("RoleName", roleName), c.in.text("PermissionsBoundary", arnText)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editRole(name, [][]key{boundaryOf(boundary)}, func(d *iam.Draft) error {
		return d.SetRoleBoundary(c.caller.Account, name, boundary)
	})
}

func deleteRolePermissionsBoundary(c *call) ([]awsquery.Field, error) {
	name := c.in.text("RoleName", roleName)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	return nil, c.editRolePolicies(name, func(d *iam.Draft) error { return d.SetRoleBoundary(c.caller.Account, name, "") })
}
