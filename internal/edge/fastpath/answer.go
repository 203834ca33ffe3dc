package fastpath

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

// exchange is one request, the writer of its answer, and its context.
type exchange struct {
	c      *conn
	req    *http.Request
	inner  context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	asked   bool          // somebody wants to know when the client goes
	over    bool          // the handler has returned
	timed   bool          // the handler has set a deadline of its own for reading
	soon    *time.Timer   // until somebody looks for it
	watched chan struct{} // closed when nobody reads any more; nil: nobody does

	reading sync.Mutex // held while the body is read
	shut    bool
	left    int64 // of the body; written under mu too

	header  http.Header
	later   http.Header // as it was at WriteHeader, where the head is not out yet
	status  int
	length  int64 // of the answer; -1: unknown
	written int64
	begun   bool   // the head is in out
	pending []byte // content of an answer whose length nobody has said yet
	out     *bufio.Writer
	chunks  io.WriteCloser
	closing bool
	slowed  bool // a deadline for writing is set
	failed  error
}

const (
	outBuffer  = 8 << 10
	mostWaits  = 2 << 10 // of an answer without length, before it goes in chunks
	mostUnread = 256 << 10
)

var outs = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, outBuffer) }}

var errOver = errors.New("fastpath: the request has been answered")

// Header gives the header to be sent.
func (x *exchange) Header() http.Header {
	if x.header == nil {
		x.header = make(http.Header, 16)
	}
	return x.header
}

// WriteHeader begins the answer.
func (x *exchange) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic("fastpath: invalid status " + strconv.Itoa(status))
	case x.status != 0 || x.over:
		x.c.s.logf("fastpath: superfluous WriteHeader(%d)", status)
		return
	case status < 200:
		return // nothing but the final answer is sent
	}
	x.status = status
	h := x.Header()
	if v := h.Get("Content-Length"); v != "" {
		length, err := strconv.ParseInt(v, 10, 64)
		if err != nil || length < 0 {
			x.c.s.logf("fastpath: invalid Content-Length %q", v)
			h.Del("Content-Length")
		} else {
			x.length = length
		}
	}
	if _, typed := h["Content-Type"]; x.length >= 0 && typed {
		x.begin(h, nil)
		return
	}
	x.later = h.Clone()
}

func hasContent(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// excluded are the fields that are written here.
var (
	excluded      = map[string]bool{"Connection": true, "Transfer-Encoding": true, "Date": true, "Content-Length": true}
	noContentType = map[string]bool{"Connection": true, "Transfer-Encoding": true, "Date": true, "Content-Length": true, "Content-Type": true}
)

// begin writes the head. first is the content that is there, for its type.
func (x *exchange) begin(h http.Header, first []byte) {
	x.begun = true
	x.later = nil
	x.out = outs.Get().(*bufio.Writer)
	x.out.Reset(x.c.tcp)
	w := x.out
	x.closing = x.req.Close || h.Get("Connection") == "close" || x.c.s.draining.Load()
	x.closing = x.closing || !x.readOut()
	b := append(w.AvailableBuffer(), "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(x.status), 10)
	b = append(b, ' ')
	text := http.StatusText(x.status)
	if text == "" {
		b = strconv.AppendInt(append(b, "status code "...), int64(x.status), 10)
	}
	b = append(append(b, text...), "\r\n"...)
	_, _ = w.Write(b)
	content, head := hasContent(x.status), x.req.Method == http.MethodHead
	skip := excluded
	if x.status == http.StatusNotModified {
		skip = noContentType
	}
	_ = h.WriteSubset(w, skip)
	b = w.AvailableBuffer()
	if _, typed := h["Content-Type"]; content && !typed && h.Get("Content-Encoding") == "" && len(first) > 0 {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(first)...), "\r\n"...)
	}
	b = x.appendDate(b, h)
	switch {
	case !content:
	case x.length >= 0:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), x.length, 10), "\r\n"...)
	case !head:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		x.chunks = httputil.NewChunkedWriter(w)
	}
	if x.closing {
		b = append(b, "Connection: close\r\n"...)
	} else {
		b = appendField(b, "Connection: ", h["Connection"])
	}
	_, _ = w.Write(append(b, "\r\n"...))
}

// lineEnds would end a value, and begin another field.
var lineEnds = strings.NewReplacer("\n", " ", "\r", " ")

// appendField writes a field as http.Header.Write does: a value stays one line.
func appendField(b []byte, name string, values []string) []byte {
	for _, v := range values {
		b = append(append(append(b, name...), textproto.TrimString(lineEnds.Replace(v))...), "\r\n"...)
	}
	return b
}

// date is the text of one second.
type date struct {
	second int64
	text   string
}

func (x *exchange) appendDate(b []byte, h http.Header) []byte {
	if v, there := h["Date"]; there {
		return appendField(b, "Date: ", v)
	}
	now := time.Now()
	d := x.c.s.date.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		x.c.s.date.Store(d)
	}
	return append(b, d.text...)
}

// readOut reads what is left of a short body before the answer begins, as
// clients send theirs before they read. Where a body is long, or breaks off, the
// connection is closed after the answer.
func (x *exchange) readOut() bool {
	x.reading.Lock()
	defer x.reading.Unlock()
	if x.left >= mostUnread {
		return false
	}
	if x.left > 0 && !x.timed {
		x.c.within(drainTime)
	}
	_, err := io.CopyN(io.Discard, takes{x}, x.left)
	return err == nil
}

