package iam

import (
	"time"

	"carnet.dev/carnet/internal/core/secret"
)

// Draft is a state that is being changed: what was put and deleted is seen by
// its own read methods. It is good inside the function that Edit runs, and
// for one goroutine.
type Draft struct {
	View

	service *Service
	now     time.Time
	// target and detail go into the audit record.
	target string
	detail map[string]string
	// was holds what each touched Ref was in the store: nil for nothing.
	was map[Ref]Record
	// own lets AdministratorRole be changed: by Carnet itself.
	own bool
}

func (s *Service) draft(v *View) *Draft {
	d := &Draft{View: *v, service: s, now: s.Now().UTC().Truncate(time.Millisecond), was: map[Ref]Record{}}
	d.over = map[Ref]Record{}
	return d
}

// Now gives the time of the edit: for Created.
func (d *Draft) Now() time.Time { return d.now }

// Concerns says what the edit is of, for its audit record: an ARN, and what
// more is worth knowing (no secrets).
func (d *Draft) Concerns(target string, detail map[string]string) {
	d.target, d.detail = target, detail
}

// Put writes a record, a pointer to one of the record types, in place of the
// one of its Ref. The draft keeps the pointer: change nothing behind it later.
func (d *Draft) Put(r Record) { d.set(r.Ref(), r) }

// Delete takes a record out.
func (d *Draft) Delete(ref Ref) { d.set(ref, nil) }

func (d *Draft) set(ref Ref, r Record) {
	if _, seen := d.was[ref]; !seen {
		d.was[ref] = d.groups[group{ref.Kind, ref.Account}][ref.Key]
	}
	d.over[ref] = r
}

// change gives what the draft does to the store's state. Where another unique
// id takes a place, the old one goes first.
func (d *Draft) change() Change {
	c := Change{Revision: d.revision}
	for ref, r := range d.over {
		old := d.was[ref]
		if old != nil && (r == nil || old.UniqueID() != r.UniqueID()) {
			c.Delete = append(c.Delete, ref)
		}
		if r != nil {
			c.Put = append(c.Put, r)
		}
	}
	return c
}

// What secrets of the authority are sealed for. The additional data is the id
// of the key.
const (
	SealAccessKey  = "iam.access-key"
	SealPrivateKey = "iam.saml-private-key"
)

// Seal seals a secret for a purpose, bound to the id of the key that it is.
func (d *Draft) Seal(purpose, id string, s secret.Text) ([]byte, error) {
	return d.service.Sealer.Seal(purpose, []byte(id), []byte(s.Reveal()))
}
