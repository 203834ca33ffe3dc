// Package workload keeps federation policies and delegations in SQL. A policy
// or delegation that was taken out is never given again; what can't be read is
// an error, never left out.
package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/workload"
)

// Topic is raised when a federation policy changes.
const Topic = "federation-policy"

// Store is every store interface of service/workload on a database.
type Store struct{ DB *sql.DB }

var (
	_ workload.Policies    = Store{}
	_ workload.Delegations = Store{}
)

const policyColumns = `id, service_principal, idp, name, issuer, audiences, subject, subject_claim, jwks, jwks_url, created`

// AddPolicy stores a new policy.
func (s Store) AddPolicy(ctx context.Context, p workload.FederationPolicy, most int) error {
	audiences, err := json.Marshal(append([]string{}, p.Audiences...))
	if err != nil {
		return err
	}
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		var have int
		if err := t.QueryRow(`SELECT COUNT(*) FROM federation_policy WHERE service_principal = $1`, p.ServicePrincipal).Scan(&have); err != nil {
			return err
		}
		if have >= most {
			return fault.Coded(fault.Conflict, "federation-policy.most", fmt.Sprintf("there are %d federation policies here already, the most that there can be", have)).
				WithMend("remove one that nobody needs: carnet federation-policy list")
		}
		t.Changed(Topic)
		_, err := t.Exec(`INSERT INTO federation_policy (`+policyColumns+`, name_fold) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			p.ID, p.ServicePrincipal, p.IdP, p.Name, p.Issuer, string(audiences), p.Subject, p.SubjectClaim, append([]byte{}, p.JWKS...), p.JWKSURL,
			p.Created.UnixMilli(), directory.Fold(p.Name))
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.New(fault.Conflict, fmt.Sprintf("there is a federation policy %q here already, letter case aside", p.Name)).
			WithCode("federation-policy.name").WithMend("give it another name")
	}
	return err
}

// RemovePolicy deletes a policy.
func (s Store) RemovePolicy(ctx context.Context, id identity.FederationPolicyID) (gone bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM federation_policy WHERE id = $1`, id)
		if gone = n == 1; gone {
			t.Changed(Topic)
		}
		return err
	})
	return gone, err
}

// Policies lists all.
func (s Store) Policies(ctx context.Context) (all []workload.FederationPolicy, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT `+policyColumns+` FROM federation_policy ORDER BY name_fold, id`, nil, func(scan func(...any) error) error {
			p, err := scanPolicy(scan)
			all = append(all, p)
			return err
		})
	})
	return all, err
}

func scanPolicy(scan func(...any) error) (p workload.FederationPolicy, err error) {
	var audiences string
	var created int64
	if err := scan(&p.ID, &p.ServicePrincipal, &p.IdP, &p.Name, &p.Issuer, &audiences, &p.Subject, &p.SubjectClaim, &p.JWKS, &p.JWKSURL, &created); err != nil {
		return p, err
	}
	p.Created = time.UnixMilli(created).UTC()
	if len(p.JWKS) == 0 {
		p.JWKS = nil
	}
	if err := json.Unmarshal([]byte(audiences), &p.Audiences); err != nil {
		return p, fmt.Errorf("federation policy %s: %w", p.ID, err)
	}
	return p, nil
}

// ForgetServicePrincipal deletes what names a service principal.
func (s Store) ForgetServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) error {
	if id == "" {
		return nil // policies for people have none
	}
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM federation_policy WHERE service_principal = $1`, id); err != nil {
			return err
		}
		t.Changed(Topic)
		_, err := t.Exec(`DELETE FROM delegation WHERE service_principal = $1`, id)
		return err
	})
}

// WatchPolicies calls changed after every change by any server.
func (s Store) WatchPolicies(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}

const delegationColumns = `id, person, idp, role, service_principal, label, created, expires, revoked, epoch, evidence, cluster`

// lately is as long as a deny stands at AWS.
const lately = 12 * time.Hour

