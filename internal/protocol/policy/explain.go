package policy

import "fmt"

// Explanation is the whole answer: the verdict, a plain sentence, and what
// every statement of every policy said.
type Explanation struct {
	Verdict
	// Reason is one plain sentence in AWS's words, to follow "… is not
	// authorized to perform: … "; empty when allowed.
	Reason string
	// Determining names the statements that decided, as policy#Sid.
	Determining []string
	Findings    []Finding
}

// Finding is what one statement said of the request.
type Finding struct {
	By        Source
	Statement string // policy#Sid or policy#number
	Deny      bool
	Applies   bool
	// Unmet says, for a statement that does not apply, each element that kept
	// it from applying.
	Unmet []string
}

// Explain answers as Decide does, and shows why.
func (s *Set) Explain(r *Request) Explanation {
	e := Explanation{Verdict: s.Decide(r)}
	t, ok := newTarget(r.Resource)
	if !ok || r.Action == "" {
		e.Reason = "because the request names no action on a resource"
		return e
	}
	t.bounded = s.Boundary != nil
	for _, level := range s.Guardrails {
		e.add(ByGuardrail, level, r, &t)
	}
	if s.Resource != nil {
		e.add(ByResource, []*Document{s.Resource}, r, &t)
	}
	e.add(ByIdentity, s.Identity, r, &t)
	if s.Boundary != nil {
		e.add(ByBoundary, []*Document{s.Boundary}, r, &t)
	}
	e.add(BySession, s.Session, r, &t)
	e.Reason = e.Verdict.Reason(r.Action)
	e.determine()
	return e
}

// ExplainTrust answers as Trusts does, and shows why.
func (d *Document) ExplainTrust(r *Request) Explanation {
	e := Explanation{Verdict: d.Trusts(r)}
	e.add(ByResource, []*Document{d}, r, &target{})
	e.Reason = e.Verdict.Reason(r.Action)
	e.determine()
	return e
}

// Reason is the plain sentence of a denial; empty for an allow.
func (v Verdict) Reason(action string) string {
	article := "a "
	if v.By == ByIdentity {
		article = "an "
	}
	switch {
	case v.Allow:
		return ""
	case v.Explicit:
		return "with an explicit deny in " + article + v.By.String()
	}
	return fmt.Sprintf("because no %s allows the %s action", v.By, clip(action))
}

// String names the source as AWS's error texts do.
func (s Source) String() string {
	return [...]string{
		"service control policy", "resource-based policy", "identity-based policy",
		"permissions boundary", "session policy",
	}[s]
}

// Cites names the statement that decided, as policy#Sid; empty for none.
func (v Verdict) Cites() string {
	if v.Document == nil {
		return ""
	}
	return v.Document.statements[v.Statement].label
}

// determine collects the statements that a change would have to touch: every
// deny that applies, or else every allow that applies.
func (e *Explanation) determine() {
	for _, f := range e.Findings {
		if f.Applies && f.Deny == e.Explicit && (e.Explicit || e.Allow) {
			e.Determining = append(e.Determining, f.Statement)
		}
	}
}

func (e *Explanation) add(by Source, documents []*Document, r *Request, t *target) {
	for _, d := range documents {
		for i := range d.statements {
			s := &d.statements[i]
			f := Finding{By: by, Statement: s.label, Deny: s.deny, Unmet: s.unmet(r, t)}
			f.Applies = len(f.Unmet) == 0
			e.Findings = append(e.Findings, f)
		}
	}
}

// unmet lists why a statement does not apply; empty when it does. It asks
// every element, where applies stops at the first.
func (s *statement) unmet(r *Request, t *target) []string {
	var out []string
	if !s.matchesAction(r.Action) {
		out = append(out, "Action does not cover "+clip(r.Action))
	}
	if !s.matchesResource(t, &r.Context) {
		out = append(out, "Resource does not cover "+clip(r.Resource))
	}
	if s.names(r, t) == notNamed {
		out = append(out, "Principal does not name the caller")
	}
	var unparsed []string
	failed := false
	for i := range s.conditions {
		c := &s.conditions[i]
		switch c.eval(&r.Context) {
		case no:
			failed = true
			out = append(out, "Condition "+c.written+" "+c.asks+" is not met: "+c.shown(&r.Context))
		case broken:
			unparsed = append(unparsed, "Condition "+c.written+" "+c.asks+" can't be evaluated: "+c.shown(&r.Context))
		}
	}
	if failed || !s.deny {
		out = append(out, unparsed...)
	}
	return out
}

func (c *condition) shown(ctx *Context) string {
	values := ctx.lookup(c.key)
	if len(values) == 0 {
		return "the request has no such key"
	}
	return fmt.Sprintf("the request has %s", clip(fmt.Sprintf("%q", values)))
}
