package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

const (
	gatewayKey    = "GWKAALICE0000000000A"
	gatewaySecret = "a gateway secret"
)

// keyRing has one gateway key, whose roles are a part of the key's name: what begins
// with "hr/" falls to the role hr, all else to analyst, and both have alice's keys.
// It remembers what was wanted.
type keyRing struct {
	mu    sync.Mutex
	wants []gatewaykeys.Want
	peers []gatewaykeys.Peer
	taken bool // back
}

func (r *keyRing) Find(_ context.Context, id string) (*gatewaykeys.Holder, secret.Text, error) {
	h := &gatewaykeys.Holder{}
	if id != gatewayKey {
		return nil, secret.Text{}, fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	return h, secret.New(gatewaySecret), r.Holds(h)
}

func (r *keyRing) Admit(_ context.Context, _ *gatewaykeys.Holder, from gatewaykeys.Peer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = append(r.peers, from)
	return nil
}

func (r *keyRing) Choose(_ context.Context, _ *gatewaykeys.Holder, w gatewaykeys.Want) (gatewaykeys.Choice, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wants = append(r.wants, w)
	name := "analyst"
	switch {
	case strings.HasPrefix(w.Part, "hr/"):
		name = "hr"
	case strings.HasPrefix(w.Part, "nobody"):
		return gatewaykeys.Choice{}, fault.Coded(fault.Denied, "AccessDenied", "no role")
	}
	return gatewaykeys.Choice{Role: arn.Role{Partition: "aws", Account: account, Path: "/", Name: name}}, nil
}

func (r *keyRing) Keys(context.Context, *gatewaykeys.Holder, arn.Role) (credential.Temporary, error) {
	return credential.Temporary{AccessKeyID: "ASIAALICE0000000000A", SessionToken: secret.New("alice-token")}, nil
}

func (r *keyRing) Holds(*gatewaykeys.Holder) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken {
		return fault.Coded(fault.Revoked, "ExpiredToken", "This gateway key was ended")
	}
	return nil
}

func (r *keyRing) last() gatewaykeys.Want {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wants) == 0 {
		return gatewaykeys.Want{}
	}
	return r.wants[len(r.wants)-1]
}

func (w *world) gatewayClient() *awss3.Client {
	return awss3.New(awss3.Options{BaseEndpoint: aws.String(w.http.URL), Region: region, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(gatewayKey, gatewaySecret, "")})
}

// byGatewayKey signs a request with the gateway key.
func (w *world) byGatewayKey(t *testing.T, method, target, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	req := w.request(t, method, target, body, func(r *http.Request) {
		r.Header.Del("X-Amz-Security-Token")
		if change != nil {
			change(r)
		}
	})
	for name := range req.Header {
		if name == "Authorization" || name == "X-Amz-Date" {
			req.Header.Del(name)
		}
	}
	w.sign(t, req, gatewayKey, gatewaySecret)
	res, text := send(t, req)
	return res.StatusCode, text
}

