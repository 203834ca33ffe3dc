package broker

import (
	"context"
	"encoding/json"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/withdrawal"
)

const purpose = "role-session"

// sealed is what a row keeps secret. Plain strings, since a secret.Text masks
// itself in JSON; it lives between json and Sealer only.
type sealed struct {
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"session_token"`
}

// binding ties sealed keys to their login session, role and key id: a row
// moved elsewhere in the database opens nothing.
func binding(id identity.LoginSessionID, role, accessKeyID string) []byte {
	return []byte(string(id) + "\x00" + role + "\x00" + accessKeyID)
}

// Keep stores the outcomes of a sign-in until its login session ends, and what
// its identity provider said of the person: its last word.
func (b *Broker) Keep(ctx context.Context, r Request, outcomes []Outcome) error {
	rows := make([]Row, len(outcomes))
	var learned []Longest
	for i, o := range outcomes {
		row, err := b.row(r.LoginSession, r.Ends, o)
		if err != nil {
			return err
		}
		rows[i] = row
		if o.longest > 0 {
			learned = append(learned, Longest{Role: row.Role, Duration: o.longest, Learned: b.Now()})
		}
	}
	if err := b.Store.Save(ctx, r.LoginSession, rows, learned); err != nil {
		return err
	}
	for _, o := range outcomes {
		if err := b.note(ctx, r.LoginSession, r.Person, o, issuer.Minted{}, 0); err != nil {
			return err
		}
	}
	if b.Renewals == nil {
		return nil
	}
	return b.putWord(ctx, r)
}

// note tells the ledger of keys that an outcome has, and of the token that bought
// them, with the epoch from before it was asked for; without one they came by SAML.
func (b *Broker) note(ctx context.Context, id identity.LoginSessionID, person identity.PersonID, o Outcome, by issuer.Minted, epoch uint64) error {
	keys := o.Session.Credentials
	if b.Ledger == nil || keys.AccessKeyID == "" || b.Accounts[o.Role.Account].Local {
		return nil
	}
	k := withdrawal.Key{Role: o.Role, Person: person, LoginSession: id, SessionName: o.Session.SessionName,
		AccessKeyID: keys.AccessKeyID, Issued: o.Obtained, Until: keys.Expiration}
	if by.ID != "" {
		k.Issuer, k.Subject, k.Epoch = by.Issuer, subject(person), epoch
	}
	return b.Ledger.Issued(ctx, "", k)
}

// subject is a person's in tokens of ours.
func subject(person identity.PersonID) string { return "user:" + string(person) }

func (b *Broker) row(id identity.LoginSessionID, ends time.Time, o Outcome) (Row, error) {
	r := Row{Role: o.Role.String(), Index: o.Index, Warning: o.Warning, Ends: ends,
		Served: o.Served, Obtained: o.Obtained, Renewals: o.Renewals, Trouble: o.Trouble}
	if o.Failure != nil {
		r.Failure = *o.Failure
		return r, nil
	}
	var err error
	if r.Evidence, err = b.sealBasis(id, r.Role, o.Basis); err != nil {
		return Row{}, err
	}
	keys := o.Session.Credentials
	if keys.AccessKeyID == "" {
		r.Failure = unused()
		return r, nil
	}
	plain, err := json.Marshal(sealed{keys.SecretAccessKey.Reveal(), keys.SessionToken.Reveal()})
	if err != nil {
		return Row{}, err
	}
	r.SessionName, r.AssumedRoleARN = o.Session.SessionName, o.Session.AssumedRoleARN
	r.AccessKeyID, r.Expiration = keys.AccessKeyID, keys.Expiration
	r.Sealed, err = b.Sealer.Seal(purpose, binding(id, r.Role, r.AccessKeyID), plain)
	return r, err
}

// unused stands in the row of a role that waits for its first use: a server of
// the release before shows it as a role that it can't give.
func unused() Failure {
	return Failure{Code: "ServiceUnavailable", Message: "another server of this installation gives this role",
		Mend: "try again when all servers run the same release"}
}

// Kept gives the outcomes of a login session, in the order of the assertion.
// Errors: Internal when stored keys don't open.
func (b *Broker) Kept(ctx context.Context, id identity.LoginSessionID) ([]Outcome, error) {
	rows, err := b.Store.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make([]Outcome, len(rows))
	for i, r := range rows {
		if out[i], err = b.outcome(id, r); err != nil {
			return nil, fault.Wrap(err, fault.Internal, "the stored keys of a role can't be opened").
				WithMend("sign in again")
		}
	}
	return out, nil
}

func (b *Broker) outcome(id identity.LoginSessionID, r Row) (Outcome, error) {
	role, err := arn.ParseRole(r.Role)
	if err != nil {
		return Outcome{}, err
	}
	o := Outcome{Role: role, Index: r.Index, Warning: r.Warning, Served: r.Served, Obtained: r.Obtained, Renewals: r.Renewals, Trouble: r.Trouble}
	if o.Basis, err = b.openBasis(id, r); err != nil {
		return Outcome{}, err
	}
	if r.Served == ServedWebIdentity && r.Failure == unused() {
		return o, nil
	}
	if r.Failure != (Failure{}) {
		o.Failure = &r.Failure
		return o, nil
	}
	plain, err := b.Sealer.Open(purpose, binding(id, r.Role, r.AccessKeyID), r.Sealed)
	if err != nil {
		return Outcome{}, err
	}
	var s sealed
	if err := json.Unmarshal(plain, &s); err != nil {
		return Outcome{}, err
	}
	o.Session = credential.RoleSession{Role: role, SessionName: r.SessionName, AssumedRoleARN: r.AssumedRoleARN,
		Credentials: credential.Temporary{AccessKeyID: r.AccessKeyID, SecretAccessKey: secret.New(s.SecretAccessKey),
			SessionToken: secret.New(s.SessionToken), Expiration: r.Expiration}}
	return o, nil
}

// Forget deletes the keys of a login session.
func (b *Broker) Forget(ctx context.Context, id identity.LoginSessionID) error {
	b.memory.forget(id)
	return b.Store.Forget(ctx, id)
}

// Sweep deletes what belongs to login sessions that have ended by themselves.
func (b *Broker) Sweep(ctx context.Context) error { return b.Store.Sweep(ctx, b.Now()) }
