//go:build interop

package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/edge/audittarget/syslog/syslogtest"
	"carnet.dev/carnet/internal/service/audit"
	harness "carnet.dev/carnet/test/running"
)

// otelcol is a real OpenTelemetry collector, set up as docs/operations/audit.md says.
type otelcol struct {
	config, out string
	process     *exec.Cmd
	log         *log
}

// pageCollector gives the page's collector, with places that are here.
func pageCollector(t *testing.T, address string, c syslogtest.Certificates, plain bool) *otelcol {
	t.Helper()
	page, err := os.ReadFile("../../../docs/operations/audit.md")
	must(t, err)
	_, block, ok := strings.Cut(string(page), "```yaml\nextensions:")
	block, _, end := strings.Cut(block, "```")
	if !ok || !end {
		t.Fatal("the page shows no collector")
	}
	folder := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(folder, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	o := &otelcol{out: filepath.Join(folder, "collected.jsonl"), log: &log{}}
	here := []string{"0.0.0.0:4318", address, "/var/log/otelcol/carnet.jsonl", o.out, "/etc/otelcol/token", put("given-token", collectorWord),
		"/etc/otelcol/collector.crt", c.Certificate, "/etc/otelcol/collector.key", c.Key}
	for i := 0; i < len(here); i += 2 {
		if !strings.Contains(block, here[i]) {
			t.Fatalf("the page does not show %s", here[i])
		}
		block = strings.ReplaceAll(block, here[i], here[i+1])
	}
	if plain {
		var kept []string
		for line := range strings.Lines(block) {
			if key := strings.TrimSpace(line); !strings.HasPrefix(key, "tls:") && !strings.HasPrefix(key, "auth:") {
				kept = append(kept, line)
			}
		}
		block = strings.Join(kept, "")
	}
	// Its own metrics have one address, which others may have on this machine.
	o.config = put("otelcol.yaml", "extensions:"+block+"  telemetry: {metrics: {level: none}}\n")
	return o
}

// start starts it and waits until it listens.
func (o *otelcol) start(t *testing.T, address string) {
	t.Helper()
	o.process = exec.Command(harness.Need(t, "CARNET_COLLECTOR"), "--config", o.config)
	o.process.Stdout, o.process.Stderr = o.log, o.log
	must(t, o.process.Start())
	t.Cleanup(func() { o.kill(); o.tell(t) })
	soon(t, "the collector listens", func() bool {
		resp, err := http.Get("http://" + address + "/v1/logs") // an answer to plain HTTP, by TLS too
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

func (o *otelcol) tell(t *testing.T) {
	if t.Failed() {
		t.Logf("the collector said %s", o.log)
	}
}

// kill ends it with SIGKILL.
func (o *otelcol) kill() {
	_ = o.process.Process.Kill()
	_ = o.process.Wait()
}

// collected is a record as the collector understood it.
type collected struct {
	Time           string `json:"timeUnixNano"`
	SeverityNumber int
	SeverityText   string
	EventName      string
	Body           struct{ StringValue string }
	Attributes     []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
	resource string // its attributes
}

func (c collected) attribute(name string) string {
	for _, a := range c.Attributes {
		if a.Key == name {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// read gives what the collector wrote, in order.
func (o *otelcol) read(t *testing.T) (all []collected) {
	t.Helper()
	f, err := os.Open(o.out)
	must(t, err)
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var one struct {
			ResourceLogs []struct {
				Resource  json.RawMessage
				ScopeLogs []struct{ LogRecords []collected }
			}
		}
		if err := d.Decode(&one); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		for _, r := range one.ResourceLogs {
			for _, s := range r.ScopeLogs {
				for _, l := range s.LogRecords {
					l.resource = string(r.Resource)
					all = append(all, l)
				}
			}
		}
	}
}

// TestOpenTelemetryCollector brings the trail to a real collector, as the page shows it
// and without TLS and token, over two times that it was killed: each record arrives at
// least once, each chain in its order, and the collector understands its time,
// severity, name and attributes.
func TestOpenTelemetryCollector(t *testing.T) {
	for name, plain := range map[string]bool{"by HTTPS with a token": false, "by HTTP": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, certificates := freeAddress(t), syslogtest.NewCertificates(t)
			o := pageCollector(t, address, certificates, plain)
			headers := filepath.Join(t.TempDir(), "given-headers")
			must(t, os.WriteFile(headers, []byte("Authorization: Bearer "+collectorWord+"\n"), 0o600))
			target := fmt.Sprintf("{name: collector, kind: otlp, endpoint: https://%s, headers_file: %s, ca: %s}", address, headers, certificates.CA)
			if plain {
				target = fmt.Sprintf("{name: collector, kind: otlp, endpoint: http://%s}", address)
			}
			o.start(t, address)
			in := newGatewayWorld(t, func(text string) string { return text + "audit: {targets: [" + target + "]}\n" })
			server := in.running
			level := func() bool { return strings.Contains(in.must(t, "audit", "targets"), "  0 records behind") }
			soon(t, "the collector has all", level)
			for i := range 2 {
				ended := make(chan struct{})
				go func() { o.kill(); close(ended) }()
				for range 3 {
					in.must(t, "admin", "recover")
					in.enter(t, analyst)
				}
				if <-ended; i == 0 {
					in.denied(t)
				}
				in.enter(t, hr)
				soon(t, "the trouble is seen", func() bool { return !level() })
				o.start(t, address)
				in.enter(t, hr)
				again(t, level)
			}
			server.stop()
			o.kill()
			if text := server.log.String(); strings.Contains(text, collectorWord) {
				t.Error("the log shows a header")
			}
			compare(t, o.read(t), exported(t, in.must(t, "audit", "export")))
		})
	}
}

// again waits for a target that was away, which is tried once a minute at least.
func again(t *testing.T, level func() bool) {
	t.Helper()
	for began := time.Now(); !level(); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			t.Fatal("the collector has not all after two minutes")
		}
	}
}

// denied has a request of alice's denied.
func (w *gatewayWorld) denied(t *testing.T) {
	t.Helper()
	var k fetched
	if status := ask(t, w.alice, http.MethodPost, w.base+"/api/v1/roles/credentials", `{"role":"analyst"}`, &k); status != http.StatusOK {
		t.Fatal(status, k)
	}
	if _, err := w.s3(k.AccessKeyID, k.SecretAccessKey, k.SessionToken).GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("hr/x")}); !strings.Contains(refusal(err), "AccessDenied") {
		t.Fatal(err)
	}
}

