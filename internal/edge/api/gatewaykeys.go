package api

import (
	"context"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

// GatewayKeys are S3 keys without a session token.
type GatewayKeys interface {
	Make(ctx context.Context, n gatewaykeys.NewKey) (gatewaykeys.Made, error)
	Roll(ctx context.Context, id identity.GatewayKeyID, overlap time.Duration) (gatewaykeys.Made, error)
	Revoke(ctx context.Context, id identity.GatewayKeyID) error
	List(ctx context.Context) ([]gatewaykeys.Listed, error)
	TrinoRules(ctx context.Context, cluster string, roll, overlap time.Duration) (gatewaykeys.TrinoRules, error)
}

// GatewayClusters are clusters, as far as gateway keys go: where engines call from.
type GatewayClusters interface {
	// Place adds a cluster, or changes where the one of that name calls from.
	Place(ctx context.Context, name string, b cluster.Binding) (cluster.Cluster, error)
	Find(text string) (cluster.Cluster, error)
	Remove(ctx context.Context, id identity.ClusterID) error
	List() []cluster.Cluster
}

// PrefixGrants say which role serves which part of a bucket.
type PrefixGrants interface {
	AddGrant(ctx context.Context, place string, role arn.Role) (gatewaykeys.Grant, error)
	RemoveGrant(ctx context.Context, id identity.PrefixGrantID) error
	ListGrants(ctx context.Context) ([]gatewaykeys.Grant, error)
}

// GatewayKeyList lists gateway keys, by time of making.
type GatewayKeyList struct {
	GatewayKeys []GatewayKey `json:"gateway_keys"`
}

// GatewayKey is one gateway key, without its secret.
type GatewayKey struct {
	ID           string     `json:"id"`
	State        string     `json:"state"` // active, revoked or ended
	AccessKeyID  string     `json:"access_key_id"`
	Owner        string     `json:"owner"` // login-session, delegation or service-principal
	OwnerID      string     `json:"owner_id"`
	Person       string     `json:"person"` // psn_…; empty for a service principal's own
	Name         string     `json:"name"`   // of the person, or of the service principal
	Cluster      string     `json:"cluster"`
	Networks     []string   `json:"networks"`
	Certificates []string   `json:"certificates"`
	Roles        []string   `json:"roles"`
	DefaultRole  string     `json:"default_role"`
	Delivered    bool       `json:"delivered"`
	Follows      string     `json:"follows"`
	RolledTo     string     `json:"rolled_to"`
	Made         time.Time  `json:"made"`
	Expires      time.Time  `json:"expires"`
	FirstUsed    *time.Time `json:"first_used"`
	Revoked      *time.Time `json:"revoked"`
}

// NewGatewayKey is what a gateway key shall be. One of the owners is set.
type NewGatewayKey struct {
	LoginSession     string   `json:"login_session"`
	Delegation       string   `json:"delegation"`
	ServicePrincipal string   `json:"service_principal"`
	Cluster          string   `json:"cluster"`
	Networks         []string `json:"networks"`
	Certificates     []string `json:"certificates"`
	Roles            []string `json:"roles"`
	DefaultRole      string   `json:"default_role"`
	LifetimeSeconds  int      `json:"lifetime_seconds"`
}

// MadeGatewayKey is a new key with its secret, which is given this once.
type MadeGatewayKey struct {
	GatewayKey      GatewayKey `json:"gateway_key"`
	SecretAccessKey string     `json:"secret_access_key"`
	Endpoint        string     `json:"endpoint"`
	Region          string     `json:"region"`
}

// GatewayKeyRoll says how long the old key lives on; absent: an hour.
type GatewayKeyRoll struct {
	OverlapSeconds *int `json:"overlap_seconds"`
}

// TrinoMappingRequest says how old keys may get, and how long rolled ones live on;
// absent: eight hours, and one.
type TrinoMappingRequest struct {
	RollSeconds    int  `json:"roll_seconds"`
	OverlapSeconds *int `json:"overlap_seconds"`
}

// TrinoMapping is the document that Trino reads, and notes on who has no rule.
type TrinoMapping struct {
	Mappings []TrinoRule `json:"mappings"`
	Notes    []string    `json:"notes"`
}

// TrinoRule is one user's.
type TrinoRule struct {
	User      string `json:"user"`
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
}

func (a api) gatewayKeyRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{
		row(http.MethodGet, "gateway-keys", httpd.Administrator, 0, a.gatewayKeys),
		row(http.MethodPost, "gateway-keys", httpd.Administrator, maxSmall, a.makeGatewayKey),
		row(http.MethodPost, "gateway-keys/{id}/roll", httpd.Administrator, maxSmall, a.rollGatewayKey),
		row(http.MethodDelete, "gateway-keys/{id}", httpd.Administrator, maxSmall, a.revokeGatewayKey),
		row(http.MethodGet, "gateway-clusters", httpd.Administrator, 0, a.gatewayClusters),
		row(http.MethodPost, "gateway-clusters", httpd.Administrator, maxSmall, a.putGatewayCluster),
		row(http.MethodDelete, "gateway-clusters/{name}", httpd.Administrator, maxSmall, a.removeGatewayCluster),
		row(http.MethodPost, "gateway-clusters/{name}/trino-mapping", httpd.Administrator, maxSmall, a.trinoMapping),
		row(http.MethodGet, "prefix-grants", httpd.Administrator, 0, a.prefixGrants),
		row(http.MethodPost, "prefix-grants", httpd.Administrator, maxSmall, a.addPrefixGrant),
		row(http.MethodDelete, "prefix-grants/{id}", httpd.Administrator, maxSmall, a.removePrefixGrant),
	}
}

