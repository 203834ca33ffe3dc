// Package directory knows who exists and what they hold: persons, groups,
// service principals and role mappings.
//
// A person is (identity provider, NameID or sub), byte for byte, under an id
// that is never reused. User names are unique within an identity provider,
// letter case aside, and kept as given; the same mail address at two providers
// means two persons. Effective roles are a person's own and those of every
// group around them. It must never link two identities by name or mail, let a
// name that was deleted and made again inherit anything, or make an
// administrator on a provisioning system's word.
package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// Person is one human being as one identity provider knows them.
type Person struct {
	ID            identity.PersonID
	IdP           identity.IdPID // who brought them
	UserName      string         // as given
	DisplayName   string
	Mail          string // shown, never compared
	ExternalID    string // the provisioning system's id, or empty
	Active        bool
	Administrator bool // made by an administrator; an IdP's group grants it per login session instead
	Created       time.Time
}

// Group is a named set of persons, service principals and groups.
type Group struct {
	ID         identity.GroupID
	Name       string
	ExternalID string
	Created    time.Time
}

// ServicePrincipal is a machine identity that an administrator made.
type ServicePrincipal struct {
	ID         identity.ServicePrincipalID
	Name       string
	ExternalID string
	Active     bool
	Created    time.Time
}

// Origin says who set a role mapping.
type Origin string

// The origins.
const (
	FromSAML  Origin = "saml"
	FromOIDC  Origin = "oidc"
	FromSCIM  Origin = "scim"
	FromAdmin Origin = "admin"
)

// Mapping is a subject's stored right to a role.
type Mapping struct {
	Subject string // id of a person, group or service principal
	Role    arn.Role
	Origin  Origin
	IdP     identity.IdPID // whose word it was; empty for FromAdmin
	Set     time.Time
}

// Arrival is a person at the door: proven by an identity provider just now.
type Arrival struct {
	IdP         identity.IdPID
	Subject     string // NameID or sub, byte for byte
	UserName    string
	DisplayName string
	Mail        string
	MayCreate   bool // just-in-time creation is on
}

// People keeps persons.
type People interface {
	// Arrive finds the person of (IdP, Subject) and brings their names up to
	// date, or makes them. Faults: NotFound when unknown and !MayCreate,
	// Conflict when another person of this IdP has the user name.
	Arrive(ctx context.Context, a Arrival, now time.Time) (p Person, created bool, err error)
	Person(ctx context.Context, id identity.PersonID) (Person, error)
	// People lists persons by folded user name, then id, after the given one
	// (the zero Person: from the start).
	People(ctx context.Context, after Person, most int) ([]Person, error)
	// Change rewrites flags and external id; NotFound when there is no such person.
	Change(ctx context.Context, id identity.PersonID, change func(*Person) error) error
	// Delete forgets a person with all identities, memberships and mappings.
	Delete(ctx context.Context, id identity.PersonID) error
}

// Identities links what an IdP proves to persons.
type Identities interface {
	// Link makes (idp, subject) prove to be the person; Conflict when it
	// proves to be another.
	Link(ctx context.Context, id identity.PersonID, idp identity.IdPID, subject string) error
	// BySubject gives the person that (idp, subject) proves; NotFound.
	BySubject(ctx context.Context, idp identity.IdPID, subject string) (Person, error)
	ByUserName(ctx context.Context, idp identity.IdPID, userName string) (Person, error)
	ByExternalID(ctx context.Context, idp identity.IdPID, externalID string) (Person, error)
	// ProvenBy gives everybody whom the identity provider proves.
	ProvenBy(ctx context.Context, idp identity.IdPID) ([]identity.PersonID, error)
}

// Groups keeps groups and who is in them.
type Groups interface {
	PutGroup(ctx context.Context, g Group) error
	DeleteGroup(ctx context.Context, id identity.GroupID) error
	GroupByName(ctx context.Context, name string) (Group, error)
	// AddMember refuses, with Conflict, what would make a group part of itself.
	AddMember(ctx context.Context, g identity.GroupID, member string) error
	RemoveMember(ctx context.Context, g identity.GroupID, member string) error
}

