package federation

import (
	"fmt"
	"regexp"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/saml"
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
		if err := checkTemplate(*t, p.Protocol == OIDC); err != nil {
			return fault.New(fault.Invalid, fmt.Sprintf("role template %d: %v", i+1, err)).
				WithMend("write it like group aws-{account}-{role}, account {account}, role {role}" + providerPart(p.Protocol))
		}
	}
	return nil
}

func providerPart(p Protocol) string {
	if p == OIDC {
		return ""
	}
	return ", provider okta"
}

// checkTemplate checks one; that of an OpenID provider names no SAML provider.
func checkTemplate(t RoleTemplate, oidc bool) error {
	group, err := parts(t.Group)
	if err != nil {
		return fmt.Errorf("group: %w", err)
	}
	if strings.Contains(t.Group, "*") {
		return fmt.Errorf("group: * is no wildcard here; write {name} for the part that differs")
	}
	if strings.ContainsAny(t.Role, "*?$") {
		return fmt.Errorf("role: it may hold no * ? or $")
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
	if t.Account == "" || t.Role == "" || t.Provider == "" && !oidc {
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
	if !arn.IsAccount(account) {
		return fmt.Errorf("account: want 12 digits, or one capture and nothing else")
	}
	if _, err := arn.ParseRole("arn:aws:iam::" + account + ":role/" + role); err != nil {
		return fmt.Errorf("role: it can't become the name of a role: %w", err)
	}
	if t.Provider == "" {
		return nil
	}
	provider, err := fillIn(t.Provider, known)
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	if oidc {
		return fmt.Errorf("provider: the roles of an OpenID provider have none")
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

// Derived is a role that a template gives to the members of a group.
type Derived struct {
	Group string
	// Pair has Index -1: it stands nowhere in the assertion. Its provider is
	// zero where the template of an OpenID provider made it.
	Pair saml.RolePair
}

// Limits of deriving.
const (
	maxGroup   = 256 // bytes of a group's name; a longer one derives nothing
	maxDerived = saml.MaxRoles
)

// Derive gives the roles that templates derive from groups, in the order of
// the groups, each pair once. partition gives the partition of a configured
// account. Nothing here is held against the list yet. A group that fits a
// template in more than one way derives nothing by it, and a note says so.
func (s *Speaker) Derive(groups []string, partition func(account string) (string, bool)) (out []Derived, notes []string) {
	templates := compile(s.IdP.RoleTemplates)
	seen := map[saml.RolePair]bool{}
	for _, group := range groups {
		if group == "" || len(group) > maxGroup {
			continue
		}
		for i, t := range templates {
			captured, ways := t.match(group)
			if ways == 0 {
				continue
			}
			if ways > 1 {
				notes = append(notes, fmt.Sprintf("group %s fits role template %d in more than one way, so it derives nothing by it", quote(group), i+1))
				continue
			}
			pair, err := t.pair(captured, partition)
			if err != nil {
				notes = append(notes, fmt.Sprintf("group %s fits role template %d, but derives no role: %v", quote(group), i+1, err))
				continue
			}
			if seen[pair] {
				continue
			}
			if seen[pair] = true; len(out) == maxDerived {
				return out, append(notes, fmt.Sprintf("more than %d roles are derived from groups; the rest was left out", maxDerived))
			}
			out = append(out, Derived{Group: group, Pair: pair})
		}
	}
	return out, notes
}

// compiled is a template ready to match.
type compiled struct {
	RoleTemplate
	group   []part
	account string // the capture that is the account; empty: none is
}

// compile leaves out what can't be read: it was checked before it was stored.
func compile(all []RoleTemplate) []compiled {
	var out []compiled
	for _, t := range all {
		c := compiled{RoleTemplate: t}
		var err error
		if c.group, err = parts(t.Group); err != nil {
			continue
		}
		if a, err := parts(t.Account); err == nil && len(a) == 1 {
			c.account = a[0].capture
		}
		out = append(out, c)
	}
	return out
}

// mayFit is a cheap look that most names fail: the literal parts have to stand
// in the name in their order.
func (t compiled) mayFit(name string) bool {
	for i, p := range t.group {
		at := strings.Index(name, p.literal) // 0 for a capture
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		name = name[at+len(p.literal):]
	}
	return true
}

// match gives what the captures hold when the whole name fits in exactly one
// way; ways is 2 where there are more.
func (t compiled) match(name string) (captured map[string]string, ways int) {
	if !t.mayFit(name) {
		return nil, 0
	}
	// fits[i][at] counts, up to 2, the ways in which the parts from i on fit
	// the name from at on.
	n := len(t.group)
	fits := make([][]uint8, n+1)
	for i := range fits {
		fits[i] = make([]uint8, len(name)+1)
	}
	fits[n][len(name)] = 1
	for i := n - 1; i >= 0; i-- {
		for at := range len(name) {
			least, most := t.sizes(t.group[i], name[at:])
			for size := least; size <= most && fits[i][at] < 2; size++ {
				fits[i][at] = min(2, fits[i][at]+fits[i+1][at+size])
			}
		}
	}
	if fits[0][0] != 1 {
		return nil, int(fits[0][0])
	}
	captured = map[string]string{}
	at := 0
	for i, p := range t.group {
		least, most := t.sizes(p, name[at:])
		for size := least; size <= most; size++ {
			if fits[i+1][at+size] == 1 {
				if p.capture != "" {
					captured[p.capture] = name[at : at+size]
				}
				at += size
				break
			}
		}
	}
	return captured, 1
}

// sizes gives the least and the most that a part can take at the front of rest,
// and all between; most is 0 where it can't stand there.
func (t compiled) sizes(p part, rest string) (least, most int) {
	switch {
	case p.capture == "":
		if strings.HasPrefix(rest, p.literal) {
			return len(p.literal), len(p.literal)
		}
		return 1, 0
	case p.capture == t.account: // an account number has one length
		if len(rest) >= 12 && arn.IsAccount(rest[:12]) {
			return 12, 12
		}
		return 1, 0
	}
	for most < min(len(rest), 64) && nameByte(rest[most]) {
		most++
	}
	return 1, most
}

// nameByte holds what the name of a role may have (IAM User Guide, "IAM name
// requirements"): no slash, no wildcard, no space, no control.
func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_+=,.@-", c) >= 0
}

func (t compiled) pair(captured map[string]string, partition func(string) (string, bool)) (saml.RolePair, error) {
	account, err := fillIn(t.Account, captured)
	if err != nil {
		return saml.RolePair{}, err
	}
	in, ok := partition(account)
	if !ok {
		return saml.RolePair{}, fmt.Errorf("account %s is not configured", account)
	}
	name, err := fillIn(t.Role, captured)
	if err != nil {
		return saml.RolePair{}, err
	}
	pair := saml.RolePair{Index: -1}
	if pair.Role, err = arn.ParseRole("arn:" + in + ":iam::" + account + ":role/" + name); err != nil || t.Provider == "" {
		return pair, err
	}
	provider, err := fillIn(t.Provider, captured)
	if err != nil {
		return saml.RolePair{}, err
	}
	pair.Provider, err = arn.ParseSAMLProvider("arn:" + in + ":iam::" + account + ":saml-provider/" + provider)
	return pair, err
}
