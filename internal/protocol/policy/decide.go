package policy

import "bytes"

// Request is one question.
type Request struct {
	Principal Principal
	Action    string // service:Name, letter case aside
	// Resource is the ARN asked for; empty for a role trust policy. Wildcards
	// in it are ordinary characters. A lone "*" stands for an action that has
	// no resource: no ARN in a policy covers it, a lone "*" does.
	Resource string
	// ResourceAccount owns the resource, 12 digits. Empty is another account
	// than any.
	ResourceAccount string
	Context         Context
}

// Set is every policy that bears on a decision.
type Set struct {
	// Guardrails is a list of levels; each level must allow, its documents
	// united.
	Guardrails [][]*Document
	Identity   []*Document // united
	Resource   *Document   // nil for none
	Boundary   *Document   // nil for none
	Session    []*Document // united; empty for none
}

// Source says which policy of a Set decided.
type Source uint8

// The sources, in the order in which Decide asks them.
const (
	ByGuardrail Source = iota
	ByResource
	ByIdentity
	ByBoundary
	BySession
)

// Verdict is the answer of Decide. The zero value denies.
type Verdict struct {
	Allow    bool
	Explicit bool   // an explicit deny matched
	By       Source // the source that denied, or that granted
	// Document and Statement are what matched: nil where nothing did.
	Document  *Document
	Statement int
}

// index finds the statements that a request may concern without looking at the
// others: by bucket where each resource names one, else by action.
type index struct {
	byKey    map[string][]int32
	byAction map[string][]int32 // an action in lower case, or a service with its colon
	rest     []int32
}

// longestAction is the longest action that has an index entry of its own.
const longestAction = 64

// walk yields the statements that may match, in their order, each once.
type walk [4][]int32

func (x *index) walk(action string, t *target) walk {
	w := walk{x.rest}
	if x.byKey != nil {
		w[1] = x.byKey[t.indexKey()]
	}
	if x.byAction != nil {
		var buf [longestAction]byte
		n := copy(buf[:], action)
		for i, c := range buf[:n] {
			if c >= 'A' && c <= 'Z' {
				buf[i] += 'a' - 'A'
			}
		}
		if n == len(action) {
			w[2] = x.byAction[string(buf[:n])]
		}
		w[3] = x.byAction[string(buf[:bytes.IndexByte(buf[:n], ':')+1])]
	}
	return w
}

func (w *walk) next() (int, bool) {
	first := int32(-1)
	for _, list := range w {
		if len(list) > 0 && (first < 0 || list[0] < first) {
			first = list[0]
		}
	}
	for i, list := range w {
		if len(list) > 0 && list[0] == first {
			w[i] = list[1:]
		}
	}
	return int(first), first >= 0
}

// outcome is what one document says.
type outcome struct {
	deny      bool
	grant     grant // notNamed: no allow
	statement int
}

// eval gives the first deny, or else the strongest allow.
func (d *Document) eval(r *Request, t *target) outcome {
	for w := d.denies.walk(r.Action, t); ; {
		i, ok := w.next()
		if !ok {
			break
		}
		if d.statements[i].applies(r, t) != notNamed {
			return outcome{deny: true, statement: i}
		}
	}
	var best outcome
	strongest := asPrincipal
	if d.kind == Resource || d.kind == Trust {
		strongest = asSession
	}
	for w := d.allows.walk(r.Action, t); best.grant < strongest; {
		i, ok := w.next()
		if !ok {
			break
		}
		if g := d.statements[i].applies(r, t); g > best.grant {
			best = outcome{grant: g, statement: i}
		}
	}
	return best
}

// applies reports whether the statement concerns the request, and for a
// statement with principals how directly.
func (s *statement) applies(r *Request, t *target) grant {
	if !s.matchesAction(r.Action) || !s.matchesResource(t, &r.Context) {
		return notNamed
	}
	named := s.names(r, t)
	if named == notNamed {
		return notNamed
	}
	conditions := yes
	for i := range s.conditions {
		switch s.conditions[i].eval(&r.Context) {
		case no:
			return notNamed
		case broken:
			conditions = broken
		}
	}
	if conditions == broken && !s.deny {
		return notNamed
	}
	return named
}

// names says how directly the statement names the caller. NotPrincipal denies
// every caller that has a permissions boundary, whoever it lists (IAM User
// Guide, "Permissions boundaries for IAM entities").
func (s *statement) names(r *Request, t *target) grant {
	if s.principals == nil || s.principals.not && t.bounded {
		return asPrincipal
	}
	return s.principals.match(&r.Principal)
}

