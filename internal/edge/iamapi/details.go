package iamapi

import (
	"slices"

	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

// detail is one entry of GetAccountAuthorizationDetails.
type detail struct {
	list   string // the list that it stands in
	key    string // its place in the run of pages
	fields func() []awsquery.Field
}

// detailLists are the lists of the answer, in its order.
func detailLists() []string {
	return []string{"UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"}
}

// authorizationDetails tells all of the account's permissions, over users,
// groups, roles and policies in one run of pages.
func authorizationDetails(c *call) ([]awsquery.Field, error) {
	filter := c.in.texts("Filter", words("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"), 0, 100)
	p := c.page()
	_, v, err := see(c, c.account())
	if err != nil {
		return nil, err
	}
	wanted := func(kind string) bool { return len(filter) == 0 || slices.Contains(filter, kind) }
	var all []detail
	for _, b := range c.bearers(v) {
		if wanted(b.kind.title) {
			all = append(all, detail{b.kind.title + "DetailList", b.kind.word + "/" + b.name, func() []awsquery.Field { return c.bearerDetail(v, b) }})
		}
	}
	u := v.PolicyUsage(c.caller.Account)
	for _, m := range c.allPolicies(v, "All") {
		if m.aws && (!wanted("AWSManagedPolicy") || u[m.arn] == (iam.Usage{})) || !m.aws && !wanted("LocalManagedPolicy") {
			continue
		}
		all = append(all, detail{"Policies", "policy/" + m.arn, func() []awsquery.Field { return policyDetail(m, u) }})
	}
	some, more := paged(p, all, func(d detail) string { return d.key })
	var out []awsquery.Field
	for _, list := range detailLists() {
		of := slices.DeleteFunc(slices.Clone(some), func(d detail) bool { return d.list != list })
		out = append(out, awsquery.List(list, of, func(d detail) []awsquery.Field { return d.fields() }))
	}
	return append(out, more...), nil
}

// bearerDetail tells a user, group or role with its permissions.
func (c *call) bearerDetail(v *iam.View, b bearer) []awsquery.Field {
	inline := awsquery.List(b.kind.title+"PolicyList", b.inline, func(p iam.Policy) []awsquery.Field {
		return []awsquery.Field{text("PolicyName", p.Name), document("PolicyDocument", p.Document)}
	})
	attached := awsquery.List("AttachedManagedPolicies", c.attachedTo(v, b, "/"), attachedFields)
	switch b.kind.word {
	case "user":
		u, _ := v.User(c.caller.Account, b.name)
		var groups []string
		for _, g := range v.GroupsOf(u) {
			groups = append(groups, g.Name)
		}
		more := []awsquery.Field{inline, awsquery.Texts("GroupList", groups), attached, tagFields(u.Tags)}
		return slices.Concat(c.userFields(u), more, boundaryFields(c.partition(), u.Account, u.Boundary))
	case "group":
		g, _ := v.Group(c.caller.Account, b.name)
		return append(c.groupFields(g), inline, attached)
	}
	r, _ := v.Role(c.caller.Account, b.name)
	profiles := slices.DeleteFunc(v.InstanceProfiles(c.caller.Account), func(p iam.InstanceProfileRecord) bool { return p.Role != r.ID })
	fields := []awsquery.Field{
		text("Path", r.Path), text("RoleName", r.Name), text("RoleId", string(r.ID)), text("Arn", b.arn), when("CreateDate", r.Created),
		document("AssumeRolePolicyDocument", v.Shown(r.Trust)),
		awsquery.List("InstanceProfileList", profiles, func(p iam.InstanceProfileRecord) []awsquery.Field { return c.profileFields(v, p, false) }),
		inline, attached, tagFields(r.Tags), {Name: "RoleLastUsed", Always: true},
	}
	return append(fields, boundaryFields(c.partition(), r.Account, r.Boundary)...)
}

func policyDetail(m managed, u usage) []awsquery.Field {
	versions := awsquery.List("PolicyVersionList", m.newestFirst(), func(v iam.PolicyVersion) []awsquery.Field {
		return append(m.versionFields(v), document("Document", v.Document))
	})
	return append(m.fields(u), text("Description", m.description), versions)
}
