// Package telemetry counts what the server does, for Prometheus, and exports
// spans of a sample of its requests, for OpenTelemetry.
//
// Both are off unless the configuration names where they go. Metrics are served
// on a listener of their own, never on the public ones. Whatever becomes a label
// is from a closed set or bounded here: neither requests nor people can make
// series without end. No secret, key of an object or name of a person is a label.
package telemetry

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are all metrics of one process. Safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	s3       s3
	records  *prometheus.CounterVec
}

// New makes the metrics of a build.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "carnet_build_info", Help: "Always 1; the label says which build runs."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.records = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carnet_audit_records_total",
		Help: "Records made for the audit trail: sign-ins, exchanges, renewals, changes, S3 decisions."}, []string{"action", "outcome"})
	m.registry.MustRegister(build, m.records)
	m.s3.register(m.registry)
	return m
}

// Recorded counts a record of the audit trail.
func (m *Metrics) Recorded(action, outcome string) { m.records.WithLabelValues(action, outcome).Inc() }

// Ask adds a gauge whose values are asked for at each scrape. read calls add once
// for each set of label values.
func (m *Metrics) Ask(name, help string, labels []string, read func(add func(value float64, labels ...string))) {
	m.registry.MustRegister(&asked{desc: prometheus.NewDesc(name, help, labels, nil), kind: prometheus.GaugeValue, read: read})
}

// Count is Ask for numbers that only grow.
func (m *Metrics) Count(name, help string, read func() float64) {
	m.registry.MustRegister(&asked{desc: prometheus.NewDesc(name, help, nil, nil), kind: prometheus.CounterValue, read: func(add func(float64, ...string)) { add(read()) }})
}

// asked is a collector that asks.
type asked struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(add func(value float64, labels ...string))
}

func (a *asked) Describe(c chan<- *prometheus.Desc) { c <- a.desc }

func (a *asked) Collect(c chan<- prometheus.Metric) {
	a.read(func(value float64, labels ...string) {
		m, err := prometheus.NewConstMetric(a.desc, a.kind, value, labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(a.desc, err)
		}
		c <- m
	})
}

// scrape bounds one scrape.
const scrape = 10 * time.Second

// Handler serves GET /metrics and nothing else. On a loopback listener it answers
// to loopback names alone, so that no web page reads it through a browser here.
func (m *Metrics) Handler(listener string) http.Handler {
	own := loopback(listener)
	inner := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: scrape, MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case own && !loopback(r.Host):
			http.Error(w, "this address has another name", http.StatusMisdirectedRequest)
		case r.URL.Path != "/metrics":
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, "GET /metrics", http.StatusMethodNotAllowed)
		default:
			inner.ServeHTTP(w, r)
		}
	})
}

// loopback reports whether host[:port] names this machine to itself.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.Trim(host, "[]")
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.IsLoopback()
}
