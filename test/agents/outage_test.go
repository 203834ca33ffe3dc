//go:build interop

package agents

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/nodes"
)

var outageKeys = flag.Duration("outage-keys", 3*time.Minute, "how long keys live in TestOutage; the server is away for two fifths of that, which is longer than the window in which they are renewed")

// TestOutage: the server is killed for longer than the window in which keys are
// renewed. Whoever holds keys that live is given them all the while; when the server is
// back all is renewed, each thing once, and not all at the same time.
func TestOutage(t *testing.T) {
	site := nodes.Start(t, nodes.Options{Dev: []string{"--key-lifetime", outageKeys.String()}})
	self := filepath.Join(site.Folder, "fetch")
	copySelf(t, self)
	var machines []*nodes.Node
	var all []*fetcher
	for range 2 {
		n := site.Node(t, nodes.NodeOptions{})
		machines = append(machines, n)
		for i, who := range []string{"alice", "bob", "bob", "alice", "bob", "alice"} {
			l := n.Login(t, uint32(71001+i))
			l.Attach(t, who)
			if who == "bob" {
				l.MustLocal(t, http.MethodPut, "/v1/role", localdoc.SetRole{Role: role}, nil)
			}
			all = append(all, fetch(t, l, self))
		}
	}
	life, away := *outageKeys, *outageKeys*2/5
	for _, f := range all {
		nodes.Until(t, "everybody has keys", func() error { return f.keyed() })
	}
	time.Sleep(life / 10)
	site.Kill(t)
	gone := time.Now()
	time.Sleep(away)
	site.Again(t)
	back := time.Now()
	t.Logf("the server was away for %s; keys live %s and are renewed in their last %s", back.Sub(gone).Round(time.Second), life, life/3)
	for _, f := range all {
		nodes.Until(t, "everybody has keys that were made after the outage", func() error { return f.renewed(back.Add(life / 2)) })
	}
	through := 0
	for _, f := range all {
		if f.judge(t, gone, back) {
			through++
		}
	}
	if through == 0 {
		t.Error("nobody's keys lived through the outage: nothing was shown")
	}
	t.Logf("%d of %d processes held keys that lived through it all, and fetched them throughout", through, len(all))
	for _, n := range machines {
		calm(t, n, back, 6)
	}
}

// calm holds what a node asked after the server came back: each set of keys once.
func calm(t *testing.T, n *nodes.Node, back time.Time, attached int) {
	t.Helper()
	seconds, credentials := map[int]int{}, 0
	for _, a := range n.Asked() {
		if a.At.Before(back) {
			continue
		}
		seconds[int(a.At.Sub(back)/time.Second)]++
		if strings.HasSuffix(a.Path, "/node/credentials") {
			credentials++
		}
	}
	most := 0
	for _, n := range seconds {
		most = max(most, n)
	}
	t.Logf("%s asked for keys %d times for %d attachments, and %d things in its busiest second", n.Name, credentials, attached, most)
	// One renewal each, and for keys that had little left another before this ended.
	if credentials > 2*attached {
		t.Errorf("%s asked for keys %d times", n.Name, credentials)
	}
}

// fetcher is a process of a person that fetches keys every quarter of a second.
type fetcher struct {
	uid uint32
	mu  sync.Mutex
	got []fetched
}

// fetched is what came of one fetch.
type fetched struct {
	At         time.Time
	Error      string `json:",omitempty"`
	Expiration time.Time
}

func fetch(t *testing.T, l *nodes.Login, self string) *fetcher {
	t.Helper()
	f := &fetcher{uid: l.UID}
	cmd := l.Command(self)
	cmd.Env = append(append(cmd.Env, l.Faces(t)...), fetchVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := l.Start(cmd); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var one fetched
			if json.Unmarshal(lines.Bytes(), &one) == nil {
				f.mu.Lock()
				f.got = append(f.got, one)
				f.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-read; _ = cmd.Wait() })
	return f
}

func (f *fetcher) last() fetched {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.got) == 0 {
		return fetched{Error: "nothing yet"}
	}
	return f.got[len(f.got)-1]
}

func (f *fetcher) keyed() error {
	if one := f.last(); one.Error != "" {
		return fmt.Errorf("uid %d: %s", f.uid, one.Error)
	}
	return nil
}

// renewed reports whether the keys live past a time.
func (f *fetcher) renewed(past time.Time) error {
	if err := f.keyed(); err != nil {
		return err
	}
	if until := f.last().Expiration; until.Before(past) {
		return fmt.Errorf("uid %d has keys until %s, want past %s", f.uid, until, past)
	}
	return nil
}

// judge holds every fetch to the rule: whoever was given keys that live is given keys
// that live. It reports whether there were such keys all through the outage.
func (f *fetcher) judge(t *testing.T, gone, back time.Time) (through bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var held time.Time // the end of the keys that were given last
	through = true
	fetches := 0
	for _, one := range f.got {
		live := one.At.Before(held)
		switch {
		case live && one.Error != "":
			t.Errorf("uid %d, %s after the server went, with keys that live for %s: %s", f.uid, one.At.Sub(gone), held.Sub(one.At), one.Error)
		case one.Error == "" && !one.At.Before(one.Expiration):
			t.Errorf("uid %d was given keys that had ended %s before", f.uid, one.At.Sub(one.Expiration))
		}
		if one.At.After(gone) && one.At.Before(back) {
			through = through && live
			fetches++
		}
		if one.Error == "" {
			held = one.Expiration
		}
	}
	if fetches < int(back.Sub(gone)/time.Second) {
		t.Errorf("uid %d fetched %d times in %s", f.uid, fetches, back.Sub(gone))
	}
	return through
}

const fetchVariable = "CARNET_TEST_FETCH"

// TestMain lets this binary be the fetcher too.
func TestMain(m *testing.M) {
	if os.Getenv(fetchVariable) == "" {
		os.Exit(m.Run())
	}
	lines := json.NewEncoder(os.Stdout)
	for {
		one := fetched{At: time.Now()}
		if err := one.do(); err != nil {
			one.Error = err.Error()
		}
		if lines.Encode(one) != nil {
			os.Exit(0)
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// do fetches as SDKs do: the token is read anew, the answer has to come within 2 s.
func (one *fetched) do() error {
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
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s", res.Status, body)
	}
	return json.Unmarshal(body, one)
}

// copySelf puts this binary where every account may run it.
func copySelf(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}
