package httpd_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/edge/httpd"
)

// TestAttackProgramAdministers: an administrator who let a program act for them,
// or was talked into typing a device's code, has not handed on the installation.
// What else they may do, the program may.
func TestAttackProgramAdministers(t *testing.T) {
	t.Parallel()
	ran := 0
	site, _ := newSite(t, &sessions{}, base, httpd.Route{Method: "POST", Pattern: "/api/v1/change", Access: httpd.Administrator, CLIToken: true, Rate: httpd.RateAPI,
		Errors: httpd.Problem, Handler: func(w http.ResponseWriter, _ *http.Request) error {
			ran++
			_, err := io.WriteString(w, "done")
			return err
		}})
	w := ask(site, "POST", base+"/api/v1/change", "Authorization", "Bearer a.b.admin")
	if w.Code != http.StatusForbidden || ran != 0 || !strings.Contains(w.Body.String(), httpd.CodeThemselves) {
		t.Errorf("%d, ran %d times: %s", w.Code, ran, w.Body)
	}
	for _, proof := range [][]string{{"Authorization", "Bearer cli-admin"}, {"Cookie", "__Host-carnet=admin"}} {
		if w := ask(site, "POST", base+"/api/v1/change", proof...); w.Code != http.StatusOK {
			t.Errorf("%v: %d %s", proof, w.Code, w.Body)
		}
	}
	if w := ask(site, "GET", base+"/api/v1/thing", "Authorization", "Bearer a.b.admin"); w.Code != http.StatusOK {
		t.Errorf("what is for everybody: %d %s", w.Code, w.Body)
	}
}
