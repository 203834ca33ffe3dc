package wire

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
)

// Body is an answer's content of known length.
type Body struct {
	x    *exchange
	left int64
	keep bool // the connection is good for another request
	over bool
}

// body gives the answer's content.
func (x *exchange) body(res *http.Response, sent bool) io.ReadCloser {
	keep := sent && !res.Close && res.ProtoAtLeast(1, 1)
	none := x.req.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	switch {
	case none || res.ContentLength == 0 && len(res.TransferEncoding) == 0:
		x.end(keep)
		return http.NoBody
	case res.ContentLength > 0 && len(res.TransferEncoding) == 0:
		if int64(x.c.r.Buffered()) < res.ContentLength {
			x.watch()
		}
		return &Body{x: x, left: res.ContentLength, keep: keep}
	}
	x.watch()
	return &unbounded{ReadCloser: res.Body, x: x, keep: keep && res.ContentLength < 0 && len(res.TransferEncoding) > 0}
}

// end gives the connection back, or closes it.
func (x *exchange) end(keep bool) {
	if keep {
		x.done()
	} else {
		x.drop()
	}
}

// Read gives content; with the last bytes it gives io.EOF.
func (b *Body) Read(out []byte) (int, error) {
	if b.left == 0 || b.over {
		return 0, b.ended()
	}
	if len(out) == 0 {
		return 0, nil
	}
	if b.x.c.r.Buffered() == 0 {
		b.x.within(b.x.patience.Piece)
	}
	n, err := b.x.c.r.Read(out[:min(int64(len(out)), b.left)])
	return n, b.moved(int64(n), err)
}

// moved notes bytes that left the connection.
func (b *Body) moved(n int64, err error) error {
	b.left -= n
	if b.left == 0 {
		b.over = true
		b.x.end(b.keep)
		return io.EOF
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return why(b.x, err)
}

// why tells the end of the context, and of patience, apart from a broken
// connection.
func why(x *exchange, err error) error {
	if err != nil {
		if ended := x.req.Context().Err(); ended != nil {
			return ended
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ErrSilent
		}
	}
	return err
}

func (b *Body) ended() error {
	if b.left == 0 {
		return io.EOF
	}
	return net.ErrClosed
}

// Buffered gives content that came with the head, for as long as nothing else
// is read. Take says how much of it was used.
func (b *Body) Buffered() []byte {
	if b.over {
		return nil
	}
	got, _ := b.x.c.r.Peek(int(min(int64(b.x.c.r.Buffered()), b.left)))
	return got
}

// Take drops n bytes that Buffered gave. Like Read it gives io.EOF with the last.
func (b *Body) Take(n int) error {
	_, err := b.x.c.r.Discard(n)
	return b.moved(int64(n), err)
}

// Plain reports whether the content can be moved by the kernel: it lies bare on
// a socket.
func (b *Body) Plain() bool { return b.x.c.Conn == b.x.c.raw }

// Pass has at most most bytes moved to a connection by its own ReadFrom, which
// for sockets is splice(2). Buffered must have been taken. io.EOF comes with
// the last bytes. Which of the two does not move can't be told here: a client is
// to be given up first, by whoever set a deadline for its writes.
func (b *Body) Pass(to io.ReaderFrom, most int64) (int64, error) {
	if b.left == 0 || b.over {
		return 0, b.ended()
	}
	b.x.within(b.x.patience.Piece * 3 / 2)
	n, err := to.ReadFrom(&io.LimitedReader{R: b.x.c.raw, N: min(most, b.left)})
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, b.moved(n, err)
}

// Close gives the connection up where content is left on it.
func (b *Body) Close() error {
	if !b.over {
		b.over = true
		b.x.drop()
	}
	return nil
}

// unbounded is content whose end its own framing says.
type unbounded struct {
	io.ReadCloser
	x    *exchange
	keep bool
	over bool
}

func (u *unbounded) Read(out []byte) (int, error) {
	if u.over {
		return 0, io.EOF
	}
	u.x.within(u.x.patience.Piece)
	n, err := u.ReadCloser.Read(out)
	if err == io.EOF {
		u.over = true
		u.x.end(u.keep)
		return n, err
	}
	return n, why(u.x, err)
}

func (u *unbounded) Close() error {
	if !u.over {
		u.over = true
		u.x.drop()
	}
	return nil
}
