package api

import (
	"net/http"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

// GatewayClusterList lists clusters, by name.
type GatewayClusterList struct {
	Clusters []GatewayCluster `json:"clusters"`
}

// GatewayCluster is where an engine calls from.
type GatewayCluster struct {
	Name         string   `json:"name"`
	Networks     []string `json:"networks"`
	Certificates []string `json:"certificates"`
}

// PrefixGrantList lists prefix grants, by place.
type PrefixGrantList struct {
	PrefixGrants []PrefixGrant `json:"prefix_grants"`
}

// PrefixGrant says which role serves a place.
type PrefixGrant struct {
	ID    string `json:"id"`
	Place string `json:"place"` // s3://bucket/prefix
	Role  string `json:"role"`
}

// NewPrefixGrant is a grant to be.
type NewPrefixGrant struct {
	Place string `json:"place"`
	Role  string `json:"role"`
}

func (a api) gatewayClusters(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, GatewayClustersOf(a.GatewayClusters.List()))
}

func (a api) putGatewayCluster(w http.ResponseWriter, r *http.Request) error {
	var in GatewayCluster
	if err := read(r, &in); err != nil {
		return err
	}
	b, err := cluster.ParseBinding(in.Networks, in.Certificates)
	if err != nil {
		return err
	}
	c, err := a.GatewayClusters.Place(r.Context(), in.Name, b)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, GatewayClusterOf(c))
}

func (a api) removeGatewayCluster(w http.ResponseWriter, r *http.Request) error {
	c, err := a.GatewayClusters.Find(r.PathValue("name"))
	if err != nil {
		return err
	}
	return done(w, a.GatewayClusters.Remove(r.Context(), c.ID))
}

func (a api) prefixGrants(w http.ResponseWriter, r *http.Request) error {
	all, err := a.PrefixGrants.ListGrants(r.Context())
	if err != nil {
		return err
	}
	out := PrefixGrantList{PrefixGrants: []PrefixGrant{}}
	for _, g := range all {
		out.PrefixGrants = append(out.PrefixGrants, PrefixGrantOf(g))
	}
	return answer(w, http.StatusOK, out)
}

func (a api) addPrefixGrant(w http.ResponseWriter, r *http.Request) error {
	var in NewPrefixGrant
	if err := read(r, &in); err != nil {
		return err
	}
	role, err := arn.ParseRole(in.Role)
	if err != nil {
		return err
	}
	g, err := a.PrefixGrants.AddGrant(r.Context(), in.Place, role)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, PrefixGrantOf(g))
}

func (a api) removePrefixGrant(w http.ResponseWriter, r *http.Request) error {
	return done(w, a.PrefixGrants.RemoveGrant(r.Context(), identity.PrefixGrantID(r.PathValue("id"))))
}

// GatewayClusterOf writes a cluster as the API shows it.
func GatewayClusterOf(c cluster.Cluster) GatewayCluster {
	d := GatewayCluster{Name: c.Name}
	d.Networks, d.Certificates = bindingTexts(c.Binding)
	return d
}

// GatewayClustersOf writes those that call the gateway from somewhere.
func GatewayClustersOf(all []cluster.Cluster) GatewayClusterList {
	out := GatewayClusterList{Clusters: []GatewayCluster{}}
	for _, c := range all {
		if !c.Binding.IsZero() {
			out.Clusters = append(out.Clusters, GatewayClusterOf(c))
		}
	}
	return out
}

// PrefixGrantOf writes a grant as the API shows it.
func PrefixGrantOf(g gatewaykeys.Grant) PrefixGrant {
	return PrefixGrant{ID: string(g.ID), Place: g.Place(), Role: g.Role.String()}
}
