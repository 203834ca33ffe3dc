package iam

import (
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
