package policy

import (
	"errors"
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
)

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
				out.allAWS = true
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
	case a.Service == "sts" && kind == "federated-user" && name != "" && !strings.Contains(name, "/"):
		return principalEntry{kind: bySessionARN, text: text}, nil
	}
	return principalEntry{}, errors.New("want the ARN of a role, user, role session, federated user or account root")
}

func isUniqueID(s string) bool {
	if len(s) < 16 || len(s) > 128 || !strings.HasPrefix(s, "AROA") && !strings.HasPrefix(s, "AIDA") {
		return false
	}
	return each(s, func(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }, "")
}
