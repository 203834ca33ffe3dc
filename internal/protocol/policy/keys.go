package policy

import (
	"maps"
	"slices"
	"strings"
)

// ContextKeys lists, in lower case and each once, the condition keys and
// variables that the document asks for. Whoever stores a policy compares them
// with what the enforcement point supplies: a key that is never supplied would
// make a Deny do nothing.
func (d *Document) ContextKeys() []string {
	return d.contextKeys(func(*statement) bool { return true })
}

// ContextKeysOf is ContextKeys for the statements that may be about an action
// of one service, such as s3.
func (d *Document) ContextKeysOf(service string) []string {
	return d.contextKeys(func(s *statement) bool { return s.mayConcern(service) })
}

// mayConcern reports whether an action of the service can match. A NotAction
// that leaves a service out by name is not looked at: it counts as yes.
func (s *statement) mayConcern(service string) bool {
	if s.notAction {
		return true
	}
	for _, a := range s.actions {
		head := ""
		if len(a) > 0 && a[0].kind == literal {
			head = strings.ToLower(a[0].text)
		}
		named, _, whole := strings.Cut(head, ":")
		if whole && named == service || !whole && strings.HasPrefix(service+":", head) {
			return true
		}
	}
	return false
}

func (d *Document) contextKeys(of func(*statement) bool) []string {
	seen := map[string]bool{}
	take := func(patterns ...pattern) {
		for _, p := range patterns {
			for _, t := range p {
				if t.kind == variable {
					seen[t.text] = true
				}
			}
		}
	}
	for i := range d.statements {
		s := &d.statements[i]
		if !of(s) {
			continue
		}
		for _, r := range s.resources {
			take(r.last)
			take(r.fields[:]...)
		}
		for _, c := range s.conditions {
			seen[c.key] = true
			take(c.patterns...)
			for _, a := range c.arns {
				take(a.whole)
				take(a.fields[:]...)
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
