package issuerapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/issuerapi"
	"carnet.dev/carnet/internal/service/issuer"
)

// BenchmarkDocuments compares key set and discovery, as the site serves them
// with its rules and its log, and a live token, with an answer of the same length
// that net/http gives by heart. Wanted: 0.85 for documents, 0.5 for the token
// (facts: performance 9). Load: 16 connections that read no more than they must.
// Rates are answers in a second of processor time, that of the load among it, so
// that what else runs on the machine doesn't count.
func BenchmarkDocuments(b *testing.B) {
	s := newIssuer(b)
	base, err := url.Parse("http://127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	rows := issuerapi.Routes(issuerapi.Config{Documents: s})
	rows = slices.DeleteFunc(rows, func(r httpd.Route) bool { return r.Method != http.MethodGet })
	for i := range rows {
		rows[i].AnyHost = true
		rows[i].Rate = httpd.Rate{Name: "bench", Every: time.Nanosecond, Burst: 1 << 30} // one source stands for the world
	}
	site, err := httpd.New(httpd.Config{BaseURL: base, Now: time.Now, Logger: slog.New(slog.NewJSONHandler(io.Discard, nil)), Page: httpd.Problem}, rows)
	if err != nil {
		b.Fatal(err)
	}
	token := issuer.IDToken{Subject: "user:psn_a", Audience: issuer.AudienceAWS, Role: arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"}}
	again := func(w http.ResponseWriter, _ *http.Request) {
		m, err := s.MintID(token)
		if err != nil {
			b.Error(err)
		}
		_, _ = io.WriteString(w, m.Token.Reveal())
	}
	first, err := s.MintID(token)
	if err != nil {
		b.Fatal(err)
	}
	byHeart := func(body []byte) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		})
	}
	for name, pair := range map[string]struct {
		ours   http.Handler
		path   string
		canned []byte
	}{
		"jwks":      {site, "/oidc/jwks.json", s.JWKS(issuer.Workspace).Body},
		"discovery": {site, "/oidc/.well-known/openid-configuration", s.Discovery(issuer.Workspace).Body},
		"token":     {http.HandlerFunc(again), "/", []byte(first.Token.Reveal())},
	} {
		b.Run(name, func(b *testing.B) {
			ours, canned := newLoad(b, pair.ours, pair.path), newLoad(b, byHeart(pair.canned), pair.path)
			var ratios []float64
			var rate float64
			for b.Loop() {
				o, c := ours.rate(100*time.Millisecond), canned.rate(100*time.Millisecond)
				ratios, rate = append(ratios, o/c), o
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "x/canned")
			b.ReportMetric(rate, "answers/cpu-s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// load asks one address over and over.
type load struct {
	conns   []*bufio.ReadWriter
	request string
}

func newLoad(b *testing.B, h http.Handler, path string) *load {
	b.Helper()
	srv := httptest.NewServer(h)
	b.Cleanup(srv.Close)
	l := &load{request: fmt.Sprintf("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path)}
	for range 16 {
		c, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		l.conns = append(l.conns, bufio.NewReadWriter(bufio.NewReaderSize(c, 16<<10), bufio.NewWriter(c)))
	}
	return l
}

// rate gives the answers in a second of processor time.
func (l *load) rate(d time.Duration) float64 {
	var all sync.WaitGroup
	before := spent()
	counts := make([]int, len(l.conns))
	began := time.Now()
	for i, c := range l.conns {
		all.Go(func() {
			for time.Since(began) < d {
				if l.ask(c) != nil {
					return
				}
				counts[i]++
			}
		})
	}
	all.Wait()
	n := 0
	for _, c := range counts {
		n += c
	}
	return float64(n) / (spent() - before).Seconds()
}

// spent is the processor time of this process.
func spent() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (l *load) ask(c *bufio.ReadWriter) error {
	if _, err := c.WriteString(l.request); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	length := 0
	for {
		line, err := c.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, digit := range n[:len(n)-2] {
				length = 10*length + int(digit-'0')
			}
		}
	}
	_, err := c.Discard(length)
	return err
}
