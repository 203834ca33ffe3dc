package iam

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/policy"
)

// Compile makes the snapshot of a state for the configured accounts. Records
// that do not compile are listed in its Faults.
func Compile(state State, accounts []Account) *Snapshot {
	return CompileSealed(state, accounts, nil)
}

// CompileSealed is Compile for a state that holds sealed secrets.
func CompileSealed(state State, accounts []Account, sealer Sealer) *Snapshot {
	return compile(newView(state.Revision, state.Records(), accounts), sealer, nil)
}

// unit is one compiled record, for the next snapshot to take over: as long as
// the record and the compiled things that it rests on are the same ones.
type unit struct {
	from  Record
	needs []any
	made  any
}

type compiler struct {
	*Snapshot
	before *Snapshot // nil for none
	sealer Sealer
	groups map[string]*compiledGroup // by id
}

// compile makes the snapshot of a view. Whatever is the same as before is
// taken from there.
func compile(v *View, sealer Sealer, before *Snapshot) *Snapshot {
	c := &compiler{before: before, sealer: sealer, groups: map[string]*compiledGroup{}, Snapshot: &Snapshot{
		revision: v.revision, view: v,
		providers: map[arn.SAMLProvider]*Provider{}, oidc: map[Ref]*OIDCProvider{},
		roles: map[arn.Role]*Role{}, roleIDs: map[identity.RoleID]*Role{},
		users: map[string]*User{}, userIDs: map[identity.UserID]*User{}, keys: map[string]*AccessKey{},
		managed: map[string]*ManagedPolicy{}, guardrails: map[string]*Guardrails{}, buckets: map[string]*Bucket{}, cors: map[string]*BucketCORS{},
		units: map[Ref]unit{}, broken: map[Ref]error{},
	}}
	c.awsPolicies()
	// In this order, since later ones rest on earlier ones.
	all(c, KindManagedPolicy, c.managedPolicy)
	all(c, KindSAMLProvider, c.provider)
	all(c, KindOIDCProvider, c.oidcProvider)
	all(c, KindRole, c.role)
	all(c, KindGroup, c.group)
	all(c, KindUser, c.user)
	all(c, KindAccessKey, c.accessKey)
	all(c, KindInstanceProfile, c.instanceProfile)
	all(c, KindAlias, c.alias)
	all(c, KindGuardrails, c.guardrail)
	all(c, KindBucket, c.bucket)
	all(c, KindBucketCORS, c.bucketCORS)
	return c.Snapshot
}

// all compiles every record of a kind and notes which of them don't.
func all[R any](c *compiler, kind Kind, one func(*R) error) {
	for g, records := range c.view.groups {
		if g.kind != kind {
			continue
		}
		for key, r := range records {
			if err := one(any(r).(*R)); err != nil {
				c.broken[Ref{kind, g.account, key}] = err
			}
		}
	}
}

// reuse gives what was made before of the same record from the same things.
func reuse[M any](c *compiler, r Record, needs []any) (*M, bool) {
	if c.before == nil {
		return nil, false
	}
	u, ok := c.before.units[r.Ref()]
	if !ok || u.from != r || !slices.Equal(u.needs, needs) {
		return nil, false
	}
	c.units[r.Ref()] = u
	return u.made.(*M), true
}

func (c *compiler) keep(r Record, needs []any, made any) { c.units[r.Ref()] = unit{r, needs, made} }

// Faults lists what did not compile, for the log and the doctor.
func (s *Snapshot) Faults() []string {
	var out []string
	for ref, err := range s.broken {
		kind, name := string(ref.Kind), ref.Account+"/"+ref.Key
		if r := s.view.record(ref); r != nil {
			kind, name = describe(r)
		}
		out = append(out, fmt.Sprintf("%s %s: %s", kind, name, fault.Of(err).Public))
	}
	sort.Strings(out)
	return out
}

// describe names a record for people: its kind, and its account and name.
func describe(r Record) (kind, name string) {
	kind = string(r.Ref().Kind)
	switch r := r.(type) {
	case *ProviderRecord:
		return kind, r.Account + "/" + r.Name
	case *OIDCProviderRecord:
		return kind, r.Account + "/" + r.Name()
	case *RoleRecord:
		return kind, r.Account + "/" + r.Name
	case *UserRecord:
		return kind, r.Account + "/" + r.Name
	case *GroupRecord:
		return kind, r.Account + "/" + r.Name
	case *ManagedPolicyRecord:
		return kind, r.Account + "/" + r.Name
	case *InstanceProfileRecord:
		return kind, r.Account + "/" + r.Name
	case *AccessKeyRecord:
		return kind, r.ID
	case *BucketRecord:
		return kind, r.Name
	case *BucketCORSRecord:
		return kind, r.Name
	}
	return kind, r.Ref().Account
}

func (a Account) partition() string {
	if a.Partition == "" {
		return "aws"
	}
	return a.Partition
}

func invalid(format string, args ...any) error {
	return fault.Coded(fault.Invalid, "ValidationError", fmt.Sprintf(format, args...))
}

func limited(format string, args ...any) error {
	return fault.Coded(fault.TooLarge, "LimitExceeded", fmt.Sprintf(format, args...))
}

// partition gives the partition of a record's account, if it is configured.
func (c *compiler) partition(account string) (string, error) {
	p, ok := c.view.partitions[account]
	if !ok {
		return "", invalid("account %s is not configured as local", account)
	}
	return p, nil
}

