package scim

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
)

const (
	maxFilter  = 4096
	maxNesting = 20
)

// Filter decides about a resource, or about one element of a list.
type Filter interface {
	Match(object map[string]any) bool
}

// ParseFilter reads a filter (RFC 7644, section 3.4.2.2). Errors are faults with
// CodeFilter.
func (t *ResourceType) ParseFilter(text string) (Filter, error) {
	if len(text) > maxFilter || !utf8.ValidString(text) {
		return nil, invalid(CodeFilter, "The filter is longer than %d bytes, or no text", maxFilter)
	}
	p := &parser{t: t, text: text}
	f, err := p.or(0)
	if err == nil && p.space() < len(p.text) {
		err = p.wrong("goes on where it should end")
	}
	if err != nil {
		f := fault.Of(err)
		return nil, invalid(CodeFilter, "%s", f.Public)
	}
	return f, nil
}

// Equality is what a filter comes to that asks for one value of one attribute:
// the common look-up, which a store can answer by an index.
type Equality struct {
	Attribute string // such as userName
	Value     string
}

// AsEquality gives it, where the filter is one.
func AsEquality(f Filter) (Equality, bool) {
	c, ok := f.(comparison)
	if !ok || c.operator != "eq" || c.path.Extension != nil || c.path.Sub != nil {
		return Equality{}, false
	}
	s, ok := c.value.(string)
	return Equality{c.path.Attribute.Name, s}, ok
}

type (
	both    struct{ a, b Filter }
	either  struct{ a, b Filter }
	not     struct{ f Filter }
	present struct{ path Path }
	// within asks whether some element of a list matches a filter of its own.
	within     struct{ path Path }
	comparison struct {
		path     Path
		operator string
		value    any
	}
)

func (f both) Match(o map[string]any) bool    { return f.a.Match(o) && f.b.Match(o) }
func (f either) Match(o map[string]any) bool  { return f.a.Match(o) || f.b.Match(o) }
func (f not) Match(o map[string]any) bool     { return !f.f.Match(o) }
func (f within) Match(o map[string]any) bool  { return len(f.path.get(o)) > 0 }
func (f present) Match(o map[string]any) bool { return len(f.path.get(o)) > 0 }

func (f comparison) Match(o map[string]any) bool {
	values, leaf := f.path.get(o), f.path.leaf()
	if leaf.Type == Complex {
		// A list of complex values compares by its sub-attribute value.
		if sub := find(leaf.SubAttributes, "value"); sub != nil {
			deeper := f.path
			deeper.Sub = sub
			values, leaf = deeper.get(o), sub
		}
	}
	if f.operator == "ne" {
		for _, v := range values {
			if compare("eq", leaf, v, f.value) {
				return false
			}
		}
		return f.value != nil || len(values) > 0
	}
	if f.operator == "eq" && f.value == nil {
		return len(values) == 0
	}
	for _, v := range values {
		if compare(f.operator, leaf, v, f.value) {
			return true
		}
	}
	return false
}

func compare(operator string, a *Attribute, have, want any) bool {
	switch have := have.(type) {
	case bool:
		if s, ok := want.(string); ok && operator == "eq" {
			return strings.EqualFold(s, fmt.Sprint(have))
		}
		return operator == "eq" && have == want
	case int64:
		w, ok := want.(int64)
		return ok && ordered(operator, have, w)
	case string:
		w, ok := want.(string)
		if !ok {
			return false
		}
		if a.Type == DateTime {
			x, err := time.Parse(time.RFC3339, have)
			y, err2 := time.Parse(time.RFC3339, w)
			return err == nil && err2 == nil && ordered(operator, x.UnixNano(), y.UnixNano())
		}
		if !a.CaseExact {
			have, w = strings.ToLower(have), strings.ToLower(w)
		}
		switch operator {
		case "co":
			return strings.Contains(have, w)
		case "sw":
			return strings.HasPrefix(have, w)
		case "ew":
			return strings.HasSuffix(have, w)
		}
		return ordered(operator, have, w)
	}
	return false
}

func ordered[T int64 | string](operator string, a, b T) bool {
	switch operator {
	case "eq":
		return a == b
	case "gt":
		return a > b
	case "ge":
		return a >= b
	case "lt":
		return a < b
	case "le":
		return a <= b
	}
	return false
}

// parser reads filters and paths.
type parser struct {
	t    *ResourceType
	text string
	at   int
	// inside is the list whose elements a filter in brackets is about.
	inside *Attribute
}

func (p *parser) wrong(what string) error {
	return invalid(CodeFilter, "The filter %s, at byte %d", what, p.at)
}

