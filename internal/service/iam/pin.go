package iam

import (
	"encoding/json"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
)

// pin finds the unique ids of the roles and users that a policy names. Errors:
// MalformedPolicyDocument, when the policy doesn't parse or names nobody.
func (v *View) pin(kind policy.Kind, p Policy) (Policy, error) {
	d, err := policy.Parse(kind, p.Name, []byte(p.Document))
	if err != nil {
		return p, err
	}
	p.Pins = nil
	for _, name := range d.RolePrincipals() {
		id := v.principalID(name)
		if id == "" {
			return p, fault.Coded(fault.Invalid, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"`+name+`"`)
		}
		if p.Pins == nil {
			p.Pins = map[string]string{}
		}
		p.Pins[name] = id
	}
	return p, nil
}

// principalID gives the unique id of the role or user with that ARN; empty for
// none.
func (v *View) principalID(name string) string {
	a, err := arn.Parse(name)
	if err != nil || a.Service != "iam" || a.Region != "" || v.partitions[a.Account] != a.Partition {
		return ""
	}
	last := a.Resource[strings.LastIndexByte(a.Resource, '/')+1:]
	switch {
	case strings.HasPrefix(a.Resource, "role/"):
		if r, ok := v.Role(a.Account, last); ok && r.ARN(a.Partition) == name {
			return string(r.ID)
		}
	case strings.HasPrefix(a.Resource, "user/"):
		if u, ok := v.User(a.Account, last); ok && u.ARN(a.Partition) == name {
			return string(u.ID)
		}
	}
	return ""
}

// Shown gives the text of a policy as people shall see it: where a role or
// user that it names is gone, or was made again, the unique id of the old one
// stands in its ARN's place (IAM User Guide, "AWS JSON policy elements:
// Principal").
func (v *View) Shown(p Policy) string {
	stale := map[string]string{}
	for name, id := range p.Pins {
		if v.principalID(name) != id {
			stale[name] = id
		}
	}
	if len(stale) == 0 {
		return p.Document
	}
	var tree any
	reader := json.NewDecoder(strings.NewReader(p.Document))
	reader.UseNumber()
	if err := reader.Decode(&tree); err != nil {
		return p.Document
	}
	root, _ := tree.(map[string]any)
	statements, several := root["Statement"].([]any)
	if !several {
		statements = []any{root["Statement"]}
	}
	for _, s := range statements {
		s, _ := s.(map[string]any)
		for _, element := range []string{"Principal", "NotPrincipal"} {
			if named, ok := s[element].(map[string]any); ok {
				named["AWS"] = renamed(named["AWS"], stale)
			}
		}
	}
	out, err := json.Marshal(tree)
	if err != nil {
		return p.Document
	}
	return string(out)
}

func renamed(names any, to map[string]string) any {
	switch names := names.(type) {
	case string:
		if id, ok := to[names]; ok {
			return id
		}
	case []any:
		for i := range names {
			names[i] = renamed(names[i], to)
		}
	}
	return names
}
