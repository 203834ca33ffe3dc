package agent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/edge/nodeclient"
)

const reader = "arn:aws:iam::111122223333:role/reader"

// server is a server of the node API that knows one node. What it says of
// attachments is what the test says.
type server struct {
	t    *testing.T
	http *httptest.Server

	mu       sync.Mutex
	key      *ecdsa.PublicKey
	tokens   map[string]time.Time
	used     map[string]bool
	revision int64
	changed  chan struct{}
	live     []nodedoc.Attachment
	pending  map[string]nodedoc.AttachRequest
	approved map[string]string // request to attachment
	counts   map[string]int
	ended    map[string]string
	away     bool
	removed  bool
	life     time.Duration
	reports  []nodedoc.Report
}

func newServer(t *testing.T) *server {
	s := &server{
		t: t, tokens: map[string]time.Time{}, used: map[string]bool{}, revision: 1, changed: make(chan struct{}), life: time.Hour,
		pending: map[string]nodedoc.AttachRequest{}, approved: map[string]string{}, counts: map[string]int{}, ended: map[string]string{},
	}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	return s
}

func (s *server) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

// change changes what counts, and says so to who waits.
func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.revision++
	close(s.changed)
	s.changed = make(chan struct{})
}

// approve does what a person does with a code.
func (s *server) approve(code string) {
	s.change(func() {
		in, ok := s.pending[code]
		if !ok {
			s.t.Errorf("nobody waits for the code %q", code)
			return
		}
		s.add("att_"+code, in.Place)
		s.approved[code] = "att_" + code
	})
}

