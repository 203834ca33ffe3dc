package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

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
	State                string     `json:"state"` // active, revoked, ended
	Created              time.Time  `json:"created"`
	Expires              time.Time  `json:"expires"`
	Revoked              *time.Time `json:"revoked"`
}

// NewDelegation is what a person says when they delegate. Role is an ARN or a
// name, ServicePrincipal or Cluster an id or a name; LifetimeSeconds 0 is 30 days.
type NewDelegation struct {
	Role             string `json:"role"`
	ServicePrincipal string `json:"service_principal"`
	Cluster          string `json:"cluster"`
	Label            string `json:"label"`
	LifetimeSeconds  int    `json:"lifetime_seconds"`
}

// Delegations lists the person's delegations, ended ones too.
func (c *Client) Delegations(ctx context.Context) ([]Delegation, error) {
	var out struct {
		Delegations []Delegation `json:"delegations"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/delegations", nil, &out)
	return out.Delegations, err
}

// Delegate makes one.
func (c *Client) Delegate(ctx context.Context, n NewDelegation) (Delegation, error) {
	var out Delegation
	err := c.call(ctx, http.MethodPost, "/api/v1/delegations", n, &out)
	return out, err
}

// EndDelegation revokes one.
func (c *Client) EndDelegation(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/api/v1/delegations/"+url.PathEscape(id), nil, nil)
}
