package access

import (
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/iam"
)

// StoredTags reads the tags of what is stored. It is asked only where a policy in
// play does; an error denies. No tags, or nothing stored there, are no error.
//
// What it says is of the moment before the decision: the object that is read
// afterwards may have been written, or tagged, anew in between.
type StoredTags interface {
	ObjectTags(bucket, key, versionID string) (map[string]string, error)
	BucketTags(bucket string) (map[string]string, error)
}

// supply adds the stored tags that the policies of a set ask for.
func supply(set *policy.Set, r *policy.Request, stored StoredTags, check *s3.Check) error {
	asks := set.Asks()
	if asks == 0 || check.Bucket == "" {
		return nil
	}
	if asks&policy.AsksObjectTags != 0 && check.Key != "" && slices.Contains(iam.ExistingTagActions(), check.Action) {
		if stored == nil {
			return fault.New(fault.Unavailable, "Stored tags can't be read here")
		}
		tags, err := stored.ObjectTags(check.Bucket, check.Key, versionOf(check))
		if err == nil {
			err = addTags(r, tags, "s3:ExistingObjectTag/")
		}
		if err != nil {
			return err
		}
	}
	if asks&policy.AsksBucketTags != 0 && check.Action != "s3:CreateBucket" {
		if stored == nil {
			return fault.New(fault.Unavailable, "Stored tags can't be read here")
		}
		tags, err := stored.BucketTags(check.Bucket)
		if err != nil {
			return err
		}
		return addTags(r, tags, "s3:BucketTag/", "aws:ResourceTag/")
	}
	return nil
}

func versionOf(check *s3.Check) string {
	for _, v := range check.Context {
		if v.Key == "s3:versionid" && len(v.Values) == 1 {
			return v.Values[0]
		}
	}
	return ""
}

// addTags refuses keys that differ in letter case alone, which does not count in
// condition keys: one would hide the other.
func addTags(r *policy.Request, tags map[string]string, families ...string) error {
	folded := map[string]bool{}
	for key, value := range tags {
		if folded[strings.ToLower(key)] {
			return fault.New(fault.Conflict, "Two stored tags have the same key, letter case aside")
		}
		folded[strings.ToLower(key)] = true
		for _, family := range families {
			r.Context.Set(family+key, value)
		}
	}
	return nil
}
