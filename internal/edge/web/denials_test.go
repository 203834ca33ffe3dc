package web_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/service/denial"
)

// someDenials are one by a Deny, one that nothing allows, one of AWS and one of
// the gateway itself.
func someDenials(now time.Time) []denial.Denial {
	alice := denial.Denial{
		At: now.Add(-3 * time.Minute), Code: "AccessDenied", DecidedBy: denial.ByPolicy, Account: "111122223333",
		Principal: "arn:aws:sts::111122223333:assumed-role/analyst/alice@example.com", Role: "arn:aws:iam::111122223333:role/analyst", Person: "psn_alice", LoginSession: "lgn_1",
		AccessKeyID: "ASIAALICE0000000000A", Source: "192.0.2.7", UserAgent: "aws-cli/2.15 md/awscrt", Bucket: "hr", BucketAccount: "111122223333", Upstream: "disk", Checks: []denial.Check{},
	}
	byDeny, byNone, atAWS, byRule := alice, alice, alice, alice
	byDeny.Request, byDeny.Operation, byDeny.Key = "AAAAAAAAAAAAAAAA", "CopyObject", "salaries/<b>2026</b>.csv"
	byDeny.Reason = "User: " + alice.Principal + " is not authorized to perform: s3:GetObject with an explicit deny in an identity-based policy"
	byDeny.Checks = []denial.Check{
		{Action: "s3:PutObject", Resource: "arn:aws:s3:::hr/copy.csv", Outcome: denial.Allowed, Determining: []string{"hr-write#Put"}},
		{Action: "s3:GetObject", Resource: "arn:aws:s3:::hr/salaries/<b>2026</b>.csv", Outcome: denial.Refused, Explicit: true, Reason: "with an explicit deny in an identity-based policy", Determining: []string{"no-salaries#Never"},
			Statements: []denial.Statement{
				{Policy: "identity-based policy", Name: "no-salaries#Never", Effect: "Deny", Applies: true},
				{Policy: "identity-based policy", Name: "hr-read#Read", Effect: "Allow", Applies: true},
				{Policy: "resource-based policy", Name: "bucket#Office", Effect: "Allow", Unmet: []string{"Condition IpAddress aws:SourceIp is not met: the request has [\"192.0.2.7\"]"}},
			}, MoreStatements: 4},
		{Action: "s3:GetObjectTagging", Resource: "arn:aws:s3:::hr/salaries", Outcome: denial.NotAsked},
	}
	byNone.Request, byNone.Operation, byNone.Reason = "BBBBBBBBBBBBBBBB", "ListObjectsV2", "User is not authorized because no identity-based policy allows the s3:ListBucket action"
	byNone.Checks = []denial.Check{{Action: "s3:ListBucket", Resource: "arn:aws:s3:::hr", Outcome: denial.Refused, Reason: "because no identity-based policy allows the s3:ListBucket action"}}
	atAWS.Request, atAWS.Operation, atAWS.DecidedBy, atAWS.Reason, atAWS.StoreRequest, atAWS.StoreHost = "CCCCCCCCCCCCCCCC", "GetObject", denial.ByAWS, "Access Denied", "AWSREQUEST", "host/id+of+aws="
	byRule.Request, byRule.Operation, byRule.DecidedBy, byRule.Reason, byRule.Bucket, byRule.BucketAccount, byRule.Upstream = "DDDDDDDDDDDDDDDD", "CreateBucket", denial.ByGateway, "No bucket rule gives the name", "elsewhere", "", ""
	return []denial.Denial{byDeny, byNone, atAWS, byRule}
}

func (w *world) deny(t *testing.T) {
	t.Helper()
	for _, d := range someDenials(time.Now().UTC()) {
		w.denials.Keep(d.AccessKeyID, func() denial.Denial { return d })
	}
	ended, end := context.WithCancel(t.Context())
	end()
	w.denials.Run(ended)
}

// TestDenialIsExplained: the page names the statement that decided, what else was
// checked, and the ids of AWS; what came from outside is text.
func TestDenialIsExplained(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	contains(t, b.get(w.base+"/admin/denials"), "Nothing was denied this week")
	w.deny(t)
	p := b.get(w.base + "/admin/denials?request=AAAAAAAAAAAAAAAA")
	contains(t, p, "Denied by no-salaries#Never, with an explicit deny", "Allowed by hr-write#Put", "Not asked any more", "the policies of the local authority",
		"bob@example.com", "assumed-role/analyst/alice@example.com", "192.0.2.7", "Condition IpAddress aws:SourceIp is not met", "4 more do not apply", "/admin/denials?request=DDDDDDDDDDDDDDDD")
	if strings.Contains(p.body, "<b>2026") {
		t.Error("a key is markup")
	}
	contains(t, b.get(w.base+"/admin/denials?request=%20BBBBBBBBBBBBBBBB%20"), "No statement allows it")
	contains(t, b.get(w.base+"/admin/denials?request=CCCCCCCCCCCCCCCC"), "AWSREQUEST", "host/id&#43;of&#43;aws=", "AWS, by the role&#39;s own keys")
	contains(t, b.get(w.base+"/admin/denials?request=DDDDDDDDDDDDDDDD"), "no rule of the configuration")
	for id, want := range map[string]int{"EEEEEEEEEEEEEEEE": 404, "x": 400} {
		p := b.get(w.base + "/admin/denials?request=" + id)
		if p.status != want {
			t.Errorf("%s: %d", id, p.status)
		}
		contains(t, p, "What to do", "Lately denied")
	}
}

// Nobody but administrators sees who was denied what.
func TestDenialsAreForAdministrators(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.person = "bob" })
	w.deny(t)
	b := newBrowser(t)
	b.signIn(w, "/")
	if p := b.get(w.base + "/admin/denials?request=AAAAAAAAAAAAAAAA"); p.status != 403 || strings.Contains(p.body, "no-salaries") {
		t.Errorf("%d %s", p.status, p.body)
	}
	if p := b.get(w.base + "/"); strings.Contains(p.body, "/admin/denials") {
		t.Error("the navigation offers the page")
	}
}
