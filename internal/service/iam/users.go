package iam

import (
	"slices"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// CreateUser adds a user. Errors: EntityAlreadyExists, LimitExceeded,
// NoSuchEntity (its boundary).
func (d *Draft) CreateUser(r UserRecord) (UserRecord, error) {
	if d.Taken(r.Ref()) {
		return r, exists("User with name %s already exists.", r.Name)
	}
	if err := d.quota(KindUser, r.Account); err != nil {
		return r, err
	}
	if r.Boundary != nil {
		if err := d.attachable(r.Account, r.Boundary.ARN); err != nil {
			return r, err
		}
	}
	r.ID, r.Created = identity.NewUserID(), d.Now()
	d.Put(&r)
	return r, nil
}

// changeUser changes a user. Errors: NoSuchEntity, and those of change.
func (d *Draft) changeUser(account, name string, change func(*UserRecord) error) error {
	r, ok := d.User(account, name)
	if !ok {
		return gone("The user with name %s cannot be found.", name)
	}
	if err := change(&r); err != nil {
		return err
	}
	d.Put(&r)
	return nil
}

// UpdateUser renames or moves a user; empty texts leave name and path. Who it
// is stays: policies that name its ARN keep its id. Errors: NoSuchEntity,
// EntityAlreadyExists.
func (d *Draft) UpdateUser(account, name, newName, newPath string) error {
	return d.changeUser(account, name, func(r *UserRecord) error {
		old := r.Ref()
		r.Name, r.Path = or(newName, r.Name), or(newPath, r.Path)
		if r.Ref() == old {
			return nil
		}
		if d.Taken(r.Ref()) {
			return exists("User with name %s already exists.", r.Name)
		}
		d.Delete(old)
		return nil
	})
}

func or(given, otherwise string) string {
	if given == "" {
		return otherwise
	}
	return given
}

// DeleteUser takes a user out that nothing hangs on any more. Errors:
// NoSuchEntity, DeleteConflict.
func (d *Draft) DeleteUser(account, name string) error {
	var ref Ref
	err := d.changeUser(account, name, func(r *UserRecord) error {
		ref = r.Ref()
		switch {
		case len(d.AccessKeys(account, r.ID)) > 0:
			return deleteConflict("Cannot delete entity, must delete access keys first.")
		case len(r.Groups) > 0:
			return deleteConflict("Cannot delete entity, must remove users from group first.")
		}
		return unburdened(r.Policies, r.Attached)
	})
	if err == nil {
		d.Delete(ref)
	}
	return err
}

// TagUser sets tags. Errors: NoSuchEntity, LimitExceeded.
func (d *Draft) TagUser(account, name string, tags map[string]string) error {
	return d.changeUser(account, name, func(r *UserRecord) error {
		r.Tags = MergeTags(r.Tags, tags)
		return nil
	})
}

// UntagUser takes tags off. Errors: NoSuchEntity.
func (d *Draft) UntagUser(account, name string, keys []string) error {
	return d.changeUser(account, name, func(r *UserRecord) error {
		r.Tags = WithoutTags(r.Tags, keys)
		return nil
	})
}

// SetUserBoundary makes a managed policy the user's permissions boundary; an
// empty ARN takes the boundary off. Errors: NoSuchEntity, InvalidInput.
func (d *Draft) SetUserBoundary(account, name, policyARN string) error {
	return d.changeUser(account, name, func(r *UserRecord) error {
		if policyARN == "" {
			if r.Boundary == nil {
				return gone("The user with name %s has no permissions boundary.", name)
			}
			r.Boundary = nil
			return nil
		}
		r.Boundary = BoundaryOf(policyARN)
		if err := CheckPolicyARN(policyARN); err != nil {
			return err
		}
		return d.attachable(account, policyARN)
	})
}

// CreateGroup adds a group. Errors: EntityAlreadyExists, LimitExceeded.
func (d *Draft) CreateGroup(r GroupRecord) (GroupRecord, error) {
	if d.Taken(r.Ref()) {
		return r, exists("Group with name %s already exists.", r.Name)
	}
	if err := d.quota(KindGroup, r.Account); err != nil {
		return r, err
	}
	r.ID, r.Created = identity.NewIAMID("AGPA"), d.Now()
	d.Put(&r)
	return r, nil
}

// changeGroup changes a group. Errors: NoSuchEntity, and those of change.
func (d *Draft) changeGroup(account, name string, change func(*GroupRecord) error) error {
	r, ok := d.Group(account, name)
	if !ok {
		return gone("The group with name %s cannot be found.", name)
	}
	if err := change(&r); err != nil {
		return err
	}
	d.Put(&r)
	return nil
}

// UpdateGroup renames or moves a group; empty texts leave name and path.
// Errors: NoSuchEntity, EntityAlreadyExists.
func (d *Draft) UpdateGroup(account, name, newName, newPath string) error {
	return d.changeGroup(account, name, func(r *GroupRecord) error {
		old := r.Ref()
		r.Name, r.Path = or(newName, r.Name), or(newPath, r.Path)
		if r.Ref() == old {
			return nil
		}
		if d.Taken(r.Ref()) {
			return exists("Group with name %s already exists.", r.Name)
		}
		d.Delete(old)
		return nil
	})
}

// DeleteGroup takes a group out that nothing hangs on any more. Errors:
// NoSuchEntity, DeleteConflict.
func (d *Draft) DeleteGroup(account, name string) error {
	var ref Ref
	err := d.changeGroup(account, name, func(r *GroupRecord) error {
		ref = r.Ref()
		if len(d.Members(*r)) > 0 {
			return deleteConflict("Cannot delete entity, must remove users from group first.")
		}
		return unburdened(r.Policies, r.Attached)
	})
	if err == nil {
		d.Delete(ref)
	}
	return err
}

// Members lists the users of a group by name.
func (v *View) Members(g GroupRecord) []UserRecord {
	return slices.DeleteFunc(v.Users(g.Account), func(u UserRecord) bool { return !slices.Contains(u.Groups, g.ID) })
}

// GroupsOf lists the groups that a user is in.
func (v *View) GroupsOf(u UserRecord) []GroupRecord {
	var out []GroupRecord
	for _, id := range u.Groups {
		if g, ok := v.GroupByID(u.Account, id); ok {
			out = append(out, g)
		}
	}
	return out
}

// AddUserToGroup makes a user a member; one who is a member stays so. Errors:
// NoSuchEntity, LimitExceeded.
func (d *Draft) AddUserToGroup(account, group, name string) error {
	g, ok := d.Group(account, group)
	if !ok {
		return gone("The group with name %s cannot be found.", group)
	}
	return d.changeUser(account, name, func(u *UserRecord) error {
		if slices.Contains(u.Groups, g.ID) {
			return nil
		}
		if len(u.Groups) >= mostGroups {
			return limited("Cannot exceed quota for GroupsPerUser: %d", mostGroups)
		}
		u.Groups = append(u.Groups, g.ID)
		return nil
	})
}

// RemoveUserFromGroup ends a membership. Errors: NoSuchEntity.
func (d *Draft) RemoveUserFromGroup(account, group, name string) error {
	g, ok := d.Group(account, group)
	if !ok {
		return gone("The group with name %s cannot be found.", group)
	}
	return d.changeUser(account, name, func(u *UserRecord) error {
		i := slices.Index(u.Groups, g.ID)
		if i < 0 {
			return gone("The user with name %s is not in group %s.", name, group)
		}
		u.Groups = slices.Delete(u.Groups, i, i+1)
		return nil
	})
}

// MostAccessKeys is how many access keys a user may have.
const MostAccessKeys = 2

// CreateAccessKey makes a long-term access key. The secret is given this once;
// it is stored sealed, for the signatures that it has to verify. Errors:
// NoSuchEntity, LimitExceeded.
func (d *Draft) CreateAccessKey(account, name string) (AccessKeyRecord, secret.Text, error) {
	u, ok := d.User(account, name)
	if !ok {
		return AccessKeyRecord{}, secret.Text{}, gone("The user with name %s cannot be found.", name)
	}
	if len(d.AccessKeys(account, u.ID)) >= MostAccessKeys {
		return AccessKeyRecord{}, secret.Text{}, limited("Cannot exceed quota for AccessKeysPerUser: %d", MostAccessKeys)
	}
	const length = 40 // characters, as AWS's have
	key := secret.New(secret.Random(30).Reveal()[:length])
	r := AccessKeyRecord{ID: identity.NewIAMID("AKIA"), Account: account, User: u.ID, Active: true, Created: d.Now()}
	var err error
	if r.Sealed, err = d.Seal(SealAccessKey, r.ID, key); err != nil {
		return r, secret.Text{}, err
	}
	d.Put(&r)
	return r, key, nil
}

// accessKey finds an access key of a user. Errors: NoSuchEntity.
func (d *Draft) accessKey(account, name, id string) (AccessKeyRecord, error) {
	u, ok := d.User(account, name)
	if !ok {
		return AccessKeyRecord{}, gone("The user with name %s cannot be found.", name)
	}
	k, ok := d.AccessKey(id)
	if !ok || k.Account != account || k.User != u.ID {
		return k, gone("The Access Key with id %s cannot be found.", id)
	}
	return k, nil
}

// SetAccessKey switches an access key on or off. Errors: NoSuchEntity.
func (d *Draft) SetAccessKey(account, name, id string, active bool) error {
	k, err := d.accessKey(account, name, id)
	if err != nil {
		return err
	}
	k.Active = active
	d.Put(&k)
	return nil
}

// DeleteAccessKey takes an access key out. Errors: NoSuchEntity.
func (d *Draft) DeleteAccessKey(account, name, id string) error {
	k, err := d.accessKey(account, name, id)
	if err == nil {
		d.Delete(k.Ref())
	}
	return err
}
