// Package login takes a person from "sign in" to a login session, and keeps
// that session until it ends.
//
// Sign-in has three steps (design 7.6). Begin makes the AuthnRequest, whose ID
// is the sealed state of the sign-in, and the pre-login cookie; no row is
// stored. Consume gets the cross-site POST of the identity provider: it
// verifies, uses the assertion once, trades it for the keys of each role and
// parks the result under a one-use handle. Complete, a GET on our own host,
// needs that handle and the pre-login cookie of the same browser; only it opens
// the login session. A role that can't be had never breaks the sign-in: each
// failure is kept with its cause.
//
// A sign-in that began at the identity provider is parked likewise, bound to
// the browser that brought it, and opens by Continue once its person said yes.
// A test sign-in parks a report instead. Single logout goes both ways: Leave
// ends the login session first and then tells the identity provider; a signed
// LogoutRequest ends the login sessions that it names and no others.
//
// The raw SAML response is a credential. It lives in the memory of one
// Consume call and must never reach a row, a log or an error. Cookies, codes
// and handles are stored as digests, role keys sealed (by the broker).
package login

import (
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// Started is what a browser needs to go to its identity provider.
type Started struct {
	// RedirectURL is the identity provider's sign-on URL with the request; empty
	// where Form is set.
	RedirectURL string
	// Form is what the browser posts instead, for the HTTP-POST binding; nil
	// where RedirectURL is set.
	Form *PostForm
	// PreLogin is the value of the pre-login cookie: it binds the answer to
	// this browser. Set it with SameSite=Lax and the age PreLoginLifetime.
	PreLogin secret.Text
}

// PostForm is a form that a browser posts to an identity provider
// (saml-bindings-2.0-os section 3.5).
type PostForm struct {
	Action string // absolute URL
	Fields []Field
}

// Field is one hidden field of a form.
type Field struct{ Name, Value string }

// Options change how a sign-in begins.
type Options struct {
	// Test makes it a test sign-in: an administrator's, which opens no login
	// session, makes no person and trades nothing. Only a row for
	// administrators may set it.
	Test bool
	// Anew has the identity provider ask the person again, whatever it
	// remembers of them.
	Anew bool
}

// Consumed is an accepted response, parked until its browser fetches it.
type Consumed struct {
	// Handle fetches the parked sign-in once, within HandleLifetime; that of an
	// unsolicited one within ArrivalLifetime, that of a test often.
	Handle secret.Text
	// Arrival is set for an unsolicited sign-in: the value of a cookie for the
	// browser that brought it. Its person is asked before anything opens.
	Arrival secret.Text
	// Test: Handle fetches the report of a test sign-in.
	Test bool
	// PassThroughError is one of the four classic values of the header
	// X-Databricks-PassThrough-Error, or empty: then the header is absent.
	PassThroughError string
}

// SignedIn is an opened login session with the cookie that resumes it.
type SignedIn struct {
	Cookie  secret.Text
	Session LoginSession
	// ReturnTo is a path on our own host; "/" when none was asked for.
	ReturnTo string
}

// CLIToken is what a command line gets for its one-use code.
type CLIToken struct {
	// Token is opaque and random; it ends with its login session.
	Token    secret.Text
	Expires  time.Time
	UserName string
}

// Person is who signed in. Zero ID and IdP stand for the bearer of a set-up
// link, who is nobody but the first administrator.
type Person struct {
	ID          identity.PersonID
	IdP         identity.IdPID
	UserName    string
	DisplayName string
}

// LoginSession is one sign-in of one person, as it stands now.
type LoginSession struct {
	ID     identity.LoginSessionID
	Person Person
	// IdPName is the identity provider's name as the administrator gave it.
	IdPName string
	// Administrator holds for this login session only: by a named group of
	// the identity provider, or by a set-up link.
	Administrator bool
	Started       time.Time
	Expires       time.Time
	// AuthTime is when the person proved themselves to the identity provider,
	// as it said: earlier than Started where it did not ask them again; zero where
	// it did not say.
	AuthTime time.Time
	// AuthnContext is how, in its words; may be empty.
	AuthnContext string
	// Roles are in the order of the assertion.
	Roles []RoleStatus
	// Notes say what was dropped or accepted with a remark, and why.
	Notes []string

	// live holds the keys. Only this package sets it: a LoginSession made
	// elsewhere fetches nothing.
	live *live
}

// RoleState is what has become of one role of a login session.
type RoleState string

// The states of a role.
const (
	RoleReady     RoleState = "ready"     // its keys can be fetched
	RoleAvailable RoleState = "available" // its keys come when they are fetched
	RoleFailed    RoleState = "failed"    // the exchange failed; see Error
	RoleExpired   RoleState = "expired"   // its keys are past their end: sign in again
)

// RoleStatus is one role of a login session. It holds no keys.
type RoleStatus struct {
	Role           arn.Role
	Account        string // 12 digits
	AccountName    string
	State          RoleState
	Error          *RoleError  // set exactly when State is RoleFailed
	Warning        RoleWarning // zero for none
	Expiration     time.Time   // zero when State is RoleFailed or RoleAvailable
	SessionName    string
	AssumedRoleARN string
	// Deliver says how the account's keys are to be used: "direct" or "gateway".
	Deliver string
	// Served says how the role is served: "saml" (traded at sign-in), "web-identity"
	// (traded by Carnet's own token when it is used) or "bridge" (traded at sign-in,
	// and renewed by Carnet's own token).
	Served string
	// Renewable: new keys come without the person, until NeededBy.
	Renewable bool
	// NeededBy is when the person is needed next: they have to sign in again. Zero
	// when State is RoleFailed or RoleExpired: now.
	NeededBy time.Time
}

// RoleError says why a role can't be had.
type RoleError struct {
	Code    string // the AWS error code
	Message string
	Mend    string
}

// RoleWarning is said of a role whose keys came, but not as they might, and of
// keys that end soon.
type RoleWarning struct {
	Message string
	Command string // what an administrator of the account runs to mend it; may be empty
}

// MostPerPerson bounds the open login sessions of one person: one more ends the
// oldest.
const MostPerPerson = 20

// MaxReturnTo bounds the path to which a sign-in returns, in bytes: it has to fit
// into a cookie, and holds an authorization request.
const MaxReturnTo = 2000

// Lifetimes that browsers and pages need to know.
const (
	// PreLoginLifetime is how long a person may take at the identity provider.
	PreLoginLifetime = 10 * time.Minute
	// HandleLifetime is how long a parked sign-in waits for its browser.
	HandleLifetime = 2 * time.Minute
	// ArrivalLifetime is how long an unsolicited sign-in waits for a yes.
	ArrivalLifetime = 5 * time.Minute
	// ReportLifetime is how long the report of a test sign-in can be read.
	ReportLifetime = 15 * time.Minute
	// CodeLifetime is how long a command line may take to redeem its code.
	CodeLifetime = time.Minute
	// SetupLifetime is how long a set-up link works.
	SetupLifetime = time.Hour
	// DefaultSessionLifetime is a login session's longest life.
	DefaultSessionLifetime = 12 * time.Hour
)
