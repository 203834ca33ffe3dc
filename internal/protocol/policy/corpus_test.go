package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
)

// The corpus is data, so that it can be read, extended and run against another
// evaluator. leastCases fails the test when files go missing.
const leastCases = 600

type corpus[T any] struct {
	About string `json:"about"`
	Cases []T    `json:"cases"`
}

type conditionCase struct {
	About     string          `json:"about"`
	Condition json.RawMessage `json:"condition"`
	Context   map[string]any  `json:"context"`
	Met       string          `json:"met"`
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
	Expect     string              `json:"expect"`
	By         string              `json:"by"`
	Cites      string              `json:"cites"`
}

type refusedCase struct {
	Name   string          `json:"name"`
	Kind   string          `json:"kind"`
	Policy json.RawMessage `json:"policy"`
	Error  string          `json:"error"`
}

func load[T any](t testing.TB, name string) []T {
	t.Helper()
	b, err := os.ReadFile("testdata/corpus/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var c corpus[T]
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c.Cases
}

func TestCorpusIsWhole(t *testing.T) {
	t.Parallel()
	n := len(load[conditionCase](t, "conditions.json")) +
		len(load[decisionCase](t, "decisions.json")) + len(load[refusedCase](t, "refused.json"))
	if n < leastCases {
		t.Fatalf("%d cases, want at least %d", n, leastCases)
	}
}

func mustParse(t testing.TB, kind policy.Kind, name string, src []byte) *policy.Document {
	t.Helper()
	d, err := policy.Parse(kind, name, src)
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return d
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

func defaultRequest() policy.Request {
	return policy.Request{
		Principal: policy.Principal{
			Account: "111122223333", ARN: "arn:aws:iam::111122223333:role/data/analyst",
			SessionARN: "arn:aws:sts::111122223333:assumed-role/analyst/alice",
			UniqueID:   "AROAEXAMPLEANALYST000",
		},
		Action: "s3:GetObject", Resource: "arn:aws:s3:::sales/2026/a.csv", ResourceAccount: "111122223333",
	}
}

func outcome(v policy.Verdict) string {
	switch {
	case v.Allow:
		return "allow"
	case v.Explicit:
		return "explicit"
	}
	return "implicit"
}

// TestConditions tries each condition in an Allow and, over an allow of all,
// in a Deny.
func TestConditions(t *testing.T) {
	t.Parallel()
	all := mustParse(t, policy.Identity, "all", []byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`))
	want := map[string][2]string{
		"yes": {"allow", "explicit"}, "no": {"implicit", "allow"}, "broken": {"implicit", "explicit"},
	}
	for i, tc := range load[conditionCase](t, "conditions.json") {
		r := defaultRequest()
		r.Context = contextOf(tc.Context)
		for j, effect := range []string{"Allow", "Deny"} {
			src := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":%q,"Action":"s3:*","Resource":"*","Condition":%s}}`, effect, tc.Condition)
			set := policy.Set{Identity: []*policy.Document{mustParse(t, policy.Identity, "p", []byte(src))}}
			if effect == "Deny" {
				set.Identity = append(set.Identity, all)
			}
			expect, ok := want[tc.Met]
			if !ok {
				t.Fatalf("case %d: met is %q", i, tc.Met)
			}
			if got := outcome(set.Decide(&r)); got != expect[j] {
				t.Errorf("case %d (%s), %s: got %s, want %s\n%s\n%v", i, tc.About, effect, got, expect[j], tc.Condition, tc.Context)
			}
			agree(t, &set, &r)
		}
	}
}

// agree holds Explain equal to Decide, in outcome and in what it cites.
func agree(t testing.TB, set *policy.Set, r *policy.Request) {
	t.Helper()
	v, e := set.Decide(r), set.Explain(r)
	if v != e.Verdict {
		t.Errorf("Explain says %+v, Decide says %+v", e.Verdict, v)
	}
	checkExplanation(t, e)
}