// TestGatewayKeyChoosesByWhatIsDecided: the key, the prefix of a listing, the
// destination of a copy; a batch falls to one role, or not at all.
func TestGatewayKeyChoosesByWhatIsDecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "x", "content")
	for _, c := range []struct {
		method, target, part string
		change               func(*http.Request)
		status               int
	}{
		{"GET", "/sales/x", "x", nil, 200},
		{"GET", "/sales/hr/no", "hr/no", nil, 404},
		{"PUT", "/sales/hr/x", "hr/x", func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "sales/x") }, 200},
		{"GET", "/sales?list-type=2&prefix=hr%2F", "hr/", nil, 200},
		{"GET", "/sales?prefix=h", "h", nil, 200},
		{"GET", "/sales?location", "", nil, 200},
		{"HEAD", "/sales", "", nil, 200},
		{"GET", "/sales/nobody", "nobody", nil, 403},
	} {
		status, text := w.byGatewayKey(t, c.method, c.target, "", c.change)
		if got := w.ring.last(); status != c.status || got.Part != c.part || got.Bucket != "sales" || got.Account != account {
			t.Errorf("%s %s: %d, the choice was by %+v\n%s", c.method, c.target, status, got, text)
		}
	}
	if status, text := w.byGatewayKey(t, "GET", "/", "", nil); status != 200 || w.ring.last() != (gatewaykeys.Want{}) {
		t.Errorf("ListBuckets: %d, the choice was by %+v\n%s", status, w.ring.last(), text)
	}
	batch := func(keys ...string) error {
		var all types.Delete
		for _, k := range keys {
			all.Objects = append(all.Objects, types.ObjectIdentifier{Key: aws.String(k)})
		}
		_, err := w.gatewayClient().DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: aws.String("sales"), Delete: &all})
		return err
	}
	if err := batch("x", "hr/x"); err == nil || !strings.Contains(err.Error(), "role/analyst") || !strings.Contains(err.Error(), "role/hr") {
		t.Errorf("a batch of two roles: %v", err)
	}
	w.do(t, &s3.Outgoing{Method: "HEAD", Bucket: "sales", Key: "x"}, 200)
	if err := batch("x", "y"); err != nil {
		t.Errorf("a batch of one role: %v", err)
	}
	w.absent(t, "sales", "x")
}

// TestAttackGatewayKeyElsewhere: no presigned URL, no form, no session token, no
// other gateway; nothing is asked of the ring then.
func TestAttackGatewayKeyElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "x", "content")
	refused := func(what string, status int, text, code string) {
		t.Helper()
		if status < 400 || !strings.Contains(text, "<Code>"+code+"</Code>") || len(w.ring.peers) > 0 || w.ring.last() != (gatewaykeys.Want{}) {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
	status, text := w.byGatewayKey(t, "GET", "/sales/x", "", func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "alice-token") })
	refused("a session token", status, text, "InvalidToken")
	url, err := awss3.NewPresignClient(w.gatewayClient()).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("x")})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(url.URL)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	refused("a presigned URL", res.StatusCode, string(b), "AccessDenied")
	keys := map[string]string{} // the form's own credential is alice's, signed well
	for _, id := range []string{gatewayKey, alice} {
		res, text := send(t, w.form(t, uploadForm{key: "form-" + id, bucket: "sales", keyID: id, content: "y"}))
		keys[id] = text
		if id == alice && res.StatusCode >= 300 {
			t.Errorf("a form of a role's keys: %d %s", res.StatusCode, text)
		}
	}
	refused("a form", 403, keys[gatewayKey], "AccessDenied")
}

// TestAttackRevokedMidTransfer: an upload that is kept open does not outlive the
// gateway key that began it.
func TestAttackRevokedMidTransfer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ahead := w.movable()
	body := strings.Repeat("0123456789", 100<<10)
	req := w.request(t, "PUT", "/sales/late", "", func(r *http.Request) {
		r.ContentLength, r.Body = 0, nil
		r.Header.Del("X-Amz-Security-Token")
		r.Header.Set("X-Amz-Content-Sha256", hashOf(body))
	})
	req.Header.Del("Authorization")
	req.Header.Del("X-Amz-Date")
	w.sign(t, req, gatewayKey, gatewaySecret)
	var head strings.Builder
	fmt.Fprintf(&head, "PUT /sales/late HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n", req.Host, len(body))
	for name, values := range req.Header {
		fmt.Fprintf(&head, "%s: %s\r\n", name, values[0])
	}
	c := w.dial(t)
	write(t, c, head.String()+"\r\n"+body[:len(body)-1])
	w.ring.mu.Lock()
	w.ring.taken = true
	w.ring.mu.Unlock()
	ahead.Add(int64(3 * time.Second))
	write(t, c, body[len(body)-1:])
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 400 || !strings.Contains(string(b), "<Code>ExpiredToken</Code>") {
		t.Errorf("%d %s", res.StatusCode, b)
	}
	w.absent(t, "sales", "late")
}
