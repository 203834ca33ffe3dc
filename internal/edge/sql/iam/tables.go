package iam

import (
	"encoding/json"
	"strings"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/iam"
)

// table is where records of some kinds lie.
type table struct {
	holds func(iam.Kind) bool
	// load reads the rows that where (with its arguments) admits.
	load func(t *sql.Tx, where string, args []any, add func(iam.Record)) error
	// at gives the where clause of one record.
	at     func(iam.Ref) (where string, args []any)
	remove func(t *sql.Tx, ref iam.Ref) error
	put    func(t *sql.Tx, r iam.Record) error
}

func tables() []table {
	is := func(want iam.Kind) func(iam.Kind) bool { return func(k iam.Kind) bool { return k == want } }
	named := func(r iam.Ref) (string, []any) { return "account = $1 AND name_fold = $2", []any{r.Account, r.Key} }
	return []table{
		{is(iam.KindSAMLProvider), loadProviders, named, removeProvider, putProvider},
		{is(iam.KindRole), loadRoles, named, removeRole, putRole},
		{is(iam.KindBucket), loadBuckets, func(r iam.Ref) (string, []any) { return "name = $1", []any{r.Key} }, removeBucket, putBucket},
		{func(iam.Kind) bool { return true }, loadEntities, func(r iam.Ref) (string, []any) {
			return "kind = $1 AND account = $2 AND entity_key = $3", []any{string(r.Kind), r.Account, r.Key}
		}, removeEntity, putEntity},
	}
}

func tableOf(k iam.Kind) table {
	all := tables()
	for _, t := range all {
		if t.holds(k) {
			return t
		}
	}
	return all[len(all)-1]
}

func load(t *sql.Tx, ref iam.Ref, add func(iam.Record)) error {
	table := tableOf(ref.Kind)
	where, args := table.at(ref)
	return table.load(t, " WHERE "+where, args, add)
}

func remove(t *sql.Tx, ref iam.Ref) error { return tableOf(ref.Kind).remove(t, ref) }
func put(t *sql.Tx, r iam.Record) error   { return tableOf(r.Ref().Kind).put(t, r) }

// more is what a SAML provider has beside the columns of the first release.
type more struct {
	UUID           string            `json:"uuid,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
	EncryptionMode string            `json:"encryption_mode,omitempty"`
	PrivateKeys    []iam.PrivateKey  `json:"private_keys,omitempty"`
}

func loadProviders(t *sql.Tx, where string, args []any, add func(iam.Record)) error {
	return t.Each(`SELECT account, name, metadata, more, created FROM iam_saml_provider`+where+` ORDER BY account, name_fold`, args,
		func(scan func(...any) error) error {
			var r iam.ProviderRecord
			var rest string
			var created int64
			if err := scan(&r.Account, &r.Name, &r.Metadata, &rest, &created); err != nil {
				return err
			}
			var m more
			if err := json.Unmarshal([]byte(rest), &m); err != nil {
				return err
			}
			r.UUID, r.Tags, r.EncryptionMode, r.PrivateKeys = m.UUID, m.Tags, m.EncryptionMode, m.PrivateKeys
			r.Created = time.UnixMilli(created).UTC()
			add(&r)
			return nil
		})
}

func removeProvider(t *sql.Tx, ref iam.Ref) error {
	_, err := t.Exec(`DELETE FROM iam_saml_provider WHERE account = $1 AND name_fold = $2`, ref.Account, ref.Key)
	return err
}

func putProvider(t *sql.Tx, record iam.Record) error {
	r := record.(*iam.ProviderRecord)
	rest, err := json.Marshal(more{UUID: r.UUID, Tags: r.Tags, EncryptionMode: r.EncryptionMode, PrivateKeys: r.PrivateKeys})
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO iam_saml_provider (account, name_fold, name, metadata, more, created) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account, name_fold) DO UPDATE SET name = excluded.name, metadata = excluded.metadata, more = excluded.more,
			created = excluded.created`,
		r.Account, r.Ref().Key, r.Name, r.Metadata, string(rest), r.Created.UnixMilli())
	return err
}

