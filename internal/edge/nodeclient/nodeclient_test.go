package nodeclient

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// server is a node API that proves nodes as Carnet does.
type server struct {
	t    *testing.T
	http *httptest.Server

	mu     sync.Mutex
	keys   []string // SPKI that count
	token  string
	counts map[string]int
	// Each may answer for the server: true, and it wrote something.
	instead func(w http.ResponseWriter, path string) bool
	lose    bool   // the answer of key gets lost
	refusal string // kind of the refusal of a token; empty: unauthenticated
	views   []nodedoc.View
}

func newServer(t *testing.T) *server {
	s := &server{t: t, counts: map[string]int{}}
	s.http = httptest.NewServer(s)
	t.Cleanup(s.http.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, below)
	s.counts[path]++
	body, _ := io.ReadAll(r.Body)
	if s.instead != nil && s.instead(w, path) {
		return
	}
	switch path {
	case "join":
		var in nodedoc.Join
		_ = json.Unmarshal(body, &in)
		s.keys = []string{in.PublicKey}
		answer(w, nodedoc.Joined{Node: "nod_1"})
	case "token":
		var in nodedoc.TokenRequest
		_ = json.Unmarshal(body, &in)
		if !s.proven(in.Assertion, s.http.URL, s.keys) {
			problem(w, http.StatusUnauthorized, "unauthenticated", "node.unproven")
			return
		}
		s.token = secret.Random(8).Reveal()
		answer(w, nodedoc.TokenAnswer{AccessToken: s.token, Expires: time.Now().Add(10 * time.Minute)})
	default:
		if r.Header.Get("Authorization") != "Bearer "+s.token || s.token == "" {
			problem(w, http.StatusUnauthorized, cmp.Or(s.refusal, "unauthenticated"), "node.token")
			return
		}
		s.known(w, path, body)
	}
}

