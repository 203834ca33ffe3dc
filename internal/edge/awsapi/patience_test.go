package awsapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/fastpath"
)

const silence = 300 * time.Millisecond

// bothWays runs a test with the fast path and without. patiently serves a handler
// with little patience and dials it.
func bothWays(t *testing.T, test func(t *testing.T, patiently func(*testing.T, http.HandlerFunc) net.Conn)) {
	t.Parallel()
	for name, fast := range map[string]bool{"fast path": true, "net/http": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(t *testing.T, h http.HandlerFunc) net.Conn {
				t.Helper()
				s := httptest.NewUnstartedServer(awsapi.Patient(h, silence))
				if fast {
					front := &fastpath.Server{HTTP: s.Config}
					s.Listener = front.Before(s.Listener)
					t.Cleanup(func() { _ = front.Close() })
				}
				s.Start()
				t.Cleanup(s.Close)
				return dial(t, s.Listener.Addr().String())
			})
		})
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// ended demands that the server closes the connection.
func ended(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("the connection stays open: %v", err)
	}
	return string(b)
}

func TestUploadThatStandsStill(t *testing.T) { bothWays(t, uploadThatStandsStill) }

func uploadThatStandsStill(t *testing.T, patiently func(*testing.T, http.HandlerFunc) net.Conn) {
	read := make(chan error, 1)
	c := patiently(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
	})
	say(t, c, "PUT /sales/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
	ended(t, c)
	if err := <-read; err == nil {
		t.Error("the handler took half a body for a whole one")
	}
}

// Whoever is refused can't hold the connection by never sending the body.
func TestRefusedBodyThatNeverComes(t *testing.T) { bothWays(t, refusedBodyThatNeverComes) }

func refusedBodyThatNeverComes(t *testing.T, patiently func(*testing.T, http.HandlerFunc) net.Conn) {
	for _, head := range []string{"Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 1000\r\nConnection: close\r\n"} {
		c := patiently(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
		say(t, c, "PUT /sales/k HTTP/1.1\r\nHost: x\r\n"+head+"\r\n5\r\nh")
		if got := ended(t, c); !strings.Contains(got, "403 Forbidden") {
			t.Errorf("%q: %q", head, got)
		}
	}
}

func TestAnswerThatNobodyReads(t *testing.T) { bothWays(t, answerThatNobodyReads) }

func answerThatNobodyReads(t *testing.T, patiently func(*testing.T, http.HandlerFunc) net.Conn) {
	wrote := make(chan error, 1)
	c := patiently(t, func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for block := make([]byte, 1<<20); err == nil; {
			_, err = w.Write(block)
		}
		wrote <- err
	})
	say(t, c, "GET /sales/k HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-wrote:
	case <-time.After(8 * time.Second):
		t.Error("the handler still writes to a client that doesn't read")
	}
}

// What moves may last: a slow upload, a pause of the store, the next request.
func TestSlowTransfersLive(t *testing.T) { bothWays(t, slowTransfersLive) }

func slowTransfersLive(t *testing.T, patiently func(*testing.T, http.HandlerFunc) net.Conn) {
	c := patiently(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		time.Sleep(2 * silence)
		fmt.Fprintf(w, "%d %v %v", len(b), err, r.Context().Err())
	})
	answers := bufio.NewReader(c)
	for range 2 {
		say(t, c, "PUT /sales/k HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
		for range 6 {
			time.Sleep(silence / 3)
			say(t, c, "x")
		}
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil || string(b) != "6 <nil> <nil>" {
			t.Errorf("%q, %v", b, err)
		}
		time.Sleep(2 * silence)
	}
}

// Strangers may hold so much memory and no more: half a megabyte for each of a
// bounded number of requests.
func TestFloodOfHalfForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	address := strings.TrimPrefix(w.url, "http://")
	half := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 500000\r\n\r\nAction="
	const served, over = 64, 8
	throttled := make(chan string, served+over)
	for range served + over {
		c := dial(t, address)
		say(t, c, half)
		go func() {
			b, _ := io.ReadAll(c)
			throttled <- string(b)
		}()
	}
	for range over {
		if got := <-throttled; !strings.Contains(got, "<Code>Throttling</Code>") {
			t.Fatalf("an unfinished form is answered %q", got)
		}
	}
	c := dial(t, address)
	say(t, c, "GET /?Action=AssumeRoleWithSAML HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if got := ended(t, c); !strings.Contains(got, "<Code>Throttling</Code>") {
		t.Errorf("with %d unfinished forms another call is answered: %s", served, got)
	}
	// The flood of one address leaves room for others.
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	other, err := from.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	say(t, other, "GET /?Action=AssumeRoleWithSAML HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if got := ended(t, other); strings.Contains(got, "<Code>Throttling</Code>") {
		t.Errorf("the flood of one address keeps another out: %s", got)
	}
}
