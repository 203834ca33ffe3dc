package iam

import (
	"fmt"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
)

// ExistingTagActions are the actions that s3:ExistingObjectTag/KEY comes with
// (Service Authorization Reference; S3 User Guide, "Tagging and access control
// policies": not with those that write or delete an object).
func ExistingTagActions() []string {
	return []string{
		"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes", "s3:GetObjectAcl", "s3:GetObjectVersionAcl",
		"s3:PutObjectAcl", "s3:PutObjectVersionAcl", "s3:GetObjectTagging", "s3:GetObjectVersionTagging",
		"s3:PutObjectTagging", "s3:PutObjectVersionTagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging",
	}
}

// CheckSupplied refuses a permissions policy with a statement that asks for tags
// of stored objects and is only about actions which never come with them: a Deny
// of that kind would never match (design 7.2).
func CheckSupplied(d *policy.Document) error {
	if d.Asks()&policy.AsksObjectTags == 0 {
		return nil
	}
	if label := d.AsksInVain(ExistingTagActions()); label != "" {
		return fault.Coded(fault.Unsupported, "MalformedPolicyDocument",
			fmt.Sprintf("%s %q: statement %s asks for s3:ExistingObjectTag, which is not there for any of its actions", d.Kind(), d.Name(), label)).
			WithMend("S3 has it on reading objects and on their tags and ACLs, not on PutObject and DeleteObject")
	}
	return nil
}
