package state

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"io"

	"carnet.dev/carnet/internal/core/fault"
)

// A sealed stream is a row of chunks: 4 bytes of length, then AES-256-GCM. The
// nonce is the chunk's number and a mark on the last one, so chunks can't be
// dropped, moved or cut off; the header is bound to every chunk. The key serves
// one stream only.
const chunk = 64 << 10

type sealer struct {
	w      io.Writer
	aead   cipher.AEAD
	header []byte
	buf    []byte
	n      uint64
}

func newAEAD(key [32]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(n uint64, last bool) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[3:], n)
	if last {
		b[11] = 1
	}
	return b
}

// Write collects whole chunks.
func (s *sealer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(s.buf) == chunk {
			if err := s.flush(false); err != nil {
				return 0, err
			}
		}
		n := min(len(p), chunk-len(s.buf))
		s.buf, p = append(s.buf, p[:n]...), p[n:]
	}
	return total, nil
}

// Close writes the last chunk, which may be empty.
func (s *sealer) Close() error { return s.flush(true) }

func (s *sealer) flush(last bool) error {
	sealed := s.aead.Seal(nil, nonce(s.n, last), s.buf, s.header)
	s.n, s.buf = s.n+1, s.buf[:0]
	if _, err := s.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(sealed)))); err != nil {
		return err
	}
	_, err := s.w.Write(sealed)
	return err
}

type opener struct {
	r      *bufio.Reader
	aead   cipher.AEAD
	header []byte
	buf    []byte
	n      uint64
	end    bool
}

var errStream = fault.Coded(fault.Invalid, "state.backup", "the backup is damaged or cut short").
	WithMend("take another copy of it; nothing was changed")

// Read gives only what was authenticated, and an end only after the last chunk.
func (o *opener) Read(p []byte) (int, error) {
	for len(o.buf) == 0 {
		if o.end {
			return 0, io.EOF
		}
		if err := o.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, o.buf)
	o.buf = o.buf[n:]
	return n, nil
}

func (o *opener) next() error {
	var length [4]byte
	if _, err := io.ReadFull(o.r, length[:]); err != nil {
		return errStream.WithCause(err)
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > chunk+16 {
		return errStream
	}
	sealed := make([]byte, size)
	if _, err := io.ReadFull(o.r, sealed); err != nil {
		return errStream.WithCause(err)
	}
	_, err := o.r.Peek(1)
	o.end = err != nil
	plain, err := o.aead.Open(nil, nonce(o.n, o.end), sealed, o.header)
	if err != nil {
		return errStream.WithCause(err)
	}
	o.n, o.buf = o.n+1, plain
	return nil
}
