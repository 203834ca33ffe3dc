package oauth

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/workload"
)

// Workloads says who machines are and what they may have.
type Workloads interface {
	// Resolve says whom a token of another issuer proves.
	Resolve(ctx context.Context, f workload.Foreign) (workload.Proven, error)
	// Standing asks whether a principal may act, as things are now.
	Standing(ctx context.Context, who workload.Principal) error
	// Token gives an ID token, with its record.
	Token(ctx context.Context, who workload.Principal, a workload.Ask) (issuer.Minted, error)
}

// RoleTokens gives a person's tokens for AWS, within what their sign-in entitles
// them to (design 4.5).
type RoleTokens interface {
	// IDToken's on is where on a node it was asked for; here nowhere.
	IDToken(ctx context.Context, id identity.LoginSessionID, role arn.Role, on identity.OnNode) (issuer.Minted, error)
}

// The token types of RFC 8693, section 3.
const (
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// TypeNone is the token_type of an answer whose token opens nothing as a bearer
// token (RFC 8693, section 2.2.1).
const TypeNone = "N_A"

// Parameters of our own, beside those of the RFCs: the role that an ID token for
// AWS is good for, and the delegation that a job works under.
const (
	ParamRole       = "role"
	ParamDelegation = "delegation"
)

// machine is a service principal, or a person by a federation policy, who was
// proven by this request.
type machine struct {
	who workload.Principal
	// client is whose access token it will be.
	client Client
	// ends is when the proof ends; zero: it does not.
	ends   time.Time
	detail map[string]string
}

// clientCredentials is the grant of RFC 6749, section 4.4: for a service principal
// by itself, and for a client that an administrator gave one.
func (s *Service) clientCredentials(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	if r.Client.ServicePrincipal == "" {
		return TokenResponse{}, refuse(UnauthorizedClient, "the client "+r.Client.Name+" acts for people alone").
			WithMend("have an administrator give it a service principal")
	}
	m := machine{who: workload.Principal{ServicePrincipal: r.Client.ServicePrincipal}, client: r.Client, detail: map[string]string{"grant": GrantClient, "client": r.Client.ID}}
	return s.accessAndID(ctx, r, m)
}

// bearerAssertion is the grant of RFC 7523, section 2.1: a token of another issuer
// instead of a credential.
func (s *Service) bearerAssertion(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	if !r.Form.Has("assertion") {
		return TokenResponse{}, refuse(InvalidRequest, "the request has no assertion")
	}
	m, err := s.foreign(ctx, r, r.Form["assertion"])
	if err != nil {
		return TokenResponse{}, err
	}
	if m.who.Person != "" {
		return TokenResponse{}, needsLogin()
	}
	m.detail["grant"] = GrantJWT
	return s.accessAndID(ctx, r, m)
}

// needsLogin says why a person who came by a federation policy opens no API.
func needsLogin() error {
	return refuse(InvalidRequest, "a person who is proven by a federation policy has no login session, and access tokens rest on one").
		WithMend("ask for an ID token: token exchange with an audience")
}

// foreign resolves a token of another issuer. A client that proved itself, or said
// who it is, must be the one that the token proves.
func (s *Service) foreign(ctx context.Context, r TokenRequest, token string) (machine, error) {
	f := workload.Foreign{Token: secret.New(token), ServicePrincipal: r.Client.ServicePrincipal}
	if f.ServicePrincipal == "" && strings.HasPrefix(r.Client.ID, "spn_") {
		f.ServicePrincipal = identity.ServicePrincipalID(r.Client.ID)
	}
	if f.ServicePrincipal == "" && r.Client.ID != "" {
		return machine{}, refuse(UnauthorizedClient, "the client "+r.Client.Name+" acts for people alone: a token of another issuer proves somebody else")
	}
	p, err := s.Workloads.Resolve(ctx, f)
	if err != nil {
		return machine{}, err
	}
	m := machine{who: p.Principal, client: r.Client, ends: p.Claims.Expires, detail: p.Detail()}
	if m.client.ServicePrincipal == "" { // nothing but the token was proven
		m.client = Client{ID: string(p.ServicePrincipal), Name: "a workload", Scopes: []string{ScopeAPI}}
	}
	return m, nil
}

// accessAndID answers with an access token, and with an ID token beside it where
// an audience is named.
func (s *Service) accessAndID(ctx context.Context, r TokenRequest, m machine) (TokenResponse, error) {
	if !r.Form.Has("audience") && (r.Form.Has(ParamRole) || r.Form.Has(ParamDelegation)) {
		return TokenResponse{}, refuse(InvalidRequest, "role and delegation are for an ID token, and the request names no audience").
			WithMend("give audience=" + issuer.AudienceAWS)
	}
	var id issuer.Minted
	if r.Form.Has("audience") {
		var err error
		if id, err = s.idFor(ctx, r, m); err != nil {
			return TokenResponse{}, err
		}
	}
	out, err := s.accessFor(ctx, r, m)
	if err != nil {
		return TokenResponse{}, err
	}
	out.IDToken = id.Token
	return out, nil
}

// idFor gives a machine its ID token: as itself, or as a job under a delegation.
func (s *Service) idFor(ctx context.Context, r TokenRequest, m machine) (issuer.Minted, error) {
	audience := r.Form["audience"]
	if err := mayAsk(m.client, audience); err != nil {
		return issuer.Minted{}, err
	}
	if r.Form.Has(ParamDelegation) {
		m.who.Delegation = identity.DelegationID(r.Form[ParamDelegation])
		if m.who.ServicePrincipal == "" {
			return issuer.Minted{}, refuse(InvalidGrant, "a delegation is used by the service principal that it names")
		}
	}
	detail := maps.Clone(m.detail)
	detail["source"] = r.Source.String()
	return s.Workloads.Token(ctx, m.who, workload.Ask{Audience: audience, Role: r.Form[ParamRole], NotAfter: m.ends, Detail: detail})
}

// mayAsk holds a registered client to the audiences that it was given. A service
// principal by itself is held to those of the installation.
func mayAsk(c Client, audience string) error {
	if c.ID == "" || strings.HasPrefix(c.ID, "spn_") || slices.Contains(c.Audiences, audience) {
		return nil
	}
	return refuse(InvalidTarget, "the client "+c.Name+" may not have tokens made for this audience").
		WithMend("have an administrator allow it: carnet client set --audience")
}

// accessFor gives a service principal an access token, with its record.
func (s *Service) accessFor(ctx context.Context, r TokenRequest, m machine) (TokenResponse, error) {
	asked := r.Form["scope"]
	switch may := m.client.Scopes; {
	case asked != "":
	case slices.Contains(may, ScopeAPI):
		asked = ScopeAPI
	default: // a token that opens nothing, beside the ID token that is meant
		asked = strings.Join(may, " ")
	}
	scope, err := m.client.within(asked)
	if err != nil {
		return TokenResponse{}, err
	}
	// What is revoked from here on refuses the token.
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return TokenResponse{}, err
	}
	if err := s.Workloads.Standing(ctx, m.who); err != nil {
		return TokenResponse{}, err
	}
	life := AccessLifetime
	if !m.ends.IsZero() {
		life = min(life, workload.Left(m.ends, s.Now()))
	}
	if life < time.Second {
		return TokenResponse{}, refuse(InvalidGrant, "the proof has ended").WithMend("present a fresh one")
	}
	t, err := s.Issuer.MintAccess(issuer.AccessToken{Level: r.Level, Subject: m.who.Subject(), ClientID: m.client.ID, Scope: scope.String(), Epoch: epoch, Lifetime: life})
	if err != nil {
		return TokenResponse{}, err
	}
	detail := maps.Clone(m.detail)
	detail["scope"], detail["access_token"] = scope.String(), t.ID
	e := event.Event{Action: "token.issue", Outcome: event.Done, Target: m.who.Subject(), Source: r.Source.String(), Detail: detail}
	if err := s.recorded(ctx, e, func(context.Context) error { return nil }); err != nil {
		return TokenResponse{}, err
	}
	return TokenResponse{AccessToken: t.Token, TokenType: "Bearer", Scope: scope.String(), ExpiresIn: t.Expires.Sub(t.Issued)}, nil
}

