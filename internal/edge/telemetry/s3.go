package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Request is one finished S3 request, as metrics count it.
type Request struct {
	Operation string // as the S3 API names it; empty where it wasn't read
	Account   string // of the caller; empty where nobody was proven
	Role      string // its name, or that of a user; empty where nobody was proven
	Status    int    // 0 where the client went before an answer
	// Cause is the class of a failure, and By who found it: gateway, store or aws.
	// Both are empty where nothing failed.
	Cause, By      string
	Denied         bool
	Sent, Received int64
	// FirstByte is negative where no answer began.
	Total, FirstByte time.Duration
	// Upstream is the store that was asked, if one was, and Store the time that it
	// took.
	Upstream string
	Store    time.Duration
}

// mostRoles bounds the roles that have series of their own: the first that this
// process meets. Others are counted together, for each account.
const mostRoles = 100

// other is the label of what is counted together.
const other = "other"

// s3 holds the metrics of S3 requests. What a request needs is found by one look
// into a map for each set of labels.
type s3 struct {
	requests         *prometheus.CounterVec
	seconds, first   *prometheus.HistogramVec
	bytes            *prometheus.CounterVec
	roles, roleBytes *prometheus.CounterVec
	store            *prometheus.HistogramVec
	byAnswer         memo[answer, prometheus.Counter]
	byOperation      memo[string, operation]
	byRole           memo[role, ofRole]
	byStore          memo[string, prometheus.Observer]
	namedRoles       atomic.Int64
}

type answer struct {
	operation, cause, by string
	class                int
}

type operation struct {
	seconds, first prometheus.Observer
	sent, received prometheus.Counter
}

type role struct{ account, name string }

type ofRole struct{ done, denied, failed, sent, received prometheus.Counter }

// seconds are the bounds of histograms: from half a millisecond to minutes, as
// large objects take.
func seconds() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}
}

func (s *s3) register(to *prometheus.Registry) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		to.MustRegister(v)
		return v
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds()}, labels)
		to.MustRegister(v)
		return v
	}
	s.requests = counter("carnet_s3_requests_total", "Finished S3 requests. cause and by are empty where nothing failed; status is none where the client went first.", "operation", "status", "cause", "by")
	s.seconds = histogram("carnet_s3_request_seconds", "Time from the header of an S3 request until all was done.", "operation")
	s.first = histogram("carnet_s3_first_byte_seconds", "Time from the header of an S3 request until the answer began.", "operation")
	s.bytes = counter("carnet_s3_bytes_total", "Bytes of bodies of S3 requests.", "operation", "direction")
	s.roles = counter("carnet_s3_role_requests_total", "Finished S3 requests of proven callers: done, denied or failed.", "account", "role", "outcome")
	s.roleBytes = counter("carnet_s3_role_bytes_total", "Bytes of bodies of S3 requests, by who sent them.", "account", "role", "direction")
	s.store = histogram("carnet_s3_store_seconds", "Time until stores answered, for each S3 request that asked one.", "upstream")
}

// S3 counts a request.
func (m *Metrics) S3(r *Request) {
	s := &m.s3
	op := r.Operation
	if op == "" {
		op = "none"
	}
	s.byAnswer.get(answer{op, r.Cause, r.By, r.Status / 100}, s.answer).Inc()
	o := s.byOperation.get(op, s.operation)
	o.seconds.Observe(r.Total.Seconds())
	if r.FirstByte >= 0 {
		o.first.Observe(r.FirstByte.Seconds())
	}
	o.sent.Add(float64(r.Sent))
	o.received.Add(float64(r.Received))
	if r.Upstream != "" {
		s.byStore.get(r.Upstream, func(name string) prometheus.Observer { return s.store.WithLabelValues(name) }).Observe(r.Store.Seconds())
	}
	if r.Account == "" {
		return
	}
	who := s.byRole.get(s.known(role{r.Account, r.Role}), s.ofRole)
	switch {
	case r.Denied:
		who.denied.Inc()
	case r.Cause != "":
		who.failed.Inc()
	default:
		who.done.Inc()
	}
	who.sent.Add(float64(r.Sent))
	who.received.Add(float64(r.Received))
}

// known gives the role under which a caller is counted.
func (s *s3) known(r role) role {
	if s.byRole.has(r) {
		return r
	}
	if s.namedRoles.Add(1) <= mostRoles {
		return r
	}
	s.namedRoles.Add(-1)
	return role{r.account, other}
}

func (s *s3) answer(k answer) prometheus.Counter {
	class := "none"
	if k.class > 0 {
		class = string(rune('0'+k.class)) + "xx"
	}
	return s.requests.WithLabelValues(k.operation, class, k.cause, k.by)
}

func (s *s3) operation(name string) operation {
	return operation{s.seconds.WithLabelValues(name), s.first.WithLabelValues(name), s.bytes.WithLabelValues(name, "sent"), s.bytes.WithLabelValues(name, "received")}
}

func (s *s3) ofRole(r role) ofRole {
	count := func(outcome string) prometheus.Counter { return s.roles.WithLabelValues(r.account, r.name, outcome) }
	return ofRole{count("done"), count("denied"), count("failed"), s.roleBytes.WithLabelValues(r.account, r.name, "sent"), s.roleBytes.WithLabelValues(r.account, r.name, "received")}
}

// memo remembers what was made for a key. Reading takes no lock; it is for few
// keys.
type memo[K comparable, V any] struct {
	mu  sync.Mutex
	all atomic.Pointer[map[K]V]
}

func (m *memo[K, V]) has(k K) bool {
	all := m.all.Load()
	if all == nil {
		return false
	}
	_, ok := (*all)[k]
	return ok
}

func (m *memo[K, V]) get(k K, make func(K) V) V {
	if all := m.all.Load(); all != nil {
		if v, ok := (*all)[k]; ok {
			return v
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := map[K]V{}
	if all := m.all.Load(); all != nil {
		if v, ok := (*all)[k]; ok {
			return v
		}
		maps.Copy(next, *all)
	}
	v := make(k)
	next[k] = v
	m.all.Store(&next)
	return v
}
