package imds

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	awsimds "github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node/localhttp"
)

// world is a service with one caller.
type world struct {
	s       *Service
	who     string
	refused error // of Attached
	keys    error // of Keys
	off     bool
	now     time.Time
}

func (w *world) Attached(*http.Request) (string, error) { return w.who, w.refused }

func (w *world) Keys(_ context.Context, _ *http.Request, role string) (Keys, error) {
	if w.keys != nil {
		return Keys{}, w.keys
	}
	if role != "" && role != "analyst" {
		return Keys{}, fault.New(fault.NotFound, "The role can't be had here")
	}
	return Keys{Role: "analyst", Account: "111122223333", Region: "eu-test-1", Issued: w.now, Temporary: credential.Temporary{
		AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: secret.New("secret"), SessionToken: secret.New("session"), Expiration: w.now.Add(time.Hour),
	}}, nil
}

func newWorld() *world {
	w := &world{who: "attachment-1", now: time.Date(2030, 1, 2, 3, 4, 5, 678, time.UTC)}
	w.s = New(Config{Hosts: localhttp.HostsOf(Address4, Address6, "127.0.0.1:1020"), People: w, Offered: func() bool { return !w.off }, Now: func() time.Time { return w.now }})
	return w
}

func (w *world) ask(method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.URL.Host, r.Host = "", "169.254.169.254"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.s.ServeHTTP(rec, r)
	return rec
}

