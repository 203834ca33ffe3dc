package server_test

import (
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"carnet.dev/carnet/internal/edge/audittarget/syslog/syslogtest"
	"carnet.dev/carnet/internal/service/audit"
)

// logCollector takes OTLP over TLS from those who know a password.
type logCollector struct {
	*httptest.Server
	away atomic.Bool
	mu   sync.Mutex
	ids  []string
}

const collectorWord = "word-of-the-collector"

func newLogCollector(t *testing.T, config *tls.Config) *logCollector {
	c := &logCollector{}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var d struct {
			ResourceLogs []struct {
				ScopeLogs []struct {
					LogRecords []struct{ Body struct{ StringValue string } }
				}
			}
		}
		body, err := io.ReadAll(r.Body)
		switch {
		case c.away.Load():
			http.Error(w, r.Header.Get("Authorization"), http.StatusServiceUnavailable)
			return
		case err != nil, json.Unmarshal(body, &d) != nil, r.URL.Path != "/v1/logs", r.Header.Get("Authorization") != "Bearer "+collectorWord:
			t.Errorf("%s %s %v: %s", r.Method, r.URL, err, body)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, l := range d.ResourceLogs[0].ScopeLogs[0].LogRecords {
			c.ids = append(c.ids, idOf(t, l.Body.StringValue))
		}
	}))
	c.TLS = config.Clone()
	c.TLS.ClientAuth = tls.NoClientCert
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

func idOf(t *testing.T, line string) string {
	var d audit.Document
	if err := json.Unmarshal([]byte(line), &d); err != nil || d.EventID == "" {
		t.Errorf("%v: %s", err, line)
	}
	return d.EventID
}

// pageTargets gives the targets of docs/operations/audit.md, with places that are here.
func pageTargets(t *testing.T, here ...string) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/operations/audit.md")
	must(t, err)
	_, block, ok := strings.Cut(string(page), "```yaml\naudit:\n  targets:")
	block, _, end := strings.Cut(block, "```")
	if !ok || !end {
		t.Fatal("the page shows no targets")
	}
	for i := 0; i < len(here); i += 2 {
		if !strings.Contains(block, here[i]) {
			t.Fatalf("the page does not show %s", here[i])
		}
		block = strings.ReplaceAll(block, here[i], here[i+1])
	}
	return "audit:\n  targets:" + block
}

// packed reads the objects of the trail from the store's own folder.
func packed(t *testing.T, folder string) (files []string, text string) {
	t.Helper()
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".jsonl.gz") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(z)
		files, text = append(files, path), text+string(b)
		return err
	}))
	return files, text
}

// TestThePageOfTargets has the trail brought to one target of each kind, as
// docs/operations/audit.md shows them: each gets every record, over an outage of one
// and a server that is killed; and what they hold proves the database.
func TestThePageOfTargets(t *testing.T) {
	t.Parallel()
	certificates := syslogtest.NewCertificates(t)
	receiver, collector := syslogtest.Listen(t, certificates.Server), newLogCollector(t, certificates.Server)
	in := install(t)
	socket := filepath.Join(in.folder, "log")
	local := syslogtest.Packets(t, "unixgram", socket)
	in.write(t, "carnet.yaml", in.read(t, "carnet.yaml")+"telemetry: {metrics: "+freeAddress(t)+"}\n"+pageTargets(t,
		"/var/log/carnet/audit.jsonl", filepath.Join(in.folder, "audit.jsonl"), "logs.example.com:6514", receiver.Address, "/etc/carnet/logs-ca.pem", certificates.CA,
		"/etc/carnet/logs.crt", certificates.ClientCertificate, "/etc/carnet/logs.key", certificates.ClientKey, "/dev/log", socket,
		"https://collector.example.com:4318", collector.URL, "/etc/carnet/collector-headers", in.write(t, "given-headers", "Authorization: Bearer "+collectorWord+"\n"),
		"/etc/carnet/collector-ca.pem", certificates.CA, "upstream: minio", "upstream: disk", "every: 1m", "every: 1s"))
	level := func(n int) func() bool {
		return func() bool { return strings.Count(in.must(t, "audit", "targets"), "  0 records behind") == n }
	}
	server := in.serve(t)
	in.must(t, "admin", "recover")
	soon(t, "all targets to have all", level(5))

	collector.away.Store(true)
	in.must(t, "admin", "recover")
	soon(t, "the others to go on", func() bool {
		out := in.must(t, "audit", "targets")
		return strings.Count(out, "  0 records behind") == 4 && strings.Contains(out, ": the collector answers 503 Service Unavailable") && !strings.Contains(out, collectorWord)
	})
	server.stop()
	collector.away.Store(false)
	server = in.serve(t)
	in.must(t, "admin", "recover")
	soon(t, "all targets to have all again", level(5))
	if strings.Contains(server.log.String(), collectorWord) {
		t.Error("the log shows a header")
	}
	server.stop()

	var all []string
	for _, d := range exported(t, in.must(t, "audit", "export")) {
		all = append(all, d.EventID)
	}
	holds := func(where string, ids []string) {
		t.Helper()
		for _, id := range all {
			if !slices.Contains(ids, id) {
				t.Errorf("%s lacks %s", where, id)
			}
		}
	}
	var inFile, inSyslog, onSocket, inBucket []string
	for _, d := range exported(t, in.read(t, "audit.jsonl")) {
		inFile = append(inFile, d.EventID)
	}
	for _, m := range receiver.Messages() {
		inSyslog = append(inSyslog, idOf(t, m.Text))
	}
	for _, raw := range local.Raw() {
		_, text, _ := strings.Cut(string(raw), "]: ")
		onSocket = append(onSocket, idOf(t, text))
	}
	files, text := packed(t, filepath.Join(in.folder, "data", "store"))
	for _, d := range exported(t, text) {
		inBucket = append(inBucket, d.EventID)
	}
	// The last records are those of the end itself: a later start would bring them.
	all = slices.DeleteFunc(all, func(id string) bool { return !slices.Contains(inFile, id) })
	if len(all) < 3 {
		t.Fatalf("only %v in the file", all)
	}
	holds("the syslog receiver", inSyslog)
	holds("the local socket", onSocket)
	holds("the collector", collector.ids)
	holds("the bucket", inBucket)

	args := []string{"audit", "verify", "--against", filepath.Join(in.folder, "audit.jsonl")}
	for _, f := range files {
		args = append(args, "--against", f)
	}
	if out := in.must(t, args...); !strings.Contains(out, fmt.Sprintf("%d lines of copies say what the database says", len(inFile)+len(inBucket))) || !strings.Contains(out, "The trail is whole") {
		t.Error(out)
	}
	other := in.write(t, "other.jsonl", strings.Replace(in.read(t, "audit.jsonl"), `"outcome":"done"`, `"outcome":"failed"`, 1))
	if o := in.carnet(t, "audit", "verify", "--against", other); o.code == 0 || !strings.Contains(o.String(), "line 1 of "+other+" says something else than record 1") {
		t.Errorf("a changed copy: %s", o)
	}
}
