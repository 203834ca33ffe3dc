package httpd_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
)

// behind answers with what the handler behind the proxies sees.
func behind(from ...string) http.Handler {
	p := httpd.Proxies{Own: "s3.example.com:8481", Refuse: func(w http.ResponseWriter, _ *http.Request, f *fault.Fault) {
		http.Error(w, f.Public, http.StatusBadRequest)
	}}
	for _, n := range from {
		p.From = append(p.From, netip.MustParsePrefix(n))
	}
	return p.Before(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		certificates := 0
		if r.TLS != nil {
			certificates = len(r.TLS.PeerCertificates)
		}
		fmt.Fprintf(w, "%s %s %v %d", httpd.Source(r), r.Host, r.TLS != nil, certificates)
	}))
}

func forwardedAs(h http.Handler, peer, host string, header ...string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr, r.Host = peer, host
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return fmt.Sprint(w.Code)
	}
	return w.Body.String()
}

func TestRequestsThroughOurProxies(t *testing.T) {
	t.Parallel()
	h := behind("10.0.0.0/8", "fd00::/8")
	for name, c := range map[string]struct {
		peer, host string
		header     []string
		want       string
	}{
		"no proxy":                   {"192.0.2.7:9", "x", nil, "192.0.2.7 x false 0"},
		"plain":                      {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-For", "192.0.2.7"}, "192.0.2.7 s3.example.com:8481 false 0"},
		"https":                      {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https"}, "192.0.2.7 s3.example.com:8481 true 0"},
		"over IPv6":                  {"[fd00::1]:9", "s3.example.com", []string{"X-Forwarded-For", "2001:db8::7"}, "2001:db8::7 s3.example.com:8481 false 0"},
		"mapped address of a proxy":  {"[::ffff:10.1.1.1]:9", "s3.example.com", []string{"X-Forwarded-For", "::ffff:192.0.2.7"}, "192.0.2.7 s3.example.com:8481 false 0"},
		"with ports":                 {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-For", "192.0.2.7:4711, 10.2.2.2:80"}, "192.0.2.7 s3.example.com:8481 false 0"},
		"two of ours":                {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-For", "192.0.2.7, 10.2.2.2"}, "192.0.2.7 s3.example.com:8481 false 0"},
		"two lines":                  {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-For", "10.2.2.2"}, "192.0.2.7 s3.example.com:8481 false 0"},
		"the proxy's own check":      {"10.1.1.1:9", "s3.example.com", nil, "10.1.1.1 s3.example.com:8481 false 0"},
		"host changed, passed on":    {"10.1.1.1:9", "backend:8481", []string{"X-Forwarded-Host", "Sales.s3.example.com:443"}, "10.1.1.1 sales.s3.example.com:8481 false 0"},
		"host changed, not passed":   {"10.1.1.1:9", "127.0.0.1:8481", nil, "10.1.1.1 s3.example.com:8481 false 0"},
		"bucket's host kept":         {"10.1.1.1:9", "sales.s3.example.com", nil, "10.1.1.1 sales.s3.example.com:8481 false 0"},
		"empty X-Forwarded-For":      {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-For", ""}, "400"},
		"no address":                 {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-For", "unknown"}, "400"},
		"other scheme":               {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-Proto", "ftp"}, "400"},
		"scheme said twice":          {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-Proto", "https,http"}, "400"},
		"scheme in two lines":        {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-Proto", "https", "X-Forwarded-Proto", "http"}, "400"},
		"host said twice":            {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-Host", "s3.example.com, evil"}, "400"},
		"a broken hop of a stranger": {"10.1.1.1:9", "s3.example.com", []string{"X-Forwarded-For", "nonsense, 192.0.2.7"}, "192.0.2.7 s3.example.com:8481 false 0"},
	} {
		if got := forwardedAs(h, c.peer, c.host, c.header...); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestAttackForwardedHeadersOfStrangers: who is not a proxy of ours can't say
// where a request comes from, and who comes through one can't say it for us.
func TestAttackForwardedHeadersOfStrangers(t *testing.T) {
	t.Parallel()
	claims := []string{"X-Forwarded-For", "10.9.9.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "sales.s3.example.com", "Forwarded", "for=10.9.9.9;host=h;proto=https"}
	for name, h := range map[string]http.Handler{"no proxies": behind(), "others": behind("10.0.0.0/8")} {
		if got, want := forwardedAs(h, "192.0.2.7:9", "s3.example.com", claims...), "192.0.2.7 s3.example.com false 0"; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	h := behind("10.0.0.0/8")
	// The proxy adds the stranger on the right of what he claims.
	if got, want := forwardedAs(h, "10.1.1.1:9", "s3.example.com", "X-Forwarded-For", "10.3.3.3, 127.0.0.1, 192.0.2.7"), "192.0.2.7 s3.example.com:8481 false 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, host := range []string{"evil.example", "s3.example.com.evil.example", "evils3.example.com", ""} {
		if got, want := forwardedAs(h, "10.1.1.1:9", "s3.example.com", "X-Forwarded-Host", host), "10.1.1.1 s3.example.com:8481 false 0"; got != want {
			t.Errorf("X-Forwarded-Host %q: %q, want %q", host, got, want)
		}
	}
}

// TestProxyLendsNobodyItsCertificate: the certificate on the connection is the
// proxy's, never that of whoever is behind it.
func TestProxyLendsNobodyItsCertificate(t *testing.T) {
	t.Parallel()
	h := behind("10.0.0.0/8")
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr, r.Host = "10.1.1.1:9", "s3.example.com"
	r.TLS = &tls.ConnectionState{PeerCertificates: make([]*x509.Certificate, 1)}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got, want := w.Body.String(), "10.1.1.1 s3.example.com:8481 true 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add("192.0.2.7, 10.1.1.1", "https", "sales.s3.example.com")
	f.Add("[2001:db8::1]:80", "http", "")
	f.Add("unknown", "HTTPS", "a,b")
	h := behind("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, hops, proto, host string) {
		got := forwardedAs(h, "10.1.1.1:9", "s3.example.com", "X-Forwarded-For", hops, "X-Forwarded-Proto", proto, "X-Forwarded-Host", host)
		if got == "" {
			t.Errorf("no answer to %q %q %q", hops, proto, host)
		}
	})
}
