package policy

import (
	"errors"
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
)

// Principal is who asks, under every name a policy may know them by. Fields
// that do not apply are empty and match nothing.
type Principal struct {
	Account    string // 12 digits
	ARN        string // of the role or user
	SessionARN string // of the role session
	UniqueID   string // AROA… or AIDA…: of the role or user
	Provider   string // ARN of the federated provider, when STS asks
	Service    string // as in ec2.amazonaws.com
}

// grant says how directly a Principal element names the one who asks. The
// order is one of strength.
type grant uint8

const (
	notNamed     grant = iota
	byDelegation       // the account: its own identity policies decide
	asPrincipal        // the role, the provider, or everybody
	asSession          // the session or a user: boundary and session policy do not limit it
)

type principals struct {
	not     bool
	all     bool // "*"
	entries []principalEntry
}

type principalEntry struct {
	kind   principalKind
	text   string
	pinned bool
	id     string // where pinned: the only unique id that matches
}

type principalKind uint8

const (
	byAccount principalKind = iota
	byARN
	bySessionARN
	byUniqueID
	byProvider
	byService
)

func (p *principals) everybody() bool { return !p.not && p.all && len(p.entries) == 0 }

func (p *parser) principals(m member) (*principals, error) {
	out := &principals{not: m.name == "NotPrincipal"}
	if m.value.kind == jsonString && m.value.text == "*" {
		out.all = true
		return out, nil
	}
	if m.value.kind != jsonObject || len(m.value.members) == 0 {
		return nil, fmt.Errorf(`%s must be "*" or a map such as {"AWS": …}`, m.name)
	}
	for _, kind := range m.value.members {
		list, err := texts(m.name+"."+kind.name, kind.value)
		if err != nil {
			return nil, err
		}
		for _, text := range list {
			if kind.name == "AWS" && text == "*" {
				out.all = true
				continue
			}
			e, err := principal(kind.name, text)
			if err != nil {
				return nil, fmt.Errorf("%s.%s %q: %w", m.name, clip(kind.name), clip(text), err)
			}
			out.entries = append(out.entries, e)
		}
	}
	return out, nil
}

func principal(kind, text string) (principalEntry, error) {
	if strings.ContainsAny(text, "*?") {
		return principalEntry{}, errors.New("a principal has no wildcard")
	}
	if strings.Contains(text, "${") {
		return principalEntry{}, errors.New("a principal has no variable")
	}
	switch kind {
	case "AWS":
		return awsPrincipal(text)
	case "Federated":
		if _, err := arn.ParseSAMLProvider(text); err == nil {
			return principalEntry{kind: byProvider, text: text}, nil
		}
		a, err := arn.Parse(text)
		if err != nil || a.Service != "iam" || a.Account == "" || !strings.HasPrefix(a.Resource, "oidc-provider/") {
			return principalEntry{}, errors.New("want the ARN of a saml-provider or an oidc-provider")
		}
		return principalEntry{kind: byProvider, text: text}, nil
	case "Service":
		if !strings.Contains(text, ".") || !each(text, isWord, ".-") {
			return principalEntry{}, errors.New("want a service name such as ec2.amazonaws.com")
		}
		return principalEntry{kind: byService, text: text}, nil
	}
	return principalEntry{}, errors.New("this type of principal can't be evaluated; want AWS, Federated or Service")
}

func awsPrincipal(text string) (principalEntry, error) {
	if arn.IsAccount(text) {
		return principalEntry{kind: byAccount, text: text}, nil
	}
	if isUniqueID(text) {
		return principalEntry{kind: byUniqueID, text: text}, nil
	}
	a, err := arn.Parse(text)
	if err != nil || a.Region != "" || a.Account == "" {
		return principalEntry{}, errors.New("want an account number, a unique id, or the ARN of a role, user or role session")
	}
	kind, name, _ := strings.Cut(a.Resource, "/")
	switch {
	case a.Service == "iam" && a.Resource == "root":
		return principalEntry{kind: byAccount, text: a.Account}, nil
	case a.Service == "iam" && (kind == "role" || kind == "user") && name != "":
		return principalEntry{kind: byARN, text: text}, nil
	case a.Service == "sts" && kind == "assumed-role" && strings.Count(name, "/") == 1:
		return principalEntry{kind: bySessionARN, text: text}, nil
	}
	return principalEntry{}, errors.New("want the ARN of a role, user, role session or account root")
}

func isUniqueID(s string) bool {
	if len(s) < 16 || len(s) > 128 || !strings.HasPrefix(s, "AROA") && !strings.HasPrefix(s, "AIDA") {
		return false
	}
	return each(s, func(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }, "")
}

// names gives how strongly entry e names w.
func (e *principalEntry) names(w *Principal) grant {
	ok, strength := false, asPrincipal
	switch e.kind {
	case byAccount:
		ok, strength = e.text == w.Account, byDelegation
	case byARN:
		ok = e.text == w.ARN && (!e.pinned || e.id != "" && e.id == w.UniqueID)
		if strings.HasPrefix(e.text[strings.LastIndexByte(e.text, ':')+1:], "user/") {
			strength = asSession
		}
	case bySessionARN:
		ok, strength = e.text == w.SessionARN, asSession
	case byUniqueID:
		ok = e.text == w.UniqueID
	case byProvider:
		ok = e.text == w.Provider
	case byService:
		ok = e.text == w.Service
	}
	if !ok || e.text == "" {
		return notNamed
	}
	return strength
}

// match gives how strongly the element names w; for NotPrincipal, whether it
// leaves w unnamed. NotPrincipal stands with Deny only, and AWS looks at the
// account, then at the role, then at the session: who is not listed at each
// of these levels is denied.
func (p *principals) match(w *Principal) grant {
	if p.not {
		if p.all || p.listsAll(w) {
			return notNamed
		}
		return asPrincipal
	}
	best := notNamed
	if p.all {
		best = asPrincipal
	}
	for i := range p.entries {
		best = max(best, p.entries[i].names(w))
	}
	return best
}

func (p *principals) listsAll(w *Principal) bool {
	account, principal, session := w.Account == "", w.ARN == "", w.SessionARN == ""
	named := false
	for i := range p.entries {
		e := &p.entries[i]
		if e.names(w) == notNamed {
			continue
		}
		named = true
		switch e.kind {
		case byAccount:
			account = true
		case byARN, byUniqueID:
			principal = true
		case bySessionARN:
			session = true
		}
	}
	return named && account && principal && session
}
