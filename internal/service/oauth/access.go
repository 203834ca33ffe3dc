package oauth

import (
	"context"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/workload"
)

func badToken(cause error) *fault.Fault {
	return refuse(InvalidToken, "the access token is none of ours, has expired or was revoked").WithMend("get a new one").WithCause(cause)
}

// Access proves an access token, and that nothing it rests on was revoked since.
// Errors: Unauthenticated (InvalidToken), Unavailable.
func (s *Service) Access(token secret.Text) (issuer.AccessToken, error) {
	t, err := s.Issuer.VerifyAccess(token)
	if err != nil {
		if k := fault.KindOf(err); k == fault.Unauthenticated || k == fault.Expired || k == fault.Invalid {
			err = badToken(err)
		}
		return issuer.AccessToken{}, err
	}
	for _, what := range restsOn(*t) {
		refused, err := s.Feed.Refused(what.kind, what.id, t.Epoch)
		if err != nil {
			return issuer.AccessToken{}, err
		}
		if refused {
			return issuer.AccessToken{}, badToken(fault.New(fault.Revoked, what.kind+" "+what.id+" was revoked"))
		}
	}
	if _, ok := s.live(t.ClientID); !ok && !strings.HasPrefix(t.ClientID, "spn_") {
		return issuer.AccessToken{}, badToken(fault.New(fault.Revoked, "client "+t.ClientID+" is removed or switched off"))
	}
	return *t, nil
}

type ground struct{ kind, id string }

// restsOn lists whose revocation ends an access token.
func restsOn(t issuer.AccessToken) []ground {
	all := []ground{{revocation.AccessToken, t.ID}, {revocation.OAuthClient, t.ClientID}}
	if t.LoginSession != "" {
		all = append(all, ground{revocation.LoginSession, string(t.LoginSession)})
	}
	for prefix, kind := range map[string]string{personPrefix: revocation.Person, principalPrefix: revocation.ServicePrincipal, jobPrefix: revocation.Delegation} {
		if id, ok := strings.CutPrefix(t.Subject, prefix); ok {
			all = append(all, ground{kind, id})
		}
	}
	if strings.HasPrefix(t.ClientID, "spn_") {
		all = append(all, ground{revocation.ServicePrincipal, t.ClientID})
	}
	return all
}

// ResumeAccess gives the login session of an access token that opens our own API.
// Errors: Unauthenticated, Denied, Unavailable.
func (s *Service) ResumeAccess(ctx context.Context, token secret.Text) (login.LoginSession, error) {
	t, err := s.Access(token)
	if err != nil {
		return login.LoginSession{}, err
	}
	if !scopesOf(t.Scope).Has(ScopeAPI) {
		return login.LoginSession{}, refuse(InsufficientScope, "the access token does not open the API: it lacks the scope "+ScopeAPI)
	}
	return s.sessionOf(ctx, t)
}

// sessionOf gives the login session of a person's access token.
func (s *Service) sessionOf(ctx context.Context, t issuer.AccessToken) (login.LoginSession, error) {
	person := personOf(t.Subject)
	if person == "" || t.LoginSession == "" {
		return login.LoginSession{}, refuse(AccessDenied, "this is for people: "+t.Subject+" is none")
	}
	l, err := s.Logins.ResumeID(ctx, t.LoginSession)
	if err != nil {
		if fault.KindOf(err) == fault.Unauthenticated {
			err = badToken(err)
		}
		return login.LoginSession{}, err
	}
	if l.Person.ID != person {
		return login.LoginSession{}, badToken(fault.New(fault.Internal, "the token's person is not its login session's"))
	}
	return l, nil
}

// UserInfo gives the claims about the person of an access token (OpenID Connect
// Core section 5.3): sub, and what the scopes open.
func (s *Service) UserInfo(ctx context.Context, token secret.Text) (map[string]string, error) {
	t, err := s.Access(token)
	if err != nil {
		return nil, err
	}
	scope := scopesOf(t.Scope)
	if !scope.Has(ScopeOpenID) {
		return nil, refuse(InsufficientScope, "the access token lacks the scope "+ScopeOpenID)
	}
	l, err := s.sessionOf(ctx, t)
	if err != nil {
		return nil, err
	}
	o, err := ownerOf(l)
	if err != nil {
		return nil, err
	}
	claims, err := s.profile(ctx, o, scope)
	if err != nil {
		return nil, err
	}
	claims["sub"] = t.Subject
	return claims, nil
}

// Introspection is what is said of a token (RFC 7662 section 2.2). The zero value
// is an inactive one, of which nothing is said.
type Introspection struct {
	Active   bool
	Scope    string
	ClientID string
	Type     string // "access_token" or "refresh_token"
	Subject  string
	Audience string // of an access token
	Issuer   string
	ID       string // jti
	Issued   time.Time
	Expires  time.Time
}

