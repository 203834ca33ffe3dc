package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/telemetry"
)

// scraped gives what a scrape shows.
func scraped(t testing.TB, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler("127.0.0.1:9464").ServeHTTP(w, httptest.NewRequest("GET", "http://localhost:9464/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// value gives the value of one series.
func value(t testing.TB, text, series string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		t.Errorf("no series %s", series)
		return ""
	}
	return found[1]
}

func TestS3Requests(t *testing.T) {
	m := telemetry.New("v1")
	for _, r := range []telemetry.Request{
		{Operation: "GetObject", Account: "111122223333", Role: "analyst", Status: 200, Sent: 5, Total: 3 * time.Millisecond, FirstByte: time.Millisecond, Upstream: "disk", Store: 2 * time.Millisecond},
		{Operation: "GetObject", Account: "111122223333", Role: "analyst", Status: 206, Sent: 7, Total: 3 * time.Second, FirstByte: time.Millisecond, Upstream: "disk", Store: 2 * time.Millisecond},
		{Operation: "PutObject", Account: "111122223333", Role: "analyst", Status: 403, Cause: "denied", By: "gateway", Denied: true, Received: 9, Total: time.Millisecond},
		{Operation: "PutObject", Account: "111122223333", Role: "analyst", Status: 503, Cause: "unavailable", By: "store", Total: time.Millisecond},
		{Status: 403, Cause: "unauthenticated", By: "gateway", Total: time.Millisecond},
		{Operation: "GetObject", Account: "111122223333", Role: "analyst", Cause: "client-gone", By: "gateway", FirstByte: -1},
	} {
		m.S3(&r)
	}
	m.Recorded("sign-in", "done")
	text := scraped(t, m)
	for series, want := range map[string]string{
		`carnet_build_info{version="v1"}`:                                                                "1",
		`carnet_s3_requests_total{by="",cause="",operation="GetObject",status="2xx"}`:                    "2",
		`carnet_s3_requests_total{by="gateway",cause="denied",operation="PutObject",status="4xx"}`:       "1",
		`carnet_s3_requests_total{by="store",cause="unavailable",operation="PutObject",status="5xx"}`:    "1",
		`carnet_s3_requests_total{by="gateway",cause="unauthenticated",operation="none",status="4xx"}`:   "1",
		`carnet_s3_requests_total{by="gateway",cause="client-gone",operation="GetObject",status="none"}`: "1",
		`carnet_s3_role_requests_total{account="111122223333",outcome="done",role="analyst"}`:            "2",
		`carnet_s3_role_requests_total{account="111122223333",outcome="denied",role="analyst"}`:          "1",
		`carnet_s3_role_requests_total{account="111122223333",outcome="failed",role="analyst"}`:          "2",
		`carnet_s3_role_bytes_total{account="111122223333",direction="sent",role="analyst"}`:             "12",
		`carnet_s3_bytes_total{direction="received",operation="PutObject"}`:                              "9",
		`carnet_s3_request_seconds_bucket{operation="GetObject",le="0.005"}`:                             "2",
		`carnet_s3_request_seconds_count{operation="GetObject"}`:                                         "3",
		`carnet_s3_first_byte_seconds_count{operation="GetObject"}`:                                      "2",
		`carnet_s3_store_seconds_count{upstream="disk"}`:                                                 "2",
		`carnet_audit_records_total{action="sign-in",outcome="done"}`:                                    "1",
	} {
		if got := value(t, text, series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestAttackEndlessSeries: however many roles there are, and however many
// requests at once, the series stay few.
func TestAttackEndlessSeries(t *testing.T) {
	m := telemetry.New("v1")
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 2000 {
				m.S3(&telemetry.Request{Operation: "GetObject", Account: fmt.Sprintf("11112222333%d", g%3), Role: fmt.Sprint("role-", g, "-", i), Status: 200, FirstByte: -1})
			}
		})
	}
	group.Wait()
	text := scraped(t, m)
	series := strings.Count(text, "\ncarnet_s3_role_requests_total{")
	if series > 3*(100+3) || series < 3*100 {
		t.Errorf("%d series of roles", series)
	}
	if n := strings.Count(text, "\n"); n > 2000 {
		t.Errorf("a scrape has %d lines", n)
	}
	total := 0.0
	for _, found := range regexp.MustCompile(`(?m)^carnet_s3_role_requests_total\{.*outcome="done".*\} (\S+)$`).FindAllStringSubmatch(text, -1) {
		var n float64
		fmt.Sscan(found[1], &n)
		total += n
	}
	if total != 16000 || !strings.Contains(text, `role="other"`) {
		t.Errorf("%v requests were counted of 16000", total)
	}
}

func TestAskedGauges(t *testing.T) {
	m := telemetry.New("v1")
	m.Ask("carnet_upstream_up", "Help.", []string{"upstream"}, func(add func(float64, ...string)) { add(1, "a"); add(0, "b") })
	m.Count("carnet_audit_lost_total", "Help.", func() float64 { return 3 })
	text := scraped(t, m)
	if value(t, text, `carnet_upstream_up{upstream="b"}`) != "0" || value(t, text, `carnet_audit_lost_total`) != "3" || !strings.Contains(text, "# TYPE carnet_audit_lost_total counter") {
		t.Error(text)
	}
}

// The listener of metrics answers GET /metrics, to its own names, and nothing
// else.
func TestListener(t *testing.T) {
	m := telemetry.New("v1")
	for _, c := range []struct {
		listener, method, url string
		want                  int
	}{
		{"127.0.0.1:9464", "GET", "http://127.0.0.1:9464/metrics", 200},
		{"[::1]:9464", "GET", "http://[::1]:9464/metrics", 200},
		{"127.0.0.1:9464", "GET", "http://localhost/metrics", 200},
		{"127.0.0.1:9464", "GET", "http://rebound.example.com:9464/metrics", 421},
		{"0.0.0.0:9464", "GET", "http://node1.example.com:9464/metrics", 200},
		{"127.0.0.1:9464", "GET", "http://localhost/", 404},
		{"127.0.0.1:9464", "GET", "http://localhost/debug/pprof/", 404},
		{"127.0.0.1:9464", "POST", "http://localhost/metrics", 405},
	} {
		w := httptest.NewRecorder()
		m.Handler(c.listener).ServeHTTP(w, httptest.NewRequest(c.method, c.url, nil))
		if w.Code != c.want {
			t.Errorf("%s %s on %s: %d", c.method, c.url, c.listener, w.Code)
		}
	}
}

// collector takes OTLP over HTTP.
type collector struct {
	mu     sync.Mutex
	bodies []string
	types  []string
	status int
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies, c.types = append(c.bodies, string(b)), append(c.types, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+r.Header.Get("Authorization"))
	w.WriteHeader(c.status)
}

func (c *collector) got() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.bodies...)
}

