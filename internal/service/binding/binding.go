// Package binding decides what a process on a node gets: the agent's side of
// attachments.
//
// The server says which attachments live on this node (a View), the kernel says who
// is calling (a Caller). A caller is an attachment's when the uid is the same and the
// control group is the attached scope or lies below it. Its keys are fetched from the
// server once, whoever asks, kept in memory alone, renewed before they end, and given
// again while they last.
//
// The offline rule: when the server has not confirmed the view for a minute, nobody
// gets anything new. What this very attachment was already given is given again, until
// it ends: it adds nothing to what its processes hold. With Offline set to refuse not
// even that.
//
// It must never give one attachment what was fetched for another, nor anything to a
// caller whom the kernel did not name.
package binding

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// Caller is what the kernel says of who asks.
type Caller struct {
	// UID is the user id.
	UID uint32
	// Cgroup is the kernel's id of the control group (version 2): of the process, or
	// of its socket when it was made. 0: this system tells none.
	Cgroup uint64
	// Group is that group's path, such as /user.slice/user-1000.slice/session-2.scope;
	// empty over TCP, where only the id is known.
	Group string
}

// Attachment is one person bound to processes of this node, as the server says.
type Attachment struct {
	ID  identity.AttachmentID
	UID uint32
	// Scope is the path of the control group that callers are in or below; "/" is the
	// root group alone. ScopeID is the kernel's id of it, never 0.
	Scope   string
	ScopeID uint64
	// Account is the login name on the node, Name the person's user name: to show.
	Account string
	Name    string
	// Role is the current one (ARN); empty: none chosen.
	Role    string
	Expires time.Time
	// Token is the second factor at the loopback endpoints, made here: it is the same
	// as long as the attachment and the agent's state folder are.
	Token secret.Text
}

// View is all that counts on this node, whole.
type View struct {
	Revision    int64
	Attachments []Attachment // Token is not set
	Revoked     []Revoked
}

// Revoked is a revocation of something that is kept here: of Kind role (ID: its ARN) or
// access-key (ID: the access key id). A later one of the same has a greater Epoch.
type Revoked struct {
	Kind, ID string
	Epoch    uint64
}

// Keys are temporary keys of a role, or a gateway key (no SessionToken).
type Keys struct {
	AccessKeyID     string
	SecretAccessKey secret.Text
	SessionToken    secret.Text
	Expiration      time.Time
	Role            string // ARN
	AccountID       string // 12 digits
	// Where they are used; S3 and STS empty: at AWS itself.
	Region string
	S3     string
	STS    string
}

// IDToken is a web-identity token of a role.
type IDToken struct {
	Token   secret.Text
	Expires time.Time
	Role    string // ARN
	Region  string
	STS     string // empty: AWS itself
}

// Role is one that the person holds and the cluster allows.
type Role struct {
	ARN     string
	Current bool
	Trouble string // why it can't be had now
}

// Why says how an attachment ended.
type Why string

// The ways in which an agent ends one.
const (
	Detached   Why = "detached"    // by a process of it
	ScopeEnded Why = "scope-ended" // its control group, or the processes in it, are gone
)

// Server is asked for what is not in memory. Errors are faults: Unavailable, Limited,
// Internal and Misconfigured let keys live on that are in memory, all others end them.
// The role is an ARN, a name, or empty for the current one or the only one.
type Server interface {
	Credentials(ctx context.Context, id identity.AttachmentID, role string) (Keys, error)
	IDToken(ctx context.Context, id identity.AttachmentID, role string) (IDToken, error)
	Roles(ctx context.Context, id identity.AttachmentID) ([]Role, error)
	SetRole(ctx context.Context, id identity.AttachmentID, role string) ([]Role, error)
	End(ctx context.Context, id identity.AttachmentID, why Why) error
}

