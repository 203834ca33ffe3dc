package device

import (
	"context"
	"log/slog"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

func says(kind fault.Kind, code, public string) *fault.Fault { return fault.Coded(kind, code, public) }

// Poll answers one poll of a client (RFC 8628 section 3.4): with the approval,
// which Use then uses up. Errors: those of RFC 8628 section 3.5, by their codes.
func (s *Service) Poll(ctx context.Context, level, client string, code secret.Text) (Approval, error) {
	if s.Off {
		return Approval{}, off(UnsupportedGrant)
	}
	now := s.Now()
	g, err := s.Grants.Find(ctx, code.Digest())
	switch {
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return Approval{}, err
	case err != nil || g.Client != client || g.Level != level:
		return Approval{}, unknown()
	case !now.Before(g.Expires):
		return Approval{}, says(fault.Expired, ExpiredToken, "nobody approved this device within ten minutes").WithMend("begin again on the device")
	case g.State == Denied:
		return Approval{}, says(fault.Denied, AccessDenied, "the person refused this device")
	case now.Before(g.Next):
		return Approval{}, s.slow(ctx, g, now)
	case g.State == Waiting:
		if err := s.Grants.Polled(ctx, g.Device, g.Interval, now.Add(g.Interval)); err != nil {
			return Approval{}, err
		}
		return Approval{}, says(fault.Invalid, AuthorizationPending, "nobody has approved this device yet").WithMend("ask again after the interval")
	}
	return Approval{Scope: g.Scope, LoginSession: g.LoginSession}, nil
}

// Use uses an approved grant up, in the transaction that ctx carries. refusal
// says that another call was first.
func (s *Service) Use(ctx context.Context, code secret.Text) (refusal, err error) {
	won, err := s.Grants.Take(ctx, code.Digest())
	if err == nil && !won {
		refusal = unknown()
	}
	return refusal, err
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
