package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// openBody reads how the body is bound to the signature and what it may be. It
// reads none of it: a client that waits for 100 Continue sends nothing before
// the operation is allowed.
func (x *exchange) openBody() (*sigv4.Body, error) {
	mode, err := x.presented.Mode()
	if err != nil {
		return nil, err
	}
	if mode.Streaming() && x.op.Body != s3.StreamBody {
		return nil, fault.Coded(fault.Unsupported, "InvalidRequest", "A streaming payload is only supported for PutObject and UploadPart")
	}
	spec := sigv4.BodySpec{Mode: mode, Length: x.r.ContentLength, Trailer: x.op.Trailer, Checksums: x.op.Checksums}
	if mode.Streaming() {
		spec.Length = x.op.DecodedLength
	}
	if x.op.Body == s3.NoBody && spec.Length != 0 {
		return nil, fault.Coded(fault.Invalid, "InvalidRequest", "The operation "+string(x.op.Name)+" takes no request body")
	}
	if spec.Length > x.op.MaxBody {
		return nil, fault.Coded(fault.TooLarge, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	return x.presented.Body(x.r.Body, x.key, spec)
}

// upload streams content to the store.
func (x *exchange) upload(body *sigv4.Body) error {
	out := x.outgoing()
	content := &content{body: body, holds: x.stillHolds}
	x.record.Size = body.Len()
	defer x.stop(content)
	if body.Len() == 0 {
		// Nothing to stream: hold everything first, then send headers only.
		if _, err := io.ReadAll(content); err != nil {
			return err
		}
		if x.op.Trailer != "" {
			out.Header[http.CanonicalHeaderKey(sigv4.ChecksumPrefix+x.op.Trailer)] = []string{body.Trailer()}
		}
		return x.relay(out)
	}
	out.Body, out.Length = content, body.Len()
	if x.op.Trailer != "" {
		out.Trailer = &s3.Trailer{Algorithm: x.op.Trailer, Value: body.Trailer}
	}
	res, err := x.ask(x.store, out)
	if failed := content.failed.Load(); failed != nil {
		if err == nil {
			res.Body.Close()
		}
		return *failed
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if !content.done.Load() && res.StatusCode < 300 {
		return fault.New(fault.Unavailable, "The store answered before it had the whole object")
	}
	return x.answer(res)
}

// content passes a body to the store's connection, which reads it on another
// goroutine and may go on doing so for a moment after the exchange has ended.
type content struct {
	mu    sync.Mutex
	body  *sigv4.Body
	holds func() error // whether the keys do
	ended bool
	read  int64

	// failed and done are set under mu and read without it: a Read may hold mu
	// for as long as a client is slow.
	failed atomic.Pointer[error]
	done   atomic.Bool
}

var errEnded = errors.New("the request has ended")

func (c *content) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, errEnded
	}
	n, err := c.body.Read(b)
	c.read += int64(n)
	if lost := c.holds(); lost != nil && c.body.Err() == nil {
		c.failed.Store(&lost)
		return 0, lost
	}
	if failed := c.body.Err(); failed != nil {
		c.failed.Store(&failed)
	}
	c.done.Store(c.body.Done())
	return n, err
}

// stop keeps the body from being read after the handler has returned. A read
// that still waits for a slow client is woken by a deadline; the connection is
// closed then, since the rest of the body is on it.
func (x *exchange) stop(c *content) {
	if !c.mu.TryLock() {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0))
		c.mu.Lock()
	}
	c.ended = true
	x.received = c.read
	c.mu.Unlock()
}

const maxSmall = 8 << 20 // of an upstream's document that is read whole

// readSmall reads a document of the store.
func readSmall(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSmall+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "The store's answer broke off")
	}
	if len(b) > maxSmall {
		return nil, fault.New(fault.Unavailable, "The store's answer is too long")
	}
	return b, nil
}
