package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/iam"
)

// A Deny on a key that never comes with its actions would silently do nothing.
func TestTagsThatNeverComeWithAnActionAreRefusedWhenWritten(t *testing.T) {
	const shape = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny",%q:%s,"Resource":%q,"Condition":{%q:{%q:%q}}}]}`
	for _, c := range []struct {
		resource, operator, key, value string
		supplied                       bool
		element, actions               string
	}{
		{"*", "StringEquals", "aws:ResourceTag/x", "y", true, "Action", `"iam:DeleteRole"`},
		{"*", "StringEquals", "aws:ResourceTag/x", "y", true, "Action", `"s3:DeleteObject"`},
		{"arn:aws:s3:::b/*", "StringEquals", "s3:BucketTag/x", "y", true, "Action", `"s3:PutObject"`},
		{"arn:aws:s3:::b/*", "StringEquals", "s3:ExistingObjectTag/class", "secret", true, "Action", `"s3:GetObject"`},
		{"arn:aws:s3:::b/*", "StringEquals", "s3:ExistingObjectTag/class", "secret", true, "Action", `["s3:PutObject","s3:PutObjectTagging"]`},
		{"arn:aws:s3:::b/*", "StringEquals", "s3:ExistingObjectTag/class", "secret", true, "Action", `"s3:*"`},
		{"arn:aws:s3:::b/*", "StringEquals", "s3:ExistingObjectTag/class", "secret", true, "NotAction", `"s3:DeleteObject"`},
		{"arn:aws:s3:::b/*", "StringEquals", "s3:ExistingObjectTag/class", "secret", false, "Action", `"s3:DeleteObject"`},
		{"arn:aws:s3:::b/*", "StringEqualsIfExists", "S3:existingobjecttag/class", "secret", false, "Action", `["s3:PutObject","s3:Delete*Version"]`},
		{"arn:aws:s3:::b", "StringEquals", "s3:ExistingObjectTag/class", "secret", false, "Action", `"s3:ListBucket"`},
		{"arn:aws:s3:::b/${s3:ExistingObjectTag/team}/*", "StringEquals", "aws:PrincipalTag/x", "y", false, "Action", `"s3:PutObject"`},
		{"arn:aws:s3:::b/${s3:ExistingObjectTag/team}/*", "StringEquals", "aws:PrincipalTag/x", "y", true, "Action", `"s3:GetObject"`},
	} {
		d, err := policy.Parse(policy.Identity, "p", fmt.Appendf(nil, shape, c.element, c.actions, c.resource, c.operator, c.key, c.value))
		if err != nil {
			t.Fatal(err)
		}
		if err := iam.CheckSupplied(d); (err == nil) != c.supplied || err != nil && !strings.Contains(err.Error(), "p#1 asks for s3:ExistingObjectTag") {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}
