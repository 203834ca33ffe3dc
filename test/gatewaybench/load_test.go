//go:build interop

package gatewaybench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// target is a way to the store, and the request that it takes.
type target struct {
	process
	*request
	tls *tls.Config
}

// sample is what one target did within one window.
type sample struct {
	ops, gib float64 // a second
	perOp    time.Duration
	perGiB   time.Duration // processor time of the server process
	p50      time.Duration
}

// load drives one target with c connections for a window, and on until the last
// request that was begun within it has its whole answer: what a proxy still
// holds in its memory has not arrived.
func load(t testing.TB, at *target, c int, window time.Duration) sample {
	t.Helper()
	clients := make([]client, c)
	for i := range clients {
		one, err := at.dial()
		if err != nil {
			t.Fatalf("%s: %v", at.name, err)
		}
		defer one.Close()
		clients[i] = one
		if at.size <= 1<<20 {
			if err := one.once(at.request); err != nil {
				t.Fatalf("%s: %v", at.name, err)
			}
		}
	}
	var wait sync.WaitGroup
	took := make([][]time.Duration, c)
	before, began := processorTime(t, at.pid), time.Now()
	for i, one := range clients {
		wait.Go(func() {
			for start := began; start.Sub(began) < window; {
				if err := one.once(at.request); err != nil {
					t.Errorf("%s: %v", at.name, err)
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(start))
				start = now
			}
		})
	}
	wait.Wait()
	elapsed, used, all := time.Since(began), processorTime(t, at.pid)-before, slices.Concat(took...)
	if len(all) == 0 {
		t.Fatalf("%s did nothing", at.name)
	}
	ops := float64(len(all))
	gib := ops * float64(at.size) / (1 << 30)
	return sample{
		ops: ops / elapsed.Seconds(), gib: gib / elapsed.Seconds(), p50: median(all),
		perOp: time.Duration(float64(used) / ops), perGiB: time.Duration(float64(used) / gib),
	}
}

func median[T int64 | float64 | time.Duration](all []T) (m T) {
	if len(all) == 0 {
		return m
	}
	all = slices.Clone(all)
	slices.Sort(all)
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

// client is one client with one connection.
type client interface {
	// once sends a request and reads its whole answer, which has to be good.
	once(*request) error
	Close() error
}

func (at *target) dial() (client, error) {
	if *bare {
		return at.connect()
	}
	c := &ordinary{scheme: "http", block: make([]byte, min(max(at.size, 8<<10), 256<<10)), transport: &http.Transport{
		TLSClientConfig: at.tls, DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at.address)
		},
	}}
	if at.tls != nil {
		c.scheme = "https"
	}
	return c, nil
}

// ordinary is a client by net/http: nearer to what SDKs cost, and still far
// below it.
type ordinary struct {
	scheme    string
	transport *http.Transport
	block     []byte
}

func (c *ordinary) Close() error { c.transport.CloseIdleConnections(); return nil }

func (c *ordinary) once(r *request) error {
	req, u := *r.message, *r.message.URL
	u.Scheme, req.URL = c.scheme, &u
	if r.put {
		req.Body, req.ContentLength = &reader{left: r.body}, r.body.length()
	}
	res, err := c.transport.RoundTrip(&req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s %s", res.Status, said)
	}
	for n := int64(0); ; {
		m, err := res.Body.Read(c.block)
		n += int64(m)
		if err == io.EOF && (r.put || n == r.size) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w after %d of %d bytes", err, n, r.size)
		}
	}
}

// reader reads frames.
type reader struct{ left frames }

func (r *reader) Close() error { return nil }

func (r *reader) Read(b []byte) (n int, err error) {
	for len(r.left) > 0 && n < len(b) {
		m := copy(b[n:], r.left[0])
		n += m
		if m < len(r.left[0]) {
			r.left = append(frames{r.left[0][m:]}, r.left[1:]...)
			return n, nil
		}
		r.left = r.left[1:]
	}
	if n == 0 && len(r.left) == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// connection is a client that does nothing but send and read bytes.
type connection struct {
	net.Conn
	r     *bufio.Reader
	block []byte
}

func (at *target) connect() (*connection, error) {
	raw, err := net.Dial("tcp", at.address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: raw, block: make([]byte, min(max(at.size, 8<<10), 256<<10))}
	if at.tls != nil {
		c.Conn = tls.Client(raw, at.tls)
	}
	c.r = bufio.NewReaderSize(c.Conn, 8<<10)
	return c, nil
}

func (c *connection) once(r *request) error {
	if err := c.send(r); err != nil {
		return err
	}
	length, err := c.head()
	if err != nil {
		return err
	}
	if !r.put && length != r.size {
		return fmt.Errorf("%d bytes instead of %d", length, r.size)
	}
	return c.drain(length)
}

func (c *connection) send(r *request) error {
	if len(r.body) == 0 {
		_, err := c.Write(r.head)
		return err
	}
	if r.size <= 64<<10 {
		_, err := c.Write(bytes.Join(append([][]byte{r.head}, r.body...), nil))
		return err
	}
	if _, err := c.Write(r.head); err != nil {
		return err
	}
	for _, piece := range r.body {
		if _, err := c.Write(piece); err != nil {
			// Whoever cuts an upload off may have said why.
			if _, said := c.head(); said != nil && !errors.Is(said, io.EOF) {
				err = said
			}
			return err
		}
	}
	return nil
}

// head reads the head of a good answer and gives its length.
func (c *connection) head() (length int64, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		said, _ := c.r.Peek(c.r.Buffered())
		return 0, fmt.Errorf("%s %s", bytes.TrimSpace(line), said)
	}
	length = -1
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("an answer without a length")
	}
	return length, nil
}

func (c *connection) drain(length int64) error {
	for length > 0 {
		n, err := c.r.Read(c.block[:min(int64(len(c.block)), length)])
		if err != nil {
			return err
		}
		length -= int64(n)
	}
	return nil
}
