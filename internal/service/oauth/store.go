package oauth

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
)

// Kept is the stored form of a credential.
type Kept struct {
	Credential
	Digest [32]byte // of a secret; zero for a key
}

// Clients keeps registered clients. Each method is one transaction, or part of
// the one that ctx carries; NotFound faults say that there is nothing.
type Clients interface {
	// All gives every client, by name, and every credential, by time of making:
	// those of service principals too.
	All(ctx context.Context) ([]Client, []Kept, error)
	Client(ctx context.Context, id string) (Client, error)
	// PutClient stores a new or changed client; Conflict when another has its
	// name, letter case aside.
	PutClient(ctx context.Context, c Client) error
	// RemoveClient deletes a client with its credentials, codes and grants;
	// NotFound.
	RemoveClient(ctx context.Context, id string) error
	// Watch calls changed after every change by any server, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// Credentials keeps what clients and service principals prove themselves with.
// Transactions as for Clients.
type Credentials interface {
	// PutCredential stores a new one; Conflict where the client has most of its
	// kind already.
	PutCredential(ctx context.Context, k Kept, most int) error
	// RemoveCredential deletes one of a client; NotFound.
	RemoveCredential(ctx context.Context, client string, id identity.CredentialID) error
	// Used notes that one was used; nobody is told.
	Used(ctx context.Context, id identity.CredentialID, at time.Time) error
}

// Code is the stored form of an authorization code.
type Code struct {
	Digest       [32]byte
	Level        issuer.Level
	Client       string
	LoginSession identity.LoginSessionID
	RedirectURI  string
	Challenge    string // PKCE S256
	Scope        string
	Nonce        string
	Expires      time.Time
}

// Codes keeps authorization codes. Transactions as for Clients.
type Codes interface {
	// PutCode stores a code; NotFound when the login session has ended, or the
	// client is switched off.
	PutCode(ctx context.Context, c Code) error
	Code(ctx context.Context, digest [32]byte) (Code, error)
	// ClaimCode uses a code up; false when it was used, or never was.
	ClaimCode(ctx context.Context, digest [32]byte) (bool, error)
	// EndClient forgets all codes and grants of a client.
	EndClient(ctx context.Context, client string) error
}

// Given is what one approval gave a client: all tokens that came of one code.
type Given struct {
	ID           string
	Handle       [32]byte // digest of what all its refresh tokens begin with
	Code         [32]byte // digest of the code; zero where there was none
	Level        issuer.Level
	Client       string
	LoginSession identity.LoginSessionID
	Person       identity.PersonID
	Scope        string
	Created      time.Time
	Ends         time.Time
}

// Issued is one access token that was given, with the refresh token beside it.
type Issued struct {
	AccessID string // jti
	Given    string
	Refresh  [32]byte // digest; zero where there is none
	// Parent is the AccessID of the row whose refresh token gave this one.
	Parent  string
	Issued  time.Time
	Ends    time.Time // of the access token
	Rotated time.Time // zero while the refresh token is unused
}

// Grants keeps what clients were given. Transactions as for Clients.
type Grants interface {
	// PutGrant stores a new one with its first tokens, and forgets the oldest of
	// the login session beyond most. NotFound as for PutCode.
	PutGrant(ctx context.Context, g Given, first Issued, most int) error
	// Grant finds one, and its tokens that count or could be meant: by the
	// digest of a code or of a handle.
	Grant(ctx context.Context, by By, digest [32]byte) (Given, []Issued, error)
	// Rotate marks the refresh token beside an access token as used, where it was
	// not, and stores what it gave. Those that the same token gave before lose
	// theirs: one of them is in use now.
	Rotate(ctx context.Context, accessID string, at time.Time, next Issued) error
	// RemoveGrant forgets a grant with its tokens.
	RemoveGrant(ctx context.Context, id string) error
	// Sweep deletes what ended before now.
	Sweep(ctx context.Context, now time.Time) error
}

// By says what a grant is found by.
type By string

// The ways.
const (
	ByCode   By = "code"
	ByHandle By = "handle"
)

// Issuer signs tokens.
type Issuer interface {
	URL(l issuer.Level) string
	// EndpointURL is what the issuer's endpoints lie below.
	EndpointURL(l issuer.Level) string
	MintID(t issuer.IDToken) (issuer.Minted, error)
	MintAccess(t issuer.AccessToken) (issuer.Minted, error)
	VerifyAccess(token secret.Text) (*issuer.AccessToken, error)
}

// Logins gives login sessions by id, as they stand now.
type Logins interface {
	ResumeID(ctx context.Context, id identity.LoginSessionID) (login.LoginSession, error)
}

// Principals knows service principals.
type Principals interface {
	ServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error)
}

// People knows persons.
type People interface {
	Person(ctx context.Context, id identity.PersonID) (directory.Person, error)
}

// Once guards one-time use across all servers.
type Once interface {
	Consume(ctx context.Context, kind, id string, until time.Time) (won bool, err error)
}

// Sealer seals what travels through a browser and comes back.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Revocations is the feed of what no longer holds.
type Revocations interface {
	Epoch() (uint64, error)
	Refused(kind, id string, epoch uint64) (bool, error)
	// Revoke works in the transaction that ctx carries.
	Revoke(ctx context.Context, kind, id string) (epoch uint64, err error)
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Trail records in the transaction that ctx carries: what can't be recorded
// doesn't happen.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}
