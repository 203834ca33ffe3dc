package client

import (
	"context"
	"net/http"
	"time"
)

// Upstream is one store behind the gateway, as the server that answers sees it.
type Upstream struct {
	Name      string             `json:"name"`
	Kind      string             `json:"kind"`
	State     string             `json:"state"`
	Cause     string             `json:"cause,omitempty"`
	InFlight  int                `json:"in_flight"`
	Endpoints []UpstreamEndpoint `json:"endpoints"`
}

// UpstreamEndpoint is one address of a store.
type UpstreamEndpoint struct {
	Endpoint string     `json:"endpoint"`
	State    string     `json:"state"`
	Failures int        `json:"failures"`
	Cause    string     `json:"cause,omitempty"`
	Answered *time.Time `json:"answered,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
}

// Upstreams says how the stores do; administrators only.
func (c *Client) Upstreams(ctx context.Context) ([]Upstream, error) {
	var out struct {
		Upstreams []Upstream `json:"upstreams"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/upstreams", nil, &out)
	return out.Upstreams, err
}
