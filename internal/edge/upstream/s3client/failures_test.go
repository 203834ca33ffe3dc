package s3client_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
)

// pipes is a network without sockets, whose time synctest can drive.
type pipes struct {
	conns chan net.Conn
	dead  atomic.Bool // connections are refused
	dials atomic.Int32
}

func newPipes(t *testing.T, handler http.Handler) *pipes {
	p := &pipes{conns: make(chan net.Conn)}
	server := &http.Server{Handler: handler}
	done := make(chan error, 1)
	go func() { done <- server.Serve(p) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	conn, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p *pipes) Close() error   { close(p.conns); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.dials.Add(1)
	if p.dead.Load() {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func over(t *testing.T, p *pipes, change func(*s3client.Config)) *s3client.Client {
	return client(t, "http://store", func(c *s3client.Config) {
		c.Dial = p.dial
		if change != nil {
			change(c)
		}
	})
}

func ask(c *s3client.Client, method string) error {
	res, err := c.Do(context.Background(), &s3.Outgoing{Method: method, Bucket: "b", Key: "k"})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// TestSilenceIsBounded: a store that stands still, at any point, is given up;
// a client that does is not the store's fault.
func TestSilenceIsBounded(t *testing.T) {
	t.Parallel()
	slow := map[string]http.HandlerFunc{
		"head": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	}
	for name, handler := range slow {
		synctest.Test(t, func(t *testing.T) {
			c := over(t, newPipes(t, handler), nil)
			began := time.Now()
			err := ask(c, "GET")
			if took := time.Since(began); err == nil || took != time.Minute {
				t.Errorf("%s: given up after %v: %v", name, took, err)
			}
			if name == "head" && fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%s: %v", name, err)
			}
			if c.InFlight() != 0 {
				t.Errorf("%s: %d requests are still under way", name, c.InFlight())
			}
			c.Close()
		})
	}
	synctest.Test(t, func(t *testing.T) { // content that the store does not take
		p := newPipes(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Hour) }))
		c := over(t, p, nil)
		began := time.Now()
		_, err := c.Do(context.Background(), &s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: strings.NewReader(strings.Repeat("x", 10<<20)), Length: 10 << 20})
		if took := time.Since(began); fault.KindOf(err) != fault.Unavailable || took != time.Minute {
			t.Errorf("given up after %v: %v", took, err)
		}
		time.Sleep(time.Hour) // until the store's own end
		c.Close()
	})
	synctest.Test(t, func(t *testing.T) { // a client that pauses for an hour, and a copy that takes ten minutes
		p := newPipes(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.Method == "POST" {
				time.Sleep(10 * time.Minute)
			}
		}))
		c := over(t, p, nil)
		res, err := c.Do(context.Background(), &s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: &pausing{strings.NewReader("hello"), time.Hour}, Length: 5})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if err := ask(c, "POST"); err != nil {
			t.Error(err)
		}
		c.Close()
	})
}

type pausing struct {
	r     io.Reader
	pause time.Duration
}

func (p *pausing) Read(b []byte) (int, error) {
	time.Sleep(p.pause)
	return p.r.Read(b)
}

