package api

import (
	"context"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
)

// IDTokens mints ID tokens for a person who is signed in.
type IDTokens interface {
	// ForPerson gives a token for an audience. For AWS's it names one of the
	// person's roles, by ARN or unique name; for others role is empty.
	ForPerson(ctx context.Context, s login.LoginSession, audience, role string) (issuer.Minted, error)
}

// IDTokenRequest says who shall take the token.
type IDTokenRequest struct {
	Audience string `json:"audience"`
	Role     string `json:"role"`
}

// IDToken is a token, in clear.
type IDToken struct {
	Token   string    `json:"token"`
	Issuer  string    `json:"issuer"`
	Expires time.Time `json:"expires"`
}

func (a api) idTokenRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{row(http.MethodPost, "id-tokens", httpd.Person, maxSmall, a.idToken)}
}

func (a api) idToken(w http.ResponseWriter, r *http.Request) error {
	if !httpd.CallerOf(r).AccessToken.IsZero() { // here its client is not held to the audiences that it was given
		return fault.Of(httpd.ByThemselves("An ID token from here")).
			WithMend("have the program that holds the access token trade it at the issuer's token endpoint (RFC 8693), for an audience that it was given")
	}
	var in IDTokenRequest
	if err := read(r, &in); err != nil {
		return err
	}
	if a.IDTokens == nil {
		return fault.Coded(fault.Unsupported, "id-token.none", "This server issues no ID tokens")
	}
	if in.Audience == "" {
		return fault.Coded(fault.Invalid, "id-token.audience", "The request names no audience").
			WithMend("give who shall take the token in \"audience\", such as " + issuer.AudienceAWS)
	}
	m, err := a.IDTokens.ForPerson(r.Context(), httpd.CallerOf(r).Session, in.Audience, in.Role)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, IDToken{Token: m.Token.Reveal(), Issuer: m.Issuer, Expires: seconds(m.Expires)})
}
