package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
)

// answers is a store that gives what a test tells it: what a real one does
// only when it fails.
type answers func(*s3.Outgoing) (*http.Response, error)

func (a answers) Do(_ context.Context, out *s3.Outgoing) (*http.Response, error) { return a(out) }

func response(status int, body string, header http.Header) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// before puts a gateway before such a store.
func before(t *testing.T, store answers, change func(*gateway.Config)) *world {
	t.Helper()
	w := &world{log: &lockedBuffer{}, now: time.Now}
	config := gateway.Config{
		Region: region, Keys: w, Decider: w, Places: w, Stores: map[string]gateway.Store{"embedded": {Upstream: store}},
	}
	config.Logger = slog.New(slog.NewJSONHandler(w.log, nil))
	config.Observers = []gateway.Observer{gateway.ToLog{Logger: config.Logger}}
	if change != nil {
		change(&config)
	}
	g, err := gateway.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.http = httptest.NewServer(g)
	t.Cleanup(w.http.Close)
	return w
}

func TestStoreFailuresAreNotTheClients(t *testing.T) {
	t.Parallel()
	document := func(code string) string {
		return "<Error><Code>" + code + "</Code><Message>store AKSTORE</Message><RequestId>theirs</RequestId></Error>"
	}
	for name, c := range map[string]struct {
		store  answers
		status int
		code   string
	}{
		"away": {func(*s3.Outgoing) (*http.Response, error) {
			return nil, fault.New(fault.Unavailable, "The store is away")
		}, 503, "ServiceUnavailable"},
		"plain error": {func(*s3.Outgoing) (*http.Response, error) { return nil, errors.New("/secret/path") }, 500, "InternalError"},
		"our key is wrong": {func(*s3.Outgoing) (*http.Response, error) {
			return response(403, document("InvalidAccessKeyId"), nil), nil
		}, 500, "InternalError"},
		"our clock": {func(*s3.Outgoing) (*http.Response, error) {
			return response(403, document("RequestTimeTooSkewed"), nil), nil
		}, 500, "InternalError"},
		"our token": {func(*s3.Outgoing) (*http.Response, error) { return response(400, document("ExpiredToken"), nil), nil }, 500, "InternalError"},
		"redirect": {func(*s3.Outgoing) (*http.Response, error) {
			return response(307, "", http.Header{"Location": {"http://x"}}), nil
		}, 500, "InternalError"},
		"bare 403": {func(*s3.Outgoing) (*http.Response, error) { return response(403, "", nil), nil }, 500, "InternalError"},
		"our key may not": {func(*s3.Outgoing) (*http.Response, error) {
			return response(403, "<Error><Code>AccessDenied</Code><Message>User: arn:aws:iam::999988887777:user/AKSTORE is not authorized</Message></Error>", nil), nil
		}, 403, "AccessDenied"},
		"its disk": {func(*s3.Outgoing) (*http.Response, error) {
			return response(500, "<Error><Code>InternalError</Code><Message>cause(open /secret/path)</Message><Server>AKSTORE</Server></Error>", nil), nil
		}, 500, "InternalError"},
		"no document":      {func(*s3.Outgoing) (*http.Response, error) { return response(502, "<html>", nil), nil }, 502, "InternalError"},
		"endless document": {func(*s3.Outgoing) (*http.Response, error) { return response(500, strings.Repeat("x", 9<<20), nil), nil }, 503, "ServiceUnavailable"},
		"its own throttle": {func(*s3.Outgoing) (*http.Response, error) { return response(503, document("SlowDown"), nil), nil }, 503, "SlowDown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := before(t, c.store, nil)
			body := refused(t, w.request(t, "GET", "/sales/k", "", nil), c.status, c.code)
			for _, leak := range []string{"theirs", "/secret/path", "http://x", "AKSTORE"} {
				if strings.Contains(body, leak) {
					t.Errorf("the answer shows %q: %s", leak, body)
				}
			}
		})
	}
}

func TestOnlyKnownHeadersCrossTheGateway(t *testing.T) {
	t.Parallel()
	var seen *s3.Outgoing
	w := before(t, func(out *s3.Outgoing) (*http.Response, error) {
		seen = out
		return response(200, "v", http.Header{
			"Set-Cookie": {"a=b"}, "Server": {"store"}, "X-Amz-Request-Id": {"theirs"}, "X-Amz-Id-2": {"theirs"}, "Access-Control-Allow-Origin": {"*"},
			"Content-Security-Policy": {"default-src *"}, "Strict-Transport-Security": {"max-age=0"}, "Etag": {`"e"`}, "X-Amz-Meta-A": {"b"}, "Content-Type": {"text/html"},
		}), nil
	}, nil)
	res, _ := send(t, w.request(t, "GET", "/sales/k", "", func(r *http.Request) {
		r.Header.Set("Cookie", "c=d")
		r.Header.Set("X-Forwarded-For", "1.2.3.4")
		r.Header.Set("Range", "bytes=0-0")
		r.Header.Set("Accept-Encoding", "gzip")
	}))
	if len(seen.Header) != 1 || seen.Header["Range"] == nil {
		t.Errorf("sent upstream: %v", seen.Header)
	}
	for _, name := range []string{"Set-Cookie", "Server", "X-Amz-Id-2", "Access-Control-Allow-Origin", "Strict-Transport-Security"} {
		if v := res.Header.Get(name); v != "" {
			t.Errorf("%s: %s reached the client", name, v)
		}
	}
	if res.Header.Get("Etag") != `"e"` || res.Header.Get("X-Amz-Meta-A") != "b" || res.Header.Get("X-Amz-Request-Id") == "theirs" || !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("headers %v", res.Header)
	}
}

