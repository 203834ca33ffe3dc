package attachment

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/holder"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/workload"
)

// CodeGround is the code of faults that say that what an attachment rests on gives
// nothing now.
const CodeGround = "attachment.ground"

// plain makes a fault about a person's proof one that is not about the node's.
func plain(err error) error {
	if err == nil {
		return nil
	}
	switch f := fault.Of(err); f.Kind {
	case fault.Unauthenticated, fault.Expired, fault.Revoked:
		return fault.Coded(fault.Denied, CodeGround, "the attachment can't have this now: "+f.Public).WithMend(f.Mend).WithCause(err)
	}
	return err
}

// usable gives what an attachment's person holds now, with the roles that the cluster
// allows alone.
func (s *Service) usable(ctx context.Context, a *Attachment, c cluster.Cluster) (holder.Standing, error) {
	st, err := s.Holders.Standing(ctx, a.owner(), nil)
	if err != nil {
		return st, plain(err)
	}
	if st.Owner.Person != a.Person {
		return st, fault.New(fault.Internal, "what the attachment rests on is not its person's")
	}
	st.Held = slices.DeleteFunc(slices.Clone(st.Held), func(r arn.Role) bool { return !s.Rules.Allows(c, r) })
	return st, nil
}

// choose finds the one role that a text names among those usable: an ARN, a name, or
// account/name; none means the current one, else the only one. Faults name the
// choices.
func (s *Service) choose(a *Attachment, usable []arn.Role, text string) (arn.Role, error) {
	if text == "" && !a.Role.IsZero() {
		text = a.Role.String()
	}
	var found []arn.Role
	for _, r := range usable {
		if text == "" || s.names(text, r) {
			found = append(found, r)
		}
	}
	choices := list(usable)
	switch {
	case len(usable) == 0:
		return arn.Role{}, fault.Coded(fault.NotFound, "role.none", "you hold no role that may be used on this cluster").
			WithMend("ask for one at your identity provider, or ask who manages the cluster")
	case len(found) == 1:
		return found[0], nil
	case text == "":
		return arn.Role{}, fault.Coded(fault.Invalid, "role.choose", "no role is chosen, and several may be used here: "+choices).WithMend("choose one: carnet role assume ROLE")
	case len(found) == 0:
		return arn.Role{}, fault.Coded(fault.NotFound, "role.unheld", fmt.Sprintf("there is no role %q that you hold and may use here; there are %s", fault.Clip(text), choices)).
			WithMend("choose one of them: carnet role assume ROLE")
	}
	return arn.Role{}, fault.Coded(fault.Invalid, "role.ambiguous", fmt.Sprintf("role name %q is held in several accounts: %s", fault.Clip(text), list(found))).
		WithMend("give the role's ARN")
}

// names reports whether a text names a role.
func (s *Service) names(text string, r arn.Role) bool {
	if text == r.String() || text == r.Name {
		return true
	}
	account, name, ok := strings.Cut(text, "/")
	return ok && name == r.Name && (account == r.Account || account != "" && account == s.Accounts[r.Account].Name)
}

const mostListed = 20

func list(roles []arn.Role) string {
	var names []string
	for i, r := range roles {
		if i == mostListed {
			names = append(names, "…")
			break
		}
		names = append(names, r.String())
	}
	return strings.Join(names, ", ")
}

// Credentials gives the keys of a role for an attachment of a node, with their
// record. from is where the node asks from. Errors: NotFound (attachment.unknown,
// attachment.ended, role.none, role.unheld), Invalid (role.choose, role.ambiguous),
// Denied, and those of the exchange.
func (s *Service) Credentials(ctx context.Context, n cluster.Node, id identity.AttachmentID, role string, from netip.Addr) (Keys, error) {
	a, c, err := s.of(ctx, n, id)
	if err != nil {
		return Keys{}, err
	}
	st, err := s.usable(ctx, a, c)
	if err != nil {
		return Keys{}, err
	}
	r, err := s.choose(a, st.Held, role)
	if err != nil {
		return Keys{}, err
	}
	k, err := s.keys(ctx, a, c, st.Owner, r, from)
	if err != nil {
		return Keys{}, plain(err)
	}
	if a.Expires.Before(k.Expiration) {
		k.Expiration = a.Expires
	}
	e := s.event(a, "attachment.credentials")
	e.Role, e.Account, e.AccessKeyID, e.Source = r.String(), r.Account, k.AccessKeyID, from.String()
	if err := s.hand(ctx, n, a, e); err != nil {
		return Keys{}, err
	}
	return k, nil
}

