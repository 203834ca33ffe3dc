package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// object is one JSON object: its names as they were written. Values are
// string, json.Number, bool, nil, []any or map[string]any.
type object map[string]any

func (o object) text(name string) (string, bool) {
	s, ok := o[name].(string)
	return s, ok && s != ""
}

const maxDepth = 16

// parseObject reads one object strictly: UTF-8, no name twice at any depth, no
// text that could have stood for another, nothing behind it.
func parseObject(src []byte) (object, error) {
	if !utf8.Valid(src) {
		return nil, errors.New("it is not UTF-8")
	}
	if !json.Valid(src) {
		return nil, errors.New("it is not JSON")
	}
	r := reader{rest: string(src)}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it is not an object")
	}
	return o, nil
}

// reader walks a text that is known to be JSON, so that it has to find values
// and never to doubt their syntax.
type reader struct{ rest string }

// next gives the first byte that is no white space, comma or colon.
func (r *reader) next() byte {
	r.rest = strings.TrimLeft(r.rest, " \t\r\n,:")
	return r.rest[0]
}

func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	switch r.next() {
	case '{':
		return r.members(depth)
	case '[':
		return r.items(depth)
	case '"':
		return r.text()
	}
	end := strings.IndexAny(r.rest, " \t\r\n,:]}")
	if end < 0 {
		end = len(r.rest)
	}
	word := r.rest[:end]
	r.rest = r.rest[end:]
	switch word {
	case "null":
		return nil, nil
	case "true", "false":
		return word == "true", nil
	}
	return json.Number(word), nil
}

func (r *reader) members(depth int) (any, error) {
	out := map[string]any{}
	for r.rest = r.rest[1:]; r.next() != '}'; {
		name, err := r.text()
		if err != nil {
			return nil, err
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the name %q stands twice", clip(name))
		}
		if out[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	r.rest = r.rest[1:]
	return out, nil
}

func (r *reader) items(depth int) (any, error) {
	out := []any{}
	for r.rest = r.rest[1:]; r.next() != ']'; {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	r.rest = r.rest[1:]
	return out, nil
}

// text reads a string. The replacement character is refused: the decoder puts
// it in place of half a surrogate pair, so that different texts would become
// one.
func (r *reader) text() (string, error) {
	end := 1
	for r.rest[end] != '"' {
		if r.rest[end] == '\\' {
			end++
		}
		end++
	}
	quoted := r.rest[:end+1]
	r.rest = r.rest[end+1:]
	s := quoted[1:end]
	if strings.IndexByte(s, '\\') >= 0 {
		if err := json.Unmarshal([]byte(quoted), &s); err != nil {
			return "", err
		}
	}
	if strings.ContainsRune(s, utf8.RuneError) {
		return "", errors.New("it holds a text that is not Unicode")
	}
	return s, nil
}

// clip bounds what an error repeats of outside input.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
