// Package broker turns an entitlement into temporary credentials.
//
// It trades one verified assertion at STS for the keys of every role at once,
// keeps each failure with its cause, and keeps the keys sealed, bound to
// their login session. The raw assertion is in memory for the one Exchange
// and nowhere else; no text that STS returns may carry it on. A refused call
// is repeated with a shorter duration only, never with other rights, and an
// answer that is not for the role and name asked for is thrown away.
//
// The bridge: a role whose account takes ID tokens of our own issuer is traded
// by one at its first use, or was traded by SAML and is renewed by one, without
// the person, until the deadline (docs/security/bridge.md). What the sign-in
// proved is kept as evidence, sealed. Before every token the broker asks anew
// whether it still counts: permit holds every clause, in one place. It must never
// make a token for a role that no sign-in of this login session proved, nor give
// keys that the trail doesn't hold.
package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/entitlement"
)

// STS is AWS STS, or a local authority that speaks like it.
type STS interface {
	// AssumeRoleWithSAML makes one call. Errors are faults whose Code is the
	// AWS error code and whose Public is the AWS text, or of kind Unavailable
	// when no answer came.
	AssumeRoleWithSAML(ctx context.Context, c Call) (Assumed, error)
	// AssumeRoleWithWebIdentity makes one call; errors likewise.
	AssumeRoleWithWebIdentity(ctx context.Context, c WebCall) (Assumed, error)
}

// Call is one AssumeRoleWithSAML.
type Call struct {
	Role      arn.Role
	Provider  arn.SAMLProvider
	Assertion secret.Text // base64, exactly as the identity provider posted it
	Duration  time.Duration
	// LoginSession and Person tell a local authority, on its internal
	// listener, for whom the keys are. AWS never sees them.
	LoginSession identity.LoginSessionID
	Person       identity.PersonID
}

// WebCall is one AssumeRoleWithWebIdentity. It carries no session policy: the
// exchange at sign-in has none either.
type WebCall struct {
	Role        arn.Role
	SessionName string
	Token       secret.Text // an ID token of our own
	Duration    time.Duration
	// LoginSession and Person as in Call.
	LoginSession identity.LoginSessionID
	Person       identity.PersonID
}

// Assumed is STS's answer.
type Assumed struct {
	Credentials    credential.Temporary
	AssumedRoleARN string
	SourceIdentity string // empty: none is set
}

// Store keeps role sessions and what was learned of roles. Each method is one
// transaction, or part of the one that ctx carries. Renewals is its other half.
type Store interface {
	Save(ctx context.Context, id identity.LoginSessionID, rows []Row, learned []Longest) error
	Load(ctx context.Context, id identity.LoginSessionID) ([]Row, error)
	Forget(ctx context.Context, id identity.LoginSessionID) error
	// Longest gives what is known of the roles with these ARNs.
	Longest(ctx context.Context, roles []string) ([]Longest, error)
	// Sweep deletes the rows that ended before a time.
	Sweep(ctx context.Context, before time.Time) error
}

// Row is the stored form of an Outcome.
type Row struct {
	Role           string // ARN
	Index          int
	SessionName    string
	AssumedRoleARN string
	AccessKeyID    string
	Expiration     time.Time // zero for a failure
	Sealed         []byte    // secret access key and session token; nil for a failure
	Failure        Failure   // zero for success
	Warning        Warning   // zero for none
	Ends           time.Time // end of the login session: then the row may be deleted
	// Served says how the keys came, or will come.
	Served Served
	// Evidence is sealed: what renewals rest on; nil where there are none.
	Evidence []byte
	Obtained time.Time // when the keys came; zero: not known
	Renewals int
	Trouble  Trouble // why the last renewal was refused; zero: it was not
}

// Longest is the longest duration that a role is known to grant.
type Longest struct {
	Role     string // ARN
	Duration time.Duration
	Learned  time.Time
}

// Sealer seals what is kept. Purpose and aad must be the same on opening.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Config is what a Broker stands on.
type Config struct {
	// Bridge is what trading by our own tokens stands on; without its Tokens no
	// role is served so.
	Bridge

	STS    STS
	Store  Store
	Sealer Sealer
	Now    func() time.Time
	// Parallel bounds the calls to one account that are under way in one
	// exchange: an account that is slow or throttles holds up no other. nil,
	// or an answer of 0, means 32.
	Parallel func(account string) int
	// Patience bounds one exchange: a person waits for it; 0 means 30 s.
	Patience time.Duration
	// Durations are asked for in turn, longest first, while STS says that one
	// is too long; nil means 12, 8, 4, 2 and 1 hours.
	Durations []time.Duration
	Logger    *slog.Logger // nil discards
}

