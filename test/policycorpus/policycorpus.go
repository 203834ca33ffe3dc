// Package policycorpus runs the corpus of policy cases, which is data
// (internal/protocol/policy/testdata/corpus), against the policy engine. Each
// case names policies, context and request, and the decision, its determining
// statements and its reason.
package policycorpus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
)

// Outcome is what one case gave. Wrong says what differs from what the case
// expects; empty for a pass.
type Outcome struct {
	Class string
	Name  string
	Wrong string
}

// outcomes collects, and numbers nothing: names tell cases apart.
type outcomes []Outcome

func (o *outcomes) add(class, name, wrong string) {
	*o = append(*o, Outcome{Class: class, Name: name, Wrong: wrong})
}

// Run runs every case of the corpus in dir. An error is a corpus that can't be
// read, never a case that fails.
func Run(dir fs.FS) ([]Outcome, error) {
	var out outcomes
	for _, name := range []string{"conditions.json", "operators.json"} {
		cases, err := load[conditionCase](dir, name)
		if err != nil {
			return nil, err
		}
		for i, c := range cases {
			if err := c.run(&out, fmt.Sprintf("%s case %d (%s)", name, i+1, c.About)); err != nil {
				return nil, fmt.Errorf("%s case %d: %w", name, i+1, err)
			}
		}
	}
	decisions, err := load[decisionCase](dir, "decisions.json")
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, c := range decisions {
		if names[c.Name] {
			return nil, fmt.Errorf("decisions.json: case %q stands twice", c.Name)
		}
		names[c.Name] = true
		wrong, err := c.run()
		if err != nil {
			return nil, fmt.Errorf("decisions.json: %q: %w", c.Name, err)
		}
		out.add(c.class(), c.Name, wrong)
	}
	refused, err := load[refusedCase](dir, "refused.json")
	if err != nil {
		return nil, err
	}
	for _, c := range refused {
		out.add("refused when written", c.Name, c.run())
	}
	return out, nil
}

