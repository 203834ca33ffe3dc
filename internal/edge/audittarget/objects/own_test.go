package objects_test

import (
	"context"
	"net/http"
	"testing"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/audittarget/objects"
	"carnet.dev/carnet/internal/edge/storeproc/storetest"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/protocol/s3"
)

// TestOwnIdentity: a store without a key of ours, as AWS is one, gets objects under
// Carnet's own identity, and nothing where that is not believed.
func TestOwnIdentity(t *testing.T) {
	t.Parallel()
	child := storetest.Start(t)
	c, err := s3client.New(s3client.Config{Endpoint: "http://store.inner", Region: child.Region(), RoleKeys: true, PlainBodies: true, Dial: child.Dial})
	if err != nil {
		t.Fatal(err)
	}
	as := func(key secret.Text) func(context.Context) (credential.Temporary, error) {
		keys, err := stsclient.Own{AccessKeyID: child.AccessKeyID(), SecretAccessKey: key}.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	keys, err := as(child.SecretKey())(t.Context())
	if err != nil || !keys.Expiration.IsZero() {
		t.Fatalf("%v, %v", keys, err)
	}
	b := objects.New(objects.Config{Name: "bucket", Store: c, Bucket: bucket, As: as(child.SecretKey())})
	if err := b.Put(t.Context(), documents(1, 1)); fault.KindOf(err) != fault.Misconfigured || fault.Of(err).Mend != "make the bucket" {
		t.Errorf("no bucket: %v", err)
	}
	if status, body := do(t, c, &s3.Outgoing{Method: http.MethodPut, Bucket: bucket, As: &keys}); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	put(t, b, documents(1, 2))
	put(t, b, documents(1, 2))
	if status, body := do(t, c, &s3.Outgoing{Method: http.MethodGet, Bucket: bucket, Key: "2026/03/04/20260304T050601Z-aud_1-000000000001-000000000002.jsonl.gz", As: &keys}); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	other := objects.New(objects.Config{Name: "bucket", Store: c, Bucket: bucket, As: as(secret.New("another"))})
	if err := other.Put(t.Context(), documents(3, 1)); fault.KindOf(err) != fault.Misconfigured {
		t.Errorf("a key that is not believed: %v", err)
	}
}
