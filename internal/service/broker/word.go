package broker

import (
	"context"
	"encoding/json"
	"slices"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
)

// said is what an identity provider said of a person at one sign-in: the last
// word, until a later sign-in.
type said struct {
	Basis entitlement.Evidence `json:"basis"` // of no role
	Roles []saidRole           `json:"roles"`
}

type saidRole struct {
	ARN   string `json:"arn"`
	Group string `json:"group,omitempty"`
}

// role finds what was said of a role.
func (s said) role(r arn.Role) (entitlement.Evidence, bool) {
	i := slices.IndexFunc(s.Roles, func(x saidRole) bool { return x.ARN == r.String() })
	if i < 0 {
		return entitlement.Evidence{}, false
	}
	e := s.Basis
	e.Role, e.Group = r, s.Roles[i].Group
	return e, true
}

func wordBinding(person identity.PersonID, idp identity.IdPID) []byte {
	return []byte(string(person) + "\x00" + string(idp))
}

// putWord stores the word of a sign-in. No role is a word too: it ends all.
func (b *Broker) putWord(ctx context.Context, r Request) error {
	w := said{Basis: r.Entitlements.Basis}
	for _, c := range r.Entitlements.Candidates {
		if c.Mapped {
			continue // the provider did not say it
		}
		w.Roles = append(w.Roles, saidRole{ARN: c.Role.String(), Group: c.Group})
	}
	plain, err := json.Marshal(w)
	if err != nil {
		return err
	}
	sealed, err := b.Sealer.Seal(purposeWord, wordBinding(r.Person, w.Basis.IdP), plain)
	if err != nil {
		return err
	}
	return b.Renewals.PutWord(ctx, Word{Person: r.Person, IdP: w.Basis.IdP, Issued: w.Basis.Issued, Sealed: sealed})
}

// word reads the last word; NotFound where there is none.
func (b *Broker) word(ctx context.Context, person identity.PersonID, idp identity.IdPID) (said, error) {
	w, err := b.Renewals.Word(ctx, person, idp)
	if err != nil {
		return said{}, err
	}
	plain, err := b.Sealer.Open(purposeWord, wordBinding(person, idp), w.Sealed)
	if err != nil {
		return said{}, fault.Wrap(err, fault.Internal, "what the identity provider said last can't be opened")
	}
	var out said
	return out, json.Unmarshal(plain, &out)
}

// StillEntitled says whether a person is entitled to a role by what an identity
// provider said of them last: they are switched on, the provider is, its last
// word has the role, and its list, its templates and the configured accounts
// admit it now. Nobody has to be signed in. Faults: Denied, NotFound, Revoked:
// not; any other: it can't be said.
func (b *Broker) StillEntitled(ctx context.Context, person identity.PersonID, idp identity.IdPID, role arn.Role) error {
	speaker, word, err := b.heard(ctx, person, idp)
	if err != nil {
		return err
	}
	e, ok := word.role(role)
	if !ok {
		if e, err = b.mapped(ctx, word, person, idp, role); err != nil {
			return err
		}
	}
	if err := e.Holds(speaker, b.Accounts); err != nil {
		return err
	}
	return required(e, b.Accounts[role.Account])
}

// Heard gives those of roles that a person is entitled to by what an identity
// provider said of them last, as StillEntitled does, but for the way of signing in
// that an account asks for before our own tokens count. Faults: those of the person
// and the provider.
func (b *Broker) Heard(ctx context.Context, person identity.PersonID, idp identity.IdPID, roles []arn.Role) (held []arn.Role, err error) {
	speaker, word, err := b.heard(ctx, person, idp)
	if err != nil {
		return nil, err
	}
	for _, r := range roles {
		e, ok := word.role(r)
		if !ok {
			if e, err = b.mapped(ctx, word, person, idp, r); fault.KindOf(err) == fault.Denied {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		if e.Holds(speaker, b.Accounts) == nil {
			held = append(held, r)
		}
	}
	return held, nil
}

// mapped gives the evidence of a role that is mapped to the person, which the last
// word does not have. Faults: Denied where it is not mapped.
func (b *Broker) mapped(ctx context.Context, word said, person identity.PersonID, idp identity.IdPID, role arn.Role) (entitlement.Evidence, error) {
	e := word.Basis
	e.Role, e.Mapped = role, true
	return e, b.stillMapped(ctx, person, idp, role)
}

// stillMapped refuses a role that is not mapped to the person now.
func (b *Broker) stillMapped(ctx context.Context, person identity.PersonID, idp identity.IdPID, role arn.Role) error {
	if b.Mapped == nil {
		return lastWord(role)
	}
	roles, err := b.Mapped.MappedRoles(ctx, person, idp)
	if err != nil {
		return err
	}
	if !slices.Contains(roles, role) {
		return lastWord(role)
	}
	return nil
}

// heard gives the last word about a person who is switched on, of a provider that
// is.
func (b *Broker) heard(ctx context.Context, person identity.PersonID, idp identity.IdPID) (*federation.Speaker, said, error) {
	if err := b.Standing.Active(ctx, person); err != nil {
		return nil, said{}, err
	}
	speaker, err := b.Standing.Speaker(idp)
	if err != nil {
		return nil, said{}, err
	}
	word, err := b.word(ctx, person, idp)
	if fault.KindOf(err) == fault.NotFound {
		return nil, said{}, fault.Coded(fault.Denied, "bridge.word", "the identity provider has said nothing of this person yet").
			WithMend("have the person sign in once")
	}
	return speaker, word, err
}

func lastWord(role arn.Role) error {
	return fault.Coded(fault.Denied, "bridge.word", "the last sign-in through this identity provider did not bring role "+role.String()+", and it is not mapped to the person").
		WithMend("ask for the role at your identity provider, then sign in again")
}
