package oauth

import (
	"context"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/workload"
)

// exchange is the grant of RFC 8693. The subject token is an access token of ours,
// or a token of another issuer that a federation policy takes. Nobody acts for
// another by it: actor tokens are refused, a delegation is named by its id.
func (s *Service) exchange(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	f := r.Form
	for _, name := range []string{"subject_token", "subject_token_type"} {
		if !f.Has(name) {
			return TokenResponse{}, refuse(InvalidRequest, "the request has no "+name)
		}
	}
	if f.Has("actor_token") || f.Has("actor_token_type") {
		return TokenResponse{}, refuse(InvalidRequest, "actor tokens are not taken").WithMend("to work as a person, give the delegation that they made")
	}
	if f.Has("resource") {
		return TokenResponse{}, refuse(InvalidTarget, "resource is not taken").WithMend("name who shall take the token as audience")
	}
	wanted := f["requested_token_type"]
	switch {
	case wanted == "" && f.Has("audience"):
		wanted = TypeIDToken
	case wanted == "":
		wanted = TypeAccessToken
	case wanted != TypeAccessToken && wanted != TypeIDToken:
		return TokenResponse{}, refuse(InvalidRequest, "the requested_token_type is none of "+TypeAccessToken+" and "+TypeIDToken)
	}
	if wanted == TypeIDToken && !f.Has("audience") {
		return TokenResponse{}, refuse(InvalidRequest, "an ID token is for somebody, and the request names no audience")
	}
	switch f["subject_token_type"] {
	case TypeAccessToken:
		return s.exchangeAccess(ctx, r, wanted)
	case TypeJWT, TypeIDToken:
		m, err := s.foreign(ctx, r, f["subject_token"])
		if err != nil {
			return TokenResponse{}, err
		}
		m.detail["grant"] = GrantExchange
		return s.exchanged(ctx, r, m, wanted)
	}
	return TokenResponse{}, refuse(InvalidRequest, "the subject_token_type is none of "+strings.Join([]string{TypeAccessToken, TypeJWT, TypeIDToken}, ", "))
}

// exchanged answers an exchange for a machine.
func (s *Service) exchanged(ctx context.Context, r TokenRequest, m machine, wanted string) (TokenResponse, error) {
	if wanted == TypeIDToken {
		id, err := s.idFor(ctx, r, m)
		if err != nil {
			return TokenResponse{}, err
		}
		return answerID(id), nil
	}
	if m.who.Person != "" {
		return TokenResponse{}, needsLogin()
	}
	out, err := s.accessAndID(ctx, r, m)
	if err != nil {
		return TokenResponse{}, err
	}
	out.IssuedTokenType = TypeAccessToken
	return out, nil
}

// answerID is the answer whose token is an ID token: RFC 8693 has every issued
// token stand in access_token; it stands in id_token too.
func answerID(m issuer.Minted) TokenResponse {
	return TokenResponse{AccessToken: m.Token, IDToken: m.Token, IssuedTokenType: TypeIDToken, TokenType: TypeNone, ExpiresIn: m.Expires.Sub(m.Issued)}
}

// exchangeAccess trades an access token of ours for an ID token: by the client it
// was given to, within what that client may have.
func (s *Service) exchangeAccess(ctx context.Context, r TokenRequest, wanted string) (TokenResponse, error) {
	if wanted != TypeIDToken {
		return TokenResponse{}, refuse(InvalidRequest, "the subject token is an access token already").WithMend("name an audience, for an ID token")
	}
	t, err := s.Access(secret.New(r.Form["subject_token"]))
	if err != nil {
		if k := fault.KindOf(err); k == fault.Unavailable || k == fault.Internal {
			return TokenResponse{}, err
		}
		return TokenResponse{}, refuse(InvalidGrant, "the subject token is no access token of ours, has expired or was revoked").WithCause(err).
			WithMend("for a token of another issuer the subject_token_type is " + TypeJWT)
	}
	if !scopesOf(t.Scope).Has(ScopeAPI) {
		return TokenResponse{}, refuse(InvalidScope, "the subject token lacks the scope "+ScopeAPI+", so nothing is made from it")
	}
	client, err := s.holder(r, t)
	if err != nil {
		return TokenResponse{}, err
	}
	detail := map[string]string{"grant": GrantExchange, "client": t.ClientID, "access_token": t.ID}
	if id, ok := strings.CutPrefix(t.Subject, principalPrefix); ok {
		m := machine{who: workload.Principal{ServicePrincipal: identity.ServicePrincipalID(id)}, client: client, ends: t.Expires, detail: detail}
		return s.exchanged(ctx, r, m, wanted)
	}
	if r.Form.Has(ParamDelegation) {
		return TokenResponse{}, refuse(InvalidRequest, "a delegation is for work of a service principal: a person who is signed in needs none")
	}
	l, err := s.sessionOf(ctx, t)
	if err != nil {
		if fault.Of(err).Code == InvalidToken {
			err = ended().WithCause(err)
		}
		return TokenResponse{}, err
	}
	if err := mayAsk(client, r.Form["audience"]); err != nil {
		return TokenResponse{}, err
	}
	id, err := s.forPerson(ctx, l, r.Form["audience"], r.Form[ParamRole], detail)
	if err != nil && strings.HasPrefix(fault.Of(err).Code, "role.") {
		err = fault.Of(err).WithCode(InvalidTarget)
	}
	if err != nil {
		return TokenResponse{}, err
	}
	return answerID(id), nil
}

// holder gives the client that an access token was given to, which must be the one
// that presents it: a token that somebody else was shown is not theirs to trade. A
// service principal without a credential presents its own.
func (s *Service) holder(r TokenRequest, t issuer.AccessToken) (Client, error) {
	if r.Client.ID == t.ClientID && r.Client.ID != "" {
		return r.Client, nil
	}
	if r.Client.ID == "" && strings.HasPrefix(t.ClientID, "spn_") {
		return Client{ID: t.ClientID, Name: "a workload"}, nil
	}
	return Client{}, refuse(InvalidGrant, "the subject token was given to another client").WithMend("the client that it was given to must present it")
}
