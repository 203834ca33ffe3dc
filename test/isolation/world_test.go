//go:build interop

// Package isolation attacks the agent of a node as other people of the node would,
// and as other machines and other agents would: real accounts, control groups and
// namespaces, the real binary, the real server. Each attack has beside it the
// rightful owner doing the same with success.
//
// make isolation starts it. docs/security/isolation.md lists the attacks.
package isolation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/nodes"
)

// lasting is a test's helper whose things stay until all tests have ended.
type lasting struct {
	testing.TB
	mu   *sync.Mutex
	ends *[]func()
}

func (l lasting) Cleanup(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.ends = append(*l.ends, f)
}

func (l lasting) Context() context.Context { return context.Background() }

func (l lasting) TempDir() string {
	dir, err := os.MkdirTemp("", "carnet-isolation-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Errorf is of use after the test that asked first has ended, too.
func (l lasting) Errorf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	failed.Store(true)
}

func (l lasting) Error(args ...any) { l.Errorf("%s", fmt.Sprint(args...)) }

// failed is set where something did not end well after its test.
var failed atomic.Bool

// world is what all tests share: one site with one node, and this binary where every
// account may run it.
var world struct {
	once sync.Once
	mu   sync.Mutex
	ends []func()
	site *nodes.Site
	node *nodes.Node
	self string
	uid  atomic.Uint32
}

// run runs the tests and then ends what they shared.
func run(m *testing.M) int {
	code := m.Run()
	for i := len(world.ends) - 1; i >= 0; i-- {
		world.ends[i]()
	}
	if code == 0 && failed.Load() {
		return 1
	}
	return code
}

// start gives the shared site and node.
func start(t testing.TB) (*nodes.Site, *nodes.Node) {
	t.Helper()
	world.once.Do(func() {
		world.uid.Store(71000)
		l := lasting{t, &world.mu, &world.ends}
		site := nodes.Start(l, nodes.Options{})
		self := filepath.Join(site.Folder, "puppet")
		copySelf(t, self)
		world.self, world.site = self, site
		world.node = site.Node(l, nodes.NodeOptions{})
	})
	if world.node == nil {
		t.Fatal("the site did not start: see the first test")
	}
	return world.site, world.node
}

func copySelf(t testing.TB, to string) {
	t.Helper()
	src, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o755); err != nil {
		t.Fatal(err)
	}
}

func binary(t testing.TB) string {
	t.Helper()
	start(t)
	return world.self
}

// stranger is somebody who signed in to the node under a uid of their own, and is not
// attached.
func stranger(t testing.TB) *nodes.Login {
	t.Helper()
	_, n := start(t)
	return n.Login(t, world.uid.Add(1))
}

// owner is somebody whose sign-in is attached as a person.
type owner struct {
	*nodes.Login
	Name   string
	Bearer string // their second factor
	ID     string // of the attachment
}

func attached(t testing.TB, person string) *owner {
	t.Helper()
	return attach(t, stranger(t), person)
}

// attach attaches a sign-in and chooses the role analyst, which alice and bob hold.
func attach(t testing.TB, l *nodes.Login, person string) *owner {
	t.Helper()
	a := l.Attach(t, person)
	l.MustLocal(t, http.MethodPut, "/v1/role", map[string]string{"role": "analyst"}, nil)
	o := &owner{Login: l, Name: person, ID: a.ID}
	o.Bearer = bearer(t, l)
	return o
}

// face is one way in which a process asks the agent for keys.
type face struct {
	name             string
	network, address string
	// lines is the request, with a second factor and further headers.
	lines func(bearer string, more ...string) []string
}

const (
	socket   = "/run/carnet/agent.sock"
	metadata = "127.0.0.1:1020"
	proxy    = "127.0.0.1:1019"
)

