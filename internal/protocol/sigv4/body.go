package sigv4

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// PayloadMode says how a body is bound to its signature.
type PayloadMode int

// The payload modes of S3: a closed set. The ECDSA modes belong to SigV4A and
// are refused.
const (
	PayloadHashed          PayloadMode = iota + 1 // 64 hex digits
	PayloadUnsigned                               // UNSIGNED-PAYLOAD
	PayloadSigned                                 // STREAMING-AWS4-HMAC-SHA256-PAYLOAD
	PayloadSignedTrailer                          // STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
	PayloadUnsignedTrailer                        // STREAMING-UNSIGNED-PAYLOAD-TRAILER
)

// Streaming reports whether the body is aws-chunked.
func (m PayloadMode) Streaming() bool { return m >= PayloadSigned }

// HasTrailer reports whether checksums may follow the last chunk.
func (m PayloadMode) HasTrailer() bool {
	return m == PayloadSignedTrailer || m == PayloadUnsignedTrailer
}

// Mode reads the claimed payload hash.
func (p *Presented) Mode() (PayloadMode, error) {
	switch h := p.PayloadHash; h {
	case Unsigned:
		return PayloadUnsigned, nil
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
		return p.streaming(PayloadSigned)
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
		return p.streaming(PayloadSignedTrailer)
	case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
		return p.streaming(PayloadUnsignedTrailer)
	case "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER":
		return 0, checkAlgorithm("AWS4-ECDSA-P256-SHA256")
	default:
		if h == "" && p.Place == Query {
			return PayloadUnsigned, nil
		}
		if len(h) == 64 && lowerHex(h) {
			return PayloadHashed, nil
		}
		return 0, fault.Coded(fault.Invalid, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
	}
}

func (p *Presented) streaming(m PayloadMode) (PayloadMode, error) {
	if p.Place != Header {
		return 0, fault.Coded(fault.Unsupported, "InvalidRequest", "A presigned request can't carry an aws-chunked body")
	}
	return m, nil
}

// BodySpec is what a body must hold to, from verified headers.
type BodySpec struct {
	Mode   PayloadMode
	Length int64 // bytes of content, after decoding
	// Trailer is the algorithm announced by x-amz-trailer, "" for none.
	Trailer string
	// Checksums are those given in headers, Content-MD5 among them.
	Checksums []Checksum
}

// Body gives the content of a request: decoded, and held to its hash, chunk
// signatures, checksums and length. The bytes that complete the content are
// given out only after everything held, so whoever forwards them with a fixed
// length has sent less than a whole object when a check fails.
type Body struct {
	source  source
	left    int64
	sums    []*sum
	trailer string
	value   string
	err     error
}

// source gives content bytes; end is called after the last one and leaves
// nothing unread. It returns the trailer's value where one was announced.
type source interface {
	read(b []byte) (int, error)
	end() (trailer string, err error)
}

// sum is one running hash and what its digest must be. With nil wants it is
// held to the trailer.
type sum struct {
	algorithm string
	hash      hash.Hash
	wants     []want
}

type want struct {
	digest  []byte
	payload bool // it is x-amz-content-sha256
}

// Body reads the body of a verified request from r. The key is the one that
// VerifyWith held.
func (p *Presented) Body(r io.Reader, key Key, spec BodySpec) (*Body, error) {
	b := &Body{left: spec.Length, trailer: spec.Trailer}
	if spec.Length < 0 {
		return nil, fault.Coded(fault.Invalid, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if spec.Trailer != "" && !spec.Mode.HasTrailer() {
		return nil, fault.Coded(fault.Invalid, "InvalidRequest", "x-amz-trailer needs a streaming payload mode with trailer")
	}
	for _, c := range spec.Checksums {
		b.expect(c.Algorithm, want{digest: c.Want})
	}
	if spec.Trailer != "" {
		b.expect(spec.Trailer, want{})
	}
	switch spec.Mode {
	case PayloadHashed:
		digest, err := hex.DecodeString(p.PayloadHash)
		if err != nil {
			return nil, hashMismatch(p.PayloadHash, "")
		}
		b.expect("sha256", want{digest, true})
		b.source = plain{r}
	case PayloadUnsigned:
		b.source = plain{r}
	case PayloadSigned, PayloadSignedTrailer, PayloadUnsignedTrailer:
		b.source = newChunks(p, r, key, spec)
	default:
		return nil, fault.New(fault.Internal, "The payload mode is not known")
	}
	return b, nil
}

// expect adds a wanted digest; equal algorithms share one hash. A want without
// digest only starts the hash.
func (b *Body) expect(algorithm string, w want) {
	for _, s := range b.sums {
		if s.algorithm == algorithm {
			if w.digest != nil {
				s.wants = append(s.wants, w)
			}
			return
		}
	}
	s := &sum{algorithm: algorithm, hash: newHash(algorithm)}
	if w.digest != nil {
		s.wants = []want{w}
	}
	b.sums = append(b.sums, s)
}

func (s *sum) mismatch(w want, got []byte) error {
	switch {
	case w.payload:
		return hashMismatch(hex.EncodeToString(w.digest), hex.EncodeToString(got))
	case s.algorithm == ContentMD5:
		return fault.Coded(fault.Invalid, "BadDigest", "The Content-MD5 you specified did not match what we received.").
			With("ExpectedDigest", hex.EncodeToString(w.digest)).With("CalculatedDigest", base64.StdEncoding.EncodeToString(got))
	}
	return fault.Coded(fault.Invalid, "BadDigest", "The "+strings.ToUpper(s.algorithm)+" you specified did not match the calculated checksum.")
}

// Read gives content. Its errors are faults, and final.
func (b *Body) Read(out []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n := 0
	if b.left > 0 {
		if len(out) == 0 {
			return 0, nil
		}
		if int64(len(out)) > b.left {
			out = out[:b.left]
		}
		var err error
		n, err = b.source.read(out)
		for _, s := range b.sums {
			s.hash.Write(out[:n])
		}
		b.left -= int64(n)
		if err != nil && b.left > 0 {
			b.err = incomplete(err)
			return 0, b.err
		}
	}
	if b.left > 0 {
		return n, nil
	}
	if err := b.finish(); err != nil {
		b.err = err
		return 0, err
	}
	b.err = io.EOF
	return n, io.EOF
}

// Len gives the number of content bytes that are still to come.
func (b *Body) Len() int64 { return b.left }

// Err gives the failure of the body, nil while there is none.
func (b *Body) Err() error {
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

// Done reports whether all content was given out and everything held.
func (b *Body) Done() bool { return b.err == io.EOF }

// Trailer gives the announced trailer's checksum in base64, once Done.
func (b *Body) Trailer() string { return b.value }

func (b *Body) finish() error {
	value, err := b.source.end()
	if err != nil {
		return incomplete(err)
	}
	if b.trailer != "" {
		c, err := ParseChecksum(b.trailer, value)
		if err != nil {
			return fault.Coded(fault.Invalid, "InvalidRequest", "Value for "+ChecksumPrefix+b.trailer+" trailing header is invalid.")
		}
		b.expect(b.trailer, want{digest: c.Want})
	}
	for _, s := range b.sums {
		got := s.hash.Sum(nil)
		for _, w := range s.wants {
			if !bytes.Equal(got, w.digest) {
				return s.mismatch(w, got)
			}
		}
		if s.algorithm == b.trailer {
			b.value = base64.StdEncoding.EncodeToString(got)
		}
	}
	return nil
}

// incomplete keeps faults and turns everything else, a client gone among them,
// into IncompleteBody.
func incomplete(err error) error {
	var f *fault.Fault
	if errors.As(err, &f) {
		return err
	}
	return fault.Coded(fault.Invalid, "IncompleteBody", "The request body terminated unexpectedly").WithCause(err)
}

// plain is a body without framing of its own.
type plain struct{ r io.Reader }

func (s plain) read(b []byte) (int, error) { return s.r.Read(b) }

func (s plain) end() (string, error) { return "", atEOF(s.r) }

var errTrailing = errors.New("bytes follow the end of the content")

// atEOF demands that nothing follows.
func atEOF(r io.Reader) error {
	switch _, err := io.ReadFull(r, make([]byte, 1)); err {
	case nil:
		return errTrailing
	case io.EOF:
		return nil
	default:
		return err
	}
}
