package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/config"
)

func TestAuditTargets(t *testing.T) {
	t.Parallel()
	c := parse(t, minimal+`
upstreams: [{name: disk, kind: embedded}]
audit:
  targets:
    - {name: archive, kind: file, file: audit.jsonl}
    - {name: logs, kind: syslog, address: "tls://logs.example.com:6514"}
    - {name: old, kind: syslog, address: "udp://10.1.2.3:514", plain: accept, facility: local3, most_bytes: 8192}
    - {name: collector, kind: otlp, endpoint: "http://127.0.0.1:4318/", headers_file: headers}
    - {name: bucket, kind: s3, upstream: disk, bucket: trail}
`)
	a := c.Audit.Targets
	if a[0].File != "/etc/carnet/audit.jsonl" || a[1].Facility != "authpriv" || a[1].MostBytes != 2048 || a[2].Facility != "local3" || a[3].Endpoint != "http://127.0.0.1:4318" ||
		a[3].HeadersFile != "/etc/carnet/headers" || a[4].Every != time.Minute || c.Audit.Hold != 720*time.Hour {
		t.Errorf("read as %+v", a)
	}
	for line, want := range map[string]string{
		`{name: a, kind: kafka}`:                                                        `audit.targets[0].kind: "kafka": want file, syslog, otlp or s3`,
		`{name: a, kind: file}`:                                                         `audit.targets[0].file: missing`,
		`{name: a, kind: file, file: a, plain: accept}`:                                 `plain: is for kind: otlp and syslog`,
		`{name: a, kind: file, file: a, upstream: disk}`:                                `upstream: is for kind: s3`,
		`{name: a b, kind: file, file: a}`:                                              `"a b": want 1 to 64 letters`,
		`{name: a, kind: file, file: x}, {name: A, kind: file, file: x}`:                `"A" stands twice`,
		`{name: a, kind: file, file: x}, {name: b, kind: file, file: x}`:                `/etc/carnet/x takes something else too`,
		`{name: a, kind: syslog}`:                                                       `audit.targets[0].address: "": want tls://`,
		`{name: a, kind: syslog, address: "tcp://10.1.2.3:514"}`:                        `sends records in the open: use tls://, or write plain: accept`,
		`{name: a, kind: syslog, address: "tls://10.1.2.3"}`:                            `want tls://host:port`,
		`{name: a, kind: syslog, address: "unix://log"}`:                                `is no address such as unix:///dev/log`,
		`{name: a, kind: syslog, address: "tls://h:1", facility: local9}`:               `"local9": want one of kern`,
		`{name: a, kind: syslog, address: "udp://127.0.0.1:514", most_bytes: 100}`:      `100: want 1024 to 65000`,
		`{name: a, kind: syslog, address: "tcp://127.0.0.1:514", ca: x}`:                `ca: is for kind: otlp, and syslog by tls://`,
		`{name: a, kind: syslog, address: "tls://h:1", client: {certificate: x}}`:       `client: want both certificate and key`,
		`{name: a, kind: otlp, endpoint: "http://collector.example.com:4318"}`:          `sends records in the open: use https, or write plain: accept`,
		`{name: a, kind: otlp, endpoint: "https://collector.example.com:4318/v1/logs"}`: `want scheme, host and port only`,
		`{name: a, kind: otlp, endpoint: "https://user@collector.example.com"}`:         `want scheme, host and port only`,
		`{name: a, kind: s3, upstream: none, bucket: trail}`:                            `"none" is not one of the upstreams`,
		`{name: a, kind: s3, upstream: disk, bucket: "tr*il"}`:                          `"tr*il" is not the name of a bucket`,
		`{name: a, kind: s3, upstream: disk, bucket: trail, prefix: "/a"}`:              `none at the ends`,
		`{name: a, kind: s3, upstream: disk, bucket: trail, prefix: "a/../b"}`:          `none at the ends`,
		`{name: a, kind: s3, upstream: disk, bucket: trail, every: 2h}`:                 `2h0m0s: want 1s to 1h`,
	} {
		_, err := config.Parse("carnet.yaml", []byte(minimal+"upstreams: [{name: disk, kind: embedded}]\naudit: {targets: ["+line+"]}\n"), "/etc/carnet")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

func TestReadHeaders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) string {
		path := filepath.Join(dir, "headers")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	all, err := config.ReadHeaders(write("# of the collector\nAuthorization: Bearer a:b\n\n  X-Scope-OrgID:42 \n"))
	if err != nil || len(all) != 2 || all[0].Name != "Authorization" || all[0].Value.Reveal() != "Bearer a:b" || all[1].Value.Reveal() != "42" {
		t.Errorf("%v, %v", all, err)
	}
	if all, err := config.ReadHeaders(""); err != nil || all != nil {
		t.Errorf("no file: %v, %v", all, err)
	}
	for text, want := range map[string]string{
		"hunter2hunter2":                           `line 1: want "Name: value"`,
		"A: 1\nhunter2 x: y":                       `line 2: want "Name: value"`,
		"hunter2: 1\rB: 2":                         `line 1: want "Name: value"`,
		"Content-Length: 5":                        "line 1: Content-Length is not for you to say",
		"host: hunter2":                            "line 1: host is not for you to say",
		"Authorization: a\nauthorization: hunter2": "line 2: authorization stands twice",
	} {
		if _, err := config.ReadHeaders(write(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
