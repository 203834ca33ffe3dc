package openid

import (
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// CheckLogout says that a token asks for no logout.
const CheckLogout = "openid.logout"

// logoutEvent is the one member of events (Back-Channel Logout 1.0, section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// MaxLogoutAge bounds for how long after its issue a logout token counts.
const MaxLogoutAge = 10 * time.Minute

// MaxSID bounds sid, in bytes.
const MaxSID = 512

// LoggedOut is what a logout token says: the subject's login sessions, or the one
// that sid names, have ended at the provider. One of the two may be empty.
type LoggedOut struct {
	Subject string
	SID     string
	// ID is jti, for its one use until Until.
	ID    string
	Until time.Time
}

// LogoutTypes are the values of typ that a logout token may have. Many providers
// send plain JWTs; what tells those apart are events, and that there is no nonce.
func LogoutTypes() []string { return []string{"logout+jwt", "jwt"} }

// ReadLogout holds a proven token to what a logout token has to be (OpenID
// Connect Back-Channel Logout 1.0, section 2.6). Faults: Invalid CheckLogout.
func ReadLogout(c *oidc.Claims, now time.Time) (LoggedOut, error) {
	bad := func(why string) (LoggedOut, error) {
		return LoggedOut{}, fault.Coded(fault.Invalid, CheckLogout, "the logout token "+why)
	}
	all := Claims(c.All())
	events, _ := all["events"].(map[string]any)
	_, object := events[logoutEvent].(map[string]any)
	_, nonce := all["nonce"]
	out := LoggedOut{Subject: c.Subject, SID: all.Text("sid"), ID: c.ID, Until: c.Expires.Add(Skew)}
	switch {
	case !object:
		return bad("does not hold the event of a back-channel logout")
	case nonce:
		return bad("has a nonce, as ID tokens have")
	case out.Subject == "" && out.SID == "":
		return bad("names neither sub nor sid")
	case all["sid"] != nil && out.SID == "":
		return bad("has a sid that is no text")
	case len(out.SID) > MaxSID:
		return bad("has a sid that is too long")
	case out.ID == "":
		return bad("has no jti")
	case now.Sub(c.IssuedAt) > MaxLogoutAge+Skew:
		return bad("was issued more than 10 minutes ago")
	}
	if most := c.IssuedAt.Add(MaxLogoutAge + 2*Skew); out.Until.After(most) {
		out.Until = most
	}
	return out, nil
}
