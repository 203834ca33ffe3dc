package broker

import (
	"context"
	"encoding/json"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// Served says how the keys of a role came, or will come.
type Served string

// The ways.
const (
	ServedSAML        Served = "saml"         // the assertion, traded at sign-in
	ServedWebIdentity Served = "web-identity" // our own token, traded at first use and renewed
	ServedBridge      Served = "bridge"       // the assertion, then renewed by our own token
)

// Risk is what is said wherever the bridge is switched on.
const Risk = "whoever holds Carnet's issuer key can then act as anyone in roles that trust it"

// Bridge is what trading by our own tokens stands on.
type Bridge struct {
	// Tokens mints; nil: no role is served by our own tokens.
	Tokens Tokens
	// Accounts say what each account takes of our tokens.
	Accounts entitlement.Accounts
	Standing Standing
	// Mapped are roles beside those of sign-ins; nil: there are none.
	Mapped   Mapped
	Renewals Renewals
	State    Atomic
	Trail    Trail
	// Ledger notes what AWS may honour; nil: nothing is noted.
	Ledger Ledger
	// Wait is how long a fetch waits for new keys while the old ones live; 0
	// means a second.
	Wait time.Duration
}

// Tokens mints ID tokens of our own issuer.
type Tokens interface {
	MintID(t issuer.IDToken) (issuer.Minted, error)
}

// Standing says how what a role rests on stands at this moment. Faults Denied,
// NotFound, Expired and Revoked refuse; any other means that it can't be said.
type Standing interface {
	// Active is nil for a person who is known and switched on.
	Active(ctx context.Context, person identity.PersonID) error
	// Speaker gives an enabled identity provider, or says why not.
	Speaker(id identity.IdPID) (*federation.Speaker, error)
	// Refused reports whether (kind, id) was revoked after that epoch.
	Refused(kind, id string, epoch uint64) (bool, error)
	// Recalled reports whether a provider tells us by itself when a person has to go.
	Recalled(speaker *federation.Speaker) bool
	// Epoch is what a token that is made now carries.
	Epoch() (uint64, error)
}

// Mapped are roles that people hold beside what their sign-in brought.
type Mapped interface {
	// MappedRoles gives those that count for a person who signs in by a provider: of
	// that provider's provisioning, and of administrators, by groups too.
	MappedRoles(ctx context.Context, person identity.PersonID, idp identity.IdPID) ([]arn.Role, error)
}

// Renewals is the half of the store that renewals need. Transactions as for
// Store.
type Renewals interface {
	// Row gives one row; a fault NotFound when the login session has ended.
	Row(ctx context.Context, id identity.LoginSessionID, role string) (Row, error)
	// Renew replaces keys, evidence left as it is, and counts. was is the id of
	// the keys to be replaced, empty for none. Faults: NotFound when the login
	// session has ended, Conflict when other keys stand there.
	Renew(ctx context.Context, id identity.LoginSessionID, r Row, was string) error
	// Refuse stores why a renewal was refused; nothing when there is no row.
	Refuse(ctx context.Context, id identity.LoginSessionID, role string, t Trouble) error
	// PutWord stores what an identity provider said of a person, unless a later
	// word stands there.
	PutWord(ctx context.Context, w Word) error
	// Word gives it; a fault NotFound where there is none.
	Word(ctx context.Context, person identity.PersonID, idp identity.IdPID) (Word, error)
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Ledger notes keys, and ID tokens for AWS with their id, of accounts at AWS.
type Ledger interface {
	// Issued works in the transaction that ctx carries: what can't be noted is not
	// given.
	Issued(ctx context.Context, id string, k withdrawal.Key) error
}

// Trail records in the transaction that ctx carries.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Trouble is why a renewal was refused. The zero value is no trouble.
type Trouble struct {
	Failure
	At time.Time
}

// Word is the stored form of what an identity provider said last of a person.
type Word struct {
	Person identity.PersonID
	IdP    identity.IdPID
	Issued time.Time
	Sealed []byte
}

// Basis is what the renewals of one role rest on: the evidence of the sign-in,
// and whose it is. It is stored sealed, bound to its login session and role: a
// row that somebody wrote into the database renews nothing.
type Basis struct {
	Evidence entitlement.Evidence `json:"evidence"`
	Exchange entitlement.Exchange `json:"exchange"` // how the sign-in traded it, or may
	Person   identity.PersonID    `json:"person"`
	Epoch    uint64               `json:"epoch"` // of the revocation feed at the sign-in
	SignedIn time.Time            `json:"signed_in"`
	Ends     time.Time            `json:"ends"` // of the login session
}

// basis gives what a candidate rests on; nil where its account takes no tokens of
// ours, so that nothing is kept without need.
func (b *Broker) basis(r Request, c entitlement.Candidate) *Basis {
	if b.Tokens == nil || !c.Account.WebIdentity {
		return nil
	}
	exchange := c.Exchange
	if exchange == "" {
		exchange = entitlement.BySAML
	}
	return &Basis{Evidence: r.Entitlements.Evidence(c), Exchange: exchange, Person: r.Person, Epoch: r.Epoch, SignedIn: r.Started, Ends: r.Ends}
}

// waiting is a role that is traded at its first use.
func (b *Broker) waiting(r Request, c entitlement.Candidate) Outcome {
	o := Outcome{Role: c.Role, Index: c.Index, Served: ServedWebIdentity, Basis: b.basis(r, c)}
	if o.Basis == nil {
		o.Failure = &Failure{Code: "AccessDenied", Message: "account " + c.Role.Account + " takes no ID token of this server",
			Mend: "an administrator has to list web-identity under the account's exchanges"}
	}
	return o
}

const (
	purposeBasis = "role-basis"
	purposeWord  = "last-word"
)

func (b *Broker) sealBasis(id identity.LoginSessionID, role string, basis *Basis) ([]byte, error) {
	if basis == nil {
		return nil, nil
	}
	plain, err := json.Marshal(basis)
	if err != nil {
		return nil, err
	}
	return b.Sealer.Seal(purposeBasis, binding(id, role, ""), plain)
}

func (b *Broker) openBasis(id identity.LoginSessionID, r Row) (*Basis, error) {
	if len(r.Evidence) == 0 {
		return nil, nil
	}
	plain, err := b.Sealer.Open(purposeBasis, binding(id, r.Role, ""), r.Evidence)
	if err != nil {
		return nil, err
	}
	basis := new(Basis)
	if err := json.Unmarshal(plain, basis); err != nil {
		return nil, err
	}
	basis.Evidence.Role, err = arn.ParseRole(r.Role)
	return basis, err
}
