package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// reader fills a Go value from a YAML tree and notes every problem with its
// line, where the library's own strict mode stops naming places.
type reader struct {
	problems []Problem
	lines    map[string]int // line of each path that stands in the file
}

func (r *reader) add(line int, path, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: line, Path: path, Text: fmt.Sprintf(format, args...)})
}

// document parses src, which must hold exactly one YAML document.
func document(src []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(src))
	var root yaml.Node
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	} else if err != nil {
		return nil, err
	}
	var second yaml.Node
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one YAML document")
	}
	return root.Content[0], nil
}

func (r *reader) value(n *yaml.Node, out reflect.Value, path string) {
	r.lines[path] = n.Line
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.add(n.Line, path, "anchors and aliases are not supported: write the value out")
		return
	}
	if n.Tag == "!!null" {
		return // `key:` with nothing after it is the same as no key
	}
	_, text := out.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case out.Kind() == reflect.Map:
		r.table(n, out, path)
	case text || out.Kind() != reflect.Struct && out.Kind() != reflect.Slice:
		r.scalar(n, out, path)
	case out.Kind() == reflect.Slice:
		r.list(n, out, path)
	default:
		r.mapping(n, out, path)
	}
}

func (r *reader) mapping(n *yaml.Node, out reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		r.add(n.Line, path, "want keys and values (%s)", strings.Join(keys(out.Type()), ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := join(path, k.Value)
		if first, twice := seen[k.Value]; twice {
			r.add(k.Line, at, "given twice, first in line %d", first)
			continue
		}
		seen[k.Value] = k.Line
		field, ok := fieldOf(out, k.Value)
		if !ok {
			r.add(k.Line, at, "unknown key%s", advice(k.Value, keys(out.Type())))
			continue
		}
		r.value(v, field, at)
	}
}

// table reads a mapping whose keys are free: texts to texts.
func (r *reader) table(n *yaml.Node, out reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		r.add(n.Line, path, "want names and values")
		return
	}
	out.Set(reflect.MakeMap(out.Type()))
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := path + "[" + k.Value + "]"
		key := reflect.ValueOf(k.Value)
		if out.MapIndex(key).IsValid() {
			r.add(k.Line, at, "given twice")
			continue
		}
		value := reflect.New(out.Type().Elem()).Elem()
		r.value(v, value, at)
		out.SetMapIndex(key, value)
	}
}

func (r *reader) list(n *yaml.Node, out reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		r.add(n.Line, path, "want a list")
		return
	}
	out.Set(reflect.MakeSlice(out.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		r.value(c, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (r *reader) scalar(n *yaml.Node, out reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		r.add(n.Line, path, "want one value, not a list or keys")
		return
	}
	switch p := out.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		if err := p.UnmarshalText([]byte(n.Value)); err != nil {
			r.add(n.Line, path, "%v", err)
		}
	case *time.Duration:
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			r.add(n.Line, path, "%q is not a duration such as 15m or 12h", n.Value)
		} else if d <= 0 {
			r.add(n.Line, path, "%q is not more than nothing", n.Value)
		}
		*p = d
	case *int:
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			r.add(n.Line, path, "%q is not a whole number", n.Value)
		}
		*p = i
	case *bool:
		// YAML's other words for it (yes, on) mean text elsewhere.
		if n.Value != "true" && n.Value != "false" {
			r.add(n.Line, path, "%q: want true or false", n.Value)
		}
		*p = n.Value == "true"
	default:
		// The text as written: an account number stays twelve digits even
		// where YAML would see a number.
		out.SetString(n.Value)
	}
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if keyOf(v.Type().Field(i)) == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		out = append(out, keyOf(t.Field(i)))
	}
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// advice names the nearest of the known words, or all of them when none is near.
func advice(word string, known []string) string {
	best, at := "", len(word)/2+1
	for _, k := range known {
		if d := distance(word, k); d < at {
			best, at = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return ": known here are " + strings.Join(known, ", ")
}

// distance counts the single-character edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := left
			if a[i] != b[j] {
				cost = 1 + min(left, row[j], row[j+1])
			}
			left, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// Problem is one thing wrong with the file.
type Problem struct {
	Line int    // 0 where the thing is missing
	Path string // such as accounts[0].id
	Text string
}

// Problems is everything wrong with one file, in the order of its lines.
type Problems struct {
	File string
	List []Problem
}

// Error lists every problem, one a line.
func (p *Problems) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s can't be used:", p.File)
	for _, x := range p.List {
		b.WriteString("\n  ")
		if x.Line > 0 {
			fmt.Fprintf(&b, "line %d: ", x.Line)
		}
		if x.Path != "" {
			b.WriteString(x.Path + ": ")
		}
		b.WriteString(x.Text)
	}
	return b.String()
}

func (p *Problems) sort() {
	slices.SortStableFunc(p.List, func(a, b Problem) int { return a.Line - b.Line })
}

// keyOf gives the key of a field: what its tag says, up to how it is written.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key
}
