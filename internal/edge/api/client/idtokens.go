package client

import (
	"context"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/secret"
)

// IDToken is a token that names the person to one relying party.
type IDToken struct {
	Token   secret.Text
	Issuer  string
	Expires time.Time
}

// IDToken asks for a token for an audience. For AWS's it names one of the
// person's roles; for others role is empty.
func (c *Client) IDToken(ctx context.Context, audience, role string) (IDToken, error) {
	in := struct {
		Audience string `json:"audience"`
		Role     string `json:"role,omitempty"`
	}{audience, role}
	var out struct {
		Token   string    `json:"token"`
		Issuer  string    `json:"issuer"`
		Expires time.Time `json:"expires"`
	}
	if err := c.call(ctx, http.MethodPost, "/api/v1/id-tokens", in, &out); err != nil {
		return IDToken{}, err
	}
	return IDToken{Token: secret.New(out.Token), Issuer: out.Issuer, Expires: out.Expires}, nil
}