func TestSpans(t *testing.T) {
	c := &collector{status: 200}
	srv := httptest.NewServer(c)
	defer srv.Close()
	traces := telemetry.NewTraces(telemetry.TraceConfig{Endpoint: srv.URL, Sample: 1, Version: "v1", Server: "s1", Headers: map[string]secret.Text{"authorization": secret.New(" Bearer x")}})
	began := time.Unix(100, 5)
	traces.Put(telemetry.Span{Name: "S3.GetObject", Began: began, Took: time.Second}, func() ([]telemetry.Attribute, []telemetry.Span) {
		return []telemetry.Attribute{{Name: "aws.s3.bucket", Text: "sales"}, {Name: "http.response.status_code", Number: 200}, {Name: "nothing"}},
			[]telemetry.Span{{Name: "authenticate", Began: began, Took: time.Millisecond}, {Name: "upstream", Began: began.Add(time.Millisecond), Took: time.Millisecond, Client: true, Failed: "503"}}
	})
	if err := traces.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.got()) != 1 || c.types[0] != "POST /v1/traces application/jsonBearer x" {
		t.Fatalf("%q", c.types)
	}
	type span struct {
		TraceID, SpanID, ParentSpanID, Name string
		Kind                                int
		StartTimeUnixNano, EndTimeUnixNano  string
		Attributes                          []struct {
			Key   string
			Value map[string]string
		}
		Status struct {
			Code    int
			Message string
		}
	}
	var got struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []struct{ Key string } }
			ScopeSpans []struct{ Spans []span }
		}
	}
	if err := json.Unmarshal([]byte(c.got()[0]), &got); err != nil {
		t.Fatal(err)
	}
	spans := got.ResourceSpans[0].ScopeSpans[0].Spans
	if len(spans) != 3 || len(got.ResourceSpans[0].Resource.Attributes) != 3 {
		t.Fatalf("%s", c.got()[0])
	}
	byName := map[string]span{}
	for _, s := range spans {
		byName[s.Name] = s
	}
	root, call := byName["S3.GetObject"], byName["upstream"]
	if root.ParentSpanID != "" || len(root.TraceID) != 32 || len(root.SpanID) != 16 || root.Kind != 2 || root.StartTimeUnixNano != "100000000005" || root.EndTimeUnixNano != "101000000005" || root.Status.Code != 0 {
		t.Errorf("%+v", root)
	}
	if call.ParentSpanID != root.SpanID || call.TraceID != root.TraceID || call.Kind != 3 || call.Status.Code != 2 || call.Status.Message != "503" {
		t.Errorf("%+v", call)
	}
	if len(root.Attributes) != 2 || root.Attributes[0].Value["stringValue"] != "sales" || root.Attributes[1].Value["intValue"] != "200" {
		t.Errorf("%+v", root.Attributes)
	}
}

