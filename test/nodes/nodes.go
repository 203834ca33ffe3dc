//go:build interop

// Package nodes builds a small computing site for tests: a real server, clusters,
// nodes with the real agent, and people who are signed in to those nodes.
//
// A node has a network, processes and mounts of its own (namespaces). Its network is
// loopback, on which the ports of the server are passed on; so each has ports below
// 1024 and link-local addresses of its own. A sign-in to a node is a control group of version 2 with the name that
// systemd would give it, in which processes run under a uid of their own. No account
// needs an entry in the password file. All of it goes with the test: processes (by
// the control group that holds them), groups, namespaces, mounts.
//
//	site := nodes.Start(t, nodes.Options{})
//	node := site.Node(t, nodes.NodeOptions{})
//	alice := node.Login(t, 71001)
//	alice.Attach(t, "alice")
//	out := alice.Run(t, "aws", "s3", "ls")
//
// It needs root and Linux and fails without them. Tests of package nodes, and those
// that use it, carry the build tag interop and are started by make.
package nodes

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"carnet.dev/carnet/internal/app/cli/profile"
	"carnet.dev/carnet/test/running"
)

// Options of a site. The zero value is a high-concurrency cluster on which
// everything is offered and everybody may attach.
type Options struct {
	// Dev are further flags of carnet dev.
	Dev []string
	// Cluster holds settings of POST /api/v1/clusters that differ from the usual; its
	// member kind is the cluster's.
	Cluster map[string]any
}

// Site is one running server with a first cluster.
type Site struct {
	*running.World
	// Folder is open to every account: 0755. The binary in it is a copy.
	Folder string
	// Carnet is the binary, where every account may run it.
	Carnet string
	// Cluster is the id of the first cluster.
	Cluster string

	groups *groups
	nodes  int
	mu     sync.Mutex
	people map[string]*running.Person
}

// Start starts a server and makes the first cluster.
func Start(t testing.TB, o Options) *Site {
	t.Helper()
	return On(t, running.Dev(t, o.Dev...), o)
}

// On is Start with a server that runs, or several that share their addresses. Its
// identity provider knows carol, who administers, and whoever a test calls.
func On(t testing.TB, w *running.World, o Options) *Site {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("these tests make accounts, control groups and network namespaces: run them as root")
	}
	folder := openFolder(t)
	s := &Site{Folder: folder, Carnet: filepath.Join(folder, "carnet"), people: map[string]*running.Person{}}
	copyFile(t, running.Need(t, "CARNET_BINARY"), s.Carnet)
	s.groups = openGroups(t, folder)
	s.World = w
	s.Cluster = s.AddCluster(t, o.Cluster)
	return s
}

// openFolder makes a folder that every account reaches, until the test ends.
func openFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "carnet-nodes-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(dst, src)
	if err2 := dst.Close(); err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if err := os.Chmod(to, 0o755); err != nil {
		t.Fatal(err)
	}
}

// Person is one of the people of the development identity provider (alice, bob,
// carol who is an administrator, dave), signed in at the server with carnet login on
// a machine of their own. Each signs in once.
func (s *Site) Person(t testing.TB, name string) *running.Person {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.people[name] == nil {
		s.people[name] = s.World.Login(housed{t, s.Folder}, name)
	}
	return s.people[name]
}

// housed is a test whose folders last as long as the site.
type housed struct {
	testing.TB
	folder string
}

func (h housed) TempDir() string {
	folder, err := os.MkdirTemp(h.folder, "person-") // 0700
	if err != nil {
		h.Fatal(err)
	}
	return folder
}

// Bearer is the CLI token of a person's sign-in.
func (s *Site) Bearer(t testing.TB, name string) string {
	t.Helper()
	folder, err := profile.Open(filepath.Join(s.Person(t, name).Home, "carnet"))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	p, err := folder.Load("default")
	if err != nil {
		t.Fatal(err)
	}
	return p.Token.Reveal()
}

// API calls the server's API as a person and gives status and body. Paths are below
// /api/v1/.
func (s *Site) API(t testing.TB, person, method, path string, in any) (int, []byte) {
	t.Helper()
	return s.Ask(t, method, path, s.Bearer(t, person), in)
}

// Ask is API with any bearer; an empty one sends none.
func (s *Site) Ask(t testing.TB, method, path, bearer string, in any) (int, []byte) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if in == nil {
		body = nil
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.Web+"/api/v1/"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(bufio.NewReader(resp.Body))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// Must is API that has to succeed; out, where not nil, is read from the body.
func (s *Site) Must(t testing.TB, person, method, path string, in, out any) {
	t.Helper()
	status, body := s.API(t, person, method, path, in)
	if status/100 != 2 {
		t.Fatalf("%s /api/v1/%s as %s: %d\n%s", method, path, person, status, body)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			t.Fatalf("%s /api/v1/%s: %v\n%s", method, path, err, body)
		}
	}
}

// administrator is who may make clusters in carnet dev.
const administrator = "carol"

// AddCluster makes a cluster, with settings as in Options, and gives its id.
func (s *Site) AddCluster(t testing.TB, fields map[string]any) string {
	t.Helper()
	s.mu.Lock()
	s.nodes++
	name := fmt.Sprintf("shared-%d", s.nodes)
	s.mu.Unlock()
	in := map[string]any{"name": name, "kind": "high-concurrency"}
	settings := map[string]any{"instance_metadata": true, "signing_proxy": true}
	for k, v := range fields {
		settings[k] = v
	}
	if kind, ok := settings["kind"]; ok {
		in["kind"] = kind
		delete(settings, "kind")
	}
	in["settings"] = settings
	var made struct {
		ID string `json:"id"`
	}
	s.Must(t, administrator, http.MethodPost, "clusters", in, &made)
	return made.ID
}

// JoinToken makes a one-use join token of a cluster.
func (s *Site) JoinToken(t testing.TB, cluster string) string {
	t.Helper()
	if s.bare() {
		return "carnet-join-bare"
	}
	var made struct {
		JoinToken string `json:"join_token"`
	}
	s.Must(t, administrator, http.MethodPost, "clusters/"+cluster+"/join-tokens", map[string]any{}, &made)
	return made.JoinToken
}

// Output is what a process printed, and its exit code.
type Output struct {
	Code     int
	Out, Err string
}

func (o Output) String() string { return fmt.Sprintf("exit %d\n%s%s", o.Code, o.Out, o.Err) }

// OK fails the test unless the process ended well, and gives what it printed
// without space around it.
func (o Output) OK(t testing.TB) string {
	t.Helper()
	if o.Code != 0 {
		t.Fatal(o.String())
	}
	return strings.TrimSpace(o.Out)
}
