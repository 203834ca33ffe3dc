package server

import (
	"context"
	"strings"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	sqlbroker "carnet.dev/carnet/internal/edge/sql/broker"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/federation"
)

// newBroker wires what trades sign-ins for keys, and keeps them alive. in is the
// internal listener of the local authority; nil for the host's own commands, which
// exchange nothing.
func newBroker(s *state, o Options, in *inner) (*broker.Broker, error) {
	accounts, err := stsAccounts(s.config, in)
	if err != nil {
		return nil, err
	}
	store := sqlbroker.Store{DB: s.db}
	b := broker.Config{STS: stsclient.New(accounts), Store: store, Sealer: s.ring, Parallel: s.config.Parallel, Now: s.now, Logger: s.log,
		Bridge: broker.Bridge{Accounts: entitledAccounts(s.config), Standing: standing{s}, Mapped: mapped{s}, Renewals: store, State: s.db, Trail: s.trail, Ledger: s.withdrawal}}
	if in != nil {
		b.Tokens = s.issuer
	}
	if o.KeyLifetime > 0 {
		b.Durations = append(b.Durations, o.KeyLifetime)
	}
	return broker.New(b), nil
}

// bridgeRisk says what was accepted where the bridge is on; empty where it is on
// for no account.
func bridgeRisk(c *config.Config) string {
	var on []string
	for _, a := range c.Accounts {
		if a.Bridge.Renew == config.Accepted {
			on = append(on, a.ID)
		}
	}
	if len(on) == 0 {
		return ""
	}
	return "roles that were traded by SAML are renewed without the person (bridge.renew: accept) in account " + strings.Join(on, ", ") + ": " + broker.Risk
}

// standing is directory, federation and the revocation feed as the broker asks
// them before every token.
type standing struct{ *state }

// Active is nil for a person who is known and switched on, as the database has it
// now.
func (s standing) Active(ctx context.Context, id identity.PersonID) error {
	p, err := s.directory.People.Person(ctx, id)
	if err != nil {
		return err
	}
	if !p.Active {
		return fault.Coded(fault.Denied, "directory.inactive", "this person was switched off").
			WithMend("ask an administrator to switch the person on again")
	}
	return nil
}

// Speaker gives an enabled identity provider.
func (s standing) Speaker(id identity.IdPID) (*federation.Speaker, error) {
	return s.federation.Speaker(id)
}

// Recalled reports whether a provider tells us by itself when a person has to go: by
// back-channel logout or by provisioning.
func (s standing) Recalled(p *federation.Speaker) bool {
	return p.Recalls() || s.provisioning.Speaks(p.IdP.ID)
}

// Refused reports whether something was revoked after an epoch.
func (s standing) Refused(kind, id string, epoch uint64) (bool, error) {
	return s.feed.Refused(kind, id, epoch)
}

// Epoch is what a token that is made now carries.
func (s standing) Epoch() (uint64, error) { return s.feed.Epoch() }
