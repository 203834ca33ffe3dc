package server

import (
	"context"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
)

// clusterNames finds who is meant by an id or a name.
type clusterNames struct{ *state }

var _ api.Names = clusterNames{}

// PersonID finds a person.
func (n clusterNames) PersonID(ctx context.Context, text string) (identity.PersonID, error) {
	p, err := n.findPerson(ctx, text)
	return p.ID, err
}

// GroupID finds a group.
func (n clusterNames) GroupID(ctx context.Context, text string) (identity.GroupID, error) {
	found, err := n.findSubject(ctx, text)
	if err == nil && found.Kind != "group" {
		err = fault.New(fault.Invalid, "\""+fault.Clip(text)+"\" is a "+found.Kind+": a group is wanted here")
	}
	return identity.GroupID(found.ID), err
}

// ServicePrincipalID finds a service principal.
func (n clusterNames) ServicePrincipalID(ctx context.Context, text string) (identity.ServicePrincipalID, error) {
	p, err := n.findMachine(ctx, text)
	return p.ID, err
}

// ProviderID finds an identity provider.
func (n clusterNames) ProviderID(text string) (identity.IdPID, error) {
	p, err := n.findIdP(text)
	return p.ID, err
}

// NameOf gives the name behind an id; empty where it is gone.
func (n clusterNames) NameOf(ctx context.Context, id string) (string, error) {
	if strings.HasPrefix(id, "idp_") {
		for _, p := range n.federation.List() {
			if string(p.ID) == id {
				return p.Name, nil
			}
		}
		return "", nil
	}
	found, err := n.byID(ctx, id)
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0].Name, nil
}
