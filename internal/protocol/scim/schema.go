package scim

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Type is the type of an attribute (RFC 7643, section 2.3).
type Type string

// The types that the schemas here use.
const (
	String    Type = "string"
	Boolean   Type = "boolean"
	Integer   Type = "integer"
	DateTime  Type = "dateTime"
	Reference Type = "reference"
	Complex   Type = "complex"
)

// Attribute is one attribute of a schema (RFC 7643, section 7). Its JSON is that
// of the Schemas endpoint.
type Attribute struct {
	Name            string      `json:"name"`
	Type            Type        `json:"type"`
	SubAttributes   []Attribute `json:"subAttributes,omitempty"`
	MultiValued     bool        `json:"multiValued"`
	Description     string      `json:"description"`
	Required        bool        `json:"required"`
	CanonicalValues []string    `json:"canonicalValues,omitempty"`
	CaseExact       bool        `json:"caseExact"`
	Mutability      string      `json:"mutability"`
	Returned        string      `json:"returned"`
	Uniqueness      string      `json:"uniqueness"`
	ReferenceTypes  []string    `json:"referenceTypes,omitempty"`
}

// ReadOnly reports whether what a client sends for the attribute is ignored.
func (a *Attribute) ReadOnly() bool { return a.Mutability == "readOnly" }

// Schema is a core schema or an extension.
type Schema struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Attributes  []Attribute `json:"attributes"`
}

// ResourceType is a kind of resource: its own schema and its extensions.
type ResourceType struct {
	Name       string
	Endpoint   string // "/Users"
	Schema     *Schema
	Extensions []*Schema
	common     []Attribute
}

// find gives an attribute by its name, letter case aside.
func find(list []Attribute, name string) *Attribute {
	for i := range list {
		if strings.EqualFold(list[i].Name, name) {
			return &list[i]
		}
	}
	return nil
}

// attribute finds an attribute of the resource itself.
func (t *ResourceType) attribute(name string) *Attribute {
	if a := find(t.Schema.Attributes, name); a != nil {
		return a
	}
	return find(t.common, name)
}

// extension finds an extension by its URN, letter case aside.
func (t *ResourceType) extension(urn string) *Schema {
	for _, s := range t.Extensions {
		if strings.EqualFold(s.ID, urn) {
			return s
		}
	}
	return nil
}

// Read reads a resource from JSON as a client sends it: read-only attributes
// and those that no schema knows are left out. Errors are faults with a code of
// this package.
func (t *ResourceType) Read(text []byte) (Resource, error) {
	v, err := decode(text)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, invalid(CodeSyntax, "The document is not an object")
	}
	return t.resource(object)
}

// resource holds an object to the schemas.
func (t *ResourceType) resource(object map[string]any) (Resource, error) {
	out := Resource{}
	for name, v := range object {
		if s := t.extension(name); s != nil {
			inner, ok := v.(map[string]any)
			if v == nil {
				continue
			}
			if !ok {
				return nil, invalid(CodeValue, "%s wants an object", s.ID)
			}
			read, err := complexValue(s.Attributes, inner, s.ID)
			if err != nil {
				return nil, err
			}
			if len(read) > 0 {
				out[s.ID] = read
			}
			continue
		}
		a := t.attribute(name)
		if a == nil || a.ReadOnly() {
			continue
		}
		read, err := a.value(v, a.Name)
		if err != nil {
			return nil, err
		}
		if read != nil {
			out[a.Name] = read
		}
	}
	return out, nil
}

func complexValue(list []Attribute, object map[string]any, at string) (map[string]any, error) {
	out := map[string]any{}
	for name, v := range object {
		a := find(list, name)
		if a == nil || a.ReadOnly() {
			continue
		}
		read, err := a.value(v, at+"."+a.Name)
		if err != nil {
			return nil, err
		}
		if read != nil {
			out[a.Name] = read
		}
	}
	return out, nil
}

// value reads a value of the attribute; nil for one that means absence: null,
// and an empty list (RFC 7643, section 2.5).
func (a *Attribute) value(v any, at string) (any, error) {
	if v == nil {
		return nil, nil
	}
	if !a.MultiValued {
		if list, ok := v.([]any); ok {
			if len(list) != 1 { // some clients wrap a single value
				return nil, invalid(CodeValue, "%s wants one value", at)
			}
			v = list[0]
		}
		return a.single(v, at)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []any
	for _, e := range list {
		if e == nil {
			continue
		}
		one, err := a.single(e, at)
		if err != nil {
			return nil, err
		}
		if one != nil && !contains(out, one) {
			out = append(out, one)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, onePrimary(out, at)
}

// onePrimary holds that at most one element is the primary one (RFC 7643, 2.4).
func onePrimary(list []any, at string) error {
	n := 0
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["primary"] == true {
			n++
		}
	}
	if n > 1 {
		return invalid(CodeValue, "%s has more than one primary value", at)
	}
	return nil
}

func (a *Attribute) single(v any, at string) (any, error) {
	switch a.Type {
	case Complex:
		switch v := v.(type) {
		case map[string]any:
			m, err := complexValue(a.SubAttributes, v, at)
			if err != nil || len(m) == 0 {
				return nil, err
			}
			return m, nil
		case string:
			// A manager or a member given by its bare id.
			if sub := find(a.SubAttributes, "value"); sub != nil {
				if v == "" {
					return nil, nil
				}
				return map[string]any{sub.Name: v}, nil
			}
		}
		return nil, invalid(CodeValue, "%s wants an object", at)
	case Boolean:
		switch v := v.(type) {
		case bool:
			return v, nil
		case string:
			// "False" and "True" are what one large client sends.
			if b, err := strconv.ParseBool(strings.ToLower(v)); err == nil && len(v) > 1 {
				return b, nil
			}
		}
		return nil, invalid(CodeValue, "%s wants true or false", at)
	case Integer:
		if n, ok := v.(json.Number); ok {
			if i, err := n.Int64(); err == nil {
				return i, nil
			}
		}
		return nil, invalid(CodeValue, "%s wants a whole number", at)
	}
	s, ok := v.(string)
	if !ok {
		if n, number := v.(json.Number); number {
			s, ok = n.String(), true
		}
	}
	if !ok {
		return nil, invalid(CodeValue, "%s wants a text", at)
	}
	if strings.ContainsRune(s, 0) {
		return nil, invalid(CodeValue, "%s holds a NUL", at)
	}
	if s == "" && !a.Required {
		return nil, nil // an empty text clears, as null does
	}
	return s, nil
}

// contains reports whether a list has an equal value.
func contains(list []any, v any) bool {
	for _, e := range list {
		if equal(e, v) {
			return true
		}
	}
	return false
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, ok := b[k]
			if !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	return a == b
}
