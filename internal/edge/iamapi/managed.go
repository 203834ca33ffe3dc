package iamapi

import (
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

// managed is a managed policy, the account's own or AWS's.
type managed struct {
	arn, id, path, name, description string
	aws                              bool
	versions                         []iam.PolicyVersion // oldest first
	inForce                          string              // id of the default version
	tags                             map[string]string
	created, updated                 time.Time
}

func (c *call) ownPolicy(r iam.ManagedPolicyRecord) managed {
	return managed{
		arn: c.arn("policy", r.Path, r.Name), id: r.ID, path: r.Path, name: r.Name, description: r.Description,
		versions: r.Versions, inForce: r.Default, tags: r.Tags, created: r.Created, updated: r.Updated,
	}
}

func (c *call) awsPolicies() []managed {
	var out []managed
	for _, p := range iam.AWSPolicies() {
		const version = "v1"
		out = append(out, managed{
			arn: "arn:" + c.partition() + ":iam::aws:policy/" + p.Name, id: p.ID, path: "/", name: p.Name, aws: true,
			versions: []iam.PolicyVersion{{ID: version, Document: p.Document, Created: p.Created}}, inForce: version,
			created: p.Created, updated: p.Created,
		})
	}
	return out
}

// managedOf finds a managed policy that principals of the account may have.
func (c *call) managedOf(v *iam.View, arn string) (managed, bool) {
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	if r, ok := v.ManagedPolicy(c.caller.Account, name); ok {
		if m := c.ownPolicy(r); m.arn == arn {
			return m, true
		}
	}
	for _, m := range c.awsPolicies() {
		if m.arn == arn {
			return m, true
		}
	}
	return managed{}, false
}

// version finds a version by its id.
func (m managed) version(id string) (iam.PolicyVersion, bool) {
	i := slices.IndexFunc(m.versions, func(v iam.PolicyVersion) bool { return v.ID == id })
	if i < 0 {
		return iam.PolicyVersion{}, false
	}
	return m.versions[i], true
}

// usage counts by ARN who has a managed policy.
type usage = map[string]iam.Usage

// fields writes a policy without its description and tags, as lists do.
func (m managed) fields(u usage) []awsquery.Field {
	return []awsquery.Field{
		text("PolicyName", m.name), text("PolicyId", m.id), text("Arn", m.arn), text("Path", m.path), text("DefaultVersionId", m.inForce),
		count("AttachmentCount", u[m.arn].Attached), count("PermissionsBoundaryUsageCount", u[m.arn].Boundaries),
		truth("IsAttachable", true), when("CreateDate", m.created), when("UpdateDate", m.updated),
	}
}

// whole writes all of a policy.
func (m managed) whole(u usage) awsquery.Field {
	return group("Policy", append(append(m.fields(u), text("Description", m.description)), someTags(m.tags)...)...)
}

func (m managed) versionFields(v iam.PolicyVersion) []awsquery.Field {
	return []awsquery.Field{text("VersionId", v.ID), truth("IsDefaultVersion", v.ID == m.inForce), when("CreateDate", v.Created)}
}

// newestFirst gives the versions as AWS lists them.
func (m managed) newestFirst() []iam.PolicyVersion {
	out := slices.Clone(m.versions)
	slices.Reverse(out)
	return out
}
