package s3

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/core/fault"
)

// FormPolicy is what the signer of a form lets its bearer upload (S3 API
// Reference, "Creating a POST Policy"). Nothing of it counts before its
// signature held.
type FormPolicy struct {
	expires    time.Time
	conditions []formCondition
	least      int64 // bytes of content
	most       int64
}

type formCondition struct {
	prefix bool // starts-with; else eq
	field  string
	value  string
	text   string // as written, for the refusal
}

func badPolicy(why string) error {
	return fault.Coded(fault.Invalid, "InvalidPolicyDocument", "Invalid Policy: "+why)
}

func invalidJSON() error { return badPolicy("Invalid JSON.") }

// ParseFormPolicy reads a policy in base64.
func ParseFormPolicy(encoded string) (*FormPolicy, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, badPolicy("invalid Base64 encoding.")
	}
	if len(raw) == 0 {
		return nil, badPolicy("Expecting '{' but found End-of-Input")
	}
	top, err := members(raw)
	if err != nil {
		return nil, err
	}
	p := &FormPolicy{most: math.MaxInt64}
	var conditions json.RawMessage
	for _, m := range top {
		switch m.name {
		case "expiration":
			var text string
			if json.Unmarshal(m.value, &text) != nil || m.value[0] != '"' {
				return nil, invalidJSON()
			}
			if p.expires, err = time.Parse(time.RFC3339, text); err != nil {
				return nil, badPolicy("Invalid 'expiration' value: '" + clip(text) + "'")
			}
		case "conditions":
			conditions = m.value
		default:
			return nil, badPolicy("Unexpected: " + strconv.Quote(clip(m.name)))
		}
	}
	if p.expires.IsZero() {
		return nil, badPolicy("Policy missing expiration.")
	}
	if conditions == nil {
		return nil, badPolicy("Policy missing conditions.")
	}
	var list []json.RawMessage
	if conditions[0] != '[' || json.Unmarshal(conditions, &list) != nil {
		return nil, badPolicy("Invalid 'conditions' value: must be a List.")
	}
	for _, c := range list {
		if err := p.add(c); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add reads one condition: {"field": "value"} or ["operator", …].
func (p *FormPolicy) add(c json.RawMessage) error {
	switch c[0] {
	case '{':
		one, err := members(c)
		if err != nil {
			return err
		}
		if len(one) != 1 {
			return badPolicy("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
		}
		value, ok := jsonText(one[0].value)
		if !ok {
			return badPolicy("Invalid Simple-Condition: value must be a string.")
		}
		name, _ := json.Marshal(one[0].name)
		p.conditions = append(p.conditions, formCondition{false, ascii.Lower(one[0].name), value, `["eq", "$` + strings.Trim(string(name), `"`) + `", ` + string(one[0].value) + `]`})
		return nil
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(c, &list) != nil {
			return invalidJSON()
		}
		return p.addOperator(c, list)
	}
	return badPolicy("Invalid condition test: must be a List or Object.")
}

func (p *FormPolicy) addOperator(c json.RawMessage, list []json.RawMessage) error {
	if len(list) == 0 {
		return badPolicy("Invalid Condition: missing operation identifier.")
	}
	operator, ok := jsonText(list[0])
	operator = ascii.Lower(operator)
	if !ok || operator != "eq" && operator != "starts-with" && operator != "content-length-range" {
		return badPolicy("Invalid Condition: unknown operation '" + clip(operator) + "'.")
	}
	if len(list) != 3 {
		return badPolicy("Invalid " + operator + ": wrong number of arguments.")
	}
	if operator == "content-length-range" {
		least, ok := jsonSize(list[1])
		most, ok2 := jsonSize(list[2])
		if !ok || !ok2 {
			return invalidJSON()
		}
		p.least, p.most = max(p.least, least), min(p.most, most)
		return nil
	}
	field, ok := jsonText(list[1])
	value, ok2 := jsonText(list[2])
	if !ok || !ok2 {
		return invalidJSON()
	}
	name, dollar := strings.CutPrefix(field, "$")
	if !dollar {
		return conditionFailed(string(c))
	}
	p.conditions = append(p.conditions, formCondition{operator == "starts-with", ascii.Lower(name), value, string(c)})
	return nil
}

// jsonText reads a JSON string, and nothing that only looks like one.
func jsonText(raw json.RawMessage) (string, bool) {
	var s string
	return s, len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil
}

// jsonSize reads a number of bytes, also one that is written as a string.
func jsonSize(raw json.RawMessage) (int64, bool) {
	text := string(raw)
	if s, ok := jsonText(raw); ok {
		text = s
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil
}

type jsonMember struct {
	name  string
	value json.RawMessage
}

// members reads one JSON object. A name that stands twice is refused: who
// signed and who checks might take different ones.
func members(raw []byte) ([]jsonMember, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, invalidJSON()
	}
	var out []jsonMember
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, invalidJSON()
		}
		m := jsonMember{name: t.(string)} // a key of an object is a string
		if d.Decode(&m.value) != nil || slices.ContainsFunc(out, func(o jsonMember) bool { return o.name == m.name }) {
			return nil, invalidJSON()
		}
		m.value = bytes.TrimSpace(m.value)
		out = append(out, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, invalidJSON()
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalidJSON()
	}
	return out, nil
}

// Check holds the fields of a form to the policy: each condition, and each field
// covered by one. field gives a field by its name in lower case; names are those
// that have to be covered.
func (p *FormPolicy) Check(names []string, field func(string) (string, bool), now time.Time) error {
	if !now.Before(p.expires) {
		return againstPolicy("Policy expired.")
	}
	for _, c := range p.conditions {
		v, given := field(c.field)
		if !given || !c.holds(v) {
			return conditionFailed(c.text)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(p.conditions, func(c formCondition) bool { return c.field == name }) {
			return againstPolicy("Extra input fields: " + clip(name))
		}
	}
	return nil
}

// holds compares one value. A Content-Type may be a list: each of it must begin
// as asked.
func (c *formCondition) holds(v string) bool {
	if !c.prefix {
		return v == c.value
	}
	if c.field != "content-type" {
		return strings.HasPrefix(v, c.value)
	}
	for part := range strings.SplitSeq(v, ",") {
		if !strings.HasPrefix(strings.TrimLeft(part, " "), c.value) {
			return false
		}
	}
	return true
}

// CheckSize holds the length of the file to content-length-range.
func (p *FormPolicy) CheckSize(n int64) error {
	switch {
	case n < p.least:
		return fault.Coded(fault.Invalid, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size").
			With("ProposedSize", strconv.FormatInt(n, 10)).With("MinSizeAllowed", strconv.FormatInt(p.least, 10))
	case n > p.most:
		return fault.Coded(fault.TooLarge, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.").
			With("ProposedSize", strconv.FormatInt(n, 10)).With("MaxSizeAllowed", strconv.FormatInt(p.most, 10))
	}
	return nil
}

func conditionFailed(text string) error {
	if len(text) > 400 {
		text = clip(text)
	}
	return againstPolicy("Policy Condition failed: " + text)
}

func againstPolicy(why string) error {
	return fault.Coded(fault.Denied, "AccessDenied", "Invalid according to Policy: "+why)
}
