package keyplace_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/keyplace"
	"carnet.dev/carnet/internal/edge/storeproc/storetest"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/issuer"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// store is a client of a running embedded store, with a bucket.
func store(t *testing.T, bucket string) *s3client.Client {
	t.Helper()
	child := storetest.Start(t)
	c, err := s3client.New(s3client.Config{
		Endpoint: "http://store.inner", Region: child.Region(), AccessKeyID: child.AccessKeyID(), SecretKey: child.SecretKey(), Dial: child.Dial, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	resp, err := c.Do(t.Context(), &s3.Outgoing{Method: http.MethodPut, Bucket: bucket})
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, resp)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPlaces is the conformance suite of issuer.Place: on a folder and on a
// bucket of a real store.
func TestPlaces(t *testing.T) {
	t.Parallel()
	s := store(t, "keys")
	for name, to := range map[string]issuer.Place{
		"folder":        keyplace.Folder{Path: filepath.Join(t.TempDir(), "www", "keys")},
		"bucket":        keyplace.Bucket{Store: s, Name: "keys"},
		"bucket prefix": keyplace.Bucket{Store: s, Name: "keys", Prefix: "some/where"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const one, two = "oidc/.well-known/openid-configuration", "oidc/accounts/1/jwks.json"
			if _, err := to.Read(t.Context(), one); fault.KindOf(err) != fault.NotFound {
				t.Errorf("nothing there: %v", err)
			}
			for _, body := range []string{`{"a":1}`, `{}`, strings.Repeat("x", 5000)} {
				for _, name := range []string{one, two} {
					if err := to.Write(t.Context(), name, []byte(body+name)); err != nil {
						t.Fatal(err)
					}
				}
				for _, name := range []string{one, two} {
					if got, err := to.Read(t.Context(), name); err != nil || string(got) != body+name {
						t.Errorf("%s: %q, %v", name, got, err)
					}
				}
			}
		})
	}
	away := keyplace.Bucket{Store: s, Name: "missing"}
	if _, err := away.Read(t.Context(), "x"); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("no bucket: %v", err)
	}
	if err := away.Write(t.Context(), "x", []byte("{}")); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("no bucket: %v", err)
	}
}

// TestFolder: documents are whole at every moment, readable by all, and nothing
// else is left behind.
func TestFolder(t *testing.T) {
	t.Parallel()
	to := keyplace.Folder{Path: t.TempDir()}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	long, short := strings.Repeat("a", 100_000), "b"
	if err := to.Write(ctx, "oidc/jwks.json", []byte(short)); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if got, err := to.Read(ctx, "oidc/jwks.json"); err != nil || string(got) != long && string(got) != short {
				t.Errorf("read %d bytes, %v", len(got), err)
				return
			}
		}
	}()
	for range 50 {
		for _, body := range []string{long, short} {
			if err := to.Write(ctx, "oidc/jwks.json", []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	<-done
	entries, err := os.ReadDir(filepath.Join(to.Path, "oidc"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	info, err := os.Stat(filepath.Join(to.Path, "oidc/jwks.json"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestAttackLinkOutOfTheFolder: a link that somebody put into the folder leads
// nowhere else.
func TestAttackLinkOutOfTheFolder(t *testing.T) {
	t.Parallel()
	to, outside := keyplace.Folder{Path: t.TempDir()}, t.TempDir()
	if err := os.Symlink(outside, filepath.Join(to.Path, "oidc")); err != nil {
		t.Fatal(err)
	}
	if err := to.Write(t.Context(), "oidc/jwks.json", []byte("{}")); fault.KindOf(err) != fault.Unavailable || err == nil {
		t.Errorf("written through a link: %v", err)
	}
	if err := os.WriteFile(filepath.Join(outside, "jwks.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Read(t.Context(), "oidc/jwks.json"); err == nil || fault.KindOf(err) == fault.NotFound {
		t.Errorf("read through a link: %v", err)
	}
}
