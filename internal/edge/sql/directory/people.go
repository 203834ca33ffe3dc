// Package directory keeps persons, groups, service principals and role
// mappings in SQL. Every change is one transaction; effective roles are one
// query on one snapshot, over indexes, so that nothing has to be held in
// memory. It must never compare names in any form but their fold, nor
// identities in any but their bytes.
package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/directory"
)

// Topic is raised by every change.
const Topic = "directory"

// Store is every store interface of service/directory on a database.
type Store struct{ DB *sql.DB }

var (
	_ directory.People            = Store{}
	_ directory.Identities        = Store{}
	_ directory.Groups            = Store{}
	_ directory.ServicePrincipals = Store{}
	_ directory.Mappings          = Store{}
	_ directory.Lists             = Store{}
)

// On makes the directory that stands on db.
func On(db *sql.DB, now func() time.Time) *directory.Directory {
	s := Store{DB: db}
	return directory.New(directory.Config{People: s, Identities: s, Groups: s, ServicePrincipals: s, Mappings: s, Lists: s, Now: now})
}

const personColumns = `id, idp, user_name, display_name, mail, external_id, active, administrator, created`

func scanPerson(scan func(...any) error) (p directory.Person, err error) {
	var created int64
	err = scan(&p.ID, &p.IdP, &p.UserName, &p.DisplayName, &p.Mail, &p.ExternalID, &p.Active, &p.Administrator, &created)
	p.Created = time.UnixMilli(created).UTC()
	return p, err
}

// onePerson gives NotFound where the query finds none.
func onePerson(t *sql.Tx, where string, args ...any) (directory.Person, error) {
	p, err := scanPerson(t.QueryRow(`SELECT `+personColumns+` FROM person WHERE `+where, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return p, fault.New(fault.NotFound, "there is no such person")
	}
	return p, err
}

// Arrive finds and updates, or makes, the person of an arrival.
func (s Store) Arrive(ctx context.Context, a directory.Arrival, now time.Time) (p directory.Person, created bool, err error) {
	fresh := identity.NewPersonID()
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		created = false
		var err error
		p, err = onePerson(t, `id = (SELECT person FROM person_identity WHERE idp = $1 AND subject = $2)`, a.IdP, a.Subject)
		if fault.KindOf(err) == fault.NotFound {
			p, err = claim(t, a)
		}
		switch {
		case err == nil:
			return update(t, &p, a)
		case fault.KindOf(err) != fault.NotFound || !a.MayCreate:
			return err
		}
		created = true
		p = directory.Person{ID: fresh, IdP: a.IdP, UserName: a.UserName, DisplayName: a.DisplayName,
			Mail: a.Mail, Active: true, Created: now.UTC().Truncate(time.Millisecond)}
		return insert(t, p, a.Subject)
	})
	if err != nil {
		return directory.Person{}, false, err
	}
	return p, created, nil
}

// claim makes the identity of an arrival the first one of a person whom the
// provider's own provisioning system has announced under exactly that name: as
// externalId, or as userName, letter case aside. Whoever has an identity already
// is claimed by nobody, and an attribute beside the proven name claims nothing.
func claim(t *sql.Tx, a directory.Arrival) (directory.Person, error) {
	p, err := onePerson(t, `idp = $1 AND (external_id = $2 OR user_name_fold = $3)
		AND EXISTS (SELECT 1 FROM provisioned q WHERE q.subject = person.id AND q.idp = $1)
		AND NOT EXISTS (SELECT 1 FROM person_identity i WHERE i.person = person.id)
		ORDER BY CASE WHEN external_id = $2 THEN 0 ELSE 1 END LIMIT 1`, a.IdP, a.Subject, directory.Fold(a.Subject))
	if err != nil {
		return p, err
	}
	t.Changed(Topic)
	_, err = t.Exec(`INSERT INTO person_identity (idp, subject, person, synced) VALUES ($1, $2, $3, 0)`, a.IdP, a.Subject, p.ID)
	return p, err
}

