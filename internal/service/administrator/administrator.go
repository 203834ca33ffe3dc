// Package administrator issues the keys of carnet-admin, the role with which
// administrators of Carnet call the IAM API of a local account.
//
// They go to an administrator's login session only, live one hour at most and
// never longer than that login session, end when it or its person is revoked,
// and stand in the audit trail before they leave. No assertion, ID token or
// role leads to them: the role's trust policy denies all of those.
package administrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/login"
)

// Lifetime is how long keys live at most, LeastLifetime how short a life may be
// asked for.
const (
	Lifetime      = time.Hour
	LeastLifetime = 15 * time.Minute
)

// IAM gives the authority's state.
type IAM interface {
	Current() (*iam.Snapshot, error)
}

// LoginSessions says whether a login session still holds.
type LoginSessions interface {
	Holds(l login.LoginSession) error
}

// Revocations gives the epoch that a session token issued now carries.
type Revocations interface {
	Epoch() (uint64, error)
}

// Trail records that keys were issued; keys that can't be recorded don't leave.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Config is what a Service stands on. All fields are needed.
type Config struct {
	IAM           IAM
	LoginSessions LoginSessions
	Keys          sessiontoken.Keys
	Revocations   Revocations
	Trail         Trail
	Now           func() time.Time
	// Accounts are the local accounts, in the order of the configuration.
	Accounts []Account
}

// Account is one local account.
type Account struct {
	ID        string // 12 digits
	Name      string
	Partition string
}

// Service issues keys. Safe for concurrent use.
type Service struct{ Config }

// New makes a Service.
func New(c Config) *Service { return &Service{Config: c} }

// Roles lists the carnet-admin roles whose keys a login session can have: none
// for whoever is no administrator.
func (s *Service) Roles(l login.LoginSession) []Role {
	if !l.Administrator {
		return nil
	}
	var all []Role
	for _, a := range s.Accounts {
		all = append(all, Role{Account: a, ARN: a.role()})
	}
	return all
}

// Role is carnet-admin of one account.
type Role struct {
	Account Account
	ARN     arn.Role
}

func (a Account) role() arn.Role {
	return arn.Role{Partition: a.Partition, Account: a.ID, Path: "/", Name: iam.AdministratorRole}
}

// Credentials issues keys of carnet-admin in a local account, named by number
// or name, for a lifetime that Lifetime bounds. Errors: Denied for whoever is no administrator, NotFound for another
// account, Unauthenticated when the login session has ended.
func (s *Service) Credentials(ctx context.Context, l login.LoginSession, account string, lifetime time.Duration) (credential.RoleSession, error) {
	if !l.Administrator {
		return credential.RoleSession{}, fault.Coded(fault.Denied, "login.not-administrator", "Keys of "+iam.AdministratorRole+" are for administrators of Carnet").
			WithMend("ask an administrator, or sign in as one")
	}
	named, err := s.account(account)
	if err != nil {
		return credential.RoleSession{}, err
	}
	// The epoch comes first: what is revoked after it refuses these keys, what
	// was revoked before it has ended the login session.
	epoch, err := s.Revocations.Epoch()
	if err != nil {
		return credential.RoleSession{}, err
	}
	if err := s.LoginSessions.Holds(l); err != nil {
		return credential.RoleSession{}, err
	}
	authority, err := s.IAM.Current()
	if err != nil {
		return credential.RoleSession{}, err
	}
	role, ok := authority.Role(named.role())
	if !ok {
		return credential.RoleSession{}, fault.Coded(fault.Misconfigured, "administrator.role", "Account "+named.ID+" has no role "+iam.AdministratorRole).
			WithMend("start the server again: it makes the role")
	}
	return s.issue(ctx, l, role, epoch, min(lifetime, Lifetime))
}

func (s *Service) account(given string) (Account, error) {
	names := make([]string, 0, len(s.Accounts))
	for _, a := range s.Accounts {
		names = append(names, a.Name)
		if a.ID == given || strings.EqualFold(a.Name, given) {
			return a, nil
		}
	}
	return Account{}, fault.Coded(fault.NotFound, "account.not-local", "No local account has the number or name "+strconv.Quote(given)).
		WithMend("name one of " + strings.Join(names, ", ") + "; accounts at AWS have administrators of their own")
}

func (s *Service) issue(ctx context.Context, l login.LoginSession, role *iam.Role, epoch uint64, lifetime time.Duration) (credential.RoleSession, error) {
	now := s.Now().UTC().Truncate(time.Second)
	expires := now.Add(lifetime)
	if end := l.Expires.UTC().Truncate(time.Second); end.Before(expires) {
		expires = end
	}
	name := sessionName(l.Person)
	claims := sessiontoken.Claims{
		Role: role.ARN, RoleID: role.ID, SessionName: name, SecretKey: secret.Random(32), IssuedAt: now, Expires: expires, Epoch: epoch,
		Person: l.Person.ID, LoginSession: l.ID, SourceIdentity: name,
	}
	id := identity.NewAccessKeyID()
	token, err := sessiontoken.Seal(s.Keys, id, claims)
	if err != nil {
		return credential.RoleSession{}, err
	}
	err = s.Trail.Record(ctx, event.Event{
		At: s.Now(), Action: "administrator-credentials", Outcome: event.Done, Person: l.Person.ID, UserName: l.Person.UserName, IdP: l.Person.IdP,
		LoginSession: l.ID, Request: identity.RequestIDFrom(ctx), Account: role.ARN.Account, Role: role.ARN.String(), AccessKeyID: id,
		Target: role.ARN.AssumedRole(name), Detail: map[string]string{"role_id": string(role.ID), "expires": expires.Format(time.RFC3339)},
	})
	if err != nil {
		return credential.RoleSession{}, err
	}
	return credential.RoleSession{
		Role: role.ARN, SessionName: name, AssumedRoleARN: role.ARN.AssumedRole(name),
		Credentials: credential.Temporary{AccessKeyID: id, SecretAccessKey: claims.SecretKey, SessionToken: token, Expiration: expires},
	}, nil
}

// sessionName makes a RoleSessionName of a person's name. Where it can't be
// one, a digest keeps two people apart.
func sessionName(p login.Person) string {
	if p.ID == "" {
		return "setup-link"
	}
	if identity.ValidSessionName(p.UserName) {
		return p.UserName
	}
	plain := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_+=,.@-", c) {
			return c
		}
		return '-'
	}, p.UserName)
	sum := sha256.Sum256([]byte(p.ID))
	const most = 64 - 1 - 12
	return plain[:min(len(plain), most)] + "-" + hex.EncodeToString(sum[:6])
}
