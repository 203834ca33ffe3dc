package iamapi

import (
	"fmt"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

func policyOperations() map[string]operation {
	return map[string]operation{
		"CreatePolicy": createPolicy, "GetPolicy": getPolicy, "ListPolicies": listPolicies, "DeletePolicy": deletePolicy,
		"CreatePolicyVersion": createVersion, "GetPolicyVersion": getVersion, "ListPolicyVersions": listVersions,
		"DeletePolicyVersion": deleteVersion, "SetDefaultPolicyVersion": setDefaultVersion,
		"ListEntitiesForPolicy": listEntities,
		"TagPolicy":             tagPolicy, "UntagPolicy": untagPolicy, "ListPolicyTags": listPolicyTags,
	}
}

// policy gives the finder of a managed policy by ARN, the account's or AWS's.
func (c *call) policy(arn string, keys ...[]key) finder[managed] {
	return func(v *iam.View) (managed, string, error) {
		if err := iam.CheckPolicyARN(arn); err != nil {
			return managed{}, arn, err
		}
		m, ok := c.managedOf(v, arn)
		err := c.may(arn, append(keys, resourceTags(m.tags))...)
		if err == nil && !ok {
			err = noSuch("Policy %s was not found.", arn)
		}
		return m, arn, err
	}
}

// ownedPolicy is policy for changes: those of AWS are not the account's.
func (c *call) ownedPolicy(arn string, keys ...[]key) finder[managed] {
	return func(v *iam.View) (managed, string, error) {
		m, _, err := c.policy(arn, keys...)(v)
		if err == nil && m.aws {
			err = fault.Coded(fault.Denied, "AccessDenied", "User: "+c.caller.ARN+" is not authorized to perform: iam:"+c.action+" on resource: policy "+arn+": it is AWS's own")
		}
		return m, arn, err
	}
}

func createPolicy(c *call) ([]awsquery.Field, error) {
	r := iam.ManagedPolicyRecord{
		Account: c.caller.Account, Path: c.in.or("Path", policyPath, "/"), Name: c.in.text("PolicyName", policyName),
		Description: c.in.or("Description", description, ""), Tags: c.in.tags("Tags"),
	}
	document := c.in.text("PolicyDocument", documentText)
	var made iam.ManagedPolicyRecord
	err := change(c, c.created(c.arn("policy", r.Path, r.Name), "iam:TagPolicy", r.Tags), func(d *iam.Draft, _ struct{}) (err error) {
		made, err = d.CreatePolicy(r, document)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{c.ownPolicy(made).whole(usage{})}, nil
}

func getPolicy(c *call) ([]awsquery.Field, error) {
	arn := c.in.text("PolicyArn", arnText)
	m, v, err := see(c, c.policy(arn))
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{m.whole(v.PolicyUsage(c.caller.Account))}, nil
}

func listPolicies(c *call) ([]awsquery.Field, error) {
	scope := c.in.or("Scope", words("All", "AWS", "Local"), "All")
	attached, _ := c.in.flag("OnlyAttached")
	prefix, p := c.in.or("PathPrefix", policyPath, "/"), c.page()
	used, usedGiven := c.in.maybe("PolicyUsageFilter", words("PermissionsPolicy", "PermissionsBoundary"))
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if err := c.may(c.arn("policy", prefix, "")); err != nil {
		return nil, err
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	u := v.PolicyUsage(c.caller.Account)
	keep := func(m managed) bool {
		permissions, boundaries := u[m.arn].Attached, u[m.arn].Boundaries
		return strings.HasPrefix(m.path, prefix) &&
			(!attached || permissions+boundaries > 0) &&
			(!usedGiven || used == "PermissionsPolicy" && permissions > 0 || used == "PermissionsBoundary" && boundaries > 0)
	}
	all := slices.DeleteFunc(c.allPolicies(v, scope), func(m managed) bool { return !keep(m) })
	return part("Policies", p, all, func(m managed) string { return m.arn }, func(m managed) []awsquery.Field { return m.fields(u) }), nil
}

// allPolicies gives the managed policies of a scope: All, AWS or Local.
func (c *call) allPolicies(v *iam.View, scope string) []managed {
	var all []managed
	if scope != "AWS" {
		for _, r := range v.ManagedPolicies(c.caller.Account) {
			all = append(all, c.ownPolicy(r))
		}
	}
	if scope != "Local" {
		all = append(all, c.awsPolicies()...)
	}
	return all
}

func deletePolicy(c *call) ([]awsquery.Field, error) {
	arn := c.in.text("PolicyArn", arnText)
	return nil, change(c, c.ownedPolicy(arn), func(d *iam.Draft, _ managed) error { return d.DeleteManagedPolicy(c.caller.Account, arn) })
}

func createVersion(c *call) ([]awsquery.Field, error) {
	arn, document := c.in.text("PolicyArn", arnText), c.in.text("PolicyDocument", documentText)
	inForce, _ := c.in.flag("SetAsDefault")
	var made managed
	err := change(c, c.ownedPolicy(arn), func(d *iam.Draft, _ managed) error {
		r, err := d.CreatePolicyVersion(c.caller.Account, arn, document, inForce)
		made = c.ownPolicy(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{group("PolicyVersion", made.versionFields(made.versions[len(made.versions)-1])...)}, nil
}

func getVersion(c *call) ([]awsquery.Field, error) {
	arn, id := c.in.text("PolicyArn", arnText), c.in.text("VersionId", versionID)
	m, _, err := see(c, c.policy(arn))
	if err != nil {
		return nil, err
	}
	version, ok := m.version(id)
	if !ok {
		return nil, iam.NoVersion(arn, id)
	}
	return []awsquery.Field{group("PolicyVersion", append(m.versionFields(version), document("Document", version.Document))...)}, nil
}

func listVersions(c *call) ([]awsquery.Field, error) {
	arn, p := c.in.text("PolicyArn", arnText), c.page()
	m, _, err := see(c, c.policy(arn))
	if err != nil {
		return nil, err
	}
	all := m.newestFirst()
	place := func(v iam.PolicyVersion) string {
		return fmt.Sprintf("%04d", slices.IndexFunc(all, func(x iam.PolicyVersion) bool { return x.ID == v.ID }))
	}
	return part("Versions", p, all, place, m.versionFields), nil
}

func deleteVersion(c *call) ([]awsquery.Field, error) {
	arn, id := c.in.text("PolicyArn", arnText), c.in.text("VersionId", versionID)
	return nil, change(c, c.ownedPolicy(arn), func(d *iam.Draft, _ managed) error { return d.DeletePolicyVersion(c.caller.Account, arn, id) })
}

func setDefaultVersion(c *call) ([]awsquery.Field, error) {
	arn, id := c.in.text("PolicyArn", arnText), c.in.text("VersionId", versionID)
	return nil, change(c, c.ownedPolicy(arn), func(d *iam.Draft, _ managed) error { return d.SetDefaultPolicyVersion(c.caller.Account, arn, id) })
}

// listEntities lists who has a policy, over users, groups and roles in one
// run of pages.
func listEntities(c *call) ([]awsquery.Field, error) {
	arn, p := c.in.text("PolicyArn", arnText), c.page()
	filter, filtered := c.in.maybe("EntityFilter", words("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"))
	prefix := c.in.or("PathPrefix", pathText, "/")
	used, usedGiven := c.in.maybe("PolicyUsageFilter", words("PermissionsPolicy", "PermissionsBoundary"))
	_, v, err := see(c, c.policy(arn))
	if err != nil {
		return nil, err
	}
	has := func(b bearer) bool {
		attached, bounded := slices.Contains(b.attached, arn), b.boundary != nil && b.boundary.ARN == arn
		switch {
		case filtered && filter != b.kind.title || !strings.HasPrefix(b.path, prefix):
			return false
		case !usedGiven:
			return attached || bounded
		}
		return used == "PermissionsPolicy" && attached || used == "PermissionsBoundary" && bounded
	}
	all := slices.DeleteFunc(c.bearers(v), func(b bearer) bool { return !has(b) })
	some, more := paged(p, all, func(b bearer) string { return b.kind.word + "/" + b.name })
	var out []awsquery.Field
	for _, k := range bearerKinds() {
		of := slices.DeleteFunc(slices.Clone(some), func(b bearer) bool { return b.kind.word != k.word })
		out = append(out, awsquery.List("Policy"+k.title+"s", of, func(b bearer) []awsquery.Field {
			return []awsquery.Field{text(k.title+"Name", b.name), text(k.title+"Id", b.id)}
		}))
	}
	return append(out, more...), nil
}

func tagPolicy(c *call) ([]awsquery.Field, error) {
	arn, tags := c.in.text("PolicyArn", arnText), c.in.tags("Tags")
	return nil, change(c, c.ownedPolicy(arn, requestTags(tags)), func(d *iam.Draft, _ managed) error {
		return d.TagPolicy(c.caller.Account, arn, tags)
	})
}

func untagPolicy(c *call) ([]awsquery.Field, error) {
	arn, names := c.in.text("PolicyArn", arnText), c.in.texts("TagKeys", tagKey, 0, 50)
	return nil, change(c, c.ownedPolicy(arn, tagKeys(names)), func(d *iam.Draft, _ managed) error {
		return d.UntagPolicy(c.caller.Account, arn, names)
	})
}

func listPolicyTags(c *call) ([]awsquery.Field, error) {
	arn, p := c.in.text("PolicyArn", arnText), c.page()
	m, _, err := see(c, c.policy(arn))
	if err != nil {
		return nil, err
	}
	return tagPage(p, m.tags), nil
}
