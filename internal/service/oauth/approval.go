package oauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
)

// Pending is what a person is asked.
type Pending struct {
	Client Client
	Scope  Scopes
	// RedirectURI is where the answer goes: an address that the client
	// registered.
	RedirectURI string
}

// parked is a request that waits for a person, sealed into its handle and bound
// to their login session: a page of another site has none that would count.
type parked struct {
	Level issuer.Level `json:"l"`
	Form  string       `json:"f"`
	At    int64        `json:"t"` // unix ms
}

func (s *Service) park(r request) (secret.Text, error) {
	plain, err := json.Marshal(parked{Level: r.Level, Form: r.Form.canonical(), At: s.Now().UnixMilli()})
	if err != nil {
		return secret.Text{}, err
	}
	box, err := s.Sealer.Seal(approvalPurpose, []byte(r.Session.ID), plain)
	return secret.New(base64.RawURLEncoding.EncodeToString(box)), err
}

// unpark gives the request of a handle, held to the rules once more.
func (s *Service) unpark(session login.LoginSession, handle secret.Text) (request, error) {
	stale := refuse(InvalidRequest, "This question was not asked in this login session, or longer than 10 minutes ago").
		WithMend("begin again in the program that sent you here")
	box, err := base64.RawURLEncoding.Strict().DecodeString(handle.Reveal())
	if err != nil || session.ID == "" {
		return request{}, stale
	}
	plain, err := s.Sealer.Open(approvalPurpose, []byte(session.ID), box)
	if err != nil {
		return request{}, stale.WithCause(err)
	}
	var p parked
	if err := json.Unmarshal(plain, &p); err != nil {
		return request{}, stale.WithCause(err)
	}
	if age := s.Now().Sub(time.UnixMilli(p.At)); age > ApprovalLifetime || age < -time.Minute {
		return request{}, stale
	}
	values, err := url.ParseQuery(p.Form)
	if err != nil {
		return request{}, stale.WithCause(err)
	}
	form := Form{}
	for name := range values {
		form[name] = values.Get(name)
	}
	r, err := s.proven(Ask{Level: p.Level, Form: form, Session: session})
	if err != nil {
		return request{}, err
	}
	return r, r.read()
}

// Pending gives what is asked, to the person who has to answer. Errors are for a
// page.
func (s *Service) Pending(_ context.Context, session login.LoginSession, handle secret.Text) (Pending, error) {
	r, err := s.unpark(session, handle)
	return Pending{Client: r.client, Scope: r.scope, RedirectURI: r.redirect}, err
}

// Approve is the person's yes: it gives the way back to the client, with a code.
func (s *Service) Approve(ctx context.Context, session login.LoginSession, handle secret.Text) (string, error) {
	r, err := s.unpark(session, handle)
	if err != nil {
		return "", err
	}
	o, err := ownerOf(session)
	if err != nil {
		return "", err
	}
	return s.grantCode(ctx, r, o, "the person")
}

// Deny is the person's no: it gives the way back to the client, with the error.
func (s *Service) Deny(ctx context.Context, session login.LoginSession, handle secret.Text) (string, error) {
	r, err := s.unpark(session, handle)
	if err != nil {
		return "", err
	}
	e := event.Event{Action: "client.approve", Outcome: event.Denied, Code: AccessDenied, Target: r.client.ID,
		Detail: map[string]string{"client": r.client.Name, "scope": r.scope.String()}}
	if err := s.recorded(ctx, e, func(context.Context) error { return nil }); err != nil {
		return "", err
	}
	way, err := s.refused(r, fault.Coded(fault.Denied, AccessDenied, "the person said no"))
	return way.Redirect, err
}
