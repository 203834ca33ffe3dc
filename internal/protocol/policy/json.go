package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// node is one JSON value. A list of one and its bare element are told apart
// only where the grammar does.
type node struct {
	kind    nodeKind
	text    string // of a string, number or boolean
	items   []node
	members []member
	span    span // in bytes
}

// span is a part of the source: from its first byte up to the one after its
// last. An item of a list begins after the bracket or comma before it.
type span struct{ from, to int }

type member struct {
	name  string
	value node
}

type nodeKind uint8

const (
	jsonNull nodeKind = iota
	jsonString
	jsonNumber
	jsonBool
	jsonList
	jsonObject
)

// maxDepth is one more than the deepest legal policy needs.
const maxDepth = 8

// parseJSON reads one JSON value and nothing after it. Duplicate names, text
// that is not UTF-8 and lone surrogates are refused: each reader might
// understand them differently.
func parseJSON(src []byte) (node, error) {
	if !utf8.Valid(src) {
		return node{}, errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	r := reader{dec: dec, src: src}
	root, err := r.node(0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return node{}, errors.New("the JSON text ends early")
		}
		return node{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return node{}, errors.New("there is text after the JSON value")
	}
	return root, nil
}

type reader struct {
	dec *json.Decoder
	src []byte
}

func (r *reader) at() int { return int(r.dec.InputOffset()) }

func (r *reader) node(depth int) (node, error) {
	if depth > maxDepth {
		return node{}, errors.New("it is nested too deeply")
	}
	tok, err := r.dec.Token()
	if err != nil {
		return node{}, err
	}
	switch v := tok.(type) {
	case string:
		if strings.ContainsRune(v, utf8.RuneError) {
			return node{}, errors.New("a string holds U+FFFD or half a surrogate pair")
		}
		return node{kind: jsonString, text: v}, nil
	case json.Number:
		return node{kind: jsonNumber, text: v.String()}, nil
	case bool:
		return node{kind: jsonBool, text: fmt.Sprint(v)}, nil
	case json.Delim:
		if v == '[' {
			return r.list(depth)
		}
		return r.object(depth)
	}
	return node{kind: jsonNull}, nil
}

func (r *reader) list(depth int) (node, error) {
	n := node{kind: jsonList}
	for from := r.at(); r.dec.More(); {
		item, err := r.node(depth + 1)
		if err != nil {
			return node{}, err
		}
		to := r.at()
		item.span = span{from, to}
		n.items = append(n.items, item)
		from = to + 1 + max(0, bytes.IndexByte(r.src[to:], ','))
	}
	_, err := r.dec.Token()
	return n, err
}

func (r *reader) object(depth int) (node, error) {
	n := node{kind: jsonObject, span: span{from: r.at() - 1}}
	for r.dec.More() {
		tok, err := r.dec.Token()
		if err != nil {
			return node{}, err
		}
		name, _ := tok.(string)
		for _, m := range n.members {
			if m.name == name {
				return node{}, fmt.Errorf("%q stands twice in one object", clip(name))
			}
		}
		value, err := r.node(depth + 1)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, member{name: name, value: value})
	}
	_, err := r.dec.Token()
	n.span.to = r.at()
	return n, err
}

// list gives the items of a list, or the bare value as a list of one.
func (n node) list() []node {
	if n.kind == jsonList {
		return n.items
	}
	return []node{n}
}

// clip bounds what an error repeats of outside input.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