// Nobody waits for a collector, present or not; what isn't in the sample costs no
// parts.
func TestSampleAndLoss(t *testing.T) {
	asked := 0
	none := telemetry.NewTraces(telemetry.TraceConfig{Endpoint: "http://127.0.0.1:1", Sample: 0})
	for range 1000 {
		none.Put(telemetry.Span{Name: "x", Began: time.Now()}, func() ([]telemetry.Attribute, []telemetry.Span) { asked++; return nil, nil })
	}
	if asked != 0 || none.Close(t.Context()) != nil {
		t.Errorf("%d of no sample", asked)
	}
	var log bytes.Buffer
	c := &collector{status: 500}
	srv := httptest.NewServer(c)
	defer srv.Close()
	broken := telemetry.NewTraces(telemetry.TraceConfig{Endpoint: srv.URL, Sample: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 10_000 {
		broken.Put(telemetry.Span{Name: "x", Began: time.Now()}, func() ([]telemetry.Attribute, []telemetry.Span) { return nil, nil })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := broken.Close(ctx); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "dropped"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
}

// TestDocumentedMetrics: docs/operations/observe.md has a row for each metric of
// ours, with its labels.
func TestDocumentedMetrics(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/operations/observe.md")
	if err != nil {
		t.Fatal(err)
	}
	m := telemetry.New("v1")
	m.S3(&telemetry.Request{Operation: "GetObject", Account: "1", Role: "r", Upstream: "u"})
	m.Recorded("a", "done")
	names := 0
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (carnet_\w+) `).FindAllStringSubmatch(scraped(t, m), -1) {
		names++
		if !strings.Contains(string(doc), "| `"+found[1]+"` |") {
			t.Errorf("docs/operations/observe.md has no row for %s", found[1])
		}
	}
	if names < 8 {
		t.Errorf("only %d metrics were compared", names)
	}
}

// BenchmarkS3 is what counting costs a request.
func BenchmarkS3(b *testing.B) {
	m := telemetry.New("v1")
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		r := telemetry.Request{Operation: "GetObject", Account: "111122223333", Role: "analyst", Status: 200, Sent: 4096, Total: time.Millisecond, FirstByte: time.Millisecond, Upstream: "disk", Store: time.Millisecond}
		for p.Next() {
			m.S3(&r)
		}
	})
}
