package config

import (
	"time"

	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// AccessLog says where the line of each S3 request goes.
type AccessLog struct {
	// Format is AccessJSON, AccessS3 or AccessOff; default AccessJSON.
	Format AccessFormat `yaml:"format"`
	// File takes the lines; it may be renamed at any time. Empty: they go where
	// the server's own log goes, as JSON.
	File string `yaml:"file"`
}

// AccessFormat is how the line of an S3 request is written.
type AccessFormat string

// The formats.
const (
	AccessJSON AccessFormat = "json"
	AccessS3   AccessFormat = "s3" // S3's server access log format
	AccessOff  AccessFormat = "off"
)

// Telemetry says where metrics and spans go; nowhere by default.
type Telemetry struct {
	// Metrics is host:port of a listener that serves /metrics for Prometheus.
	Metrics string `yaml:"metrics"`
	// PlainHTTP is "accept" where metrics may be read, and spans be sent, beyond
	// loopback without TLS.
	PlainHTTP Acceptance `yaml:"plain_http"`
	Traces    Traces     `yaml:"traces"`
}

// Traces says where spans of a sample of the S3 requests are sent.
type Traces struct {
	// Endpoint is the address of an OpenTelemetry collector that takes OTLP over
	// HTTP, without a path. Empty: nothing is sent.
	Endpoint string `yaml:"endpoint"`
	// Sample is the share of requests, over 0 and up to 1; default DefaultSample.
	Sample Share `yaml:"sample"`
	// HeadersFile is a secret file of "Name: value" lines, which go with every
	// request to the collector; empty: none do.
	HeadersFile string `yaml:"headers_file"`
}

// DefaultSample traces one request in a hundred.
const DefaultSample Share = 0.01

// Share is a part of the whole, from 0 to 1.
type Share float64

// UnmarshalText reads a number such as 0.01.
func (s *Share) UnmarshalText(text []byte) error {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is not a share from 0 to 1, such as 0.01", text)
	}
	*s = Share(f)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Share) MarshalText() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(s), 'g', -1, 64), nil
}

func (c *Config) completeObservation() {
	c.Telemetry.Traces.Endpoint = strings.TrimSuffix(c.Telemetry.Traces.Endpoint, "/")
	if c.Telemetry.Traces.Endpoint != "" && c.Telemetry.Traces.Sample == 0 {
		c.Telemetry.Traces.Sample = DefaultSample
	}
	if c.AccessLog.Format == "" {
		c.AccessLog.Format = AccessJSON
	}
	if c.Audit.Retention == 0 {
		c.Audit.Retention = DefaultRetention
	}
	if c.Audit.Hold == 0 {
		c.Audit.Hold = DefaultHold
	}
	for i := range c.Audit.Targets {
		c.Audit.Targets[i].complete()
	}
	for _, s := range []*Switch{&c.Audit.Reads, &c.Audit.Writes, &c.Audit.Strict} {
		if *s == "" {
			*s = Off
		}
	}
}

// DefaultRetention is how long records of the audit trail stay: 400 days.
const DefaultRetention = 9600 * time.Hour

func (v *validator) audit(a Audit) {
	for _, s := range []struct {
		key   string
		value Switch
	}{{"reads", a.Reads}, {"writes", a.Writes}, {"strict", a.Strict}} {
		if s.value != On && s.value != Off {
			v.bad("audit."+s.key, "%q: want on or off", s.value)
		}
	}
	if a.Retention < 24*time.Hour {
		v.bad("audit.retention", "%s: want a day (24h) at least", a.Retention)
	}
}

func (v *validator) accessLog(a AccessLog) {
	switch {
	case a.Format == AccessS3 && a.File == "":
		v.bad("access_log.file", "missing: lines of the format s3 can't stand in the server's own log")
	case a.Format == AccessOff && a.File != "":
		v.bad("access_log.file", "nothing is written to it with format: off")
	case a.Format != AccessJSON && a.Format != AccessS3 && a.Format != AccessOff:
		v.bad("access_log.format", "%q: want json, s3 or off", a.Format)
	}
}

// telemetry holds the listener of metrics apart from the others, and both
// metrics and spans to this machine unless TLS or a decision protects them.
func (v *validator) telemetry(c *Config) {
	t := c.Telemetry
	v.acceptance("telemetry.plain_http", t.PlainHTTP)
	if t.Metrics != "" {
		host, port, err := net.SplitHostPort(t.Metrics)
		n, perr := strconv.Atoi(port)
		switch {
		case err != nil, perr != nil, n < 0, n > 65535:
			v.bad("telemetry.metrics", "%q is not host:port such as 127.0.0.1:9464", t.Metrics)
		case n != 0 && (t.Metrics == c.Listen.Web.Address || t.Metrics == c.Listen.AWS.Address || t.Metrics == c.IAM.Listen.Address):
			v.bad("telemetry.metrics", "%q is another listener's address too", t.Metrics)
		case !loopbackHost(host) && t.PlainHTTP != Accepted:
			v.bad("telemetry.metrics", "%q is not on loopback, and metrics have no TLS: scrape through a proxy, or write plain_http: accept", t.Metrics)
		}
	}
	e := t.Traces.Endpoint
	if e == "" {
		if t.Traces.Sample != 0 || t.Traces.HeadersFile != "" {
			v.bad("telemetry.traces.endpoint", "missing: give the address of a collector, such as http://127.0.0.1:4318")
		}
		return
	}
	switch u, err := url.Parse(e); {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		v.bad("telemetry.traces.endpoint", "%q is not an address such as http://127.0.0.1:4318", e)
	case u.User != nil, u.Path != "", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		v.bad("telemetry.traces.endpoint", "%q: want scheme, host and port only", e)
	case u.Scheme == "http" && !loopbackHost(u.Hostname()) && t.PlainHTTP != Accepted:
		v.bad("telemetry.traces.endpoint", "%q sends spans in the open: use https, or write plain_http: accept", e)
	}
}
