package policy

import (
	"errors"
	"strings"
)

// resourcePattern is one Resource value: "*", or an ARN whose first five
// fields match field by field and whose last may span anything.
type resourcePattern struct {
	any bool
	// literalHead is the first five fields with their colons, where none has
	// a wildcard; else it is empty and fields are matched one by one.
	literalHead string
	fields      [5]pattern
	last        pattern
}

var errNotARN = errors.New(`want "*" or arn:partition:service:region:account:resource`)

// splitARN cuts at the first five colons.
func splitARN(s string) (fields [5]string, last string, ok bool) {
	for i := range fields {
		j := strings.IndexByte(s, ':')
		if j < 0 {
			return fields, "", false
		}
		fields[i], s = s[:j], s[j+1:]
	}
	return fields, s, true
}

// target is the resource of a request, cut once.
type target struct {
	text   string
	head   string // the first five fields with their colons
	fields [5]string
	last   string
	// bounded says that the caller has a permissions boundary.
	bounded bool
}

func newTarget(resource string) (target, bool) {
	if resource == "*" {
		return target{text: resource}, true // fits no ARN
	}
	fields, last, ok := splitARN(resource)
	if !ok || fields[0] != "arn" || last == "" {
		return target{}, false
	}
	return target{
		text: resource, head: resource[:len(resource)-len(last)], fields: fields, last: last,
	}, true
}

// indexKey is the part of the resource under which statements are found: up
// to the first slash, so a bucket with all its keys.
func (t *target) indexKey() string {
	if i := strings.IndexByte(t.last, '/'); i >= 0 {
		return t.text[:len(t.head)+i]
	}
	return t.text
}

func (r *resourcePattern) match(t *target, c *Context) bool {
	if r.any {
		return true
	}
	if r.literalHead != "" {
		return r.literalHead == t.head && r.last.match(t.last, c)
	}
	for i := range r.fields {
		if !r.fields[i].match(t.fields[i], c) {
			return false
		}
	}
	return r.last.match(t.last, c)
}

// arnPattern is a value of the Arn operators: six fields, each with wildcards.
// A lone "*" and a lone variable stand for a whole ARN.
type arnPattern struct {
	whole  pattern // "*" or one variable
	fields [6]pattern
}

// match compares with an ARN that splitARN has cut.
func (a *arnPattern) match(s string, fields *[5]string, last string, c *Context) bool {
	if a.whole != nil {
		return a.whole.match(s, c)
	}
	for i := range fields {
		if !a.fields[i].match(fields[i], c) {
			return false
		}
	}
	return a.fields[5].match(last, c)
}
