package client

import (
	"context"
	"net/http"
	"net/url"

	"carnet.dev/carnet/internal/edge/api/ssodoc"
)

const (
	providersPath = "/api/v1/identity-providers"
	keysPath      = "/api/v1/saml-keys"
	ssoPath       = "/api/v1/single-sign-on"
)

// answer is call that gives its answer. All that use it are for administrators
// only.
func answer[T any](ctx context.Context, c *Client, method, path string, in any) (out T, err error) {
	err = c.call(ctx, method, path, in, &out)
	return out, err
}

func providerPath(id string) string { return providersPath + "/" + url.PathEscape(id) }

// IdentityProviders lists the identity providers, by name.
func (c *Client) IdentityProviders(ctx context.Context) ([]ssodoc.IdentityProvider, error) {
	out, err := answer[ssodoc.IdentityProviders](ctx, c, http.MethodGet, providersPath, nil)
	return out.Providers, err
}

// IdentityProvider gives one identity provider.
func (c *Client) IdentityProvider(ctx context.Context, id string) (ssodoc.IdentityProvider, error) {
	return answer[ssodoc.IdentityProvider](ctx, c, http.MethodGet, providerPath(id), nil)
}

// AddIdentityProvider enters an identity provider.
func (c *Client) AddIdentityProvider(ctx context.Context, in ssodoc.NewIdentityProvider) (ssodoc.IdentityProvider, error) {
	return answer[ssodoc.IdentityProvider](ctx, c, http.MethodPost, providersPath, in)
}

// ChangeIdentityProvider changes what in holds.
func (c *Client) ChangeIdentityProvider(ctx context.Context, id string, in ssodoc.IdentityProviderChange) (ssodoc.IdentityProvider, error) {
	return answer[ssodoc.IdentityProvider](ctx, c, http.MethodPatch, providerPath(id), in)
}

// RemoveIdentityProvider removes an identity provider; what its people hold by
// it ends.
func (c *Client) RemoveIdentityProvider(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, providerPath(id), nil, nil)
}

// RefreshMetadata fetches an identity provider's metadata from its address.
func (c *Client) RefreshMetadata(ctx context.Context, id string) (ssodoc.IdentityProvider, error) {
	return answer[ssodoc.IdentityProvider](ctx, c, http.MethodPost, providerPath(id)+"/refresh", ssodoc.Seen{})
}

// AcceptMetadata uses pending metadata, of the revision that was seen.
func (c *Client) AcceptMetadata(ctx context.Context, id string, revision int) (ssodoc.IdentityProvider, error) {
	return answer[ssodoc.IdentityProvider](ctx, c, http.MethodPost, providerPath(id)+"/accept", ssodoc.Seen{Revision: revision})
}

// RefuseMetadata throws pending metadata away, of the revision that was seen.
func (c *Client) RefuseMetadata(ctx context.Context, id string, revision int) (ssodoc.IdentityProvider, error) {
	return answer[ssodoc.IdentityProvider](ctx, c, http.MethodPost, providerPath(id)+"/refuse", ssodoc.Seen{Revision: revision})
}

// SAMLKeys lists the server's own SAML keys.
func (c *Client) SAMLKeys(ctx context.Context) ([]ssodoc.SAMLKey, error) {
	out, err := answer[ssodoc.SAMLKeys](ctx, c, http.MethodGet, keysPath, nil)
	return out.Keys, err
}

// AddSAMLKey makes and publishes the next key of a purpose.
func (c *Client) AddSAMLKey(ctx context.Context, purpose string) (ssodoc.SAMLKey, error) {
	return answer[ssodoc.SAMLKey](ctx, c, http.MethodPost, keysPath, ssodoc.SAMLKeyRequest{Purpose: purpose})
}

// PromoteSAMLKey brings the next key of a purpose into use.
func (c *Client) PromoteSAMLKey(ctx context.Context, purpose string) (ssodoc.SAMLKey, error) {
	return answer[ssodoc.SAMLKey](ctx, c, http.MethodPost, keysPath+"/promote", ssodoc.SAMLKeyRequest{Purpose: purpose})
}

// RemoveSAMLKey removes a key that is not in use.
func (c *Client) RemoveSAMLKey(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, keysPath+"/"+url.PathEscape(id), nil, nil)
}

// SingleSignOn gives what holds for all identity providers.
func (c *Client) SingleSignOn(ctx context.Context) (ssodoc.SingleSignOn, error) {
	return answer[ssodoc.SingleSignOn](ctx, c, http.MethodGet, ssoPath, nil)
}

// ChangeSingleSignOn changes what in holds.
func (c *Client) ChangeSingleSignOn(ctx context.Context, in ssodoc.SingleSignOnChange) (ssodoc.SingleSignOn, error) {
	return answer[ssodoc.SingleSignOn](ctx, c, http.MethodPatch, ssoPath, in)
}
