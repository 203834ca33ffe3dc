package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// revoke takes all keys back, and lets three seconds pass.
func (w *world) revoke(ahead *atomic.Int64) {
	w.mu.Lock()
	w.gone = true
	w.mu.Unlock()
	ahead.Add(int64(3 * time.Second))
}

// movable gives w a clock that can be put forward.
func (w *world) movable() *atomic.Int64 {
	ahead := new(atomic.Int64)
	w.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	return ahead
}

func (w *world) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", w.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// Whoever was shut out can't finish what he began: an upload kept open for
// hours would write long after.
func TestUploadOutlivesItsRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ahead := w.movable()
	body := strings.Repeat("0123456789", 100<<10)
	head := w.head(t, "PUT", "/sales/late", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashOf(body)) }, fmt.Sprintf("Content-Length: %d", len(body)))
	c := w.dial(t)
	write(t, c, head+body[:len(body)-1])
	w.revoke(ahead)
	write(t, c, body[len(body)-1:])
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 400 || !strings.Contains(string(b), "<Code>ExpiredToken</Code>") {
		t.Errorf("%d %s", res.StatusCode, b)
	}
	w.absent(t, "sales", "late")
}

func TestDownloadOutlivesItsRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ahead := w.movable()
	const size = 64 << 20
	w.put(t, "sales", "large", strings.Repeat("0123456789abcdef", size/16))
	c := w.dial(t)
	write(t, c, w.head(t, "GET", "/sales/large", nil))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	w.revoke(ahead)
	if n, err := io.Copy(io.Discard, res.Body); err == nil || n > size/2 {
		t.Errorf("%d more bytes came, %v", n, err)
	}
}
