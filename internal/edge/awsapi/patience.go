package awsapi

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// drainTime is how long the rest of a body that nobody wants is waited for. The
// server reads it so that a refused client hears the answer.
const drainTime = 5 * time.Second

// Patient ends connections on which nothing moves. Objects may take as long as
// they take; but each read of a body and each write of an answer must get
// somewhere within silence, so that neither a stranger nor a stalled client
// holds a connection, a goroutine and a buffer for ever.
func Patient(h http.Handler, silence time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &patient{ResponseWriter: w, control: http.NewResponseController(w), silence: silence, body: r.Body}
		// The last answer on this connection left its own.
		_ = p.control.SetWriteDeadline(time.Time{})
		if r.Body != http.NoBody {
			r.Body = p
			defer p.drain()
		}
		defer p.flushed()
		h.ServeHTTP(p, r)
	})
}

// patient is one exchange: the answer's writer and the request's body. Errors
// of setting a deadline are those of a connection that is gone, which the next
// read or write meets too.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	silence time.Duration
	body    io.ReadCloser

	mu    sync.Mutex
	fixed bool // the handler has set a deadline of its own for reading
	read  bool // to its end
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// SetReadDeadline sets a deadline that no progress moves; the zero time gives
// the bound on silence back.
func (p *patient) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fixed = !t.IsZero()
	return p.control.SetReadDeadline(t)
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(p.silence))
	return p.ResponseWriter.Write(b)
}

// ReadFrom has content moved by the connection itself. The caller gives it in
// pieces that a slow client takes within silence.
func (p *patient) ReadFrom(r io.Reader) (int64, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(p.silence))
	if to, ok := p.ResponseWriter.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(writerOnly{p.ResponseWriter}, r)
}

// writerOnly hides ReadFrom.
type writerOnly struct{ io.Writer }

func (p *patient) Read(b []byte) (int, error) {
	p.mu.Lock()
	if !p.fixed {
		_ = p.control.SetReadDeadline(time.Now().Add(p.silence))
	}
	p.mu.Unlock()
	n, err := p.body.Read(b)
	if errors.Is(err, io.EOF) {
		// From here on the server reads only to notice that the client has gone.
		p.mu.Lock()
		p.read, p.fixed = true, true
		_ = p.control.SetReadDeadline(time.Time{})
		p.mu.Unlock()
	}
	return n, err
}

func (p *patient) Close() error { return p.body.Close() }

// drain bounds what the server does with a body that was not read to its end.
func (p *patient) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.read {
		p.fixed = true
		_ = p.control.SetReadDeadline(time.Now().Add(min(p.silence, drainTime)))
	}
}

// flushed bounds what the server still has to send, once it has drained.
func (p *patient) flushed() {
	_ = p.control.SetWriteDeadline(time.Now().Add(drainTime + p.silence))
}
