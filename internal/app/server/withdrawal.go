package server

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	sqlwithdrawal "carnet.dev/carnet/internal/edge/sql/withdrawal"
	"carnet.dev/carnet/internal/edge/upstream/iamclient"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/generate"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
	"carnet.dev/carnet/internal/service/workload"
)

// openWithdrawal opens what takes back what was issued, with the ledger of keys of
// accounts at AWS. id names this process among those that write denies there.
func (s *state) openWithdrawal(id string) error {
	store := sqlwithdrawal.Store{DB: s.db}
	accounts := map[string]withdrawal.Account{}
	var writable []iamclient.Account
	var sts []stsclient.Account
	for _, a := range s.config.Accounts {
		if a.Kind != config.AccountAWS {
			continue
		}
		accounts[a.ID] = withdrawal.Account{Partition: a.Partition, Writable: a.RevocationRole != "", Margin: a.RevocationMargin}
		if a.RevocationRole == "" {
			continue
		}
		at, err := iamAccount(a)
		if err != nil {
			return err
		}
		by, err := atAWS(a)
		if err != nil {
			return err
		}
		writable, sts = append(writable, at), append(sts, by)
	}
	s.withdrawal = withdrawal.New(withdrawal.Config{Feed: s.feed, Delegations: endsDelegations{s}, Ledger: store, Denies: store,
		Policies: iamclient.New(writable, takesRole{s, stsclient.New(sts)}, s.now), Accounts: accounts, Holder: id, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log})
	return nil
}

// iamAccount says how IAM of an account at AWS is reached.
func iamAccount(a config.Account) (at iamclient.Account, err error) {
	at.Endpoint = a.IAM.Endpoint
	if at.Role, err = arn.ParseRole(a.RevocationRole); err != nil {
		return at, fault.Wrap(err, fault.Misconfigured, "revocation_role of account "+a.ID)
	}
	if a.IAM.CA != "" {
		at.RootCAs, err = believed(a.IAM.CA)
	}
	return at, err
}

// takesRole takes an account's revocation role on, by a token of our registered issuer
// whose subject nobody who acts has.
type takesRole struct {
	*state
	sts *stsclient.Client
}

// revocationSession is the session name of the role, as AWS's trail shows it.
const revocationSession = "carnet-revocation"

// Take gives keys of the role for a quarter of an hour.
func (t takesRole) Take(ctx context.Context, role arn.Role) (credential.Temporary, error) {
	epoch, err := t.feed.Epoch()
	if err != nil {
		return credential.Temporary{}, err
	}
	token, err := t.issuer.MintID(issuer.IDToken{Subject: generate.RevocationSubject, Audience: issuer.AudienceAWS, Role: role, Epoch: epoch})
	if err != nil {
		return credential.Temporary{}, err
	}
	got, err := t.sts.AssumeRoleWithWebIdentity(ctx, broker.WebCall{Role: role, SessionName: revocationSession, Token: token.Token, Duration: 15 * time.Minute})
	switch {
	case err != nil:
		return credential.Temporary{}, err
	case got.AssumedRoleARN != role.AssumedRole(revocationSession) || !got.Credentials.Live(t.now()):
		return credential.Temporary{}, fault.Coded(fault.Unavailable, "InternalFailure", "STS answered for another role than was asked for")
	}
	return got.Credentials, nil
}

// endsDelegations marks delegations that a revocation ends: they live longer than
// the feed remembers.
type endsDelegations struct{ *state }

// EndWith marks those that rest on t, in the transaction that ctx carries.
func (e endsDelegations) EndWith(ctx context.Context, t withdrawal.Target) error {
	switch t.Kind {
	case revocation.Person:
		return e.workload.EndAll(ctx, workload.Of{Person: identity.PersonID(t.ID)})
	case revocation.Everything:
		return e.workload.EndAll(ctx, workload.Of{})
	case revocation.Delegation:
		_, err := e.workload.Mark(ctx, identity.DelegationID(t.ID))
		return err
	}
	return nil
}

// denying is the feed as services ask it that have ended themselves what rests on it.
type denying struct {
	*revocation.Feed
	withdrawal *withdrawal.Service
}

// Revoke takes back everything of (kind, id), with what AWS has to be told.
func (d denying) Revoke(ctx context.Context, kind, id string) (uint64, error) {
	if err := d.withdrawal.Deny(ctx, withdrawal.Target{Kind: kind, ID: id}); err != nil {
		return 0, err
	}
	return d.Feed.Revoke(ctx, kind, id)
}

// takesBack is withdrawal as services ask it that revoke in a transaction of
// their own.
type takesBack struct{ *state }

// Revoke takes back everything of (kind, id), with what AWS has to be told.
func (t takesBack) Revoke(ctx context.Context, kind, id string) (uint64, error) {
	epoch, _, err := t.withdrawal.Withdraw(ctx, withdrawal.Target{Kind: kind, ID: id})
	return epoch, err
}