// AddDelegation stores a new delegation.
func (s Store) AddDelegation(ctx context.Context, d workload.Delegation, most int) error {
	evidence, err := json.Marshal(d.Evidence)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		var have int
		if err := t.QueryRow(`SELECT COUNT(*) FROM delegation WHERE person = $1 AND revoked = 0 AND expires > $2`,
			d.Person, d.Created.UnixMilli()).Scan(&have); err != nil {
			return err
		}
		if have >= most {
			return fault.Coded(fault.Conflict, "delegation.most", fmt.Sprintf("you have %d delegations already, the most that one person can have", have)).
				WithMend("remove one that you don't need: carnet delegation list")
		}
		// Each that is revoked may be one more name among those that AWS has to deny.
		if err := t.QueryRow(`SELECT COUNT(*) FROM delegation WHERE person = $1 AND created > $2`,
			d.Person, d.Created.Add(-lately).UnixMilli()).Scan(&have); err != nil {
			return err
		}
		if have >= 2*most {
			return fault.Coded(fault.Limited, "delegation.lately", fmt.Sprintf("you have made %d delegations within %v, the most that one person may", have, lately)).
				WithMend("let one live longer, instead of making others")
		}
		_, err := t.Exec(`INSERT INTO delegation (`+delegationColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11)`,
			d.ID, d.Person, d.IdP, d.Role.String(), d.ServicePrincipal, d.Label, d.Created.UnixMilli(), d.Expires.UnixMilli(),
			int64(d.Epoch), string(evidence), d.Cluster)
		return err
	})
}

func scanDelegation(scan func(...any) error) (d workload.Delegation, err error) {
	var role, evidence string
	var created, expires, revoked, epoch int64
	if err := scan(&d.ID, &d.Person, &d.IdP, &role, &d.ServicePrincipal, &d.Label, &created, &expires, &revoked, &epoch, &evidence, &d.Cluster); err != nil {
		return d, err
	}
	d.Created, d.Expires, d.Epoch = time.UnixMilli(created).UTC(), time.UnixMilli(expires).UTC(), uint64(epoch)
	if revoked != 0 {
		d.Revoked = time.UnixMilli(revoked).UTC()
	}
	if d.Role, err = arn.ParseRole(role); err != nil {
		return d, fmt.Errorf("delegation %s: %w", d.ID, err)
	}
	if err := json.Unmarshal([]byte(evidence), &d.Evidence); err != nil {
		return d, fmt.Errorf("delegation %s: %w", d.ID, err)
	}
	return d, nil
}

// Delegation gives one.
func (s Store) Delegation(ctx context.Context, id identity.DelegationID) (d workload.Delegation, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		d, err = scanDelegation(t.QueryRow(`SELECT `+delegationColumns+` FROM delegation WHERE id = $1`, id).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.Coded(fault.NotFound, "delegation.unknown", "there is no such delegation")
		}
		return err
	})
	return d, err
}

// Delegations lists those that are chosen.
func (s Store) Delegations(ctx context.Context, of workload.Of) (all []workload.Delegation, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT `+delegationColumns+` FROM delegation
			WHERE ($1 = '' OR person = $1) AND ($2 = '' OR idp = $2) AND ($3 = '' OR service_principal = $3) ORDER BY created, id`,
			[]any{string(of.Person), string(of.IdP), string(of.ServicePrincipal)}, func(scan func(...any) error) error {
				d, err := scanDelegation(scan)
				all = append(all, d)
				return err
			})
	})
	return all, err
}

// EndDelegation marks one as revoked.
func (s Store) EndDelegation(ctx context.Context, id identity.DelegationID, at time.Time) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE delegation SET revoked = $2 WHERE id = $1 AND revoked = 0`, id, at.UnixMilli())
		done = n == 1
		return err
	})
	return done, err
}

// SweepDelegations deletes those that are long over.
func (s Store) SweepDelegations(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM delegation WHERE expires < $1 OR revoked > 0 AND revoked < $1`, before.UnixMilli())
		return err
	})
}
