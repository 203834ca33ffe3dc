package iam

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/policy"
)

// AdministratorRole is the name of the role that each account starts with. It
// is Carnet's own: IAM calls and authority files leave it alone.
const AdministratorRole = "carnet-admin"

// CreateRole adds a role. Its trust policy is pinned to the principals that it
// names. Errors: EntityAlreadyExists, LimitExceeded, MalformedPolicyDocument,
// InvalidInput, NoSuchEntity (its boundary).
func (d *Draft) CreateRole(r RoleRecord) (RoleRecord, error) {
	if err := reserved(r.Path, r.Name); err != nil {
		return r, err
	}
	if d.Taken(r.Ref()) {
		return r, exists("Role with name %s already exists.", r.Name)
	}
	if err := d.quota(KindRole, r.Account); err != nil {
		return r, err
	}
	if r.MaxSession == 0 {
		r.MaxSession = DefaultMaxSession
	}
	r.ID, r.Created = identity.NewRoleID(), d.Now()
	if err := d.trust(&r, r.Trust.Document); err != nil {
		return r, err
	}
	if r.Boundary != nil {
		if err := d.attachable(r.Account, r.Boundary.ARN); err != nil {
			return r, err
		}
	}
	d.Put(&r)
	return r, nil
}

// reserved refuses names and paths that are AWS's or Carnet's own.
func reserved(path, name string) error {
	switch {
	case strings.HasPrefix(path, "/aws-service-role/"), strings.HasPrefix(fold(name), "awsservicerolefor"):
		return input("Service-linked roles are made by AWS services; Carnet has none: choose another name and path.")
	case strings.HasPrefix(path, "/aws-reserved/"), strings.HasPrefix(fold(name), "awsreservedsso_"):
		return input("Roles that begin with AWSReservedSSO_ are AWS's own: choose another name and path.")
	case fold(name) == AdministratorRole:
		return exists("Role with name %s already exists.", name)
	}
	return nil
}

// mostTrust is the quota of a trust policy: AWS's raised value.
const mostTrust = 4096

// trust sets and pins a trust policy.
func (d *Draft) trust(r *RoleRecord, document string) error {
	if textSize(document) > mostTrust {
		return limited("Cannot exceed quota for ACLSizePerRole: %d", mostTrust)
	}
	var err error
	r.Trust, err = d.pin(policy.Trust, Policy{Name: "trust", Document: document})
	return err
}

// textSize counts a document's characters as quotas do: without the white
// space between its elements.
func textSize(document string) int {
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(document)); err != nil {
		return len(document)
	}
	return utf8.RuneCount(compact.Bytes())
}

// changeRole changes a role that IAM calls may change. Errors: NoSuchEntity,
// UnmodifiableEntity, and those of change.
func (d *Draft) changeRole(account, name string, change func(*RoleRecord) error) (RoleRecord, error) {
	r, ok := d.Role(account, name)
	if !ok {
		return r, noRole(name)
	}
	if r.Name == AdministratorRole {
		return r, protected()
	}
	if err := change(&r); err != nil {
		return r, err
	}
	d.Put(&r)
	return r, nil
}

// protected is the answer to a change of AdministratorRole.
func protected() error {
	return fault.Coded(fault.Denied, "UnmodifiableEntity",
		"Cannot perform the operation on the protected role '"+AdministratorRole+"' - this role is only modifiable by Carnet")
}

// leavesAdministrator refuses an edit that touched AdministratorRole, whichever
// way it went.
func (d *Draft) leavesAdministrator() error {
	for ref := range d.over {
		if !d.own && ref.Kind == KindRole && ref.Key == AdministratorRole {
			return protected()
		}
	}
	return nil
}

func noRole(name string) error { return gone("The role with name %s cannot be found.", name) }

// UpdateRole changes description and maximum session duration; nil and 0
// leave them.
func (d *Draft) UpdateRole(account, name string, description *string, maxSession time.Duration) (RoleRecord, error) {
	return d.changeRole(account, name, func(r *RoleRecord) error {
		if description != nil {
			r.Description = *description
		}
		if maxSession != 0 {
			r.MaxSession = maxSession
		}
		return nil
	})
}

// UpdateAssumeRolePolicy replaces a role's trust policy. Errors:
// MalformedPolicyDocument, LimitExceeded.
func (d *Draft) UpdateAssumeRolePolicy(account, name, document string) error {
	_, err := d.changeRole(account, name, func(r *RoleRecord) error { return d.trust(r, document) })
	return err
}

// putPolicy writes a policy into a list that is kept in the order of names.
func putPolicy(list []Policy, p Policy) []Policy {
	i, found := slices.BinarySearchFunc(list, p.Name, func(have Policy, name string) int { return strings.Compare(have.Name, name) })
	if found {
		list[i] = p
		return list
	}
	return slices.Insert(list, i, p)
}

// TagRole sets tags. Errors: LimitExceeded.
func (d *Draft) TagRole(account, name string, tags map[string]string) error {
	_, err := d.changeRole(account, name, func(r *RoleRecord) error {
		r.Tags = MergeTags(r.Tags, tags)
		return nil
	})
	return err
}

// UntagRole takes tags off.
func (d *Draft) UntagRole(account, name string, keys []string) error {
	_, err := d.changeRole(account, name, func(r *RoleRecord) error {
		r.Tags = WithoutTags(r.Tags, keys)
		return nil
	})
	return err
}

// SetRoleBoundary makes a managed policy the role's permissions boundary; an
// empty ARN takes the boundary off. Errors: NoSuchEntity.
func (d *Draft) SetRoleBoundary(account, name, policyARN string) error {
	_, err := d.changeRole(account, name, func(r *RoleRecord) error {
		if policyARN == "" {
			r.Boundary = nil
			return nil
		}
		r.Boundary = BoundaryOf(policyARN)
		return d.attachable(account, policyARN)
	})
	return err
}

// BoundaryOf makes a permissions boundary of a managed policy.
func BoundaryOf(arn string) *Policy {
	return &Policy{Name: arn[strings.LastIndexByte(arn, '/')+1:], ARN: arn}
}

// attachable refuses the ARN of a managed policy that isn't there for the
// entities of an account.
func (v *View) attachable(account, arn string) error {
	if !v.HasManagedPolicy(account, arn) {
		return noPolicy(arn)
	}
	return nil
}

// DeleteRole takes a role out that nothing hangs on any more. Errors:
// DeleteConflict.
func (d *Draft) DeleteRole(account, name string) error {
	r, err := d.changeRole(account, name, func(r *RoleRecord) error {
		switch {
		case len(d.ProfilesOf(account, r.ID)) > 0:
			return deleteConflict("Cannot delete entity, must remove roles from instance profile first.")
		case len(r.Attached) > 0:
			return deleteConflict("Cannot delete entity, must detach all policies first.")
		case len(r.Policies) > 0:
			return deleteConflict("Cannot delete entity, must delete policies first.")
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.Delete(r.Ref())
	return nil
}
