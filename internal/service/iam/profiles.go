package iam

import "carnet.dev/carnet/internal/core/identity"

// ProfilesOf lists the instance profiles that hold a role.
func (v *View) ProfilesOf(account string, id identity.RoleID) []InstanceProfileRecord {
	var out []InstanceProfileRecord
	for _, p := range v.InstanceProfiles(account) {
		if p.Role == id {
			out = append(out, p)
		}
	}
	return out
}

// RoleByID finds a role of an account by its unique id.
func (v *View) RoleByID(account string, id identity.RoleID) (RoleRecord, bool) {
	return byID[RoleRecord](v, KindRole, account, string(id))
}

// CreateInstanceProfile adds an instance profile without a role. Errors:
// EntityAlreadyExists, LimitExceeded, InvalidInput.
func (d *Draft) CreateInstanceProfile(r InstanceProfileRecord) (InstanceProfileRecord, error) {
	if d.Taken(r.Ref()) {
		return r, exists("Instance Profile %s already exists.", r.Name)
	}
	if err := d.quota(KindInstanceProfile, r.Account); err != nil {
		return r, err
	}
	r.ID, r.Created, r.Role = identity.NewIAMID("AIPA"), d.Now(), ""
	d.Put(&r)
	return r, nil
}

func (d *Draft) changeProfile(account, name string, change func(*InstanceProfileRecord) error) error {
	r, ok := d.InstanceProfile(account, name)
	if !ok {
		return noProfile(name)
	}
	if err := change(&r); err != nil {
		return err
	}
	d.Put(&r)
	return nil
}

func noProfile(name string) error { return gone("Instance Profile %s cannot be found.", name) }

// AddRoleToProfile puts a role into an instance profile, which holds one at
// most. Errors: NoSuchEntity, LimitExceeded, UnmodifiableEntity.
func (d *Draft) AddRoleToProfile(account, name, roleName string) error {
	return d.changeProfile(account, name, func(r *InstanceProfileRecord) error {
		role, ok := d.Role(account, roleName)
		if !ok {
			return noRole(roleName)
		}
		if role.Name == AdministratorRole {
			return protected()
		}
		if _, holds := d.RoleByID(account, r.Role); holds {
			return limited("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
		}
		r.Role = role.ID
		return nil
	})
}

// RemoveRoleFromProfile takes the role out. Errors: NoSuchEntity.
func (d *Draft) RemoveRoleFromProfile(account, name, roleName string) error {
	return d.changeProfile(account, name, func(r *InstanceProfileRecord) error {
		role, ok := d.Role(account, roleName)
		if !ok {
			return noRole(roleName)
		}
		if r.Role != role.ID {
			return gone("The role with name %s is not in the instance profile %s.", roleName, name)
		}
		r.Role = ""
		return nil
	})
}

// TagInstanceProfile sets tags. Errors: NoSuchEntity, LimitExceeded.
func (d *Draft) TagInstanceProfile(account, name string, tags map[string]string) error {
	return d.changeProfile(account, name, func(r *InstanceProfileRecord) error {
		r.Tags = MergeTags(r.Tags, tags)
		return nil
	})
}

// UntagInstanceProfile takes tags off. Errors: NoSuchEntity.
func (d *Draft) UntagInstanceProfile(account, name string, keys []string) error {
	return d.changeProfile(account, name, func(r *InstanceProfileRecord) error {
		r.Tags = WithoutTags(r.Tags, keys)
		return nil
	})
}

// DeleteInstanceProfile takes an instance profile out that holds no role.
// Errors: NoSuchEntity, DeleteConflict.
func (d *Draft) DeleteInstanceProfile(account, name string) error {
	r, ok := d.InstanceProfile(account, name)
	if !ok {
		return noProfile(name)
	}
	if _, holds := d.RoleByID(account, r.Role); holds {
		return deleteConflict("Cannot delete entity, must remove roles from instance profile first.")
	}
	d.Delete(r.Ref())
	return nil
}
