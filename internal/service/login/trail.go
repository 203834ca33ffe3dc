package login

import (
	"context"
	"net/netip"
	"strconv"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/broker"
)

// Event is one act that the audit trail records. It holds no secret.
type Event struct {
	Action       string // sign-in, sign-out, …
	Person       identity.PersonID
	UserName     string
	LoginSession identity.LoginSessionID
	Detail       map[string]string
}

// Audit records in the transaction that ctx carries: what can't be recorded
// doesn't happen.
type Audit interface {
	Record(ctx context.Context, e Event) error
}

// Revocations is the feed of what no longer holds.
type Revocations interface {
	// RevokeLoginSession refuses role keys that rest on it, wherever Carnet
	// decides; in the transaction that ctx carries.
	RevokeLoginSession(ctx context.Context, id identity.LoginSessionID) error
	// Current is an error while this server can't say what was revoked.
	Current() error
}

// signInEvent joins the trails: the assertion's id here and at AWS, and the
// id of each access key.
func signInEvent(r Record, a *saml.Assertion, source netip.Addr, outcomes []broker.Outcome) Event {
	d := map[string]string{"identity_provider": string(r.Person.IdP), "assertion": clip(a.ID), "source": source.String(),
		"administrator": strconv.FormatBool(r.Administrator)}
	for _, o := range outcomes {
		if o.Failure != nil {
			d[o.Role.String()] = o.Failure.Code
		} else {
			d[o.Role.String()] = o.Session.Credentials.AccessKeyID
		}
	}
	return event("sign-in", r, d)
}

func event(action string, r Record, detail map[string]string) Event {
	return Event{Action: action, Person: r.Person.ID, UserName: r.Person.UserName, LoginSession: r.ID, Detail: detail}
}

func clip(s string) string {
	const most = 128
	if len(s) <= most {
		return s
	}
	return s[:most]
}