func loadRoles(t *sql.Tx, where string, args []any, add func(iam.Record)) error {
	return t.Each(`SELECT id, account, name, path, description, trust, policies, boundary, tags, max_session, created
		FROM iam_role`+where+` ORDER BY account, name_fold`, args,
		func(scan func(...any) error) error {
			var r iam.RoleRecord
			var trust, policies, boundary, tags string
			var maxSession, created int64
			if err := scan(&r.ID, &r.Account, &r.Name, &r.Path, &r.Description, &trust, &policies, &boundary, &tags, &maxSession, &created); err != nil {
				return err
			}
			var all []iam.Policy
			if err := unpack([]string{trust, policies, boundary, tags}, &r.Trust, &all, &r.Boundary, &r.Tags); err != nil {
				return err
			}
			r.Policies, r.Attached = apart(all)
			r.MaxSession = time.Duration(maxSession) * time.Second
			r.Created = time.UnixMilli(created).UTC()
			add(&r)
			return nil
		})
}

// together puts attached policies behind the inline ones, without a document:
// a server of the release before, which knows no managed policies, can't
// compile such a role and leaves it out, rather than decide without them.
func together(r *iam.RoleRecord) []iam.Policy {
	all := append([]iam.Policy{}, r.Policies...)
	for _, name := range r.Attached {
		all = append(all, iam.Policy{Name: name[strings.LastIndexByte(name, '/')+1:], ARN: name})
	}
	return all
}

func apart(all []iam.Policy) (inline []iam.Policy, attached []string) {
	for _, p := range all {
		if p.ARN != "" {
			attached = append(attached, p.ARN)
		} else {
			inline = append(inline, p)
		}
	}
	return inline, attached
}

func unpack(texts []string, to ...any) error {
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), to[i]); err != nil {
			return err
		}
	}
	return nil
}

func removeRole(t *sql.Tx, ref iam.Ref) error {
	if _, err := t.Exec(`INSERT INTO iam_role_gone (id) SELECT id FROM iam_role WHERE account = $1 AND name_fold = $2 ON CONFLICT DO NOTHING`,
		ref.Account, ref.Key); err != nil {
		return err
	}
	_, err := t.Exec(`DELETE FROM iam_role WHERE account = $1 AND name_fold = $2`, ref.Account, ref.Key)
	return err
}

func putRole(t *sql.Tx, record iam.Record) error {
	r := record.(*iam.RoleRecord)
	if err := unused(t, string(r.ID)); err != nil {
		return err
	}
	texts := make([]string, 4)
	for i, v := range []any{r.Trust, together(r), r.Boundary, r.Tags} {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		texts[i] = string(b)
	}
	_, err := t.Exec(`INSERT INTO iam_role (id, account, name_fold, name, path, description, trust, policies, boundary, tags, max_session, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE SET description = excluded.description, trust = excluded.trust, policies = excluded.policies,
			boundary = excluded.boundary, tags = excluded.tags, max_session = excluded.max_session`,
		string(r.ID), r.Account, r.Ref().Key, r.Name, r.Path, r.Description,
		texts[0], texts[1], texts[2], texts[3], int64(r.MaxSession/time.Second), r.Created.UnixMilli())
	return err
}

// bucketPolicy is a policy as its column holds it.
type bucketPolicy struct {
	iam.Policy
	Leaving bool `json:"leaving,omitempty"`
}

func loadBuckets(t *sql.Tx, where string, args []any, add func(iam.Record)) error {
	return t.Each(`SELECT name, account, policy FROM iam_bucket`+where+` ORDER BY name`, args,
		func(scan func(...any) error) error {
			var r iam.BucketRecord
			var policy string
			if err := scan(&r.Name, &r.Account, &policy); err != nil {
				return err
			}
			var kept bucketPolicy
			if err := json.Unmarshal([]byte(policy), &kept); err != nil {
				return err
			}
			r.Policy, r.Leaving = kept.Policy, kept.Leaving
			add(&r)
			return nil
		})
}

func removeBucket(t *sql.Tx, ref iam.Ref) error {
	_, err := t.Exec(`DELETE FROM iam_bucket WHERE name = $1`, ref.Key)
	return err
}

func putBucket(t *sql.Tx, record iam.Record) error {
	b := record.(*iam.BucketRecord)
	policy, err := json.Marshal(bucketPolicy{b.Policy, b.Leaving})
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO iam_bucket (name, account, policy) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET account = excluded.account, policy = excluded.policy`, b.Name, b.Account, string(policy))
	return err
}
