// Package meta takes roles for people by Carnet's own AWS identity, the meta role: for
// jobs that run under a delegation to a cluster, and for JDBC connections.
//
// The identity is the server's alone and never reaches a node. It takes a role by
// AssumeRole, which AWS bounds to an hour where one role takes another; session name
// and source identity are the person's, and the external id is this installation's,
// so the trust policy of a data role can ask for all three. Whoever calls has held the
// person to their roles; this package holds the call to its cluster, which must have
// the meta role switched on, and to the account, which must take it. It must never ask
// for more after a refusal, nor give keys whose name or source identity is another's.
package meta

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// Call is one AssumeRole by Carnet's own identity.
type Call struct {
	Role           arn.Role
	SessionName    string
	SourceIdentity string
	ExternalID     string
	Duration       time.Duration
}

// STS is AWS STS.
type STS interface {
	// AssumeRole makes one call. Errors as of broker.STS.
	AssumeRole(ctx context.Context, c Call) (broker.Assumed, error)
}

// Clusters are the clusters, in memory.
type Clusters interface {
	Cluster(id identity.ClusterID) (cluster.Cluster, bool)
	Allows(c cluster.Cluster, role arn.Role) bool
}

// ExternalIDs keeps the external id of the installation.
type ExternalIDs interface {
	// ExternalID gives it; where there is none yet, made becomes it.
	ExternalID(ctx context.Context, made string) (string, error)
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

// Ledger notes the keys of accounts at AWS.
type Ledger interface {
	// Issued works in the transaction that ctx carries: what can't be noted is not
	// given.
	Issued(ctx context.Context, id string, k withdrawal.Key) error
}

// Config is what a Service stands on.
type Config struct {
	STS         STS
	Clusters    Clusters
	ExternalIDs ExternalIDs
	Accounts    entitlement.Accounts
	State       Atomic
	Trail       Trail
	Ledger      Ledger // nil: nothing is noted
	Now         func() time.Time
}

// Service takes roles. Safe for concurrent use.
type Service struct {
	Config
	externalID string
}

// Open makes a Service. It gives the installation its external id at the first time:
// random, so that nobody guesses another's, and no secret, as trust policies show it.
func Open(ctx context.Context, c Config) (*Service, error) {
	id, err := c.ExternalIDs.ExternalID(ctx, "carnet-"+rand.Text())
	if err != nil {
		return nil, err
	}
	return &Service{Config: c, externalID: id}, nil
}

// ExternalID is what the trust policies of data roles ask for.
func (s *Service) ExternalID() string { return s.externalID }

// Ask is what is wanted for a person on a cluster.
type Ask struct {
	Cluster identity.ClusterID
	Role    arn.Role // one that the person holds
	Person  identity.PersonID
	IdP     identity.IdPID
	Name    string // their user name
	// Ends is the end of what it rests on; zero: open.
	Ends time.Time
	// LoginSession or Delegation is what it rests on, and Why what it is for: both are
	// for the record.
	LoginSession identity.LoginSessionID
	Delegation   identity.DelegationID
	// Epoch is that of the revocation feed from before the caller asked whether the
	// person may have it.
	Epoch uint64
	Why   string
}

// Keys live for an hour at most, which is what AWS grants where one role takes another
// (IAM User Guide, "Roles terms and concepts: role chaining"); the least is 15 minutes.
const (
	longest = time.Hour
	least   = 15 * time.Minute
)

// Serves says why a role can't be had by the meta role on a cluster; nil: it can.
func (s *Service) Serves(id identity.ClusterID, role arn.Role) error {
	c, ok := s.Clusters.Cluster(id)
	switch {
	case !ok:
		return fault.Coded(fault.Denied, "meta.cluster", "the cluster is gone, so nothing is given for it")
	case !c.Meta:
		return fault.Coded(fault.Denied, "meta.off", "cluster "+c.Name+" does not use Carnet's own AWS identity").
			WithMend("an administrator lets it: carnet cluster set " + c.Name + " --meta")
	case !s.Clusters.Allows(c, role):
		return fault.Coded(fault.Denied, "meta.role", fmt.Sprintf("role %s may not be used on cluster %s", role, c.Name)).
			WithMend("choose another role, or ask who manages the cluster")
	}
	a, ok := s.Accounts[role.Account]
	if !ok || a.Partition != role.Partition || !a.AssumeRole {
		return fault.Coded(fault.Denied, "meta.account", "account "+role.Account+" is not taken by Carnet's own AWS identity").
			WithMend("an administrator adds assume-role to its exchanges in carnet.yaml")
	}
	return nil
}

// Keys takes a role, with its record. The caller has held the person to the roles that
// they hold now. Errors: Denied, those of STS, Unavailable.
func (s *Service) Keys(ctx context.Context, a Ask) (credential.Temporary, error) {
	if err := s.Serves(a.Cluster, a.Role); err != nil {
		return credential.Temporary{}, err
	}
	if a.Name == "" || a.Person == "" {
		return credential.Temporary{}, fault.New(fault.Internal, "the meta role is asked for nobody")
	}
	name := identity.SessionName(a.Name)
	life := longest
	if !a.Ends.IsZero() {
		life = max(least, min(life, a.Ends.Sub(s.Now()).Truncate(time.Second)))
	}
	got, err := s.STS.AssumeRole(ctx, Call{Role: a.Role, SessionName: name, SourceIdentity: name, ExternalID: s.externalID, Duration: life})
	if err != nil {
		return credential.Temporary{}, explain(a.Role, err)
	}
	keys := got.Credentials
	if got.AssumedRoleARN != a.Role.AssumedRole(name) || got.SourceIdentity != name || keys.AccessKeyID == "" || !keys.Live(s.Now()) {
		return credential.Temporary{}, fault.Coded(fault.Unavailable, "InternalFailure", fmt.Sprintf("STS answered without usable keys of role %s under the name %s", a.Role, name))
	}
	c, _ := s.Clusters.Cluster(a.Cluster)
	e := event.Event{Action: "meta.assume", Outcome: event.Done, Person: a.Person, UserName: a.Name, IdP: a.IdP, LoginSession: a.LoginSession, Delegation: a.Delegation,
		Role: a.Role.String(), Account: a.Role.Account, AccessKeyID: keys.AccessKeyID, Cluster: c.Name,
		Detail: map[string]string{"for": a.Why, "source_identity": name, "expires": keys.Expiration.UTC().Format(time.RFC3339)}}
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		if s.Ledger != nil {
			if err := s.Ledger.Issued(ctx, "", withdrawal.Key{Role: a.Role, Person: a.Person, LoginSession: a.LoginSession, Delegation: a.Delegation,
				SessionName: name, AccessKeyID: keys.AccessKeyID, Until: keys.Expiration, Epoch: a.Epoch}); err != nil {
				return err
			}
		}
		return s.Trail.Record(ctx, e)
	})
	if err != nil {
		return credential.Temporary{}, err
	}
	return keys, nil
}

// explain says what is most likely missing where AWS refuses.
func explain(role arn.Role, err error) error {
	f := fault.Of(err)
	if f.Kind != fault.Denied {
		return err
	}
	return f.WithMend("let the role trust Carnet's own identity with this installation's external id, and let that identity take it: carnet setup aws --meta --account " +
		role.Account + " --role " + role.Name)
}