// Broker trades, keeps and renews. Safe for concurrent use.
type Broker struct {
	Config
	memory  memory
	flights sync.WaitGroup
	slots   chan struct{} // bounds the renewals that nobody waits for
}

// redeemable is how long after its issue STS takes an assertion
// (facts: ExpiredTokenException "Token must be redeemed within 5 minutes").
const redeemable = 5 * time.Minute

// defaultParallel is how many calls to one account are made at once.
const defaultParallel = 32

// relearn is how long a learned duration is believed: an administrator may
// raise a role's maximum.
const relearn = 24 * time.Hour

// New makes a Broker.
func New(c Config) *Broker {
	if c.Parallel == nil {
		c.Parallel = func(string) int { return 0 }
	}
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if c.Durations == nil {
		c.Durations = []time.Duration{12 * time.Hour, 8 * time.Hour, 4 * time.Hour, 2 * time.Hour, time.Hour}
	}
	if c.Wait == 0 {
		c.Wait = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Broker{Config: c, slots: make(chan struct{}, parallelRenewals)}
}

// Request is one assertion to be traded.
type Request struct {
	LoginSession identity.LoginSessionID
	Person       identity.PersonID
	// Epoch is that of the revocation feed when the sign-in began.
	Epoch   uint64
	Started time.Time // of the login session
	// Ends is the end of the login session: keys are not asked for beyond it.
	Ends         time.Time
	Entitlements entitlement.Entitlements
	// Assertion and IssueInstant are those of a sign-in by SAML; zero for one by
	// OpenID Connect, which has candidates by web identity alone.
	Assertion    secret.Text
	IssueInstant time.Time
}

// Outcome is what became of one entitlement: keys, or a failure.
type Outcome struct {
	Role    arn.Role
	Index   int // place among the assertion's Role values
	Session credential.RoleSession
	Failure *Failure // nil for success, and for a role that waits for its first use
	Warning Warning  // the zero value for none
	// Served says how the keys came, or will come at the first use.
	Served Served
	// Basis is what renewals rest on; nil: this role has none.
	Basis    *Basis
	Obtained time.Time // when the keys came; zero: not known
	Renewals int
	Trouble  Trouble // why the last renewal was refused; zero: it was not

	longest time.Duration
	due     time.Time // when this server renews it; set in its memory
}

// Exchange trades the assertion for every candidate, in parallel, and gives
// the outcomes in the order of the candidates. Errors: only of the store;
// what STS refuses is in the outcomes.
func (b *Broker) Exchange(ctx context.Context, r Request) ([]Outcome, error) {
	candidates := r.Entitlements.Candidates
	out := make([]Outcome, len(candidates))
	if f := refusedWhole(r); f != nil {
		for i, c := range candidates {
			out[i] = Outcome{Role: c.Role, Index: c.Index, Served: Served(c.Exchange), Failure: f}
		}
		return out, nil
	}
	longest, err := b.longest(ctx, candidates)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, min(b.Patience, max(0, r.IssueInstant.Add(redeemable).Sub(b.Now()))+time.Second))
	defer cancel()
	slots := b.perAccount(candidates)
	var calls sync.WaitGroup
	for i, c := range candidates {
		if f := c.Refusal; f != nil {
			out[i] = Outcome{Role: c.Role, Index: c.Index, Served: Served(c.Exchange), Failure: &Failure{Code: f.Code, Message: f.Public, Mend: f.Mend}}
			continue
		}
		if c.Exchange == entitlement.ByWebIdentity {
			out[i] = b.waiting(r, c)
			continue
		}
		calls.Go(func() {
			slot := slots[c.Role.Account]
			slot <- struct{}{}
			defer func() { <-slot }()
			out[i] = b.one(ctx, r, c, longest[c.Role.String()])
		})
	}
	calls.Wait()
	return out, nil
}