// Introspect says of a token whether it counts now: to the client that holds it,
// and to resource servers. To anybody else every token is inactive.
func (s *Service) Introspect(ctx context.Context, client Client, form Form, audience string) (Introspection, error) {
	if !form.Has("token") {
		return Introspection{}, refuse(InvalidRequest, "the request has no token")
	}
	token := secret.New(form["token"])
	if strings.HasPrefix(token.Reveal(), refreshPrefix) {
		return s.introspectRefresh(ctx, client, token)
	}
	t, err := s.Access(token)
	if k := fault.KindOf(err); err != nil && (k == fault.Unavailable || k == fault.Internal) {
		return Introspection{}, err
	}
	if err != nil || t.ClientID != client.ID && !client.ResourceServer {
		return Introspection{}, nil
	}
	if t.LoginSession != "" {
		if _, err := s.sessionOf(ctx, t); err != nil {
			if k := fault.KindOf(err); k == fault.Unavailable || k == fault.Internal {
				return Introspection{}, err
			}
			return Introspection{}, nil
		}
	}
	return Introspection{Active: true, Scope: t.Scope, ClientID: t.ClientID, Type: "access_token", Subject: t.Subject, Audience: audience,
		Issuer: s.Issuer.URL(t.Level), ID: t.ID, Issued: t.Issued, Expires: t.Expires}, nil
}

func (s *Service) introspectRefresh(ctx context.Context, client Client, token secret.Text) (Introspection, error) {
	g, tokens, _, err := s.grantOf(ctx, token)
	if err != nil {
		if fault.KindOf(err) == fault.Invalid {
			err = nil
		}
		return Introspection{}, err
	}
	digest := token.Digest()
	i := slices.IndexFunc(tokens, func(t Issued) bool { return t.Refresh == digest && t.Rotated.IsZero() })
	if i < 0 || g.Client != client.ID || !s.Now().Before(g.Ends) {
		return Introspection{}, nil
	}
	if _, err := s.owner(ctx, g.LoginSession); err != nil {
		if fault.KindOf(err) == fault.Invalid {
			err = nil
		}
		return Introspection{}, err
	}
	return Introspection{Active: true, Scope: g.Scope, ClientID: g.Client, Type: "refresh_token", Subject: subjectOf(g.Person),
		Issuer: s.Issuer.URL(g.Level), Issued: tokens[i].Issued, Expires: g.Ends}, nil
}

// Revoke ends a token of the client (RFC 7009): a refresh token with all that came
// of the same approval, an access token alone. A token that is none of theirs is
// no error and changes nothing.
func (s *Service) Revoke(ctx context.Context, r TokenRequest) error {
	if !r.Form.Has("token") {
		return refuse(InvalidRequest, "the request has no token")
	}
	token := secret.New(r.Form["token"])
	if strings.HasPrefix(token.Reveal(), refreshPrefix) {
		return s.revokeRefresh(ctx, r, token)
	}
	t, err := s.Access(token)
	if err != nil || t.ClientID != r.Client.ID {
		if k := fault.KindOf(err); err != nil && (k == fault.Unavailable || k == fault.Internal) {
			return err
		}
		return nil
	}
	e := event.Event{Action: "token.revoke", Outcome: event.Done, Person: personOf(t.Subject), LoginSession: t.LoginSession, Target: t.ClientID,
		Detail: map[string]string{"access_token": t.ID, "by": r.Client.ID}}
	return s.recorded(ctx, e, func(ctx context.Context) error {
		_, err := s.Feed.Revoke(ctx, revocation.AccessToken, t.ID)
		return err
	})
}

func (s *Service) revokeRefresh(ctx context.Context, r TokenRequest, token secret.Text) error {
	g, _, handle, err := s.grantOf(ctx, token)
	if err != nil || g.Client != r.Client.ID {
		if err != nil && fault.KindOf(err) != fault.Invalid {
			return err
		}
		return nil
	}
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		g, tokens, err := s.Grants.Grant(ctx, ByHandle, handle.Digest())
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.end(ctx, r, g, tokens, "client.revoked")
	})
}

// MachineOf gives the service principal of an access token that opens our own API:
// its own, of no person and no job. Errors: Unauthenticated, Denied, Unavailable.
func (s *Service) MachineOf(ctx context.Context, token secret.Text) (identity.ServicePrincipalID, error) {
	t, err := s.Access(token)
	if err != nil {
		return "", err
	}
	if !scopesOf(t.Scope).Has(ScopeAPI) {
		return "", refuse(InsufficientScope, "the access token does not open the API: it lacks the scope "+ScopeAPI)
	}
	id, ok := strings.CutPrefix(t.Subject, principalPrefix)
	if !ok || t.LoginSession != "" {
		return "", refuse(AccessDenied, "this is for service principals: "+t.Subject+" is none")
	}
	p := identity.ServicePrincipalID(id)
	return p, s.Workloads.Standing(ctx, workload.Principal{ServicePrincipal: p})
}
