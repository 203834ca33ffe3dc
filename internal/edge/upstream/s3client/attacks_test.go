package s3client_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
)

// TestAttackWayClosedByHeaders: whoever may write one object could send headers
// that no store is sent, again and again, and so close the store to everybody.
func TestAttackWayClosedByHeaders(t *testing.T) {
	t.Parallel()
	endpoint, asked := raw(t, func(_ int32, conn net.Conn) { _, _ = io.WriteString(conn, fine) })
	c := client(t, endpoint, nil)
	header := map[string][]string{"X-Amz-Meta-A": {strings.Repeat("a", 20<<10)}}
	for range 10 {
		_, err := c.Do(context.Background(), &s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Header: header, Body: strings.NewReader("some"), Length: 4})
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("headers that are too long: %v", err)
		}
	}
	if h := c.Health()[0]; h.State != s3client.Up || h.Failures != 0 {
		t.Errorf("health: %+v", h)
	}
	if err := ask(c, "GET"); err != nil || asked.Load() != 1 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
}

// TestAttackWayClosedBySlowUploads: stores close connections on which content comes
// slowly, and some say nothing. A client that dawdles would close the store to
// everybody.
func TestAttackWayClosedBySlowUploads(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 64)) // some of the head
			_ = conn.Close()
		}
	}()
	c := client(t, "http://"+l.Addr().String(), nil)
	for range 10 {
		if _, err := c.Do(context.Background(), &s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: &dawdling{left: 500}, Length: 500}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("an upload that broke off: %v", err)
		}
	}
	if h := c.Health()[0]; h.State != s3client.Up || h.Failures != 0 {
		t.Errorf("health: %+v", h)
	}
}

// dawdling gives little at a time.
type dawdling struct{ left int }

func (d *dawdling) Read(b []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(time.Millisecond)
	n := min(len(b), 10, d.left)
	d.left -= n
	return n, nil
}

// TestPlacesAreGivenBack: on every way out, also one that nobody foresaw.
func TestPlacesAreGivenBack(t *testing.T) {
	t.Parallel()
	c := client(t, "http://store", func(c *s3client.Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) { panic("of a test") }
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing panicked")
			}
		}()
		_ = ask(c, "GET")
	}()
	if n := c.InFlight(); n != 0 {
		t.Errorf("%d places are held after a panic", n)
	}
}
