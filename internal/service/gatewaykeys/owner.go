package gatewaykeys

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/workload"
)

// standing is what an owner has at one moment.
type standing struct {
	owner Owner
	held  []arn.Role
	ends  time.Time // of what the owner rests on; zero: open
}

// standing asks what an owner has now. of bounds the roles that are asked about;
// nil: all. Faults say why there is nothing.
func (s *Service) standing(ctx context.Context, o Owner, of []arn.Role) (standing, error) {
	switch o.Kind() {
	case "login-session":
		l, err := s.Sessions.ResumeID(ctx, o.LoginSession)
		if err != nil {
			return standing{}, err
		}
		return s.signedIn(ctx, l, of)
	case "delegation":
		d, person, err := s.Machines.Behind(ctx, o.Delegation)
		if err != nil {
			return standing{}, err
		}
		return standing{held: s.byWebIdentity([]arn.Role{d.Role}), ends: d.Expires,
			owner: Owner{Delegation: d.ID, ServicePrincipal: d.ServicePrincipal, Person: d.Person, IdP: d.IdP, Name: person.UserName}}, nil
	case "service-principal":
		p, roles, err := s.Machines.Held(ctx, o.ServicePrincipal)
		if err != nil {
			return standing{}, err
		}
		return standing{held: s.byWebIdentity(roles), owner: Owner{ServicePrincipal: p.ID, Name: p.Name}}, nil
	}
	return standing{}, fault.New(fault.Invalid, "a gateway key needs an owner: a login session, a delegation or a service principal")
}

// signedIn asks what the person of a login session has: what their sign-in brought
// and could be had, as far as their identity provider's last word still has it.
func (s *Service) signedIn(ctx context.Context, l login.LoginSession, of []arn.Role) (standing, error) {
	if l.Person.ID == "" {
		return standing{}, fault.Coded(fault.Denied, "gateway-key.nobody", "a login session by a set-up link is nobody's: it has no roles").
			WithMend("sign in at an identity provider")
	}
	var roles []arn.Role
	for _, r := range l.Roles {
		if r.State != login.RoleFailed && (of == nil || slices.Contains(of, r.Role)) {
			roles = append(roles, r.Role)
		}
	}
	held, err := s.Entitled.Heard(ctx, l.Person.ID, l.Person.IdP, roles)
	return standing{held: held, ends: l.Expires,
		owner: Owner{LoginSession: l.ID, Person: l.Person.ID, IdP: l.Person.IdP, Name: l.Person.UserName}}, err
}

// byWebIdentity leaves the roles of accounts that take our tokens: there is no
// other way for who is not signed in.
func (s *Service) byWebIdentity(roles []arn.Role) (out []arn.Role) {
	for _, r := range roles {
		if a, ok := s.Accounts[r.Account]; ok && a.Partition == r.Partition && a.WebIdentity {
			out = append(out, r)
		}
	}
	return out
}

// How old what is known of an owner may be: from askAgain on it is asked for anew
// beside, from mostOld on it does not count.
const (
	askAgain = 30 * time.Second
	mostOld  = time.Minute
)

// held gives those of a key's roles that its owner holds.
func (s *Service) held(ctx context.Context, h *Holder) ([]arn.Role, error) {
	return h.uses.held.get(ctx, s, func(ctx context.Context) (answer[[]arn.Role], error) {
		st, err := s.standing(ctx, h.key.Owner, h.key.Roles)
		if err != nil {
			return answer[[]arn.Role]{}, notHeld(err)
		}
		now := s.Now()
		roles := slices.DeleteFunc(slices.Clone(h.key.Roles), func(r arn.Role) bool { return !slices.Contains(st.held, r) })
		return answer[[]arn.Role]{value: roles, due: now.Add(askAgain), ends: now.Add(mostOld)}, nil
	})
}

