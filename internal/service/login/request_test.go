package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// box seals with one key, and keeps purposes apart.
type box struct{ aead cipher.AEAD }

func newBox(t testing.TB) box {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return box{aead}
}

func (b box) Seal(purpose string, aad, plain []byte) ([]byte, error) {
	return b.aead.Seal(nil, nil, plain, append([]byte(purpose+"\x00"), aad...)), nil
}

func (b box) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < b.aead.Overhead() {
		return nil, errors.New("too short")
	}
	return b.aead.Open(nil, nil, sealed, append([]byte(purpose+"\x00"), aad...))
}

func TestRequestStates(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0).UTC()
	s := &Service{Config: Config{SAMLURL: "https://carnet.example/saml/consume", Sealer: newBox(t)}}
	want := request{Purpose: toTest, IdP: identity.NewIdPID(), Began: now, Browser: bound(secret.New("cookie"))}
	id, err := s.seal(want)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := s.seal(want); again == id {
		t.Error("two requests have one ID")
	}
	if got, err := s.open(id, now.Add(PreLoginLifetime)); err != nil || got != want {
		t.Errorf("opened %+v, %v", got, err)
	}
	for _, at := range []time.Duration{PreLoginLifetime + time.Second, -2 * time.Minute} {
		if _, err := s.open(id, now.Add(at)); fault.Of(err).Code != "saml.request-expired" {
			t.Errorf("%s later: %v", at, err)
		}
	}
	elsewhere := &Service{Config: Config{SAMLURL: "https://other.example/saml/consume", Sealer: s.Sealer}}
	if _, err := elsewhere.open(id, now); err == nil {
		t.Error("another installation's request opens")
	}
	if _, err := s.seal(request{Purpose: toSignIn, IdP: "no id", Began: now}); err == nil {
		t.Error("a request to nobody was sealed")
	}
	sealed, err := s.Sealer.Seal("login-relay-state", []byte(s.SAMLURL), make([]byte, requestLength))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.open("_"+string(sealed), now); err == nil {
		t.Error("what was sealed for another purpose opens")
	}
}

// FuzzRequestIDs: what an identity provider says it answers opens only where it
// is ours to the last character.
func FuzzRequestIDs(f *testing.F) {
	now := time.Unix(1_800_000_000, 0).UTC()
	s := &Service{Config: Config{SAMLURL: "https://carnet.example/saml/consume", Sealer: newBox(f)}}
	want := request{Purpose: toSignIn, IdP: identity.NewIdPID(), Began: now, Browser: bound(secret.New("cookie"))}
	id, err := s.seal(want)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{id, "", "_", id[1:], id + "A", id[:60], "_" + id, "ONELOGIN_4fee3b046395c4e751011e97f8900b5273d56685", "_8e8dc5f69a98cc4c1ff3427e5ce34606fd672f91e6"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := s.open(text, now)
		if (err == nil) != (text == id) {
			t.Fatalf("%q opens as %+v, %v", text, got, err)
		}
		if err != nil && fault.KindOf(err) == fault.Internal {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// FuzzReturnPaths: whatever a cookie holds, the way back stays on our host.
func FuzzReturnPaths(f *testing.F) {
	for _, seed := range []string{"/", "/roles?x=1", "//evil.example", "/\\evil", "https://evil.example", "/a/../b", "/%2f%2fevil", "", "\x00"} {
		f.Add(seed)
		f.Add(newPreLogin(seed).Reveal())
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, path := range []string{LocalPath(text), returnPath(secret.New(text)), returnPath(newPreLogin(text))} {
			if path == "" || path[0] != '/' || len(path) > 1 && (path[1] == '/' || path[1] == '\\') {
				t.Fatalf("%q leads to %q", text, path)
			}
		}
	})
}
