package policy

import (
	"errors"
	"fmt"
	"strings"
)

// parser compiles one document. Its methods give errors that name the element.
type parser struct {
	kind      Kind
	src       []byte
	variables bool // Version 2012-10-17
}

func (p *parser) document(root node) (*Document, error) {
	if root.kind != jsonObject {
		return nil, errors.New("it is not a JSON object")
	}
	d := &Document{kind: p.kind}
	var statements node
	found := false
	for _, m := range root.members {
		switch m.name {
		case "Version":
			switch {
			case m.value.kind != jsonString:
				return nil, errors.New("Version must be a string")
			case m.value.text == "2012-10-17":
				p.variables = true
			case m.value.text != "2008-10-17":
				return nil, fmt.Errorf("Version %q: want 2012-10-17 or 2008-10-17", clip(m.value.text))
			}
		case "Id":
			if m.value.kind != jsonString {
				return nil, errors.New("Id must be a string")
			}
		case "Statement":
			statements, found = m.value, true
		default:
			return nil, fmt.Errorf("unknown element %q", clip(m.name))
		}
	}
	if !found || len(statements.list()) == 0 {
		return nil, errors.New("it has no Statement")
	}
	sids := map[string]bool{}
	for i, n := range statements.list() {
		s, err := p.statement(n)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		if s.sid != "" && sids[s.sid] {
			return nil, fmt.Errorf("statement %d: Sid %q stands twice", i+1, clip(s.sid))
		}
		sids[s.sid] = true
		d.statements = append(d.statements, s)
		d.places = append(d.places, [2]Position{position(p.src, n.span.from), position(p.src, n.span.to)})
	}
	d.buildIndex()
	return d, nil
}

func (p *parser) statement(n node) (statement, error) {
	if n.kind != jsonObject {
		return statement{}, errors.New("it is not a JSON object")
	}
	var s statement
	seen := map[string]bool{}
	for _, m := range n.members {
		seen[m.name] = true
		if err := p.element(&s, m); err != nil {
			return statement{}, err
		}
	}
	return s, p.complete(&s, seen)
}

func (p *parser) element(s *statement, m member) (err error) {
	switch m.name {
	case "Sid":
		s.sid, err = p.sid(m.value)
	case "Effect":
		if m.value.kind != jsonString || m.value.text != "Allow" && m.value.text != "Deny" {
			return errors.New(`Effect must be "Allow" or "Deny"`)
		}
		s.deny = m.value.text == "Deny"
	case "Action", "NotAction":
		s.notAction = m.name == "NotAction"
		s.actions, err = p.actions(m)
	case "Resource", "NotResource":
		s.notResource = m.name == "NotResource"
		s.resources, err = p.resources(m)
	case "Principal", "NotPrincipal":
		s.principals, err = p.principals(m)
	case "Condition":
		s.conditions, err = p.conditions(m.value)
	default:
		return fmt.Errorf("unknown element %q", clip(m.name))
	}
	return err
}

// complete holds the rules between elements.
func (p *parser) complete(s *statement, seen map[string]bool) error {
	one := func(a, b string) error {
		if seen[a] == seen[b] {
			return fmt.Errorf("want exactly one of %s and %s", a, b)
		}
		return nil
	}
	if !seen["Effect"] {
		return errors.New("Effect is missing")
	}
	if err := one("Action", "NotAction"); err != nil {
		return err
	}
	hasPrincipal := seen["Principal"] || seen["NotPrincipal"]
	if hasPrincipal && s.deny && s.principals.allAWS {
		s.principals.all = true // whom a deny means is never read narrowly
	}
	hasResource := seen["Resource"] || seen["NotResource"]
	switch p.kind {
	case Trust:
		s.noResource = true
		switch {
		case hasResource:
			return errors.New("a role trust policy has no Resource")
		case seen["NotPrincipal"]:
			return errors.New("a role trust policy has no NotPrincipal")
		case seen["NotAction"]:
			return errors.New("a role trust policy has no NotAction")
		case !hasPrincipal:
			return errors.New("Principal is missing")
		}
		return nil
	case Resource:
		if err := one("Principal", "NotPrincipal"); err != nil {
			return err
		}
		if seen["NotPrincipal"] && !s.deny {
			return errors.New("NotPrincipal works with Effect Deny only")
		}
	case Guardrail:
		if seen["NotPrincipal"] || hasPrincipal && !s.principals.everybody() {
			return errors.New(`a guardrail's Principal can only be "*"`)
		}
	default:
		if hasPrincipal {
			return fmt.Errorf("a %s has no Principal", p.kind)
		}
	}
	return one("Resource", "NotResource")
}

// sid holds IAM's rule (letters and digits); S3 also takes plain text.
func (p *parser) sid(n node) (string, error) {
	if n.kind != jsonString || len(n.text) > 256 {
		return "", errors.New("Sid must be a string of at most 256 characters")
	}
	for _, c := range []byte(n.text) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (p.kind != Resource || c < ' ' || c > '~') {
			return "", fmt.Errorf("Sid %q: want letters and digits only", clip(n.text))
		}
	}
	return n.text, nil
}

// texts reads a string or a non-empty list of strings.
func texts(element string, n node) ([]string, error) {
	var out []string
	for _, item := range n.list() {
		if item.kind != jsonString || item.text == "" {
			return nil, fmt.Errorf("%s must be a string or a list of strings, none empty", element)
		}
		out = append(out, item.text)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s is empty", element)
	}
	return out, nil
}

func (p *parser) actions(m member) ([]pattern, error) {
	list, err := texts(m.name, m.value)
	if err != nil {
		return nil, err
	}
	var out []pattern
	for _, text := range list {
		if err := p.checkAction(text); err != nil {
			return nil, fmt.Errorf("%s %q: %w", m.name, clip(text), err)
		}
		compiled, err := compile(strings.ToLower(text), false, true)
		if err != nil {
			return nil, err
		}
		out = append(out, compiled)
	}
	return out, nil
}

func (p *parser) checkAction(text string) error {
	if text == "*" && p.kind != Trust {
		return nil
	}
	service, name, ok := strings.Cut(text, ":")
	if !ok || service == "" || name == "" {
		return errors.New("want service:Name")
	}
	if service != "*" && !each(service, isWord, "-") {
		return errors.New("the service must be a plain name")
	}
	if !each(name, isWord, "*?") {
		return errors.New("the name has characters outside letters, digits, * and ?")
	}
	if p.kind == Trust && !strings.EqualFold(service, "sts") {
		return errors.New("a role trust policy has sts: actions only")
	}
	return nil
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func each(s string, class func(byte) bool, more string) bool {
	for i := range len(s) {
		if !class(s[i]) && strings.IndexByte(more, s[i]) < 0 {
			return false
		}
	}
	return true
}

func (p *parser) resources(m member) ([]resourcePattern, error) {
	list, err := texts(m.name, m.value)
	if err != nil {
		return nil, err
	}
	var out []resourcePattern
	for _, text := range list {
		r, err := compileResource(text, p.variables)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", m.name, clip(text), err)
		}
		out = append(out, r)
	}
	return out, nil
}