// ForPerson gives a person an ID token in their login session: for AWS one good
// for one of their roles, for another audience one that says who they are.
func (s *Service) ForPerson(ctx context.Context, l login.LoginSession, audience, role string) (issuer.Minted, error) {
	return s.forPerson(ctx, l, audience, role, nil)
}

func (s *Service) forPerson(ctx context.Context, l login.LoginSession, audience, role string, detail map[string]string) (issuer.Minted, error) {
	o, err := ownerOf(l)
	switch {
	case err != nil:
		return issuer.Minted{}, err
	case audience == issuer.AudienceAWS && s.RoleTokens == nil:
		return issuer.Minted{}, refuse(InvalidTarget, "this installation makes no tokens for AWS for people")
	case audience == issuer.AudienceAWS:
		held, err := l.Role(role)
		if err != nil {
			return issuer.Minted{}, err
		}
		return s.RoleTokens.IDToken(ctx, l.ID, held.Role, identity.OnNode{})
	case role != "":
		return issuer.Minted{}, refuse(InvalidRequest, "only a token for "+issuer.AudienceAWS+" names a role").WithMend("leave role out, or ask for that audience")
	}
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return issuer.Minted{}, err
	}
	life := min(issuer.Standard, workload.Left(o.Ends, s.Now()))
	if life < time.Second {
		return issuer.Minted{}, ended()
	}
	m, err := s.Issuer.MintID(issuer.IDToken{Subject: o.Subject(), Audience: audience, LoginSession: o.LoginSession, Epoch: epoch,
		AuthTime: o.AuthTime, ACR: o.ACR, Profile: map[string]string{"name": o.DisplayName, "preferred_username": o.UserName}, Lifetime: life})
	if err != nil {
		if f := fault.Of(err); f.Code == issuer.CodeAudience {
			err = f.WithCode(InvalidTarget)
		}
		return issuer.Minted{}, err
	}
	e := event.Event{Action: "id-token", Outcome: event.Done, Person: o.Person, IdP: l.Person.IdP, UserName: o.UserName, LoginSession: o.LoginSession, Target: o.Subject(),
		Detail: map[string]string{"audience": audience, "token": m.ID, "issuer": m.Issuer}}
	maps.Copy(e.Detail, detail)
	if err := s.recorded(ctx, e, func(context.Context) error { return nil }); err != nil {
		return issuer.Minted{}, err
	}
	return m, nil
}
