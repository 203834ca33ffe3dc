package iam

import (
	"fmt"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/identity"
)

// MostVersions is how many versions a managed policy may have.
const MostVersions = 5

// CreatePolicy adds a customer managed policy with its first version. Errors:
// EntityAlreadyExists, LimitExceeded, MalformedPolicyDocument.
func (d *Draft) CreatePolicy(r ManagedPolicyRecord, document string) (ManagedPolicyRecord, error) {
	if d.Taken(r.Ref()) {
		return r, exists("A policy called %s already exists. Duplicate names are not allowed.", r.Name)
	}
	if err := d.quota(KindManagedPolicy, r.Account); err != nil {
		return r, err
	}
	r.ID, r.Created, r.Updated = identity.NewIAMID("ANPA"), d.Now(), d.Now()
	r.Versions, r.Default, r.Next = []PolicyVersion{{ID: "v1", Document: document, Created: d.Now()}}, "v1", 2
	d.Put(&r)
	return r, nil
}

// changePolicy changes a customer managed policy, named by ARN. Errors:
// NoSuchEntity, and those of change.
func (d *Draft) changePolicy(account, arn string, change func(*ManagedPolicyRecord) error) (ManagedPolicyRecord, error) {
	partition, _ := d.Partition(account)
	r, ok := d.ManagedPolicy(account, arn[strings.LastIndexByte(arn, '/')+1:])
	if !ok || r.ARN(partition) != arn {
		return r, gone("Policy %s was not found.", arn)
	}
	if err := change(&r); err != nil {
		return r, err
	}
	d.Put(&r)
	return r, nil
}

// CreatePolicyVersion adds a version; inForce makes it the default one. It is
// the last of the record's versions. Errors: NoSuchEntity, LimitExceeded,
// MalformedPolicyDocument.
func (d *Draft) CreatePolicyVersion(account, arn, document string, inForce bool) (ManagedPolicyRecord, error) {
	return d.changePolicy(account, arn, func(r *ManagedPolicyRecord) error {
		if len(r.Versions) >= MostVersions {
			return limited("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", MostVersions)
		}
		// Only the version in force is compiled with the rest.
		if _, err := compileManaged(arn, r.Name, document); err != nil {
			return err
		}
		id := fmt.Sprintf("v%d", r.Next)
		r.Versions = append(r.Versions, PolicyVersion{ID: id, Document: document, Created: d.Now()})
		r.Next++
		if inForce {
			r.Default, r.Updated = id, d.Now()
		}
		return nil
	})
}

// NoVersion is the answer to a version that a policy doesn't have.
func NoVersion(arn, id string) error {
	return gone("Policy %s version %s does not exist or is not attachable.", arn, id)
}

// DeletePolicyVersion takes a version out. Errors: NoSuchEntity,
// DeleteConflict for the default one.
func (d *Draft) DeletePolicyVersion(account, arn, id string) error {
	_, err := d.changePolicy(account, arn, func(r *ManagedPolicyRecord) error {
		switch _, ok := r.Version(id); {
		case !ok:
			return NoVersion(arn, id)
		case r.Default == id:
			return deleteConflict("Cannot delete the default version of a policy.")
		}
		r.Versions = slices.DeleteFunc(r.Versions, func(v PolicyVersion) bool { return v.ID == id })
		return nil
	})
	return err
}

// SetDefaultPolicyVersion puts a version in force. Errors: NoSuchEntity.
func (d *Draft) SetDefaultPolicyVersion(account, arn, id string) error {
	_, err := d.changePolicy(account, arn, func(r *ManagedPolicyRecord) error {
		if _, ok := r.Version(id); !ok {
			return NoVersion(arn, id)
		}
		r.Default, r.Updated = id, d.Now()
		return nil
	})
	return err
}

// DeleteManagedPolicy takes a policy out that nobody has and that has no other
// version than the default one. Errors: NoSuchEntity, DeleteConflict.
func (d *Draft) DeleteManagedPolicy(account, arn string) error {
	r, err := d.changePolicy(account, arn, func(r *ManagedPolicyRecord) error {
		use := d.PolicyUsage(account)[arn]
		switch {
		case use.Attached+use.Boundaries > 0:
			return deleteConflict("Cannot delete a policy attached to entities.")
		case len(r.Versions) > 1:
			return deleteConflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		return nil
	})
	if err == nil {
		d.Delete(r.Ref())
	}
	return err
}

// TagPolicy sets tags. Errors: NoSuchEntity, LimitExceeded.
func (d *Draft) TagPolicy(account, arn string, tags map[string]string) error {
	_, err := d.changePolicy(account, arn, func(r *ManagedPolicyRecord) error {
		r.Tags = MergeTags(r.Tags, tags)
		return nil
	})
	return err
}

// UntagPolicy takes tags off. Errors: NoSuchEntity.
func (d *Draft) UntagPolicy(account, arn string, keys []string) error {
	_, err := d.changePolicy(account, arn, func(r *ManagedPolicyRecord) error {
		r.Tags = WithoutTags(r.Tags, keys)
		return nil
	})
	return err
}

// Usage counts the users, groups and roles that have a managed policy.
type Usage struct{ Attached, Boundaries int }

// PolicyUsage counts, by ARN, who has each managed policy in an account.
func (v *View) PolicyUsage(account string) map[string]Usage {
	out := map[string]Usage{}
	count := func(attached []string, boundary *Policy) {
		for _, arn := range attached {
			u := out[arn]
			u.Attached++
			out[arn] = u
		}
		if boundary != nil && boundary.ARN != "" {
			u := out[boundary.ARN]
			u.Boundaries++
			out[boundary.ARN] = u
		}
	}
	for _, r := range v.Users(account) {
		count(r.Attached, r.Boundary)
	}
	for _, r := range v.Groups(account) {
		count(r.Attached, nil)
	}
	for _, r := range v.Roles(account) {
		count(r.Attached, r.Boundary)
	}
	return out
}

// CreateAlias gives an account its alias, in place of the one that it has.
// Aliases are unique over all accounts. Errors: EntityAlreadyExists.
func (d *Draft) CreateAlias(account, alias string) error {
	for other := range d.partitions {
		if r, ok := d.Alias(other); ok && r.Alias == alias {
			return exists("The account alias %s already exists.", alias)
		}
	}
	d.Put(&AliasRecord{Account: account, Alias: alias, Created: d.Now()})
	return nil
}

// DeleteAlias takes an account's alias off. Errors: NoSuchEntity.
func (d *Draft) DeleteAlias(account, alias string) error {
	r, ok := d.Alias(account)
	if !ok || r.Alias != alias {
		return gone("The account alias %s cannot be found.", alias)
	}
	d.Delete(r.Ref())
	return nil
}
