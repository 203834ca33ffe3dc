package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/iam"
)

// A Deny on a key that nobody supplies would silently do nothing.
func TestKeysThatTheGatewayDoesNotSupplyAreRefusedWhenWritten(t *testing.T) {
	const shape = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":%q,"Resource":%q,"Condition":{%q:{%q:%q}}}]}`
	for _, c := range []struct {
		resource, operator, key, value string
		supplied                       bool
		action                         string
	}{
		{"*", "StringEquals", "aws:ResourceTag/x", "y", true, "iam:DeleteRole"},
		{"*", "StringEquals", "aws:ResourceTag/x", "y", true, "sts:*"},
		{"*", "StringEquals", "aws:ResourceTag/x", "y", false, "*"},
		{"arn:aws:s3:::b/*", "StringEquals", "s3:ExistingObjectTag/class", "secret", false, ""},
		{"arn:aws:s3:::b/*", "StringEqualsIfExists", "S3:BucketTag/x", "y", false, ""},
		{"arn:aws:s3:::b/*", "StringNotEquals", "aws:ResourceTag/x", "y", false, ""},
		{"arn:aws:s3:::b/${s3:ExistingObjectTag/team}/*", "StringEquals", "aws:PrincipalTag/x", "y", false, ""},
		{"arn:aws:s3:::b/*", "StringLike", "aws:PrincipalTag/x", "${aws:ResourceTag/x}", false, ""},
		{"arn:aws:s3:::b/*", "ArnLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/${aws:ResourceTag/x}", false, ""},
		{"arn:aws:s3:::b/${aws:PrincipalTag/team}/*", "StringEquals", "s3:prefix", "y", true, ""},
	} {
		if c.action == "" {
			c.action = "s3:GetObject"
		}
		d, err := policy.Parse(policy.Identity, "p", fmt.Appendf(nil, shape, c.action, c.resource, c.operator, c.key, c.value))
		if err != nil {
			t.Fatal(err)
		}
		if err := iam.CheckSupplied(d); (err == nil) != c.supplied || err != nil && !strings.Contains(err.Error(), "does not supply") {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}
