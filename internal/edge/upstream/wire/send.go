package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

// Bodies go to the store in blocks, the head before the first bytes. A body
// begins with a small one, which is what a slow client costs; one that fills it
// gets a large one.
const (
	smallBlock = 32 << 10
	largeBlock = 256 << 10
)

var (
	small = sync.Pool{New: func() any { b := make([]byte, smallBlock); return &b }}
	large = sync.Pool{New: func() any { b := make([]byte, largeBlock); return &b }}
)

// send writes the request. An error that is not of the connection is the
// body's own.
func (x *exchange) send() error {
	first := small.Get().(*[]byte)
	defer small.Put(first)
	head, err := appendHead((*first)[:0], x.req)
	if err != nil {
		return err
	}
	if x.req.Body == nil {
		_, err := x.c.Write(head)
		return err
	}
	defer x.req.Body.Close()
	if len(head) > smallBlock/2 {
		return errLongRequest
	}
	if !x.watched() {
		return x.stream(*first, len(head))
	}
	x.timed = true
	over := make(chan struct{})
	go func() {
		defer close(over)
		// Nothing may come before the end, so whatever does ends the sending:
		// an answer, or the loss of the connection.
		if _, err := x.c.r.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
			return // woken: nothing came
		}
		x.answered.Store(true)
		_ = x.c.raw.SetWriteDeadline(past)
	}()
	err = x.stream(*first, len(head))
	switch {
	case err == nil:
		x.within(x.patience.Answer)
	case x.mute(err):
		_ = x.c.raw.SetReadDeadline(past)
	default:
		// An answer that explains the failure has a moment to come.
		x.within(lastWords)
	}
	<-over
	return err
}

// mute reports that a store took no more within patience, and said nothing.
func (x *exchange) mute(sent error) bool {
	return errors.Is(sent, os.ErrDeadlineExceeded) && !x.answered.Load()
}

// watched says that somebody looks whether the store answers before it has all.
// Shorter bodies fit into the sockets' buffers.
func (x *exchange) watched() bool { return x.req.Body != nil && x.req.ContentLength > watchOver }

const watchOver = 256 << 10

// lastWords is how long a store that stopped reading may take to say why.
const lastWords = 2 * time.Second

// errBody wraps a failure of the request's own body.
type errBody struct{ error }

func (e errBody) Unwrap() error { return e.error }

// stream copies the body behind the head, which is in the block already. What
// the client has sent goes on its way at once.
func (x *exchange) stream(block []byte, filled int) error {
	for left := x.req.ContentLength; ; filled = 0 {
		space := min(int64(len(block)-filled), left)
		n, err := x.req.Body.Read(block[filled : filled+int(space)])
		left -= int64(n)
		if err == io.EOF && left > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && left > 0 {
			return errBody{err}
		}
		if err := x.write(block[:filled+n]); err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		if int64(n) == space && len(block) < largeBlock && left > smallBlock {
			more := large.Get().(*[]byte)
			defer large.Put(more)
			block = *more
		}
	}
}

// write sends a piece, within patience, for as long as nothing was answered.
func (x *exchange) write(piece []byte) error {
	if x.patience.Piece > 0 {
		x.timed = true
		_ = x.c.raw.SetWriteDeadline(time.Now().Add(x.patience.Piece))
		if x.answered.Load() || x.req.Context().Err() != nil {
			return os.ErrDeadlineExceeded
		}
	}
	_, err := x.c.Write(piece)
	return err
}

// ErrRequest says that a request can't be sent as it is: the store was not asked.
var ErrRequest = errors.New("wire: the request can't be sent")

var (
	errLongRequest = fmt.Errorf("%w: its head is too long", ErrRequest)
	errBadHead     = fmt.Errorf("%w: a control character in its head", ErrRequest)
	errNoLength    = fmt.Errorf("%w: a body of unknown length", ErrRequest)
)

// appendHead writes request line and headers. Whatever could end a line early
// is refused: a header is a place where requests are smuggled in.
func appendHead(b []byte, req *http.Request) ([]byte, error) {
	if req.Body != nil && req.ContentLength < 0 {
		return b, errNoLength
	}
	b = append(append(b, req.Method...), ' ')
	from := len(b)
	b = appendTarget(b, req.URL)
	target := b[from:]
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), req.Host...), "\r\n"...)
	bad := unclean(req.Method, true) || unclean(target, true) || unclean(req.Host, true)
	for name, values := range req.Header {
		if name == "Content-Length" || name == "Host" || name == "Connection" || name == "Transfer-Encoding" {
			continue // these are the transport's
		}
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
			bad = bad || unclean(v, false)
		}
		bad = bad || unclean(name, true)
	}
	if bad {
		return b, errBadHead
	}
	if req.Body != nil || req.Method == http.MethodPut || req.Method == http.MethodPost {
		length := int64(0)
		if req.Body != nil {
			length = req.ContentLength
		}
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), length, 10), "\r\n"...)
	}
	return append(b, "\r\n"...), nil
}

// appendTarget writes the path as it is escaped already, since it was signed
// that way, and the query.
func appendTarget(b []byte, u *url.URL) []byte {
	if u.RawPath == "" {
		return append(b, u.RequestURI()...)
	}
	b = append(b, u.RawPath...)
	if u.RawQuery != "" {
		b = append(append(b, '?'), u.RawQuery...)
	}
	return b
}

// unclean reports control characters, and spaces and nothing at all in words.
func unclean[T string | []byte](s T, word bool) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f || word && c <= ' ' {
			return true
		}
	}
	return word && len(s) == 0
}

// ofConnection reports failures of the connection itself, after which the
// store's last words may still be there to read.
func ofConnection(err error) bool {
	var body errBody
	if errors.As(err, &body) {
		return false
	}
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)
}
