package policy_test

import (
	"os"
	"testing"

	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/test/policycorpus"
)

// leastCases fails the test when files go missing.
const leastCases = 1000

// TestCorpus runs the cases in testdata/corpus. They are data, so that they can
// be read, extended and run against another evaluator.
func TestCorpus(t *testing.T) {
	t.Parallel()
	all, err := policycorpus.Run(os.DirFS("testdata/corpus"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < leastCases {
		t.Errorf("%d cases, want at least %d", len(all), leastCases)
	}
	for _, o := range all {
		if o.Wrong != "" {
			t.Errorf("%s: %s: %s", o.Class, o.Name, o.Wrong)
		}
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

var kinds = map[string]policy.Kind{
	"identity": policy.Identity, "resource": policy.Resource, "trust": policy.Trust,
	"session": policy.Session, "boundary": policy.Boundary, "guardrail": policy.Guardrail,
}
