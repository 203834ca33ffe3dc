package login

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/identity"
)

// Record is the stored form of a login session, without its roles: the broker
// keeps those.
type Record struct {
	ID            identity.LoginSessionID
	Person        Person
	IdPName       string
	Administrator bool
	Started       time.Time
	Expires       time.Time
	Notes         []string
	// Epoch is that of the revocation feed when the sign-in began: a later
	// revocation of the login session or its person ends it.
	Epoch uint64
	// Federated is what the identity provider said; zero for a set-up link.
	Federated Federated
	// Hint is the sealed ID token of the sign-in. It is set for Park alone, and
	// had back by Named.Hint.
	Hint []byte
}

// Federated is what the assertion said of the sign-in at the identity provider
// (saml-core-2.0-os sections 2.2.3 and 2.7.2): single logout speaks of it. After a
// sign-in by OpenID Connect NameID is sub, SessionIndex sid, AuthnContext acr.
type Federated struct {
	NameID          string
	NameIDFormat    string // whole URN; empty: none was named
	NameQualifier   string
	SPNameQualifier string
	SessionIndex    string
	AuthnContext    string // class reference
	// AuthnInstant is when the person proved themselves; zero: unknown.
	AuthnInstant time.Time
	// Ends is SessionNotOnOrAfter; zero: the identity provider set no bound.
	Ends time.Time
}

// Ticket is the claim to a parked sign-in. Handle and PreLogin are digests.
type Ticket struct {
	Handle   [32]byte
	PreLogin [32]byte
	// ReturnTo is set for an unsolicited sign-in alone: one that began here
	// keeps it in its browser.
	ReturnTo string
	Expires  time.Time
	// Unsolicited: the sign-in began at the identity provider, and its person
	// has not said yet that they mean it.
	Unsolicited bool
}

// By names the kind of secret that a login session is found by.
type By string

// The kinds.
const (
	ByCookie By = "cookie"
	ByCLI    By = "cli"
	// byID is no secret: only what rests on a login session is resumed so.
	byID By = "id"
)

// Sessions keeps login sessions. Every method is one transaction, or part of
// the one that ctx carries; NotFound faults say that there is nothing (left).
type Sessions interface {
	// Park stores a login session that waits for its browser.
	Park(ctx context.Context, r Record, t Ticket) error
	// Claim uses up the ticket with this handle.
	Claim(ctx context.Context, handle [32]byte) (Record, Ticket, error)
	// Open gives a claimed or new login session its cookie.
	Open(ctx context.Context, r Record, cookie [32]byte) error
	// Find gives the open login session with this secret.
	Find(ctx context.Context, by By, digest [32]byte) (Record, error)
	// End deletes a login session with its CLI tokens and codes, and tells
	// every server. No fault when there is none.
	End(ctx context.Context, id identity.LoginSessionID) error
}

// Parked is what waits for its browser without being used up by a look at it.
// Transactions and faults as for Sessions.
type Parked interface {
	// Look gives a parked sign-in and leaves it there.
	Look(ctx context.Context, handle [32]byte) (Record, Ticket, error)
	// PutTest stores the sealed report of a test sign-in.
	PutTest(ctx context.Context, t TestTicket) error
	// Test gives a report.
	Test(ctx context.Context, handle [32]byte) (TestTicket, error)
}

// TestTicket is the stored form of a test sign-in's report. Handle and PreLogin
// are digests.
type TestTicket struct {
	Handle   [32]byte
	PreLogin [32]byte
	Sealed   []byte
	Expires  time.Time
}

// Named finds login sessions by names that are no secrets.
type Named interface {
	// OfSubject gives the login sessions, open and parked, of one NameID or sub of
	// an identity provider, newest first.
	OfSubject(ctx context.Context, idp identity.IdPID, nameID string) ([]Record, error)
	// OfSession gives those with one SessionIndex or sid.
	OfSession(ctx context.Context, idp identity.IdPID, index string) ([]Record, error)
	// Hint gives the sealed ID token of a login session; nil where there is none.
	Hint(ctx context.Context, id identity.LoginSessionID) ([]byte, error)
	// ByID gives an open login session; NotFound.
	ByID(ctx context.Context, id identity.LoginSessionID) (Record, error)
}

// CLICode is the stored form of a one-use code.
type CLICode struct {
	Code         [32]byte // digest
	LoginSession identity.LoginSessionID
	Challenge    string // PKCE S256
	Expires      time.Time
}

// CLI keeps the codes and tokens of command lines, by digest. Transactions
// and faults as for Sessions.
type CLI interface {
	PutCode(ctx context.Context, c CLICode) error
	// ClaimCode uses up a code.
	ClaimCode(ctx context.Context, code [32]byte) (CLICode, error)
	// PutToken stores a token of an open login session and gives the session.
	PutToken(ctx context.Context, token [32]byte, id identity.LoginSessionID) (Record, error)
	// DropToken deletes a token and tells every server.
	DropToken(ctx context.Context, token [32]byte) error
}

// Upkeep keeps set-up links and cleans up. Transactions as for Sessions.
type Upkeep interface {
	// PutSetup stores the digest of a set-up link; older links stop working.
	PutSetup(ctx context.Context, code [32]byte, expires time.Time) error
	// ClaimSetup uses up a set-up link and gives its end; NotFound fault.
	ClaimSetup(ctx context.Context, code [32]byte) (expires time.Time, err error)
	// Sweep deletes what ended before a time. It gives the parked sign-ins
	// among it, whose browser never came.
	Sweep(ctx context.Context, before time.Time) (abandoned []identity.LoginSessionID, err error)
	// Surplus gives a person's open login sessions beyond the most that may
	// stand beside this one, newest first.
	Surplus(ctx context.Context, person identity.PersonID, beside identity.LoginSessionID, most int) ([]identity.LoginSessionID, error)
	// Watch calls ended after login sessions or CLI tokens ended at any
	// server, until ctx ends.
	Watch(ctx context.Context, ended func()) error
}
