package policy

import (
	"maps"
	"slices"
)

// ContextKeys lists, in lower case and each once, the condition keys and
// variables that the document asks for. Whoever stores a policy compares them
// with what the enforcement point supplies: a key that is never supplied would
// make a Deny do nothing.
func (d *Document) ContextKeys() []string {
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