func (s *statement) matchesAction(action string) bool {
	for _, p := range s.actions {
		if p.matchAction(action) {
			return !s.notAction
		}
	}
	return s.notAction
}

// matchesResource follows the IAM User Guide, "Policy variables with no value":
// a resource with an unresolved variable matches nothing, under NotResource too.
func (s *statement) matchesResource(t *target, c *Context) bool {
	if s.noResource {
		return true
	}
	for i := range s.resources {
		if s.resources[i].match(t, c) {
			return !s.notResource
		}
	}
	return s.notResource
}

// Decide answers r. It allocates nothing.
func (s *Set) Decide(r *Request) Verdict {
	t, ok := newTarget(r.Resource)
	if !ok || r.Action == "" {
		return Verdict{By: ByIdentity}
	}
	t.bounded = s.Boundary != nil
	for _, level := range s.Guardrails {
		if o, d := evalAll(level, r, &t); o.deny {
			return denied(ByGuardrail, d, o)
		}
	}
	var resource outcome
	if s.Resource != nil {
		if resource = s.Resource.eval(r, &t); resource.deny {
			return denied(ByResource, s.Resource, resource)
		}
	}
	identity, granting := evalAll(s.Identity, r, &t)
	if identity.deny {
		return denied(ByIdentity, granting, identity)
	}
	boundary := outcome{grant: asPrincipal}
	if s.Boundary != nil {
		if boundary = s.Boundary.eval(r, &t); boundary.deny {
			return denied(ByBoundary, s.Boundary, boundary)
		}
	}
	session := outcome{grant: asPrincipal}
	if len(s.Session) > 0 {
		var d *Document
		if session, d = evalAll(s.Session, r, &t); session.deny {
			return denied(BySession, d, session)
		}
	}
	for _, level := range s.Guardrails {
		if o, _ := evalAll(level, r, &t); o.grant == notNamed {
			return Verdict{By: ByGuardrail}
		}
	}
	return s.combine(r, resource, identity, granting, boundary.grant, session.grant)
}

// combine is the order of the IAM User Guide, "Policy evaluation logic", after
// every explicit deny and guardrail was asked.
func (s *Set) combine(r *Request, resource, identity outcome, granting *Document, boundary, session grant) Verdict {
	same := r.ResourceAccount != "" && r.ResourceAccount == r.Principal.Account
	byResource := Verdict{Allow: true, By: ByResource, Document: s.Resource, Statement: resource.statement}
	if same && resource.grant == asSession {
		// A grant to the session itself is not limited by what merely does
		// not allow: boundary and session policy.
		return byResource
	}
	verdict := Verdict{Allow: true, By: ByIdentity, Document: granting, Statement: identity.statement}
	switch {
	case resource.grant == notNamed && (!same || s.Resource != nil && s.Resource.kind == Trust):
		return Verdict{By: ByResource} // a role is assumed by nobody whom it does not trust
	case identity.grant == notNamed && (!same || resource.grant < asPrincipal):
		return Verdict{By: ByIdentity}
	case identity.grant == notNamed:
		verdict = byResource
	}
	if boundary == notNamed {
		return Verdict{By: ByBoundary}
	}
	if session == notNamed {
		return Verdict{By: BySession}
	}
	return verdict
}

func denied(by Source, d *Document, o outcome) Verdict {
	return Verdict{Explicit: true, By: by, Document: d, Statement: o.statement}
}

// evalAll unites documents: the first deny, else the first allow.
func evalAll(documents []*Document, r *Request, t *target) (outcome, *Document) {
	var best outcome
	var from *Document
	for _, d := range documents {
		o := d.eval(r, t)
		if o.deny {
			return o, d
		}
		if o.grant > best.grant {
			best, from = o, d
		}
	}
	return best, from
}

// Trusts answers a role trust policy alone: may this principal call this sts:
// action on the role? Nothing else can allow it.
func (d *Document) Trusts(r *Request) Verdict {
	if d.kind != Trust {
		return Verdict{By: ByResource}
	}
	o := d.eval(r, &target{})
	switch {
	case o.deny:
		return denied(ByResource, d, o)
	case o.grant == notNamed:
		return Verdict{By: ByResource}
	}
	return Verdict{Allow: true, By: ByResource, Document: d, Statement: o.statement}
}