func (s *server) known(w http.ResponseWriter, path string, body []byte) {
	switch path {
	case "key":
		var in nodedoc.NewKey
		_ = json.Unmarshal(body, &in)
		if !s.proven(in.Proof, s.http.URL+below+"key", []string{in.PublicKey}) {
			problem(w, http.StatusUnauthorized, "unauthenticated", "node.unproven")
			return
		}
		s.keys = []string{in.PublicKey}
		if s.lose {
			panic(http.ErrAbortHandler)
		}
		answer(w, struct{}{})
	case "watch":
		v := nodedoc.View{Revision: 7}
		if len(s.views) > 0 {
			v, s.views = s.views[0], s.views[1:]
		}
		answer(w, v)
	case "roles":
		answer(w, nodedoc.Roles{Roles: []nodedoc.Role{{ARN: "arn:aws:iam::111122223333:role/r", Current: true}}})
	default:
		problem(w, http.StatusForbidden, "denied", "no."+path)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func problem(w http.ResponseWriter, status int, kind, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": kind, "code": code, "detail": "no", "request_id": "R"})
}

// proven holds an assertion to keys, as the server does.
func (s *server) proven(assertion, audience string, keys []string) bool {
	for _, k := range keys {
		t, err := oidc.Parse(assertion)
		if err != nil {
			return false
		}
		set, err := oidc.ParseKeySet([]byte(keySet(s.t, k)))
		if err != nil {
			s.t.Error(err)
			return false
		}
		c, err := t.Verify(set, oidc.Expect{Issuer: "nod_1", Audiences: []string{audience}, Algorithms: []string{oidc.ES256}}, time.Now())
		if err == nil && c.Subject == "nod_1" && c.ID != "" && c.Expires.Before(time.Now().Add(time.Minute)) {
			return true
		}
	}
	return false
}

func folder(t *testing.T) Folder {
	t.Helper()
	f := Folder{Path: filepath.Join(t.TempDir(), "state")}
	if err := os.Mkdir(f.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	return f
}

func (s *server) config(f Folder) Config {
	return Config{Folder: f, Server: s.http.URL, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Random: func() float64 { return 0 }}
}

func joined(t *testing.T, s *server) (*Client, Config) {
	t.Helper()
	c := s.config(folder(t))
	if _, err := Join(t.Context(), c, secret.New("carnet-join-x"), "n1"); err != nil {
		t.Fatal(err)
	}
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return n, c
}

func TestJoinsOnceAndAsks(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n, c := joined(t, s)
	for range 5 {
		if r, err := n.Roles(t.Context(), "att_1"); err != nil || len(r) != 1 || !r[0].Current {
			t.Fatalf("%v, %v", r, err)
		}
	}
	if s.counts["token"] != 1 {
		t.Errorf("%d access tokens for five calls", s.counts["token"])
	}
	if _, err := Join(t.Context(), c, secret.New("carnet-join-y"), "n1"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a node that joined joins again: %v", err)
	}
	for _, name := range []string{identityFile, keyFile} {
		info, err := os.Stat(filepath.Join(c.Folder.Path, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	a, err := c.Folder.LocalKey()
	b, err2 := c.Folder.LocalKey()
	if err != nil || err2 != nil || a != b || a == [32]byte{} {
		t.Errorf("the local key: %v, %v", err, err2)
	}
}

func TestStateThatOthersReach(t *testing.T) {
	t.Parallel()
	f := folder(t)
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o710: false, 0o701: false, 0o755: false, 0o750: false} {
		if err := os.Chmod(f.Path, mode); err != nil {
			t.Fatal(err)
		}
		if err := f.Check(); (err == nil) != want {
			t.Errorf("%04o: %v", mode, err)
		}
	}
	if err := (Folder{Path: filepath.Join(f.Path, "gone")}).Check(); fault.KindOf(err) != fault.Misconfigured {
		t.Errorf("missing: %v", err)
	}
	if err := os.Chmod(f.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Folder: f}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("not joined: %v", err)
	}
}

func TestRunsOfTheMachine(t *testing.T) {
	t.Parallel()
	f := folder(t)
	for i, c := range []struct {
		id   string
		keep bool
		want bool
	}{{"", false, false}, {"one", false, false}, {"one", false, false}, {"", false, false}, {"two", false, true}, {"two", true, true}, {"two", false, false}, {"one", false, true}} {
		other, err := f.OtherBoot(c.id)
		if err != nil || other != c.want {
			t.Errorf("%d: run %q: %v %v", i, c.id, other, err)
		}
		if c.keep {
			if err := f.KeepBoot(c.id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAnotherTokenWhereOneIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n, _ := joined(t, s)
	if _, err := n.Roles(t.Context(), "att_1"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"unauthenticated", "revoked", "expired"} {
		s.mu.Lock()
		s.token, s.refusal = "another server's", kind
		s.mu.Unlock()
		if _, err := n.Roles(t.Context(), "att_1"); err != nil {
			t.Errorf("a token that is %s: got %v", kind, err)
		}
	}
	if _, err := n.Trino(t.Context()); fault.KindOf(err) != fault.Denied || fault.Of(err).Code != "no.trino" {
		t.Errorf("a refusal of the server: %v", err)
	}
}

func TestKeysRoll(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n, c := joined(t, s)
	if err := n.Rotate(t.Context()); err != nil || s.counts["key"] != 0 {
		t.Fatalf("a new key was replaced: %v", err)
	}
	n.id.Made = time.Now().Add(-KeyLife)
	first := s.keys[0]
	if err := n.Rotate(t.Context()); err != nil || s.keys[0] == first {
		t.Fatalf("it was not replaced: %v", err)
	}
	if err := n.Rotate(t.Context()); err != nil || s.counts["key"] != 1 {
		t.Errorf("it was replaced again: %v", err)
	}
	n, err := Open(c) // as after a restart
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Roles(t.Context(), "att_1"); err != nil {
		t.Errorf("with the new key: %v", err)
	}
}

// TestLostAnswer: the server took the next key, and the node did not hear of it.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"the agent goes on": false, "the agent starts anew": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			n, c := joined(t, s)
			n.id.Made = time.Now().Add(-KeyLife)
			s.lose = true
			if err := n.Rotate(t.Context()); fault.KindOf(err) != fault.Unavailable {
				t.Fatalf("got %v", err)
			}
			s.mu.Lock()
			s.token, s.lose = "", false
			s.mu.Unlock()
			if restart {
				var err error
				if n, err = Open(c); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := n.Roles(t.Context(), "att_1"); err != nil {
				t.Fatalf("the node is locked out: %v", err)
			}
			if _, err := os.Stat(filepath.Join(c.Folder.Path, nextFile)); !os.IsNotExist(err) {
				t.Errorf("the next key still lies there: %v", err)
			}
		})
	}
}

// TestAnswersThatAreNotCarnets: a proxy that says 403 ends no keys.
func TestAnswersThatAreNotCarnets(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(w http.ResponseWriter){
		"a page":      func(w http.ResponseWriter) { http.Error(w, "<h1>Forbidden</h1>", http.StatusForbidden) },
		"another 401": func(w http.ResponseWriter) { http.Error(w, "no", http.StatusUnauthorized) },
		"a redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusFound)
		},
		"text instead of JSON": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "hello") },
		"a problem of nobody": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"title":"no"}`)
		},
		"too much": func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, maxAnswer+10)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			n, _ := joined(t, s)
			if _, err := n.Roles(t.Context(), "att_1"); err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			s.instead = func(w http.ResponseWriter, _ string) bool { f(w); return true }
			s.mu.Unlock()
			if _, err := n.Roles(t.Context(), "att_1"); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWatches(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n, _ := joined(t, s)
	s.views = []nodedoc.View{{Revision: 3}, {Revision: -9}}
	ctx, stop := context.WithCancel(t.Context())
	var seen []int64
	gone := false
	n.Watch(ctx, func(v nodedoc.View) {
		if seen = append(seen, v.Revision); v.Revision == 7 {
			s.mu.Lock()
			s.token, s.keys = "", nil // removed
			s.mu.Unlock()
		}
	}, func() { gone = true; stop() })
	if len(seen) < 3 || seen[0] != 3 || seen[1] != -9 || seen[2] != 7 || !gone {
		t.Errorf("saw %v, dismissed %v", seen, gone)
	}
}

// TestAuthorities: a server is believed by an authority that is known, and by no other.
func TestAuthorities(t *testing.T) {
	t.Parallel()
	s := &server{t: t, counts: map[string]int{}}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.http.StartTLS()
	t.Cleanup(s.http.Close)
	c := s.config(folder(t))
	if _, err := Join(t.Context(), c, secret.New("carnet-join-x"), "n1"); fault.KindOf(err) != fault.Unavailable || s.counts["join"] != 0 {
		t.Errorf("a server of nobody's: %v", err)
	}
	c.CA = filepath.Join(t.TempDir(), "ca.pem")
	if _, err := Join(t.Context(), c, secret.New("carnet-join-x"), "n1"); fault.KindOf(err) != fault.Misconfigured {
		t.Errorf("a missing file: %v", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
	if err := os.WriteFile(c.CA, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), c, secret.New("carnet-join-x"), "n1"); err != nil {
		t.Errorf("a server of that authority: %v", err)
	}
}

func TestServerAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"https://carnet.example.com": true, "https://carnet.example.com/": true, "http://127.0.0.1:8480": true, "http://localhost:1": true, "http://[::1]:2": true,
		"http://carnet.example.com": false, "https://carnet.example.com/x": false, "https://a@b": false, "ftp://x": false, "": false, "https://x?y": false,
	} {
		if _, err := address(text); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzProblem: whatever a server refuses with is one fault, and never more than the
// server said.
func FuzzProblem(f *testing.F) {
	f.Add([]byte(`{"kind":"denied","code":"x","detail":"no"}`))
	f.Add([]byte(`{"kind":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := connect(Config{Server: "https://carnet.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		res := &http.Response{StatusCode: 403, Header: http.Header{"Content-Type": {"application/problem+json"}}}
		if err := n.problem(res, body); fault.Of(err) == nil {
			t.Error("a refusal is no error")
		}
	})
}
