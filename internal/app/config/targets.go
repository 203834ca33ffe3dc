package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TargetKind says what takes the audit trail.
type TargetKind string

// The kinds of audit target.
const (
	TargetFile   TargetKind = "file"   // JSON lines, appended
	TargetSyslog TargetKind = "syslog" // RFC 5424
	TargetOTLP   TargetKind = "otlp"   // an OpenTelemetry collector, over HTTP
	TargetS3     TargetKind = "s3"     // objects of JSON lines
)

// AuditTarget is a place outside the database that gets every record of the trail.
type AuditTarget struct {
	// Name is what the target is known by: its place in the trail is kept under it.
	Name string     `yaml:"name"`
	Kind TargetKind `yaml:"kind"`
	File string     `yaml:"file"` // file
	// Address is where syslog listens: tls://, tcp:// or udp://host:port, or
	// unix:///dev/log.
	Address  string `yaml:"address"`
	Facility string `yaml:"facility"` // syslog; default authpriv
	// MostBytes bounds a message by udp and unix; default DefaultDatagram.
	MostBytes int `yaml:"most_bytes"`
	// Endpoint is the address of a collector, without a path.
	Endpoint    string `yaml:"endpoint"`     // otlp
	HeadersFile string `yaml:"headers_file"` // otlp; a secret file of "Name: value" lines
	CA          string `yaml:"ca"`           // syslog over TLS, otlp; PEM file, default the system's
	Client      TLS    `yaml:"client"`       // syslog over TLS, otlp; the certificate that we show
	// Plain is "accept" where records may go beyond loopback without TLS.
	Plain    Acceptance `yaml:"plain"`
	Upstream string     `yaml:"upstream"` // s3
	Bucket   string     `yaml:"bucket"`   // s3
	Prefix   string     `yaml:"prefix"`   // s3
	// Every is how long records wait, so that objects are fewer; default DefaultEvery.
	Every time.Duration `yaml:"every"` // s3
}

// The defaults of audit targets.
const (
	DefaultFacility = "authpriv"
	DefaultDatagram = 2048
	DefaultEvery    = time.Minute
	DefaultHold     = 720 * time.Hour
)

// Facilities are syslog's, by their numbers (RFC 5424, table 1).
func Facilities() []string {
	return []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
}

func (t *AuditTarget) complete() {
	switch t.Kind {
	case TargetSyslog:
		fill(&t.Facility, DefaultFacility)
		if t.MostBytes == 0 {
			t.MostBytes = DefaultDatagram
		}
	case TargetOTLP:
		t.Endpoint = strings.TrimSuffix(t.Endpoint, "/")
	case TargetS3:
		if t.Every == 0 {
			t.Every = DefaultEvery
		}
	}
}

func (v *validator) targets(c *Config) {
	names, files := map[string]bool{}, map[string]bool{}
	for i, t := range c.Audit.Targets {
		path := fmt.Sprintf("audit.targets[%d]", i)
		v.name(path+".name", t.Name, names)
		v.acceptance(path+".plain", t.Plain)
		if (t.Client.Certificate == "") != (t.Client.Key == "") {
			v.bad(path+".client", "want both certificate and key")
		}
		switch t.Kind {
		case TargetFile:
			if t.File == "" {
				v.bad(path+".file", "missing: name the file that lines are appended to")
			} else if files[t.File] || t.File == c.Audit.Checkpoints || t.File == c.AccessLog.File {
				v.bad(path+".file", "%s takes something else too", t.File)
			}
			files[t.File] = true
		case TargetSyslog:
			v.syslog(path, t)
		case TargetOTLP:
			v.collector(path+".endpoint", t.Endpoint, t.Plain)
		case TargetS3:
			v.auditBucket(path, c, t)
		default:
			v.bad(path+".kind", "%q: want file, syslog, otlp or s3", t.Kind)
			continue
		}
		v.foreignKeys(path, t)
	}
}

