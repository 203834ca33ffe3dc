package iam

import (
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// bearing is what a user, group or role has of policies.
type bearing struct {
	word      string // user, group or role
	quotaName string
	inline    *[]Policy
	attached  *[]string
}

// bear changes the policies of a user, group or role, which k says.
func (d *Draft) bear(k Kind, account, name string, change func(bearing) error) error {
	var err error
	switch k {
	case KindUser:
		err = d.changeUser(account, name, func(r *UserRecord) error {
			return change(bearing{"user", "PoliciesPerUser", &r.Policies, &r.Attached})
		})
	case KindGroup:
		err = d.changeGroup(account, name, func(r *GroupRecord) error {
			return change(bearing{"group", "PoliciesPerGroup", &r.Policies, &r.Attached})
		})
	default:
		_, err = d.changeRole(account, name, func(r *RoleRecord) error {
			return change(bearing{"role", "PoliciesPerRole", &r.Policies, &r.Attached})
		})
	}
	return err
}

// PutPolicy writes an inline policy of a user, group or role. Errors:
// NoSuchEntity, MalformedPolicyDocument, LimitExceeded.
func (d *Draft) PutPolicy(k Kind, account, name string, p Policy) error {
	return d.bear(k, account, name, func(b bearing) error {
		*b.inline = putPolicy(*b.inline, p)
		return nil
	})
}

// DeletePolicy takes an inline policy off a user, group or role. Errors:
// NoSuchEntity.
func (d *Draft) DeletePolicy(k Kind, account, name, policyName string) error {
	return d.bear(k, account, name, func(b bearing) error {
		i := slices.IndexFunc(*b.inline, func(p Policy) bool { return p.Name == policyName })
		if i < 0 {
			return gone("The %s policy with name %s cannot be found.", b.word, policyName)
		}
		*b.inline = slices.Delete(*b.inline, i, i+1)
		return nil
	})
}

// AttachPolicy attaches a managed policy to a user, group or role; one that is
// attached stays so. Errors: NoSuchEntity, InvalidInput, LimitExceeded.
func (d *Draft) AttachPolicy(k Kind, account, name, policyARN string) error {
	return d.bear(k, account, name, func(b bearing) error {
		if err := CheckPolicyARN(policyARN); err != nil {
			return err
		}
		if err := d.attachable(account, policyARN); err != nil {
			return err
		}
		if slices.Contains(*b.attached, policyARN) {
			return nil
		}
		if len(*b.attached) >= mostAttached {
			return limited("Cannot exceed quota for %s: %d", b.quotaName, mostAttached)
		}
		*b.attached = append(*b.attached, policyARN)
		return nil
	})
}

// DetachPolicy detaches a managed policy. Errors: NoSuchEntity, InvalidInput.
func (d *Draft) DetachPolicy(k Kind, account, name, policyARN string) error {
	return d.bear(k, account, name, func(b bearing) error {
		if err := CheckPolicyARN(policyARN); err != nil {
			return err
		}
		i := slices.Index(*b.attached, policyARN)
		if i < 0 {
			return gone("Policy %s was not found.", policyARN)
		}
		*b.attached = slices.Delete(*b.attached, i, i+1)
		return nil
	})
}

// unburdened refuses to delete what still has policies. Errors: DeleteConflict.
func unburdened(inline []Policy, attached []string) error {
	switch {
	case len(inline) > 0:
		return deleteConflict("Cannot delete entity, must delete policies first.")
	case len(attached) > 0:
		return deleteConflict("Cannot delete entity, must detach all policies first.")
	}
	return nil
}

// CheckPolicyARN refuses what is not the ARN of a managed policy. Errors:
// InvalidInput.
func CheckPolicyARN(arn string) error {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[2] != "iam" || f[3] != "" || !strings.HasPrefix(f[5], "policy/") {
		return fault.Coded(fault.Invalid, "InvalidInput", "ARN "+arn+" is not valid.")
	}
	return nil
}