// TestBreaker: a store that is away costs five waits, then nobody waits; one
// request at a time tries it again, and one answer of any sort opens the way.
func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
		c := over(t, p, nil)
		p.dead.Store(true)
		for c.Health()[0].State == s3client.Up {
			if err := ask(c, "GET"); fault.KindOf(err) != fault.Unavailable && fault.Of(err).Code != "SlowDown" {
				t.Error(err)
			}
		}
		before := p.dials.Load()
		if before != 5 {
			t.Errorf("given up after %d dials", before)
		}
		began := time.Now()
		err := ask(c, "GET")
		var busy *s3client.Busy
		if fault.Of(err).Code != "SlowDown" || !errors.As(err, &busy) || busy.RetryAfter() <= 0 || busy.RetryAfter() > 2*time.Second {
			t.Errorf("while it is away: %v", err)
		}
		if p.dials.Load() != before || time.Since(began) != 0 {
			t.Error("a store that is away was asked")
		}
		if h := c.Health()[0]; h.State != s3client.Away || h.Failures < 5 || !strings.Contains(h.Cause, "refused") || h.Until.IsZero() {
			t.Errorf("health: %+v", h)
		}
		for range 20 { // it stays away, and is asked less and less
			time.Sleep(time.Minute)
			before := p.dials.Load()
			for range 3 {
				_ = ask(c, "DELETE")
			}
			if n := p.dials.Load() - before; n < 1 || n > 2 {
				t.Errorf("%d dials for one probe", n)
			}
		}
		p.dead.Store(false)
		time.Sleep(time.Minute)
		if err := ask(c, "GET"); err != nil {
			t.Errorf("back: %v", err)
		}
		if h := c.Health()[0]; h.State != s3client.Up || h.Failures != 0 || h.Cause != "" || h.Answered.IsZero() {
			t.Errorf("health: %+v", h)
		}
		c.Close()
	})
}

// TestOnlyTheStoreIsBlamed: clients that go away, or that send what does not
// hold, close nobody's way.
func TestOnlyTheStoreIsBlamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.Method == "GET" {
				<-r.Context().Done()
			}
		}))
		c := over(t, p, nil)
		for range 10 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if _, err := c.Do(ctx, &s3.Outgoing{Method: "GET", Bucket: "b"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
			if _, err := c.Do(context.Background(), &s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: broken{strings.NewReader("some")}, Length: 500}); fault.Of(err).Code != "BadDigest" {
				t.Error(err)
			}
			if _, err := c.Do(context.Background(), &s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: cut{}, Length: 500}); err == nil {
				t.Error("half an upload passed")
			}
		}
		if h := c.Health()[0]; h.State != s3client.Up || h.Failures != 0 {
			t.Errorf("health: %+v", h)
		}
		c.Close()
	})
}

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestRequestsUnderWayAreBounded: who finds no room waits a little, then comes
// again.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		c := over(t, p, func(c *s3client.Config) { c.Parallel = 2 })
		var open []*http.Response
		for _, caller := range []string{"ann", "bob"} {
			res, err := c.Do(context.Background(), &s3.Outgoing{Method: "GET", Bucket: "b", Caller: caller})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, res)
		}
		began := time.Now()
		if err := ask(c, "GET"); fault.Of(err).Code != "SlowDown" || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		go func() { time.Sleep(time.Second); open[0].Body.Close() }()
		res, err := c.Do(context.Background(), &s3.Outgoing{Method: "GET", Bucket: "b"})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		open[1].Body.Close()
		open[1].Body.Close() // twice frees one place
		if c.InFlight() != 0 {
			t.Errorf("%d are under way", c.InFlight())
		}
		c.Close()
	})
}

// raw is a store that does with each connection what a test says, after one
// request was read.
func raw(t *testing.T, serve func(n int32, conn net.Conn)) (endpoint string, asked *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					n := asked.Add(1)
					_, _ = io.Copy(io.Discard, req.Body)
					serve(n, conn)
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String(), asked
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestWhatIsSentAgain: a question is asked twice at most when the connection
// ends before an answer began, and an upload of which nothing was read; all else
// is sent once, since the store may have acted on it.
func TestWhatIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		out  s3.Outgoing
		want int32
	}{
		{s3.Outgoing{Method: "GET", Bucket: "b", Key: "k"}, 2},
		{s3.Outgoing{Method: "HEAD", Bucket: "b", Key: "k"}, 2},
		{s3.Outgoing{Method: "DELETE", Bucket: "b", Key: "k"}, 1},
		{s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k"}, 1},
		{s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Header: map[string][]string{"X-Amz-Copy-Source": {"/b/x"}}}, 1},
		{s3.Outgoing{Method: "POST", Bucket: "b", Document: []byte("<Delete/>")}, 1},
		{s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: strings.NewReader("hello"), Length: 5}, 1},
	} {
		endpoint, asked := raw(t, func(_ int32, conn net.Conn) { conn.Close() })
		if _, err := client(t, endpoint, nil).Do(context.Background(), &x.out); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", x.out.Method, err)
		}
		if asked.Load() != x.want {
			t.Errorf("%s was sent %d times, want %d", x.out.Method, asked.Load(), x.want)
		}
	}
	endpoint, asked := raw(t, func(n int32, conn net.Conn) {
		if n > 1 {
			_, _ = io.WriteString(conn, fine)
		}
		if n == 1 || n == 3 {
			conn.Close()
		}
	})
	c := client(t, endpoint, nil)
	for range 3 { // the first connection is cut, the second closed between requests
		if err := ask(c, "GET"); err != nil {
			t.Error(err)
		}
	}
	if asked.Load() != 4 {
		t.Errorf("%d requests arrived", asked.Load())
	}
}