func insert(t *sql.Tx, p directory.Person, subject string) error {
	if err := freeName(t, p); err != nil {
		return err
	}
	if _, err := t.Exec(`INSERT INTO person (`+personColumns+`, user_name_fold)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, p.ID, p.IdP, p.UserName, p.DisplayName, p.Mail, p.ExternalID,
		p.Active, p.Administrator, p.Created.UnixMilli(), directory.Fold(p.UserName)); err != nil {
		return err
	}
	t.Changed(Topic)
	_, err := t.Exec(`INSERT INTO person_identity (idp, subject, person, synced) VALUES ($1, $2, $3, 0)`, p.IdP, subject, p.ID)
	return err
}

// update takes over the names that the identity provider gives now. A linked
// second identity doesn't rename the person.
func update(t *sql.Tx, p *directory.Person, a directory.Arrival) error {
	if p.IdP != a.IdP || p.UserName == a.UserName && p.DisplayName == a.DisplayName && p.Mail == a.Mail {
		return nil
	}
	p.UserName, p.DisplayName, p.Mail = a.UserName, a.DisplayName, a.Mail
	if err := freeName(t, *p); err != nil {
		return err
	}
	t.Changed(Topic)
	_, err := t.Exec(`UPDATE person SET user_name = $2, user_name_fold = $3, display_name = $4, mail = $5 WHERE id = $1`,
		p.ID, p.UserName, directory.Fold(p.UserName), p.DisplayName, p.Mail)
	return err
}

func freeName(t *sql.Tx, p directory.Person) error {
	var other identity.PersonID
	err := t.QueryRow(`SELECT id FROM person WHERE idp = $1 AND user_name_fold = $2 AND id <> $3`,
		p.IdP, directory.Fold(p.UserName), p.ID).Scan(&other)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fault.Coded(fault.Conflict, "directory.user-name",
		fmt.Sprintf("another person of this identity provider has the user name %q, letter case aside", p.UserName)).
		WithMend("if the account was made anew at the identity provider, an administrator has to delete the old person first; if the provider sends changing NameIDs, set it to persistent ones")
}

// Person gives one person.
func (s Store) Person(ctx context.Context, id identity.PersonID) (p directory.Person, err error) {
	return s.find(ctx, `id = $1`, id)
}

// ByUserName gives the person of an identity provider by name, letter case aside.
func (s Store) ByUserName(ctx context.Context, idp identity.IdPID, userName string) (directory.Person, error) {
	return s.find(ctx, `idp = $1 AND user_name_fold = $2`, idp, directory.Fold(userName))
}

// BySubject gives the person that a NameID or sub proves, byte for byte.
func (s Store) BySubject(ctx context.Context, idp identity.IdPID, subject string) (directory.Person, error) {
	return s.find(ctx, `id = (SELECT person FROM person_identity WHERE idp = $1 AND subject = $2)`, idp, subject)
}

// ByExternalID gives the person whom a provisioning system knows by that id.
func (s Store) ByExternalID(ctx context.Context, idp identity.IdPID, externalID string) (directory.Person, error) {
	return s.find(ctx, `idp = $1 AND external_id = $2 AND external_id <> ''`, idp, externalID)
}

func (s Store) find(ctx context.Context, where string, args ...any) (p directory.Person, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		p, err = onePerson(t, where, args...)
		return err
	})
	return p, err
}

// People lists persons by folded user name, then id.
func (s Store) People(ctx context.Context, after directory.Person, most int) (all []directory.Person, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT `+personColumns+` FROM person WHERE (user_name_fold, id) > ($1, $2) ORDER BY user_name_fold, id LIMIT $3`,
			[]any{directory.Fold(after.UserName), after.ID, most}, func(scan func(...any) error) error {
				p, err := scanPerson(scan)
				all = append(all, p)
				return err
			})
	})
	return all, err
}

// Change rewrites flags and external id.
func (s Store) Change(ctx context.Context, id identity.PersonID, change func(*directory.Person) error) error {
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		p, err := onePerson(t, `id = $1`, id)
		if err != nil {
			return err
		}
		if err := change(&p); err != nil {
			return err
		}
		t.Changed(Topic)
		_, err = t.Exec(`UPDATE person SET active = $2, administrator = $3, external_id = $4 WHERE id = $1`,
			id, p.Active, p.Administrator, p.ExternalID)
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.Wrap(err, fault.Conflict, "another person of this identity provider has that external id")
	}
	return err
}

// Delete forgets a person.
func (s Store) Delete(ctx context.Context, id identity.PersonID) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM person WHERE id = $1`, id) // identities go with it
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "there is no such person")
		}
		return forget(t, string(id))
	})
}

// forget removes memberships and mappings of a subject that is gone.
func forget(t *sql.Tx, subject string) error {
	t.Changed(Topic)
	for _, q := range []string{`DELETE FROM group_member WHERE member = $1`, `DELETE FROM role_mapping WHERE subject = $1`} {
		if _, err := t.Exec(q, subject); err != nil {
			return err
		}
	}
	return nil
}

// Link makes another identity prove to be the person.
func (s Store) Link(ctx context.Context, id identity.PersonID, idp identity.IdPID, subject string) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := onePerson(t, `id = $1`, id); err != nil {
			return err
		}
		if _, err := t.Exec(`INSERT INTO person_identity (idp, subject, person, synced) VALUES ($1, $2, $3, 0)
			ON CONFLICT (idp, subject) DO NOTHING`, idp, subject, id); err != nil {
			return err
		}
		var holder identity.PersonID
		if err := t.QueryRow(`SELECT person FROM person_identity WHERE idp = $1 AND subject = $2`, idp, subject).Scan(&holder); err != nil {
			return err
		}
		if holder != id {
			return fault.New(fault.Conflict, "that identity is another person already").
				WithMend("delete the other person first; nothing of theirs is taken over")
		}
		t.Changed(Topic)
		return nil
	})
}

// ProvenBy gives everybody whom the identity provider proves.
func (s Store) ProvenBy(ctx context.Context, idp identity.IdPID) (all []identity.PersonID, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT DISTINCT person FROM person_identity WHERE idp = $1`, []any{string(idp)}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			all = append(all, identity.PersonID(id))
			return err
		})
	})
	return all, err
}
