// Package holder says which roles somebody holds at this moment, and has the
// temporary keys of one of them: of a login session by the broker, of a service
// principal or a delegation by our own tokens.
//
// It is what gateway keys and attachments rest on. Everything is asked anew at every
// use. It must never give a role that was not asked for, nor keys of another one.
package holder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/meta"
	"carnet.dev/carnet/internal/service/withdrawal"
	"carnet.dev/carnet/internal/service/workload"
)

// Owner is who holds roles. LoginSession, Delegation or ServicePrincipal alone makes
// it; the rest is known of them.
type Owner struct {
	LoginSession identity.LoginSessionID
	Delegation   identity.DelegationID
	// ServicePrincipal stands beside a delegation too: who runs it.
	ServicePrincipal identity.ServicePrincipalID
	// Cluster stands beside a delegation to one: where it is used.
	Cluster identity.ClusterID
	Person  identity.PersonID // empty for a service principal alone
	IdP     identity.IdPID    // of the person
	// Name is the person's user name, or the service principal's.
	Name string
}

// Kind names what the owner rests on: login-session, delegation or
// service-principal; empty for nobody.
func (o Owner) Kind() string {
	switch {
	case o.LoginSession != "":
		return "login-session"
	case o.Delegation != "":
		return "delegation"
	case o.ServicePrincipal != "":
		return "service-principal"
	}
	return ""
}

// ID gives the id of what Kind names.
func (o Owner) ID() string {
	switch {
	case o.LoginSession != "":
		return string(o.LoginSession)
	case o.Delegation != "":
		return string(o.Delegation)
	}
	return string(o.ServicePrincipal)
}

// Sessions are login sessions.
type Sessions interface {
	// ResumeID gives a login session that neither ended nor was revoked.
	ResumeID(ctx context.Context, id identity.LoginSessionID) (login.LoginSession, error)
	// Credentials gives the keys of one of its roles, as they are now.
	Credentials(ctx context.Context, l login.LoginSession, role string) (credential.RoleSession, error)
}

// Entitled says which of roles a person has by the last word of an identity
// provider, and within its list. Faults: Denied where the person or the provider is
// switched off.
type Entitled interface {
	Heard(ctx context.Context, person identity.PersonID, idp identity.IdPID, roles []arn.Role) ([]arn.Role, error)
}

// Machines are service principals and delegations.
type Machines interface {
	// Behind gives a delegation that counts now, with its person.
	Behind(ctx context.Context, id identity.DelegationID) (workload.Delegation, directory.Person, error)
	// Held gives a service principal that is switched on, with its roles.
	Held(ctx context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, []arn.Role, error)
	// Token gives an ID token for AWS STS, with its record.
	Token(ctx context.Context, who workload.Principal, a workload.Ask) (issuer.Minted, error)
}

// STS trades ID tokens for keys.
type STS interface {
	AssumeRoleWithWebIdentity(ctx context.Context, c broker.WebCall) (broker.Assumed, error)
}

// Meta takes roles by Carnet's own AWS identity, on clusters that use it.
type Meta interface {
	// Serves says why a role can't be had so on a cluster; nil: it can.
	Serves(cluster identity.ClusterID, role arn.Role) error
	Keys(ctx context.Context, a meta.Ask) (credential.Temporary, error)
}

// Ledger notes keys of accounts at AWS: what can't be noted is not given.
type Ledger interface {
	// Epoch is that of the revocation feed, for the key: taken before it is asked
	// whether somebody may have it.
	Epoch() (uint64, error)
	Issued(ctx context.Context, id string, k withdrawal.Key) error
}

// Standing is what an owner has at one moment.
type Standing struct {
	Owner Owner
	Held  []arn.Role
	Ends  time.Time // of what the owner rests on; zero: open
}

// Holders asks. Safe for concurrent use.
type Holders struct {
	Sessions Sessions
	Entitled Entitled
	Machines Machines
	STS      STS // nil for a command that uses no keys
	// Meta serves delegations to clusters; nil: there is none.
	Meta Meta
	// Ledger notes the keys of accounts at AWS; nil: nothing is noted.
	Ledger   Ledger
	Accounts entitlement.Accounts
	Now      func() time.Time
}

// Standing asks what an owner has now. of bounds the roles that are asked about;
// nil: all. Faults say why there is nothing.
func (s Holders) Standing(ctx context.Context, o Owner, of []arn.Role) (Standing, error) {
	switch o.Kind() {
	case "login-session":
		l, err := s.Sessions.ResumeID(ctx, o.LoginSession)
		if err != nil {
			return Standing{}, err
		}
		return s.signedIn(ctx, l, of)
	case "delegation":
		d, person, err := s.Machines.Behind(ctx, o.Delegation)
		if err != nil {
			return Standing{}, err
		}
		held := s.byWebIdentity([]arn.Role{d.Role})
		if len(held) == 0 && s.byMeta(d.Cluster, d.Role) {
			held = []arn.Role{d.Role}
		}
		return Standing{Held: held, Ends: d.Expires,
			Owner: Owner{Delegation: d.ID, ServicePrincipal: d.ServicePrincipal, Cluster: d.Cluster, Person: d.Person, IdP: d.IdP, Name: person.UserName}}, nil
	case "service-principal":
		p, roles, err := s.Machines.Held(ctx, o.ServicePrincipal)
		if err != nil {
			return Standing{}, err
		}
		return Standing{Held: s.byWebIdentity(roles), Owner: Owner{ServicePrincipal: p.ID, Name: p.Name}}, nil
	}
	return Standing{}, fault.New(fault.Invalid, "nobody is named who could hold a role: a login session, a delegation or a service principal")
}