func load[T any](dir fs.FS, name string) ([]T, error) {
	b, err := fs.ReadFile(dir, name)
	if err != nil {
		return nil, err
	}
	var c struct {
		About string `json:"about"`
		Cases []T    `json:"cases"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c.Cases, nil
}

func contextOf(m map[string]any) policy.Context {
	var c policy.Context
	for key, v := range m {
		var values []string
		if list, ok := v.([]any); ok {
			for _, item := range list {
				values = append(values, fmt.Sprint(item))
			}
		} else {
			values = []string{fmt.Sprint(v)}
		}
		c.Set(key, values...)
	}
	return c
}

// request is what a case asks unless it says otherwise.
func request() policy.Request {
	return policy.Request{
		Principal: policy.Principal{
			Account: "111122223333", ARN: "arn:aws:iam::111122223333:role/data/analyst",
			SessionARN: "arn:aws:sts::111122223333:assumed-role/analyst/alice",
			UniqueID:   "AROAEXAMPLEANALYST000",
		},
		Action: "s3:GetObject", Resource: "arn:aws:s3:::sales/2026/a.csv", ResourceAccount: "111122223333",
	}
}

func word(v policy.Verdict) string {
	switch {
	case v.Allow:
		return "allow"
	case v.Explicit:
		return "explicit"
	}
	return "implicit"
}

// expectation is the right half of a case.
type expectation struct {
	Expect      string   `json:"expect"` // allow, implicit or explicit (deny)
	By          string   `json:"by"`     // the kind of policy that decided; empty is not checked
	Determining []string `json:"determining"`
	Reason      string   `json:"reason"`
}

// differs compares Decide and Explain with what is expected, and with each
// other.
func (x *expectation) differs(v policy.Verdict, e policy.Explanation) string {
	var wrong []string
	check := func(what, got, want string) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s: got %q, want %q", what, got, want))
		}
	}
	check("decision", word(v), x.Expect)
	check("determining statements", strings.Join(e.Determining, " "), strings.Join(x.Determining, " "))
	check("reason", e.Reason, x.Reason)
	if x.By != "" {
		check("decided by", v.By.String(), x.By)
	}
	if v != e.Verdict {
		wrong = append(wrong, fmt.Sprintf("Explain says %+v, Decide says %+v", e.Verdict, v))
	}
	if cited := v.Cites(); (v.Allow || v.Explicit) != (cited != "") || cited != "" && !slices.Contains(e.Determining, cited) {
		wrong = append(wrong, fmt.Sprintf("%+v cites %q", v, cited))
	}
	for _, f := range e.Findings {
		if f.Applies != (len(f.Unmet) == 0) {
			wrong = append(wrong, fmt.Sprintf("finding %+v", f))
		}
	}
	return strings.Join(wrong, "; ")
}

// conditionCase is one condition on one request, tried in an Allow and, over
// an allow of all, in a Deny. Met is yes, no, or broken: present and does not
// parse, so an Allow does not apply and a Deny does.
type conditionCase struct {
	About     string          `json:"about"`
	Condition json.RawMessage `json:"condition"`
	Context   map[string]any  `json:"context"`
	Met       string          `json:"met"`
}

const (
	nothingAllows = "because no identity-based policy allows the s3:GetObject action"
	denied        = "with an explicit deny in an identity-based policy"
)

func (c *conditionCase) run(out *outcomes, name string) error {
	allow := expectation{Expect: "implicit", Reason: nothingAllows}
	deny := expectation{Expect: "explicit", Determining: []string{"p#1"}, Reason: denied}
	switch c.Met {
	case "yes":
		allow = expectation{Expect: "allow", Determining: []string{"p#1"}}
	case "no":
		deny = expectation{Expect: "allow", Determining: []string{"all#1"}}
	case "broken":
	default:
		return fmt.Errorf("met is %q", c.Met)
	}
	all, err := policy.Parse(policy.Identity, "all", []byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`))
	if err != nil {
		return err
	}
	r := request()
	r.Context = contextOf(c.Context)
	for effect, want := range map[string]expectation{"Allow": allow, "Deny": deny} {
		src := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":%q,"Action":"s3:*","Resource":"*","Condition":%s}}`, effect, c.Condition)
		d, err := policy.Parse(policy.Identity, "p", []byte(src))
		if err != nil {
			return err
		}
		set := policy.Set{Identity: []*policy.Document{d}}
		if effect == "Deny" {
			set.Identity = append(set.Identity, all)
		}
		out.add("conditions in "+effect, name, want.differs(set.Decide(&r), set.Explain(&r)))
	}
	return nil
}

type decisionCase struct {
	Name       string              `json:"name"`
	Identity   []json.RawMessage   `json:"identity"`
	Resource   json.RawMessage     `json:"resource"`
	Boundary   json.RawMessage     `json:"boundary"`
	Session    []json.RawMessage   `json:"session"`
	Guardrails [][]json.RawMessage `json:"guardrails"`
	Trust      json.RawMessage     `json:"trust"`
	Principal  map[string]string   `json:"principal"`
	Action     *string             `json:"action"`
	On         *string             `json:"on"`
	Account    *string             `json:"account"`
	Context    map[string]any      `json:"context"`
	expectation
}

// class names a case by the policy that makes it more than an identity policy.
func (c *decisionCase) class() string {
	switch {
	case c.Trust != nil:
		return "role trust policies"
	case c.Guardrails != nil:
		return "guardrails (SCP, RCP)"
	case c.Account != nil:
		return "cross-account"
	case c.Session != nil:
		return "session policies"
	case c.Boundary != nil:
		return "permissions boundaries"
	case c.Resource != nil:
		return "resource policies"
	}
	return "identity policies"
}