// perAccount gives each account its own bound.
func (b *Broker) perAccount(candidates []entitlement.Candidate) map[string]chan struct{} {
	slots := map[string]chan struct{}{}
	for _, c := range candidates {
		if slots[c.Role.Account] == nil {
			n := b.Parallel(c.Role.Account)
			if n <= 0 {
				n = defaultParallel
			}
			slots[c.Role.Account] = make(chan struct{}, n)
		}
	}
	return slots
}

// refusedWhole gives the failure that holds for every role, before any call.
func refusedWhole(r Request) *Failure {
	switch refusal := r.Entitlements.Refusal; {
	case refusal != nil:
		return &Failure{Code: refusal.Code, Message: refusal.Public, Mend: refusal.Mend}
	case len(r.Assertion.Reveal()) > saml.MaxSTSCharacters:
		return tooLong(len(r.Assertion.Reveal()))
	}
	return nil
}

func (b *Broker) longest(ctx context.Context, candidates []entitlement.Candidate) (map[string]time.Duration, error) {
	roles := make([]string, len(candidates))
	for i, c := range candidates {
		roles[i] = c.Role.String()
	}
	known := map[string]time.Duration{}
	if len(roles) == 0 {
		return known, nil
	}
	learned, err := b.Store.Longest(ctx, roles)
	for _, l := range learned {
		if b.Now().Sub(l.Learned) < relearn {
			known[l.Role] = l.Duration
		}
	}
	return known, err
}

// one trades for one role: the longest duration first, then shorter ones
// while STS says that it is too long.
func (b *Broker) one(ctx context.Context, r Request, c entitlement.Candidate, known time.Duration) Outcome {
	o := Outcome{Role: c.Role, Index: c.Index, Served: ServedSAML}
	steps := b.steps(r.Ends.Sub(b.Now()), known)
	for i, d := range steps {
		got, err := b.STS.AssumeRoleWithSAML(ctx, Call{Role: c.Role, Provider: c.Provider, Assertion: r.Assertion,
			Duration: d, LoginSession: r.LoginSession, Person: r.Person})
		if err == nil {
			err = b.accept(c.Role, r.Entitlements.SessionName, got)
		}
		if err == nil {
			o.Session = credential.RoleSession{Role: c.Role, SessionName: r.Entitlements.SessionName,
				AssumedRoleARN: got.AssumedRoleARN, Credentials: got.Credentials}
			o.Basis, o.Obtained = b.basis(r, c), b.Now()
			if i > 0 {
				o.longest = d
			}
			if (i > 0 || d == known) && !b.mayRenew(o) {
				o.Warning = shortLived(c.Role, d, r.Ends.Sub(b.Now()))
			}
			return o
		}
		f := fault.Of(err)
		if !tooLongFor(f) || i == len(steps)-1 {
			o.Failure = explain(f, c, r.Assertion)
			return o
		}
	}
	return o
}

// steps gives the durations to ask for. The login session's end caps them,
// what the role is known to grant shortens them; 15 minutes is the least that
// STS grants, unless the configuration asks for less throughout.
func (b *Broker) steps(left, known time.Duration) []time.Duration {
	least := min(15*time.Minute, b.Durations[len(b.Durations)-1])
	left = max(left.Truncate(time.Second), least)
	if known > 0 {
		left = min(left, known)
	}
	var out []time.Duration
	if left < b.Durations[0] {
		out = append(out, left)
	}
	for _, d := range b.Durations {
		if d <= left && (len(out) == 0 || d < out[len(out)-1]) {
			out = append(out, d)
		}
	}
	return out
}

// accept is the independent check of what STS answered, before anybody uses it.
func (b *Broker) accept(role arn.Role, sessionName string, got Assumed) error {
	keys := got.Credentials
	switch {
	case keys.AccessKeyID == "" || keys.SecretAccessKey.IsZero() || keys.SessionToken.IsZero():
		return fault.Coded(fault.Unavailable, "InternalFailure", "STS answered without keys")
	case !keys.Live(b.Now()):
		return fault.Coded(fault.Unavailable, "InternalFailure", "STS answered with keys that have expired; the clocks of Carnet and STS may differ")
	case got.AssumedRoleARN != role.AssumedRole(sessionName):
		return fault.Coded(fault.Unavailable, "InternalFailure", "STS answered for another role or session name than was asked for")
	}
	return nil
}
