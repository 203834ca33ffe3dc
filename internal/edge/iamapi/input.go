package iamapi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
)

// input reads the parameters of one call. What breaks a rule is collected, so
// that err names all of it at once, as AWS does. Whatever an operation didn't
// read is an error too.
type input struct {
	parameters awsquery.Parameters
	read       map[string]bool
	lists      map[string]bool
	broken     []string
	first      error // of another kind than a broken rule
}

func newInput(p awsquery.Parameters) *input {
	return &input{parameters: p, read: map[string]bool{"Action": true, "Version": true}, lists: map[string]bool{}}
}

// text reads a parameter that must be there.
func (in *input) text(name string, r rule) string {
	v, ok := in.maybe(name, r)
	if !ok {
		in.breaks("Value null at '%s' failed to satisfy constraint: Member must not be null", lower(name))
	}
	return v
}

// maybe reads a parameter that need not be there.
func (in *input) maybe(name string, r rule) (string, bool) {
	in.read[name] = true
	v, ok := in.parameters.Get(name)
	if ok {
		in.hold(v, lower(name), r)
	}
	return v, ok
}

// or reads a parameter that has a default.
func (in *input) or(name string, r rule, otherwise string) string {
	if v, ok := in.maybe(name, r); ok {
		return v
	}
	return otherwise
}

// number reads a whole number within bounds; otherwise where it is absent.
func (in *input) number(name string, least, most, otherwise int) int {
	in.read[name] = true
	v, ok := in.parameters.Get(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	switch {
	case err != nil:
		in.breaks("Value '%s' at '%s' failed to satisfy constraint: Member must be a whole number", shown(v), lower(name))
	case n < least:
		in.breaks("Value '%d' at '%s' failed to satisfy constraint: Member must have value greater than or equal to %d", n, lower(name), least)
	case n > most:
		in.breaks("Value '%d' at '%s' failed to satisfy constraint: Member must have value less than or equal to %d", n, lower(name), most)
	}
	return n
}

// flag reads true or false.
func (in *input) flag(name string) (value, given bool) {
	in.read[name] = true
	v, ok := in.parameters.Get(name)
	if ok && v != "true" && v != "false" {
		in.breaks("Value '%s' at '%s' failed to satisfy constraint: Member must satisfy enum value set: [true, false]", shown(v), lower(name))
	}
	return v == "true", ok
}

// texts reads a list of texts.
func (in *input) texts(name string, r rule, least, most int) []string {
	var out []string
	for i, m := range in.members(name, least, most, "") {
		v, _ := m.Get("")
		in.hold(v, fmt.Sprintf("%s.%d.member", lower(name), i+1), r)
		out = append(out, v)
	}
	return out
}

// tags reads a list of tags; nil where there is none.
func (in *input) tags(name string) map[string]string {
	const most = 50
	var out map[string]string
	folded := map[string]bool{}
	for i, m := range in.members(name, 0, most, "Key", "Value") {
		at := fmt.Sprintf("%s.%d.member.", lower(name), i+1)
		k, _ := m.Get("Key")
		v, _ := m.Get("Value")
		in.hold(k, at+"key", tagKey)
		in.hold(v, at+"value", tagValue)
		if out == nil {
			out = map[string]string{}
		}
		if folded[strings.ToLower(k)] {
			in.fails(fault.Coded(fault.Invalid, "InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive."))
		}
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			in.fails(fault.Coded(fault.Invalid, "InvalidInput", "Tag keys that begin with aws: are reserved for AWS."))
		}
		folded[strings.ToLower(k)] = true
		out[k] = v
	}
	return out
}

// members reads a list whose members have the named fields; "" is a plain text.
func (in *input) members(name string, least, most int, fields ...string) []awsquery.Parameters {
	in.lists[name] = true
	all, err := in.parameters.Members(name)
	if err != nil {
		in.fails(err)
		return nil
	}
	if len(all) < least {
		in.breaks("Value at '%s' failed to satisfy constraint: Member must have length greater than or equal to %d", lower(name), least)
	}
	if len(all) > most {
		in.breaks("Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", lower(name), most)
		return nil
	}
	for i, m := range all {
		for _, given := range m.Names() {
			top, _, nested := strings.Cut(given, ".member")
			value, _ := m.Get(given)
			if !slices.Contains(fields, given) && !((nested || value == "") && slices.Contains(fields, top+".")) {
				in.fails(unknown(fmt.Sprintf("%s.member.%d.%s", name, i+1, given)))
			}
		}
		if _, plain := m.Get(""); !plain && slices.Contains(fields, "") {
			in.fails(unknown(fmt.Sprintf("%s.member.%d", name, i+1)))
		}
	}
	return all
}

func (in *input) hold(v, at string, r rule) {
	n := utf8.RuneCountInString(v)
	switch {
	case n < r.least:
		in.breaks("Value '%s' at '%s' failed to satisfy constraint: Member must have length greater than or equal to %d", shown(v), at, r.least)
	case n > r.most:
		in.breaks("Value '%s' at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", shown(v), at, r.most)
	case r.oneOf != nil && !slices.Contains(r.oneOf, v):
		in.breaks("Value '%s' at '%s' failed to satisfy constraint: Member must satisfy enum value set: [%s]", shown(v), at, strings.Join(r.oneOf, ", "))
	case r.form != nil && !r.form.MatchString(v):
		in.breaks("Value '%s' at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: %s", shown(v), at, r.pattern)
	}
}

func (in *input) breaks(format string, args ...any) {
	in.broken = append(in.broken, fmt.Sprintf(format, args...))
}

func (in *input) fails(err error) {
	if in.first == nil {
		in.first = err
	}
}

// err gives what was wrong with the parameters. Call it once all are read.
func (in *input) err() error {
	if n := len(in.broken); n > 0 {
		text := "1 validation error"
		if n > 1 {
			text = fmt.Sprintf("%d validation errors", n)
		}
		return fault.Coded(fault.Invalid, "ValidationError", text+" detected: "+strings.Join(in.broken, "; "))
	}
	if in.first != nil {
		return in.first
	}
	for _, name := range in.parameters.Names() {
		top, _, _ := strings.Cut(name, ".")
		if !in.read[name] && !in.lists[top] && !strings.HasPrefix(name, "X-Amz-") {
			return unknown(name)
		}
	}
	return nil
}

func unknown(name string) error {
	return fault.Coded(fault.Invalid, "ValidationError", fmt.Sprintf("Parameter %q is not one that this operation takes here.", clip(name)))
}

// lower writes a parameter's name as AWS's validation texts do: roleName.
func lower(name string) string {
	if name == "" {
		return name
	}
	return strings.ToLower(name[:1]) + name[1:]
}

// shown bounds what an error repeats of a value: documents are long.
func shown(v string) string {
	const most = 256
	if len(v) <= most {
		return v
	}
	return strings.ToValidUTF8(v[:most], "") + "…"
}