// container is the container endpoint at an address.
func container(address string) face {
	host := strings.ReplaceAll(strings.TrimSuffix(address, ":80"), "[::ffff:127.0.0.1]", "127.0.0.1")
	return face{"container endpoint at " + address, "tcp", address, func(bearer string, more ...string) []string {
		lines := []string{"GET /v1/credentials HTTP/1.1", "Host: " + host}
		if bearer != "" {
			lines = append(lines, "Authorization: "+bearer)
		}
		return append(lines, more...)
	}}
}

// faces are all at which one request is enough.
func faces() []face {
	return []face{
		container("127.0.0.1:1018"), container("[::1]:1018"), container("169.254.170.2:80"), container("169.254.170.23:80"),
		container("[::ffff:127.0.0.1]:1018"), // as programs with one kind of socket for both connect
		{"unix socket", "unix", socket, func(_ string, more ...string) []string {
			return append([]string{"GET /v1/keys HTTP/1.1", "Host: localhost"}, more...)
		}},
		{"signing proxy", "tcp", proxy, func(bearer string, more ...string) []string {
			return append([]string{"GET /sales HTTP/1.1", "Host: " + proxy}, more...)
		}},
		{"IMDSv2", "tcp", metadata, func(_ string, more ...string) []string {
			return append([]string{"PUT /latest/api/token HTTP/1.1", "Host: " + metadata, "X-aws-ec2-metadata-token-ttl-seconds: 60", "Content-Length: 0"}, more...)
		}},
	}
}

// ask connects as a puppet and asks once.
func (f face) ask(p *puppet, bearer string, more ...string) answer {
	p.t.Helper()
	c := p.try(order{Do: "dial", Network: f.network, Address: f.address})
	if c.Err != "" {
		return c
	}
	defer p.try(order{Do: "close", On: c.On})
	return p.try(order{Do: "ask", On: c.On, Lines: f.lines(bearer, more...)})
}

// gets fails the test unless an answer is what the owner may have.
func gets(t testing.TB, what string, a answer) {
	t.Helper()
	if a.Err != "" || a.Status/100 != 2 {
		t.Errorf("%s: the owner is refused: %d %s %s", what, a.Status, a.Err, a.Body)
	}
}

// nothing fails the test unless an answer refuses, with a reason, and holds nothing of
// anybody's.
func nothing(t testing.TB, what string, a answer) {
	t.Helper()
	if a.Err == "" && a.Status/100 == 2 {
		t.Errorf("%s: ANSWERED: %d %s", what, a.Status, a.Body)
	}
	if strings.Contains(a.Body, "ASIA") || strings.Contains(a.Body, "SecretAccessKey") || strings.Contains(a.Body, "secret_access_key") {
		t.Errorf("%s: the refusal holds keys: %s", what, a.Body)
	}
	if a.Err == "" && !refusals[a.Status] {
		t.Errorf("%s: refused with %d %s", what, a.Status, a.Body)
	}
}

// refusals are the statuses of a refusal; anything else is a failure of another kind.
var refusals = map[int]bool{http.StatusUnauthorized: true, http.StatusForbidden: true, http.StatusGone: true, http.StatusNotFound: true, http.StatusMisdirectedRequest: true, http.StatusBadRequest: true}

// keyOf reads the access key id of an answer of the container endpoint or the socket.
func keyOf(t testing.TB, a answer) string {
	t.Helper()
	var k struct {
		AccessKeyID string `json:"AccessKeyId"`
		Local       string `json:"access_key_id"`
	}
	if err := json.Unmarshal([]byte(a.Body), &k); err != nil || k.AccessKeyID+k.Local == "" {
		t.Fatalf("no keys in %d %s %s: %v", a.Status, a.Err, a.Body, err)
	}
	return k.AccessKeyID + k.Local
}

// bearer asks the agent for the second factor of a sign-in.
func bearer(t testing.TB, l *nodes.Login) string {
	t.Helper()
	var b localdoc.Bearer
	l.MustLocal(t, http.MethodGet, "/v1/bearer", nil, &b)
	return b.Token
}