func checkExplanation(t testing.TB, e policy.Explanation) {
	t.Helper()
	if e.Allow != (e.Reason == "") {
		t.Errorf("allow is %v and the reason is %q", e.Allow, e.Reason)
	}
	cited := e.Cites()
	if (e.Allow || e.Explicit) != (cited != "") {
		t.Errorf("verdict %+v cites %q", e.Verdict, cited)
	}
	denies, allowed := 0, map[policy.Source]bool{}
	for _, f := range e.Findings {
		if f.Applies != (len(f.Unmet) == 0) {
			t.Errorf("finding %+v", f)
		}
		if f.Applies && f.Deny {
			denies++
		}
		if f.Applies && !f.Deny {
			allowed[f.By] = true
		}
	}
	if e.Explicit != (denies > 0) {
		t.Errorf("explicit is %v, and %d denies apply", e.Explicit, denies)
	}
	if e.Allow && !allowed[policy.ByIdentity] && !allowed[policy.ByResource] {
		t.Error("allowed, and no statement allows")
	}
	if cited != "" && !strings.Contains(strings.Join(e.Determining, "\n"), cited) {
		t.Errorf("%q decided and is not among %q", cited, e.Determining)
	}
}

func (tc *decisionCase) set(t testing.TB) policy.Set {
	parse := func(kind policy.Kind, name string, list []json.RawMessage) (out []*policy.Document) {
		for i, src := range list {
			out = append(out, mustParse(t, kind, fmt.Sprintf("%s-%d", name, i+1), src))
		}
		return out
	}
	var s policy.Set
	s.Identity = parse(policy.Identity, "identity", tc.Identity)
	s.Session = parse(policy.Session, "session", tc.Session)
	if tc.Resource != nil {
		s.Resource = mustParse(t, policy.Resource, "bucket", tc.Resource)
	}
	if tc.Boundary != nil {
		s.Boundary = mustParse(t, policy.Boundary, "boundary", tc.Boundary)
	}
	for _, level := range tc.Guardrails {
		s.Guardrails = append(s.Guardrails, parse(policy.Guardrail, "guardrail", level))
	}
	return s
}

func (tc *decisionCase) request() policy.Request {
	r := defaultRequest()
	for from, to := range map[*string]*string{tc.Action: &r.Action, tc.On: &r.Resource, tc.Account: &r.ResourceAccount} {
		if from != nil {
			*to = *from
		}
	}
	if tc.Principal != nil {
		p := tc.Principal
		r.Principal = policy.Principal{
			Account: p["account"], ARN: p["arn"], SessionARN: p["session_arn"],
			UniqueID: p["unique_id"], Provider: p["provider"], Service: p["service"],
		}
	}
	r.Context = contextOf(tc.Context)
	return r
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, tc := range load[decisionCase](t, "decisions.json") {
		if names[tc.Name] {
			t.Errorf("case %q stands twice", tc.Name)
		}
		names[tc.Name] = true
		t.Run(tc.Name, func(t *testing.T) {
			r := tc.request()
			var v policy.Verdict
			if tc.Trust != nil {
				d := mustParse(t, policy.Trust, "trust", tc.Trust)
				v = d.Trusts(&r)
				e := d.ExplainTrust(&r)
				if e.Verdict != v {
					t.Errorf("ExplainTrust says %+v, Trusts says %+v", e.Verdict, v)
				}
				checkExplanation(t, e)
			} else {
				set := tc.set(t)
				v = set.Decide(&r)
				if tc.Expect == "allow" || r.Resource != "" {
					agree(t, &set, &r)
				}
			}
			if got := outcome(v); got != tc.Expect {
				t.Errorf("got %s, want %s", got, tc.Expect)
			}
			if tc.By != "" && v.By.String() != tc.By {
				t.Errorf("decided by %s, want %s", v.By, tc.By)
			}
			if tc.Cites != "" && v.Cites() != tc.Cites {
				t.Errorf("cites %q, want %q", v.Cites(), tc.Cites)
			}
		})
	}
}

var kinds = map[string]policy.Kind{
	"identity": policy.Identity, "resource": policy.Resource, "trust": policy.Trust,
	"session": policy.Session, "boundary": policy.Boundary, "guardrail": policy.Guardrail,
}

func TestRefusedWhenWritten(t *testing.T) {
	t.Parallel()
	for _, tc := range load[refusedCase](t, "refused.json") {
		kind, ok := kinds[tc.Kind]
		if !ok {
			t.Fatalf("%s: no kind %q", tc.Name, tc.Kind)
		}
		src := []byte(tc.Policy)
		var text string
		if json.Unmarshal(src, &text) == nil {
			src = []byte(text)
		}
		_, err := policy.Parse(kind, "p", src)
		if err == nil {
			t.Errorf("%s: accepted %s", tc.Name, src)
			continue
		}
		if f := fault.Of(err); f.Code != "MalformedPolicyDocument" || !strings.Contains(f.Public, tc.Error) {
			t.Errorf("%s: refused with %s: %q, want %q in it", tc.Name, f.Code, f.Public, tc.Error)
		}
	}
}
