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
}

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
	root, err := readNode(dec, 0)
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

func readNode(dec *json.Decoder, depth int) (node, error) {
	if depth > maxDepth {
		return node{}, errors.New("it is nested too deeply")
	}
	tok, err := dec.Token()
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
			return readList(dec, depth)
		}
		return readObject(dec, depth)
	}
	return node{kind: jsonNull}, nil
}

func readList(dec *json.Decoder, depth int) (node, error) {
	n := node{kind: jsonList}
	for dec.More() {
		item, err := readNode(dec, depth+1)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	_, err := dec.Token()
	return n, err
}

func readObject(dec *json.Decoder, depth int) (node, error) {
	n := node{kind: jsonObject}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return node{}, err
		}
		name, _ := tok.(string)
		for _, m := range n.members {
			if m.name == name {
				return node{}, fmt.Errorf("%q stands twice in one object", clip(name))
			}
		}
		value, err := readNode(dec, depth+1)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, member{name: name, value: value})
	}
	_, err := dec.Token()
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