// cut breaks off in the middle.
type cut struct{ r io.Reader }

func (c cut) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestAnswerThatBreaksOffIsCut(t *testing.T) {
	t.Parallel()
	w := before(t, func(*s3.Outgoing) (*http.Response, error) {
		res := response(200, "", nil)
		res.Body = io.NopCloser(cut{strings.NewReader("<ListBucketResult>half")})
		return res, nil
	}, nil)
	res, err := http.DefaultTransport.RoundTrip(w.request(t, "GET", "/sales", "", nil))
	if err == nil {
		defer res.Body.Close()
		_, err = io.ReadAll(res.Body)
	}
	if err == nil {
		t.Error("half an answer looks like a whole one")
	}
}

type panicking struct{}

func (panicking) Decide(context.Context, access.Caller, []s3.Check, access.Environment) access.Decision {
	panic("with a secret inside")
}

func TestPanicDenies(t *testing.T) {
	t.Parallel()
	w := before(t, func(*s3.Outgoing) (*http.Response, error) { return response(200, "v", nil), nil }, func(c *gateway.Config) { c.Decider = panicking{} })
	if body := refused(t, w.request(t, "GET", "/sales/k", "", nil), 500, "InternalError"); strings.Contains(body, "secret inside") {
		t.Errorf("the panic is shown: %s", body)
	}
}

// A store that says yes before it has everything is not believed.
func TestEarlyYesIsNoYes(t *testing.T) {
	t.Parallel()
	w := before(t, func(*s3.Outgoing) (*http.Response, error) { return response(200, "", nil), nil }, nil)
	refused(t, w.request(t, "PUT", "/sales/k", "content", nil), 503, "ServiceUnavailable")
}

func TestAccessRecord(t *testing.T) {
	t.Parallel()
	w := before(t, func(*s3.Outgoing) (*http.Response, error) { return response(200, "value", nil), nil }, nil)
	res, _ := send(t, w.request(t, "GET", "/sales/a\u00e9?versionId=1", "", nil))
	var line map[string]any
	if err := json.Unmarshal([]byte(w.log.String()), &line); err != nil {
		t.Fatal(err, w.log.String())
	}
	for name, want := range map[string]any{
		"operation": "GetObject", "bucket": "sales", "key": "a\u00e9", "status": 200.0, "sent": 5.0, "access_key_id": alice,
		"principal": "arn:aws:sts::" + account + ":assumed-role/r/s", "authentication": "REST-HEADER", "request_id": res.Header.Get("X-Amz-Request-Id"), "source": "127.0.0.1",
	} {
		if line[name] != want {
			t.Errorf("%s: %v, want %v", name, line[name], want)
		}
	}
	for _, secret := range []string{keys[alice].secret, keys[alice].token, "Signature"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the record holds %q", secret)
		}
	}
}

func TestNewRefusesHalfAConfiguration(t *testing.T) {
	t.Parallel()
	if _, err := gateway.New(gateway.Config{Region: region}); fault.KindOf(err) != fault.Misconfigured {
		t.Errorf("%v", err)
	}
	w := before(t, nil, func(c *gateway.Config) { c.Stores = nil })
	refused(t, w.request(t, "GET", "/sales/k", "", nil), 500, "InternalError")
}

// full is an audit trail that can take nothing.
type full struct{ reads bool }

func (f full) Reserve(op s3.Name, allowed bool) (bool, error) {
	if allowed && op.Reads() && !f.reads {
		return false, nil
	}
	return false, fault.Coded(fault.Limited, "audit.full", "no room")
}

// What can't be recorded isn't done, and a denial is not told either: it is a 503
// that clients try again.
func TestWhatCantBeRecordedIsRefused(t *testing.T) {
	t.Parallel()
	asked := 0
	w := before(t, func(*s3.Outgoing) (*http.Response, error) { asked++; return response(200, "value", nil), nil }, func(c *gateway.Config) { c.Recorder = full{} })
	refused(t, w.request(t, "PUT", "/sales/k", "content", nil), 503, "ServiceUnavailable")
	refused(t, w.request(t, "DELETE", "/sales/k", "", nil), 503, "ServiceUnavailable")
	w.forbid("s3:GetObject hr/*")
	refused(t, w.request(t, "GET", "/hr/k", "", nil), 503, "ServiceUnavailable")
	if asked != 0 {
		t.Errorf("the store was asked %d times", asked)
	}
	if res, body := send(t, w.request(t, "GET", "/sales/k", "", nil)); res.StatusCode != 200 {
		t.Errorf("a read that isn't recorded: %s %s", res.Status, body)
	}
}
