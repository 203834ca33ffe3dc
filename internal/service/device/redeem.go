package device

import (
	"context"
	"log/slog"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

func says(kind fault.Kind, code, public string) *fault.Fault { return fault.Coded(kind, code, public) }

// Redeem answers one poll of a client (RFC 8628 section 3.4). Where the grant
// is approved, give makes what the client gets, in the transaction that uses
// the grant up; give may run more than once, and its error leaves the grant.
// Errors: those of RFC 8628 section 3.5, by their codes.
func (s *Service) Redeem(ctx context.Context, level, client string, code secret.Text, give func(context.Context, Approval) error) error {
	if s.Off {
		return off()
	}
	now := s.Now()
	g, err := s.Grants.Find(ctx, code.Digest())
	if fault.KindOf(err) == fault.NotFound || err == nil && (g.Client != client || g.Level != level) {
		return unknown()
	}
	if err != nil {
		return err
	}
	if !now.Before(g.Expires) {
		return says(fault.Expired, ExpiredToken, "nobody approved this device within ten minutes").WithMend("begin again on the device")
	}
	if g.State == Denied {
		return says(fault.Denied, AccessDenied, "the person refused this device")
	}
	if now.Before(g.Next) {
		return s.slow(ctx, g, now)
	}
	if g.State == Waiting {
		if err := s.Grants.Polled(ctx, g.Device, g.Interval, now.Add(g.Interval)); err != nil {
			return err
		}
		return says(fault.Invalid, AuthorizationPending, "nobody has approved this device yet").WithMend("ask again after the interval")
	}
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		won, err := s.Grants.Take(ctx, g.Device)
		if err != nil {
			return err
		}
		if !won {
			return unknown()
		}
		return give(ctx, Approval{Scope: g.Scope, LoginSession: g.LoginSession})
	})
}

func unknown() error {
	return says(fault.Invalid, InvalidGrant, "this device code is not known, was redeemed before, or is another client's").WithMend("begin again on the device")
}

// slow lengthens the interval of a client that polls too often. One that has
// the longest already is told without a write: a flood costs reads alone.
func (s *Service) slow(ctx context.Context, g Grant, now time.Time) error {
	if longer := min(g.Interval+Interval, LongestInterval); longer > g.Interval {
		if err := s.Grants.Polled(ctx, g.Device, longer, now.Add(longer)); err != nil {
			return err
		}
	}
	return says(fault.Limited, SlowDown, "this device asks too often").WithMend("wait five seconds longer between two requests")
}

// Run deletes what has ended, each minute until ctx ends.
func (s *Service) Run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Past its end a grant is kept for a while, for its device to be told so.
		if err := s.Grants.Sweep(ctx, s.Now().Add(-Lifetime)); err != nil && ctx.Err() == nil {
			log.Warn("device grants that ended can't be swept", "error", err)
		}
	}
}
