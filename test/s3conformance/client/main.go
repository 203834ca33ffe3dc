// Command client runs cases of versitygw's own test client, those that
// `versitygw test NAME` runs, against any S3 endpoint: many at once, each with
// its own bound, and with one line of JSON for each result.
//
// It is a module of its own, so that the programs it links are not Carnet's.
// The plan comes on standard input, results go to file descriptor 3; what the
// cases themselves print goes where it always went.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/versity/versitygw/tests/integration"
)

// plan says what to run. Cases that need the server for themselves come first,
// one after the other: no other case has left anything behind by then.
type plan struct {
	Endpoint  string   `json:"endpoint"`
	Access    string   `json:"access"`
	Secret    string   `json:"secret"`
	Region    string   `json:"region"`
	Versions  bool     `json:"versions"` // the server keeps versions
	Parallel  int      `json:"parallel"`
	Seconds   int      `json:"seconds"` // bound of one case
	Together  []string `json:"together"`
	OneByOne  []string `json:"one_by_one"`
	Workplace string   `json:"workplace"` // folder with the program versitygw
}

// result is what one case came to.
type result struct {
	Case         string `json:"case"`
	Status       string `json:"status"` // started, pass, fail, panic, timeout or unknown
	Message      string `json:"message,omitempty"`
	Milliseconds int64  `json:"ms"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run() error {
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return fmt.Errorf("the plan can't be read: %w", err)
	}
	if err := os.Chdir(p.Workplace); err != nil {
		return err
	}
	options := []integration.Option{
		integration.WithAccess(p.Access), integration.WithSecret(p.Secret), integration.WithRegion(p.Region), integration.WithEndpoint(p.Endpoint),
	}
	if p.Versions {
		options = append(options, integration.WithVersioningEnabled())
	}
	r := runner{
		config: integration.NewS3Conf(options...), cases: integration.GetIntTests(),
		bound: time.Duration(p.Seconds) * time.Second, out: json.NewEncoder(os.NewFile(3, "results")),
	}
	// The cases number their buckets and compare lists of them by number, which is
	// how they sort while the numbers have equally many digits. This case asks
	// once, for nothing, and takes a number.
	for range 100 {
		if test := r.cases["RouterPostRoot"]; len(p.OneByOne) > 0 && test != nil {
			_ = test(r.config)
		}
	}
	for _, name := range p.OneByOne {
		r.run(name)
	}
	var all sync.WaitGroup
	free := make(chan struct{}, max(p.Parallel, 1))
	for _, name := range p.Together {
		free <- struct{}{}
		all.Go(func() {
			r.run(name)
			<-free
		})
	}
	all.Wait()
	return r.failed
}

type runner struct {
	config *integration.S3Conf
	cases  integration.IntTests
	bound  time.Duration

	mu     sync.Mutex
	out    *json.Encoder
	failed error // of the writing of results
}

func (r *runner) say(v result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.out.Encode(v); err != nil && r.failed == nil {
		r.failed = err
	}
}

// run runs one case. One that does not end within the bound is left behind.
func (r *runner) run(name string) {
	r.say(result{Case: name, Status: "started"})
	test, ok := r.cases[name]
	if !ok {
		r.say(result{Case: name, Status: "unknown"})
		return
	}
	began := time.Now()
	ended := make(chan result, 1)
	go func() { ended <- call(name, test, r.config) }()
	var v result
	select {
	case v = <-ended:
	case <-time.After(r.bound):
		v = result{Case: name, Status: "timeout", Message: "did not end within " + r.bound.String()}
	}
	v.Milliseconds = time.Since(began).Milliseconds()
	r.say(v)
}

func call(name string, test integration.IntTest, config *integration.S3Conf) (v result) {
	defer func() {
		if p := recover(); p != nil {
			v = result{Case: name, Status: "panic", Message: fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
	}()
	if err := test(config); err != nil {
		return result{Case: name, Status: "fail", Message: err.Error()}
	}
	return result{Case: name, Status: "pass"}
}
