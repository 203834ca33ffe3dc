package s3proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// silence is how long a client may neither send nor take anything.
const silence = 2 * time.Minute

// send sends the request on and its answer back.
func (x *exchange) send(store Store, keys Keys) error {
	q := &x.head
	out := q.out
	out.As = &keys.Temporary
	out.Renew = func(ctx context.Context) (credential.Temporary, error) {
		k, err := x.p.c.People.Keys(ctx, x.r, q.role)
		if err == nil && (k.Endpoint != keys.Endpoint || k.Region != keys.Region) {
			err = fault.New(fault.Conflict, "The S3 endpoint of the role has changed")
		}
		return k.Temporary, err
	}
	if x.r.ContentLength == 0 && q.body.Length == 0 {
		return x.relay(store, &out, nil)
	}
	control := http.NewResponseController(x.w)
	body, err := q.decoded(&patient{r: x.r.Body, wait: func(d time.Time) { _ = control.SetReadDeadline(d) }})
	if err != nil {
		return err
	}
	if q.streams && body.Len() > 0 {
		c := &content{body: body}
		defer x.stop(c)
		out.Body, out.Length = c, body.Len()
		if q.body.Trailer != "" {
			out.Trailer = &s3.Trailer{Algorithm: q.body.Trailer, Value: body.Trailer}
		}
		return x.relay(store, &out, c)
	}
	return x.document(store, &out, body)
}

// document sends what is read whole before.
func (x *exchange) document(store Store, out *s3.Outgoing, body *sigv4.Body) error {
	if !x.p.documents.enter(x.who) {
		return fault.Coded(fault.Limited, "SlowDown", "Please reduce your request rate: too many requests of yours are under way at this proxy")
	}
	defer x.p.documents.leave(x.who)
	var err error
	if out.Document, err = io.ReadAll(body); err != nil {
		return err
	}
	if t := x.head.body.Trailer; t != "" {
		out.Header[http.CanonicalHeaderKey(sigv4.ChecksumPrefix+t)] = []string{body.Trailer()}
	}
	return x.relay(store, out, nil)
}

// relay asks the store and passes its answer on.
func (x *exchange) relay(store Store, out *s3.Outgoing, c *content) error {
	out.Caller = x.who
	res, err := store.Do(x.r.Context(), out)
	if c != nil {
		if failed := c.failed.Load(); failed != nil {
			if err == nil {
				_ = res.Body.Close()
			}
			return *failed
		}
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if c != nil && res.StatusCode < 300 && !c.done.Load() {
		return fault.New(fault.Unavailable, "The store answered before it had the whole object")
	}
	return x.answer(res)
}

// between are the headers of an answer that belong to the connection it came over,
// and cookies, which are nobody's business here.
var between = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Connection": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Set-Cookie": true, "Set-Cookie2": true, "Alt-Svc": true, "Strict-Transport-Security": true,
}

func (x *exchange) answer(res *http.Response) error {
	h := x.w.Header()
	for name, values := range res.Header {
		if !between[name] {
			h[name] = values
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	x.begun = true
	x.w.WriteHeader(res.StatusCode)
	if x.r.Method == http.MethodHead {
		return nil
	}
	control := http.NewResponseController(x.w)
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for {
		n, err := res.Body.Read(*block)
		if n > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(silence))
			if _, err := x.w.Write((*block)[:n]); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			_ = control.SetWriteDeadline(time.Time{})
			return nil
		default:
			return err
		}
	}
}

var blocks = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// refuse answers with S3's error document. Where the answer has begun already, the
// connection is cut: half an object must not look like a whole one.
func (x *exchange) refuse(err error) {
	f := fault.Of(err)
	if x.begun {
		panic(http.ErrAbortHandler)
	}
	if f.Kind == fault.Internal && x.r.Context().Err() == nil {
		x.p.c.Logger.Error("a request to the signing proxy failed", "request_id", x.id, "attachment", x.who, "error", err)
	}
	e := s3.ErrorOf(f)
	e.Resource, e.RequestID = x.r.URL.Path, x.id
	h := x.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("X-Amz-Request-Id", x.id)
	h.Set("X-Content-Type-Options", "nosniff")
	x.w.WriteHeader(e.Status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(e.XML())
	}
}

// patient gives a client time for each piece, not for the whole.
type patient struct {
	r    io.Reader
	wait func(until time.Time)
}

// Read reads a piece.
func (p *patient) Read(b []byte) (int, error) {
	p.wait(time.Now().Add(silence))
	n, err := p.r.Read(b)
	if err == nil || err == io.EOF {
		p.wait(time.Time{})
	}
	return n, err
}

// content passes a body to the store's connection, which reads it on another
// goroutine and may go on doing so for a moment after the exchange has ended.
type content struct {
	mu   sync.Mutex
	body *sigv4.Body
	over bool
	// failed and done are set under mu and read without it: a Read may hold mu for as
	// long as a client is slow.
	failed atomic.Pointer[error]
	done   atomic.Bool
}

// Read gives content.
func (c *content) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, io.ErrClosedPipe
	}
	n, err := c.body.Read(b)
	if failed := c.body.Err(); failed != nil {
		c.failed.Store(&failed)
	}
	c.done.Store(c.body.Done())
	return n, err
}

// stop keeps content from being read after the handler has returned. A read that
// still waits for a slow client is woken by a deadline, which closes the connection.
func (x *exchange) stop(c *content) {
	if !c.mu.TryLock() {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0))
		c.mu.Lock()
	}
	c.over = true
	c.mu.Unlock()
}
