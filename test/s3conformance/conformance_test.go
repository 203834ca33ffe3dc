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
	results := map[string]map[string]outcome{}
	var mu sync.Mutex
	t.Run("run", func(t *testing.T) {
		lane := func(name string, start func(t *testing.T) run) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				all := start(t).do(t)
				keepOutcomes(t, name, all)
				mu.Lock()
				results[name] = all
				mu.Unlock()
			})
		}
		root := keys{id: rootID, secret: rootKey}
		lane("straight", func(t *testing.T) run { return run{url: startUpstream(t, false).url, keys: root, groups: plain} })
		lane("static", func(t *testing.T) run {
			up := startUpstream(t, false)
			g := startGateway(t, &up)
			return run{url: g.url, keys: g.static, groups: plain}
		})
		if *quick {
			return
		}
		lane("straight, versions", func(t *testing.T) run {
			return run{url: startUpstream(t, true).url, keys: root, versions: true, groups: versions}
		})
		lane("versions", func(t *testing.T) run {
			up := startUpstream(t, true)
			g := startGateway(t, &up)
			return run{url: g.url, keys: g.static, versions: true, groups: versions}
		})
		lane("session", func(t *testing.T) run {
			up := startUpstream(t, false)
			g := startGateway(t, &up)
			return run{url: resigning(t, g), keys: keys{id: "AKIDWITHOUTTOKEN", secret: "any"}, groups: bySession}
		})
		lane("embedded", func(t *testing.T) run {
			g := startGateway(t, nil)
			return run{url: g.url, keys: g.static, groups: plain}
		})
	})
	report(t, "static", results["straight"], results["static"], list)
	if *quick {
		return
	}
	report(t, "session", results["straight"], results["session"], list)
	report(t, "embedded", results["straight"], results["embedded"], list)
	report(t, "versions", results["straight, versions"], results["versions"], list)
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
func report(t *testing.T, lane string, straight, through map[string]outcome, list []exception) {
	t.Helper()
	j := judge(lane, straight, through, list)
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
