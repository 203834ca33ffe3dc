package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// Session tags of a job's tokens, where the account sends tags: who it works as,
// and under which delegation.
const (
	TagPerson     = "carnet:person"
	TagDelegation = "carnet:delegation"
)

// Ask is the ID token that a principal wants.
type Ask struct {
	// Audience is AWS STS, or one that an administrator listed.
	Audience string
	// Role is the ARN of the one role for AWS STS. A job may leave it out: its
	// delegation names it. Other audiences take none.
	Role string
	// NotAfter is the end of the proof that this rests on; zero: it has none.
	NotAfter time.Time
	// Traded says that the caller trades it here and notes the keys: nobody else gets
	// the token.
	Traded bool
	// OnNode is where it was asked for: a token for AWS STS is held to that.
	OnNode identity.OnNode
	// Detail says in the trail what it rests on.
	Detail map[string]string
}

// Token gives an ID token to a principal who was proven: after everything that it
// rests on was read anew, with its record. Faults: Denied (CodeGrant,
// CodeTarget), Invalid (CodeParam, CodeTarget), Unavailable.
func (s *Service) Token(ctx context.Context, who Principal, a Ask) (issuer.Minted, error) {
	// What is revoked from here on refuses the token.
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return issuer.Minted{}, err
	}
	detail := map[string]string{"audience": a.Audience}
	maps.Copy(detail, a.Detail)
	t := issuer.IDToken{Subject: who.Subject(), Audience: a.Audience, OnNode: a.OnNode, Epoch: epoch}
	e := event.Event{Action: "id-token", Outcome: event.Done, Person: who.Person, Target: t.Subject, Detail: detail,
		Node: a.OnNode.Node, Attachment: a.OnNode.Attachment, ProcessOwner: a.OnNode.Owner}
	if err := s.grant(ctx, who, a, &t, &e); err != nil {
		if fault.KindOf(err) == fault.Denied {
			return issuer.Minted{}, s.denied(ctx, who, err, detail)
		}
		return issuer.Minted{}, err
	}
	m, err := s.Issuer.MintID(t)
	if err != nil {
		return issuer.Minted{}, target(err)
	}
	detail["token"], detail["issuer"] = m.ID, m.Issuer
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		if s.Ledger != nil && !t.Role.IsZero() && !a.Traded && !s.Accounts[t.Role.Account].Local {
			k := withdrawal.Key{Role: t.Role, Person: e.Person, Delegation: who.Delegation, ServicePrincipal: who.ServicePrincipal,
				Issuer: m.Issuer, Subject: t.Subject, Issued: m.Issued, Epoch: epoch}
			if err := s.Ledger.Issued(ctx, m.ID, withdrawal.IDToken(k, m.Expires)); err != nil {
				return err
			}
		}
		return s.Trail.Record(ctx, e)
	})
	if err != nil {
		return issuer.Minted{}, err
	}
	return m, nil
}

// target gives a refusal of an audience the code of RFC 8693.
func target(err error) error {
	if f := fault.Of(err); f.Code == issuer.CodeAudience {
		return f.WithCode(CodeTarget)
	}
	return err
}

// grant holds an ask to what the principal may have, and completes the token.
func (s *Service) grant(ctx context.Context, who Principal, a Ask, t *issuer.IDToken, e *event.Event) error {
	role, err := askedRole(who, a)
	if err != nil {
		return err
	}
	ends := a.NotAfter
	switch {
	case who.Delegation != "":
		d, person, err := s.job(ctx, who)
		if err != nil {
			return err
		}
		if !role.IsZero() && role != d.Role {
			return fault.Coded(fault.Denied, CodeTarget, fmt.Sprintf("the delegation is for role %s alone", d.Role)).WithMend("leave role out")
		}
		role = d.Role
		if ends.IsZero() || d.Expires.Before(ends) {
			ends = d.Expires
		}
		account := s.Accounts[role.Account]
		if account.SourceIdentity {
			t.SourceIdentity = identity.SessionName(person.UserName)
		}
		if account.Tags {
			t.Tags = []issuer.Tag{{Key: TagDelegation, Value: string(d.ID)}, {Key: TagPerson, Value: identity.SessionName(person.UserName)}}
		}
		e.Person, e.UserName, e.IdP = d.Person, person.UserName, d.IdP
		e.Detail["service_principal"], e.Detail["label"] = string(d.ServicePrincipal), d.Label
		if d.Cluster != "" {
			delete(e.Detail, "service_principal")
			e.Detail["cluster_id"] = string(d.Cluster)
		}
		e.Detail["sign_in"] = string(d.Evidence.LoginSession)
	case !role.IsZero():
		if err := s.holds(ctx, who, role); err != nil {
			return err
		}
	default:
		if err := s.standing(ctx, who); err != nil {
			return err
		}
	}
	if t.Role = role; !role.IsZero() {
		e.Role, e.Account = role.String(), role.Account
		if err := s.takesWebIdentity(role); err != nil {
			return err
		}
	}
	return s.lifetime(t, ends)
}

