package scim

import (
	"maps"
	"slices"
	"strings"
)

// Operation is one operation of a PATCH (RFC 7644, section 3.5.2).
type Operation struct {
	Op    string // add, replace or remove
	Path  string // empty: Value is an object of attributes
	Value any    // JSON; nil when absent or null
	given bool   // Value was there
}

// MostOperations is how many operations one PATCH may have.
const MostOperations = 1000

// ReadPatch reads a PATCH message. Letter case of op and of the message's own
// names does not count: a large client writes Op and Add.
func ReadPatch(text []byte) ([]Operation, error) {
	v, err := decode(text)
	if err != nil {
		return nil, err
	}
	message, ok := v.(map[string]any)
	if !ok {
		return nil, invalid(CodeSyntax, "The message is not an object")
	}
	return patchOf(message)
}

func patchOf(message map[string]any) ([]Operation, error) {
	if v, ok := member(message, "schemas"); ok {
		if list, ok := v.([]any); !ok || !contains(list, patchMessage) {
			return nil, invalid(CodeSyntax, "The message is no %s", patchMessage)
		}
	}
	v, _ := member(message, "Operations")
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, invalid(CodeSyntax, "The message has no Operations")
	}
	if len(list) > MostOperations {
		return nil, invalid(CodeTooMany, "The message has more than %d Operations", MostOperations)
	}
	var out []Operation
	for i, e := range list {
		o, ok := e.(map[string]any)
		if !ok {
			return nil, invalid(CodeSyntax, "Operation %d is not an object", i+1)
		}
		op, err := operation(o, i+1)
		if err != nil {
			return nil, err
		}
		out = append(out, op)
	}
	return out, nil
}

func operation(o map[string]any, n int) (op Operation, err error) {
	v, _ := member(o, "op")
	name, _ := v.(string)
	op.Op = strings.ToLower(name)
	if op.Op != "add" && op.Op != "replace" && op.Op != "remove" {
		return op, invalid(CodeSyntax, "Operation %d has op %q: want add, replace or remove", n, clip(name))
	}
	if v, ok := member(o, "path"); ok && v != nil {
		if op.Path, ok = v.(string); !ok {
			return op, invalid(CodePath, "Operation %d has a path that is no text", n)
		}
	}
	op.Value, op.given = member(o, "value")
	if op.Op != "remove" && !op.given {
		return op, invalid(CodeValue, "Operation %d lacks a value", n)
	}
	return op, nil
}

// Apply gives the resource as the operations leave it; r itself stays as it is,
// so that a refused operation leaves nothing behind.
func (t *ResourceType) Apply(r Resource, operations []Operation) (Resource, error) {
	out := r.Clone()
	for _, op := range operations {
		if err := t.apply(out, op); err != nil {
			return nil, err
		}
	}
	return out, t.complete(out)
}

// complete holds what every resource of the type must have.
func (t *ResourceType) complete(r Resource) error {
	for _, a := range t.Schema.Attributes {
		if _, ok := r[a.Name]; a.Required && !ok {
			return invalid(CodeValue, "%s is required", a.Name)
		}
	}
	return nil
}

// Complete holds a resource that Read gave to what every one must have.
func (t *ResourceType) Complete(r Resource) error { return t.complete(r) }

func (t *ResourceType) apply(r Resource, op Operation) error {
	if op.Path != "" {
		path, err := t.ParsePath(op.Path)
		if err != nil {
			return err
		}
		if path.readOnly() {
			return invalid(CodeMutability, "%s is read-only", clip(op.Path))
		}
		return t.at(r, op, path)
	}
	if op.Op == "remove" {
		return invalid(CodeNoTarget, "A remove without a path removes nothing")
	}
	object, ok := op.Value.(map[string]any)
	if !ok {
		return invalid(CodeValue, "Without a path the value has to be an object of attributes")
	}
	// Each name is a path of its own: dotted, with a filter or an URN, as one
	// large client writes them. In order, so that two runs come out alike.
	for _, name := range slices.Sorted(maps.Keys(object)) {
		path, err := t.ParsePath(name)
		switch {
		case err != nil && !strings.ContainsAny(name, "[") && t.unknown(name):
			continue // what no schema knows is left out, as when a resource is made
		case err != nil:
			return err
		case path.readOnly():
			continue // id, meta and groups come back as they were given out
		}
		if err := t.at(r, Operation{Op: op.Op, Path: name, Value: object[name], given: true}, path); err != nil {
			return err
		}
	}
	return nil
}