func (w *world) token(t *testing.T, life string) string {
	t.Helper()
	rec := w.ask("PUT", pathToken, headerTTL, life)
	if rec.Code != 200 || rec.Header().Get(headerTTL) != life {
		t.Fatalf("no token: %d %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func TestTheWalk(t *testing.T) {
	t.Parallel()
	w := newWorld()
	token := w.token(t, "21600")
	for path, want := range map[string]string{
		pathCredentials: "analyst", pathCredentials + "/": "analyst", pathRegion: "eu-test-1",
		"/latest/meta-data/": "iam/\nplacement/", "/latest/meta-data/iam/": "security-credentials/", "/latest/": "meta-data", "/latest/meta-data/placement/": "region",
	} {
		if rec := w.ask("GET", path, headerToken, token); rec.Code != 200 || rec.Body.String() != want {
			t.Errorf("%s: %d %q", path, rec.Code, rec.Body)
		}
	}
	rec := w.ask("GET", pathCredentials+"/analyst", headerToken, token)
	var d map[string]string
	if err := json.Unmarshal(rec.Body.Bytes(), &d); err != nil || rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for name, want := range map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "secret", "Token": "session",
		"LastUpdated": "2030-01-02T03:04:05Z", "Expiration": "2030-01-02T04:04:05Z", "AccountId": "111122223333",
	} {
		if d[name] != want {
			t.Errorf("%s: %q", name, d[name])
		}
	}
	for path, status := range map[string]int{
		pathCredentials + "/other": 404, "/latest/user-data": 404, "/latest/dynamic/instance-identity/document": 404, "/": 404, "/latest/meta-data/instance-id": 404,
		pathCredentials + "/a/b": 404, pathToken: 404,
	} {
		if rec := w.ask("GET", path, headerToken, token); rec.Code != status {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if rec := w.ask("POST", pathCredentials, headerToken, token); rec.Code != 405 {
		t.Errorf("POST: %d", rec.Code)
	}
}

// TestAttackFirstVersion: without a token there is nothing, and nothing that is said
// makes an SDK fall back to the version without one.
func TestAttackFirstVersion(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good := w.token(t, "60")
	other := newWorld()
	later := w.token(t, "1")
	w.now = w.now.Add(2 * time.Second)
	for name, header := range map[string][]string{
		"none": nil, "an empty one": {headerToken, ""}, "another service's": {headerToken, other.token(t, "60")}, "two": {headerToken, good, headerToken, good},
		"one past its time": {headerToken, later}, "a cut one": {headerToken, good[:len(good)-2]}, "a longer one": {headerToken, good + "A"}, "a changed one": {headerToken, flip(good)},
	} {
		for _, path := range []string{pathCredentials, pathCredentials + "/analyst", "/", "/latest/user-data", pathRegion} {
			if rec := w.ask("GET", path, header...); rec.Code != 401 || strings.Contains(rec.Body.String(), "ASIA") {
				t.Errorf("%s, %s: %d %s", name, path, rec.Code, rec.Body)
			}
		}
	}
	for _, life := range []string{"", "0", "21601", "-1", "1.5", "abc", "+5", " 5", "99999999999", "0x10"} {
		if rec := w.ask("PUT", pathToken, headerTTL, life); rec.Code != 400 {
			t.Errorf("a life of %q: %d", life, rec.Code)
		}
	}
	for name, rec := range map[string]*httptest.ResponseRecorder{
		"no life": w.ask("PUT", pathToken), "two lives": w.ask("PUT", pathToken, headerTTL, "5", headerTTL, "5"),
		"another path": w.ask("PUT", "/latest/api/tokens", headerTTL, "5"), "a query": w.ask("PUT", pathToken+"?a", headerTTL, "5"),
		"forwarded": w.ask("PUT", pathToken, headerTTL, "5", "X-Forwarded-For", "10.0.0.1"), "a page": w.ask("PUT", pathToken, headerTTL, "5", "Origin", "null"),
		"rebound": w.ask("PUT", pathToken, headerTTL, "5", "Host", "attacker.example"),
	} {
		if rec.Code != 400 {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}

// TestAttackStolenToken: it works for the attachment that it was made for alone.
func TestAttackStolenToken(t *testing.T) {
	t.Parallel()
	w := newWorld()
	token := w.token(t, "60")
	w.who = "attachment-2"
	if rec := w.ask("GET", pathCredentials+"/analyst", headerToken, token); rec.Code != 401 {
		t.Errorf("another's token: %d %s", rec.Code, rec.Body)
	}
	w.refused = fault.New(fault.Denied, "Nobody is attached to this account on this machine").WithMend("run: carnet attach")
	if rec := w.ask("GET", pathCredentials, headerToken, token); rec.Code != 401 {
		t.Errorf("unattached: %d", rec.Code)
	}
	if rec := w.ask("PUT", pathToken, headerTTL, "5"); rec.Code != 400 || !strings.Contains(rec.Body.String(), "carnet attach") {
		t.Errorf("unattached: %d %s", rec.Code, rec.Body)
	}
	w.refused, w.off, w.who = nil, true, "attachment-1"
	if rec := w.ask("GET", pathCredentials, headerToken, token); rec.Code != 401 {
		t.Errorf("switched off: %d", rec.Code)
	}
	if rec := w.ask("PUT", pathToken, headerTTL, "5"); rec.Code != 400 {
		t.Errorf("switched off: %d", rec.Code)
	}
}

// flip changes one bit of what a token states.
func flip(token string) string {
	b, _ := base64.RawURLEncoding.DecodeString(token)
	b[3] ^= 1 // of its end
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestKeysThatCantBeHad(t *testing.T) {
	t.Parallel()
	w := newWorld()
	token := w.token(t, "60")
	for _, c := range []struct {
		err    error
		path   string
		status int
		says   string
	}{
		{fault.New(fault.Denied, "The role was taken away"), pathCredentials + "/analyst", 200, `"AssumeRoleUnauthorizedAccess"`},
		{fault.New(fault.Denied, "The role was taken away"), pathCredentials, 500, "taken away"},
		{fault.New(fault.NotFound, "No such role"), pathCredentials + "/analyst", 404, "No such"},
		{fault.New(fault.Conflict, "Choose a role"), pathCredentials, 404, "Choose"},
		{fault.New(fault.Unavailable, "The server is away"), pathCredentials + "/analyst", 503, "away"},
		{io.ErrUnexpectedEOF, pathCredentials + "/analyst", 500, "Carnet failed"},
	} {
		w.keys = c.err
		if rec := w.ask("GET", c.path, headerToken, token); rec.Code != c.status || !strings.Contains(rec.Body.String(), c.says) {
			t.Errorf("%v at %s: %d %s", c.err, c.path, rec.Code, rec.Body)
		}
	}
}

// TestTheSDK has AWS's own client fetch keys, and sees it refused.
func TestTheSDK(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.now = time.Now()
	l, err := (&net.ListenConfig{Control: OneHop}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.s.c.Hosts = localhttp.HostsOf(l.Addr().String())
	server := &http.Server{Handler: w.s, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	provider := func() *ec2rolecreds.Provider {
		return ec2rolecreds.New(func(o *ec2rolecreds.Options) {
			o.Client = awsimds.New(awsimds.Options{Endpoint: "http://" + l.Addr().String()})
		})
	}
	keys, err := provider().Retrieve(t.Context())
	if err != nil || keys.AccessKeyID != "ASIAEXAMPLE" || keys.SessionToken != "session" || !keys.CanExpire {
		t.Errorf("%+v %v", keys, err)
	}
	w.refused = fault.New(fault.Denied, "Nobody is attached to this account on this machine")
	if keys, err := provider().Retrieve(t.Context()); err == nil {
		t.Errorf("unattached: %+v", keys)
	}
}

func FuzzToken(f *testing.F) {
	w := newWorld()
	f.Add(w.ask("PUT", pathToken, headerTTL, "60").Body.String())
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if w.ask("GET", pathCredentials, headerToken, token).Code == 200 {
			b, err := base64.RawURLEncoding.Strict().DecodeString(token)
			if err != nil || len(b) != 56 || string(w.s.proof(b[:24:24], "attachment-1")) != string(b) {
				t.Errorf("%q was taken", token)
			}
		}
	})
}
