package egress_test

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/egress"
)

func allow(t testing.TB, entries ...string) egress.Allow {
	t.Helper()
	a, err := egress.ParseAllow(entries)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	if !errors.Is(err, fault.Coded(kind, code, "")) {
		t.Errorf("%v, want %v %s", err, kind, code)
	}
}

func TestInsideAddressesNeedTheList(t *testing.T) {
	t.Parallel()
	hits := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hits++; fmt.Fprint(w, "inside") }))
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port := u.Port()
	closed := egress.New(egress.Config{})
	for _, place := range []string{
		"127.0.0.1:" + port, "localhost:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port,
		"169.254.169.254", "10.0.0.1", "192.168.0.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"127.1:" + port, "2130706433:" + port, "0x7f000001:" + port, "017700000001:" + port,
	} {
		for _, scheme := range []string{"http", "https"} {
			if body, err := closed.Get(t.Context(), scheme+"://"+place+"/"); err == nil {
				t.Errorf("%s://%s answered %q", scheme, place, body)
			}
		}
	}
	if hits != 0 {
		t.Errorf("%d requests reached the inside", hits)
	}
	_, err = closed.Get(t.Context(), "https://127.0.0.1:"+port)
	wantFault(t, err, fault.Denied, "egress.address")
	_, err = closed.Get(t.Context(), s.URL)
	wantFault(t, err, fault.Denied, "egress.plain")

	for _, entry := range []string{"127.0.0.1", "127.0.0.0/8"} {
		open := egress.New(egress.Config{Allow: allow(t, entry)})
		if body, err := open.Get(t.Context(), s.URL); err != nil || string(body) != "inside" {
			t.Errorf("%s: %q, %v", entry, body, err)
		}
	}
	byName := egress.New(egress.Config{Allow: allow(t, "LocalHost.")})
	if _, err := byName.Get(t.Context(), "http://localhost:"+port); err != nil {
		t.Errorf("by name: %v", err)
	}
	_, err = byName.Get(t.Context(), s.URL) // the name stands for itself alone
	wantFault(t, err, fault.Denied, "egress.plain")
}

func TestRedirectsStayOnTheirHost(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other host was reached") }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/end", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/end":
			fmt.Fprint(w, "end")
		}
	}))
	defer s.Close()
	c := egress.New(egress.Config{Allow: allow(t, "127.0.0.1")})
	if body, err := c.Get(t.Context(), s.URL+"/here"); err != nil || string(body) != "end" {
		t.Errorf("%q, %v", body, err)
	}
	for _, path := range []string{"/away", "/file", "/round"} {
		_, err := c.Get(t.Context(), s.URL+path)
		wantFault(t, err, fault.Denied, "egress.redirect")
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.Copy(z, io.LimitReader(zeros{}, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			_, _ = w.Write(make([]byte, 1000))
		case "/long": // without a length
			for range 20 {
				_, _ = w.Write(make([]byte, 100))
				w.(http.Flusher).Flush()
			}
		case "/told":
			_, _ = w.Write(make([]byte, 1001))
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes()[:900])
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
		case "/gone":
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	c := egress.New(egress.Config{Allow: allow(t, "127.0.0.1"), MaxBytes: 1000, Timeout: 300 * time.Millisecond})
	if body, err := c.Get(t.Context(), s.URL+"/exact"); err != nil || len(body) != 1000 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if body, err := c.Get(t.Context(), s.URL+"/gzip"); err != nil || len(body) != 900 {
		t.Errorf("a packed body was unpacked to %d bytes, %v", len(body), err)
	}
	for _, path := range []string{"/long", "/told"} {
		_, err := c.Get(t.Context(), s.URL+path)
		wantFault(t, err, fault.TooLarge, "egress.size")
	}
	start := time.Now()
	_, err := c.Get(t.Context(), s.URL+"/slow")
	wantFault(t, err, fault.Unavailable, "egress.away")
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("a silent server held us for %v", d)
	}
	_, err = c.Get(t.Context(), s.URL+"/gone")
	wantFault(t, err, fault.Unavailable, "egress.status")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTLSIsChecked(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	s.Config.ErrorLog = nil
	defer s.Close()
	a := allow(t, "127.0.0.1")
	if _, err := egress.New(egress.Config{Allow: a}).Get(t.Context(), s.URL); err == nil {
		t.Error("a certificate of nobody was taken")
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if body, err := egress.New(egress.Config{Allow: a, Roots: roots}).Get(t.Context(), s.URL); err != nil || string(body) != "ok" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := egress.New(egress.Config{})
	for _, u := range []string{"", "ftp://example.com/", "file:///etc/passwd", "gopher://x", "https://user:pw@example.com/", "https:///path", "://", "\x00"} {
		_, err := c.Get(t.Context(), u)
		if err == nil {
			t.Errorf("%q was fetched", u)
		}
		if err != nil && strings.Contains(fault.Of(err).Public, "pw") {
			t.Errorf("%q: the error repeats the password: %v", u, err)
		}
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1": true, "52.95.110.1": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "255.255.255.255": false, "224.0.0.1": false, "240.0.0.1": false, "198.18.0.1": false,
		"fd00:ec2::254": false, "fe80::1": false, "ff02::1": false, "::": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false,
		"64:ff9b::10.0.0.1": false, "2002:0a00:0001::1": false, "2001:0:1::1": false, "fec0::1": false,
	} {
		if got := egress.Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Public(%s) = %v", addr, got)
		}
	}
}

func TestParseAllowRefuses(t *testing.T) {
	t.Parallel()
	for _, e := range []string{"", "10.0.0.1/8", "10.0.0.0/33", "http://x", "x:80", "a..b", "127.1", "fe80::1%eth0", "*", "*.example.com", "a b"} {
		if _, err := egress.ParseAllow([]string{e}); !errors.Is(err, fault.New(fault.Misconfigured, "")) {
			t.Errorf("%q: %v", e, err)
		}
	}
}
