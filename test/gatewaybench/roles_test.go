//go:build interop

// Package gatewaybench measures the gateway as people run it: the real binary,
// `carnet server` with access log, metrics, audit and revocation on, beside
// rivals in the same run. It is started by make, which builds the binary
// (CARNET_BINARY); without what it needs it fails, it does not skip.
//
// Every server is a process of its own, this test binary among them under
// another role, so that what each one costs can be told apart. All targets of a
// row take turns, in rounds, and ratios are taken round by round: the clock of a
// shared machine drifts, ratios much less.
package gatewaybench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const roleVariable = "CARNET_BENCH_ROLE"

// TestMain lets this binary be the store, the relay and the stand-in too.
func TestMain(m *testing.M) {
	role, upstream, _ := strings.Cut(os.Getenv(roleVariable), " ")
	if role == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		// The parent holds the other end.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(l.Addr())
	switch role {
	case "store":
		err = http.Serve(l, http.HandlerFunc(store))
	case "bare-store":
		serveBareStore(l)
	case "relay":
		serveRelay(l, upstream)
	case "buffering-proxy", "buffering-proxy-unsigned":
		err = http.Serve(l, newBufferingProxy(upstream, role != "buffering-proxy"))
	}
	fmt.Fprintln(os.Stderr, role, err)
	os.Exit(1)
}

// process is one server process and where it answers.
type process struct {
	name, address string
	pid           int
}

// startRole runs this binary in another role until the test ends.
func startRole(t testing.TB, role, upstream string) process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.TrimSpace(role+" "+upstream))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%s does not start: %v", role, err)
	}
	return process{role, strings.TrimSpace(line), cmd.Process.Pid}
}

// pattern is what every object of the store consists of.
var pattern = bytes.Repeat([]byte("0123456789abcdef"), 64<<10)

const (
	etag    = "\"9e107d9d372bb6826bd81d3542a419d6\""
	changed = "Sat, 21 Nov 2026 12:00:00 GMT"
	buckets = `<?xml version="1.0"?><ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>`
)

// store is a free object store: it does nothing but HTTP, by net/http, as most
// stores in Go do. GET of a key that begins with a number gives as many bytes;
// what is put is dropped; there is no bucket to be listed.
func store(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Etag"], h["X-Amz-Request-Id"] = []string{etag}, []string{"4442587FB7D0A2F9"}
	if r.Method != http.MethodGet {
		block := blocks.Get().(*[]byte)
		defer blocks.Put(block)
		for {
			if _, err := r.Body.Read(*block); err != nil {
				return
			}
		}
	}
	size, ok := sizeOf(r.URL.Path)
	if !ok {
		_, _ = io.WriteString(w, buckets)
		return
	}
	h["Content-Length"], h["Content-Type"] = []string{strconv.FormatInt(size, 10)}, []string{"binary/octet-stream"}
	h["Last-Modified"], h["Accept-Ranges"] = []string{changed}, []string{"bytes"}
	for ; size > 0; size -= int64(len(pattern)) {
		if _, err := w.Write(pattern[:min(size, int64(len(pattern)))]); err != nil {
			return
		}
	}
}

var blocks = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

func sizeOf(path string) (int64, bool) {
	digits, _, _ := strings.Cut(path[strings.LastIndexByte(path, '/')+1:], "-")
	size, err := strconv.ParseInt(digits, 10, 64)
	return size, err == nil
}

// serveBareStore is a store without even net/http.
func serveBareStore(l net.Listener) {
	each(l, func(c net.Conn) error {
		r := bufio.NewReaderSize(c, 64<<10)
		sink := make([]byte, 256<<10)
		for {
			method, path, length, expects, err := readHead(r)
			if err != nil {
				return err
			}
			if expects {
				if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
					return err
				}
			}
			for length > 0 {
				n, err := r.Read(sink[:min(int64(len(sink)), length)])
				if err != nil {
					return err
				}
				length -= int64(n)
			}
			if err := answerAs(c, method, path); err != nil {
				return err
			}
		}
	})
}

func answerAs(c net.Conn, method, path string) error {
	path, _, _ = strings.Cut(path, "?")
	size, ok := sizeOf(path)
	if method != http.MethodGet {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "+etag+"\r\n\r\n")
		return err
	}
	if !ok {
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s", len(buckets), buckets)
		return err
	}
	answer := net.Buffers{fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: binary/octet-stream\r\nAccept-Ranges: bytes\r\n"+
		"ETag: %s\r\nLast-Modified: %s\r\nX-Amz-Request-Id: 4442587FB7D0A2F9\r\n\r\n", size, etag, changed)}
	for ; size > 0; size -= int64(len(pattern)) {
		answer = append(answer, pattern[:min(size, int64(len(pattern)))])
	}
	_, err := answer.WriteTo(c)
	return err
}

// readHead reads a request's head, as much of it as a store needs that believes
// everybody.
func readHead(r *bufio.Reader) (method, path string, length int64, expects bool, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", "", 0, false, err
	}
	method, rest, _ := strings.Cut(string(line), " ")
	path, _, _ = strings.Cut(rest, " ")
	for {
		if line, err = r.ReadSlice('\n'); err != nil || len(line) <= 2 {
			return method, path, length, expects, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			err = fmt.Errorf("the store takes no %s", line)
		case bytes.EqualFold(name, []byte("Expect")):
			expects = true
		}
		if err != nil {
			return "", "", 0, false, err
		}
	}
}

// serveRelay joins connections and looks at nothing: io.Copy moves bytes by
// splice. No gateway that reads requests can be expected to be faster.
func serveRelay(l net.Listener, upstream string) {
	each(l, func(c net.Conn) error {
		up, err := net.Dial("tcp", upstream)
		if err != nil {
			return err
		}
		defer up.Close()
		go func() {
			_, _ = io.Copy(up, c)
			_ = up.(*net.TCPConn).CloseWrite()
		}()
		_, err = io.Copy(c, up)
		return err
	})
}

func each(l net.Listener, serve func(net.Conn) error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if err := serve(c); err != nil && os.Getenv("CARNET_BENCH_TALK") != "" {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

// ready waits until somebody listens.
func ready(t testing.TB, address string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal(err)
		}
	}
}