// add makes an attachment live. s is locked.
func (s *server) add(id string, p nodedoc.Place) {
	s.live = append(s.live, nodedoc.Attachment{
		ID: id, UID: p.UID, Scope: p.Scope, ScopeID: p.ScopeID, Account: p.Account, Name: "ann@example.com", Role: reader, Expires: time.Now().Add(time.Hour).UTC(),
	})
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/node/")
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.counts[path]++
	away := s.away
	s.mu.Unlock()
	if away {
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return
	}
	out, err := s.answer(r, path, body)
	if err != "" {
		status, kind := http.StatusNotFound, "not-found"
		if err == "unauthenticated" {
			status, kind = http.StatusUnauthorized, err
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": kind, "detail": "no: " + path, "status": status})
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

func into[T any](b []byte) (v T) {
	_ = json.Unmarshal(b, &v)
	return v
}

func (s *server) answer(r *http.Request, path string, body []byte) (any, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch path {
	case "join":
		in := into[nodedoc.Join](body)
		if in.JoinToken != "carnet-join-once" || s.used[in.JoinToken] {
			return nil, "unauthenticated"
		}
		s.used[in.JoinToken] = true
		s.take(in.PublicKey)
		return nodedoc.Joined{Node: "nod_1", Cluster: nodedoc.Cluster{ID: "cls_1", Name: "lab", Kind: "high-concurrency"}}, ""
	case "token":
		if s.removed || !s.proven(into[nodedoc.TokenRequest](body).Assertion, s.http.URL) {
			return nil, "unauthenticated"
		}
		token := secret.Random(8).Reveal()
		s.tokens[token] = time.Now().Add(10 * time.Minute)
		return nodedoc.TokenAnswer{AccessToken: token, Expires: s.tokens[token]}, ""
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if ends, ok := s.tokens[token]; !ok || time.Now().After(ends) || s.removed {
		return nil, "unauthenticated"
	}
	return s.known(r, path, body)
}

func (s *server) known(r *http.Request, path string, body []byte) (any, string) {
	switch path {
	case "watch":
		for deadline := time.Now().Add(5 * time.Second); into[nodedoc.Watch](body).Revision == s.revision && time.Now().Before(deadline); {
			changed := s.changed
			s.mu.Unlock()
			select {
			case <-changed:
			case <-time.After(time.Until(deadline)):
			case <-r.Context().Done():
			}
			s.mu.Lock()
			if r.Context().Err() != nil {
				break
			}
		}
		return nodedoc.View{Revision: s.revision, Cluster: nodedoc.Cluster{ID: "cls_1", Name: "lab", Kind: "high-concurrency"}, Attachments: append([]nodedoc.Attachment{}, s.live...)}, ""
	case "attach":
		code := fmt.Sprintf("CODE-%d", len(s.pending)+1)
		s.pending[code] = into[nodedoc.AttachRequest](body)
		return nodedoc.AttachBegun{Request: code, UserCode: code, VerificationURI: s.http.URL + "/attach", Expires: time.Now().Add(time.Minute), Interval: 1}, ""
	case "attach/poll":
		id := s.approved[into[nodedoc.AttachPoll](body).Request]
		if id == "" {
			return nodedoc.AttachState{State: "pending"}, ""
		}
		return nodedoc.AttachState{State: "attached", Attachment: &nodedoc.Attachment{ID: id}}, ""
	case "credentials":
		in := into[nodedoc.Fetch](body)
		for _, a := range s.live {
			if a.ID == in.Attachment && (in.Role == "" || in.Role == "reader" || in.Role == reader) {
				return nodedoc.Keys{
					AccessKeyID: "ASIA" + strings.ToUpper(a.ID[4:]), SecretAccessKey: "secret-of-" + a.ID, SessionToken: "token-of-" + a.ID,
					Expiration: time.Now().Add(s.life), Role: reader, AccountID: "111122223333", Region: "us-east-1",
				}, ""
			}
		}
		return nil, "not-found"
	case "id-token":
		return nodedoc.IDToken{Token: "e.j.w", Expires: time.Now().Add(5 * time.Minute), Role: reader, Region: "us-east-1"}, ""
	case "roles", "role":
		return nodedoc.Roles{Roles: []nodedoc.Role{{ARN: reader, Current: true}}}, ""
	case "end":
		in := into[nodedoc.End](body)
		s.ended[in.Attachment] = in.Why
		for i, a := range s.live {
			if a.ID == in.Attachment {
				s.live = append(s.live[:i:i], s.live[i+1:]...)
				break
			}
		}
		s.revision++
		return struct{}{}, ""
	case "report":
		s.reports = append(s.reports, into[nodedoc.Report](body))
		return struct{}{}, ""
	case "jdbc":
		in := into[nodedoc.JDBC](body)
		if in.User != "ann" || in.Password != "e.j.w" || in.Role != "reader" || in.Connection != "" {
			return nil, "not-found"
		}
		return nodedoc.JDBCConnection{User: "ann", Connection: "carnet-jdbc-x", Expires: time.Now().Add(time.Hour), Keys: nodedoc.Keys{AccessKeyID: "CNJDBC", Role: reader, Region: "us-east-1"}}, ""
	case "trino":
		return nodedoc.Trino{Mappings: []nodedoc.TrinoRule{{User: "ann", AccessKey: "CNGK"}}}, ""
	}
	return nil, "not-found"
}

func (s *server) take(text string) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		s.t.Errorf("the node's key is not base64: %v", err)
		return
	}
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		s.t.Errorf("the node's key is no SPKI: %v", err)
		return
	}
	s.key, _ = k.(*ecdsa.PublicKey)
}

// proven holds an assertion to the node's key.
func (s *server) proven(assertion, audience string) bool {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return false
	}
	var raw [3][]byte
	for i, p := range parts {
		raw[i], _ = base64.RawURLEncoding.DecodeString(p)
	}
	var c struct {
		Iss, Sub, Aud, Jti string
		Exp                int64
	}
	if json.Unmarshal(raw[1], &c) != nil || len(raw[2]) != 64 || c.Iss != "nod_1" || c.Sub != c.Iss || c.Aud != audience || s.used[c.Jti] || c.Exp > time.Now().Unix()+61 {
		return false
	}
	s.used[c.Jti] = true
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return ecdsa.Verify(s.key, digest[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:]))
}