// unknown reports whether a plain name is of no schema here.
func (t *ResourceType) unknown(name string) bool {
	first, _, _ := strings.Cut(name, ".")
	return strings.EqualFold(name, "schemas") || t.attribute(first) == nil
}

func (p Path) readOnly() bool {
	return p.Attribute != nil && p.Attribute.ReadOnly() || p.Sub != nil && p.Sub.ReadOnly()
}

// at applies an operation at a path.
func (t *ResourceType) at(r Resource, op Operation, path Path) error {
	if path.Attribute == nil {
		return t.atExtension(r, op, path)
	}
	if op.Op == "remove" || op.Value == nil {
		return remove(r, op, path)
	}
	holder := path.holder(r, true)
	var err error
	switch {
	case path.Elements != nil:
		err = setElements(holder, op, path)
	case path.Attribute.MultiValued && path.Sub != nil:
		err = setEach(holder, op, path)
	case path.Attribute.MultiValued:
		err = setList(holder, op, path)
	default:
		err = setSingle(holder, op, path)
	}
	path.tidy(r)
	return err
}

// atExtension applies an operation to an extension as a whole.
func (t *ResourceType) atExtension(r Resource, op Operation, path Path) error {
	if op.Op == "remove" || op.Value == nil {
		delete(r, path.Extension.ID)
		return nil
	}
	object, ok := op.Value.(map[string]any)
	if !ok {
		return invalid(CodeValue, "%s wants an object", path.Extension.ID)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		inner, err := t.ParsePath(path.Extension.ID + ":" + name)
		if err != nil {
			continue // what the schema does not know is left out
		}
		if err := t.at(r, Operation{Op: op.Op, Value: object[name], given: true}, inner); err != nil {
			return err
		}
	}
	return nil
}

// tidy drops what has become empty: an empty extension or list is none.
func (p Path) tidy(r Resource) {
	holder := p.holder(r, false)
	if list, ok := holder[p.key()].([]any); ok {
		list = slices.DeleteFunc(list, func(e any) bool { m, ok := e.(map[string]any); return ok && len(m) == 0 })
		holder[p.key()] = list
		if len(list) == 0 {
			delete(holder, p.key())
		}
	}
	if m, ok := holder[p.key()].(map[string]any); ok && len(m) == 0 {
		delete(holder, p.key())
	}
	if p.Extension != nil && len(holder) == 0 {
		delete(r, p.Extension.ID)
	}
}

func setSingle(holder map[string]any, op Operation, path Path) error {
	a, name := path.Attribute, path.Attribute.Name
	if path.Sub != nil {
		v, err := path.Sub.value(op.Value, name+"."+path.Sub.Name)
		if err != nil {
			return err
		}
		inner, _ := holder[name].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
			holder[name] = inner
		}
		put(inner, path.Sub.Name, v)
		return nil
	}
	v, err := a.value(op.Value, name)
	if err != nil {
		return err
	}
	inner, have := holder[name].(map[string]any)
	if parts, ok := v.(map[string]any); ok && have {
		// The parts that are given replace theirs; the others stay.
		maps.Copy(inner, parts)
		return nil
	}
	put(holder, name, v)
	return nil
}

// put stores a value; nil is absence.
func put(m map[string]any, name string, v any) {
	if v == nil {
		delete(m, name)
		return
	}
	m[name] = v
}

func setList(holder map[string]any, op Operation, path Path) error {
	a := path.Attribute
	v, err := a.value(op.Value, a.Name)
	if err != nil {
		return err
	}
	fresh, _ := v.([]any)
	if op.Op == "replace" {
		put(holder, a.Name, v)
		return nil
	}
	list, _ := holder[a.Name].([]any)
	for _, e := range fresh {
		list = include(list, e)
	}
	if len(list) > maxValues {
		return invalid(CodeTooMany, "%s has more than %d values", a.Name, maxValues)
	}
	put(holder, a.Name, anyList(list))
	return nil
}

func anyList(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// include adds an element unless it is there: one with the same value and type
// is brought up to date.
func include(list []any, e any) []any {
	m, ok := e.(map[string]any)
	if !ok {
		if contains(list, e) {
			return list
		}
		return append(list, e)
	}
	if m["primary"] == true {
		demote(list)
	}
	for _, have := range list {
		h, ok := have.(map[string]any)
		if ok && h["value"] != nil && h["value"] == m["value"] && (h["type"] == m["type"] || h["type"] == nil || m["type"] == nil) {
			maps.Copy(h, m)
			return list
		}
	}
	if contains(list, e) {
		return list
	}
	return append(list, m)
}

// demote makes no element the primary one: another is about to be.
func demote(list []any) {
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["primary"] == true {
			m["primary"] = false
		}
	}
}

