package policy

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/arn"
)

// Position is a place in the text of a policy, both counted from 1; columns
// in characters.
type Position struct{ Line, Column int }

func position(src []byte, offset int) Position {
	before := src[:min(offset, len(src))]
	return Position{
		Line:   1 + bytes.Count(before, []byte("\n")),
		Column: 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]),
	}
}

// EvalDecision is the answer of a simulation, as the IAM API writes it.
type EvalDecision string

// The answers.
const (
	Allowed      EvalDecision = "allowed"
	ExplicitDeny EvalDecision = "explicitDeny"
	ImplicitDeny EvalDecision = "implicitDeny"
)

// The types of a source policy, as AWS answers them, and the keys of the
// details of a cross-account decision.
const (
	IAMPolicy      = "IAM Policy"
	ResourcePolicy = "Resource Policy"
	BoundaryPolicy = "IAM Permissions Boundary Policy"
	SessionPolicy  = "Session Policy"
)

// Simulation is one call of SimulateCustomPolicy or SimulatePrincipalPolicy.
type Simulation struct {
	// Set has the policies, each parsed apart: the name of a document is its
	// SourcePolicyId. AWS uses PolicyInputList.1 and on for policies of the
	// call, ResourcePolicy, the name of a managed policy, and user_USER_POLICY,
	// group_GROUP_POLICY or role_ROLE_POLICY for an inline one.
	Set Set
	// Principal is the caller; Account is needed.
	Principal Principal
	// ResourceAccount owns the resources whose ARN names no account; empty is
	// the caller's. Without a resource policy the caller's account is taken for
	// all, as AWS does: only what was given is simulated.
	ResourceAccount string
	Actions         []string
	Resources       []string // none is "*"
	Context         Context
}

// Simulated is one EvaluationResult.
type Simulated struct {
	Action, Resource string
	Decision         EvalDecision
	// Matched are the statements that determine the decision: the denies where
	// one denies, else the allows, where they sufficed. Statements of
	// guardrails are not shown: the account does not own them.
	Matched []MatchedStatement
	// Missing are the context keys that a statement for this action and
	// resource asks for and the context lacks, as the policies write them.
	Missing []string
	// Details says for a cross-account request what each side decided, by
	// IAMPolicy and ResourcePolicy. It is nil where AWS leaves it out and empty
	// in the same account.
	Details map[string]EvalDecision
	// AllowedByOrganizations is nil without guardrails.
	AllowedByOrganizations *bool
	// AllowedByBoundary is nil without a boundary.
	AllowedByBoundary *bool
}

// MatchedStatement cites a statement by its place in its policy.
type MatchedStatement struct {
	SourcePolicyID   string
	SourcePolicyType string
	// Start is the statement's first character; in a list of statements the
	// one after the bracket or comma before it, as AWS counts. End is the one
	// after its last.
	Start, End Position
}

// Simulate decides every action on every resource, in this order, as Decide
// would.
func Simulate(in Simulation) []Simulated {
	resources := in.Resources
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	var out []Simulated
	for _, action := range in.Actions {
		for _, resource := range resources {
			r := Request{
				Principal: in.Principal, Action: action, Resource: resource,
				ResourceAccount: in.owner(resource), Context: in.Context,
			}
			out = append(out, in.Set.simulate(&r))
		}
	}
	return out
}

// owner gives the account that owns a resource: the one in its ARN, if any.
func (in *Simulation) owner(resource string) string {
	if in.Set.Resource == nil {
		return in.Principal.Account
	}
	if fields, _, ok := splitARN(resource); ok && arn.IsAccount(fields[4]) {
		return fields[4]
	}
	if in.ResourceAccount == "" {
		return in.Principal.Account
	}
	return in.ResourceAccount
}

