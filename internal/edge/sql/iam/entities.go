package iam

import (
	"encoding/json"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/iam"
)

// created points at the time that lies in a column of its own.
func created(r iam.Record) *time.Time {
	switch r := r.(type) {
	case *iam.OIDCProviderRecord:
		return &r.Created
	case *iam.UserRecord:
		return &r.Created
	case *iam.GroupRecord:
		return &r.Created
	case *iam.ManagedPolicyRecord:
		return &r.Created
	case *iam.InstanceProfileRecord:
		return &r.Created
	case *iam.AccessKeyRecord:
		return &r.Created
	case *iam.AliasRecord:
		return &r.Created
	case *iam.GuardrailsRecord:
		return &r.Created
	case *iam.BucketCORSRecord:
		return &r.Created
	}
	return &time.Time{}
}

// loadEntities reads the general table. Kinds that this release doesn't know
// are a newer one's, and left alone.
func loadEntities(t *sql.Tx, where string, args []any, add func(iam.Record)) error {
	return t.Each(`SELECT kind, document, created FROM iam_entity`+where+` ORDER BY kind, account, entity_key`, args,
		func(scan func(...any) error) error {
			var kind iam.Kind
			var document string
			var at int64
			if err := scan(&kind, &document, &at); err != nil {
				return err
			}
			r := iam.NewRecord(kind)
			if r == nil {
				return nil
			}
			if err := json.Unmarshal([]byte(document), r); err != nil {
				return err
			}
			*created(r) = time.UnixMilli(at).UTC()
			add(r)
			return nil
		})
}

// take takes a record out, for good or because the change puts the same one
// under another name: a user keeps its id when it is renamed.
func take(t *sql.Tx, ref iam.Ref, put []iam.Record) error {
	at := []any{string(ref.Kind), ref.Account, ref.Key}
	for _, r := range put {
		if to := r.Ref(); to.Kind != ref.Kind || to.Account != ref.Account || to == ref || r.UniqueID() == "" {
			continue
		}
		n, err := t.Exec(`DELETE FROM iam_entity WHERE kind = $1 AND account = $2 AND entity_key = $3 AND id = $4`, append(at, r.UniqueID())...)
		if err != nil || n > 0 {
			return err
		}
	}
	return remove(t, ref)
}

func removeEntity(t *sql.Tx, ref iam.Ref) error {
	at := []any{string(ref.Kind), ref.Account, ref.Key}
	if _, err := t.Exec(`INSERT INTO iam_entity_gone (id) SELECT id FROM iam_entity
		WHERE kind = $1 AND account = $2 AND entity_key = $3 AND id <> '' ON CONFLICT DO NOTHING`, at...); err != nil {
		return err
	}
	_, err := t.Exec(`DELETE FROM iam_entity WHERE kind = $1 AND account = $2 AND entity_key = $3`, at...)
	return err
}

func putEntity(t *sql.Tx, r iam.Record) error {
	if r.UniqueID() != "" {
		if err := unused(t, r.UniqueID()); err != nil {
			return err
		}
	}
	document, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ref := r.Ref()
	_, err = t.Exec(`INSERT INTO iam_entity (kind, account, entity_key, id, document, created) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (kind, account, entity_key) DO UPDATE SET id = excluded.id, document = excluded.document, created = excluded.created`,
		string(ref.Kind), ref.Account, ref.Key, r.UniqueID(), string(document), created(r).UnixMilli())
	return err
}