// hand records that something is handed out, once the attachment still stands:
// otherwise nothing is.
func (s *Service) hand(ctx context.Context, n cluster.Node, a *Attachment, e event.Event) error {
	if _, _, err := s.of(ctx, n, a.ID); err != nil { // what was taken back meanwhile
		return err
	}
	return s.State.Atomic(ctx, func(ctx context.Context) error { return s.Trail.Record(ctx, e) })
}

func (s *Service) keys(ctx context.Context, a *Attachment, c cluster.Cluster, o holder.Owner, r arn.Role, from netip.Addr) (Keys, error) {
	if s.ByGateway(r.Account) {
		m, err := s.GatewayKeys.DeliverAttached(ctx, gatewaykeys.Attached{Owner: o, Attachment: a.ID, Cluster: c, Node: a.Place.Node, Ends: a.Expires}, r, from)
		k := Keys{Role: r, Gateway: true}
		k.AccessKeyID, k.SecretAccessKey, k.Expiration = m.AccessKeyID, m.Secret, m.Expires
		return k, err
	}
	t, err := s.Holders.Keys(ctx, o, r, "attachment")
	if err == nil && s.Accounts[r.Account].Local {
		t, err = s.Binder.Bind(ctx, t, a.OnNode(), a.Expires)
	}
	return Keys{Temporary: t, Role: r}, err
}

// IDToken gives a web-identity token for a role, with its record. Errors as for
// Credentials.
func (s *Service) IDToken(ctx context.Context, n cluster.Node, id identity.AttachmentID, role string) (IDToken, error) {
	a, c, err := s.of(ctx, n, id)
	if err != nil {
		return IDToken{}, err
	}
	st, err := s.usable(ctx, a, c)
	if err != nil {
		return IDToken{}, err
	}
	r, err := s.choose(a, st.Held, role)
	if err != nil {
		return IDToken{}, err
	}
	if s.ByGateway(r.Account) {
		return IDToken{}, fault.Coded(fault.Denied, "attachment.gateway", "the keys of account "+r.Account+" stay in the server: it is delivered by the gateway").
			WithMend("fetch keys instead: the container endpoint gives a gateway key")
	}
	m, err := s.token(ctx, a, r)
	if err != nil {
		return IDToken{}, plain(err)
	}
	e := s.event(a, "attachment.id-token")
	e.Role, e.Account, e.Detail["token"] = r.String(), r.Account, m.ID
	if err := s.hand(ctx, n, a, e); err != nil {
		return IDToken{}, err
	}
	return IDToken{Token: m.Token, Expires: m.Expires, Role: r}, nil
}

func (s *Service) token(ctx context.Context, a *Attachment, r arn.Role) (issuer.Minted, error) {
	if a.Delegation != "" {
		return s.Delegations.Token(ctx, workload.Principal{Delegation: a.Delegation, Cluster: a.Cluster},
			workload.Ask{Audience: issuer.AudienceAWS, Role: r.String(), OnNode: a.OnNode(), Detail: map[string]string{"for": "attachment"}})
	}
	l, err := s.Sessions.ResumeID(ctx, a.LoginSession)
	if err != nil {
		return issuer.Minted{}, err
	}
	return s.Tokens.IDToken(ctx, l.ID, r, a.OnNode())
}

// Roles lists the roles that the person holds and the cluster allows.
func (s *Service) Roles(ctx context.Context, n cluster.Node, id identity.AttachmentID) ([]RoleStatus, error) {
	a, c, err := s.of(ctx, n, id)
	if err != nil {
		return nil, err
	}
	return s.roles(ctx, a, c)
}

