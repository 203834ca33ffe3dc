package client

import (
	"context"
	"net/http"
	"net/url"
)

// Issuer is one issuer of the installation.
type Issuer struct {
	Level  string `json:"level"` // workspace or account
	Issuer string `json:"issuer"`
	// Registered: AWS is to trust this one; it alone issues tokens for AWS.
	Registered bool `json:"registered"`
}

// Issuers lists the issuers. It needs no sign-in.
func (c *Client) Issuers(ctx context.Context) ([]Issuer, error) {
	var out struct {
		Issuers []Issuer `json:"issuers"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/issuers", nil, &out)
	return out.Issuers, err
}

// AccountPlace says where keys of an account are used.
type AccountPlace struct {
	Local     bool                `json:"local"`  // the account is in Carnet's own authority
	Region    string              `json:"region"` // empty: the caller's choice
	Endpoints CredentialEndpoints `json:"endpoints"`
}

// AccountPlace tells the place of an account, given by its 12 digits. It needs
// no sign-in.
func (c *Client) AccountPlace(ctx context.Context, account string) (AccountPlace, error) {
	var out AccountPlace
	err := c.call(ctx, http.MethodGet, "/api/v1/accounts/"+url.PathEscape(account)+"/place", nil, &out)
	return out, err
}
