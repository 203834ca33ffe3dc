package scim

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// Write gives a resource as JSON, with the schemas that it uses.
func (t *ResourceType) Write(r Resource) ([]byte, error) { return json.Marshal(t.Document(r)) }

// Document is a resource with the schemas that it uses.
func (t *ResourceType) Document(r Resource) map[string]any {
	out := make(map[string]any, len(r)+1)
	schemas := []string{t.Schema.ID}
	for name, v := range r {
		out[name] = v
	}
	for _, s := range t.Extensions {
		if _, ok := r[s.ID]; ok {
			schemas = append(schemas, s.ID)
		}
	}
	out["schemas"] = schemas
	return out
}

// WriteList gives one page of a list (RFC 7644, section 3.4.2). start counts
// from 1.
func (t *ResourceType) WriteList(page []Resource, total, start int) ([]byte, error) {
	documents := make([]any, len(page))
	for i, r := range page {
		documents[i] = t.Document(r)
	}
	return WriteList(documents, total, start)
}

// WriteList gives a page of documents of any kind.
func WriteList(documents []any, total, start int) ([]byte, error) {
	if documents == nil {
		documents = []any{}
	}
	return json.Marshal(map[string]any{
		"schemas": []string{listMessage}, "totalResults": total, "startIndex": start, "itemsPerPage": len(documents), "Resources": documents,
	})
}

// WriteError gives a fault as SCIM writes it (RFC 7644, section 3.12). Its status
// is a text there.
func WriteError(f *fault.Fault, status int) []byte {
	document := map[string]any{"schemas": []string{errorMessage}, "status": strconv.Itoa(status), "detail": f.Public}
	if kind, ok := strings.CutPrefix(f.Code, "scim."); ok {
		document["scimType"] = kind
	}
	b, err := json.Marshal(document)
	if err != nil { // a map of texts
		return []byte(`{"schemas":["` + errorMessage + `"],"status":"500"}`)
	}
	return b
}

// Projection is which attributes an answer has (RFC 7644, section 3.9).
type Projection struct {
	t                  *ResourceType
	attributes, except []Path
}

// ParseProjection reads the parameters attributes and excludedAttributes, lists
// of names with commas between them. Names that no schema knows are ignored;
// both at once are refused.
func (t *ResourceType) ParseProjection(attributes, excluded string) (Projection, error) {
	p := Projection{t: t}
	if attributes != "" && excluded != "" {
		return p, invalid(CodeValue, "attributes and excludedAttributes exclude each other")
	}
	p.attributes, p.except = t.names(attributes), t.names(excluded)
	if attributes != "" && p.attributes == nil {
		p.attributes = []Path{}
	}
	return p, nil
}

func (t *ResourceType) names(text string) []Path {
	var out []Path
	if len(text) > maxFilter {
		return nil
	}
	for name := range strings.SplitSeq(text, ",") {
		if path, err := t.name(strings.TrimSpace(name)); err == nil {
			out = append(out, path)
		}
	}
	return out
}

// Apply gives the resource as asked for; what is always returned stays.
func (p Projection) Apply(r Resource) Resource { return p.unasked(p.apply(r)) }

// unasked drops the parts of attributes that are returned only where they are named.
func (p Projection) unasked(r Resource) Resource {
	if p.t == nil {
		return r
	}
	out, own := r, false
	for i := range p.t.Schema.Attributes {
		a := &p.t.Schema.Attributes[i]
		for j := range a.SubAttributes {
			part := &a.SubAttributes[j]
			if _, there := r[a.Name]; !there || part.Returned != "request" || slices.ContainsFunc(p.attributes, func(x Path) bool { return x.Attribute == a && x.Sub == part }) {
				continue
			}
			if !own {
				out, own = r.Clone(), true
			}
			drop(out, Path{Attribute: a, Sub: part})
		}
	}
	return out
}

func (p Projection) apply(r Resource) Resource {
	if p.attributes == nil && len(p.except) == 0 {
		return r
	}
	if p.attributes != nil {
		out := Resource{}
		for name, v := range r {
			if a := p.t.attribute(name); a != nil && a.Returned == "always" {
				out[name] = v
			}
		}
		for _, path := range p.attributes {
			keep(out, r, path)
		}
		return out
	}
	out := r.Clone()
	for _, path := range p.except {
		if path.Attribute == nil || path.Attribute.Returned != "always" {
			drop(out, path)
		}
	}
	return out
}

// Wants reports whether an answer has the attribute, so that costly ones are
// looked up only then.
func (p Projection) Wants(name string) bool {
	named := func(list []Path) bool {
		return slices.ContainsFunc(list, func(x Path) bool { return x.Extension == nil && x.Attribute.Name == name && x.Sub == nil })
	}
	if p.attributes != nil {
		return slices.ContainsFunc(p.attributes, func(x Path) bool { return x.Extension == nil && x.Attribute.Name == name })
	}
	return !named(p.except)
}

func keep(out, r Resource, path Path) {
	from := path.holder(r, false)
	v, ok := from[path.key()]
	if !ok {
		return
	}
	to := path.holder(out, true)
	if path.Sub == nil {
		to[path.key()] = v
		return
	}
	switch v := v.(type) {
	case map[string]any:
		have, _ := to[path.key()].(map[string]any)
		if have == nil {
			have = map[string]any{}
		}
		if part, ok := v[path.Sub.Name]; ok {
			have[path.Sub.Name] = part
			to[path.key()] = have
		}
	case []any:
		have, _ := to[path.key()].([]any)
		if have == nil {
			have = make([]any, len(v))
			for i := range have {
				have[i] = map[string]any{}
			}
		}
		for i, e := range v {
			if m, ok := e.(map[string]any); ok && m[path.Sub.Name] != nil && i < len(have) {
				if h, ok := have[i].(map[string]any); ok {
					h[path.Sub.Name] = m[path.Sub.Name]
				}
			}
		}
		to[path.key()] = have
	}
}

func drop(out Resource, path Path) {
	from := path.holder(out, false)
	if path.Sub == nil {
		delete(from, path.key())
		return
	}
	switch v := from[path.key()].(type) {
	case map[string]any:
		delete(v, path.Sub.Name)
	case []any:
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				delete(m, path.Sub.Name)
			}
		}
	}
	path.tidy(out)
}

// Sort orders resources by one attribute, those without it last (RFC 7644,
// section 3.4.2.3). Texts are compared without letter case unless the schema
// says otherwise.
func Sort(list []Resource, by Path, descending bool) {
	slices.SortStableFunc(list, func(a, b Resource) int {
		x, y := by.first(a), by.first(b)
		switch {
		case x == nil && y == nil:
			return 0
		case x == nil:
			return 1
		case y == nil:
			return -1
		}
		n := strings.Compare(*x, *y)
		if descending {
			n = -n
		}
		return n
	})
}

// first is the value that counts for sorting: the primary one, else the first.
func (p Path) first(r Resource) *string {
	leaf := p.leaf()
	if leaf == nil {
		return nil
	}
	if leaf.Type == Complex && p.Sub == nil {
		if p.Sub = find(leaf.SubAttributes, "value"); p.Sub == nil {
			return nil
		}
		leaf = p.Sub
	}
	values := p.get(r)
	if len(values) == 0 {
		return nil
	}
	s, ok := values[0].(string)
	if !ok {
		return nil
	}
	if !leaf.CaseExact {
		s = strings.ToLower(s)
	}
	return &s
}
