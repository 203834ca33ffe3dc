package access_test

import (
	"context"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
)

// TestAttackRoleWritesPublishedKeys: whoever can write where the issuer's keys
// are published is the issuer (design 7.10). No policy opens that bucket, to no
// kind of caller, as target or as source, and another bucket is as open as ever.
func TestAttackRoleWritesPublishedKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.authority.snapshot = snapshot(t, func(s *iam.State) {
		s.Roles[0].Policies[0].Document = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	})
	w.Access.Withheld = func(bucket string) string {
		if bucket == "keys" {
			return "because this server publishes the keys of its issuer there"
		}
		return ""
	}
	c := w.caller(t, access.RoleSession, nil)
	decide := func(checks ...s3.Check) access.Decision {
		return w.Decide(context.Background(), c, checks, access.Environment{Now: now})
	}
	for _, action := range []string{"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket", "s3:DeleteBucket", "s3:PutBucketPolicy", "s3:CreateBucket"} {
		if d := decide(s3.Check{Action: action, Bucket: "keys", Key: "oidc/jwks.json"}); d.Allow || !d.Explicit || !strings.Contains(d.Reason, "publishes the keys of its issuer") {
			t.Errorf("%s: %+v", action, d)
		}
	}
	put := s3.Check{Action: "s3:PutObject", Bucket: "sales", Key: "x"}
	if d := decide(put); !d.Allow {
		t.Errorf("another bucket: %+v", d)
	}
	if d := decide(put, s3.Check{Action: "s3:GetObject", Bucket: "keys", Key: "oidc/jwks.json"}); d.Allow {
		t.Error("it is copied from")
	}
	if d := decide(s3.Check{Action: "s3:ListAllMyBuckets"}); !d.Allow {
		t.Errorf("a list of buckets: %+v", d)
	}
}
