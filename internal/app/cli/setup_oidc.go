package cli

import (
	"context"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
)

// readOIDC fills in what the server knows: its registered issuer, and whether
// the accounts are its own.
func (r *run) readOIDC(ctx context.Context, f *setupFlags) error {
	for _, s := range f.subjects {
		f.oidc.Subjects = append(f.oidc.Subjects, subject(s))
	}
	if f.oidc.Issuer != "" && (f.oidc.Local || f.oidc.ForAWS()) {
		return nil
	}
	api, err := r.stranger()
	switch {
	case err != nil:
		return err
	case api == nil && f.oidc.Issuer != "":
		return nil
	case api == nil:
		return usage("which Carnet shall be trusted? Give --server or --issuer, or sign in first")
	case f.oidc.Issuer == "":
		if f.oidc.Issuer, err = registeredIssuer(ctx, api); err != nil {
			return err
		}
	}
	for _, id := range f.aws.Accounts {
		place, err := api.AccountPlace(ctx, id)
		if err != nil {
			return err
		}
		if f.oidc.Local = place.Local; !place.Local {
			return nil
		}
	}
	return nil
}

// registeredIssuer asks a server which of its issuers AWS is to trust.
func registeredIssuer(ctx context.Context, api *client.Client) (string, error) {
	all, err := api.Issuers(ctx)
	if err != nil {
		return "", err
	}
	for _, i := range all {
		if i.Registered {
			return i.Issuer, nil
		}
	}
	return "", fault.New(fault.Unsupported, api.Server()+" has no issuer").WithMend("update the server, or give --issuer")
}

// stranger gives a client without a sign-in for the server that this run names,
// or else the one that its profile is signed in at; nil where there is neither.
func (r *run) stranger() (*client.Client, error) {
	server, err := r.serverAddress()
	if err != nil {
		return nil, err
	}
	ca := r.ca
	if server == "" {
		s, err := r.signedIn()
		if err != nil {
			return nil, nil //nolint:nilerr // the caller says what is missing
		}
		defer s.close()
		server = s.profile.Server
		if ca == "" {
			ca = s.profile.CA
		}
	}
	return r.client(server, secret.Text{}, ca)
}

// subject gives a bare id the kind that stands before it in a token's sub.
func subject(s string) string {
	for id, kind := range map[string]string{"spn_": "sp:", "dlg_": "job:", "psn_": "user:"} {
		if strings.HasPrefix(s, id) {
			return kind + s
		}
	}
	return s
}
