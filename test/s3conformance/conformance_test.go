//go:build interop

package s3conformance

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"carnet.dev/carnet/test/s3conformance/resign"
)

var (
	quick  = flag.Bool("short-run", false, "only the groups of the short run, with static keys")
	update = flag.Bool("update", false, "write docs/compatibility/s3-conformance.md")
	keep   = flag.String("keep", "", "write every outcome to this folder")
)

// TestVersityGW runs versitygw's own client in every lane.
func TestVersityGW(t *testing.T) {
	list, err := parseAllowed(allowedText)
	if err != nil {
		t.Fatal(err)
	}
	all := chosen(groups(t))
	var plain, versions, bySession []group
	for _, g := range all {
		switch {
		case g.name == versionGroup:
			versions = append(versions, g)
		default:
			plain = append(plain, g)
			if !bySignature[g.name] {
				bySession = append(bySession, g)
			}
		}
	}
	l := newLanes(t)
	root := keys{id: rootID, secret: rootKey}
	t.Run("run", func(t *testing.T) {
		l.start(t, "straight", func(t *testing.T) map[string]outcome {
			return run{url: startUpstream(t, false).url, keys: root, groups: plain}.do(t)
		})
		l.start(t, "static", func(t *testing.T) map[string]outcome {
			up := startUpstream(t, false)
			g := startGateway(t, &up)
			return run{url: g.url, keys: g.static, groups: plain, excused: excused(list)}.do(t)
		})
		if *quick {
			return
		}
		l.start(t, "straight, versions", func(t *testing.T) map[string]outcome {
			return run{url: startUpstream(t, true).url, keys: root, versions: true, groups: versions, excused: excused(list)}.do(t)
		})
		l.start(t, "versions", func(t *testing.T) map[string]outcome {
			up := startUpstream(t, true)
			g := startGateway(t, &up)
			return run{url: g.url, keys: g.static, versions: true, groups: versions, excused: excused(list)}.do(t)
		})
		l.start(t, "session", func(t *testing.T) map[string]outcome {
			up := startUpstream(t, false)
			g := startGateway(t, &up)
			return run{url: resigning(t, g), keys: keys{id: "AKIDWITHOUTTOKEN", secret: "any"}, groups: bySession, excused: excused(list)}.do(t)
		})
		l.start(t, "embedded", func(t *testing.T) map[string]outcome {
			g := startGateway(t, nil)
			return run{url: g.url, keys: g.static, groups: plain, excused: excused(list)}.do(t)
		})
	})
	l.report(t, "static", "straight", list)
	if *quick {
		return
	}
	l.report(t, "session", "straight", list)
	l.report(t, "embedded", "straight", list)
	l.report(t, "versions", "straight, versions", list)
	if !t.Failed() {
		l.keepFor(t, "versitygw", "github.com/versity/versitygw", all)
	}
}

// lanesRun are the outcomes of a run, by lane.
type lanesRun struct {
	mu      sync.Mutex
	results map[string]map[string]outcome
}

func newLanes(t *testing.T) *lanesRun {
	t.Helper()
	return &lanesRun{results: map[string]map[string]outcome{}}
}

// start runs a lane beside the others.
func (l *lanesRun) start(t *testing.T, name string, do func(t *testing.T) map[string]outcome) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		all := do(t)
		keepOutcomes(t, name, all)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.results[name] = all
	})
}

// excused are the cases that may fail somewhere.
func excused(list []exception) map[string]bool {
	all := map[string]bool{}
	for _, e := range list {
		all[e.name] = true
	}
	return all
}

// chosen are the groups of this run.
func chosen(all []group) []group {
	if !*quick {
		return all
	}
	return slices.DeleteFunc(all, func(g group) bool { return !short[g.name] && !bySignature[g.name] })
}

// resigning starts the proxy that adds the session token.
func resigning(t *testing.T, g gateway) string {
	t.Helper()
	target, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&resign.Proxy{
		Target: target, Region: region, Now: time.Now,
		Keys: aws.Credentials{AccessKeyID: g.session.id, SecretAccessKey: g.session.secret, SessionToken: g.session.token},
	})
	t.Cleanup(s.Close)
	return s.URL
}

// report prints how a lane did and fails where it did worse than it may.
func (l *lanesRun) report(t *testing.T, lane, straight string, list []exception) {
	t.Helper()
	through := l.results[lane]
	j := judge(lane, l.results[straight], through, list)
	if len(through) == 0 || j.straight == 0 {
		t.Fatalf("%s: %d cases, %d of which pass straight: nothing was held to anything", lane, len(through), j.straight)
	}
	t.Logf("%-14s %3d of %3d cases pass; straight %3d; allowed to fail %d; pass here only %d", lane, j.passed, len(through), j.straight, len(j.allowed), len(j.better))
	for _, name := range j.broken {
		t.Errorf("%s: %s passes straight and comes to %s through the gateway: %s", lane, name, through[name].Status, through[name].Message)
	}
	for _, name := range j.stale {
		t.Errorf("%s: %s passes, and allowed.tsv still excuses it", lane, name)
	}
}

// keepOutcomes writes what each case came to, for whoever looks into one.
func keepOutcomes(t *testing.T, lane string, all map[string]outcome) {
	t.Helper()
	if *keep == "" {
		return
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(*keep, strings.ReplaceAll(lane, ", ", "-")+".json"), text, 0o600)
	}
	if err != nil {
		t.Error(fmt.Errorf("the outcomes of %s can't be kept: %w", lane, err))
	}
}
