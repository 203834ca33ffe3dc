package sigv4

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

const (
	maxChunkLine   = 256  // bytes of a chunk header or trailer line
	maxTrailers    = 8    // lines after the last chunk
	smallestChunk  = 8192 // any data chunk but the last must have as many
	chunkSignature = "chunk-signature="
	trailerSig     = "x-amz-trailer-signature"
)

// chunks decodes an aws-chunked body (S3 API Reference, "Signature Calculations
// for the Authorization Header: Transferring Payload in Multiple Chunks" and
// its page on trailers). Data streams through before its chunk's signature is
// checked; Body keeps the object from completing until all of them held.
type chunks struct {
	r       *bufio.Reader
	p       *Presented
	key     Key
	signed  bool
	trailer string // announced algorithm
	tail    bool   // the mode has a trailer section

	size, left int64 // of the current chunk
	total      int64 // content still to come, chunk headers included
	open       bool  // inside a chunk
	hash       hash.Hash
	previous   string // signature before the current one, hex
	want       string // the current chunk's
}

func newChunks(p *Presented, r io.Reader, key Key, spec BodySpec) *chunks {
	c := &chunks{
		r: bufio.NewReaderSize(r, 4096), p: p, key: key, total: spec.Length,
		signed: spec.Mode != PayloadUnsignedTrailer, tail: spec.Mode.HasTrailer(), trailer: spec.Trailer,
	}
	if c.signed {
		c.hash = sha256.New()
		c.previous = hex.EncodeToString(p.signature[:])
	}
	return c
}

var (
	errChunk    = errors.New("a chunk header is malformed")
	errChunkEnd = errors.New("a chunk is not followed by CRLF")
	errSizes    = fault.Coded(fault.Invalid, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header").WithCause(errors.New("the chunks don't add up to X-Amz-Decoded-Content-Length"))
)

// read gives bytes of the current chunk, opening the next one where needed. It
// is called only while content is owed.
func (c *chunks) read(out []byte) (int, error) {
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
		if c.size == 0 {
			return 0, errSizes
		}
	}
	n, err := c.r.Read(out[:min(int64(len(out)), c.left)])
	if c.signed {
		c.hash.Write(out[:n])
	}
	c.left -= int64(n)
	return n, err
}

// next closes the current chunk and reads the header of the next.
func (c *chunks) next() error {
	if err := c.closeChunk(); err != nil {
		return err
	}
	last := c.size
	line, err := c.line()
	if err != nil {
		return err
	}
	line, ok := bytes.CutSuffix(line, []byte("\r"))
	digits, signature, found := bytes.Cut(line, []byte(";"))
	if !ok || found != c.signed {
		return errChunk
	}
	if c.signed {
		sig, ok := bytes.CutPrefix(signature, []byte(chunkSignature))
		if !ok || len(sig) != 64 || !lowerHex(string(sig)) {
			return errChunk
		}
		c.want = string(sig)
	}
	if c.size, ok = hexSize(digits); !ok {
		return errChunk
	}
	if c.size > 0 && last > 0 && last < smallestChunk {
		return fault.Coded(fault.Invalid, "InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes")
	}
	if c.size > c.total {
		return errSizes
	}
	c.total -= c.size
	c.left, c.open = c.size, true
	return nil
}

// closeChunk holds the chunk to its signature and eats its CRLF.
func (c *chunks) closeChunk() error {
	if !c.open {
		return nil
	}
	c.open = false
	var crlf [2]byte
	if _, err := io.ReadFull(c.r, crlf[:]); err != nil {
		return err
	}
	if crlf != [2]byte{'\r', '\n'} {
		return errChunkEnd
	}
	return c.checkChunk()
}

func (c *chunks) checkChunk() error {
	if !c.signed {
		return nil
	}
	got := c.hash.Sum(nil)
	c.hash.Reset()
	return c.check(Algorithm+"-PAYLOAD", EmptyHash+"\n"+hex.EncodeToString(got), c.want)
}

// check holds one link of the chain of signatures and moves on to it.
func (c *chunks) check(algorithm, tail, want string) error {
	b := c.p.appendPreamble(nil, algorithm)
	b = append(b, c.previous...)
	b = append(b, '\n')
	b = append(b, tail...)
	sum := mac(c.key.k[:], b)
	if !hmac.Equal([]byte(hex.EncodeToString(sum[:])), []byte(want)) {
		return fault.Coded(fault.Unauthenticated, "SignatureDoesNotMatch", "The chunk or trailer signature we calculated does not match the signature you provided.")
	}
	c.previous = want
	return nil
}

// end reads the final chunk of size zero, the trailers and the end.
func (c *chunks) end() (string, error) {
	if c.total > 0 || c.left > 0 {
		return "", errSizes
	}
	if err := c.next(); err != nil {
		return "", err
	}
	// With total spent, next can only have found the final chunk. It has no
	// data, so its line is followed by the trailers or by the closing CRLF.
	c.open = false
	if err := c.checkChunk(); err != nil {
		return "", err
	}
	value, err := c.trailers()
	if err != nil {
		return "", err
	}
	return value, atEOF(c.r)
}

// trailers reads "name:value" lines up to an empty one. minio-go ends a trailer
// line with LF CRLF; the empty line that this makes before the signature is
// passed over.
func (c *chunks) trailers() (value string, err error) {
	var signedText []byte
	signature, seen, bareLF := "", false, false
	for range maxTrailers {
		raw, err := c.line()
		if err != nil {
			return "", err
		}
		line, crlf := bytes.CutSuffix(raw, []byte("\r"))
		if len(line) == 0 {
			if c.signed && bareLF && signature == "" {
				bareLF = false
				continue
			}
			return value, c.checkTrailer(seen, signedText, signature)
		}
		name, v, ok := strings.Cut(string(line), ":")
		name, v = strings.ToLower(name), strings.TrimSpace(v)
		switch {
		case !ok || !c.tail || signature != "":
			return "", malformedTrailer()
		case c.signed && name == trailerSig:
			signature = v
		case c.trailer != "" && name == ChecksumPrefix+c.trailer && !seen:
			seen, value, bareLF = true, v, !crlf
			signedText = append(append(append(append(signedText, name...), ':'), v...), '\n')
		default:
			return "", malformedTrailer()
		}
	}
	return "", malformedTrailer()
}

// checkTrailer demands the announced trailer and, in the signed mode, its
// signature.
func (c *chunks) checkTrailer(seen bool, signedText []byte, signature string) error {
	if seen != (c.trailer != "") {
		return malformedTrailer()
	}
	if !c.signed || !c.tail {
		return nil
	}
	if signature == "" {
		return malformedTrailer()
	}
	sum := sha256.Sum256(signedText)
	return c.check(Algorithm+"-TRAILER", hex.EncodeToString(sum[:]), signature)
}

func malformedTrailer() error {
	return fault.Coded(fault.Invalid, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

// line reads up to LF, which it drops, within maxChunkLine bytes.
func (c *chunks) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) > maxChunkLine {
		return nil, errChunk
	}
	return line[:len(line)-1], nil
}

// hexSize reads 1 to 12 hexadecimal digits: more than any object has bytes.
func hexSize(digits []byte) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > 12 {
		return 0, false
	}
	for _, c := range digits {
		d := unhex(c)
		if d < 0 {
			return 0, false
		}
		n = n<<4 | int64(d)
	}
	return n, true
}
