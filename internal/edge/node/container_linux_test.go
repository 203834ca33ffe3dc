package node

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node/localhttp"
	"carnet.dev/carnet/internal/edge/node/peer"
	"carnet.dev/carnet/internal/service/binding"
)

// ready is a node with one attachment, whose keys lie ready.
type ready struct {
	Bindings
	a      binding.Attachment
	answer *binding.Answer
}

func newReady(t testing.TB) *ready {
	t.Helper()
	answer, err := binding.NewAnswer(binding.Keys{
		AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret.New(strings.Repeat("k", 40)), SessionToken: secret.New(strings.Repeat("t", 900)),
		Expiration: time.Now().Add(time.Hour), Role: "arn:aws:iam::111122223333:role/reader", AccountID: "111122223333",
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &ready{a: binding.Attachment{ID: "att_1", UID: 1000, Token: secret.New("carnet-local-token")}, answer: answer}
}

func (r *ready) Of(binding.Caller) (*binding.Attachment, error) { return &r.a, nil }

func (r *ready) Keys(context.Context, *binding.Attachment, string) (*binding.Answer, error) {
	return r.answer, nil
}

// otherAccount has this goroutine's thread make sockets as another account, where root
// runs the benchmark: root gets nothing.
func otherAccount(b *testing.B) {
	if os.Getuid() != 0 {
		return
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
	if _, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, 70123, 0, 0); errno != 0 {
		b.Error(errno)
	}
}

// BenchmarkContainerEndpoint is a fetch over a kept connection, beside the same bytes from
// net/http without any check.
func BenchmarkContainerEndpoint(b *testing.B) {
	n := newReady(b)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	at := l.Addr().String()
	c := &Container{Bindings: n, Hosts: localhttp.HostsOf(at), Now: time.Now}
	for name, serve := range map[string]func() (net.Listener, *http.Server){
		"agent": func() (net.Listener, *http.Server) {
			return peer.TCP(l), peer.Brief(c.Handler(), slog.New(slog.DiscardHandler))
		},
		"canned": func() (net.Listener, *http.Server) {
			canned, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			return canned, &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, n.answer.Container)
			})}
		},
	} {
		b.Run(name, func(b *testing.B) {
			l, s := serve()
			go func() { _ = s.Serve(l) }()
			defer s.Close()
			done := make(chan struct{})
			go func() { defer close(done); fetches(b, l.Addr().String()) }()
			<-done
		})
	}
}

func fetches(b *testing.B, at string) {
	otherAccount(b)
	conn, err := net.Dial("tcp4", at)
	if err != nil {
		b.Error(err)
		return
	}
	defer conn.Close()
	request := []byte("GET /v1/credentials HTTP/1.1\r\nHost: " + at + "\r\nAuthorization: carnet-local-token\r\nUser-Agent: sdk\r\nAccept: */*\r\n\r\n")
	buffer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Error(err)
			return
		}
		n, err := conn.Read(buffer)
		if err != nil || !strings.HasPrefix(string(buffer[:n]), "HTTP/1.1 200") {
			b.Errorf("%v: %s", err, buffer[:n])
			return
		}
	}
}

// FuzzContainerRequest: whatever is asked, without the kernel's word there are no keys.
func FuzzContainerRequest(f *testing.F) {
	n := newReady(f)
	h := (&Container{Bindings: n, Hosts: localhttp.Hosts{"127.0.0.1:1018"}, Now: time.Now}).Handler()
	f.Add("GET", "/v1/credentials", "127.0.0.1:1018", "carnet-local-token")
	f.Add("GET", "/v1/credentials/arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx", "127.0.0.1:1018", "")
	f.Add("POST", "/v1/trino?x", "evil", "x")
	f.Fuzz(func(t *testing.T, method, path, host, token string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, URL: u, Host: host, Header: http.Header{"Authorization": {token}}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code < 400 || strings.Contains(w.Body.String(), "kkkk") {
			t.Errorf("%s %q at %q: %d %s", method, path, host, w.Code, w.Body)
		}
		if role, err := roleOf(r); err == nil && (len(role) > maxRole || strings.ContainsAny(role, "\r\n\x00 ")) {
			t.Errorf("%q is taken for a role", role)
		}
	})
}
