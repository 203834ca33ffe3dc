package scim

import (
	"strings"
)

// Path names an attribute of a resource, or of some elements of a multi-valued
// one: emails[type eq "work"].value (RFC 7644, section 3.5.2).
type Path struct {
	// Extension is the schema whose attribute it is; nil for the resource's own.
	Extension *Schema
	// Attribute is nil where the path is an extension as a whole.
	Attribute *Attribute
	// Elements picks elements of a multi-valued attribute; nil for all.
	Elements Filter
	Sub      *Attribute
}

// ParsePath reads a path of a PATCH operation, a sort or an attribute list.
func (t *ResourceType) ParsePath(text string) (Path, error) {
	p := &parser{t: t, text: text}
	if len(text) > maxFilter {
		return Path{}, invalid(CodePath, "The path is longer than %d bytes", maxFilter)
	}
	path, err := p.path()
	if err == nil && p.at != len(p.text) {
		err = invalid(CodePath, "The path %q goes on where it should end", clip(text))
	}
	return path, err
}

// name splits a dotted name, with or without the URN of a schema before it.
func (t *ResourceType) name(text string) (Path, error) {
	var p Path
	list := t.Schema.Attributes
	if len(text) > 4 && strings.EqualFold(text[:4], "urn:") {
		rest, schema := t.cutURN(text)
		switch {
		case schema == nil:
			return p, invalid(CodePath, "%q is of no schema of a %s", clip(text), t.Name)
		case schema != t.Schema:
			p.Extension, list = schema, schema.Attributes
		}
		if text = rest; text == "" {
			if p.Extension == nil {
				return p, invalid(CodePath, "%s names no attribute", schema.ID)
			}
			return p, nil
		}
	}
	name, sub, dotted := strings.Cut(text, ".")
	if p.Attribute = find(list, name); p.Attribute == nil && p.Extension == nil {
		p.Attribute = find(t.common, name)
	}
	if p.Attribute == nil {
		return p, invalid(CodePath, "%q is no attribute of a %s", clip(text), t.Name)
	}
	if dotted {
		return p, p.sub(sub)
	}
	return p, nil
}

func (p *Path) sub(name string) error {
	if p.Sub = find(p.Attribute.SubAttributes, name); p.Sub == nil {
		return invalid(CodePath, "%q is no part of %s", clip(name), p.Attribute.Name)
	}
	return nil
}

// cutURN finds the schema whose URN stands before an attribute's name. URNs have
// dots and colons themselves, so the known ones are tried.
func (t *ResourceType) cutURN(text string) (rest string, s *Schema) {
	for _, s := range append([]*Schema{t.Schema}, t.Extensions...) {
		if len(text) < len(s.ID) || !strings.EqualFold(text[:len(s.ID)], s.ID) {
			continue
		}
		if rest := text[len(s.ID):]; rest == "" || len(rest) > 1 && (rest[0] == ':' || rest[0] == '.') {
			return strings.TrimLeft(rest, ":."), s
		}
	}
	return "", nil
}

// key is where the attribute stands in a resource.
func (p Path) key() string {
	if p.Attribute == nil {
		return p.Extension.ID
	}
	return p.Attribute.Name
}

// holder gives the object that holds the attribute: the resource, or its
// extension, made where missing if make is set; nil for none.
func (p Path) holder(r Resource, make bool) map[string]any {
	if p.Extension == nil || p.Attribute == nil {
		return r
	}
	inner, _ := r[p.Extension.ID].(map[string]any)
	if inner == nil && make {
		inner = map[string]any{}
		r[p.Extension.ID] = inner
	}
	return inner
}

// get gives the values at the path.
func (p Path) get(r Resource) []any {
	at := p.holder(r, false)
	v, ok := at[p.key()]
	if !ok {
		return nil
	}
	list, many := v.([]any)
	if !many {
		list = []any{v}
	}
	var out []any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			if p.Elements != nil && !p.Elements.Match(m) {
				continue
			}
			if p.Sub != nil {
				if e, ok = m[p.Sub.Name]; !ok {
					continue
				}
			}
		} else if p.Sub != nil || p.Elements != nil {
			continue
		}
		out = append(out, e)
	}
	return out
}

// leaf is the attribute whose values get gives.
func (p Path) leaf() *Attribute {
	if p.Sub != nil {
		return p.Sub
	}
	return p.Attribute
}
