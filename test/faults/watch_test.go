//go:build interop

package faults

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"carnet.dev/carnet/test/fleet"
)

// result is what came of one request.
type result struct {
	kind         string
	server       int // -1: whichever answered
	began, ended time.Time
	status       int // 0: no answer
	code         string
	later        string // Retry-After
	request      string // the id that stands in the answer
	err          error
}

func (r result) ok() bool { return r.status/100 == 2 || r.status/100 == 3 }

// clear reports a refusal that says what it is: not now, come again.
func (r result) clear() bool { return r.status == http.StatusServiceUnavailable && r.later != "" }

func (r result) String() string {
	who := fmt.Sprint("server ", r.server)
	if r.server < 0 {
		who = "whichever server"
	}
	return fmt.Sprintf("%s at %s, asked at %s: %d %s after %s, request %s, Retry-After %q: %v", r.kind, who, r.began.Format("15:04:05.000"), r.status, r.code,
		r.ended.Sub(r.began).Round(time.Millisecond), r.request, r.later, r.err)
}

// answered reads a result from an answer by HTTP.
func (r *result) answered(status int, h http.Header, body []byte) {
	r.status, r.later = status, h.Get("Retry-After")
	for _, name := range []string{"X-Request-Id", "X-Amzn-Requestid", "X-Amz-Request-Id"} {
		if id := h.Get(name); id != "" {
			r.request = id
		}
	}
	if !r.ok() {
		r.code = string(body[:min(len(body), 300)])
	}
}

// refused reads a result from an error of an AWS client.
func (r *result) refused(err error) {
	if err == nil {
		r.status = http.StatusOK
		return
	}
	r.err = err
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		r.answered(answer.HTTPStatusCode(), answer.Response.Header, nil)
		r.code = fleet.Code(err)
	}
}

// span is a stretch of time; a zero end has not come.
type span struct{ from, to time.Time }

func (s span) overlaps(from, to time.Time) bool {
	return to.After(s.from) && (s.to.IsZero() || from.Before(s.to))
}

// watch is told of every request of the load.
type watch struct {
	mu       sync.Mutex
	good     map[way][]time.Time // when requests that succeeded began
	failures []result
	slowest  map[string]time.Duration
	down     [3][]span // when a server was not there
	cut      [3][]span // when a server had lost touch with the database
}

// way is a kind of request at one server.
type way struct {
	kind   string
	server int
}

func newWatch() *watch {
	return &watch{good: map[way][]time.Time{}, slowest: map[string]time.Duration{}}
}

func (w *watch) note(r result) {
	r.ended = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slowest[r.kind] = max(w.slowest[r.kind], r.ended.Sub(r.began))
	if r.ok() {
		w.good[way{r.kind, r.server}] = append(w.good[way{r.kind, r.server}], r.began)
		return
	}
	w.failures = append(w.failures, r)
}

// begin opens a span of servers, end closes it.
func begin(w *watch, spans *[3][]span, servers ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range servers {
		spans[i] = append(spans[i], span{from: time.Now()})
	}
}

func end(w *watch, spans *[3][]span, servers ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range servers {
		spans[i][len(spans[i])-1].to = time.Now()
	}
}

// cutFor gives how long a server has been without the database at a time; 0: it is not.
func (w *watch) cutFor(server int, at time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.cut[server] {
		if s.overlaps(at, at) {
			return at.Sub(s.from)
		}
	}
	return 0
}

// isDown reports whether a server is known to be away.
func (w *watch) isDown(server int, from, to time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return server >= 0 && slices.ContainsFunc(w.down[server], func(s span) bool { return s.overlaps(from, to) })
}

// since gives the failures that ended after a time.
func (w *watch) since(at time.Time) (all []result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.failures {
		if f.ended.After(at) {
			all = append(all, f)
		}
	}
	return all
}

// slow gives the longest request of each kind since it was asked last.
func (w *watch) slow() map[string]time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.slowest
	w.slowest = map[string]time.Duration{}
	return out
}

// goodBetween counts requests that began within a span and succeeded.
func (w *watch) goodBetween(to way, s span) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.good[to] {
		if at.After(s.from) && at.Before(s.to) {
			n++
		}
	}
	return n
}

// gap is the longest time within a span in which no request succeeded that began then.
func (w *watch) gap(to way, s span) (longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := s.from
	for _, at := range append(slices.Clone(w.good[to]), s.to) {
		if at.Before(s.from) || at.After(s.to) {
			continue
		}
		longest, last = max(longest, at.Sub(last)), at
	}
	return longest
}

// firstGood gives when the first request after a time began that succeeded.
func (w *watch) firstGood(to way, from time.Time) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	good := w.good[to]
	i, _ := slices.BinarySearchFunc(good, from, time.Time.Compare)
	if i == len(good) {
		return time.Time{}, false
	}
	return good[i], true
}

// ways are all that were used.
func (w *watch) ways() (all []way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.good {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b way) int {
		if c := strings.Compare(a.kind, b.kind); c != 0 {
			return c
		}
		return a.server - b.server
	})
	return all
}
