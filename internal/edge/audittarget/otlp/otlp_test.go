package otlp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/audittarget/otlp"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/service/audit"
)

// collector reads what comes by the protocol's own definitions, strictly.
type collector struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	got    []*logs.LogsData
	header http.Header
	answer func(w http.ResponseWriter)
}

func newCollector(t *testing.T) *collector {
	c := &collector{t: t}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	var d logs.LogsData
	if err == nil {
		err = protojson.Unmarshal(body, &d)
	}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/json" {
		c.t.Errorf("%s %s %s: %v", r.Method, r.URL, r.Header, err)
	}
	c.header = r.Header
	if c.answer != nil {
		c.answer(w)
		return
	}
	c.got = append(c.got, &d)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"partialSuccess":{}}`)
}

func (c *collector) says(status int, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

var at = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

func document(seq int64, outcome event.Outcome) audit.Document {
	return audit.Document{EventVersion: audit.DocumentVersion, EventID: fmt.Sprintf("aud_1-%d", seq), EventTime: at, EventName: "sign-in", Outcome: outcome, SourceIP: "192.0.2.7",
		UserIdentity: audit.UserIdentity{Type: "person", Person: "psn_1", UserName: "<jürgen> & co"}, Detail: map[string]string{"note": "a\nb"},
		Chain: audit.Link{Writer: "aud_1", Seq: seq, Hash: strings.Repeat("ab", 32)}}
}

func exporter(t *testing.T, endpoint string, headers map[string]secret.Text) *otlp.Exporter {
	t.Helper()
	allow, err := egress.ParseAllow([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return otlp.New(otlp.Config{Name: "collector", Endpoint: endpoint, Headers: headers, Client: egress.New(egress.Config{Allow: allow, Timeout: 2 * time.Second}),
		Host: "carnet-1", Version: "v1.2.3", Now: func() time.Time { return at.Add(time.Second) }})
}

// TestLogs: an official reader of the protocol sees resource, severity, attributes and
// the whole document.
func TestLogs(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	e := exporter(t, c.URL, map[string]secret.Text{"Authorization": secret.New("Bearer of-good-news"), "X-Scope-Orgid": secret.New("42")})
	all := []audit.Document{document(1, event.Done), document(2, event.Denied), document(3, event.Failed)}
	if err := e.Put(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if c.header.Get("Authorization") != "Bearer of-good-news" || c.header.Get("X-Scope-Orgid") != "42" {
		t.Errorf("headers %v", c.header)
	}
	of := c.got[0].ResourceLogs[0]
	if got := fmt.Sprint(of.Resource.Attributes); !strings.Contains(got, "service.name") || !strings.Contains(got, "carnet-1") {
		t.Errorf("resource %s", got)
	}
	for i, l := range of.ScopeLogs[0].LogRecords {
		if l.TimeUnixNano != uint64(at.UnixNano()) || l.ObservedTimeUnixNano != uint64(at.Add(time.Second).UnixNano()) || l.EventName != "sign-in" ||
			int32(l.SeverityNumber) != []int32{9, 13, 17}[i] {
			t.Errorf("record %d: %v", i, l)
		}
		var d audit.Document
		if err := json.Unmarshal([]byte(l.Body.GetStringValue()), &d); err != nil || fmt.Sprint(d) != fmt.Sprint(all[i]) {
			t.Errorf("body %s, %v", l.Body.GetStringValue(), err)
		}
		have := map[string]string{}
		for _, a := range l.Attributes {
			have[a.Key] = a.Value.GetStringValue() + fmt.Sprint(a.Value.GetIntValue())
		}
		for key, want := range map[string]string{"user.name": "<jürgen> & co0", "client.address": "192.0.2.70", "carnet.audit.seq": fmt.Sprint(i + 1), "carnet.audit.chain": "aud_10"} {
			if have[key] != want {
				t.Errorf("attribute %s is %q, want %q", key, have[key], want)
			}
		}
	}
}

// TestRefusals: what each answer means for the records, and that no answer can show a
// header's value.
func TestRefusals(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	const word = "0123456789abcdef"
	e := exporter(t, c.URL, map[string]secret.Text{"Authorization": secret.New("Bearer " + word)})
	for _, x := range []struct {
		status int
		body   string
		kind   fault.Kind
		says   string // empty: it was taken
	}{
		{200, ``, 0, ""},
		{200, `{}`, 0, ""},
		{200, `{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"a warning"}}`, 0, ""},
		{202, ``, 0, ""},
		{200, `{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}`, fault.Invalid, "the collector refuses 1 records: too old"},
		{200, `{"partialSuccess":{"rejectedLogRecords":null}}`, 0, ""},
		{200, `<html>welcome</html>`, fault.Misconfigured, "what answers 200 OK to POST " + c.URL + "/v1/logs is no collector"},
		{200, `{"partialSuccess":{"rejectedLogRecords":"all"}}`, fault.Misconfigured, "what answers 200 OK to POST " + c.URL + "/v1/logs is no collector"},
		{200, `{"partialSuccess":{"rejectedLogRecords":1}}`, fault.Invalid, "the collector refuses 1 records"},
		{400, `{"code":3,"message":"bad Bearer ` + word + ` or ` + word + `\nsecond line"}`, fault.Invalid, "the collector answers 400 Bad Request: bad [secret] or [secret] second line"},
		{401, word, fault.Misconfigured, "the collector answers 401 Unauthorized"},
		{403, word, fault.Misconfigured, "the collector answers 403 Forbidden"},
		{404, "", fault.Misconfigured, "the collector answers 404 Not Found to POST " + c.URL + "/v1/logs"},
		{413, "", fault.TooLarge, "the collector answers 413 Request Entity Too Large"},
		{429, "", fault.Unavailable, "the collector answers 429 Too Many Requests"},
		{503, `{"message":"full"}`, fault.Unavailable, "the collector answers 503 Service Unavailable: full"},
		{307, "", fault.Unavailable, "the collector answers 307 Temporary Redirect"},
	} {
		c.says(x.status, x.body)
		err := e.Put(t.Context(), []audit.Document{document(1, event.Done)})
		if x.says == "" {
			if err != nil {
				t.Errorf("%d %s: %v", x.status, x.body, err)
			}
			continue
		}
		if f := fault.Of(err); err == nil || f.Kind != x.kind || f.Public != x.says || strings.Contains(err.Error(), word) {
			t.Errorf("%d %s: got %v", x.status, x.body, err)
		}
	}
}

// TestAway: nobody there, one that hangs, one that closes.
func TestAway(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	over := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	closes := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(func() { close(over); hangs.Close(); closes.Close() })
	gone := c.URL
	c.Close()
	for _, endpoint := range []string{gone, hangs.URL, closes.URL} {
		err := exporter(t, endpoint, nil).Put(t.Context(), []audit.Document{document(1, event.Done)})
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Of(err).Public, "can't be reached") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
