//go:build interop

// Package policydiff holds the policy engine against an independent public
// simulator, which runs as a process of its own: random cases, and every
// difference explained in a file that the run checks.
package policydiff

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/protocol/policy"
)

type object = map[string]any

// Case is one question with all policies that bear on it.
type Case struct {
	Principal string              `json:"principal"` // ARN of a role session, user or provider
	Action    string              `json:"action"`
	Resource  string              `json:"resource"`
	Account   string              `json:"account"` // of the resource
	Context   map[string][]string `json:"context,omitempty"`
	Identity  []object            `json:"identity,omitempty"`
	Bucket    object              `json:"resource_policy,omitempty"`
	Trust     object              `json:"trust_policy,omitempty"`
	Boundary  object              `json:"boundary,omitempty"`
	Session   object              `json:"session,omitempty"`
	Service   [][]object          `json:"service_control,omitempty"`  // by level
	Resources [][]object          `json:"resource_control,omitempty"` // by level, denies only
}

// multivalued names the context keys that hold lists; the others are sent as
// one text.
var multivalued = []string{"aws:TagKeys", "aws:PrincipalOrgPaths", "s3:RequestObjectTagKeys"}

// theirs writes the case in the simulator's words.
func (c *Case) theirs() ([]byte, error) {
	values := object{}
	for k, v := range c.Context {
		if slices.Contains(multivalued, k) {
			values[k] = v
		} else {
			values[k] = v[0]
		}
	}
	named := func(list []object) []object {
		out := []object{}
		for i, d := range list {
			out = append(out, object{"name": fmt.Sprintf("p%d", i+1), "policy": d})
		}
		return out
	}
	levels := func(list [][]object) []object {
		out := []object{}
		for i, l := range list {
			out = append(out, object{"orgIdentifier": fmt.Sprintf("ou-%d", i+1), "policies": named(l)})
		}
		return out
	}
	s := object{
		"request": object{
			"principal": c.Principal, "action": c.Action, "contextVariables": values,
			"resource": object{"resource": c.Resource, "accountId": c.Account},
		},
		"identityPolicies":        named(c.Identity),
		"serviceControlPolicies":  levels(c.Service),
		"resourceControlPolicies": levels(c.Resources),
	}
	if c.Bucket != nil {
		s["resourcePolicy"] = c.Bucket
	}
	if c.Trust != nil {
		s["resourcePolicy"] = c.Trust
	}
	if c.Boundary != nil {
		s["permissionBoundaryPolicies"] = named([]object{c.Boundary})
	}
	if c.Session != nil {
		s["sessionPolicy"] = c.Session
	}
	return json.Marshal(s)
}

// parser keeps the first error.
type parser struct{ err error }

func (p *parser) one(kind policy.Kind, d object) *policy.Document {
	if d == nil {
		return nil
	}
	src, err := json.Marshal(d)
	if err == nil {
		var out *policy.Document
		if out, err = policy.Parse(kind, "p", src); err == nil {
			return out
		}
	}
	if p.err == nil {
		p.err = fmt.Errorf("%w\n%s", err, src)
	}
	return nil
}

func (p *parser) list(kind policy.Kind, list []object) (out []*policy.Document) {
	for _, d := range list {
		out = append(out, p.one(kind, d))
	}
	return out
}

// everything is RCPFullAWSAccess, which AWS attaches by itself.
var everything = object{"Version": "2012-10-17", "Statement": object{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}

// ours decides the case with the engine, by Decide, Explain and Simulate.
func (c *Case) ours() (string, error) {
	var p parser
	set := policy.Set{
		Identity: p.list(policy.Identity, c.Identity), Boundary: p.one(policy.Boundary, c.Boundary),
		Resource: p.one(policy.Resource, c.Bucket),
	}
	if c.Session != nil {
		set.Session = p.list(policy.Session, []object{c.Session})
	}
	for _, level := range c.Service {
		set.Guardrails = append(set.Guardrails, p.list(policy.Guardrail, level))
	}
	for _, level := range c.Resources {
		set.Guardrails = append(set.Guardrails, append(p.list(policy.Guardrail, level), p.one(policy.Guardrail, everything)))
	}
	r := policy.Request{Principal: principal(c.Principal), Action: c.Action, Resource: c.Resource, ResourceAccount: c.Account}
	for k, v := range c.Context {
		r.Context.Set(k, v...)
	}
	trust := p.one(policy.Trust, c.Trust)
	if p.err != nil {
		return "", p.err
	}
	if trust != nil {
		v, e := trust.Trusts(&r), trust.ExplainTrust(&r)
		if v != e.Verdict {
			return "", fmt.Errorf("Trusts says %+v, ExplainTrust says %+v", v, e.Verdict)
		}
		return word(v), nil
	}
	v, e := set.Decide(&r), set.Explain(&r)
	if v != e.Verdict {
		return "", fmt.Errorf("Decide says %+v, Explain says %+v", v, e.Verdict)
	}
	if set.Resource != nil || r.ResourceAccount == r.Principal.Account {
		s := policy.Simulate(policy.Simulation{
			Set: set, Principal: r.Principal, ResourceAccount: r.ResourceAccount,
			Actions: []string{r.Action}, Resources: []string{r.Resource}, Context: r.Context,
		})
		if got := simulated[s[0].Decision]; got != word(v) {
			return "", fmt.Errorf("Decide says %s, Simulate says %s", word(v), got)
		}
	}
	return word(v), nil
}

var simulated = map[policy.EvalDecision]string{policy.Allowed: "allow", policy.ExplicitDeny: "explicit", policy.ImplicitDeny: "implicit"}

func word(v policy.Verdict) string {
	switch {
	case v.Allow:
		return "allow"
	case v.Explicit:
		return "explicit"
	}
	return "implicit"
}

// principal names the caller in every way that a policy may.
func principal(arn string) policy.Principal {
	fields := strings.SplitN(arn, ":", 6)
	p := policy.Principal{Account: fields[4], ARN: arn}
	kind, name, _ := strings.Cut(fields[5], "/")
	switch kind {
	case "assumed-role":
		role, _, _ := strings.Cut(name, "/")
		p.SessionARN, p.ARN = arn, "arn:aws:iam::"+p.Account+":role/"+role
	case "saml-provider", "oidc-provider":
		return policy.Principal{Provider: arn}
	}
	return p
}
