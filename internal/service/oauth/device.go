package oauth

import (
	"context"
	"net/netip"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/device"
	"carnet.dev/carnet/internal/service/login"
)

// Devices runs the device authorization grant (RFC 8628).
type Devices interface {
	Begin(ctx context.Context, a device.Ask) (device.Begun, error)
	Poll(ctx context.Context, level, client string, code secret.Text) (device.Approval, error)
	Use(ctx context.Context, code secret.Text) (refusal, err error)
	Review(ctx context.Context, who device.Approver, typed string) (device.Review, error)
	Decide(ctx context.Context, who device.Approver, typed string, yes bool) (device.Review, error)
}

// DeviceAuthorization answers a request to the device authorization endpoint,
// by a client that proved itself (RFC 8628 section 3.1).
func (s *Service) DeviceAuthorization(ctx context.Context, r TokenRequest) (device.Begun, error) {
	switch {
	case s.Devices == nil:
		return device.Begun{}, refuse(UnsupportedGrant, "the device authorization grant is not offered here")
	case !r.Client.May(GrantDevice):
		return device.Begun{}, refuse(UnauthorizedClient, "the client "+r.Client.Name+" may not use the device authorization grant").
			WithMend("have an administrator allow it: carnet client set --grant")
	}
	scope, err := r.Client.within(r.Form["scope"])
	if err != nil {
		return device.Begun{}, err
	}
	return s.Devices.Begin(ctx, device.Ask{Level: string(r.Level), Client: r.Client.ID, Scope: scope.String(), Source: r.Source, UserAgent: r.UserAgent})
}

// deviceCode is the grant type of RFC 8628 section 3.4. What it gives ends with
// the login session of whoever approved.
func (s *Service) deviceCode(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	code := secret.New(r.Form["device_code"])
	if code.IsZero() {
		return TokenResponse{}, refuse(InvalidRequest, "the request has no device_code")
	}
	a, err := s.Devices.Poll(ctx, string(r.Level), r.Client.ID, code)
	if err != nil {
		return TokenResponse{}, err
	}
	owner, err := s.owner(ctx, a.LoginSession)
	if err != nil {
		return TokenResponse{}, err
	}
	scope, err := r.Client.within(a.Scope) // as it may ask today
	if err != nil {
		return TokenResponse{}, err
	}
	return s.issue(ctx, issuance{Level: r.Level, Client: r.Client, Owner: owner, Scope: scope},
		func(ctx context.Context) (refusal, err error) { return s.Devices.Use(ctx, code) })
}

// DeviceReview is a device that waits, as the person who typed its code sees it.
type DeviceReview struct {
	device.Review
	Client Client
	Scopes Scopes
}

// ReviewDevice shows the device that waits under a code that the person of a
// login session typed. Errors: NotFound "device.code", Limited "device.tries",
// Unsupported.
func (s *Service) ReviewDevice(ctx context.Context, l login.LoginSession, source netip.Addr, typed string) (DeviceReview, error) {
	return s.onDevice(l, source, func(who device.Approver) (device.Review, error) { return s.Devices.Review(ctx, who, typed) })
}

// DecideDevice approves or refuses a device, once. Errors as for ReviewDevice.
func (s *Service) DecideDevice(ctx context.Context, l login.LoginSession, source netip.Addr, typed string, yes bool) (DeviceReview, error) {
	if yes { // not for a client that was switched off since
		if _, err := s.ReviewDevice(ctx, l, source, typed); err != nil {
			return DeviceReview{}, err
		}
	}
	return s.onDevice(l, source, func(who device.Approver) (device.Review, error) { return s.Devices.Decide(ctx, who, typed, yes) })
}

func (s *Service) onDevice(l login.LoginSession, source netip.Addr, do func(device.Approver) (device.Review, error)) (DeviceReview, error) {
	if s.Devices == nil {
		return DeviceReview{}, fault.Coded(fault.Unsupported, device.CodeOff, "devices can't sign in by a code here")
	}
	r, err := do(device.Approver{Person: l.Person.ID, UserName: l.Person.UserName, LoginSession: l.ID, Source: source})
	if err != nil {
		return DeviceReview{}, err
	}
	c, ok := s.live(r.Client)
	if !ok {
		return DeviceReview{}, fault.Coded(fault.NotFound, device.CodeWrong, "the client that this device runs was removed or switched off")
	}
	return DeviceReview{Review: r, Client: c, Scopes: scopesOf(r.Scope)}, nil
}