// TestStoresThatMisbehave: whatever a store says, the client gets an answer or a
// failure, and never a piece for the whole.
func TestStoresThatMisbehave(t *testing.T) {
	t.Parallel()
	for name, said := range map[string]string{
		"garbage": "\x00\x01\x02garbage\r\n\r\n", "no head": "\r\n\r\n", "head too long": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n",
		"cut off": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "bad chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "negative": "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"chunk cut off": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "another protocol": "SSH-2.0-OpenSSH_9\r\n",
	} {
		endpoint, _ := raw(t, func(_ int32, conn net.Conn) {
			_, _ = io.WriteString(conn, said)
			conn.Close()
		})
		if err := ask(client(t, endpoint, nil), "GET"); err == nil {
			t.Errorf("%s passed for an answer", name)
		}
	}
	// An answer that comes before the content was taken is an answer.
	endpoint, _ := raw(t, func(_ int32, conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
	})
	res, err := client(t, endpoint, nil).Do(context.Background(), &s3.Outgoing{Method: "GET", Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "7" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
}

// pair makes a certificate, signed by an authority or by itself.
func pair(t *testing.T, name string, by *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"store.example"}, BasicConstraintsValid: true, IsCA: by == nil,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := make, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, make, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	authority, stranger := pair(t, "authority", nil), pair(t, "stranger", nil)
	pool := x509.NewCertPool()
	pool.AddCert(authority.Leaf)
	serve := func(change func(*tls.Config)) string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Proto, len(r.TLS.PeerCertificates))
		}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair(t, "store", &authority)}}
		change(s.TLS)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	plain := serve(func(*tls.Config) {})
	mutual := serve(func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, pool })
	old := serve(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	foreign := serve(func(c *tls.Config) { c.Certificates = []tls.Certificate{pair(t, "store", &stranger)} })
	shown := []tls.Certificate{pair(t, "gateway", &authority)}
	for name, x := range map[string]struct {
		endpoint string
		change   func(*s3client.Config)
		want     bool
	}{
		"private authority":     {plain, func(c *s3client.Config) { c.RootCAs = pool }, true},
		"the system's":          {plain, func(*s3client.Config) {}, false},
		"another's certificate": {foreign, func(c *s3client.Config) { c.RootCAs = pool }, false},
		"client certificate":    {mutual, func(c *s3client.Config) { c.RootCAs, c.Certificates = pool, shown }, true},
		"none shown":            {mutual, func(c *s3client.Config) { c.RootCAs = pool }, false},
		"TLS 1.1":               {old, func(c *s3client.Config) { c.RootCAs = pool }, false},
	} {
		err := ask(client(t, x.endpoint, x.change), "GET")
		if (err == nil) != x.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAddressesThatMayNotBeReached: a refusal to dial is a matter of the set-up,
// and nothing of it reaches the client.
func TestAddressesThatMayNotBeReached(t *testing.T) {
	t.Parallel()
	c := client(t, "https://store.example", func(c *s3client.Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, fault.Coded(fault.Denied, "egress.address", "store.example is at 169.254.169.254")
		}
	})
	err := ask(c, "GET")
	if fault.KindOf(err) != fault.Misconfigured || strings.Contains(fault.Of(err).Public, "169") {
		t.Errorf("%v", err)
	}
}
