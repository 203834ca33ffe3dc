package gateway

import (
	"io"
	"net/http"
	"time"
)

// movable is a store's content that the kernel can move to a client's socket.
type movable interface {
	// Plain reports whether it can: the content lies bare on a socket.
	Plain() bool
	// Buffered gives what is in memory already; Take drops what was used of it,
	// and gives io.EOF with the last of the content.
	Buffered() []byte
	Take(n int) error
	// Pass moves at most so many bytes, and gives io.EOF with the last.
	Pass(to io.ReaderFrom, most int64) (int64, error)
}

// send writes the content of an answer, from socket to socket where nothing has
// to look at it.
func (x *exchange) send(body io.Reader) (int64, error) {
	if m, ok := body.(movable); ok && x.r.TLS == nil && m.Plain() {
		if to, ok := x.w.(io.ReaderFrom); ok {
			return x.move(m, x.w, to)
		}
	}
	buf := x.g.buffers.Get().(*[]byte)
	defer x.g.buffers.Put(buf)
	return io.CopyBuffer(writerOnly{x.w}, lasting{body, x}, *buf)
}

// What is moved at once takes about as long as a quarter of a second: between
// two pieces the keys are asked for again, and a client that stands still is
// noticed.
const (
	firstPiece, leastPiece, mostPiece = 256 << 10, 32 << 10, 512 << 10
	quick, slow                       = 50 * time.Millisecond, 250 * time.Millisecond
)

func (x *exchange) move(m movable, w http.ResponseWriter, to io.ReaderFrom) (int64, error) {
	first := m.Buffered()
	n, err := w.Write(first)
	sent := int64(n)
	if err == nil {
		err = m.Take(n)
	}
	piece, began := int64(firstPiece), x.g.config.Now()
	for err == nil {
		var n int64
		n, err = m.Pass(to, piece)
		sent += n
		if held := x.stillHolds(); held != nil {
			return sent, held
		}
		now := x.g.config.Now()
		switch took := now.Sub(began); {
		case took < quick:
			piece = min(2*piece, mostPiece)
		case took > slow:
			piece = max(piece/2, leastPiece)
		}
		began = now
	}
	if err == io.EOF {
		err = nil
	}
	return sent, err
}