// compare holds what a collector understood against the trail.
func compare(t *testing.T, got []collected, trail []audit.Document) {
	t.Helper()
	first, last := map[string]collected{}, map[string]int64{}
	for _, c := range got {
		id, chain := c.attribute("carnet.audit.event_id"), c.attribute("carnet.audit.chain")
		seq, err := strconv.ParseInt(c.attribute("carnet.audit.seq"), 10, 64)
		must(t, err)
		if _, again := first[id]; again {
			continue
		}
		if first[id] = c; seq != last[chain]+1 {
			t.Errorf("%s comes after %d", id, last[chain])
		}
		last[chain] = seq
		if !strings.Contains(c.resource, `"carnet"`) || !strings.Contains(c.resource, "host.name") {
			t.Errorf("%s: resource %s", id, c.resource)
		}
	}
	// The last records of a chain are those of the end itself: a later start would bring them.
	missing, had := 0, map[string]bool{}
	for _, d := range trail {
		c, ok := first[d.EventID]
		if !ok {
			if missing++; d.Chain.Seq <= last[d.Chain.Writer] {
				t.Errorf("the collector lacks %s", d.EventID)
			}
			continue
		}
		had[string(d.Outcome)] = true
		severity := map[string]string{"done": "9 INFO", "denied": "13 WARN", "failed": "17 ERROR"}[string(d.Outcome)]
		for what, pair := range map[string][2]string{
			"time":     {c.Time, strconv.FormatInt(d.EventTime.UnixNano(), 10)},
			"severity": {fmt.Sprint(c.SeverityNumber, " ", c.SeverityText), severity},
			"name":     {c.EventName, d.EventName},
			"outcome":  {c.attribute("carnet.audit.outcome"), string(d.Outcome)},
			"hash":     {c.attribute("carnet.audit.hash"), d.Chain.Hash},
			"person":   {c.attribute("user.id"), d.UserIdentity.Person},
			"user":     {c.attribute("user.name"), d.UserIdentity.UserName},
			"source":   {c.attribute("client.address"), d.SourceIP},
			"request":  {c.attribute("carnet.request_id"), d.RequestID},
			"target":   {c.attribute("carnet.target"), d.Target},
			"account":  {c.attribute("cloud.account.id"), d.Account},
			"role":     {c.attribute("carnet.role"), d.UserIdentity.Role},
			"error":    {c.attribute("error.type"), d.ErrorCode},
			"body":     {fmt.Sprint(exported(t, c.Body.StringValue)), fmt.Sprint([]audit.Document{d})},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: the collector understood %s %q, want %q", d.EventID, what, pair[0], pair[1])
			}
		}
	}
	if len(first) < 9 || missing > 2 || !had["done"] || !had["denied"] {
		t.Errorf("%d records with outcomes %v, %d of the end missing", len(first), had, missing)
	}
	t.Logf("%d records came, %d of them again", len(got), len(got)-len(first))
}
