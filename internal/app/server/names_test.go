package server

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"carnet.dev/carnet/internal/app/config"
)

// TestObjectsUnderTheNameOfThePages: a presigned URL names any host that leads
// to the AWS port; under the pages' own, the browser would send their cookies
// along and open the object as a document of that host. And in dev a foreign
// name that was pointed at this machine gets nothing.
func TestObjectsUnderTheNameOfThePages(t *testing.T) {
	t.Parallel()
	apart := &config.Config{BaseURL: "https://carnet.example.com"}
	apart.Listen.AWS.URL = "https://s3.example.com"
	shared := &config.Config{BaseURL: "https://carnet.example.com", SameHost: config.Accepted}
	shared.Listen.AWS.URL = "https://carnet.example.com:8481"
	dev := &config.Config{BaseURL: "http://127.0.0.1:8480", SameHost: config.Accepted}
	for _, tc := range []struct {
		config      *config.Config
		development bool
		host        string
		want        int
	}{
		{apart, false, "carnet.example.com:8481", http.StatusMisdirectedRequest},
		{apart, false, "CARNET.example.com.", http.StatusMisdirectedRequest},
		{apart, false, "s3.example.com", http.StatusOK},
		{apart, false, "sales.s3.example.com", http.StatusOK},
		{apart, false, "10.1.2.3:8481", http.StatusOK},
		{shared, false, "carnet.example.com:8481", http.StatusOK},
		{dev, true, "127.0.0.1:8481", http.StatusOK},
		{dev, true, "localhost:8481", http.StatusOK},
		{dev, true, "[::1]:8481", http.StatusOK},
		{dev, true, "rebound.example.com:8481", http.StatusMisdirectedRequest},
		{dev, true, "127.0.0.1.example.com", http.StatusMisdirectedRequest},
		{dev, true, "", http.StatusMisdirectedRequest},
	} {
		h := underOwnNames(tc.config, tc.development, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r, w := httptest.NewRequest(http.MethodGet, "/sales/x.html", nil), httptest.NewRecorder()
		r.Host = tc.host
		if h.ServeHTTP(w, r); w.Code != tc.want {
			t.Errorf("%s under %s: %d, want %d", tc.config.BaseURL, tc.host, w.Code, tc.want)
		}
	}
}
