// Package issuer is Carnet as an OpenID issuer: it keeps the issuers' keys and
// mints what is signed with them.
//
// There are two issuers, the workspace's and the account level's, each with keys
// of its own for RS256 and for ES256. Unified login says which of the two is
// registered at AWS: that one alone mints for AWS. A key is published, then
// used, then retired, then gone; when, stands in its row, so what a server does
// with it is a function of the row and the time, and no two servers have to
// agree on anything else. Private keys rest sealed and never leave this package.
//
// It must never use a key that was not published before (but the first of an
// installation), never mint without a key of the issuer that was asked for,
// never mint a token that two kinds of relying parties would take, and never
// give a token for AWS without the one role it is for.
package issuer

import (
	"context"
	"crypto"
	"log/slog"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// Level names one of the two issuers.
type Level string

// The issuers.
const (
	Workspace Level = "workspace"
	Account   Level = "account" // of the organisation, not of an AWS account
)

// Levels lists them.
func Levels() []Level { return []Level{Workspace, Account} }

// Algorithms lists those that each issuer has a key for.
func Algorithms() []string { return []string{oidc.RS256, oidc.ES256} }

// AudienceAWS is the audience of tokens that are traded at STS, AWS's or ours.
const AudienceAWS = "sts.amazonaws.com"

// AudienceJDBC is the audience of the tokens that people give to engines as a password
// (service/jdbc). It needs no listing, and its tokens live for ForJDBC.
const AudienceJDBC = "jdbc"

// Codes of faults.
const (
	CodeKey      = "issuer.key"      // Unavailable: there is no key to sign with
	CodeAudience = "issuer.audience" // Denied: nobody listed that audience
	CodeHalted   = "issuer.halted"   // Unavailable: a foreign key was found where ours are published
)

// Row is the stored form of a key, with its schedule. Zero times lie in the
// future: what they stand for is not decided yet.
type Row struct {
	ID            string // kid
	Level         Level
	Algorithm     string
	Serial        int    // counts the keys of a level and algorithm, from 1
	Public        []byte // PKIX
	Sealed        []byte // PKCS #8; empty once it was destroyed
	Created       time.Time
	PublishedFrom time.Time // it stands in the key set
	UsedFrom      time.Time // it signs, unless a newer one does
	RetiredFrom   time.Time // it signs no more
	GoneAfter     time.Time // it stands in the key set no more, and nothing it signed is taken
}

// State says where in its life a key is.
type State string

// The states.
const (
	Waiting   State = "waiting" // not published yet
	Published State = "published"
	Used      State = "used"
	Retired   State = "retired"
	Gone      State = "gone"
)

// State gives the state of the key at a time.
func (r Row) State(now time.Time) State {
	switch begun := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }; {
	case begun(r.GoneAfter):
		return Gone
	case begun(r.RetiredFrom):
		return Retired
	case begun(r.UsedFrom):
		return Used
	case begun(r.PublishedFrom):
		return Published
	}
	return Waiting
}

// next gives the next time after now at which the state changes; false when
// nothing is planned.
func (r Row) next(now time.Time) (time.Time, bool) {
	for _, t := range []time.Time{r.PublishedFrom, r.UsedFrom, r.RetiredFrom, r.GoneAfter} {
		if !t.IsZero() && t.After(now) {
			return t, true
		}
	}
	return time.Time{}, false
}

// Key is one of our keys, without its secret.
type Key struct {
	Row   // without Sealed
	State State
	// Public is what verifies its tokens.
	Public crypto.PublicKey
}

// Schedule is a change of the times of a stored key.
type Schedule struct {
	ID                               string
	UsedFrom, RetiredFrom, GoneAfter time.Time
	// Destroy drops the private half.
	Destroy bool
}

// Change is a change of the keys of one level and algorithm.
type Change struct {
	Level     Level
	Algorithm string
	// Last is the highest serial that the change was worked out from; 0: none.
	Last      int
	Add       *Row // its serial is Last+1
	Schedules []Schedule
}

// Stop says that minting stopped.
type Stop struct {
	At     time.Time // zero: it did not
	Reason string
	KeyID  string // of the foreign key, as it stood there
}

// Store keeps keys. Each method is one transaction, or part of the one that ctx
// carries.
type Store interface {
	// All gives every key, and whether minting stopped, as of one moment.
	All(ctx context.Context) ([]Row, Stop, error)
	// Change does a change; false, and nothing changed, when the highest serial
	// is another by now.
	Change(ctx context.Context, c Change) (bool, error)
	// SetStop stores that minting stopped, or with the zero Stop that it goes on.
	// False when it stood so already.
	SetStop(ctx context.Context, s Stop) (bool, error)
	// Watch calls changed after every change by any server, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// Sealer seals private keys, bound to their id.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Trail records what was administered, in the transaction that ctx carries.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Config is what a Service stands on.
type Config struct {
	Store  Store
	Sealer Sealer
	State  Atomic
	Trail  Trail
	Now    func() time.Time
	Logger *slog.Logger // nil discards

	// BaseURL is where this server is reached: its endpoints lie below it, and
	// the issuers too unless PublicURL moves them. AccountURL puts the account
	// level on another host. None ends with a slash; all but BaseURL may be empty.
	BaseURL    string
	PublicURL  string
	AccountURL string
	AccountID  string // the last part of the account level's URL
	// Unified reports whether unified login is on; nil: it is.
	Unified func() bool

	Signing   string   // algorithm of ID tokens; empty: RS256
	Audiences []string // what ID tokens may be asked for beside AudienceAWS
	NoDevice  bool     // the device authorization grant is off
	// A key is used for Every, published for Prepublish before, and taken for
	// Grace after. No token outlives Grace.
	Every, Prepublish, Grace time.Duration
	// Elsewhere: keys are published by a Publisher, and none is used before
	// Placed said that it stands there.
	Elsewhere bool
}
