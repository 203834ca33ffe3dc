package withdrawal

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/revocation"
)

const (
	// MostSession is the longest that keys of a role live at AWS (STS API
	// Reference, DurationSeconds), whatever this role grants: whoever holds an ID
	// token or an assertion asks AWS themselves, and the role may be changed.
	MostSession = 12 * time.Hour
	// assertionLife is how long AWS takes an assertion after its issue.
	assertionLife = 5 * time.Minute
)

// Account is an account at AWS.
type Account struct {
	Partition string
	// Writable: Carnet may write denies to the roles of the account.
	Writable bool
	// Margin is how far the clocks of Carnet and AWS may differ: keys issued up to
	// that long after a revocation are denied too. Who signs in again at once has keys
	// that AWS refuses; those of a sign-in after it are others.
	Margin time.Duration
}

// Noted is a key as the ledger keeps it.
type Noted struct {
	ID string // of the access key, else of the ID token
	Key
	// Reach is until when AWS may honour keys that somebody else bought with the
	// same assertion.
	Reach time.Time
}

// Of chooses keys. A field that is set must be equal; the zero value chooses all.
type Of struct {
	Person           identity.PersonID
	LoginSession     identity.LoginSessionID
	Delegation       identity.DelegationID
	ServicePrincipal identity.ServicePrincipalID
	AccessKeyID      string
	Role             arn.Role
}

// Ledger keeps which keys of AWS are out. Every method is one transaction, or part of
// the one that ctx carries.
type Ledger interface {
	// Note stores a key, once.
	Note(ctx context.Context, n Noted) error
	// Noted gives those that are chosen and reach beyond a time, by Until.
	Noted(ctx context.Context, of Of, now time.Time) ([]Noted, error)
	// Sweep deletes those that reach no further than a time.
	Sweep(ctx context.Context, now time.Time) error
}

// IDToken makes a key of an ID token for AWS: who holds it buys keys by themselves,
// under a name of their own choice, at any moment before the token ends.
func IDToken(k Key, ends time.Time) Key {
	k.Until = ends.Add(MostSession)
	return k
}

// Issued notes a key, or an ID token for AWS, in the transaction that ctx carries or
// one of its own: what can't be noted is not given. id is that of the ID token; for
// keys their own is taken. Keys of accounts that are not at AWS are not noted.
//
// A revocation denies at AWS what is noted by then. So what was asked for before it
// and comes to be noted after it is not given: fault Revoked.
func (s *Service) Issued(ctx context.Context, id string, k Key) error {
	a, ok := s.Accounts[k.Role.Account]
	if !ok || a.Partition != k.Role.Partition || s.Ledger == nil {
		return nil
	}
	n := Noted{ID: id, Key: k, Reach: k.Until}
	if k.AccessKeyID != "" {
		n.ID = k.AccessKeyID
	}
	n.Account = k.Role.Account
	if k.Issued.IsZero() {
		n.Issued = s.Now().UTC().Truncate(time.Millisecond)
	}
	if k.Subject == "" && k.SessionName != "" {
		n.Reach = later(n.Until, n.Issued.Add(assertionLife+MostSession))
	}
	if n.ID == "" || k.Until.IsZero() {
		return fault.New(fault.Internal, "keys of AWS without an id or an end can't be noted, so they are not given")
	}
	for _, d := range n.denies() {
		if err := d.check(); err != nil {
			return fault.Wrap(err, fault.Internal, "keys of AWS can't be noted, so they are not given")
		}
	}
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.stands(ctx, n); err != nil {
			return err
		}
		return s.Ledger.Note(ctx, n)
	})
}

// Epoch is that of the revocation feed, for a Key.
func (s *Service) Epoch() (uint64, error) { return s.Feed.Epoch() }

// stands refuses a key of which something was taken back since it was asked for.
func (s *Service) stands(ctx context.Context, n Noted) error {
	if n.Epoch == 0 {
		return nil
	}
	since, err := s.Feed.Since(ctx, n.Epoch)
	if err != nil {
		return err
	}
	of := map[string]string{
		revocation.Everything: revocation.Everything, revocation.Person: string(n.Person), revocation.LoginSession: string(n.LoginSession),
		revocation.Delegation: string(n.Delegation), revocation.ServicePrincipal: string(n.ServicePrincipal), revocation.Role: n.Role.String(),
	}
	for _, e := range since {
		if id := of[e.Kind]; id != "" && id == e.ID {
			return fault.Coded(fault.Revoked, "revocation.meanwhile", "what these keys would rest on was taken back while they were fetched: the "+e.Kind+" "+clip(e.ID)).
				WithMend("try again, or sign in again")
		}
	}
	return nil
}

// denies is what a key goes by at AWS: its subject, its session name, or both, as
// either is enough. A job has the session name of its person, whose own keys are
// others: it goes by its subject alone.
func (k Key) denies() (out []Deny) {
	if k.Subject != "" {
		_, issuer, _ := strings.Cut(k.Issuer, "://")
		out = append(out, Deny{Form: BySubject, Value: issuer + " " + k.Subject})
	}
	if k.Subject == "" || k.SessionName != "" && k.Delegation == "" {
		out = append(out, Deny{Form: ByName, Value: k.SessionName})
	}
	return out
}

