package client

import (
	"context"
	"net/http"
	"net/url"
)

// AdministratorRole is carnet-admin of one local account.
type AdministratorRole struct {
	ARN         string `json:"arn"`
	Account     string `json:"account"`
	AccountName string `json:"account_name"`
}

// AdministratorRoles lists carnet-admin of each local account; administrators
// only.
func (c *Client) AdministratorRoles(ctx context.Context) ([]AdministratorRole, error) {
	var out struct {
		Roles []AdministratorRole `json:"roles"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/administrator-roles", nil, &out)
	return out.Roles, err
}

// AdministratorCredentials gives keys of carnet-admin in a local account, named
// by number or name; administrators only.
func (c *Client) AdministratorCredentials(ctx context.Context, account string) (Credentials, error) {
	var out credentialsWire
	path := "/api/v1/accounts/" + url.PathEscape(account) + "/administrator-credentials"
	if err := c.call(ctx, http.MethodPost, path, struct{}{}, &out); err != nil {
		return Credentials{}, err
	}
	return out.value(), nil
}
