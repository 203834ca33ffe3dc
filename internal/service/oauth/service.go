package oauth

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/issuer"
)

// Config is what a Service stands on.
type Config struct {
	Clients     Clients
	Credentials Credentials
	Codes       Codes
	Grants      Grants
	Issuer      Issuer
	Logins      Logins
	Principals  Principals
	People      People
	Once        Once
	Sealer      Sealer
	Feed        Revocations
	State       Atomic
	Trail       Trail
	Devices     Devices // nil: the device grant is not offered
	// Workloads knows machines; nil: no grant of theirs is offered.
	Workloads Workloads
	// RoleTokens gives people tokens for AWS; nil: nobody gets one.
	RoleTokens RoleTokens
	Now        func() time.Time
	Logger     *slog.Logger // nil discards
}

// Service is the authorization server. Safe for concurrent use.
type Service struct {
	Config
	grants  map[string]Grant
	loading sync.Mutex // orders loads, so that an older one can't win
	known   atomic.Pointer[registry]
	proving chan struct{} // a place for each assertion that is being verified
	used    sync.Map      // identity.CredentialID → time.Time, when its use was noted
}

// Open loads the clients and follows changes until ctx ends.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c, proving: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))}
	s.grants = map[string]Grant{
		GrantCode:    s.redeem,
		GrantRefresh: s.refresh,
	}
	if s.Workloads != nil {
		s.grants[GrantClient], s.grants[GrantExchange], s.grants[GrantJWT] = s.clientCredentials, s.exchange, s.bearerAssertion
	}
	if s.Devices != nil {
		s.grants[GrantDevice] = s.deviceCode
	}
	if err := s.Clients.Watch(ctx, func() { s.follow(ctx) }); err != nil {
		return nil, err
	}
	return s, s.load(ctx)
}

// Run cleans up until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.Grants.Sweep(ctx, s.Now()); err != nil && ctx.Err() == nil {
			s.Logger.Warn("ended codes and refresh tokens can't be swept", "error", err)
		}
	}
}

// Token answers a request to the token endpoint. Errors are faults with a code of
// RFC 6749 section 5.2, or of the grant's own RFC.
func (s *Service) Token(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	name := r.Form["grant_type"]
	if name == "" {
		return TokenResponse{}, refuse(InvalidRequest, "the request has no grant_type")
	}
	grant := s.grants[name]
	if grant == nil || !slices.Contains(GrantTypes(), name) {
		return TokenResponse{}, refuse(UnsupportedGrant, "the grant type is not offered here")
	}
	if !r.Client.May(name) {
		return TokenResponse{}, refuse(UnauthorizedClient, "the client "+r.Client.Name+" may not use the grant type "+name).
			WithMend("have an administrator allow it: carnet client set --grant")
	}
	return grant(ctx, r)
}

// TokenEndpoint is the address of an issuer's token endpoint.
func (s *Service) TokenEndpoint(l issuer.Level) string { return s.Issuer.EndpointURL(l) + "/v1/token" }

// recorded does what fn does, with its record, in one transaction.
func (s *Service) recorded(ctx context.Context, e event.Event, fn func(context.Context) error) error {
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return s.Trail.Record(ctx, e)
	})
}

func isNotFound(err error) bool { return err != nil && fault.KindOf(err) == fault.NotFound }
