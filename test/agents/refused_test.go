//go:build interop

package agents

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"carnet.dev/carnet/test/nodes"
)

// metadata is a machine's own instance metadata service, which gives the machine's
// identity to whoever asks. It counts.
type metadata struct{ asked atomic.Int64 }

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.asked.Add(1)
	const folder = "/latest/meta-data/iam/security-credentials/"
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		fmt.Fprint(w, "token")
	case r.URL.Path == folder:
		fmt.Fprint(w, "machine")
	case r.URL.Path == folder+"machine":
		fmt.Fprint(w, `{"Code":"Success","LastUpdated":"2026-01-02T03:04:05Z","Type":"AWS-HMAC","AccessKeyId":"ASIAMACHINE000000000","SecretAccessKey":"machine","Token":"machine","Expiration":"2036-01-02T03:04:05Z"}`)
	default:
		http.NotFound(w, r)
	}
}

// TestRefused: whom the agent refuses must not get the machine's own identity instead.
// Each client is told of the container endpoint, on a machine whose metadata service
// would answer.
func TestRefused(t *testing.T) {
	site := nodes.Start(t, nodes.Options{})
	node := site.Node(t, nodes.NodeOptions{Stopped: true, Addresses: []string{"169.254.170.2", "169.254.170.23", "169.254.169.254"}})
	machine := &metadata{}
	var l net.Listener
	if err := node.Inside(func() (err error) { l, err = net.Listen("tcp", "169.254.169.254:80"); return err }); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: machine}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	node.StartAgent(t) // which would take that address where it is free

	stranger := node.Login(t, 71009) // nobody's
	if o := stranger.Run(t, "curl", "-sf", "-X", "PUT", "http://169.254.169.254/latest/api/token"); o.Out != "token" || machine.asked.Swap(0) != 1 {
		t.Fatalf("the machine's metadata service does not answer: %s", o)
	}
	token := filepath.Join(stranger.Home, "token")
	if err := os.WriteFile(token, []byte("carnet-local-guess"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := &world{site: site, node: node}
	w.prepare(t, 71009)
	for _, c := range clients {
		t.Run(c.id, func(t *testing.T) {
			argv := program(t, c.id)
			ask := func(name string, more ...string) int64 {
				r := &run{world: w, client: c.id, way: name}
				r.makeOut(t, stranger)
				cmd := stranger.Command(append(argv, "put")...)
				cmd.Env = append(append(append(cmd.Env, r.common(site.AWS)...), "AWS_CONTAINER_CREDENTIALS_FULL_URI="+stranger.Status(t).Faces.Container, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="+token), more...)
				o := stranger.Finish(t, cmd)
				if said := r.said(t, o); said == "" {
					t.Errorf("%s: it worked: %s", name, o)
				}
				return machine.asked.Swap(0)
			}
			// As carnet attach sets it.
			if n := ask("refused", "AWS_EC2_METADATA_DISABLED=true"); n != 0 {
				t.Errorf("it asked the machine's metadata service %d times", n)
			}
			// Without it, most stay refused all the same.
			if n := ask("refused-bare"); (n != 0) != goesOn[c.id] {
				t.Errorf("without AWS_EC2_METADATA_DISABLED it asked the machine's metadata service %d times", n)
			}
		})
	}
}

// goesOn are the clients that go on to instance metadata when the container endpoint
// refuses them, unless AWS_EC2_METADATA_DISABLED says not to.
var goesOn = map[string]bool{"java": true, "hadoop": true}