// foreignKeys refuses what a target of this kind has no use for.
func (v *validator) foreignKeys(path string, t AuditTarget) {
	secured := t.Kind == TargetOTLP || t.Kind == TargetSyslog && strings.HasPrefix(t.Address, "tls://")
	for _, f := range []struct {
		key  string
		set  bool
		fits bool
		of   string
	}{
		{"file", t.File != "", t.Kind == TargetFile, "kind: file"},
		{"address", t.Address != "", t.Kind == TargetSyslog, "kind: syslog"},
		{"facility", t.Facility != "", t.Kind == TargetSyslog, "kind: syslog"},
		{"most_bytes", t.MostBytes != 0, t.Kind == TargetSyslog, "kind: syslog"},
		{"endpoint", t.Endpoint != "", t.Kind == TargetOTLP, "kind: otlp"},
		{"headers_file", t.HeadersFile != "", t.Kind == TargetOTLP, "kind: otlp"},
		{"ca", t.CA != "", secured, "kind: otlp, and syslog by tls://"},
		{"client", t.Client.On(), secured, "kind: otlp, and syslog by tls://"},
		{"plain", t.Plain != "", t.Kind == TargetOTLP || t.Kind == TargetSyslog, "kind: otlp and syslog"},
		{"upstream", t.Upstream != "", t.Kind == TargetS3, "kind: s3"},
		{"bucket", t.Bucket != "", t.Kind == TargetS3, "kind: s3"},
		{"prefix", t.Prefix != "", t.Kind == TargetS3, "kind: s3"},
		{"every", t.Every != 0, t.Kind == TargetS3, "kind: s3"},
	} {
		if f.set && !f.fits {
			v.bad(path+"."+f.key, "is for %s", f.of)
		}
	}
}

func (v *validator) syslog(path string, t AuditTarget) {
	if !slices.Contains(Facilities(), t.Facility) {
		v.bad(path+".facility", "%q: want one of %s", t.Facility, strings.Join(Facilities(), ", "))
	}
	if t.MostBytes < 1024 || t.MostBytes > 65000 {
		v.bad(path+".most_bytes", "%d: want 1024 to 65000", t.MostBytes)
	}
	u, err := url.Parse(t.Address)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		v.bad(path+".address", "%q is no address such as tls://logs.example.com:6514 or unix:///dev/log", t.Address)
		return
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || len(u.Path) < 2 {
			v.bad(path+".address", "%q is no address such as unix:///dev/log", t.Address)
		}
		return
	case "tls", "tcp", "udp":
	default:
		v.bad(path+".address", "%q: want tls://, tcp:// or udp://host:port, or unix:///dev/log", t.Address)
		return
	}
	host, port, err := net.SplitHostPort(u.Host)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 1 || n > 65535 || host == "" || u.Path != "" {
		v.bad(path+".address", "%q: want %s://host:port", t.Address, u.Scheme)
	} else if u.Scheme != "tls" && !loopbackHost(host) && t.Plain != Accepted {
		v.bad(path+".address", "%q sends records in the open: use tls://, or write plain: accept", t.Address)
	}
}

// collector holds the address of an OpenTelemetry collector.
func (v *validator) collector(path, raw string, plain Acceptance) {
	switch u, err := url.Parse(raw); {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		v.bad(path, "%q is not an address such as https://collector.example.com:4318", raw)
	case u.User != nil, u.Path != "", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		v.bad(path, "%q: want scheme, host and port only", raw)
	case u.Scheme == "http" && !loopbackHost(u.Hostname()) && plain != Accepted:
		v.bad(path, "%q sends records in the open: use https, or write plain: accept", raw)
	}
}

var auditPrefixForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)

// auditBucket holds a target of objects to a bucket that this server can reach by
// itself.
func (v *validator) auditBucket(path string, c *Config, t AuditTarget) {
	if _, ok := c.Upstream(t.Upstream); !ok {
		v.bad(path+".upstream", "%q is not one of the upstreams%s", t.Upstream, upstreamAdvice(t.Upstream, c.Upstreams))
	}
	if !bucketForm.MatchString(t.Bucket) || strings.Contains(t.Bucket, "*") {
		v.bad(path+".bucket", "%q is not the name of a bucket", t.Bucket)
	}
	if t.Prefix != "" && (len(t.Prefix) > 512 || !auditPrefixForm.MatchString(t.Prefix)) {
		v.bad(path+".prefix", "%q: want letters, digits, dots, dashes and underscores between single slashes, none at the ends", t.Prefix)
	}
	if t.Every < time.Second || t.Every > time.Hour {
		v.bad(path+".every", "%s: want 1s to 1h", t.Every)
	}
}

// auditsAtAWS reports whether an audit target is a bucket at AWS.
func (c *Config) auditsAtAWS() bool {
	return slices.ContainsFunc(c.Audit.Targets, func(t AuditTarget) bool {
		u, ok := c.Upstream(t.Upstream)
		return ok && u.Kind == UpstreamAWS
	})
}
