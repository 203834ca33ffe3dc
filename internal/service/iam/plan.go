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
	"carnet.dev/carnet/internal/protocol/policy"
)

// Plan is what applying an authority file would do.
type Plan struct {
	Steps []Step
	// Warnings says what the policies that change most likely allow without
	// their writer wanting it.
	Warnings []string
	change   Change
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// Step is one line of a plan.
type Step struct {
	Act  string // create, update, replace or delete
	Kind string // a Kind: saml-provider, role, bucket, …
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
	return s.plan(ctx, a, false)
}

// PlanOver is Plan for a file that says only what shall be there too: nothing
// is deleted.
func (s *Service) PlanOver(ctx context.Context, a *Authority) (*Plan, error) {
	return s.plan(ctx, a, true)
}

func (s *Service) plan(ctx context.Context, a *Authority, keep bool) (*Plan, error) {
	if err := s.Reload(ctx); err != nil {
		return nil, err
	}
	before := s.current.Load()
	p := &planner{service: s, Draft: s.draft(before.view), plan: &Plan{}, keep: keep}
	for _, account := range a.accounts() {
		if _, ok := p.Partition(account); !ok {
			p.bad = append(p.bad, "account "+account+" is not a local account of the configuration")
		}
	}
	if len(p.bad) == 0 {
		// Kind by kind over all accounts: later ones name earlier ones.
		for _, bring := range p.sections() {
			for _, account := range a.accounts() {
				bring(account, a.Accounts[account])
			}
		}
		p.pinAll()
		p.steps()
		p.plan.change = p.change()
		if len(p.bad) == 0 {
			p.compiled(before)
		}
	}
	if len(p.bad) > 0 {
		sort.Strings(p.bad)
		return nil, fault.Coded(fault.Invalid, "authority.invalid", "the authority file can't be applied:\n  "+strings.Join(p.bad, "\n  "))
	}
	return p.plan, nil
}

// Apply carries a plan out. Errors: Conflict, when the state changed since.
func (s *Service) Apply(ctx context.Context, p *Plan) error {
	if p.Empty() {
		return nil
	}
	s.edits.Lock()
	defer s.edits.Unlock()
	return s.commit(ctx, p.change, func(ctx context.Context) error {
		for _, step := range p.Steps {
			e := event.Event{At: s.Now(), Action: "authority." + step.Act, Outcome: event.Done, Target: step.Kind + " " + step.Name}
			if len(step.Changed) > 0 {
				e.Detail = map[string]string{"changed": strings.Join(step.Changed, ", ")}
			}
			if err := s.record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// planner makes a Draft say what the file says.
type planner struct {
	*Draft
	service *Service
	plan    *Plan
	keep    bool // delete nothing
	bad     []string
}

func (p *planner) refuse(r Record, err error) {
	kind, name := describe(r)
	p.bad = append(p.bad, fmt.Sprintf("%s %s: %s", kind, name, fault.Of(err).Public))
}

// section brings the records of one kind of one account to what is wanted.
// adopt takes over from the stored record what the file doesn't say.
func section[R any, P interface {
	*R
	Record
}](p *planner, stored, wanted []R, adopt func(want, old P)) {
	old := map[Ref]P{}
	for i := range stored {
		old[P(&stored[i]).Ref()] = &stored[i]
	}
	seen := map[Ref]bool{}
	for i := range wanted {
		want := P(&wanted[i])
		if seen[want.Ref()] {
			p.refuse(want, invalid("it stands twice"))
			continue
		}
		seen[want.Ref()] = true
		if before, ok := old[want.Ref()]; ok {
			adopt(want, before)
		}
		p.Put(want)
	}
	for ref := range old {
		if !seen[ref] && !p.keep {
			p.Delete(ref)
		}
	}
}

// pinAll finds the ids behind the names in the file's trust and bucket
// policies. A role that is made again has another id, so applying the file
// shows up as a change of each policy that names it.
func (p *planner) pinAll() {
	for _, r := range slices.Collect(maps.Values(p.over)) {
		var err error
		switch r := r.(type) {
		case *RoleRecord:
			old, _ := p.was[r.Ref()].(*RoleRecord)
			if old == nil {
				old = &RoleRecord{}
			}
			r.Trust, err = p.repin(policy.Trust, r.Trust, old.Trust)
		case *BucketRecord:
			if owner, ok := p.service.BucketAccount(r.Name); !ok || owner != r.Account {
				err = invalid("no buckets rule of the configuration gives it to account %s", r.Account)
				break
			}
			old, _ := p.was[r.Ref()].(*BucketRecord)
			if old == nil {
				old = &BucketRecord{}
			}
			r.Policy, err = p.repin(policy.Resource, r.Policy, old.Policy)
		case *BucketCORSRecord:
			if owner, ok := p.service.BucketAccount(r.Name); !ok || owner != r.Account {
				err = invalid("no buckets rule of the configuration gives it to account %s", r.Account)
			}
		}
		if err != nil {
			p.refuse(r, err)
		}
	}
}

// repin is pin for a policy that may say what the stored one shows: where its
// principals are gone, an export has their unique ids, and nothing changes.
func (p *planner) repin(kind policy.Kind, want, old Policy) (Policy, error) {
	if shown := p.Shown(old); shown != old.Document && want.Document == shown {
		return old, nil
	}
	return p.pin(kind, want)
}

// steps writes down what the draft changes, and forgets what it doesn't.
func (p *planner) steps() {
	for ref, want := range p.over {
		old := p.was[ref]
		step := Step{Act: "create", Kind: string(ref.Kind)}
		switch {
		case old == nil:
		case want == nil:
			step.Act = "delete"
		default:
			step.Act, step.Changed = "update", differences(old, want)
			if old.UniqueID() != want.UniqueID() {
				step.Act, step.Changed = "replace", []string{"path or name"}
			} else if len(step.Changed) == 0 {
				delete(p.over, ref)
				continue
			}
		}
		if want == nil {
			want = old
		}
		_, step.Name = describe(want)
		if step.Act != "delete" {
			p.plan.Warnings = append(p.plan.Warnings, p.service.warnings(want)...)
		}
		p.plan.Steps = append(p.plan.Steps, step)
	}
	sort.Strings(p.plan.Warnings)
	order := kinds()
	sort.Slice(p.plan.Steps, func(i, j int) bool {
		a, b := p.plan.Steps[i], p.plan.Steps[j]
		if a.Kind != b.Kind {
			return slices.Index(order, Kind(a.Kind)) < slices.Index(order, Kind(b.Kind))
		}
		return a.Name < b.Name
	})
}

// compiled refuses what does not compile of what changes.
func (p *planner) compiled(before *Snapshot) {
	next := p.service.compile(before.view.with(p.plan.change, before.revision+1), before)
	for ref, err := range next.broken {
		if before.broken[ref] == nil {
			p.refuse(next.view.record(ref), err)
		}
	}
}
