package s3proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// decoded gives the content of a request: without its framing, held to its own hash,
// its trailing checksum and its length.
func (q *request) decoded(r io.Reader) (*sigv4.Body, error) {
	spec := q.body
	if spec.Mode == sigv4.PayloadSigned || spec.Mode == sigv4.PayloadSignedTrailer {
		r = &unsigned{r: bufio.NewReaderSize(r, 4096)}
		spec.Mode = sigv4.PayloadUnsignedTrailer
	}
	return (&sigv4.Presented{Place: sigv4.Header, PayloadHash: q.hash}).Body(r, sigv4.Key{}, spec)
}

const (
	chunkSignature   = "chunk-signature="
	trailerSignature = "x-amz-trailer-signature:"
	mostLine         = 512 // bytes of a line between chunks
	mostTrailers     = 8
)

var errFraming = fault.Coded(fault.Invalid, "InvalidRequest", "The aws-chunked framing of the content is malformed")

// unsigned takes the signatures out of aws-chunked content, whose key is a
// placeholder: what is left is the framing without signatures (S3 API Reference,
// "Signature Calculations: Transferring Payload in Multiple Chunks"), which
// sigv4 reads and holds.
type unsigned struct {
	r    *bufio.Reader
	line []byte // to give next
	left int64  // bytes of the chunk and of its CRLF, to give after line
	last bool   // the chunk was the one of size zero
	err  error
}

// Read gives framing without signatures.
func (u *unsigned) Read(out []byte) (int, error) {
	if len(out) == 0 {
		return 0, nil
	}
	if len(u.line) == 0 && u.left == 0 && u.err == nil {
		u.err = u.next()
	}
	switch {
	case len(u.line) > 0:
		n := copy(out, u.line)
		u.line = u.line[n:]
		return n, nil
	case u.left > 0:
		n, err := u.r.Read(out[:min(int64(len(out)), u.left)])
		if u.left -= int64(n); err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	return 0, u.err
}

// next reads the line before a chunk, or what follows the last one.
func (u *unsigned) next() error {
	if u.last {
		return io.EOF
	}
	line, err := u.crlf()
	if err != nil {
		return err
	}
	digits, signature, _ := strings.Cut(line, ";")
	hex, ok := strings.CutPrefix(signature, chunkSignature)
	size, err := strconv.ParseUint(digits, 16, 40)
	if err != nil || !ok || len(hex) != 64 || digits[0] == '+' {
		return errFraming
	}
	u.line = []byte(digits + "\r\n")
	if size > 0 {
		u.left = int64(size) + 2
		return nil
	}
	u.last = true
	return u.trailers()
}

// trailers reads the lines behind the last chunk. minio-go ends one with LF CRLF, so
// an empty line may stand before the signature.
func (u *unsigned) trailers() error {
	signed, seen := false, false
	for range mostTrailers {
		raw, err := u.r.ReadSlice('\n')
		if err != nil || len(raw) > mostLine {
			return short(err)
		}
		line := strings.TrimRight(string(raw), "\r\n")
		switch {
		case line == "" && seen && !signed:
			continue
		case line == "":
			u.line = append(u.line, '\r', '\n')
			return u.over()
		case signed:
			return errFraming
		case strings.HasPrefix(strings.ToLower(line), trailerSignature):
			signed = true
		default:
			seen = true
			u.line = append(append(u.line, line...), '\r', '\n')
		}
	}
	return errFraming
}

// over demands that nothing follows.
func (u *unsigned) over() error {
	if _, err := u.r.ReadByte(); err != io.EOF {
		if err == nil {
			err = errFraming
		}
		return err
	}
	return nil
}

func (u *unsigned) crlf() (string, error) {
	raw, err := u.r.ReadSlice('\n')
	if err != nil || len(raw) > mostLine {
		return "", short(err)
	}
	line, ok := bytes.CutSuffix(raw, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return "", errFraming
	}
	return string(line), nil
}

func short(err error) error {
	switch {
	case err == nil, errors.Is(err, bufio.ErrBufferFull):
		return errFraming
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
