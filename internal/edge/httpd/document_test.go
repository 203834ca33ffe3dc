package httpd_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
)

// TestDocuments: a public document has its id and its own headers and nothing
// that is for pages; served ones don't fill the log, refused ones stand in it;
// another host is answered where the row says so, and nowhere else.
func TestDocuments(t *testing.T) {
	t.Parallel()
	fails := false
	row := httpd.Route{
		Method: http.MethodGet, Pattern: "/keys.json", Access: httpd.Open, Rate: httpd.Rate{Name: "few", Every: time.Hour, Burst: 5},
		Document: true, Hosts: []string{"keys.example.com"}, Errors: httpd.Problem,
		Handler: func(w http.ResponseWriter, _ *http.Request) error {
			if fails {
				return fault.New(fault.Unavailable, "away")
			}
			_, err := w.Write([]byte("{}"))
			return err
		},
	}
	site, log := newSite(t, &sessions{}, "https://carnet.example.com", row)
	for _, host := range []string{"carnet.example.com", "keys.example.com", "KEYS.example.com:443"} {
		w := ask(site, http.MethodGet, "/keys.json", "Host", host)
		h := w.Header()
		if w.Code != http.StatusOK || w.Body.String() != "{}" || h.Get(httpd.HeaderRequestID) == "" || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Strict-Transport-Security") == "" || h.Get("Content-Security-Policy") != "" || h.Get("X-Frame-Options") != "" {
			t.Errorf("%s: %d, %v", host, w.Code, h)
		}
	}
	if log.String() != "" {
		t.Errorf("the log has %s", log)
	}
	if w := ask(site, http.MethodGet, "/keys.json", "Host", "evil.example"); w.Code != http.StatusBadRequest {
		t.Errorf("another host: %d", w.Code)
	}
	if w := ask(site, http.MethodGet, "/nothing", "Host", "keys.example.com"); w.Code != http.StatusBadRequest {
		t.Errorf("another address under that host: %d", w.Code)
	}
	fails = true
	w := ask(site, http.MethodGet, "/keys.json", "Host", "carnet.example.com")
	id := w.Header().Get(httpd.HeaderRequestID)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Cache-Control") != "no-store" || !strings.Contains(w.Body.String(), id) {
		t.Errorf("a failure: %d, %v, %s", w.Code, w.Header(), w.Body)
	}
	ask(site, http.MethodGet, "/keys.json", "Host", "carnet.example.com")
	if w := ask(site, http.MethodGet, "/keys.json", "Host", "carnet.example.com"); w.Code != http.StatusTooManyRequests {
		t.Errorf("one too many: %d", w.Code)
	}
	for _, want := range []string{"request.host", `"away"`, id, "request.rate"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, log)
		}
	}
	// What is not that one path, letter for letter, is not that row.
	for _, path := range []string{"/keys%2ejson", "//keys.json", "/./keys.json", "/keys.json/"} {
		if w := ask(site, http.MethodGet, path, "Host", "carnet.example.com"); w.Body.String() == "{}" {
			t.Errorf("%s is served", path)
		}
	}
}