func (s *Set) simulate(r *Request) Simulated {
	out := Simulated{Action: r.Action, Resource: r.Resource, Decision: ImplicitDeny}
	t, ok := newTarget(r.Resource)
	if !ok || r.Action == "" {
		return out
	}
	t.bounded = s.Boundary != nil
	v := s.Decide(r)
	out.Decision = v.decision()
	guarded := s.limits(&out, r, &t)
	for _, p := range s.sources() {
		for i := range p.document.statements {
			st := &p.document.statements[i]
			out.Missing = append(out.Missing, st.missing(r, &t)...)
			determines := v.Explicit && st.deny || v.Allow && p.grants && !st.deny
			if determines && st.applies(r, &t) != notNamed {
				at := p.document.places[i]
				out.Matched = append(out.Matched, MatchedStatement{p.document.name, p.kind, at[0], at[1]})
			}
		}
	}
	if v.Explicit && v.By == ByGuardrail {
		out.Matched = nil
	}
	slices.Sort(out.Missing)
	out.Missing = slices.Compact(out.Missing)
	if guarded && r.Resource != "*" {
		out.Details = s.details(r, &t)
	}
	return out
}

func (v Verdict) decision() EvalDecision {
	switch {
	case v.Allow:
		return Allowed
	case v.Explicit:
		return ExplicitDeny
	}
	return ImplicitDeny
}

// limits says what guardrails and boundary allow, and whether the former let
// the request pass.
func (s *Set) limits(out *Simulated, r *Request, t *target) (guarded bool) {
	guarded = true
	for _, level := range s.Guardrails {
		o, _ := evalAll(level, r, t)
		guarded = guarded && o.decision() == Allowed
	}
	if len(s.Guardrails) > 0 {
		out.AllowedByOrganizations = &guarded
	}
	if s.Boundary != nil {
		o := s.Boundary.eval(r, t)
		allowed := o.decision() == Allowed
		out.AllowedByBoundary = &allowed
	}
	return guarded
}

func (o outcome) decision() EvalDecision {
	return Verdict{Allow: !o.deny && o.grant != notNamed, Explicit: o.deny}.decision()
}

// details is empty in the same account.
func (s *Set) details(r *Request, t *target) map[string]EvalDecision {
	out := map[string]EvalDecision{}
	if r.ResourceAccount == r.Principal.Account {
		return out
	}
	caller := *s
	caller.Guardrails, caller.Resource = nil, nil
	own := *r
	own.ResourceAccount = r.Principal.Account
	out[IAMPolicy] = caller.Decide(&own).decision()
	out[ResourcePolicy] = ImplicitDeny
	if s.Resource != nil {
		out[ResourcePolicy] = s.Resource.eval(r, t).decision()
	}
	return out
}

type sourcePolicy struct {
	document *Document
	kind     string
	grants   bool
}

// sources lists the policies whose statements a simulation shows.
func (s *Set) sources() []sourcePolicy {
	var out []sourcePolicy
	if s.Resource != nil {
		out = append(out, sourcePolicy{s.Resource, ResourcePolicy, true})
	}
	for _, d := range s.Identity {
		out = append(out, sourcePolicy{d, IAMPolicy, true})
	}
	if s.Boundary != nil {
		out = append(out, sourcePolicy{s.Boundary, BoundaryPolicy, false})
	}
	for _, d := range s.Session {
		out = append(out, sourcePolicy{d, SessionPolicy, false})
	}
	return out
}

// missing gives the keys that the statement asks for and the request lacks;
// none where action, principal or resource rule it out whatever they were.
func (s *statement) missing(r *Request, t *target) []string {
	if !s.matchesAction(r.Action) || s.names(r, t) == notNamed {
		return nil
	}
	var out []string
	take := func(patterns ...pattern) {
		for _, p := range patterns {
			for i := range p {
				if p[i].kind == variable && !p[i].hasFallback && len(r.Context.lookup(p[i].text)) == 0 {
					out = append(out, p[i].written)
				}
			}
		}
	}
	for i := range s.resources {
		take(s.resources[i].last)
	}
	if len(out) == 0 && !s.matchesResource(t, &r.Context) {
		return nil
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if len(r.Context.lookup(c.key)) == 0 {
			out = append(out, c.asks)
		}
		take(c.patterns...)
		for j := range c.arns {
			take(c.arns[j].whole)
			take(c.arns[j].fields[:]...)
		}
	}
	return out
}
