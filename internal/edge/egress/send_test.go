package egress_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/egress"
)

// TestSend: what is sent goes to one place, and the answer is bounded.
func TestSend(t *testing.T) {
	t.Parallel()
	followed := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/on":
			http.Redirect(w, r, "/next", http.StatusPermanentRedirect)
		case "/next":
			followed++
		case "/huge":
			_, _ = w.Write([]byte(strings.Repeat("a", 100)))
		default:
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("Authorization"), body)
		}
	}))
	defer s.Close()
	c := egress.New(egress.Config{Allow: allow(t, "127.0.0.1"), MaxBytes: 50})
	status, body, err := c.Send(t.Context(), http.MethodPost, s.URL, http.Header{"Authorization": {"Basic x"}}, []byte("a=b"))
	if err != nil || status != http.StatusTeapot || string(body) != "POST Basic x a=b" {
		t.Errorf("status %d, %q, %v", status, body, err)
	}
	if status, _, err = c.Send(t.Context(), http.MethodPost, s.URL+"/on", nil, []byte("secret")); err != nil || status != http.StatusPermanentRedirect || followed != 0 {
		t.Errorf("a redirect: status %d, %v, followed %d times", status, err, followed)
	}
	_, _, err = c.Send(t.Context(), http.MethodGet, s.URL+"/huge", nil, nil)
	wantFault(t, err, fault.TooLarge, "egress.size")
	_, _, err = egress.New(egress.Config{}).Send(t.Context(), http.MethodPost, s.URL, nil, []byte("secret"))
	wantFault(t, err, fault.Denied, "egress.plain")
	_, _, err = c.Send(t.Context(), http.MethodPost, "http://a:b@127.0.0.1/", nil, nil)
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("a user in the address: %v", err)
	}
}
