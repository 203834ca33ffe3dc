package login

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/saml"
)

// relayState is what travels through the identity provider and back, sealed:
// no row is stored before anybody has proven anything.
type relayState struct {
	RequestID string         `json:"r"`
	IdP       identity.IdPID `json:"i"`
	ReturnTo  string         `json:"t,omitempty"`
	PreLogin  []byte         `json:"p"` // digest of the pre-login cookie
	Began     int64          `json:"b"` // ms UTC
}

const (
	relayPurpose = "login-relay-state"
	// maxRelay bounds what is even looked at.
	maxRelay = 2048
	// maxReturnTo keeps the relay state well below what identity providers
	// take (Okta, Keycloak and others: 1,024 and more).
	maxReturnTo = 300
)

func (s *Service) sealRelay(r relayState) (string, error) {
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false) // "&" would grow sixfold
	if err := e.Encode(r); err != nil {
		return "", err
	}
	box, err := s.Sealer.Seal(relayPurpose, []byte(s.SAMLURL), plain.Bytes())
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(box), nil
}

func (s *Service) openRelay(text string, now time.Time) (relayState, error) {
	if text == "" {
		return relayState{}, fault.Coded(fault.Denied, saml.CheckUnsolicited, "the response answers no sign-in that Carnet began").
			WithMend("begin at Carnet's sign-in page; sign-in begun at the identity provider is switched off")
	}
	var r relayState
	box, err := base64.RawURLEncoding.DecodeString(text[:min(len(text), maxRelay)])
	if err == nil {
		var plain []byte
		if plain, err = s.Sealer.Open(relayPurpose, []byte(s.SAMLURL), box); err == nil {
			err = json.Unmarshal(plain, &r)
		}
	}
	if err != nil || len(text) > maxRelay || len(r.PreLogin) != 32 {
		return relayState{}, fault.Wrap(err, fault.Unauthenticated, "the relay state of the response is not Carnet's").
			WithCode("saml.relay-state").WithMend("begin again at the sign-in page")
	}
	if age := now.Sub(time.UnixMilli(r.Began)); age > PreLoginLifetime || age < -time.Minute {
		return relayState{}, fault.Coded(fault.Expired, "saml.relay-state-expired", "the sign-in took longer than 10 minutes").
			WithMend("begin again at the sign-in page")
	}
	return r, nil
}

// LocalPath gives a path on our own host, or "/" for anything else. A browser
// reads "//host", "/\host" and control characters as it likes; none passes.
func LocalPath(p string) string {
	if len(p) > maxReturnTo || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return "/"
	}
	for i := range len(p) {
		if p[i] <= 0x20 || p[i] == '\\' || p[i] >= 0x7f {
			return "/"
		}
	}
	u, err := url.Parse(p)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.Contains(u.Path, "//") ||
		strings.ContainsAny(u.Path, "\\\r\n\t") {
		return "/"
	}
	return p
}
