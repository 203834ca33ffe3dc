//go:build interop

package revocationbench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/nodes"
)

const roleVariable = "CARNET_REVOCATION_ROLE"

// TestMain lets this binary be what asks on a node, too.
func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "poller" {
		os.Exit(m.Run())
	}
	if err := poll(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// job tells the poller what to ask; an empty one lets it rest.
type job struct {
	Container string // address of the container endpoint
	TokenFile string
	Role      string
}

// heard is one answer at a node, as the poller writes it: times are nanoseconds since
// 1970 by the one clock of the machine.
type heard struct {
	Socket    bool // by the unix socket, else by the container endpoint
	Sent, Got int64
	Said      string
}

// poll does what the lines of in say, until they end.
func poll(in io.Reader, out io.Writer) error {
	var mu sync.Mutex
	say := json.NewEncoder(out)
	stop := func() {}
	for lines := json.NewDecoder(in); ; {
		var j job
		if err := lines.Decode(&j); err != nil {
			stop()
			return nil // who started us is gone
		}
		stop()
		if j.Container == "" {
			stop = func() {}
			continue
		}
		token, err := os.ReadFile(j.TokenFile)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(context.Background())
		var asking sync.WaitGroup
		for _, socket := range []bool{false, true} {
			ask, end := j.asks(socket, string(token))
			asking.Go(func() {
				defer end() // an agent takes so many connections of one account
				for range most {
					began := time.Now()
					said := ask(ctx)
					if ctx.Err() != nil {
						return
					}
					mu.Lock()
					_ = say.Encode(heard{socket, began.UnixNano(), time.Now().UnixNano(), said})
					mu.Unlock()
					time.Sleep(every - time.Since(began))
				}
			})
		}
		stop = func() { cancel(); asking.Wait() }
	}
}

// asks makes what asks one of the agent's two faces for keys, by one connection, and
// what ends that.
func (j job) asks(socket bool, token string) (ask func(context.Context) string, end func()) {
	t := &http.Transport{}
	address := j.Container + "/" + j.Role
	if socket {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", localdoc.Socket)
		}
		address = "http://localhost/v1/keys?role=" + j.Role
	}
	client := &http.Client{Transport: t, Timeout: 30 * time.Second}
	return func(ctx context.Context) string {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return odd + err.Error()
		}
		if !socket {
			req.Header.Set("Authorization", token)
		}
		return askHTTP(client, req)
	}, client.CloseIdleConnections
}

// askHTTP tells a yes from a refusal by the status.
func askHTTP(client *http.Client, req *http.Request) string {
	resp, err := client.Do(req)
	if err != nil {
		return odd + err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return odd + err.Error()
	case resp.StatusCode == http.StatusOK:
		return yes
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusSeeOther, resp.StatusCode == http.StatusFound:
		var problem struct{ Code string }
		_ = json.Unmarshal(body, &problem)
		return strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", problem.Code))
	}
	return fmt.Sprintf("%s%d %.200s", odd, resp.StatusCode, body)
}

// seat is a sign-in of one person at one node, with a poller in it.
type seat struct {
	*nodes.Login
	in io.Writer

	mu                sync.Mutex
	container, socket *watch // who hears the answers; nil: nobody
}

const uid = 71001

func newSeat(t *testing.T, n *nodes.Node, self string) *seat {
	t.Helper()
	s := &seat{Login: n.Login(t, uid)}
	cmd := s.Command(self)
	cmd.Env = append(cmd.Env, roleVariable+"=poller")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Process.Signal(syscall.SIGKILL); _ = cmd.Wait() })
	s.in = in
	go s.hear(bufio.NewReader(out))
	return s
}

func (s *seat) hear(r io.Reader) {
	for lines := json.NewDecoder(r); ; {
		var h heard
		if err := lines.Decode(&h); err != nil {
			return
		}
		s.mu.Lock()
		w := s.container
		if h.Socket {
			w = s.socket
		}
		s.mu.Unlock()
		if w != nil {
			w.take(answer{time.Unix(0, h.Sent), time.Unix(0, h.Got), h.Said})
		}
	}
}

// ask begins to ask the agent for keys of a role; container and socket take the answers.
func (s *seat) ask(t *testing.T, role string, container, socket *watch) {
	t.Helper()
	st := s.Status(t)
	if st.Attachment == nil || st.Faces.Container == "" {
		t.Fatalf("nothing is attached: %+v", st)
	}
	s.mu.Lock()
	s.container, s.socket = container, socket
	s.mu.Unlock()
	s.tell(t, job{Container: st.Faces.Container, TokenFile: st.Attachment.TokenFile, Role: role})
}

// rest ends that.
func (s *seat) rest(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	s.container, s.socket = nil, nil
	s.mu.Unlock()
	s.tell(t, job{})
}

func (s *seat) tell(t *testing.T, j job) {
	t.Helper()
	if err := json.NewEncoder(s.in).Encode(j); err != nil {
		t.Fatal(err)
	}
}