func (c *decisionCase) run() (string, error) {
	r := c.request()
	if c.Trust != nil {
		d, err := policy.Parse(policy.Trust, "trust", c.Trust)
		if err != nil {
			return "", err
		}
		return c.differs(d.Trusts(&r), d.ExplainTrust(&r)), nil
	}
	set, err := c.set()
	if err != nil {
		return "", err
	}
	v := set.Decide(&r)
	wrong := c.differs(v, set.Explain(&r))
	if s, ok := c.simulated(&set, &r); ok && s != map[string]policy.EvalDecision{"allow": policy.Allowed, "explicit": policy.ExplicitDeny, "implicit": policy.ImplicitDeny}[word(v)] {
		wrong += "; Simulate says " + string(s)
	}
	return wrong, nil
}

// simulated asks Simulate, which takes the caller's account for resources
// whose policy is not given.
func (c *decisionCase) simulated(set *policy.Set, r *policy.Request) (policy.EvalDecision, bool) {
	if r.ResourceAccount == "" || set.Resource == nil && r.ResourceAccount != r.Principal.Account || r.Resource == "" {
		return "", false
	}
	s := policy.Simulate(policy.Simulation{
		Set: *set, Principal: r.Principal, ResourceAccount: r.ResourceAccount,
		Actions: []string{r.Action}, Resources: []string{r.Resource}, Context: r.Context,
	})
	return s[0].Decision, true
}

func (c *decisionCase) set() (policy.Set, error) {
	var first error
	one := func(kind policy.Kind, name string, src json.RawMessage) *policy.Document {
		if src == nil {
			return nil
		}
		d, err := policy.Parse(kind, name, src)
		if err != nil && first == nil {
			first = err
		}
		return d
	}
	list := func(kind policy.Kind, name string, sources []json.RawMessage) (out []*policy.Document) {
		for i, src := range sources {
			out = append(out, one(kind, fmt.Sprintf("%s-%d", name, i+1), src))
		}
		return out
	}
	s := policy.Set{
		Identity: list(policy.Identity, "identity", c.Identity), Session: list(policy.Session, "session", c.Session),
		Resource: one(policy.Resource, "bucket", c.Resource), Boundary: one(policy.Boundary, "boundary", c.Boundary),
	}
	for _, level := range c.Guardrails {
		s.Guardrails = append(s.Guardrails, list(policy.Guardrail, "guardrail", level))
	}
	return s, first
}

func (c *decisionCase) request() policy.Request {
	r := request()
	for from, to := range map[*string]*string{c.Action: &r.Action, c.On: &r.Resource, c.Account: &r.ResourceAccount} {
		if from != nil {
			*to = *from
		}
	}
	if p := c.Principal; p != nil {
		r.Principal = policy.Principal{
			Account: p["account"], ARN: p["arn"], SessionARN: p["session_arn"],
			UniqueID: p["unique_id"], Provider: p["provider"], Service: p["service"],
		}
	}
	r.Context = contextOf(c.Context)
	return r
}

type refusedCase struct {
	Name   string          `json:"name"`
	Kind   string          `json:"kind"`
	Policy json.RawMessage `json:"policy"` // itself, or its text where it is no JSON
	Error  string          `json:"error"`
}

var kinds = map[string]policy.Kind{
	"identity": policy.Identity, "resource": policy.Resource, "trust": policy.Trust,
	"session": policy.Session, "boundary": policy.Boundary, "guardrail": policy.Guardrail,
}

func (c *refusedCase) run() string {
	kind, ok := kinds[c.Kind]
	if !ok {
		return fmt.Sprintf("no kind %q", c.Kind)
	}
	src := []byte(c.Policy)
	var text string
	if json.Unmarshal(src, &text) == nil {
		src = []byte(text)
	}
	_, err := policy.Parse(kind, "p", src)
	if err == nil {
		return fmt.Sprintf("accepted %s", src)
	}
	if f := fault.Of(err); f.Code != "MalformedPolicyDocument" || !strings.Contains(f.Public, c.Error) {
		return fmt.Sprintf("refused with %s: %q, want %q in it", f.Code, f.Public, c.Error)
	}
	return ""
}
