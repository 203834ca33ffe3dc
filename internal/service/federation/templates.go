package federation

import (
	"fmt"
	"regexp"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
)

// part is a piece of a template: literal text, or a capture by its name.
type part struct{ literal, capture string }

// checkTemplates holds role templates to a form that can mean one thing only.
func checkTemplates(p *IdP) error {
	if len(p.RoleTemplates) > maxTemplates {
		return fault.New(fault.Invalid, fmt.Sprintf("%d role templates: want at most %d", len(p.RoleTemplates), maxTemplates))
	}
	for i := range p.RoleTemplates {
		t := &p.RoleTemplates[i]
		for _, f := range []*string{&t.Group, &t.Account, &t.Role, &t.Provider} {
			*f = strings.TrimSpace(*f)
		}
		t.Role = strings.TrimPrefix(t.Role, "/")
		if err := checkTemplate(*t); err != nil {
			return fault.New(fault.Invalid, fmt.Sprintf("role template %d: %v", i+1, err)).
				WithMend("write it like group aws-{account}-{role}, account {account}, role {role}, provider okta")
		}
	}
	return nil
}

func checkTemplate(t RoleTemplate) error {
	group, err := parts(t.Group)
	if err != nil {
		return fmt.Errorf("group: %w", err)
	}
	if strings.Contains(t.Group, "*") {
		return fmt.Errorf("group: * is no wildcard here; write {name} for the part that differs")
	}
	known, last := map[string]string{}, false
	for _, p := range group {
		if p.capture != "" {
			if _, twice := known[p.capture]; twice || last {
				return fmt.Errorf("group: {%s} stands twice, or right behind another capture", p.capture)
			}
			known[p.capture] = "x"
		}
		last = p.capture != ""
	}
	if t.Account == "" || t.Role == "" || t.Provider == "" {
		return fmt.Errorf("account, role and provider all have to be given")
	}
	// One sample shows whether the rest can become ARNs at all.
	account, err := fillIn(t.Account, known)
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	if a, err := parts(t.Account); err == nil && len(a) == 1 && a[0].capture != "" {
		account = "111122223333"
	}
	role, err := fillIn(t.Role, known)
	if err != nil {
		return fmt.Errorf("role: %w", err)
	}
	provider, err := fillIn(t.Provider, known)
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	if !arn.IsAccount(account) {
		return fmt.Errorf("account: want 12 digits, or one capture and nothing else")
	}
	if _, err := arn.ParseRole("arn:aws:iam::" + account + ":role/" + role); err != nil {
		return fmt.Errorf("role: it can't become the name of a role: %w", err)
	}
	if _, err := arn.ParseSAMLProvider("arn:aws:iam::" + account + ":saml-provider/" + provider); err != nil {
		return fmt.Errorf("provider: it can't become the name of a SAML provider: %w", err)
	}
	return nil
}

var captureForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// parts takes a template apart.
func parts(s string) ([]part, error) {
	if s == "" || len(s) > 256 || !printable(s) {
		return nil, fmt.Errorf("want 1 to 256 bytes of printable text")
	}
	var out []part
	for s != "" {
		open := strings.IndexByte(s, '{')
		if open != 0 {
			if open < 0 {
				open = len(s)
			}
			if strings.IndexByte(s[:open], '}') >= 0 {
				return nil, fmt.Errorf("a } without its {")
			}
			out, s = append(out, part{literal: s[:open]}), s[open:]
			continue
		}
		end := strings.IndexByte(s, '}')
		if end < 0 || !captureForm.MatchString(s[1:end]) {
			return nil, fmt.Errorf("a capture is {name}: a letter, then letters, digits and _")
		}
		out, s = append(out, part{capture: s[1:end]}), s[end+1:]
	}
	return out, nil
}

// fillIn puts captured text in the place of captures.
func fillIn(template string, values map[string]string) (string, error) {
	all, err := parts(template)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range all {
		if p.capture == "" {
			b.WriteString(p.literal)
			continue
		}
		v, ok := values[p.capture]
		if !ok {
			return "", fmt.Errorf("{%s} is not captured by the group", p.capture)
		}
		b.WriteString(v)
	}
	return b.String(), nil
}
