package s3proxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node/localhttp"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
)

// TestAttackBucketThatIsNone: at AWS a bucket becomes a part of the host's name. What is no
// bucket leads nowhere, or elsewhere through a proxy that reads hosts in its own way; and
// five connections that fail would have this proxy take AWS for away, for everybody on
// the node.
func TestAttackBucketThatIsNone(t *testing.T) {
	t.Parallel()
	var dialed sync.Map
	p := New(Config{
		Hosts: localhttp.Hosts{"localhost:1019"}, People: atAWS{}, Logger: slog.New(slog.DiscardHandler), Offered: func() bool { return true },
		Open: func(endpoint, region string) (Store, error) {
			return s3client.New(s3client.Config{Endpoint: endpoint, Region: region, Virtual: true, RoleKeys: true, PlainBodies: true,
				Dial: func(_ context.Context, _, address string) (net.Conn, error) {
					dialed.Store(address, true)
					return nil, io.ErrUnexpectedEOF
				}})
		},
	})
	for _, target := range []string{
		"/[::1]/k", "/%5B2001:db8::1%5D/k", "/intranet:/k", "/intranet%3A80/k", "/intranet:443%23/k", "/user%40intranet/k", "/intranet%3F/k", "/" + strings.Repeat("x", 64) + "/k",
		"/../k", "/%2E%2E/k", "/a%00/k", "/a%0d%0ab/k",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost:1019/", nil)
		r.URL.Host, r.RequestURI = "", target
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "InvalidBucketName") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	dialed.Range(func(address, _ any) bool {
		t.Errorf("the proxy connects to %v", address)
		return true
	})
}

// atAWS is somebody whose role is of an account at AWS.
type atAWS struct{}

func (atAWS) Attached(*http.Request) (string, error) { return "attachment-1", nil }

func (atAWS) Keys(context.Context, *http.Request, string) (Keys, error) {
	return Keys{Region: "us-east-1", Temporary: credential.Temporary{
		AccessKeyID: "ASIAREAL", SecretAccessKey: secret.New(realSecret), SessionToken: secret.New("real-token"), Expiration: time.Now().Add(time.Hour),
	}}, nil
}
