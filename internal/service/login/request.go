package login

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
)

// purpose says what a message of ours was for.
type purpose byte

const (
	toSignIn purpose = 1 + iota
	toTest           // a test sign-in: it opens nothing
	toLogOut
	toSignInAnew // with a fresh proof
)

// request is what has to be known of a message of ours when its answer comes.
// It travels sealed as the message's ID, and comes back as InResponseTo, which
// an identity provider signs and can't lose. So no row is stored before anybody
// has proven anything, and nothing rests on the relay state, which identity
// providers drop, change, or cut at the 80 bytes of the standard
// (saml-bindings-2.0-os section 3.4.3).
type request struct {
	Purpose purpose
	IdP     identity.IdPID
	Began   time.Time // whole seconds
	// Browser binds to the browser that began: see bound.
	Browser [16]byte
}

const (
	requestPurpose = "login-request"
	requestLength  = 1 + 4 + 16 + 16
	// maxRequestID bounds what is even looked at; ours have 127 characters.
	maxRequestID = 200
)

// plain writes a request, readRequest reads it.
func (r request) plain() ([]byte, error) {
	idp, ok := r.IdP.Bits()
	if !ok {
		return nil, fault.New(fault.Internal, "an identity provider has no id")
	}
	plain := make([]byte, 0, requestLength)
	plain = append(plain, byte(r.Purpose))
	plain = binary.BigEndian.AppendUint32(plain, uint32(r.Began.Unix()))
	plain = append(plain, idp[:]...)
	return append(plain, r.Browser[:]...), nil
}

func readRequest(plain []byte) request {
	return request{Purpose: purpose(plain[0]), Began: time.Unix(int64(binary.BigEndian.Uint32(plain[1:])), 0).UTC(),
		IdP: identity.IdPIDOf([16]byte(plain[5:21])), Browser: [16]byte(plain[21:requestLength])}
}

// late reports whether a request can't be answered any more.
func (r request) late(now time.Time) bool {
	age := now.Sub(r.Began)
	return age > PreLoginLifetime || age < -time.Minute
}

// seal gives the ID: an XML name, 127 characters long, never twice the same.
func (s *Service) seal(r request) (string, error) {
	plain, err := r.plain()
	if err != nil {
		return "", err
	}
	box, err := s.Sealer.Seal(requestPurpose, []byte(s.SAMLURL), plain)
	if err != nil {
		return "", err
	}
	return "_" + base64.RawURLEncoding.EncodeToString(box), nil
}

// open gives the request that an answer names, while it may still be answered.
func (s *Service) open(id string, now time.Time) (request, error) {
	foreign := fault.Coded(fault.Unauthenticated, saml.CheckInResponseTo, "the response answers another request, not one of Carnet's").
		WithMend("begin again at the sign-in page")
	text, ok := strings.CutPrefix(id, "_")
	if !ok || len(id) > maxRequestID {
		return request{}, foreign
	}
	box, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return request{}, foreign.WithCause(err)
	}
	plain, err := s.Sealer.Open(requestPurpose, []byte(s.SAMLURL), box)
	if err != nil || len(plain) != requestLength {
		return request{}, foreign.WithCause(err)
	}
	r := readRequest(plain)
	if r.late(now) {
		return r, fault.Coded(fault.Expired, "saml.request-expired", "the sign-in took longer than 10 minutes").
			WithMend("begin again at the sign-in page")
	}
	return r, nil
}

// newPreLogin makes the value of a pre-login cookie. It keeps the return path,
// so that the way to the identity provider and back need not carry it.
func newPreLogin(returnTo string) secret.Text {
	path := base64.RawURLEncoding.EncodeToString([]byte(LocalPath(returnTo)))
	return secret.New(secret.Random(32).Reveal() + "." + path)
}

// returnPath reads what newPreLogin kept.
func returnPath(preLogin secret.Text) string {
	_, path, _ := strings.Cut(preLogin.Reveal(), ".")
	b, err := base64.RawURLEncoding.DecodeString(path)
	if err != nil {
		return "/"
	}
	return LocalPath(string(b))
}

// bound gives what a request knows of its browser's cookie, and pinned what a
// ticket does: nobody finds a cookie for either.
func bound(cookie secret.Text) [16]byte {
	digest := cookie.Digest()
	return [16]byte(digest[:16])
}

func pinned(browser [16]byte) [32]byte {
	return sha256.Sum256(browser[:])
}

// LocalPath gives a path on our own host, or "/" for anything else. A browser
// reads "//host", "/\host" and control characters as it likes; none passes.
func LocalPath(p string) string {
	if len(p) > MaxReturnTo || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
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
