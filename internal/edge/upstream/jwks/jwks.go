// Package jwks fetches the key sets of OpenID providers, by discovery or from an
// address, and keeps them.
//
// Only issuers and addresses that an administrator configured are asked, through
// the guarded client, so addresses, sizes and times are bounded. The one address
// that a fetched document may name is jwks_uri, and it passes the same guard. Each
// place is asked by one request at a time; an unknown key id asks again, but
// not more often than every ten seconds; while a provider is away its last keys
// serve for an hour and no longer. It must never take the keys of one issuer for
// another's.
package jwks

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/edge/upstream/kept"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// Defaults of Config.
const (
	DefaultFresh = kept.DefaultFresh
	DefaultStale = kept.DefaultStale
	DefaultAgain = kept.DefaultAgain
)

// The codes of faults: what the provider publishes is not what it must be, or
// it can't be reached.
const (
	CodeDocument = "jwks.document"
	CodeAway     = "jwks.away"
)

// Config is what a Source stands on.
type Config struct {
	Client *egress.Client
	// Loopback reaches issuers on loopback addresses; nil where they are not
	// taken (the setting iam.loopback_providers).
	Loopback *egress.Client
	Now      func() time.Time
	Fresh    time.Duration // how long keys are used without asking; 0: 5 minutes
	Stale    time.Duration // how long they serve while the provider is away; 0: 1 hour
	Again    time.Duration // the least time between two requests to one issuer; 0: 10 seconds
}

// Source gives key sets. Safe for concurrent use.
type Source struct {
	Config
	places *kept.Source[place, *oidc.KeySet]
}

// place is where an issuer's keys are looked for: by discovery, or at an address.
type place struct{ issuer, at string }

// New makes a Source.
func New(c Config) *Source {
	s := &Source{Config: c}
	s.places = kept.New(kept.Config[place, *oidc.KeySet]{
		Fetch: s.fetch, Left: func(p place, cause error) error { return away(p.issuer, cause) },
		Now: c.Now, Fresh: c.Fresh, Stale: c.Stale, Again: c.Again,
	})
	return s
}

// Keys gives the key set of an issuer, one that is configured. With unknown set
// the caller met a key id that is not in the last one: then it is fetched anew,
// unless that was just done. Faults: CodeAway (Unavailable), CodeDocument
// (Misconfigured), and those of egress.
func (s *Source) Keys(ctx context.Context, issuer string, unknown bool) (*oidc.KeySet, error) {
	return s.places.Get(ctx, place{issuer: issuer}, unknown)
}

// KeysAt is Keys for an issuer whose key set lies at a configured address:
// nothing is discovered.
func (s *Source) KeysAt(ctx context.Context, issuer, at string, unknown bool) (*oidc.KeySet, error) {
	return s.places.Get(ctx, place{issuer, at}, unknown)
}

func away(issuer string, err error) error {
	return fault.Coded(fault.Unavailable, CodeAway, fmt.Sprintf("the identity provider %s can't be reached", issuer)).WithCause(err)
}

func document(issuer, format string, args ...any) error {
	return fault.Coded(fault.Misconfigured, CodeDocument, fmt.Sprintf("the identity provider %s ", issuer)+fmt.Sprintf(format, args...))
}

// fetch gets the key set of a place.
func (s *Source) fetch(ctx context.Context, p place) (*oidc.KeySet, error) {
	client, err := s.clientFor(p.issuer)
	if err != nil {
		return nil, err
	}
	if p.at == "" {
		if p.at, err = discover(ctx, client, p.issuer); err != nil {
			return nil, err
		}
	}
	if err := checkKeyURL(p.issuer, p.at); err != nil {
		return nil, err
	}
	raw, err := client.Get(ctx, p.at)
	if err != nil {
		return nil, unreached(p.issuer, err)
	}
	set, err := oidc.ParseKeySet(raw)
	if err != nil {
		return nil, document(p.issuer, "publishes a key set that can't be read: %s", fault.Of(err).Public)
	}
	return set, nil
}

// discover gives jwks_uri (OpenID Connect Discovery 1.0, section 4).
func discover(ctx context.Context, client *egress.Client, issuer string) (string, error) {
	raw, err := client.Get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", unreached(issuer, err)
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(raw, &discovery); err != nil {
		return "", document(issuer, "publishes a discovery document that is not JSON: %s", err)
	}
	if discovery.Issuer != issuer {
		return "", document(issuer, "calls itself %q in its discovery document", clip(discovery.Issuer))
	}
	return discovery.JWKSURI, nil
}

// unreached tells an answer that is not acceptable from one that never came.
func unreached(issuer string, err error) error {
	if f := fault.Of(err); f.Kind != fault.Unavailable {
		return document(issuer, "can't be asked for its keys: %s", f.Public)
	}
	return away(issuer, err)
}

func (s *Source) clientFor(issuer string) (*egress.Client, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, document(issuer, "is not a URL")
	}
	if !loopback(u) {
		return s.Client, nil
	}
	if s.Loopback == nil {
		return nil, document(issuer, "is on a loopback address, which iam.loopback_providers does not allow")
	}
	return s.Loopback, nil
}

func loopback(u *url.URL) bool {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.Unmap().IsLoopback()
}

// checkKeyURL holds jwks_uri to https, but for issuers on loopback.
func checkKeyURL(issuer, text string) error {
	u, err := url.Parse(text)
	of, bad := url.Parse(issuer)
	if err != nil || bad != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return document(issuer, "has no usable address of its key set (jwks_uri)")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(of) || !loopback(u)) {
		return document(issuer, "has an address of its key set (jwks_uri) that is not https")
	}
	return nil
}

func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
