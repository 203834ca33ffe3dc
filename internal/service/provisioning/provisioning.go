// Package provisioning lets the provisioning system of an identity provider say
// who exists and what each holds, by SCIM 2.0.
//
// A provisioning system speaks for one identity provider, with a bearer token
// that an administrator made: it sees and changes the people, groups and machines
// that came from there and no others, and gives roles within that provider's list
// alone. Whoever is made here has no identity yet: the first sign-in at the same
// provider whose NameID or sub is the person's userName or externalId claims it.
// Each change is one transaction with its audit record, and with the revocation
// where it takes something away. It must never make an administrator, touch what
// another provider brought, or let a name that comes again inherit anything.
package provisioning

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/scim"
)

// Kind is a kind of resource.
type Kind string

// The kinds, by the prefix of their ids.
const (
	User             Kind = "psn"
	Group            Kind = "grp"
	ServicePrincipal Kind = "spn"
)

// Type gives the resource type of a kind.
func (k Kind) Type() *scim.ResourceType {
	switch k {
	case User:
		return scim.Users()
	case Group:
		return scim.Groups()
	}
	return scim.ServicePrincipals()
}

// Row is a resource as it is stored: what the directory decides by in fields of
// its own, all other attributes as the client gave them.
type Row struct {
	Kind       Kind
	ID         string
	IdP        identity.IdPID
	Name       string // userName of people, displayName of the others
	ExternalID string
	// DisplayName and Mail are shown, never compared; of people alone.
	DisplayName, Mail string
	Active            bool
	Roles             []arn.Role // own ones, by this provider's word
	Members           []Member   // of groups
	Groups            []Member   // that it is in, not through others
	// Rest are the other attributes, JSON.
	Rest    []byte
	Version int64
	Created time.Time
	Changed time.Time
}

// Member is a member of a group, or a group around one.
type Member struct{ ID, Name string }

// Page is what a list asks for, ordered by name: those with one value, or all.
type Page struct {
	Kind Kind
	IdP  identity.IdPID
	// By is userName, displayName, externalId or id, and Value what it has to be;
	// empty: everybody.
	By, Value  string
	Skip, Most int
	// Members says that members are wanted: of large groups they are many.
	Members bool
}

// Store keeps rows. Each call is one transaction, or part of the one that ctx
// carries. Faults: NotFound for what is not there or of another provider; Conflict
// (scim.CodeUniqueness) for a name or external id that is taken.
type Store interface {
	Add(ctx context.Context, r Row) (Row, error)
	// Change reads a row, has it changed and writes it under the next version.
	// change may run more than once; a row that it gives back as it was stays as
	// it is, version included.
	Change(ctx context.Context, k Kind, idp identity.IdPID, id string, change func(Row) (Row, error)) (before, after Row, err error)
	Delete(ctx context.Context, k Kind, idp identity.IdPID, id string) error
	Rows(ctx context.Context, p Page) ([]Row, error)
	Count(ctx context.Context, k Kind, idp identity.IdPID) (int, error)
}

// Members says whom a subject stands for.
type Members interface {
	// Everyone gives people and machines: the subject itself, or of a group all that are
	// in it, through others too.
	Everyone(ctx context.Context, subject string) ([]string, error)
}

// Lists says what a provider may give.
type Lists interface {
	// Admits says why a role is not within the provider's list; nil: it is.
	Admits(ctx context.Context, idp identity.IdPID, role arn.Role) error
}

// Revocations takes back what is out.
type Revocations interface {
	Revoke(ctx context.Context, kind, id string) (uint64, error)
}

// Atomic makes one transaction of what fn does with its context. fn may run more
// than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Trail records; the record is part of the transaction that ctx carries.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Config is what a Service stands on.
type Config struct {
	Store       Store
	Credentials Credentials
	Lists       Lists
	Members     Members
	Revocations Revocations
	State       Atomic
	Trail       Trail
	Now         func() time.Time
	Logger      *slog.Logger
	// Base is the address below which resources lie, such as
	// https://carnet.example.com/scim/v2.
	Base string
}

// Service answers a provisioning system. Safe for concurrent use.
type Service struct {
	Config
	known atomic.Pointer[known]
}

// Open makes a Service that knows the credentials.
func Open(ctx context.Context, c Config) (*Service, error) {
	s := &Service{Config: c}
	return s, s.Load(ctx)
}

// Caller is a provisioning system that has proven itself.
type Caller struct {
	Credential identity.CredentialID
	IdP        identity.IdPID
	Kinds      []Kind // what its credential is good for
	Source     string // address
	Request    identity.RequestID
}