// ServicePrincipals keeps machine identities.
type ServicePrincipals interface {
	PutServicePrincipal(ctx context.Context, s ServicePrincipal) error
	ServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) (ServicePrincipal, error)
	ServicePrincipals(ctx context.Context) ([]ServicePrincipal, error)
	// ChangeServicePrincipal rewrites the active flag and the external id; NotFound.
	ChangeServicePrincipal(ctx context.Context, id identity.ServicePrincipalID, change func(*ServicePrincipal)) error
	DeleteServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) error
}

// Mappings keeps rights.
type Mappings interface {
	// Map stores a right; storing it again changes nothing.
	Map(ctx context.Context, m Mapping) error
	Unmap(ctx context.Context, m Mapping) error
	// Sync replaces a person's own mappings that within admits by roles of
	// one assertion; an older assertion than the last changes nothing.
	Sync(ctx context.Context, s Sync) (changed Change, err error)
	// Own gives the mappings of the subject itself, whether it is active or not.
	Own(ctx context.Context, subject string) ([]Mapping, error)
	// Held gives the mappings of the subject and of all groups around it,
	// with the way that leads there; none when the subject is not active.
	Held(ctx context.Context, subject string) ([]HeldMapping, error)
}

// Lists shows administrators who is in what.
type Lists interface {
	// ListGroups gives groups by folded name after the given one (the zero
	// Group: from the start).
	ListGroups(ctx context.Context, after Group, most int) ([]Group, error)
	// Group gives one; NotFound.
	Group(ctx context.Context, id identity.GroupID) (Group, error)
	// Members gives who is in a group, not through others, by kind and name.
	Members(ctx context.Context, id identity.GroupID) ([]Member, error)
	// MemberOf gives the groups that a subject is in, not through others, by name.
	MemberOf(ctx context.Context, subject string) ([]Group, error)
}

// Member is one direct member of a group: a person, group or service principal.
type Member struct {
	ID   string
	Name string
}

// Sync is what one assertion says about a person's roles.
type Sync struct {
	Person  identity.PersonID
	IdP     identity.IdPID
	Subject string
	Issued  time.Time // the assertion's IssueInstant: the later word counts
	Roles   []arn.Role
	Within  func(arn.Role) bool // what the IdP may say (federation's list)
	Origin  Origin
	Now     time.Time
}

// Change is what a sync did.
type Change struct {
	Stale          bool // an assertion that was issued later has spoken already
	Added, Removed []arn.Role
}

// Config is what a Directory stands on.
type Config struct {
	People            People
	Identities        Identities
	Groups            Groups
	ServicePrincipals ServicePrincipals
	Mappings          Mappings
	Lists             Lists
	Now               func() time.Time
}

// Directory answers who someone is and what they hold. Safe for concurrent use.
type Directory struct{ Config }

// New makes a Directory.
func New(c Config) *Directory { return &Directory{c} }

// EnsurePerson gives the person that an identity provider has just proven,
// and makes them when they are new. Faults: Denied ("directory.inactive") for
// a person who was switched off, Conflict ("directory.user-name") when another
// person of this identity provider has the user name, Invalid for names that
// can't be kept.
func (d *Directory) EnsurePerson(ctx context.Context, idp identity.IdPID, nameID, userName, displayName, mail string) (Person, bool, error) {
	return d.Arrive(ctx, Arrival{IdP: idp, Subject: nameID, UserName: userName, DisplayName: displayName, Mail: mail, MayCreate: true})
}