// notHeld is a refusal in the words of S3.
func notHeld(err error) error {
	if isAway(err) {
		return err
	}
	f := fault.Of(err)
	return fault.Coded(fault.Denied, "AccessDenied", "The owner of this gateway key can't act now: "+f.Public).WithMend(f.Mend).WithCause(err)
}

// Keys gives the temporary keys of a role that was chosen: those that are kept, or
// new ones. Only a role of the key's set that its owner holds has any.
func (s *Service) Keys(ctx context.Context, h *Holder, role arn.Role) (credential.Temporary, error) {
	held, err := s.held(ctx, h)
	if err != nil {
		return credential.Temporary{}, err
	}
	if !slices.Contains(h.key.Roles, role) || !slices.Contains(held, role) {
		return credential.Temporary{}, fault.Coded(fault.Denied, "AccessDenied", "The owner of this gateway key does not hold role "+role.String())
	}
	return h.uses.of(role).get(ctx, s, func(ctx context.Context) (answer[credential.Temporary], error) {
		a, err := s.fetch(ctx, h.key.Owner, role)
		if err != nil && !isAway(err) {
			f := fault.Of(err)
			err = fault.Coded(fault.Denied, "AccessDenied", "The keys of role "+role.String()+" can't be had: "+f.Code+": "+f.Public).WithMend(f.Mend).WithCause(err)
		}
		return a, err
	})
}

// fetch has the keys of a role: of a login session those that the broker keeps
// alive, of a machine new ones for a token of ours.
func (s *Service) fetch(ctx context.Context, o Owner, role arn.Role) (answer[credential.Temporary], error) {
	now := s.Now()
	if o.LoginSession == "" {
		keys, err := s.trade(ctx, o, role)
		// Two thirds of their life, not all at the same moment.
		life := keys.Expiration.Sub(now)
		due := now.Add(life*2/3 - rand.N(life/10+1))
		return answer[credential.Temporary]{value: keys, due: due, ends: keys.Expiration}, err
	}
	l, err := s.Sessions.ResumeID(ctx, o.LoginSession)
	if err != nil {
		return answer[credential.Temporary]{}, err
	}
	got, err := s.Sessions.Credentials(ctx, l, role.String())
	return answer[credential.Temporary]{value: got.Credentials, due: now.Add(askAgain), ends: got.Credentials.Expiration}, err
}

// keysLife is what is asked for; the least that STS grants is more than a token of
// ours has left at times.
const (
	keysLife  = time.Hour
	leastLife = 15 * time.Minute
)

// trade has keys for a machine or a job at the STS of the role's account.
func (s *Service) trade(ctx context.Context, o Owner, role arn.Role) (credential.Temporary, error) {
	who := workload.Principal{ServicePrincipal: o.ServicePrincipal, Delegation: o.Delegation}
	life := keysLife
	if o.Delegation != "" {
		d, _, err := s.Machines.Behind(ctx, o.Delegation)
		if err != nil {
			return credential.Temporary{}, err
		}
		life = max(leastLife, min(life, d.Expires.Sub(s.Now()).Truncate(time.Second)))
	}
	token, err := s.Machines.Token(ctx, who, workload.Ask{Audience: issuer.AudienceAWS, Role: role.String(), Detail: map[string]string{"for": "gateway key"}})
	if err != nil {
		return credential.Temporary{}, err
	}
	name := identity.SessionName(o.Name)
	got, err := s.STS.AssumeRoleWithWebIdentity(ctx, broker.WebCall{Role: role, SessionName: name, Token: token.Token, Duration: life, Person: o.Person})
	if err != nil {
		return credential.Temporary{}, err
	}
	keys := got.Credentials
	if got.AssumedRoleARN != role.AssumedRole(name) || keys.AccessKeyID == "" || !keys.Live(s.Now()) {
		return credential.Temporary{}, fault.Coded(fault.Unavailable, "InternalFailure", fmt.Sprintf("STS answered without usable keys of role %s, or for another one", role))
	}
	return keys, nil
}
