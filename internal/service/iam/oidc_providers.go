package iam

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// Limits of an OpenID Connect provider (IAM API Reference,
// CreateOpenIDConnectProvider).
const (
	mostIssuer      = 255
	mostClientIDs   = 100
	mostThumbprints = 5
)

// CreateOIDCProvider adds an OpenID Connect provider. Errors:
// EntityAlreadyExists, InvalidInput, LimitExceeded.
func (d *Draft) CreateOIDCProvider(r OIDCProviderRecord) (OIDCProviderRecord, error) {
	if err := checkIssuer(r.URL, d.service.LoopbackProviders); err != nil {
		return r, err
	}
	if d.Taken(r.Ref()) {
		return r, exists("Provider with url %s already exists.", r.URL)
	}
	if err := d.quota(KindOIDCProvider, r.Account); err != nil {
		return r, err
	}
	r.Created = d.Now()
	ids := r.ClientIDs
	r.ClientIDs = nil
	for _, id := range ids {
		if !slices.Contains(r.ClientIDs, id) {
			r.ClientIDs = append(r.ClientIDs, id)
		}
	}
	return r, d.putOIDCProvider(&r)
}

// putOIDCProvider holds client ids and thumbprints to their limits.
func (d *Draft) putOIDCProvider(r *OIDCProviderRecord) error {
	if len(r.ClientIDs) > mostClientIDs {
		return limited("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", mostClientIDs)
	}
	var err error
	if r.Thumbprints, err = thumbprints(r.Thumbprints); err != nil {
		return err
	}
	d.Put(r)
	return nil
}

func thumbprints(given []string) ([]string, error) {
	if len(given) > mostThumbprints {
		return nil, input("Thumbprint list must contain fewer than %d entries.", mostThumbprints)
	}
	out := make([]string, 0, len(given))
	for _, t := range given {
		t = strings.ToLower(t)
		if len(t) != 40 || strings.Trim(t, "0123456789abcdef") != "" {
			return nil, input("Thumbprint %q: want the SHA-1 of a certificate in 40 hexadecimal digits.", t)
		}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// checkIssuer holds an issuer URL to what AWS takes: https, a host name, no
// port, no query and no fragment. Loopback addresses may have a port and no
// TLS where the configuration allows it.
func checkIssuer(text string, loopback bool) error {
	bad := func(why string) error { return input("Invalid Open ID Connect Provider URL: %s", why) }
	if len(text) > mostIssuer {
		return bad("it is longer than 255 characters.")
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" || !strings.HasPrefix(text, u.Scheme+"://") {
		return bad("it is not a URL with a host.")
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || strings.IndexByte(`"<>\^{|}`+"`", c) >= 0 {
			return bad("it holds characters that must be percent-encoded.")
		}
	}
	if issuer, ok := oidc.IssuerOf(text); ok {
		return bad("it is the address of a discovery document: the issuer is " + issuer + ".")
	}
	onLoopback := loopback && isLoopback(u.Hostname())
	switch {
	case u.Scheme != "https" && !(onLoopback && u.Scheme == "http"):
		return bad("it must begin with https://.")
	case u.User != nil:
		return bad("it must not hold a user name.")
	case strings.Contains(withoutScheme(text), "://"):
		return bad("it must not hold a second ://.")
	case strings.ContainsAny(text, "?#"):
		return bad("it must not hold a query or a fragment.")
	case strings.Contains(u.Host, ":") && !onLoopback:
		return bad("it must not hold a port.")
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// AddClientID adds a client id (audience) to a provider; one that is there
// stays. Errors: NoSuchEntity, LimitExceeded.
func (d *Draft) AddClientID(account, url, id string) error {
	return d.changeOIDCProvider(account, url, func(r *OIDCProviderRecord) {
		if !slices.Contains(r.ClientIDs, id) {
			r.ClientIDs = append(r.ClientIDs, id)
		}
	})
}

// RemoveClientID takes a client id out; one that isn't there is no error.
// Errors: NoSuchEntity.
func (d *Draft) RemoveClientID(account, url, id string) error {
	return d.changeOIDCProvider(account, url, func(r *OIDCProviderRecord) {
		r.ClientIDs = slices.DeleteFunc(r.ClientIDs, func(have string) bool { return have == id })
	})
}

// SetThumbprints replaces a provider's thumbprints. Errors: NoSuchEntity,
// InvalidInput.
func (d *Draft) SetThumbprints(account, url string, list []string) error {
	return d.changeOIDCProvider(account, url, func(r *OIDCProviderRecord) { r.Thumbprints = list })
}

// TagOIDCProvider sets tags, and UntagOIDCProvider takes them off. Errors:
// NoSuchEntity, LimitExceeded.
func (d *Draft) TagOIDCProvider(account, url string, tags map[string]string) error {
	return d.changeOIDCProvider(account, url, func(r *OIDCProviderRecord) { r.Tags = MergeTags(r.Tags, tags) })
}

// UntagOIDCProvider takes tags off. Errors: NoSuchEntity.
func (d *Draft) UntagOIDCProvider(account, url string, keys []string) error {
	return d.changeOIDCProvider(account, url, func(r *OIDCProviderRecord) { r.Tags = WithoutTags(r.Tags, keys) })
}

func (d *Draft) changeOIDCProvider(account, url string, change func(*OIDCProviderRecord)) error {
	r, ok := d.OIDCProvider(account, url)
	if !ok {
		return d.noOIDCProvider(account, url)
	}
	change(&r)
	return d.putOIDCProvider(&r)
}

// DeleteOIDCProvider takes a provider out; one that isn't there is an error.
// Errors: NoSuchEntity.
func (d *Draft) DeleteOIDCProvider(account, url string) error {
	r, ok := d.OIDCProvider(account, url)
	if !ok {
		return d.noOIDCProvider(account, url)
	}
	d.Delete(r.Ref())
	return nil
}

func (d *Draft) noOIDCProvider(account, url string) error {
	return gone("OpenIDConnect Provider not found for arn %s", OIDCProviderRecord{Account: account, URL: url}.ARN(d.partitions[account]))
}
