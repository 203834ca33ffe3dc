package device

import (
	"context"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// Service runs the grant. Safe for concurrent use.
type Service struct {
	Config
	seed  maphash.Seed // nobody can aim at another's bucket
	pace  atomic.Int64 // when the queue of new grants is empty again, Unix ns
	tries int
}

// New makes a Service.
func New(c Config) *Service { return &Service{Config: c, seed: maphash.MakeSeed(), tries: 3} }

// Begin stores a grant and gives its codes. Errors: Unsupported (switched off),
// Limited "device.busy", Invalid.
func (s *Service) Begin(ctx context.Context, a Ask) (Begun, error) {
	now := s.Now()
	switch {
	case s.Off:
		return Begun{}, off(UnsupportedGrant)
	case len(a.Scope) > maxScope:
		return Begun{}, fault.New(fault.Invalid, "the scope is longer than 256 characters").WithCode("invalid_scope")
	case !s.admit(now):
		return Begun{}, busy("too many devices begin to sign in at once")
	}
	for range s.tries {
		code := secret.Random(32)
		g := Grant{
			Device: code.Digest(), UserCode: NewUserCode(), Level: a.Level, Client: a.Client, Scope: a.Scope,
			Source: a.Source.String(), UserAgent: clip(a.UserAgent), Asked: now, Expires: now.Add(Lifetime), State: Waiting, Interval: Interval,
		}
		placed, err := s.Grants.Put(ctx, g, s.bucket(a.Source))
		switch {
		case err != nil:
			return Begun{}, err
		case placed == Full:
			return Begun{}, busy("too many devices at this address wait for somebody to approve them")
		case placed == Stored:
			return Begun{DeviceCode: code, UserCode: ShownCode(g.UserCode), VerificationURI: s.Page, Expires: Lifetime, Interval: Interval}, nil
		}
	}
	return Begun{}, busy("no code was free for this device")
}

const (
	maxScope     = 256
	maxUserAgent = 200
)

func busy(what string) error {
	return fault.Coded(fault.Limited, CodeBusy, what).WithMend("wait a minute, then try again")
}

// admit lets PerSecond begin, AtOnce at once, in constant memory (the generic
// cell rate algorithm, ITU-T I.371).
func (s *Service) admit(now time.Time) bool {
	const every = int64(time.Second / PerSecond)
	at := now.UnixNano()
	for {
		old := s.pace.Load()
		next := max(old, at) + every
		if next-at > every*AtOnce {
			return false
		}
		if s.pace.CompareAndSwap(old, next) {
			return true
		}
	}
}

// bucket finds the places of an address: an IPv4 address, or the /48 that one
// customer of a provider may have for himself.
func (s *Service) bucket(source netip.Addr) int {
	b := source.Unmap().As16()
	if source.Is6() && !source.Is4In6() {
		clear(b[6:])
	}
	return int(maphash.Bytes(s.seed, b[:]) % Buckets)
}

// clip bounds what a device says of itself, on one line.
func clip(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, " "))
	if len(s) > maxUserAgent {
		s = strings.ToValidUTF8(s[:maxUserAgent], "")
	}
	return strings.TrimSpace(s)
}