// Groups knows the control groups of this node.
type Groups interface {
	// Within reports whether the group with this id is the scope or lies below it; the
	// scope is known by its path and its id, and is another one where they differ.
	Within(id uint64, scope string, scopeID uint64) bool
}

// Defaults of Config.
const (
	DefaultFresh = time.Minute
	// DefaultWindow is how long before their end keys are renewed, at most: SDKs want
	// new ones 15 minutes ahead.
	DefaultWindow = 20 * time.Minute
)

// Config is what a Service stands on.
type Config struct {
	Server Server
	Groups Groups
	Now    func() time.Time
	Logger *slog.Logger
	// TokenKey makes the second factor of each attachment: 32 random bytes that only
	// the agent reads.
	TokenKey [32]byte
	// Fresh is how long a view counts; 0: DefaultFresh.
	Fresh time.Duration
	// Refuse gives nothing at all while the view is older than that.
	Refuse bool
	// Former: the machine was started anew since this agent ran last. What the first view
	// shows was bound to processes and groups that are gone, whose numbers others may have
	// by now: it ends.
	Former bool
	// Window bounds how early keys are renewed; 0: DefaultWindow.
	Window time.Duration
	// Random gives numbers in [0, 1); nil: math/rand.
	Random func() float64
}

// Service is what one agent knows. Safe for concurrent use.
type Service struct {
	c     Config
	table atomic.Pointer[table]
	// fetching bounds what is asked of the server at a time, renewing what is renewed.
	fetching, renewing chan struct{}

	mu        sync.Mutex // of changes to the table, and of texts
	texts     map[string]string
	former    bool // the first view is yet to come, and shows what is gone
	ended     map[identity.AttachmentID]*ending
	revoked   map[Revoked]uint64 // the last epoch of each, which is zero in the key
	changed   chan struct{}      // closed with each change of the table
	confirmed atomic.Pointer[time.Time]

	fetched, failed atomic.Int64
}

// Counts are what a Service did since its start, and how it is.
type Counts struct {
	Attachments int
	// Fetched and Failed are keys and tokens asked of the server.
	Fetched, Failed int64
	// Age of the server's last word; negative: there was none yet.
	Age time.Duration
}

// Counts counts.
func (s *Service) Counts() Counts {
	c := Counts{Attachments: len(s.table.Load().byID), Fetched: s.fetched.Load(), Failed: s.failed.Load(), Age: -1}
	if at := s.confirmed.Load(); at != nil {
		c.Age = age(s.c.Now(), *at)
	}
	return c
}

// The most that an agent asks of the server at a time.
const (
	mostFetching = 64
	mostRenewing = 4
)

// New makes a Service that knows nothing yet.
func New(c Config) *Service {
	if c.Fresh == 0 {
		c.Fresh = DefaultFresh
	}
	if c.Window == 0 {
		c.Window = DefaultWindow
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	s := &Service{
		c: c, fetching: make(chan struct{}, mostFetching), renewing: make(chan struct{}, mostRenewing),
		ended: map[identity.AttachmentID]*ending{}, revoked: map[Revoked]uint64{}, changed: make(chan struct{}), former: c.Former,
	}
	s.table.Store(&table{})
	return s
}

// token makes the second factor of an attachment.
func (s *Service) token(id identity.AttachmentID) secret.Text {
	m := hmac.New(sha256.New, s.c.TokenKey[:])
	m.Write([]byte("carnet attachment " + string(id)))
	return secret.New("carnet-local-" + base64.RawURLEncoding.EncodeToString(m.Sum(nil)))
}

// Fresh reports whether the server confirmed the view a short while ago.
func (s *Service) Fresh() bool { return s.fresh(s.c.Now()) }

func (s *Service) fresh(now time.Time) bool {
	at := s.confirmed.Load()
	return at != nil && age(now, *at) <= s.c.Fresh
}

// age is the longer of what both clocks say: the steady one stands still while the
// machine sleeps, and the wall clock may be set back.
func age(now, then time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}