func (s *Service) roles(ctx context.Context, a *Attachment, c cluster.Cluster) ([]RoleStatus, error) {
	st, err := s.usable(ctx, a, c)
	if err != nil {
		return nil, err
	}
	out := []RoleStatus{}
	for _, r := range st.Held {
		out = append(out, RoleStatus{Role: r, Current: r == a.Role || a.Role.IsZero() && len(st.Held) == 1})
	}
	if a.LoginSession == "" {
		return out, nil
	}
	l, err := s.Sessions.ResumeID(ctx, a.LoginSession)
	if err != nil {
		return nil, plain(err)
	}
	for _, r := range l.Roles { // those that failed are not held, and worth a word
		i := slices.IndexFunc(out, func(o RoleStatus) bool { return o.Role == r.Role })
		switch {
		case r.State == login.RoleFailed && r.Error != nil && i < 0 && s.Rules.Allows(c, r.Role):
			out = append(out, RoleStatus{Role: r.Role, Trouble: r.Error.Code + ": " + r.Error.Message})
		case r.State == login.RoleExpired && i >= 0:
			out[i].Trouble = "its keys have expired: sign in again"
		}
	}
	return out, nil
}

// SetRole makes a role the current one; an empty text chooses none. Errors as for
// Credentials.
func (s *Service) SetRole(ctx context.Context, n cluster.Node, id identity.AttachmentID, role string) ([]RoleStatus, error) {
	a, c, err := s.of(ctx, n, id)
	if err != nil {
		return nil, err
	}
	var chosen arn.Role
	if role != "" {
		st, err := s.usable(ctx, a, c)
		if err != nil {
			return nil, err
		}
		if chosen, err = s.choose(a, st.Held, role); err != nil {
			return nil, err
		}
	}
	err = s.recorded(ctx, func(ctx context.Context) (event.Event, error) {
		done, err := s.Changes.SetRole(ctx, a.ID, chosen)
		if err == nil && !done {
			err = endedFault("")
		}
		e := s.event(a, "attachment.role")
		if !chosen.IsZero() {
			e.Role, e.Account = chosen.String(), chosen.Account
		}
		return e, err
	})
	if err != nil {
		return nil, err
	}
	now := *a
	now.Role = chosen
	return s.roles(ctx, &now, c)
}

// End ends an attachment at its node's word. No error where it has ended.
func (s *Service) End(ctx context.Context, n cluster.Node, id identity.AttachmentID, why string) error {
	if why != WhyDetached && why != WhyScope && why != WhyUID {
		return fault.Coded(fault.Invalid, "attachment.why", "why is none of detached, scope-ended and uid-reused")
	}
	a, err := s.Lists.Attachment(ctx, id)
	if err != nil {
		return err
	}
	if a.Place.Node != n.ID {
		return fault.Coded(fault.NotFound, "attachment.unknown", "there is no such attachment")
	}
	_, err = s.end(ctx, &a, why)
	return err
}

// TrinoRules gives the keys of those who are attached to a node, for an engine that
// runs there. Of those who are attached elsewhere in the cluster it gives nothing: a
// node reaches its own people alone.
func (s *Service) TrinoRules(ctx context.Context, n cluster.Node) (gatewaykeys.TrinoRules, error) {
	c, err := s.clusterOf(n)
	if err != nil {
		return gatewaykeys.TrinoRules{}, err
	}
	var users []gatewaykeys.TrinoUser
	there := map[identity.PersonID]bool{}
	all := s.known.Load().byNode[n.ID]
	for _, a := range slices.Backward(all) { // the newest of each
		why, err := s.over(a)
		if err != nil {
			return gatewaykeys.TrinoRules{}, err
		}
		if why != "" || there[a.Person] {
			continue
		}
		there[a.Person] = true
		o := a.owner()
		o.Person, o.Name = a.Person, a.Name
		users = append(users, gatewaykeys.TrinoUser{Attached: gatewaykeys.Attached{Owner: o, Attachment: a.ID, Cluster: c, Node: a.Place.Node, Ends: a.Expires},
			Roles: func(ctx context.Context) ([]arn.Role, arn.Role, error) {
				st, err := s.usable(ctx, a, c)
				if err != nil {
					return nil, arn.Role{}, err
				}
				if len(st.Held) == 0 {
					_, err = s.choose(a, nil, "")
				}
				return st.Held, s.fallback(a, st.Held), err
			}})
	}
	return s.GatewayKeys.TrinoRulesFor(ctx, c, users)
}

// fallback is the role where no prefix grant says another: the current one, if it may
// still be used.
func (s *Service) fallback(a *Attachment, usable []arn.Role) arn.Role {
	if slices.Contains(usable, a.Role) {
		return a.Role
	}
	return arn.Role{}
}