// Write sends content.
func (x *exchange) Write(b []byte) (int, error) {
	if x.over {
		return 0, errOver
	}
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if len(b) == 0 {
		return 0, nil
	}
	if !hasContent(x.status) {
		return 0, http.ErrBodyNotAllowed
	}
	x.written += int64(len(b))
	if x.length >= 0 && x.written > x.length {
		return 0, http.ErrContentLength
	}
	if !x.begun {
		if x.length < 0 && len(x.pending)+len(b) <= mostWaits {
			x.pending = append(x.pending, b...)
			return len(b), nil
		}
		if err := x.start(b); err != nil {
			return 0, err
		}
	}
	return x.send(b)
}

// start writes the head and what waits behind it.
func (x *exchange) start(next []byte) error {
	first := x.pending
	if len(first) == 0 {
		first = next
	}
	x.begin(x.later, first)
	waits := x.pending
	x.pending = nil
	_, err := x.send(waits)
	return err
}

func (x *exchange) send(b []byte) (n int, err error) {
	switch {
	case len(b) == 0:
		return 0, nil
	case x.req.Method == http.MethodHead:
		return len(b), nil
	case x.chunks != nil:
		n, err = x.chunks.Write(b)
	default:
		n, err = x.out.Write(b)
	}
	if err != nil {
		x.gone(err)
	}
	return n, err
}

// gone notes that the client takes no more.
func (x *exchange) gone(err error) {
	x.failed = err
	x.cancel()
}

// ReadFrom has content moved to the socket, by the kernel where it can.
func (x *exchange) ReadFrom(from io.Reader) (int64, error) {
	if !x.begun || x.over || x.chunks != nil || !hasContent(x.status) || x.req.Method == http.MethodHead {
		return io.Copy(writerOnly{x}, from)
	}
	if err := x.FlushError(); err != nil {
		return 0, err
	}
	n, err := x.c.tcp.ReadFrom(from)
	x.written += n
	return n, err
}

// writerOnly hides ReadFrom.
type writerOnly struct{ io.Writer }

// FlushError sends what is there.
func (x *exchange) FlushError() error {
	if x.over {
		return errOver
	}
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if !x.begun {
		if err := x.start(nil); err != nil {
			return err
		}
	}
	if err := x.out.Flush(); err != nil {
		x.gone(err)
	}
	return x.failed
}

// Flush is FlushError for those who don't look.
func (x *exchange) Flush() { _ = x.FlushError() }

// SetReadDeadline and SetWriteDeadline serve http.ResponseController.
func (x *exchange) SetReadDeadline(t time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return errOver
	}
	x.timed = true
	return x.c.tcp.SetReadDeadline(t)
}

// SetWriteDeadline bounds the next writes.
func (x *exchange) SetWriteDeadline(t time.Time) error {
	if t.IsZero() && !x.slowed {
		return nil
	}
	x.slowed = !t.IsZero()
	return x.c.tcp.SetWriteDeadline(t)
}

// finish sends the rest of the answer, and reports whether the connection is
// good for another request.
func (x *exchange) finish() bool {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if !x.begun {
		if x.length < 0 && hasContent(x.status) && (x.req.Method != http.MethodHead || len(x.pending) > 0) {
			x.length = int64(len(x.pending))
		}
		_ = x.start(nil)
	}
	if x.chunks != nil {
		_ = x.chunks.Close()
		_, _ = x.out.WriteString("\r\n")
	}
	x.stop()
	x.flush()
	if x.slowed {
		_ = x.c.tcp.SetWriteDeadline(time.Time{})
	}
	x.reading.Lock()
	defer x.reading.Unlock()
	x.shut = true
	if x.failed != nil {
		return false
	}
	if x.left > 0 {
		x.drain()
		return false
	}
	short := x.length >= 0 && x.length != x.written && x.req.Method != http.MethodHead && hasContent(x.status)
	return !x.closing && !short
}

// flush sends what is in the buffer, and gives it back.
func (x *exchange) flush() {
	if x.out == nil {
		return
	}
	if err := x.out.Flush(); err != nil {
		x.failed = err
	}
	x.forget()
}

// forget gives the buffer back as it is.
func (x *exchange) forget() {
	if x.out == nil {
		return
	}
	x.out.Reset(nil)
	outs.Put(x.out)
	x.out = nil
}

// How long a client that was answered early is listened to, so that it hears the
// answer.
const (
	drainTime = 5 * time.Second
	lastTime  = 500 * time.Millisecond
)

// drain reads some of a body that nobody wanted.
func (x *exchange) drain() {
	_ = x.c.tcp.SetReadDeadline(time.Now().Add(drainTime))
	n, err := io.CopyN(io.Discard, takes{x}, min(x.left, mostUnread))
	if err == nil && n == mostUnread {
		_ = x.c.tcp.CloseWrite()
		time.Sleep(lastTime)
	}
}

type takes struct{ x *exchange }

func (t takes) Read(b []byte) (int, error) { return t.x.take(b) }
