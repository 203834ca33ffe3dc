package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
)

// vast is more than all the buffers between a store and somebody who does not read.
const vast = 64 << 20

// TestAttackOneCallerFillsAStore: one permitted person opens reads and uploads, and
// goes on with none of them. Others are served all the same, and when that person goes
// nothing is left of it.
func TestAttackOneCallerFillsAStore(t *testing.T) {
	t.Parallel()
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/sales/vast" {
			_, _ = io.WriteString(w, "small")
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(vast))
		piece := make([]byte, 1<<20)
		for range vast / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	t.Cleanup(store.Close)
	const places = 8
	up, err := s3client.New(s3client.Config{
		Endpoint: store.URL, Region: region, AccessKeyID: "AKIASTORE", SecretKey: secret.New("store-secret"), PlainBodies: true,
		Parallel: places, Patience: s3client.Patience{Slot: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	w := before(t, nil, func(c *gateway.Config) { c.Stores = map[string]gateway.Store{"embedded": {Upstream: up}} })
	get := func(id, key string) (*awss3.GetObjectOutput, error) {
		return client(w.http, id).GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String(key)})
	}

	hanging := w.beginUpload(t)
	await(t, up, 1)
	var open []io.Closer
	for len(open) < places {
		res, err := get(alice, "vast")
		if err != nil {
			mustSlowDown(t, err)
			break
		}
		open = append(open, res.Body)
	}
	if len(open)+1 != places/2 { // the upload holds one
		t.Errorf("%d reads and an upload of one person hold places", len(open))
	}
	for range 2 * places {
		res, err := get("ASIAOTHER0000000000B", "small")
		if err != nil {
			t.Fatalf("somebody else is not served: %v", err)
		}
		_ = res.Body.Close()
	}
	if _, err := get(alice, "small"); err == nil {
		t.Error("the one who has their share got one more")
	}

	for _, body := range open {
		_ = body.Close()
	}
	_ = hanging.Close()
	await(t, up, 0)
	if res, err := get(alice, "small"); err != nil {
		t.Error(err)
	} else {
		_ = res.Body.Close()
	}
}

// beginUpload sends half of an upload of alice's.
func (w *world) beginUpload(t *testing.T) net.Conn {
	t.Helper()
	content := strings.Repeat("x", 2<<20)
	req := w.request(t, "PUT", "/sales/half", content, nil)
	var text bytes.Buffer
	if err := req.Write(&text); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write(text.Bytes()[:text.Len()-len(content)/2]); err != nil {
		t.Fatal(err)
	}
	return conn
}

// await waits until this many places of a store are held.
func await(t *testing.T, up *s3client.Client, want int) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); up.InFlight() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d places are held, not %d", up.InFlight(), want)
		}
	}
}

func mustSlowDown(t *testing.T, err error) {
	t.Helper()
	var said smithy.APIError
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &said) || !errors.As(err, &answer) {
		t.Fatal(err)
	}
	if said.ErrorCode() != "SlowDown" || answer.HTTPStatusCode() != 503 || answer.Response.Header.Get("Retry-After") == "" {
		t.Errorf("one more is answered with %d %s, Retry-After %q", answer.HTTPStatusCode(), said.ErrorCode(), answer.Response.Header.Get("Retry-After"))
	}
}