func (a api) gatewayKeys(w http.ResponseWriter, r *http.Request) error {
	all, err := a.GatewayKeys.List(r.Context())
	if err != nil {
		return err
	}
	out := GatewayKeyList{GatewayKeys: []GatewayKey{}}
	for _, k := range all {
		out.GatewayKeys = append(out.GatewayKeys, GatewayKeyOf(k))
	}
	return answer(w, http.StatusOK, out)
}

func (a api) makeGatewayKey(w http.ResponseWriter, r *http.Request) error {
	var in NewGatewayKey
	if err := read(r, &in); err != nil {
		return err
	}
	n, err := in.wanted()
	if err != nil {
		return err
	}
	made, err := a.GatewayKeys.Make(r.Context(), n)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, MadeGatewayKeyOf(made, a.Home.S3, a.Home.Region))
}

func (in NewGatewayKey) wanted() (n gatewaykeys.NewKey, err error) {
	n = gatewaykeys.NewKey{Cluster: in.Cluster, Owner: gatewaykeys.Owner{LoginSession: identity.LoginSessionID(in.LoginSession),
		Delegation: identity.DelegationID(in.Delegation), ServicePrincipal: identity.ServicePrincipalID(in.ServicePrincipal)}}
	owners := 0
	for _, id := range []string{in.LoginSession, in.Delegation, in.ServicePrincipal} {
		if id != "" {
			owners++
		}
	}
	if owners != 1 {
		return n, fault.Coded(fault.Invalid, "gateway-key.owner", "A gateway key has one owner").WithMend("give one of login_session, delegation and service_principal")
	}
	if most := int(gatewaykeys.Longest / time.Second); in.LifetimeSeconds < 0 || in.LifetimeSeconds > most {
		return n, fault.Coded(fault.Invalid, "gateway-key.lifetime", "lifetime_seconds must be 60 to 86400").WithMend("leave it out for 24 hours")
	}
	n.Lifetime = time.Duration(in.LifetimeSeconds) * time.Second
	if n.Binding, err = cluster.ParseBinding(in.Networks, in.Certificates); err != nil {
		return n, err
	}
	for _, text := range in.Roles {
		role, err := arn.ParseRole(text)
		if err != nil {
			return n, err
		}
		n.Roles = append(n.Roles, role)
	}
	if in.DefaultRole != "" {
		n.Default, err = arn.ParseRole(in.DefaultRole)
	}
	return n, err
}

