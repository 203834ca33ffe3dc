package access_test

import (
	"testing"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
)

// TestNobodyIsLockedOutOfABucketForGood: the administrator's role of the account
// can always mend a bucket's policy, one that can't be read too, and nothing else
// past it. A role of that name under another path, or of another account, can't.
func TestNobodyIsLockedOutOfABucketForGood(t *testing.T) {
	const admin = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	for label, document := range map[string]string{
		"a deny of everybody": `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::sales","arn:aws:s3:::sales/*"]}}`,
		"lost":                `{"Version":"1999"}`,
	} {
		w := newWorld(t)
		roles := map[string]iam.RoleRecord{}
		w.authority.snapshot = snapshot(t, func(s *iam.State) {
			for i, r := range []iam.RoleRecord{
				{ID: "AROA2", Account: "111122223333", Path: "/", Name: iam.AdministratorRole},
				{ID: "AROA3", Account: "111122223333", Path: "/x/", Name: "carnet-admin2"},
				{ID: "AROA4", Account: "444455556666", Path: "/", Name: iam.AdministratorRole},
			} {
				r.MaxSession, r.Trust = s.Roles[0].MaxSession, iam.Policy{Name: "trust", Document: trust}
				r.Policies = []iam.Policy{{Name: "all", Document: admin}}
				s.Roles = append(s.Roles, r)
				roles[[]string{"administrator", "another role", "another account's"}[i]] = r
			}
			s.Buckets = []iam.BucketRecord{{Account: "111122223333", Name: "sales", Policy: iam.Policy{Name: "bucket-policy", Document: document}}}
		})
		for who, role := range roles {
			token := w.token(t, func(c *sessiontoken.Claims) {
				c.RoleID, c.Role = role.ID, arn.Role{Partition: "aws", Account: role.Account, Path: role.Path, Name: role.Name}
			})
			for action, mend := range map[string]bool{
				"s3:GetBucketPolicy": true, "s3:PutBucketPolicy": true, "s3:DeleteBucketPolicy": true, "s3:PutBucketCORS": false, "s3:ListBucket": false, "s3:DeleteBucket": false,
			} {
				want := mend && who == "administrator"
				if d := w.decide(t, token, s3.Check{Action: action, Bucket: "sales"}); d.Allow != want {
					t.Errorf("%s: %s %s: got %+v", label, who, action, d)
				}
			}
			if d := w.decide(t, token, get("sales", "blue/x")); d.Allow {
				t.Errorf("%s: %s reads: %+v", label, who, d)
			}
		}
	}
}
