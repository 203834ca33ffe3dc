package iam

import (
	"reflect"
	"slices"
	"sort"
	"strings"

	"carnet.dev/carnet/internal/core/identity"
)

// View gives the records of one state, for reading and listing. Immutable and
// safe for concurrent use. Names are found as they are written: letter case
// counts, since policies name entities by ARN and ARNs have letter case.
// What a list shares with the view must not be changed; a single record is a
// copy of its own.
type View struct {
	revision int64
	groups   map[group]map[string]Record
	// over lies on top of groups while a draft is made: nil for deleted.
	over       map[Ref]Record
	partitions map[string]string // by configured account
}

// group is where records lie together: all of one kind in one account.
type group struct {
	kind    Kind
	account string
}

// newView indexes records; records of a Ref that stands twice take each
// other's place.
func newView(revision int64, records []Record, accounts []Account) *View {
	v := &View{revision: revision, groups: map[group]map[string]Record{}, partitions: partitionsOf(accounts)}
	for _, r := range records {
		ref := r.Ref()
		g := group{ref.Kind, ref.Account}
		if v.groups[g] == nil {
			v.groups[g] = map[string]Record{}
		}
		v.groups[g][ref.Key] = r
	}
	return v
}

// with gives the view after a change. Only the groups that it touches are copied.
func (v *View) with(c Change, revision int64) *View {
	next := &View{revision: revision, groups: make(map[group]map[string]Record, len(v.groups)), partitions: v.partitions}
	for g, records := range v.groups {
		next.groups[g] = records
	}
	copied := map[group]bool{}
	own := func(ref Ref) map[string]Record {
		g := group{ref.Kind, ref.Account}
		if !copied[g] {
			fresh := make(map[string]Record, len(next.groups[g])+1)
			for key, r := range next.groups[g] {
				fresh[key] = r
			}
			next.groups[g], copied[g] = fresh, true
		}
		return next.groups[g]
	}
	for _, ref := range c.Delete {
		delete(own(ref), ref.Key)
	}
	for _, r := range c.Put {
		own(r.Ref())[r.Ref().Key] = r
	}
	return next
}

func partitionsOf(accounts []Account) map[string]string {
	out := map[string]string{}
	for _, a := range accounts {
		out[a.ID] = a.partition()
	}
	return out
}

// Partition gives the partition of a configured account; false for others.
func (v *View) Partition(account string) (string, bool) {
	p, ok := v.partitions[account]
	return p, ok
}

// Taken reports whether something has the name of ref, letter case aside.
func (v *View) Taken(ref Ref) bool { return v.record(ref) != nil }

func (v *View) record(ref Ref) Record {
	if r, ok := v.over[ref]; ok {
		return r
	}
	return v.groups[group{ref.Kind, ref.Account}][ref.Key]
}

// each calls fn for every record of a kind in an account, in no order.
func (v *View) each(kind Kind, account string, fn func(Record)) {
	for key, r := range v.groups[group{kind, account}] {
		if _, hidden := v.over[Ref{kind, account, key}]; !hidden {
			fn(r)
		}
	}
	for ref, r := range v.over {
		if ref.Kind == kind && ref.Account == account && r != nil {
			fn(r)
		}
	}
}

// cloner is a record type that gives copies of its own.
type cloner[R any] interface{ clone() R }

// pick finds the record of ref, if exact holds for it.
func pick[R cloner[R]](v *View, ref Ref, exact func(R) bool) (R, bool) {
	if found, ok := any(v.record(ref)).(*R); ok && exact(*found) {
		return (*found).clone(), true
	}
	var none R
	return none, false
}

// list gives the records of a kind in an account, sorted by key.
func list[R any](v *View, kind Kind, account string) []R {
	var all []Record
	v.each(kind, account, func(r Record) { all = append(all, r) })
	sort.Slice(all, func(i, j int) bool { return all[i].Ref().Key < all[j].Ref().Key })
	out := make([]R, 0, len(all))
	for _, r := range all {
		out = append(out, *any(r).(*R))
	}
	return out
}

// Provider finds a SAML provider by name.
func (v *View) Provider(account, name string) (ProviderRecord, bool) {
	return pick(v, ProviderRecord{Account: account, Name: name}.Ref(), func(r ProviderRecord) bool { return r.Name == name })
}

// Providers lists the SAML providers of an account by name.
func (v *View) Providers(account string) []ProviderRecord {
	return list[ProviderRecord](v, KindSAMLProvider, account)
}

// OIDCProvider finds an OpenID Connect provider by its URL, or by that without
// its scheme. Another scheme before it names another thing: who may change
// oidc-provider/x://HOST must not change oidc-provider/HOST by it.
func (v *View) OIDCProvider(account, url string) (OIDCProviderRecord, bool) {
	return pick(v, OIDCProviderRecord{Account: account, URL: url}.Ref(), func(r OIDCProviderRecord) bool { return r.URL == url || r.Name() == url })
}

// OIDCProviders lists the OpenID Connect providers of an account.
func (v *View) OIDCProviders(account string) []OIDCProviderRecord {
	return list[OIDCProviderRecord](v, KindOIDCProvider, account)
}

// Role finds a role by name.
func (v *View) Role(account, name string) (RoleRecord, bool) {
	return pick(v, RoleRecord{Account: account, Name: name}.Ref(), func(r RoleRecord) bool { return r.Name == name })
}

// Roles lists the roles of an account by name.
func (v *View) Roles(account string) []RoleRecord { return list[RoleRecord](v, KindRole, account) }