// askedRole reads the role of an ask: AWS STS wants exactly one, and nobody else
// any.
func askedRole(who Principal, a Ask) (arn.Role, error) {
	aws := a.Audience == issuer.AudienceAWS
	switch {
	case who.Delegation != "" && !aws:
		return arn.Role{}, fault.Coded(fault.Denied, CodeTarget, "a delegation is good for its role at "+issuer.AudienceAWS+" alone")
	case !aws && a.Role != "":
		return arn.Role{}, fault.Coded(fault.Invalid, CodeParam, "only a token for "+issuer.AudienceAWS+" names a role").WithMend("leave role out, or ask for that audience")
	case a.Role == "" && aws && who.Delegation == "":
		return arn.Role{}, fault.Coded(fault.Invalid, CodeParam, "a token for "+issuer.AudienceAWS+" is good for one role, and the request names none").
			WithMend("give its ARN as role")
	case a.Role == "":
		return arn.Role{}, nil
	}
	role, err := arn.ParseRole(a.Role)
	if err != nil {
		return role, fault.Coded(fault.Invalid, CodeParam, "role: "+err.Error())
	}
	return role, nil
}

// holds asks whether a service principal or a person who was proven by a policy
// has a role. A person's must be stored by an administrator or a provisioning
// system: what a sign-in brought is good in its login session alone.
func (s *Service) holds(ctx context.Context, who Principal, role arn.Role) error {
	if err := s.standing(ctx, who); err != nil {
		return err
	}
	subject := string(who.ServicePrincipal)
	if who.Person != "" {
		subject = string(who.Person)
		sp, err := s.IdPs.Speaker(who.IdP)
		if err != nil {
			return denial(err)
		}
		if bound := sp.MayAssertRole(role); bound != "" {
			return fault.Coded(fault.Denied, CodeTarget, string(bound))
		}
		if a := s.Accounts[role.Account]; a.Deliver == "gateway" && !a.Local {
			// Whoever had the token would have the keys, which are to stay here.
			return fault.Coded(fault.Denied, CodeTarget, "the keys of account "+role.Account+" stay in the server: it is delivered by the gateway").
				WithMend("use a gateway key: an administrator makes it, or carnet credentials")
		}
	}
	held, err := s.Directory.EffectiveRoles(ctx, subject)
	if err != nil {
		return err
	}
	for _, h := range held {
		if h.Role == role && (who.Person == "" || slices.ContainsFunc(h.Sources, stored)) {
			return nil
		}
	}
	return fault.Coded(fault.Denied, CodeTarget, fmt.Sprintf("%s does not hold role %s", who.Subject(), role)).
		WithMend("an administrator stores it with: carnet people map " + subject + " " + role.String())
}

// Held gives a service principal that is switched on, with the roles that it has.
// Faults: Denied (CodeGrant).
func (s *Service) Held(ctx context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, []arn.Role, error) {
	if err := s.machine(ctx, id); err != nil {
		return directory.ServicePrincipal{}, nil, err
	}
	p, err := s.Directory.ServicePrincipal(ctx, id)
	if err != nil {
		return p, nil, err
	}
	held, err := s.Directory.EffectiveRoles(ctx, string(id))
	roles := make([]arn.Role, len(held))
	for i, h := range held {
		roles[i] = h.Role
	}
	return p, roles, err
}

