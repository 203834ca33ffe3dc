// Package device is the device authorization grant (RFC 8628): a program on a
// machine without a browser shows a short code, and a person types it into our
// page in a browser of theirs.
//
// A stranger may begin one, so what they can make us keep is bounded: a row of
// bounded size in one of the few places that their address shares, found in
// constant cost, for ten minutes. A person may be talked into approving what a
// thief began. So the code has to be typed, no address holds it; the page says
// who asks, from where, for what, and on which host; wrong codes are counted
// for the login session and for the address; a grant is approved once, redeemed
// once, by the client that began it, and ends with the login session of whoever
// approved it. It must never tell anybody about a grant whose code they did not
// type, and never give anything on a no.
package device

import (
	"context"
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// The error codes of the token endpoint (RFC 8628 section 3.5, RFC 6749
// section 5.2).
const (
	AuthorizationPending = "authorization_pending"
	SlowDown             = "slow_down"
	ExpiredToken         = "expired_token"
	AccessDenied         = "access_denied"
	InvalidGrant         = "invalid_grant"
	UnsupportedGrant     = "unsupported_grant_type"
)

// Codes of other faults.
const (
	CodeWrong = "device.code"  // NotFound: nothing waits under what was typed
	CodeTries = "device.tries" // Limited: too many wrong codes
	CodeBusy  = "device.busy"  // Limited: too many grants wait
	CodeOff   = "device.off"   // Unsupported: switched off
)

const (
	// Lifetime is how long a grant waits for its person.
	Lifetime = 10 * time.Minute
	// Interval is the shortest time between two polls; each poll that comes too
	// early makes it as much longer, up to LongestInterval.
	Interval        = 5 * time.Second
	LongestInterval = time.Minute

	// Buckets and PerBucket bound the grants that wait: an IPv4 address or IPv6
	// /48 has one bucket, which it shares with others.
	Buckets   = 1024
	PerBucket = 16

	// WrongPerSession and WrongPerSource bound the wrong codes of ten minutes.
	WrongPerSession = 10
	WrongPerSource  = 100

	// PerSecond and AtOnce bound how many grants begin at one server.
	PerSecond = 50
	AtOnce    = 500
)

// State is what has become of a grant.
type State string

// The states.
const (
	Waiting  State = "waiting"
	Approved State = "approved"
	Denied   State = "denied"
)

// Grant is the stored form of one grant.
type Grant struct {
	Device   [32]byte // digest of the device code
	UserCode string   // eight letters; it opens nothing by itself
	Level    string   // of the issuer that it was begun at
	Client   string
	Scope    string // as it goes on the wire
	// Source and UserAgent say where it was begun: shown, and believed by nobody.
	Source    string
	UserAgent string
	Asked     time.Time
	Expires   time.Time
	State     State
	// LoginSession is that of whoever decided; empty while it waits.
	LoginSession identity.LoginSessionID
	Interval     time.Duration
	Next         time.Time // a poll before is too early
}

// Placed says what became of a grant that was to be stored.
type Placed int

// What can become of it.
const (
	Stored Placed = iota
	Full          // its bucket has no place
	Taken         // its user code or place is another's: try again
)

// Grants keeps what devices began. Each method is one transaction, or part of
// the one that ctx carries; NotFound faults say that there is nothing.
type Grants interface {
	// Put stores a grant in a place of its bucket that is free or whose grant
	// has ended.
	Put(ctx context.Context, g Grant, bucket int) (Placed, error)
	// Find gives the grant of a device code.
	Find(ctx context.Context, device [32]byte) (Grant, error)
	// Polled stores the interval and the earliest next poll.
	Polled(ctx context.Context, device [32]byte, interval time.Duration, next time.Time) error
	// Take deletes an approved grant and reports whether this call did.
	Take(ctx context.Context, device [32]byte) (bool, error)
	// Sweep deletes grants and counts of wrong codes that ended before a time.
	Sweep(ctx context.Context, before time.Time) error
}

// Decisions keeps what people say. Transactions and faults as for Grants.
type Decisions interface {
	// Typed gives the grant of a user code.
	Typed(ctx context.Context, userCode string) (Grant, error)
	// Decide moves a grant that waits and has not ended by at to a state;
	// false where it does not wait.
	Decide(ctx context.Context, userCode string, to State, by identity.LoginSessionID, at time.Time) (bool, error)
	Counts
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

// Config is what a Service stands on.
type Config struct {
	Grants    Grants
	Decisions Decisions
	State     Atomic
	Trail     Trail
	Now       func() time.Time
	// Page is where people type their code: an absolute URL.
	Page string
	// Off: the grant is switched off.
	Off bool
}

// Ask is what a client begins a grant with; the caller has proven the client
// and held the scope to it.
type Ask struct {
	Level     string
	Client    string
	Scope     string
	Source    netip.Addr
	UserAgent string
}

// Begun is the answer to a device (RFC 8628 section 3.2). There is no
// verification_uri_complete: an address with the code in it is what a thief
// sends around.
type Begun struct {
	DeviceCode      secret.Text
	UserCode        string // as it is shown: XXXX-XXXX
	VerificationURI string
	Expires         time.Duration
	Interval        time.Duration
}

// Approver is who looks at a grant and decides.
type Approver struct {
	Person       identity.PersonID
	UserName     string
	LoginSession identity.LoginSessionID
	Source       netip.Addr
}

// Review is a grant as its page shows it.
type Review struct {
	UserCode string // as it is shown
	Client   string
	Scope    string
	// Source and UserAgent are the device's; the second is its own word.
	Source         string
	UserAgent      string
	Asked, Expires time.Time
}

// Approval is what an approved grant stands for.
type Approval struct {
	Scope        string
	LoginSession identity.LoginSessionID
}

// off is what everybody is told where the grant is switched off.
func off(code string) error {
	return fault.Coded(fault.Unsupported, code, "signing in on a device by a code is switched off here").
		WithMend("use a client that opens a browser, such as carnet login on a machine that has one; an administrator can allow it: oidc.device_flow")
}
