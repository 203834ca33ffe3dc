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

// Asks is a set of tags that a policy on S3 asks for and that no request brings
// along: they lie with what is stored.
type Asks uint8

// The tags.
const (
	AsksObjectTags Asks = 1 << iota // s3:ExistingObjectTag/KEY
	AsksBucketTags                  // s3:BucketTag/KEY, aws:ResourceTag/KEY
)

// Asks says which stored tags the document needs to be evaluated.
func (d *Document) Asks() Asks {
	if d == nil {
		return 0
	}
	return d.asks
}

// Asks says which stored tags the set needs to be evaluated.
func (s *Set) Asks() Asks {
	asks := s.Resource.Asks() | s.Boundary.Asks()
	for _, list := range [...][]*Document{s.Identity, s.Session} {
		for _, d := range list {
			asks |= d.Asks()
		}
	}
	for _, level := range s.Guardrails {
		for _, d := range level {
			asks |= d.Asks()
		}
	}
	return asks
}

const existingTag = "s3:existingobjecttag/"

func (d *Document) asksFor() (asks Asks) {
	for _, key := range d.ContextKeysOf("s3") {
		switch {
		case strings.HasPrefix(key, existingTag):
			asks |= AsksObjectTags
		case strings.HasPrefix(key, "s3:buckettag/"), strings.HasPrefix(key, "aws:resourcetag/"):
			asks |= AsksBucketTags
		}
	}
	return asks
}

// AsksInVain gives the label of a statement that asks for tags of stored objects
// and is about none of the given actions, the only ones that come with them; empty
// for none.
func (d *Document) AsksInVain(actions []string) string {
	for i := range d.statements {
		s := &d.statements[i]
		asks := slices.ContainsFunc(d.contextKeys(func(o *statement) bool { return o == s }), func(key string) bool { return strings.HasPrefix(key, existingTag) })
		if asks && !slices.ContainsFunc(actions, s.matchesAction) {
			return s.label
		}
	}
	return ""
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