// signedIn asks what the person of a login session has: what their sign-in brought
// and could be had, as far as their identity provider's last word still has it.
func (s Holders) signedIn(ctx context.Context, l login.LoginSession, of []arn.Role) (Standing, error) {
	if l.Person.ID == "" {
		return Standing{}, fault.Coded(fault.Denied, "gateway-key.nobody", "a login session by a set-up link is nobody's: it has no roles").
			WithMend("sign in at an identity provider")
	}
	var roles []arn.Role
	for _, r := range l.Roles {
		if r.State != login.RoleFailed && (of == nil || slices.Contains(of, r.Role)) {
			roles = append(roles, r.Role)
		}
	}
	held, err := s.Entitled.Heard(ctx, l.Person.ID, l.Person.IdP, roles)
	return Standing{Held: held, Ends: l.Expires,
		Owner: Owner{LoginSession: l.ID, Person: l.Person.ID, IdP: l.Person.IdP, Name: l.Person.UserName}}, err
}

// byWebIdentity leaves the roles of accounts that take our tokens: there is no
// other way for who is not signed in.
func (s Holders) byWebIdentity(roles []arn.Role) (out []arn.Role) {
	for _, r := range roles {
		if a, ok := s.Accounts[r.Account]; ok && a.Partition == r.Partition && a.WebIdentity {
			out = append(out, r)
		}
	}
	return out
}

// byMeta reports whether Carnet's own identity has a role on a cluster.
func (s Holders) byMeta(of identity.ClusterID, role arn.Role) bool {
	return of != "" && s.Meta != nil && s.Meta.Serves(of, role) == nil
}

// Keys has the keys of a role: of a login session those that the broker keeps alive,
// of a machine or a job new ones for a token of ours. why says in the trail what for.
func (s Holders) Keys(ctx context.Context, o Owner, role arn.Role, why string) (credential.Temporary, error) {
	if o.LoginSession == "" {
		return s.trade(ctx, o, role, why)
	}
	l, err := s.Sessions.ResumeID(ctx, o.LoginSession)
	if err != nil {
		return credential.Temporary{}, err
	}
	got, err := s.Sessions.Credentials(ctx, l, role.String())
	return got.Credentials, err
}

// keysLife is what is asked for; the least that STS grants is more than a token of
// ours has left at times.
const (
	keysLife  = time.Hour
	leastLife = 15 * time.Minute
)

// trade has keys for a machine or a job at the STS of the role's account.
func (s Holders) trade(ctx context.Context, o Owner, role arn.Role, why string) (credential.Temporary, error) {
	who := workload.Principal{ServicePrincipal: o.ServicePrincipal, Delegation: o.Delegation, Cluster: o.Cluster}
	var epoch uint64
	if s.Ledger != nil {
		var err error
		if epoch, err = s.Ledger.Epoch(); err != nil {
			return credential.Temporary{}, err
		}
	}
	life := keysLife
	if o.Delegation != "" {
		d, p, err := s.Machines.Behind(ctx, o.Delegation)
		if err != nil {
			return credential.Temporary{}, err
		}
		if a := s.Accounts[role.Account]; (!a.WebIdentity || a.AssumeRoleFirst) && d.Cluster == o.Cluster && d.Role == role && s.byMeta(d.Cluster, role) {
			return s.Meta.Keys(ctx, meta.Ask{Cluster: d.Cluster, Role: role, Person: d.Person, IdP: d.IdP, Name: p.UserName, Ends: d.Expires, Delegation: d.ID, Epoch: epoch, Why: why})
		}
		life = max(leastLife, min(life, d.Expires.Sub(s.Now()).Truncate(time.Second)))
	}
	token, err := s.Machines.Token(ctx, who, workload.Ask{Audience: issuer.AudienceAWS, Role: role.String(), Traded: s.Ledger != nil, Detail: map[string]string{"for": why}})
	if err != nil {
		return credential.Temporary{}, err
	}
	name := identity.SessionName(o.Name)
	got, err := s.STS.AssumeRoleWithWebIdentity(ctx, broker.WebCall{Role: role, SessionName: name, Token: token.Token, Duration: life, Person: o.Person})
	if err != nil {
		return credential.Temporary{}, err
	}
	keys := got.Credentials
	if got.AssumedRoleARN != role.AssumedRole(name) || keys.AccessKeyID == "" || !keys.Live(s.Now()) {
		return credential.Temporary{}, fault.Coded(fault.Unavailable, "InternalFailure", fmt.Sprintf("STS answered without usable keys of role %s, or for another one", role))
	}
	if s.Ledger != nil && !s.Accounts[role.Account].Local {
		err = s.Ledger.Issued(ctx, "", withdrawal.Key{Role: role, Person: o.Person, Delegation: o.Delegation, ServicePrincipal: o.ServicePrincipal,
			SessionName: name, Issuer: token.Issuer, Subject: who.Subject(), AccessKeyID: keys.AccessKeyID, Until: keys.Expiration, Epoch: epoch})
	}
	if err != nil {
		return credential.Temporary{}, err
	}
	return keys, nil
}
