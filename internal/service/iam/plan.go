package iam

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/policy"
)

// Change is what Apply does to a state of one revision: records to write
// (inserted, or replaced by id or name), and records to delete.
type Change struct {
	Revision        int64
	PutProviders    []ProviderRecord
	PutRoles        []RoleRecord
	PutBuckets      []BucketRecord
	DeleteProviders []ProviderRecord
	DeleteRoles     []identity.RoleID
	DeleteBuckets   []string
}

// Plan is what applying an authority file would do.
type Plan struct {
	Steps  []Step
	change Change
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// Step is one line of a plan.
type Step struct {
	Act  string // create, update, replace or delete
	Kind string // saml-provider, role or bucket
	Name string // account/name, or the bucket
	// Changed names what an update touches.
	Changed []string
}

// String gives the step as one line.
func (s Step) String() string {
	line := s.Act + " " + s.Kind + " " + s.Name
	if len(s.Changed) > 0 {
		line += " (" + strings.Join(s.Changed, ", ") + ")"
	}
	return line
}

// Plan compares an authority file with what is stored. The file says all there
// is in each account that it names; accounts that it doesn't name are left
// alone. Errors name everything in the file that can't be applied.
func (s *Service) Plan(ctx context.Context, a *Authority) (*Plan, error) {
	state, err := s.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	p := &planner{service: s, state: state, plan: &Plan{change: Change{Revision: state.Revision}}}
	for _, account := range a.accounts() {
		if p.partitions()[account] == "" {
			p.bad = append(p.bad, "account "+account+" is not a local account of the configuration")
		}
	}
	p.providers(a)
	p.roles(a)
	p.buckets(a)
	if len(p.bad) > 0 {
		return nil, fault.Coded(fault.Invalid, "authority.invalid", "the authority file can't be applied:\n  "+strings.Join(p.bad, "\n  "))
	}
	return p.plan, nil
}

// Apply carries a plan out. Errors: Conflict, when the state changed since.
func (s *Service) Apply(ctx context.Context, p *Plan) error {
	if p.Empty() {
		return nil
	}
	err := s.Store.Apply(ctx, p.change, func(ctx context.Context) error {
		if s.Trail == nil {
			return nil
		}
		for _, step := range p.Steps {
			e := event.Event{At: s.Now(), Action: "authority." + step.Act, Outcome: event.Done, Target: step.Kind + " " + step.Name}
			if len(step.Changed) > 0 {
				e.Detail = map[string]string{"changed": strings.Join(step.Changed, ", ")}
			}
			if err := s.Trail.Record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.Reload(ctx)
}

type planner struct {
	service *Service
	state   State
	plan    *Plan
	bad     []string
	// ids holds the unique id of each role as it will be, by ARN.
	ids map[string]string
}

func (p *planner) step(act, kind, name string, changed ...string) {
	p.plan.Steps = append(p.plan.Steps, Step{Act: act, Kind: kind, Name: name, Changed: changed})
}

func (p *planner) refuse(kind, name string, err error) {
	p.bad = append(p.bad, fmt.Sprintf("%s %s: %s", kind, name, fault.Of(err).Public))
}

func (p *planner) partitions() map[string]string {
	out := map[string]string{}
	for _, a := range p.service.Accounts {
		out[a.ID] = a.partition()
	}
	return out
}

func (p *planner) providers(a *Authority) {
	partitions := p.partitions()
	stored := map[string]ProviderRecord{}
	for _, r := range p.state.Providers {
		stored[r.Account+"/"+fold(r.Name)] = r
	}
	wanted := map[string]bool{}
	for _, account := range a.accounts() {
		for _, want := range a.Accounts[account].providers(account, p.service.Now()) {
			key, name := account+"/"+fold(want.Name), account+"/"+want.Name
			if wanted[key] {
				p.refuse("saml-provider", name, invalid("it stands twice"))
			}
			wanted[key] = true
			if _, err := compileProvider(want, partitions); err != nil {
				p.refuse("saml-provider", name, err)
			}
			old, exists := stored[key]
			switch {
			case !exists:
				p.step("create", "saml-provider", name)
			case old.Name != want.Name:
				p.step("replace", "saml-provider", name, "name")
			case old.Metadata != want.Metadata:
				want.Created = old.Created
				p.step("update", "saml-provider", name, "metadata")
			default:
				continue
			}
			p.plan.change.PutProviders = append(p.plan.change.PutProviders, want)
		}
	}
	for _, r := range p.state.Providers {
		if a.names(r.Account) && !wanted[r.Account+"/"+fold(r.Name)] {
			p.step("delete", "saml-provider", r.Account+"/"+r.Name)
			p.plan.change.DeleteProviders = append(p.plan.change.DeleteProviders, r)
		}
	}
}

func (p *planner) roles(a *Authority) {
	stored := map[string]RoleRecord{}
	for _, r := range p.state.Roles {
		stored[r.Account+"/"+fold(r.Name)] = r
	}
	wanted := map[string]bool{}
	var records []RoleRecord
	for _, account := range a.accounts() {
		for _, want := range a.Accounts[account].roles(account, p.service.Now()) {
			key := account + "/" + fold(want.Name)
			if wanted[key] {
				p.refuse("role", account+"/"+want.Name, invalid("it stands twice"))
				continue
			}
			wanted[key] = true
			// A role keeps its id as long as its ARN stays the same.
			if old, ok := stored[key]; ok && old.Name == want.Name && old.Path == want.Path {
				want.ID, want.Created = old.ID, old.Created
			} else {
				want.ID = identity.NewRoleID()
			}
			records = append(records, want)
		}
	}
	for _, r := range p.state.Roles {
		if a.names(r.Account) && !wanted[r.Account+"/"+fold(r.Name)] {
			p.step("delete", "role", r.Account+"/"+r.Name)
			p.plan.change.DeleteRoles = append(p.plan.change.DeleteRoles, r.ID)
		}
	}
	p.collectIDs(a, records)
	for _, want := range records {
		old, exists := stored[want.Account+"/"+fold(want.Name)]
		p.role(want, old, exists)
	}
}

// collectIDs knows the unique id of every role as it will be.
func (p *planner) collectIDs(a *Authority, records []RoleRecord) {
	partitions := p.partitions()
	p.ids = map[string]string{}
	add := func(r RoleRecord) {
		p.ids["arn:"+partitions[r.Account]+":iam::"+r.Account+":role"+r.Path+r.Name] = string(r.ID)
	}
	for _, r := range p.state.Roles {
		if !a.names(r.Account) {
			add(r)
		}
	}
	for _, r := range records {
		add(r)
	}
}

func (p *planner) role(want, old RoleRecord, exists bool) {
	name := want.Account + "/" + want.Name
	var err error
	if want.Trust, err = p.pin(policy.Trust, want.Trust); err == nil {
		_, err = compileRole(want, p.partitions())
	}
	if err != nil {
		p.refuse("role", name, err)
		return
	}
	switch changed := roleChanges(old, want); {
	case !exists:
		p.step("create", "role", name)
	case old.ID != want.ID:
		p.step("replace", "role", name, "path or name")
		p.plan.change.DeleteRoles = append(p.plan.change.DeleteRoles, old.ID)
	case len(changed) > 0:
		p.step("update", "role", name, changed...)
	default:
		return
	}
	p.plan.change.PutRoles = append(p.plan.change.PutRoles, want)
}

func roleChanges(old, want RoleRecord) []string {
	var out []string
	for what, same := range map[string]bool{
		"description":              old.Description == want.Description,
		"trust policy":             old.Trust.equal(want.Trust),
		"policies":                 slices.EqualFunc(old.Policies, want.Policies, Policy.equal),
		"permissions boundary":     (old.Boundary == nil) == (want.Boundary == nil) && (old.Boundary == nil || old.Boundary.equal(*want.Boundary)),
		"tags":                     maps.Equal(old.Tags, want.Tags),
		"maximum session duration": old.MaxSession == want.MaxSession,
	} {
		if !same {
			out = append(out, what)
		}
	}
	sort.Strings(out)
	return out
}

func (a Policy) equal(b Policy) bool {
	return a.Name == b.Name && a.Document == b.Document && maps.Equal(a.Pins, b.Pins)
}

// pin finds the unique ids of the roles that a policy names. A role that is
// made again has another id, so applying the file shows up as a change of each
// policy that names it.
func (p *planner) pin(kind policy.Kind, want Policy) (Policy, error) {
	d, err := policy.Parse(kind, want.Name, []byte(want.Document))
	if err != nil {
		return want, err
	}
	want.Pins = nil
	for _, name := range d.RolePrincipals() {
		id := p.ids[name]
		if id == "" {
			return want, fault.Coded(fault.Invalid, "MalformedPolicyDocument", "Invalid principal in policy: there is no "+name)
		}
		if want.Pins == nil {
			want.Pins = map[string]string{}
		}
		want.Pins[name] = id
	}
	return want, nil
}

func (p *planner) buckets(a *Authority) {
	stored := map[string]BucketRecord{}
	for _, r := range p.state.Buckets {
		stored[r.Name] = r
	}
	wanted := map[string]bool{}
	for _, account := range a.accounts() {
		for _, want := range a.Accounts[account].buckets(account) {
			if wanted[want.Name] {
				p.refuse("bucket", want.Name, invalid("it stands twice"))
				continue
			}
			wanted[want.Name] = true
			old, exists := stored[want.Name]
			p.bucket(want, old, exists)
		}
	}
	for _, r := range p.state.Buckets {
		if a.names(r.Account) && !wanted[r.Name] {
			p.step("delete", "bucket", r.Name)
			p.plan.change.DeleteBuckets = append(p.plan.change.DeleteBuckets, r.Name)
		}
	}
}

func (p *planner) bucket(want, old BucketRecord, exists bool) {
	if owner, ok := p.service.BucketAccount(want.Name); !ok || owner != want.Account {
		p.refuse("bucket", want.Name, invalid("no buckets rule of the configuration gives it to account %s", want.Account))
		return
	}
	var err error
	if want.Policy, err = p.pin(policy.Resource, want.Policy); err == nil {
		_, err = compileBucket(want, p.partitions())
	}
	switch {
	case err != nil:
		p.refuse("bucket", want.Name, err)
		return
	case !exists:
		p.step("create", "bucket", want.Name)
	case old.Account == want.Account && old.Policy.equal(want.Policy):
		return
	default:
		p.step("update", "bucket", want.Name, "policy")
	}
	p.plan.change.PutBuckets = append(p.plan.change.PutBuckets, want)
}
