package api

import (
	"context"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/workload"
)

// Delegations are those of a person who is signed in.
type Delegations interface {
	Delegate(ctx context.Context, l login.LoginSession, n workload.NewDelegation) (workload.Listed, error)
	Own(ctx context.Context, l login.LoginSession) ([]workload.Listed, error)
	EndOwn(ctx context.Context, l login.LoginSession, id identity.DelegationID) error
}

// DelegationList lists a person's delegations, ended ones too.
type DelegationList struct {
	Delegations []Delegation `json:"delegations"`
}

// Delegation lets a service principal work as the person in one role, or the person
// be attached to a cluster in it.
type Delegation struct {
	ID                   string     `json:"id"`
	Role                 string     `json:"role"`
	ServicePrincipal     string     `json:"service_principal"`
	ServicePrincipalName string     `json:"service_principal_name"`
	Cluster              string     `json:"cluster"`
	ClusterName          string     `json:"cluster_name"`
	Label                string     `json:"label"`
	State                string     `json:"state"`
	Created              time.Time  `json:"created"`
	Expires              time.Time  `json:"expires"`
	Revoked              *time.Time `json:"revoked"`
}

// NewDelegation is what a person says when they delegate.
type NewDelegation struct {
	Role             string `json:"role"`
	ServicePrincipal string `json:"service_principal"`
	Cluster          string `json:"cluster"`
	Label            string `json:"label"`
	LifetimeSeconds  int    `json:"lifetime_seconds"`
}

func (a api) delegationRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{
		row(http.MethodGet, "delegations", httpd.Person, 0, a.delegations),
		row(http.MethodPost, "delegations", httpd.Person, maxSmall, a.delegate),
		row(http.MethodDelete, "delegations/{id}", httpd.Person, maxSmall, a.endDelegation),
	}
}

func (a api) delegations(w http.ResponseWriter, r *http.Request) error {
	all, err := a.Delegations.Own(r.Context(), httpd.CallerOf(r).Session)
	if err != nil {
		return err
	}
	out := DelegationList{Delegations: []Delegation{}}
	for _, d := range all {
		out.Delegations = append(out.Delegations, delegationDocument(d))
	}
	return answer(w, http.StatusOK, out)
}

func (a api) delegate(w http.ResponseWriter, r *http.Request) error {
	if !httpd.CallerOf(r).AccessToken.IsZero() { // it would outlive the token, and the sign-in that the person approved it for
		return httpd.ByThemselves("Delegating")
	}
	var in NewDelegation
	if err := read(r, &in); err != nil {
		return err
	}
	if most := int(workload.LongestDelegation / time.Second); in.LifetimeSeconds < 0 || in.LifetimeSeconds > most {
		return fault.Coded(fault.Invalid, "delegation.lifetime", "lifetime_seconds must be 60 to 31536000").WithMend("leave it out for 30 days")
	}
	d, err := a.Delegations.Delegate(r.Context(), httpd.CallerOf(r).Session, workload.NewDelegation{Role: in.Role, ServicePrincipal: in.ServicePrincipal, Cluster: in.Cluster,
		Label: in.Label, Lifetime: time.Duration(in.LifetimeSeconds) * time.Second})
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, delegationDocument(d))
}

func (a api) endDelegation(w http.ResponseWriter, r *http.Request) error {
	if err := a.Delegations.EndOwn(r.Context(), httpd.CallerOf(r).Session, identity.DelegationID(r.PathValue("id"))); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func delegationDocument(d workload.Listed) Delegation {
	out := Delegation{ID: string(d.ID), Role: d.Role.String(), ServicePrincipal: string(d.ServicePrincipal), ServicePrincipalName: d.MachineName, Cluster: string(d.Cluster), ClusterName: d.ClusterName,
		Label: d.Label, State: string(d.State), Created: seconds(d.Created), Expires: seconds(d.Expires)}
	if !d.Revoked.IsZero() {
		at := seconds(d.Revoked)
		out.Revoked = &at
	}
	return out
}