func (c *compiler) role(r *RoleRecord) error {
	managed, needs, err := c.attachments(r.Account, r.Attached, r.Boundary)
	if err != nil {
		return err
	}
	if role, ok := reuse[Role](c, r, needs); ok {
		c.roles[role.ARN], c.roleIDs[role.ID] = role, role
		return nil
	}
	partition, err := c.partition(r.Account)
	if err != nil {
		return err
	}
	if err := checkEntityName(role, r.Path, r.Name); err != nil {
		return err
	}
	name, err := arn.ParseRole(r.ARN(partition))
	if err != nil {
		return invalid("%s", err)
	}
	made := &Role{ID: r.ID, ARN: name, Tags: r.Tags, MaxSession: r.MaxSession}
	if err := made.check(r); err != nil {
		return err
	}
	earlier := earlier[Role](c, r).own
	if made.Trust, err = made.own.compile(policy.Trust, r.Trust, earlier); err != nil {
		return err
	}
	inline, err := made.own.inline(role, r.Name, r.Policies, earlier)
	if err != nil {
		return err
	}
	made.Policies = unite(inline, managed)
	if made.Boundary, err = c.boundary(r.Boundary); err != nil {
		return err
	}
	c.roles[made.ARN], c.roleIDs[made.ID] = made, made
	c.keep(r, needs, made)
	return nil
}

func (role *Role) check(r *RoleRecord) error {
	if strings.HasPrefix(r.Name, "AWSReservedSSO_") {
		return invalid("role names that begin with AWSReservedSSO_ are AWS's own")
	}
	if r.MaxSession < LeastMaxSession || r.MaxSession > MostMaxSession {
		return invalid("the maximum session duration is %s: want %s to %s", r.MaxSession, LeastMaxSession, MostMaxSession)
	}
	return checkTags("TagsPerRole", r.Tags)
}

// attachments finds the managed policies that a principal rests on. A missing
// one is an error: it may have held a deny.
func (c *compiler) attachments(account string, attached []string, boundary *Policy) (found []*policy.Document, needs []any, err error) {
	if len(attached) > mostAttached {
		return nil, nil, limited("Cannot exceed quota for PoliciesPerRole: %d", mostAttached)
	}
	for _, name := range attached {
		p, ok := c.attachable(account, name)
		if !ok {
			return nil, nil, noPolicy(name)
		}
		found, needs = append(found, p.Identity), append(needs, p)
	}
	if boundary != nil && boundary.ARN != "" {
		p, ok := c.attachable(account, boundary.ARN)
		if !ok {
			return nil, nil, noPolicy(boundary.ARN)
		}
		needs = append(needs, p)
	}
	return found, needs, nil
}

// attachable finds a managed policy of the account or of AWS's own.
func (c *compiler) attachable(account, arn string) (*ManagedPolicy, bool) {
	p, ok := c.managed[arn]
	partition := c.view.partitions[account]
	return p, ok && (strings.HasPrefix(arn, "arn:"+partition+":iam::"+account+":") || strings.HasPrefix(arn, "arn:"+partition+":iam::aws:"))
}

func noPolicy(name string) error {
	return fault.Coded(fault.NotFound, "NoSuchEntity", "Policy "+name+" does not exist or is not attachable.")
}

// boundary compiles a permissions boundary, or finds it among the managed
// policies; attachments has proven that it is there.
func (c *compiler) boundary(b *Policy) (*policy.Document, error) {
	switch {
	case b == nil:
		return nil, nil
	case b.ARN != "":
		return c.managed[b.ARN].Boundary, nil
	}
	return compilePolicy(policy.Boundary, *b)
}

func unite(own, attached []*policy.Document) []*policy.Document {
	all := append(slices.Clone(own), attached...)
	if len(all) > 1 {
		all = []*policy.Document{policy.Unite(all)}
	}
	return all
}

// own holds the compiled documents of one record, for the next snapshot: a
// policy that says the same is not parsed again.
type own []ownPolicy

type ownPolicy struct {
	from Policy
	made *policy.Document
}

// earlier gives what was made before of the record of that Ref, whatever it
// said then.
func earlier[M any](c *compiler, r Record) *M {
	if c.before != nil {
		if made, ok := c.before.units[r.Ref()].made.(*M); ok {
			return made
		}
	}
	return new(M)
}

// compile takes a document over from earlier, or compiles it.
func (o *own) compile(kind policy.Kind, p Policy, earlier own) (*policy.Document, error) {
	for _, was := range earlier {
		if was.made.Kind() == kind && was.from.equal(p) {
			*o = append(*o, was)
			return was.made, nil
		}
	}
	d, err := compilePolicy(kind, p)
	if err == nil {
		*o = append(*o, ownPolicy{p, d})
	}
	return d, err
}

// inline compiles the inline policies of one principal.
func (o *own) inline(k principalKind, name string, policies []Policy, earlier own) ([]*policy.Document, error) {
	var out []*policy.Document
	seen := map[string]bool{}
	total := 0
	for _, p := range policies {
		if seen[p.Name] {
			return nil, invalid("policy %q stands twice", p.Name)
		}
		seen[p.Name] = true
		if total += textSize(p.Document); total > k.mostInline {
			return nil, limited("Maximum policy size of %d bytes exceeded for %s %s", k.mostInline, k.word, name)
		}
		d, err := o.compile(policy.Identity, p, earlier)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func compilePolicy(kind policy.Kind, p Policy) (*policy.Document, error) {
	if len(p.Name) < 1 || len(p.Name) > 128 || !validName(p.Name) {
		return nil, invalid("policy name %q: want 1 to 128 of letters, digits and _+=,.@-", p.Name)
	}
	d, err := policy.Parse(kind, p.Name, []byte(p.Document))
	if err != nil {
		return nil, err
	}
	if kind != policy.Trust {
		if err := CheckSupplied(d); err != nil {
			return nil, err
		}
	}
	if kind == policy.Trust || kind == policy.Resource {
		d = d.Pin(p.Pins)
	}
	return d, nil
}
