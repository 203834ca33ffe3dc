// Package scim reads and writes SCIM 2.0 (RFC 7643, RFC 7644): resources, filters,
// paths and PATCH operations, as the provisioning clients of real identity
// providers send them.
//
// It is pure: documents in, resources and errors out. A resource is held to its
// schema once, when it is read; from then on attribute names are spelt as the
// schema spells them, and each value has the type that it says. Names are
// compared without letter case, as the standard asks; values as the schema says.
// What the schema does not know is left out, never kept. It must never apply a
// part of a PATCH, nor guess what a path means.
package scim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// URNs of schemas and messages.
const (
	UserSchema             = "urn:ietf:params:scim:schemas:core:2.0:User"
	EnterpriseSchema       = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	GroupSchema            = "urn:ietf:params:scim:schemas:core:2.0:Group"
	ServicePrincipalSchema = "urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"

	listMessage  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	patchMessage = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	errorMessage = "urn:ietf:params:scim:api:messages:2.0:Error"
)

// MediaType is the content type of every document (RFC 7644, section 3.1).
const MediaType = "application/scim+json"

// Fault codes: the values of scimType (RFC 7644, table 9), under a prefix.
const (
	CodeFilter     = "scim.invalidFilter"
	CodeTooMany    = "scim.tooMany"
	CodeUniqueness = "scim.uniqueness"
	CodeMutability = "scim.mutability"
	CodeSyntax     = "scim.invalidSyntax"
	CodePath       = "scim.invalidPath"
	CodeNoTarget   = "scim.noTarget"
	CodeValue      = "scim.invalidValue"
)

func invalid(code, format string, args ...any) error {
	return fault.Coded(fault.Invalid, code, fmt.Sprintf(format, args...))
}

// Limits of one document.
const (
	// MaxDocument is the most bytes of a request's body.
	MaxDocument = 1 << 20
	maxDepth    = 12
	maxValues   = 10_000 // of one list
)

// Resource is a resource's attributes by their schema names; those of an
// extension are one object under its URN. Values are string, bool, int64,
// map[string]any for a complex value, and []any for a multi-valued attribute.
type Resource map[string]any

// Text gives a string attribute; empty when absent.
func (r Resource) Text(name string) string {
	s, _ := r[name].(string)
	return s
}

// Flag gives a boolean attribute, or what holds in its absence.
func (r Resource) Flag(name string, absent bool) bool {
	if b, ok := r[name].(bool); ok {
		return b
	}
	return absent
}

// Values gives the string sub-attribute value of each element of a multi-valued
// attribute, in order.
func (r Resource) Values(name string) []string {
	list, _ := r[name].([]any)
	var out []string
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			if s, ok := m["value"].(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// Clone copies everything below r.
func (r Resource) Clone() Resource { return Resource(cloneValue(map[string]any(r)).(map[string]any)) }

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = cloneValue(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = cloneValue(e)
		}
		return out
	}
	return v
}

// decode reads one JSON document. A name given twice in one object, letter case
// aside, is refused: which of the two counts is nobody's to guess.
func decode(text []byte) (any, error) {
	if len(text) > MaxDocument {
		return nil, fault.Coded(fault.TooLarge, CodeSyntax, fmt.Sprintf("The document is longer than %d bytes", MaxDocument))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid(CodeSyntax, "Something follows the document")
	}
	return v, nil
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, invalid(CodeSyntax, "The document is nested too deeply")
	}
	t, err := d.Token()
	if err != nil {
		return nil, invalid(CodeSyntax, "The document is not JSON")
	}
	switch t {
	case json.Delim('{'):
		return decodeObject(d, depth)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			if list = append(list, v); len(list) > maxValues {
				return nil, fault.Coded(fault.TooLarge, CodeTooMany, fmt.Sprintf("A list has more than %d values", maxValues))
			}
		}
		return list, end(d)
	}
	return t, nil
}

func decodeObject(d *json.Decoder, depth int) (any, error) {
	object, seen := map[string]any{}, map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, invalid(CodeSyntax, "The document is not JSON")
		}
		if folded := strings.ToLower(name); seen[folded] {
			return nil, invalid(CodeSyntax, "%q is given twice", clip(name))
		} else {
			seen[folded] = true
		}
		if object[name], err = decodeValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	return object, end(d)
}

func end(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return invalid(CodeSyntax, "The document is not JSON")
	}
	return nil
}

// member finds a member of a message by its name, letter case aside: some
// clients write Op and Path.
func member(object map[string]any, name string) (any, bool) {
	if v, ok := object[name]; ok {
		return v, true
	}
	for k, v := range object {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return nil, false
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