// Subject gives the person that an identity provider's NameID proves, without
// a sign-in: their names stay as they are, but for a user name that the
// identity provider has changed, which has to be free. One who was never seen
// is made as Arrive would, under userName. Faults as for EnsurePerson.
func (d *Directory) Subject(ctx context.Context, idp identity.IdPID, nameID, userName string, mayCreate bool) (Person, error) {
	p, err := d.Identities.BySubject(ctx, idp, nameID)
	if errors.Is(err, fault.New(fault.NotFound, "")) {
		p, _, err = d.Arrive(ctx, Arrival{IdP: idp, Subject: nameID, UserName: userName, MayCreate: mayCreate})
		return p, err
	}
	if err != nil {
		return Person{}, err
	}
	if !p.Active {
		return Person{}, inactive(p)
	}
	if p.IdP == idp && Fold(p.UserName) != Fold(userName) {
		p, _, err = d.Arrive(ctx, Arrival{IdP: idp, Subject: nameID, UserName: userName, DisplayName: p.DisplayName, Mail: p.Mail})
	}
	return p, err
}

// KnownPerson is EnsurePerson where people are not made by signing in: an
// unknown one is a fault Denied ("directory.unknown").
func (d *Directory) KnownPerson(ctx context.Context, idp identity.IdPID, nameID, userName, displayName, mail string) (Person, error) {
	p, _, err := d.Arrive(ctx, Arrival{IdP: idp, Subject: nameID, UserName: userName, DisplayName: displayName, Mail: mail})
	return p, err
}

// Arrive is EnsurePerson and KnownPerson in one, by Arrival.MayCreate.
func (d *Directory) Arrive(ctx context.Context, a Arrival) (Person, bool, error) {
	if err := a.check(); err != nil {
		return Person{}, false, err
	}
	p, created, err := d.People.Arrive(ctx, a, d.Now())
	if errors.Is(err, fault.New(fault.NotFound, "")) && !a.MayCreate {
		return Person{}, false, fault.Coded(fault.Denied, "directory.unknown",
			fmt.Sprintf("%q is not known here, and signing in makes nobody known", a.UserName)).
			WithMend("ask an administrator to enter you, or to switch on creation at first sign-in for this identity provider")
	}
	if err != nil {
		return Person{}, false, err
	}
	if !p.Active {
		return Person{}, false, inactive(p)
	}
	return p, created, nil
}

func inactive(p Person) error {
	return fault.Coded(fault.Denied, "directory.inactive", fmt.Sprintf("%q was switched off", p.UserName)).
		WithMend("ask an administrator to switch the person on again")
}

// Limits of names, in bytes. Subject's is SAML's for persistent NameIDs.
const (
	maxSubject = 1024
	maxName    = 256
)

func (a Arrival) check() error {
	if a.IdP == "" {
		return fault.New(fault.Internal, "an arrival without an identity provider")
	}
	if a.Subject == "" || len(a.Subject) > maxSubject || !text(a.Subject) {
		return fault.Coded(fault.Invalid, "directory.subject",
			fmt.Sprintf("the identity provider's name for the person is empty, not UTF-8 or over %d bytes", maxSubject))
	}
	if err := checkName("user name", a.UserName); err != nil {
		return err
	}
	if len(a.DisplayName) > maxName || len(a.Mail) > maxName || !text(a.DisplayName) || !text(a.Mail) {
		return fault.Coded(fault.Invalid, "directory.name",
			fmt.Sprintf("the display name or mail address of %q is not UTF-8 or over %d bytes", a.UserName, maxName))
	}
	return nil
}

// text reports what every engine stores as it is: UTF-8 without NUL.
func text(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// checkName refuses names that would look like others or like nothing.
func checkName(what, s string) error {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return fault.Coded(fault.Invalid, "directory.name",
			fmt.Sprintf("a %s is 1 to %d bytes of UTF-8 without spaces around it", what, maxName))
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fault.Coded(fault.Invalid, "directory.name", fmt.Sprintf("the %s %q has a character that can't be seen", what, s))
		}
	}
	return nil
}

// Fold is the form in which names are compared: Unicode simple case folding,
// so that Straße stays apart from strasse and K (Kelvin) is k.
func Fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