// setEach sets a part of every element.
func setEach(holder map[string]any, op Operation, path Path) error {
	list, _ := holder[path.Attribute.Name].([]any)
	if len(list) == 0 {
		return invalid(CodeNoTarget, "%s has no values", path.Attribute.Name)
	}
	v, err := path.Sub.value(op.Value, path.Attribute.Name+"."+path.Sub.Name)
	if err != nil {
		return err
	}
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			put(m, path.Sub.Name, v)
		}
	}
	return onePrimary(list, path.Attribute.Name)
}

// setElements changes the elements that a filter picks. An add where there is
// none makes the one that the filter describes.
func setElements(holder map[string]any, op Operation, path Path) error {
	a := path.Attribute
	list, _ := holder[a.Name].([]any)
	parts, err := path.parts(op.Value)
	if err != nil {
		return err
	}
	found := false
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok || !path.Elements.Match(m) {
			continue
		}
		if parts["primary"] == true && !found {
			demote(list)
		}
		found = true
		for name, v := range parts {
			put(m, name, v)
		}
	}
	if !found {
		described, ok := describes(path.Elements)
		if op.Op != "add" || !ok {
			return invalid(CodeNoTarget, "No value of %s matches the filter of the path", a.Name)
		}
		made, err := complexValue(a.SubAttributes, described, a.Name)
		if err != nil {
			return err
		}
		for name, v := range parts {
			put(made, name, v)
		}
		list = include(list, made)
	}
	put(holder, a.Name, anyList(list))
	return onePrimary(list, a.Name)
}

// parts reads what is to be set of each element.
func (p Path) parts(value any) (map[string]any, error) {
	if p.Sub != nil {
		v, err := p.Sub.value(value, p.Attribute.Name+"."+p.Sub.Name)
		return map[string]any{p.Sub.Name: v}, err
	}
	if list, ok := value.([]any); ok && len(list) == 1 {
		value = list[0]
	}
	v, err := p.Attribute.single(value, p.Attribute.Name)
	m, _ := v.(map[string]any)
	if err == nil && m == nil {
		err = invalid(CodeValue, "%s wants an object", p.Attribute.Name)
	}
	return m, err
}

// describes gives the element that a filter of equalities asks for.
func describes(f Filter) (map[string]any, bool) {
	switch f := f.(type) {
	case comparison:
		if f.operator != "eq" || f.value == nil {
			return nil, false
		}
		return map[string]any{f.path.Attribute.Name: f.value}, true
	case both:
		a, ok := describes(f.a)
		b, ok2 := describes(f.b)
		if !ok || !ok2 {
			return nil, false
		}
		maps.Copy(a, b)
		return a, true
	}
	return nil, false
}

// remove takes away what a path names. Of a list some values may be named, as
// one large client takes members out.
func remove(r Resource, op Operation, path Path) error {
	a := path.Attribute
	if a.Required && path.Sub == nil || path.Sub != nil && path.Sub.Required {
		return invalid(CodeMutability, "%s is required", clip(op.Path))
	}
	holder := path.holder(r, false)
	if holder[a.Name] == nil {
		return nil
	}
	defer path.tidy(r)
	if !a.MultiValued {
		if path.Sub == nil {
			delete(holder, a.Name)
		} else if inner, ok := holder[a.Name].(map[string]any); ok {
			delete(inner, path.Sub.Name)
		}
		return nil
	}
	list, _ := holder[a.Name].([]any)
	named, err := namedValues(op, path)
	if err != nil {
		return err
	}
	kept := make([]any, 0, len(list))
	for _, e := range list {
		m, _ := e.(map[string]any)
		switch {
		case path.Elements != nil && !path.Elements.Match(m), named != nil && !named[textOf(e)]:
		case path.Sub != nil:
			delete(m, path.Sub.Name)
			if len(m) == 0 {
				continue
			}
		default:
			continue
		}
		kept = append(kept, e)
	}
	holder[a.Name] = kept
	return nil
}

// namedValues are the values that a remove lists; nil: it lists none.
func namedValues(op Operation, path Path) (map[string]bool, error) {
	if op.Op != "remove" || op.Value == nil || path.Sub != nil {
		return nil, nil
	}
	v, err := path.Attribute.value(op.Value, path.Attribute.Name)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	list, _ := v.([]any)
	for _, e := range list {
		out[textOf(e)] = true
	}
	return out, nil
}

// textOf is what a value of a list is known by.
func textOf(v any) string {
	if m, ok := v.(map[string]any); ok {
		v = m["value"]
	}
	s, _ := v.(string)
	return s
}
