package api

import (
	"net/http"
	"time"

	"carnet.dev/carnet/internal/edge/httpd"
)

// Upstreams lists the stores behind the gateway, as this server sees them.
type Upstreams struct {
	Upstreams []Upstream `json:"upstreams"`
}

// Upstream is one store: up, away or probing, or waiting for what is said.
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

func (a api) upstreamRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{row(http.MethodGet, "upstreams", httpd.Administrator, 0, a.upstreams)}
}

func (a api) upstreams(w http.ResponseWriter, _ *http.Request) error {
	out := Upstreams{Upstreams: []Upstream{}}
	if a.Stores != nil {
		out.Upstreams = append(out.Upstreams, a.Stores()...)
	}
	return answer(w, http.StatusOK, out)
}
