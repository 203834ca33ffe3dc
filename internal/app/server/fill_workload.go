package server

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/oauth"
)

// EnsureWorkload gives the id of the service principal of a name, which holds a
// role and proves itself by a key: for development, where it is made at the
// first start. What is there stays.
func (srv *Server) EnsureWorkload(ctx context.Context, name string, role arn.Role, key crypto.PublicKey) (identity.ServicePrincipalID, error) {
	id, err := srv.ensurePrincipal(ctx, name)
	if err != nil {
		return "", err
	}
	if err := srv.directory.MapRole(ctx, string(id), role, directory.FromAdmin, ""); err != nil {
		return "", err
	}
	want, err := oidc.Thumbprint(key)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(srv.oauth.CredentialsOf(string(id)), func(c oauth.Credential) bool { return thumbprint(c.JWK) == want }) {
		return id, nil
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	_, err = srv.oauth.AddKey(ctx, string(id), "carnet dev", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), time.Time{})
	return id, err
}

// ForgetIssuers takes the providers out of the local accounts that stand for
// this installation's issuers under another port than now: for development,
// where ports change from start to start.
func (srv *Server) ForgetIssuers(ctx context.Context) error {
	now, err := srv.iam.Current()
	if err != nil {
		return err
	}
	var stale []iam.OIDCProviderRecord
	for _, account := range localNumbers(srv.config) {
		for _, r := range now.View().OIDCProviders(account) {
			u, err := url.Parse(r.URL)
			if err == nil && u.Scheme == "http" && u.Hostname() == "127.0.0.1" && strings.HasPrefix(u.Path+"/", "/oidc/") && r.URL != srv.RegisteredIssuer() {
				stale = append(stale, r)
			}
		}
	}
	if len(stale) == 0 {
		return nil
	}
	return srv.iam.Edit(ctx, event.Event{Action: "authority.forget-issuers"}, func(d *iam.Draft) error {
		for _, r := range stale {
			if err := d.DeleteOIDCProvider(r.Account, r.URL); err != nil {
				return err
			}
		}
		return nil
	})
}

// ensurePrincipal finds or makes a service principal.
func (s *state) ensurePrincipal(ctx context.Context, name string) (id identity.ServicePrincipalID, err error) {
	all, err := s.directory.ServicePrincipals.ServicePrincipals(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if p.Name == name {
			return p.ID, nil
		}
	}
	return id, s.db.Atomic(ctx, func(ctx context.Context) error {
		p, err := s.directory.NewServicePrincipal(ctx, name, "")
		if err != nil {
			return err
		}
		id = p.ID
		return s.trail.Record(ctx, event.Event{Action: "service-principal.add", Target: string(p.ID), Detail: map[string]string{"name": name}})
	})
}

// thumbprint names the key of a JWK; empty for none.
func thumbprint(jwk []byte) string {
	if len(jwk) == 0 {
		return ""
	}
	set, err := oidc.ParseKeySet(append(append([]byte(`{"keys":[`), jwk...), "]}"...))
	if err != nil || set.Len() != 1 {
		return ""
	}
	return set.Published()[0].Thumbprint
}
