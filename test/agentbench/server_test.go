//go:build interop

package agentbench

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/test/nodes"
)

// role is what every attachment has keys of.
const role = "arn:aws:iam::111122223333:role/analyst"

// server is the server's side for one agent: it knows what attachments it is told,
// takes upstream as long as a trade at STS does for each set of keys, and counts.
type server struct {
	url      string
	upstream time.Duration

	mu      sync.Mutex
	view    nodedoc.View
	changed chan struct{} // closed with the next view
	told    int64         // the revision that the agent has
	asked   map[string]int
}

func newServer(t testing.TB, l net.Listener, upstream time.Duration) *server {
	t.Helper()
	s := &server{
		url: "http://" + l.Addr().String(), upstream: upstream, changed: make(chan struct{}), asked: map[string]int{},
		view: nodedoc.View{Revision: 1, Cluster: nodedoc.Cluster{ID: "clu_bench", Name: "bench", Kind: "high-concurrency", InstanceMetadata: true, SigningProxy: true}, Attachments: []nodedoc.Attachment{}},
	}
	mux := http.NewServeMux()
	answer := func(path string, give func(r *http.Request) any) {
		mux.HandleFunc("POST /api/v1/node/"+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(give(r))
		})
	}
	answer("join", func(*http.Request) any { return nodedoc.Joined{Node: "nod_bench", Cluster: s.view.Cluster} })
	answer("token", func(*http.Request) any {
		return nodedoc.TokenAnswer{AccessToken: "carnet-node-bench", Expires: time.Now().Add(10 * time.Minute)}
	})
	answer("watch", s.watch)
	answer("credentials", s.credentials)
	answer("id-token", func(*http.Request) any {
		return nodedoc.IDToken{Token: "header.claims.signature", Expires: time.Now().Add(5 * time.Minute), Role: role, Region: "us-east-1"}
	})
	answer("roles", func(*http.Request) any { return nodedoc.Roles{Roles: []nodedoc.Role{{ARN: role, Current: true}}} })
	answer("end", func(*http.Request) any { return struct{}{} })
	answer("report", func(*http.Request) any { return struct{}{} })
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return s
}

// watch answers at once where the view is another, else after as long as the real one.
func (s *server) watch(r *http.Request) any {
	var in nodedoc.Watch
	_ = json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	view, changed := s.view, s.changed
	s.told = in.Revision
	s.mu.Unlock()
	if view.Revision != in.Revision {
		return view
	}
	select {
	case <-changed:
	case <-time.After(25 * time.Second):
	case <-r.Context().Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	view = s.view
	if view.Revision == in.Revision {
		view.Attachments = []nodedoc.Attachment{} // as the real one
	}
	return view
}

// credentials gives keys of the size that sealed tokens have.
func (s *server) credentials(r *http.Request) any {
	var in nodedoc.Fetch
	_ = json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	s.asked[in.Attachment]++
	n := s.asked[in.Attachment]
	s.mu.Unlock()
	time.Sleep(s.upstream)
	return nodedoc.Keys{
		AccessKeyID: fmt.Sprintf("ASIA%016d", n), SecretAccessKey: strings.Repeat("s", 40), SessionToken: strings.Repeat("t", 700) + in.Attachment,
		Expiration: time.Now().Add(time.Hour), Role: role, AccountID: "111122223333", Region: "us-east-1", S3: "http://127.0.0.1:8481", STS: "http://127.0.0.1:8481",
	}
}

// attach makes these the attachments of the node, and waits until its agent knows.
func (s *server) attach(t testing.TB, all ...nodedoc.Attachment) {
	t.Helper()
	s.mu.Lock()
	s.view.Revision++
	s.view.Attachments = append([]nodedoc.Attachment{}, all...)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	nodes.Until(t, "the agent knows who is attached", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.told != s.view.Revision {
			return fmt.Errorf("it has revision %d of %d", s.told, s.view.Revision)
		}
		return nil
	})
}

// calls are how many sets of keys were asked for since the last look, and how many
// attachments asked more than once.
func (s *server) calls() (all, again int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.asked {
		all += n
		if n > 1 {
			again++
		}
	}
	s.asked = map[string]int{}
	return all, again
}
