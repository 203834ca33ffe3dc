package policy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/policy"
	"pgregory.net/rapid"
)

const administrator = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "*",
      "Resource": "*"
    }
  ]
}`

// TestSimulationPointsAtStatements holds positions as AWS answers them: from
// after the bracket or comma, or the brace of a lone statement, to after the
// closing brace; both counted from 1.
func TestSimulationPointsAtStatements(t *testing.T) {
	t.Parallel()
	const lone = `{
  "Version": "2012-10-17",
  "Statement": {
    "Effect": "Allow",
    "Action": "s3:ListBucket",
    "Resource": "arn:aws:s3:::teambucket"
  }
}`
	const two = `{"Id":"ü, [1]","Statement":[{"Effect":"Allow","Action":"s3:x","Resource":"*"} , {"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}]}`
	for name, tc := range map[string]struct {
		src        string
		start, end policy.Position
	}{
		"AdministratorAccess": {administrator, policy.Position{Line: 3, Column: 17}, policy.Position{Line: 8, Column: 6}},
		"a lone statement":    {lone, policy.Position{Line: 3, Column: 16}, policy.Position{Line: 7, Column: 4}},
		"one line":            {`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, policy.Position{Line: 1, Column: 38}, policy.Position{Line: 1, Column: 84}},
		"the second":          {two, policy.Position{Line: 1, Column: 80}, policy.Position{Line: 1, Column: 139}},
	} {
		got := policy.Simulate(policy.Simulation{
			Set:       policy.Set{Identity: []*policy.Document{mustParse(t, policy.Identity, "PolicyInputList.1", []byte(tc.src))}},
			Principal: policy.Principal{Account: "111122223333"},
			Actions:   []string{"s3:ListBucket"}, Resources: []string{"arn:aws:s3:::teambucket"},
		})
		want := []policy.MatchedStatement{{SourcePolicyID: "PolicyInputList.1", SourcePolicyType: "IAM Policy", Start: tc.start, End: tc.end}}
		if len(got) != 1 || got[0].Decision != policy.Allowed || !reflect.DeepEqual(got[0].Matched, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// simulated is what the tests compare: ids of the statements as id:line.
type simulated struct {
	decision       policy.EvalDecision
	matched        string
	missing        string
	details        map[string]policy.EvalDecision
	organizations  string
	boundary       string
	resourceListed string
}

func shown(s policy.Simulated) simulated {
	out := simulated{decision: s.Decision, missing: strings.Join(s.Missing, " "), details: s.Details, organizations: "-", boundary: "-", resourceListed: s.Resource}
	for _, m := range s.Matched {
		out.matched += fmt.Sprintf("%s:%d ", m.SourcePolicyID, m.Start.Line)
	}
	if s.AllowedByOrganizations != nil {
		out.organizations = fmt.Sprint(*s.AllowedByOrganizations)
	}
	if s.AllowedByBoundary != nil {
		out.boundary = fmt.Sprint(*s.AllowedByBoundary)
	}
	return out
}

func TestSimulate(t *testing.T) {
	t.Parallel()
	const object = "arn:aws:s3:::sales/a"
	one := func(kind policy.Kind, name, effect, more string) *policy.Document {
		if kind == policy.Resource {
			more = `"Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},` + more
		}
		return mustParse(t, kind, name, []byte(`{"Version":"2012-10-17","Statement":[`+"\n"+`{"Effect":"`+effect+`",`+more+`}]}`))
	}
	const all = `"Action":"s3:*","Resource":"*"`
	allow := one(policy.Identity, "a", "Allow", all)
	same := map[string]policy.EvalDecision{}
	cross := func(identity, resource policy.EvalDecision) map[string]policy.EvalDecision {
		return map[string]policy.EvalDecision{"IAM Policy": identity, "Resource Policy": resource}
	}
	list := func(d ...*policy.Document) []*policy.Document { return d }
	for name, tc := range map[string]struct {
		set      policy.Set
		owner    string
		resource string
		want     simulated
	}{
		"nothing": {want: simulated{decision: "implicitDeny", details: same}},
		"allow":   {set: policy.Set{Identity: list(allow)}, want: simulated{decision: "allowed", matched: "a:1 ", details: same}},
		"all resources: no details": {set: policy.Set{Identity: list(allow)}, resource: "*",
			want: simulated{decision: "allowed", matched: "a:1 "}},
		"an ARN does not cover all resources": {set: policy.Set{Identity: list(one(policy.Identity, "a", "Allow", `"Action":"s3:*","Resource":"arn:aws:s3:::*"`))}, resource: "*",
			want: simulated{decision: "implicitDeny"}},
		"only denies are shown": {set: policy.Set{Identity: list(allow, one(policy.Identity, "d", "Deny", all))},
			want: simulated{decision: "explicitDeny", matched: "d:1 ", details: same}},
		"missing keys, as written": {set: policy.Set{Identity: list(
			one(policy.Identity, "a", "Allow", `"Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"},"StringEquals":{"aws:userid":"${aws:PrincipalTag/Team}"}}`),
			one(policy.Identity, "b", "Allow", `"Action":"s3:*","Resource":"arn:aws:s3:::sales/${aws:UserName}","Condition":{"Bool":{"aws:SecureTransport":"true"}}`),
			one(policy.Identity, "c", "Allow", `"Action":"s3:Put*","Resource":"*","Condition":{"Bool":{"aws:ViaAWSService":"true"}}`),
			one(policy.Identity, "d", "Allow", `"Action":"s3:*","Resource":"arn:aws:s3:::hr/*","Condition":{"Bool":{"aws:ViaAWSService":"true"}}`))},
			want: simulated{decision: "implicitDeny", missing: "aws:MultiFactorAuthPresent aws:PrincipalTag/Team aws:SecureTransport aws:UserName aws:userid", details: same}},
		"a boundary that does not allow": {set: policy.Set{Identity: list(allow), Boundary: one(policy.Boundary, "b", "Allow", `"Action":"ec2:*","Resource":"*"`)},
			want: simulated{decision: "implicitDeny", boundary: "false", details: same}},
		"a boundary that allows": {set: policy.Set{Identity: list(allow), Boundary: one(policy.Boundary, "b", "Allow", all)},
			want: simulated{decision: "allowed", matched: "a:1 ", boundary: "true", details: same}},
		"a boundary that denies": {set: policy.Set{Identity: list(allow), Boundary: one(policy.Boundary, "b", "Deny", all)},
			want: simulated{decision: "explicitDeny", matched: "b:1 ", boundary: "false", details: same}},
		"a boundary allows alone": {set: policy.Set{Boundary: one(policy.Boundary, "b", "Allow", all)},
			want: simulated{decision: "implicitDeny", boundary: "true", details: same}},
		"a guardrail that allows": {set: policy.Set{Identity: list(allow), Guardrails: [][]*policy.Document{{one(policy.Guardrail, "g", "Allow", all)}}},
			want: simulated{decision: "allowed", matched: "a:1 ", organizations: "true", details: same}},
		"a guardrail that does not": {set: policy.Set{Identity: list(allow), Guardrails: [][]*policy.Document{{one(policy.Guardrail, "g", "Allow", `"Action":"ec2:*","Resource":"*"`)}}},
			want: simulated{decision: "implicitDeny", organizations: "false"}},
		"a guardrail that denies is not shown": {set: policy.Set{Identity: list(allow, one(policy.Identity, "d", "Deny", all)), Guardrails: [][]*policy.Document{{one(policy.Guardrail, "g", "Deny", all)}}},
			want: simulated{decision: "explicitDeny", organizations: "false"}},
		"a resource policy, same account": {set: policy.Set{Resource: one(policy.Resource, "ResourcePolicy", "Allow", all)},
			want: simulated{decision: "allowed", matched: "ResourcePolicy:1 ", details: same}},
		"another account, both sides": {owner: "444455556666", set: policy.Set{Identity: list(allow), Resource: one(policy.Resource, "ResourcePolicy", "Allow", all)},
			want: simulated{decision: "allowed", matched: "ResourcePolicy:1 a:1 ", details: cross("allowed", "allowed")}},
		"another account, resource alone": {owner: "444455556666", set: policy.Set{Resource: one(policy.Resource, "ResourcePolicy", "Allow", all)},
			want: simulated{decision: "implicitDeny", details: cross("implicitDeny", "allowed")}},
		"another account, denied there": {owner: "444455556666", set: policy.Set{Identity: list(allow), Resource: one(policy.Resource, "ResourcePolicy", "Deny", all)},
			want: simulated{decision: "explicitDeny", matched: "ResourcePolicy:1 ", details: cross("allowed", "explicitDeny")}},
		"another account, no resource policy given": {owner: "444455556666", set: policy.Set{Identity: list(allow)},
			want: simulated{decision: "allowed", matched: "a:1 ", details: same}},
		"the account in the ARN counts": {resource: "arn:aws:sqs:us-east-1:444455556666:q", set: policy.Set{Resource: one(policy.Resource, "ResourcePolicy", "Allow", all), Identity: list(allow)},
			want: simulated{decision: "allowed", matched: "ResourcePolicy:1 a:1 ", details: cross("allowed", "allowed")}},
	} {
		t.Run(name, func(t *testing.T) {
			in := policy.Simulation{
				Set: tc.set, ResourceAccount: tc.owner, Actions: []string{"s3:GetObject"}, Resources: []string{object},
				Principal: policy.Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/alice"},
			}
			if tc.resource != "" {
				in.Resources = []string{tc.resource}
			}
			tc.want.resourceListed = in.Resources[0]
			if tc.want.organizations == "" {
				tc.want.organizations = "-"
			}
			if tc.want.boundary == "" {
				tc.want.boundary = "-"
			}
			got := policy.Simulate(in)
			if len(got) != 1 || !reflect.DeepEqual(shown(got[0]), tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestSimulationAsksEveryActionOnEveryResource(t *testing.T) {
	t.Parallel()
	in := policy.Simulation{Actions: []string{"s3:A", "s3:B"}, Resources: []string{"arn:aws:s3:::x", "not an ARN"}}
	var got []string
	for _, s := range policy.Simulate(in) {
		got = append(got, s.Action+" "+s.Resource+" "+string(s.Decision))
	}
	if want := "[s3:A arn:aws:s3:::x implicitDeny s3:A not an ARN implicitDeny s3:B arn:aws:s3:::x implicitDeny s3:B not an ARN implicitDeny]"; fmt.Sprint(got) != want {
		t.Errorf("got %v", got)
	}
	in.Resources = nil
	if s := policy.Simulate(in); len(s) != 2 || s[0].Resource != "*" {
		t.Errorf("got %+v", s)
	}
}

// TestSimulateEqualsDecide also where it has to look at more than Decide does.
func TestSimulateEqualsDecide(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set, r := drawSet(t), drawRequest(t)
		if set.Resource == nil {
			r.ResourceAccount = r.Principal.Account
		}
		got := policy.Simulate(policy.Simulation{
			Set: set, Principal: r.Principal, ResourceAccount: r.ResourceAccount,
			Actions: []string{r.Action}, Resources: []string{r.Resource}, Context: r.Context,
		})
		want := map[string]policy.EvalDecision{"allow": policy.Allowed, "explicit": policy.ExplicitDeny, "implicit": policy.ImplicitDeny}
		if v := set.Decide(&r); got[0].Decision != want[outcome(v)] {
			t.Fatalf("Decide %+v, Simulate %+v", v, got)
		} else if v.Allow && len(got[0].Matched) == 0 {
			t.Fatalf("allowed, and no statement is shown: %+v", got)
		}
	})
}
