package cli

import (
	"encoding/base64"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/secret"
)

func jwt(claims string) string {
	return "eyJhbGciOiJFUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl"
}

// FuzzReadIDToken: whatever a server answers, a token that is read has an
// issuer, an end after its start, and no role or a whole one.
func FuzzReadIDToken(f *testing.F) {
	for _, s := range []string{
		jwt(`{"iss":"https://carnet.example.com/oidc","sub":"sp:spn_a","iat":1800000000,"exp":1800000300,"https://aws.amazon.com/roles":["arn:aws:iam::111122223333:role/nightly"]}`),
		jwt(`{"iss":"x","sub":"y","iat":1,"exp":2,"https://aws.amazon.com/roles":"arn:aws:iam::111122223333:role/nightly","https://aws.amazon.com/source_identity":"alice"}`),
		jwt(`{"iss":"x","iat":2,"exp":1}`), jwt(`{"iss":"x","iat":1,"exp":2,"https://aws.amazon.com/roles":["a","b"]}`), jwt(`[]`), "a.b.c", "..", "",
	} {
		f.Add(s)
	}
	now := time.Unix(1800000000, 0)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readIDToken(secret.New(text))
		if err != nil {
			return
		}
		if got.issuer == "" || !got.expires.After(got.issued) || !got.end(now).After(now) {
			t.Errorf("%q: %+v", text, got)
		}
		if _, err := arn.ParseRole(got.role); got.role != "" && err != nil {
			t.Errorf("%q: role %q", text, got.role)
		}
		if name := got.sessionName(); name == "" {
			t.Error("no session name")
		}
	})
}

// TestEndByThisClock: a clock that is off neither keeps a token for ever nor
// asks for one at every moment.
func TestEndByThisClock(t *testing.T) {
	t.Parallel()
	issued := time.Unix(1800000000, 0)
	tok := idToken{issued: issued, expires: issued.Add(5 * time.Minute)}
	for name, tt := range map[string]struct{ ahead, left time.Duration }{
		"right": {0, 5 * time.Minute}, "late in its life": {2 * time.Minute, 3 * time.Minute},
		"behind": {-time.Hour, 5 * time.Minute}, "ahead": {time.Hour, 75 * time.Second},
	} {
		now := issued.Add(tt.ahead)
		if left := tok.end(now).Sub(now); left != tt.left {
			t.Errorf("%s: %s left, want %s", name, left, tt.left)
		}
	}
}
