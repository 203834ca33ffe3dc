// Package withdrawal takes back what was issued, by kind, and knows what AWS will
// honour longer.
//
// Where Carnet decides, the revocation feed ends everything at once. Keys that AWS
// handed out it can't end: a ledger says which there are and until when they live,
// and where an account lets Carnet write to its roles, a Deny of all older keys is
// queued in the revocation's own transaction, written by a worker, and taken away
// again when the last such key must have ended. It must never report something as
// refused that nobody refuses, nor lose a deny between commit and write.
package withdrawal

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/revocation"
)

// Target is what is taken back: a kind of package revocation and its id. For
// revocation.Role the id is the role's stable id, or in an account at AWS its ARN.
// For revocation.Everything it is that word.
type Target struct{ Kind, ID string }

// Key is a key that AWS handed out, or an ID token that buys some there.
type Key struct {
	Account          string // 12 digits
	Role             arn.Role
	Person           identity.PersonID // empty: nobody is behind it
	LoginSession     identity.LoginSessionID
	Delegation       identity.DelegationID
	ServicePrincipal identity.ServicePrincipalID
	// SessionName is what AWS knows the keys by; empty for an ID token, whose
	// bearer chooses one.
	SessionName string
	// Issuer and Subject are those of our ID token, where one was or will be
	// traded; empty for keys by SAML and by Carnet's own identity.
	Issuer, Subject string
	AccessKeyID     string // empty for an ID token
	Issued          time.Time
	// Epoch is that of the revocation feed from before it was asked whether the key
	// may be given: what was taken back since is not. Zero: it is given to nobody who
	// is not asked about again, as keys of a sign-in are.
	Epoch uint64
	// Until is when AWS stops to honour it, at the latest.
	Until time.Time
	// Deny says whether AWS was told; Trouble why not yet.
	Deny    DenyState
	Trouble string
}

// DenyState is how far a deny has come.
type DenyState string

// The states.
const (
	DenyNone    DenyState = "none"    // Carnet may not write to the account's roles, or nothing was taken back
	DenyQueued  DenyState = "queued"  // will be written
	DenyWritten DenyState = "written" // AWS has it
	DenyFailed  DenyState = "failed"  // could not be written yet; tried again
)

// Result is what a revocation has come to.
type Result struct {
	Epoch uint64
	// Outstanding are keys that AWS may honour longer.
	Outstanding []Key
	// Servers are the live servers with what they have applied.
	Servers []revocation.View
}

// Feed is the revocation feed.
type Feed interface {
	// Revoke works in the transaction that ctx carries.
	Revoke(ctx context.Context, kind, id string) (epoch uint64, err error)
	Who(ctx context.Context) ([]revocation.View, error)
	// Epoch is what something that is issued now carries.
	Epoch() (uint64, error)
	// Since gives what was revoked at an epoch or after it, in the transaction that
	// ctx carries: also what this server has yet to apply.
	Since(ctx context.Context, epoch uint64) ([]revocation.Entry, error)
}

// Delegations end with what they rest on: they live longer than the feed remembers.
type Delegations interface {
	// EndWith marks those that t ends, in the transaction that ctx carries.
	EndWith(ctx context.Context, t Target) error
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
	Feed        Feed
	Delegations Delegations
	Ledger      Ledger // nil: no key of AWS is noted, nor denied
	Denies      Denies
	Policies    Policies
	// Accounts are those at AWS, by number. Keys of others are not noted.
	Accounts map[string]Account
	// Holder names this server among those that write denies.
	Holder string
	State  Atomic
	Trail  Trail
	Now    func() time.Time
	Logger *slog.Logger // nil discards
}

// Service takes back. Safe for concurrent use.
type Service struct{ Config }

// New makes a Service.
func New(c Config) *Service {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{Config: c}
}

// kinds are those that can be taken back, and no others.
var kinds = map[string]bool{
	revocation.Person: true, revocation.LoginSession: true, revocation.Role: true, revocation.AccessKey: true,
	revocation.ServicePrincipal: true, revocation.Delegation: true, revocation.OAuthClient: true, revocation.AccessToken: true,
	revocation.GatewayKey: true, revocation.Cluster: true, revocation.Node: true, revocation.Attachment: true, revocation.Everything: true,
}

// check refuses what would take back nothing.
func (t Target) check() error {
	switch {
	case !kinds[t.Kind]:
		return fault.Coded(fault.Invalid, "revocation.kind", "there is nothing of the kind "+clip(t.Kind)+" to revoke")
	case t.ID == "" || t.Kind == revocation.Everything && t.ID != revocation.Everything:
		return fault.Coded(fault.Invalid, "revocation.id", "a revocation of a "+t.Kind+" needs its id")
	}
	return nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// Revoke takes back everything of t that was issued up to now, with its record. It
// holds once it has returned; Applied tells which servers know. Faults: Invalid.
func (s *Service) Revoke(ctx context.Context, t Target) (Result, error) {
	return s.RevokeWith(ctx, t, nil)
}

// RevokeWith does what Revoke does, and also, before it and in the same transaction;
// nil: nothing.
func (s *Service) RevokeWith(ctx context.Context, t Target, also func(context.Context) error) (Result, error) {
	var r Result
	err := s.State.Atomic(ctx, func(ctx context.Context) (err error) {
		if also != nil {
			if err := also(ctx); err != nil {
				return err
			}
		}
		if r.Epoch, r.Outstanding, err = s.Withdraw(ctx, t); err != nil {
			return err
		}
		return s.Trail.Record(ctx, event.Event{Action: "revoke", Target: t.ID, Detail: map[string]string{"kind": t.Kind, "epoch": strconv.FormatUint(r.Epoch, 10)}})
	})
	if err != nil {
		return Result{}, err
	}
	// It is done: that nobody can say now who knows of it makes no failure of it.
	if r.Servers, err = s.Feed.Who(ctx); err != nil {
		s.Logger.Warn("which servers know of a revocation can't be read", "kind", t.Kind, "id", t.ID, "error", err)
	}
	return r, nil
}

// Withdraw takes back everything of t in the transaction that ctx carries, whose
// record is the caller's. Faults: Invalid.
func (s *Service) Withdraw(ctx context.Context, t Target) (epoch uint64, outstanding []Key, err error) {
	if err := t.check(); err != nil {
		return 0, nil, err
	}
	if err := s.Delegations.EndWith(ctx, t); err != nil {
		return 0, nil, err
	}
	if epoch, err = s.Feed.Revoke(ctx, t.Kind, t.ID); err != nil {
		return 0, nil, err
	}
	if err := s.queue(ctx, t); err != nil {
		return 0, nil, err
	}
	outstanding, err = s.Outstanding(ctx, t)
	return epoch, outstanding, err
}

// Applied gives the live servers, and whether all of them have applied an epoch.
func (s *Service) Applied(ctx context.Context, epoch uint64) (servers []revocation.View, all bool, err error) {
	servers, err = s.Feed.Who(ctx)
	all = err == nil
	for _, v := range servers {
		all = all && v.Epoch >= epoch
	}
	return servers, all, err
}
