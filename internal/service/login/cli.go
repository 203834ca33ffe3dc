package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// StartCode makes a one-use code for a command line on this person's machine.
// challenge is PKCE S256 (RFC 7636), redirectURI a loopback address (RFC 8252
// section 7.3) where the code may be sent. Errors: Invalid.
func (s *Service) StartCode(ctx context.Context, session LoginSession, challenge, redirectURI string) (secret.Text, error) {
	if b, err := base64.RawURLEncoding.Strict().DecodeString(challenge); err != nil || len(b) != sha256.Size {
		return secret.Text{}, fault.New(fault.Invalid, "the code challenge is not an S256 one: want 43 characters of base64url").
			WithMend("run carnet login again")
	}
	if _, ok := LoopbackURL(redirectURI); !ok {
		return secret.Text{}, fault.New(fault.Invalid, "the redirect address is not on this machine's loopback").
			WithMend("run carnet login on the machine of this browser")
	}
	code := secret.Random(32)
	return code, s.CLI.PutCode(ctx, CLICode{Code: code.Digest(), LoginSession: session.ID, Challenge: challenge, Expires: s.Now().Add(CodeLifetime)})
}

// LoopbackURL takes http://127.0.0.1:PORT/…, http://[::1]:PORT/… and
// http://localhost:PORT/…, and nothing that could lead elsewhere.
func LoopbackURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || len(text) > 256 || u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return nil, false
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return nil, false
	}
	return u, slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
}

// RedeemCode trades a code for a CLI token. The code is used up whatever the
// answer is. Errors: Unauthenticated "cli.code".
func (s *Service) RedeemCode(ctx context.Context, code secret.Text, verifier string) (CLIToken, error) {
	var (
		token   = secret.Random(32)
		record  Record
		refusal error
	)
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		refusal = nil
		c, err := s.CLI.ClaimCode(ctx, code.Digest())
		if err != nil {
			return err
		}
		if !s.Now().Before(c.Expires) || !proves(verifier, c.Challenge) {
			refusal = staleCode()
			return nil // the code stays used up
		}
		if record, err = s.CLI.PutToken(ctx, token.Digest(), c.LoginSession); err != nil {
			return err
		}
		return s.Audit.Record(ctx, act("cli-sign-in", record))
	})
	if isNotFound(err) {
		refusal, err = staleCode(), nil
	}
	if err == nil {
		err = refusal
	}
	if err == nil && !s.Now().Before(record.Expires) {
		err = notSignedIn()
	}
	if err != nil {
		return CLIToken{}, err
	}
	return CLIToken{Token: token, Expires: record.Expires, UserName: record.Person.UserName}, nil
}

func staleCode() error {
	return fault.Coded(fault.Unauthenticated, "cli.code", "this code was used before, is older than a minute, or is not for this command line").
		WithMend("run carnet login again")
}

// proves holds a verifier against its challenge (RFC 7636 section 4.6).
func proves(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// ResumeCLI gives the login session of a CLI token. Errors as for Resume.
func (s *Service) ResumeCLI(ctx context.Context, token secret.Text) (LoginSession, error) {
	return s.resume(ctx, ByCLI, token)
}

// SignOutCLI ends one command line's token, at every server. The login session
// stays. No error when there is no such token.
func (s *Service) SignOutCLI(ctx context.Context, token secret.Text) error {
	err := s.CLI.DropToken(ctx, token.Digest())
	s.memory.forget(ByCLI, token.Digest())
	s.memory.doubt()
	return err
}