func (a api) rollGatewayKey(w http.ResponseWriter, r *http.Request) error {
	var in GatewayKeyRoll
	if err := read(r, &in); err != nil {
		return err
	}
	overlap, err := overlapOf(in.OverlapSeconds)
	if err != nil {
		return err
	}
	made, err := a.GatewayKeys.Roll(r.Context(), identity.GatewayKeyID(r.PathValue("id")), overlap)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, MadeGatewayKeyOf(made, a.Home.S3, a.Home.Region))
}

func overlapOf(seconds *int) (time.Duration, error) {
	switch {
	case seconds == nil:
		return gatewaykeys.DefaultOverlap, nil
	case *seconds < 0 || *seconds > int(gatewaykeys.Longest/time.Second):
		return 0, fault.Coded(fault.Invalid, "gateway-key.overlap", "overlap_seconds must be 0 to 86400").WithMend("leave it out for an hour")
	}
	return time.Duration(*seconds) * time.Second, nil
}

func (a api) revokeGatewayKey(w http.ResponseWriter, r *http.Request) error {
	return done(w, a.GatewayKeys.Revoke(r.Context(), identity.GatewayKeyID(r.PathValue("id"))))
}

// done answers a call that gives nothing.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (a api) trinoMapping(w http.ResponseWriter, r *http.Request) error {
	var in TrinoMappingRequest
	if err := read(r, &in); err != nil {
		return err
	}
	overlap, err := overlapOf(in.OverlapSeconds)
	if err != nil {
		return err
	}
	if in.RollSeconds < 0 || in.RollSeconds > int(gatewaykeys.Longest/time.Second) {
		return fault.Coded(fault.Invalid, "trino.roll", "roll_seconds must be 60 to 43200").WithMend("leave it out for eight hours")
	}
	rules, err := a.GatewayKeys.TrinoRules(r.Context(), r.PathValue("name"), time.Duration(in.RollSeconds)*time.Second, overlap)
	if err != nil {
		return err
	}
	out := TrinoMapping{Mappings: []TrinoRule{}, Notes: list(rules.Notes)}
	for _, x := range rules.Document(a.Home.S3, a.Home.Region).Mappings {
		out.Mappings = append(out.Mappings, TrinoRule(x))
	}
	return answer(w, http.StatusOK, out)
}

// GatewayKeyOf writes a key as the API shows it.
func GatewayKeyOf(k gatewaykeys.Listed) GatewayKey {
	d := GatewayKey{ID: string(k.ID), State: string(k.State), AccessKeyID: k.AccessKeyID, Owner: k.Owner.Kind(), OwnerID: k.Owner.ID(), Person: string(k.Owner.Person),
		Name: k.Owner.Name, Cluster: k.Cluster, Roles: []string{}, Delivered: k.Delivered, Follows: string(k.Follows), RolledTo: string(k.RolledTo),
		Made: seconds(k.Made), Expires: seconds(k.Expires)}
	d.Networks, d.Certificates = bindingTexts(k.Binding)
	for _, r := range k.Roles {
		d.Roles = append(d.Roles, r.String())
	}
	if !k.Default.IsZero() {
		d.DefaultRole = k.Default.String()
	}
	for _, t := range []struct {
		at time.Time
		to **time.Time
	}{{k.Used, &d.FirstUsed}, {k.Revoked, &d.Revoked}} {
		if !t.at.IsZero() {
			at := seconds(t.at)
			*t.to = &at
		}
	}
	return d
}

// MadeGatewayKeyOf writes a new key with its secret, for a gateway at an address.
func MadeGatewayKeyOf(m gatewaykeys.Made, endpoint, region string) MadeGatewayKey {
	return MadeGatewayKey{GatewayKey: GatewayKeyOf(gatewaykeys.Listed{Key: m.Key, State: gatewaykeys.Active}),
		SecretAccessKey: m.Secret.Reveal(), Endpoint: endpoint, Region: region}
}

func bindingTexts(b gatewaykeys.Binding) (networks, certificates []string) {
	networks, certificates = []string{}, []string{}
	for _, n := range b.Networks {
		networks = append(networks, n.String())
	}
	for _, f := range b.Certificates {
		certificates = append(certificates, f.String())
	}
	return networks, certificates
}
