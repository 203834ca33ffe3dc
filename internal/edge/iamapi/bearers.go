package iamapi

import (
	"slices"
	"strings"

	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

// bearerKind is one of the three kinds that policies are put on.
type bearerKind struct {
	kind     iam.Kind
	word     string // user, as in ARNs and texts
	title    string // User, as in operations and parameters
	nameRule rule
}

func bearerKinds() []bearerKind {
	return []bearerKind{
		{iam.KindUser, "user", "User", anyUserName},
		{iam.KindGroup, "group", "Group", groupName},
		{iam.KindRole, "role", "Role", roleName},
	}
}

// bearer is a user, group or role as something that policies are put on.
type bearer struct {
	kind     bearerKind
	name     string
	id       string
	path     string
	arn      string
	tags     map[string]string
	boundary *iam.Policy
	inline   []iam.Policy
	attached []string
}

// bearerOf finds a user, group or role by name; not ok where there is none.
func (c *call) bearerOf(v *iam.View, k bearerKind, name string) (bearer, bool) {
	account := c.caller.Account
	switch k.word {
	case "user":
		r, ok := v.User(account, name)
		return c.userBearer(k, r), ok
	case "group":
		r, ok := v.Group(account, name)
		return c.groupBearer(k, r), ok
	default:
		r, ok := v.Role(account, name)
		return c.roleBearer(k, r), ok
	}
}

func (c *call) userBearer(k bearerKind, r iam.UserRecord) bearer {
	return bearer{
		kind: k, name: r.Name, id: string(r.ID), path: r.Path, arn: c.arn("user", r.Path, r.Name), tags: r.Tags, boundary: r.Boundary,
		inline: r.Policies, attached: r.Attached,
	}
}

func (c *call) groupBearer(k bearerKind, r iam.GroupRecord) bearer {
	return bearer{
		kind: k, name: r.Name, id: r.ID, path: r.Path, arn: c.arn("group", r.Path, r.Name), inline: r.Policies, attached: r.Attached,
	}
}

func (c *call) roleBearer(k bearerKind, r iam.RoleRecord) bearer {
	return bearer{
		kind: k, name: r.Name, id: string(r.ID), path: r.Path, arn: c.arn("role", r.Path, r.Name), tags: r.Tags, boundary: r.Boundary,
		inline: r.Policies, attached: r.Attached,
	}
}

// bearers lists all users, groups and roles of the account.
func (c *call) bearers(v *iam.View) []bearer {
	kinds := bearerKinds()
	var all []bearer
	for _, r := range v.Users(c.caller.Account) {
		all = append(all, c.userBearer(kinds[0], r))
	}
	for _, r := range v.Groups(c.caller.Account) {
		all = append(all, c.groupBearer(kinds[1], r))
	}
	for _, r := range v.Roles(c.caller.Account) {
		all = append(all, c.roleBearer(kinds[2], r))
	}
	return all
}

// bearer gives the finder of a call's UserName, GroupName or RoleName.
func (c *call) bearer(k bearerKind, name string, keys ...[]key) finder[bearer] {
	return func(v *iam.View) (bearer, string, error) {
		b, ok := c.bearerOf(v, k, name)
		if !ok {
			b.arn = c.arn(k.word, "/", name)
		}
		err := c.may(b.arn, append(keys, resourceTags(b.tags), boundaryOf(boundaryARN(c.partition(), c.caller.Account, b.boundary)))...)
		if err == nil && !ok {
			err = missing(k.word, name)
		}
		return b, b.arn, err
	}
}

func missing(word, name string) error {
	return noSuch("The %s with name %s cannot be found.", word, name)
}

// bearerOperations are the operations on policies of users, groups and roles.
func bearerOperations() map[string]operation {
	table := map[string]operation{}
	for _, k := range bearerKinds() {
		if k.word != "role" { // those of roles stand in roles.go
			table["Put"+k.title+"Policy"] = k.put
			table["Get"+k.title+"Policy"] = k.get
			table["Delete"+k.title+"Policy"] = k.remove
			table["List"+k.title+"Policies"] = k.list
		}
		table["Attach"+k.title+"Policy"] = k.attach
		table["Detach"+k.title+"Policy"] = k.detach
		table["ListAttached"+k.title+"Policies"] = k.listAttached
	}
	return table
}

func (k bearerKind) read(c *call) string { return c.in.text(k.title+"Name", k.nameRule) }

func (k bearerKind) put(c *call) ([]awsquery.Field, error) {
	name, p := k.read(c), iam.Policy{Name: c.in.text("PolicyName", policyName), Document: c.in.text("PolicyDocument", documentText)}
	return nil, change(c, c.bearer(k, name), func(d *iam.Draft, _ bearer) error { return d.PutPolicy(k.kind, c.caller.Account, name, p) })
}

func (k bearerKind) get(c *call) ([]awsquery.Field, error) {
	name, policy := k.read(c), c.in.text("PolicyName", policyName)
	b, _, err := see(c, c.bearer(k, name))
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(b.inline, func(p iam.Policy) bool { return p.Name == policy })
	if i < 0 {
		return nil, noSuch("The %s policy with name %s cannot be found.", k.word, policy)
	}
	return []awsquery.Field{
		text(k.title+"Name", b.name), text("PolicyName", policy), document("PolicyDocument", b.inline[i].Document),
	}, nil
}

func (k bearerKind) remove(c *call) ([]awsquery.Field, error) {
	name, policy := k.read(c), c.in.text("PolicyName", policyName)
	return nil, change(c, c.bearer(k, name), func(d *iam.Draft, _ bearer) error { return d.DeletePolicy(k.kind, c.caller.Account, name, policy) })
}

func (k bearerKind) list(c *call) ([]awsquery.Field, error) {
	name, p := k.read(c), c.page()
	b, _, err := see(c, c.bearer(k, name))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, x := range b.inline {
		names = append(names, x.Name)
	}
	return partOfTexts("PolicyNames", p, names), nil
}

func (k bearerKind) attach(c *call) ([]awsquery.Field, error) {
	name, policy := k.read(c), c.in.text("PolicyArn", arnText)
	return nil, change(c, c.bearer(k, name, policyARN(policy)), func(d *iam.Draft, _ bearer) error {
		return d.AttachPolicy(k.kind, c.caller.Account, name, policy)
	})
}

func (k bearerKind) detach(c *call) ([]awsquery.Field, error) {
	name, policy := k.read(c), c.in.text("PolicyArn", arnText)
	return nil, change(c, c.bearer(k, name, policyARN(policy)), func(d *iam.Draft, _ bearer) error {
		return d.DetachPolicy(k.kind, c.caller.Account, name, policy)
	})
}

func (k bearerKind) listAttached(c *call) ([]awsquery.Field, error) {
	name, prefix, p := k.read(c), c.in.or("PathPrefix", policyPath, "/"), c.page()
	b, v, err := see(c, c.bearer(k, name))
	if err != nil {
		return nil, err
	}
	return part("AttachedPolicies", p, c.attachedTo(v, b, prefix), func(m managed) string { return m.arn }, attachedFields), nil
}

func attachedFields(m managed) []awsquery.Field {
	return []awsquery.Field{text("PolicyName", m.name), text("PolicyArn", m.arn)}
}

// attachedTo gives the managed policies of a bearer under a path.
func (c *call) attachedTo(v *iam.View, b bearer, prefix string) []managed {
	var out []managed
	for _, arn := range b.attached {
		if m, ok := c.managedOf(v, arn); ok && strings.HasPrefix(m.path, prefix) {
			out = append(out, m)
		}
	}
	return out
}