// User finds a user by name.
func (v *View) User(account, name string) (UserRecord, bool) {
	return pick(v, UserRecord{Account: account, Name: name}.Ref(), func(r UserRecord) bool { return r.Name == name })
}

// UserByID finds a user of an account by unique id.
func (v *View) UserByID(account string, id identity.UserID) (UserRecord, bool) {
	return byID[UserRecord](v, KindUser, account, string(id))
}

// Users lists the users of an account by name.
func (v *View) Users(account string) []UserRecord { return list[UserRecord](v, KindUser, account) }

// Group finds a group by name.
func (v *View) Group(account, name string) (GroupRecord, bool) {
	return pick(v, GroupRecord{Account: account, Name: name}.Ref(), func(r GroupRecord) bool { return r.Name == name })
}

// GroupByID finds a group of an account by unique id.
func (v *View) GroupByID(account, id string) (GroupRecord, bool) {
	return byID[GroupRecord](v, KindGroup, account, id)
}

// Groups lists the groups of an account by name.
func (v *View) Groups(account string) []GroupRecord { return list[GroupRecord](v, KindGroup, account) }

// ManagedPolicy finds a customer managed policy by name.
func (v *View) ManagedPolicy(account, name string) (ManagedPolicyRecord, bool) {
	return pick(v, ManagedPolicyRecord{Account: account, Name: name}.Ref(), func(r ManagedPolicyRecord) bool { return r.Name == name })
}

// ManagedPolicies lists the customer managed policies of an account by name.
func (v *View) ManagedPolicies(account string) []ManagedPolicyRecord {
	return list[ManagedPolicyRecord](v, KindManagedPolicy, account)
}

// HasManagedPolicy reports whether entities of an account can have the managed
// policy with that ARN: one of their account's, or AWS's own.
func (v *View) HasManagedPolicy(account, arn string) bool {
	partition := v.partitions[account]
	if name, ok := strings.CutPrefix(arn, "arn:"+partition+":iam::aws:policy/"); ok {
		return slices.ContainsFunc(awsOwn(), func(p awsPolicy) bool { return p.name == name })
	}
	r, ok := v.ManagedPolicy(account, arn[strings.LastIndexByte(arn, '/')+1:])
	return ok && r.ARN(partition) == arn
}

// InstanceProfile finds an instance profile by name.
func (v *View) InstanceProfile(account, name string) (InstanceProfileRecord, bool) {
	return pick(v, InstanceProfileRecord{Account: account, Name: name}.Ref(), func(r InstanceProfileRecord) bool { return r.Name == name })
}

// InstanceProfiles lists the instance profiles of an account by name.
func (v *View) InstanceProfiles(account string) []InstanceProfileRecord {
	return list[InstanceProfileRecord](v, KindInstanceProfile, account)
}

// AccessKey finds an access key by its id.
func (v *View) AccessKey(id string) (AccessKeyRecord, bool) {
	return pick(v, AccessKeyRecord{ID: id}.Ref(), func(r AccessKeyRecord) bool { return true })
}

// AccessKeys lists the access keys of one user, or of all for an empty id.
func (v *View) AccessKeys(account string, user identity.UserID) []AccessKeyRecord {
	all := list[AccessKeyRecord](v, KindAccessKey, "")
	return slices.DeleteFunc(all, func(r AccessKeyRecord) bool {
		return r.Account != account || user != "" && r.User != user
	})
}

// Alias gives the alias of an account.
func (v *View) Alias(account string) (AliasRecord, bool) {
	return pick(v, AliasRecord{Account: account}.Ref(), func(AliasRecord) bool { return true })
}

// Guardrails gives the guardrails of an account.
func (v *View) Guardrails(account string) (GuardrailsRecord, bool) {
	return pick(v, GuardrailsRecord{Account: account}.Ref(), func(GuardrailsRecord) bool { return true })
}

// Bucket finds the policy of a bucket.
func (v *View) Bucket(name string) (BucketRecord, bool) {
	return pick(v, BucketRecord{Name: name}.Ref(), func(BucketRecord) bool { return true })
}

// Buckets lists the bucket policies of an account.
func (v *View) Buckets(account string) []BucketRecord {
	return slices.DeleteFunc(list[BucketRecord](v, KindBucket, ""), func(r BucketRecord) bool { return r.Account != account })
}

// BucketCORS finds the CORS rules of a bucket.
func (v *View) BucketCORS(name string) (BucketCORSRecord, bool) {
	return pick(v, BucketCORSRecord{Name: name}.Ref(), func(BucketCORSRecord) bool { return true })
}

// BucketsCORS lists the CORS rules of the buckets of an account.
func (v *View) BucketsCORS(account string) []BucketCORSRecord {
	return slices.DeleteFunc(list[BucketCORSRecord](v, KindBucketCORS, ""), func(r BucketCORSRecord) bool { return r.Account != account })
}

// byID finds a record of an account by unique id.
func byID[R cloner[R]](v *View, kind Kind, account, id string) (R, bool) {
	var found R
	ok := false
	v.each(kind, account, func(r Record) {
		if r.UniqueID() == id {
			found, ok = (*any(r).(*R)).clone(), true
		}
	})
	return found, ok
}

// keep takes the records of an earlier view where they say the same, so that
// what was compiled from them serves on.
func (v *View) keep(earlier *View) {
	for g, records := range v.groups {
		for key, r := range records {
			if old, ok := earlier.groups[g][key]; ok && reflect.DeepEqual(old, r) {
				records[key] = old
			}
		}
	}
}
