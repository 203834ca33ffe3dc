package gateway

import (
	"strconv"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

func TestKeyCache(t *testing.T) {
	t.Parallel()
	c := newKeyCache(2)
	for i := range 20 {
		for _, s := range []string{"a", "b", strconv.Itoa(i)} {
			if c.derive(secret.New(s), "20130524", "r", "s3") != sigv4.DeriveKey(secret.New(s), "20130524", "r", "s3") {
				t.Fatalf("the cache gives another key for %q", s)
			}
		}
	}
	if n := len(c.young) + len(c.old); n > 4 {
		t.Errorf("the cache grew to %d", n)
	}
	// Parts that run together are other keys.
	if c.derive(secret.New("a"), "bc", "r", "s3") == c.derive(secret.New("ab"), "c", "r", "s3") {
		t.Error("two scopes share a key")
	}
}