// cut gives the denies of a key that is taken back now; with whole, of every key of
// its role. AWS takes an ID token until it ends, whatever we say, and keys that it
// buys then are issued then: those of its subject are denied until after that.
func (n Noted) cut(now time.Time, margin time.Duration, whole bool) []Deny {
	at := func(t time.Time, d Deny) Deny {
		d.Cut = t.Add(margin + time.Second).Truncate(time.Second) // rounded up: AWS counts whole seconds
		d.Ends = d.Cut.Add(MostSession)
		return d
	}
	all := []Deny{at(now, Deny{Form: All})}
	if !whole {
		all = nil
		for _, d := range n.denies() {
			all = append(all, at(now, d))
		}
	}
	if ends := n.Until.Add(-MostSession); n.Subject != "" && n.AccessKeyID == "" && ends.After(now) {
		for _, d := range n.denies() {
			all = append(all, at(ends, d))
		}
	}
	return all
}

// of says which keys a target chooses, and whether it chooses any: AWS knows nothing
// of gateway keys, clusters, nodes and attachments, nor of our local roles.
func (t Target) of() (of Of, ok bool) {
	switch t.Kind {
	case revocation.Person:
		of.Person = identity.PersonID(t.ID)
	case revocation.LoginSession:
		of.LoginSession = identity.LoginSessionID(t.ID)
	case revocation.Delegation:
		of.Delegation = identity.DelegationID(t.ID)
	case revocation.ServicePrincipal:
		of.ServicePrincipal = identity.ServicePrincipalID(t.ID)
	case revocation.AccessKey:
		of.AccessKeyID = t.ID
	case revocation.Role:
		role, err := arn.ParseRole(t.ID)
		if err != nil {
			return of, false
		}
		of.Role = role
	case revocation.Everything:
	default:
		return of, false
	}
	return of, true
}

// Outstanding gives the keys of t that AWS may honour now, by the end of each, with
// how far their denies have come.
func (s *Service) Outstanding(ctx context.Context, t Target) ([]Key, error) {
	of, ok := t.of()
	if !ok || s.Ledger == nil {
		return nil, nil
	}
	noted, err := s.Ledger.Noted(ctx, of, s.Now())
	if err != nil {
		return nil, err
	}
	return s.told(ctx, noted)
}

// told adds to keys how far their denies have come.
func (s *Service) told(ctx context.Context, noted []Noted) ([]Key, error) {
	denied := map[arn.Role][]Standing{}
	keys := []Key{}
	for _, n := range noted {
		if !s.Now().Before(n.Until) {
			continue
		}
		standing, ok := denied[n.Role]
		if !ok && s.Accounts[n.Role.Account].Writable {
			var err error
			if standing, err = s.Denies.Denies(ctx, n.Role); err != nil {
				return nil, err
			}
		}
		denied[n.Role] = standing
		n.Deny = DenyNone
		by := n.denies()
		for _, d := range standing {
			same := func(x Deny) bool { return d.Form == All || d.Form == x.Form && d.Value == x.Value }
			if slices.ContainsFunc(by, same) && d.Cut.After(n.Issued) && n.Deny != DenyWritten {
				n.Deny, n.Trouble = d.State, d.Trouble
			}
		}
		keys = append(keys, n.Key)
	}
	slices.SortStableFunc(keys, func(a, b Key) int {
		return cmp.Or(a.Until.Compare(b.Until), strings.Compare(a.Role.String(), b.Role.String()))
	})
	return keys, nil
}

// DenyPeople queues the denies of people's keys, in the transaction that ctx carries,
// in which the caller has them revoked.
func (s *Service) DenyPeople(ctx context.Context, people []identity.PersonID) error {
	for _, id := range people {
		if err := s.queue(ctx, Target{Kind: revocation.Person, ID: string(id)}); err != nil {
			return err
		}
	}
	return nil
}

// DenyIn queues the denies of a person's keys in roles that they lost, in the
// transaction that ctx carries. Keys of their other roles, also those that the same
// sign-in just brought, go on.
func (s *Service) DenyIn(ctx context.Context, person identity.PersonID, roles []arn.Role) error {
	for _, r := range roles {
		if err := s.queueOf(ctx, Of{Person: person, Role: r}, false); err != nil {
			return err
		}
	}
	return nil
}

// Deny queues the denies of a target that the caller has revoked, in the transaction
// that ctx carries.
func (s *Service) Deny(ctx context.Context, t Target) error { return s.queue(ctx, t) }

// queue queues the denies of a target, in the transaction that ctx carries.
func (s *Service) queue(ctx context.Context, t Target) error {
	of, ok := t.of()
	if !ok {
		return nil
	}
	return s.queueOf(ctx, of, t.Kind == revocation.Role || t.Kind == revocation.Everything)
}

// queueOf queues denies of the keys that are chosen: by their names, or whole of
// every older key of their roles.
func (s *Service) queueOf(ctx context.Context, of Of, whole bool) error {
	if s.Ledger == nil {
		return nil
	}
	noted, err := s.Ledger.Noted(ctx, of, s.Now())
	if err != nil {
		return err
	}
	if whole && !of.Role.IsZero() { // also where nobody noted keys: some may have been had past Carnet
		noted = append(noted, Noted{Key: Key{Role: of.Role}})
	}
	now := s.Now().UTC()
	byRole := map[arn.Role][]Deny{}
	for _, n := range noted {
		a := s.Accounts[n.Role.Account]
		if !a.Writable || a.Partition != n.Role.Partition {
			continue
		}
		for _, d := range n.cut(now, a.Margin, whole) {
			if err := d.check(); err != nil {
				return err
			}
			byRole[n.Role] = append(byRole[n.Role], d)
		}
	}
	for role, denies := range byRole {
		if err := s.Denies.Queue(ctx, role, union(now, denies...), now); err != nil {
			return err
		}
	}
	return nil
}