// world is a server and a node that joined it, with an agent in this process.
type world struct {
	*server
	t         *testing.T
	c         Config
	container string // host:port
	uid       uint32 // of people on this node
	group     string // the folder of the control group that processes start in; empty: ours
	stop      func()
}

// newWorld joins a node and starts its agent.
func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{server: newServer(t), t: t, uid: uint32(os.Getuid())}
	if w.uid == 0 {
		w.uid = 70123 // root gets nothing, so callers run under another account
	}
	folder, err := os.MkdirTemp("", "agent") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	w.container = freePort(t)
	w.c = Config{State: filepath.Join(folder, "state"), Run: folder, InsecurePorts: true, WebIdentity: off, Listen: Listen{Container: []string{w.container}, Proxy: freePort(t), Metadata: freePort(t)}}
	if err := os.Mkdir(w.c.State, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&w.c)
	}
	if w.c, err = w.c.complete(); err != nil {
		t.Fatal(err)
	}
	nc := nodeclient.Config{Folder: nodeclient.Folder{Path: w.c.State}, Server: w.http.URL, Now: time.Now}
	if _, err := nodeclient.Join(t.Context(), nc, secret.New("carnet-join-once"), "n1"); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, w.c, "test", io.Discard) }()
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				w.t.Errorf("the agent ended with %v", err)
			}
		})
	}
	w.t.Cleanup(w.stop)
	w.until("the agent is ready", func() bool {
		return do(ask{Network: "unix", Address: w.c.Socket, Method: http.MethodGet, Path: "/readyz", Host: "localhost"}).Status == http.StatusOK
	})
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited until %s", what)
		}
	}
}

// ask is one request that a process of the node makes.
type ask struct {
	Network string // unix or tcp4
	Address string
	Method  string
	Path    string
	Host    string
	Header  http.Header
	Body    string
}

// answered is what it got.
type answered struct {
	Status int
	Header http.Header
	Body   string
	Error  string
}

// as makes a request from another process, under a uid.
func (w *world) as(uid uint32, q ask) answered {
	w.t.Helper()
	in, err := json.Marshal(q)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{asking + "=1"}
	cmd.Stdin = bytes.NewReader(in)
	under(w.t, cmd, uid, w.group)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("a process of uid %d: %v", uid, err)
	}
	return into[answered](out)
}

func (w *world) local(uid uint32, method, path string, in any) answered {
	body := ""
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			w.t.Fatal(err)
		}
		body = string(b)
	}
	return w.as(uid, ask{Network: "unix", Address: w.c.Socket, Method: method, Path: path, Host: "localhost", Body: body})
}

func (w *world) keys(uid uint32, token string, change ...func(*ask)) answered {
	q := ask{Network: "tcp4", Address: w.container, Method: http.MethodGet, Path: "/v1/credentials", Host: w.container, Header: http.Header{}}
	if token != "" {
		q.Header.Set("Authorization", token)
	}
	for _, f := range change {
		f(&q)
	}
	return w.as(uid, q)
}

const asking = "CARNET_TEST_ASKING"

// TestMain is also the process that asks.
func TestMain(m *testing.M) {
	if os.Getenv(asking) == "" {
		os.Exit(m.Run())
	}
	in, _ := io.ReadAll(os.Stdin)
	out, err := json.Marshal(do(into[ask](in)))
	if err != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.Write(out)
}

func do(q ask) answered {
	hc := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, q.Network, q.Address)
	}}}
	req, err := http.NewRequest(q.Method, "http://x"+q.Path, strings.NewReader(q.Body))
	if err != nil {
		return answered{Error: err.Error()}
	}
	if q.Body == "" {
		req.Body, req.ContentLength = nil, 0
	}
	req.Host = q.Host
	for k, v := range q.Header {
		req.Header[k] = v
	}
	res, err := hc.Do(req)
	if err != nil {
		return answered{Error: err.Error()}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answered{Error: err.Error()}
	}
	return answered{Status: res.StatusCode, Header: res.Header, Body: string(b)}
}
