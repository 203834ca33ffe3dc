//go:build interop

package faults

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/fleet"
	"carnet.dev/carnet/test/nodes"
)

// byAgent is a fetch of keys from the agent of a node, by a process of a person who is
// attached there. The agent knows the address that all servers share.
const byAgent = "agent, keys of a role"

const fetchVariable = "CARNET_TEST_FETCH"

// fetched is what came of one fetch.
type fetched struct {
	Began, Ended time.Time
	Error        string `json:",omitempty"`
}

// TestMain lets this binary be that process, too.
func TestMain(m *testing.M) {
	if os.Getenv(fetchVariable) == "" {
		os.Exit(m.Run())
	}
	lines := json.NewEncoder(os.Stdout)
	for {
		one := fetched{Began: time.Now()}
		if err := fetchOnce(); err != nil {
			one.Error = err.Error()
		}
		one.Ended = time.Now()
		if lines.Encode(one) != nil {
			os.Exit(0)
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// fetchOnce fetches as SDKs do: the token is read anew, the answer has to come in 2 s.
func fetchOnce() error {
	bearer, err := os.ReadFile(os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodGet, os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", string(bearer))
	res, err := (&http.Client{Timeout: 2 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var keys struct{ AccessKeyId string }
	if err := json.Unmarshal(body, &keys); err != nil || keys.AccessKeyId == "" {
		return fmt.Errorf("%s %s", res.Status, body)
	}
	return nil
}

// attach makes a node with an agent, attaches bob there, and lets a process of his fetch
// keys until the test ends.
func (w *world) attach(t *testing.T) {
	t.Helper()
	site := nodes.On(t, w.fleet.World, nodes.Options{})
	self := filepath.Join(site.Folder, "fetch")
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	login := site.Node(t, nodes.NodeOptions{}).Login(t, 71001)
	login.Attach(t, "bob")
	login.MustLocal(t, http.MethodPut, "/v1/role", localdoc.SetRole{Role: fleet.Engineer}, nil)
	cmd := login.Command(self)
	cmd.Env = append(append(cmd.Env, login.Faces(t)...), fetchVariable+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := login.Start(cmd); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var one fetched
			if json.Unmarshal(lines.Bytes(), &one) != nil {
				continue
			}
			r := result{kind: byAgent, server: -1, began: one.Began, status: http.StatusOK}
			if one.Error != "" {
				r.status, r.err = 0, errors.New(one.Error)
			}
			w.watch.note(r)
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-read; _ = cmd.Wait() })
	nodes.Until(t, "the process has keys", func() error {
		if _, ok := w.watch.firstGood(way{byAgent, -1}, time.Time{}); !ok {
			return fmt.Errorf("none yet: %v", w.watch.since(time.Time{}))
		}
		return nil
	})
}
