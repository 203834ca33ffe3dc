package iamapi_test

import (
	"strconv"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/service/iam"
	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// TestSimulateCustomPolicy asks with the AWS SDK.
func TestSimulateCustomPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.admin(t)
	const conditional = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
    {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::lake/hr/*"}
  ]
}`
	out := must[*awsiam.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(t.Context(), &awsiam.SimulateCustomPolicyInput{
		PolicyInputList: []string{conditional}, ActionNames: []string{"s3:GetObject", "s3:PutObject"},
		ResourceArns:                       []string{"arn:aws:s3:::lake/a", "arn:aws:s3:::lake/hr/b"},
		PermissionsBoundaryPolicyInputList: []string{readsS3},
		ContextEntries:                     []types.ContextEntry{{ContextKeyName: aws.String("aws:SourceIp"), ContextKeyType: types.ContextKeyTypeEnumIp, ContextKeyValues: []string{"10.1.2.3"}}},
	}))
	var got []string
	for _, r := range out.EvaluationResults {
		line := *r.EvalActionName + " " + *r.EvalResourceName + " " + string(r.EvalDecision)
		for _, m := range r.MatchedStatements {
			line += " " + *m.SourcePolicyId
		}
		if r.PermissionsBoundaryDecisionDetail == nil || !r.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary || len(r.ResourceSpecificResults) != 1 {
			t.Errorf("%+v", r)
		}
		got = append(got, line)
	}
	want := []string{
		"s3:GetObject arn:aws:s3:::lake/a allowed PolicyInputList.1", "s3:GetObject arn:aws:s3:::lake/hr/b explicitDeny PolicyInputList.1",
		"s3:PutObject arn:aws:s3:::lake/a implicitDeny", "s3:PutObject arn:aws:s3:::lake/hr/b explicitDeny PolicyInputList.1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
	if m := out.EvaluationResults[0].MatchedStatements[0]; m.StartPosition.Line != 3 || m.StartPosition.Column != 17 || m.EndPosition.Line != 4 {
		t.Errorf("%+v %+v", m.StartPosition, m.EndPosition)
	}
	missing := must[*awsiam.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(t.Context(), &awsiam.SimulateCustomPolicyInput{
		PolicyInputList: []string{conditional}, ActionNames: []string{"s3:GetObject"}, ResourceArns: []string{"arn:aws:s3:::lake/a"},
	}))
	if r := missing.EvaluationResults[0]; r.EvalDecision != types.PolicyEvaluationDecisionTypeImplicitDeny || len(r.MissingContextValues) != 1 || r.MissingContextValues[0] != "aws:SourceIp" {
		t.Errorf("%+v", r)
	}
	bucket := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + other + `:user/bob"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/*"}]}`
	crossed := must[*awsiam.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(t.Context(), &awsiam.SimulateCustomPolicyInput{
		PolicyInputList: []string{allow(`"s3:ListBucket"`, "*", "")}, ActionNames: []string{"s3:GetObject"}, ResourceArns: []string{"arn:aws:s3:::lake/a"},
		ResourcePolicy: &bucket, CallerArn: aws.String("arn:aws:iam::" + other + ":user/bob"), ResourceOwner: aws.String("arn:aws:iam::" + account + ":root"),
	}))
	if r := crossed.EvaluationResults[0]; r.EvalDecision != "implicitDeny" || r.EvalDecisionDetails["IAM Policy"] != "implicitDeny" || r.EvalDecisionDetails["Resource Policy"] != "allowed" {
		t.Errorf("%+v", r)
	}
	keys := must[*awsiam.GetContextKeysForCustomPolicyOutput](t)(c.GetContextKeysForCustomPolicy(t.Context(), &awsiam.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{conditional}}))
	if len(keys.ContextKeyNames) != 1 || !strings.EqualFold(keys.ContextKeyNames[0], "aws:SourceIp") {
		t.Errorf("%q", keys.ContextKeyNames)
	}
}

// TestSimulatePrincipalPolicy: all that a user has counts, by the names that
// AWS gives it.
func TestSimulatePrincipalPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.admin(t)
	keys := w.keys(t, w.role(t, account, "operator2", anything), nil)
	for _, call := range [][]string{
		{"CreateUser", "UserName", "ann", "PermissionsBoundary", "arn:aws:iam::aws:policy/AmazonS3FullAccess"},
		{"PutUserPolicy", "UserName", "ann", "PolicyName", "own", "PolicyDocument", allow(`"s3:GetObject"`, "*", "")},
		{"CreateGroup", "GroupName", "writers"}, {"AddUserToGroup", "GroupName", "writers", "UserName", "ann"},
		{"PutGroupPolicy", "GroupName", "writers", "PolicyName", "write", "PolicyDocument", allow(`"s3:PutObject"`, "*", "")},
		{"CreatePolicy", "PolicyName", "lists", "PolicyDocument", allow(`["s3:ListBucket","iam:ListRoles"]`, "*", "")},
		{"AttachGroupPolicy", "GroupName", "writers", "PolicyArn", prefix + "policy/lists"},
	} {
		if r := w.post(t, keys, call[0], call[1:]...); r.status != 200 {
			t.Fatal(call, r.code, r.message)
		}
	}
	ask := func(change func(*awsiam.SimulatePrincipalPolicyInput)) string {
		t.Helper()
		in := &awsiam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String(prefix + "user/ann"), ActionNames: []string{"s3:GetObject", "s3:PutObject", "s3:ListBucket", "iam:ListRoles", "s3:DeleteObject"}}
		if change != nil {
			change(in)
		}
		var all []string
		for pages := awsiam.NewSimulatePrincipalPolicyPaginator(c, in, func(o *awsiam.SimulatePrincipalPolicyPaginatorOptions) { o.Limit = 2 }); pages.HasMorePages(); {
			out, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range out.EvaluationResults {
				line := string(r.EvalDecision)
				for _, m := range r.MatchedStatements {
					line += "=" + *m.SourcePolicyId
				}
				all = append(all, line)
			}
		}
		return strings.Join(all, " ")
	}
	const whole = "allowed=user_ann_own allowed=group_writers_write allowed=lists implicitDeny implicitDeny"
	if got := ask(nil); got != whole {
		t.Errorf("got %s", got)
	}
	if got := ask(func(in *awsiam.SimulatePrincipalPolicyInput) {
		in.PolicyInputList = []string{`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}}`}
		in.PermissionsBoundaryPolicyInputList = []string{anything}
	}); got != "explicitDeny=PolicyInputList.1 allowed=group_writers_write allowed=lists allowed=lists implicitDeny" {
		t.Errorf("got %s", got)
	}
	for name, pairs := range map[string][]string{
		"inline":         {"PolicyExclusionList.member.1.PolicyType", "inline"},
		"by name":        {"PolicyExclusionList.member.1.InlinePolicyIdentifier.PolicyName", "own", "PolicyExclusionList.member.1.InlinePolicyIdentifier.AttachmentType", "user", "PolicyExclusionList.member.1.InlinePolicyIdentifier.AttachmentName", "a*"},
		"by ARN":         {"PolicyExclusionList.member.1.PolicyArn", prefix + "policy/l?sts"},
		"the boundary":   {"PolicyExclusionList.member.1.PolicyType", "permission-boundary"},
		"customer's own": {"PolicyExclusionList.member.1.PolicyType", "user-managed"},
	} {
		r := w.post(t, keys, "SimulatePrincipalPolicy", append([]string{"PolicySourceArn", prefix + "user/ann",
			"ActionNames.member.1", "s3:GetObject", "ActionNames.member.2", "s3:ListBucket", "ActionNames.member.3", "iam:ListRoles"}, pairs...)...)
		var got []string
		for _, part := range strings.Split(r.body, "<EvalDecision>")[1:] {
			d, _, _ := strings.Cut(part, "<")
			got = append(got, d)
		}
		want := map[string]string{
			"inline": "implicitDeny allowed implicitDeny", "by name": "implicitDeny allowed implicitDeny", "by ARN": "allowed implicitDeny implicitDeny",
			"the boundary": "allowed allowed allowed", "customer's own": "allowed implicitDeny implicitDeny",
		}[name]
		if strings.Join(got, " ") != want {
			t.Errorf("without %s: %d %q %s", name, r.status, got, r.message)
		}
	}
	scp := []iam.Policy{{Name: "scp", Document: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}`}}
	err := w.iam.Edit(t.Context(), event.Event{Action: "test"}, func(d *iam.Draft) error {
		d.Put(&iam.GuardrailsRecord{Account: account, ServiceControl: [][]iam.Policy{scp}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	admin := w.keys(t, w.role(t, account, "operator3", anything), nil)
	if r := w.post(t, admin, "GetUser", "UserName", "ann"); r.code != "AccessDenied" {
		t.Errorf("the guardrail does not hold for IAM itself: %d %s", r.status, r.code)
	}
}

// TestSimulationErrors: what a simulation refuses.
func TestSimulationErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	custom := func(pairs ...string) reply {
		return w.post(t, keys, "SimulateCustomPolicy", append([]string{"PolicyInputList.member.1", anything, "ActionNames.member.1", simulate}, pairs...)...)
	}
	many := []string{"PolicyInputList.member.1", anything}
	for i := range 50 {
		n := strconv.Itoa(i + 1)
		many = append(many, "ActionNames.member."+n, "s3:Action"+n, "ResourceArns.member."+n, "arn:aws:s3:::b/"+n)
	}
	for name, tc := range map[string]struct {
		r    reply
		code string
	}{
		"policy that doesn't parse":  {w.post(t, keys, "SimulateCustomPolicy", "PolicyInputList.member.1", `{"Statement":{}}`, "ActionNames.member.1", simulate), "InvalidInput"},
		"EC2's scenarios":            {custom("ResourceHandlingOption", "EC2-VPC-InstanceStore"), "InvalidInput"},
		"resource policy, no caller": {custom("ResourcePolicy", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}`), "InvalidInput"},
		"caller that is none":        {custom("CallerArn", "carol"), "InvalidInput"},
		"owner that is none":         {custom("ResourceOwner", "carol"), "InvalidInput"},
		"type of a key":              {custom("ContextEntries.member.1.ContextKeyName", "aws:SourceIp", "ContextEntries.member.1.ContextKeyType", "text", "ContextEntries.member.1.ContextKeyValues.member.1", "x"), "ValidationError"},
		"values and a single type": {custom("ContextEntries.member.1.ContextKeyName", "aws:SourceIp", "ContextEntries.member.1.ContextKeyType", "ip",
			"ContextEntries.member.1.ContextKeyValues.member.1", "x", "ContextEntries.member.1.ContextKeyValues.member.2", "y"), "InvalidInput"},
		"too many pairs":     {w.post(t, keys, "SimulateCustomPolicy", many...), "InvalidInput"},
		"no such user":       {w.post(t, keys, "SimulatePrincipalPolicy", "PolicySourceArn", prefix+"user/nobody", "ActionNames.member.1", simulate), "NoSuchEntity"},
		"not a principal":    {w.post(t, keys, "SimulatePrincipalPolicy", "PolicySourceArn", awsRead, "ActionNames.member.1", simulate), "InvalidInput"},
		"a session":          {w.post(t, keys, "SimulatePrincipalPolicy", "PolicySourceArn", "arn:aws:sts::"+account+":assumed-role/operator/carol", "ActionNames.member.1", simulate), "InvalidInput"},
		"two stars":          {w.post(t, keys, "SimulatePrincipalPolicy", "PolicySourceArn", prefix+"role/operator", "ActionNames.member.1", simulate, "PolicyExclusionList.member.1.PolicyArn", prefix+"policy/*a*"), "InvalidInput"},
		"two identifiers":    {w.post(t, keys, "SimulatePrincipalPolicy", "PolicySourceArn", prefix+"role/operator", "ActionNames.member.1", simulate, "PolicyExclusionList.member.1.PolicyArn", awsRead, "PolicyExclusionList.member.1.PolicyType", "inline"), "InvalidInput"},
		"unknown identifier": {w.post(t, keys, "SimulatePrincipalPolicy", "PolicySourceArn", prefix+"role/operator", "ActionNames.member.1", simulate, "PolicyExclusionList.member.1.Policy", "x"), "ValidationError"},
	} {
		if tc.r.code != tc.code {
			t.Errorf("%s: %d %s %s", name, tc.r.status, tc.r.code, tc.r.message)
		}
	}
}