func (p *parser) space() int {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
	return p.at
}

// word takes a keyword that stands alone.
func (p *parser) word(word string) bool {
	p.space()
	rest := p.text[p.at:]
	if len(rest) < len(word) || !strings.EqualFold(rest[:len(word)], word) {
		return false
	}
	if len(rest) > len(word) && nameByte(rest[len(word)]) {
		return false
	}
	p.at += len(word)
	return true
}

func (p *parser) take(c byte) bool {
	if p.space() < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func nameByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("_-$.:", c) >= 0
}

func (p *parser) or(depth int) (Filter, error) {
	if depth > maxNesting {
		return nil, p.wrong("is nested too deeply")
	}
	f, err := p.and(depth)
	for n := 0; err == nil && p.word("or"); n++ {
		var right Filter
		if right, err = p.and(depth); n > 200 {
			return nil, p.wrong("has too many parts")
		}
		f = either{f, right}
	}
	return f, err
}

func (p *parser) and(depth int) (Filter, error) {
	f, err := p.one(depth)
	for n := 0; err == nil && p.word("and"); n++ {
		var right Filter
		if right, err = p.one(depth); n > 200 {
			return nil, p.wrong("has too many parts")
		}
		f = both{f, right}
	}
	return f, err
}

func (p *parser) one(depth int) (Filter, error) {
	start := p.space()
	if p.word("not") {
		if !p.take('(') {
			p.at = start // an attribute may be called so
		} else {
			f, err := p.group(depth)
			return not{f}, err
		}
	}
	if p.take('(') {
		return p.group(depth)
	}
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	if path.Attribute == nil {
		return nil, p.wrong("compares an extension as a whole")
	}
	if path.Elements != nil && path.Sub == nil {
		return within{path}, nil
	}
	if p.word("pr") {
		return present{path}, nil
	}
	for _, operator := range []string{"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"} {
		if p.word(operator) {
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			if b, ok := v.(bool); ok && operator != "eq" && operator != "ne" {
				return nil, p.wrong(fmt.Sprintf("orders by %t", b))
			}
			return comparison{path, operator, v}, nil
		}
	}
	return nil, p.wrong("lacks one of eq, ne, co, sw, ew, gt, ge, lt, le and pr")
}

func (p *parser) group(depth int) (Filter, error) {
	f, err := p.or(depth + 1)
	if err == nil && !p.take(')') {
		err = p.wrong("lacks a closing parenthesis")
	}
	return f, err
}

// path reads an attribute's name, a filter of elements and a part.
func (p *parser) path() (Path, error) {
	start := p.space()
	for p.at < len(p.text) && nameByte(p.text[p.at]) {
		p.at++
	}
	name := p.text[start:p.at]
	if name == "" {
		return Path{}, invalid(CodePath, "An attribute's name is missing at byte %d", start)
	}
	if p.inside != nil {
		sub := find(p.inside.SubAttributes, name)
		if sub == nil {
			return Path{}, invalid(CodePath, "%q is no part of %s", clip(name), p.inside.Name)
		}
		return Path{Attribute: sub}, nil
	}
	path, err := p.t.name(name)
	if err != nil || p.at >= len(p.text) || p.text[p.at] != '[' {
		return path, err
	}
	if path.Attribute == nil || !path.Attribute.MultiValued || path.Attribute.Type != Complex || path.Sub != nil {
		return Path{}, invalid(CodePath, "%q has no elements to pick from", clip(name))
	}
	p.at++
	p.inside = path.Attribute
	path.Elements, err = p.or(0)
	p.inside = nil
	if err != nil {
		return Path{}, err
	}
	if !p.take(']') {
		return Path{}, invalid(CodePath, "A closing bracket is missing at byte %d", p.at)
	}
	if p.at < len(p.text) && p.text[p.at] == '.' {
		start := p.at + 1
		for p.at++; p.at < len(p.text) && nameByte(p.text[p.at]); p.at++ {
		}
		return path, path.sub(p.text[start:p.at])
	}
	return path, nil
}

// value reads a JSON text, number, true, false or null.
func (p *parser) value() (any, error) {
	p.space()
	rest := p.text[p.at:]
	d := json.NewDecoder(strings.NewReader(rest))
	d.UseNumber()
	t, err := d.Token()
	if err != nil {
		return nil, p.wrong("lacks a value in JSON")
	}
	p.at += int(d.InputOffset())
	switch t := t.(type) {
	case string, bool, nil:
		return t, nil
	case json.Number:
		if i, err := t.Int64(); err == nil {
			return i, nil
		}
	}
	return nil, p.wrong("has a value that is no text, whole number, true, false or null")
}
