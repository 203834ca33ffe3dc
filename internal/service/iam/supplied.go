package iam

import (
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
)

// CheckSupplied refuses a permissions policy that asks for context keys which
// the gateway does not supply: tags of stored objects and of buckets. On AWS
// they are there; here a Deny on one would never match (design 7.2).
func CheckSupplied(d *policy.Document) error {
	for _, key := range d.ContextKeysOf("s3") {
		for _, family := range []string{"s3:existingobjecttag/", "s3:buckettag/", "aws:resourcetag/"} {
			if strings.HasPrefix(key, family) {
				return fault.Coded(fault.Unsupported, "MalformedPolicyDocument",
					fmt.Sprintf("%s %q asks for the condition key %s, which the gateway does not supply", d.Kind(), d.Name(), key)).
					WithMend("decide by bucket and prefix instead, or by tags of the principal")
			}
		}
	}
	return nil
}
