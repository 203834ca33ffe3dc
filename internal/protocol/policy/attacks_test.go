package policy_test

import (
	"testing"

	"carnet.dev/carnet/internal/protocol/policy"
)

// TestAttackTagKeyThatFoldsIntoAnother: a tag whose key no comparison takes for
// "id" must not be read under that key.
func TestAttackTagKeyThatFoldsIntoAnother(t *testing.T) {
	t.Parallel()
	d := mustParse(t, policy.Identity, "own", []byte(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/ID":"root"}}},
		{"Effect":"Deny","Action":"sts:TagSession","Resource":"*","Condition":{"ForAnyValue:StringEqualsIgnoreCase":{"aws:TagKeys":"id"}}}]}`))
	for key, want := range map[string]bool{"id": true, "iD": true, "İD": false, "İd": false} {
		r := policy.Request{Principal: policy.Principal{Account: "111122223333"}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: "111122223333"}
		r.Context.Set("aws:PrincipalTag/"+key, "root")
		if got := (&policy.Set{Identity: []*policy.Document{d}}).Decide(&r).Allow; got != want {
			t.Errorf("%s: got %v", key, got)
		}
	}
}
