package api

import (
	"context"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/administrator"
	"carnet.dev/carnet/internal/service/login"
)

// Administration issues the keys of carnet-admin.
type Administration interface {
	Roles(l login.LoginSession) []administrator.Role
	Credentials(ctx context.Context, l login.LoginSession, account string, lifetime time.Duration) (credential.RoleSession, error)
}

// AdministratorRoles lists carnet-admin of each local account.
type AdministratorRoles struct {
	Roles []AdministratorRole `json:"roles"`
}

// AdministratorRole is carnet-admin of one local account.
type AdministratorRole struct {
	ARN         string `json:"arn"`
	Account     string `json:"account"`
	AccountName string `json:"account_name"`
}

// AdministratorCredentialsRequest says how long the keys shall live.
type AdministratorCredentialsRequest struct {
	DurationSeconds int `json:"duration_seconds"`
}

func (a api) administratorRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{
		row(http.MethodGet, "administrator-roles", httpd.Administrator, 0, a.administratorRoles),
		row(http.MethodPost, "accounts/{account}/administrator-credentials", httpd.Administrator, maxSmall, a.administratorCredentials),
	}
}

func (a api) administratorRoles(w http.ResponseWriter, r *http.Request) error {
	out := AdministratorRoles{Roles: []AdministratorRole{}}
	for _, x := range a.Administration.Roles(httpd.CallerOf(r).Session) {
		out.Roles = append(out.Roles, AdministratorRole{ARN: x.ARN.String(), Account: x.Account.ID, AccountName: x.Account.Name})
	}
	return answer(w, http.StatusOK, out)
}

func (a api) administratorCredentials(w http.ResponseWriter, r *http.Request) error {
	var in AdministratorCredentialsRequest
	if err := read(r, &in); err != nil {
		return err
	}
	lifetime := time.Duration(in.DurationSeconds) * time.Second
	if in.DurationSeconds == 0 {
		lifetime = administrator.Lifetime
	}
	if in.DurationSeconds < 0 || lifetime > administrator.Lifetime || lifetime < administrator.LeastLifetime {
		return fault.Coded(fault.Invalid, "administrator.duration", "duration_seconds must be 900 to 3600").WithMend("leave it out for an hour")
	}
	rs, err := a.Administration.Credentials(r.Context(), httpd.CallerOf(r).Session, r.PathValue("account"), lifetime)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, credentialsDocument(rs, a.Home))
}