// stored reports whether a mapping is an administrator's or a provisioning
// system's word.
func stored(m directory.HeldMapping) bool {
	return m.Origin == directory.FromAdmin || m.Origin == directory.FromSCIM
}

// takesWebIdentity holds a role to its account: one that isn't listed, or takes no
// web identity, gets nothing.
func (s *Service) takesWebIdentity(role arn.Role) error {
	a, ok := s.Accounts[role.Account]
	switch {
	case !ok || a.Partition != role.Partition:
		return fault.Coded(fault.Denied, CodeTarget, "account "+role.Account+" of partition "+role.Partition+" is not configured here")
	case !a.WebIdentity:
		return fault.Coded(fault.Denied, CodeTarget, "account "+role.Account+" takes no web identity").
			WithMend("an administrator adds web-identity to its exchanges in carnet.yaml")
	}
	return nil
}

// lifetime lets a token end with what it rests on.
func (s *Service) lifetime(t *issuer.IDToken, ends time.Time) error {
	most := issuer.Standard
	if t.Audience == issuer.AudienceAWS {
		most = issuer.ForAWS
	}
	if ends.IsZero() {
		t.Lifetime = most
		return nil
	}
	if t.Lifetime = min(most, Left(ends, s.Now())); t.Lifetime < time.Second {
		return refused("what the token would rest on has ended").WithMend("present a fresh one")
	}
	return nil
}

// Left gives the whole seconds until an end: times in tokens are whole seconds,
// and what rests on an end must not outlive it.
func Left(ends, now time.Time) time.Duration {
	return time.Duration(ends.Unix()-now.Unix()) * time.Second
}

// Standing asks whether a principal may act at all, as things are now: a service
// principal or person who is switched on, a delegation with all it rests on.
// Faults: Denied (CodeGrant).
func (s *Service) Standing(ctx context.Context, who Principal) error { return s.standing(ctx, who) }

// standing asks whether a principal may act at all, as things are now.
func (s *Service) standing(ctx context.Context, who Principal) error {
	switch {
	case who.Delegation != "":
		_, _, err := s.job(ctx, who)
		return err
	case who.ServicePrincipal != "":
		return s.machine(ctx, who.ServicePrincipal)
	case who.Person != "":
		_, err := s.person(ctx, who.Person, who.IdP)
		return err
	}
	return refused("nobody was proven")
}

// machine asks for a service principal that is switched on.
func (s *Service) machine(ctx context.Context, id identity.ServicePrincipalID) error {
	p, err := s.Directory.ServicePrincipal(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err != nil || !p.Active {
		return refused(fmt.Sprintf("the service principal %s is switched off or gone", id))
	}
	return nil
}

// person asks for a person who is switched on, and whom their identity provider
// may still prove.
func (s *Service) person(ctx context.Context, id identity.PersonID, idp identity.IdPID) (directory.Person, error) {
	p, err := s.Directory.Person(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return p, err
	}
	if err != nil || !p.Active {
		return p, refused(fmt.Sprintf("the person %s is switched off or gone", id))
	}
	sp, err := s.IdPs.Speaker(idp)
	switch kind := fault.KindOf(err); {
	case err != nil && (kind == fault.Unavailable || kind == fault.Internal):
		return p, err
	case err != nil:
		return p, refused("the identity provider of the person is switched off or gone").WithCause(err)
	}
	if bound := sp.MayAssertUser(p.UserName); bound != "" {
		return p, refused(string(bound))
	}
	return p, nil
}

// notRevoked asks the feed of everything that something made at an epoch rests on.
func (s *Service) notRevoked(epoch uint64, what ...[2]string) error {
	for _, w := range what {
		gone, err := s.Feed.Refused(w[0], w[1], epoch)
		if err != nil {
			return err
		}
		if gone {
			return fault.Coded(fault.Revoked, CodeGrant, "the "+w[0]+" "+w[1]+" was revoked")
		}
	}
	return nil
}
