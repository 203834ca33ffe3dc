// Package resign is a small proxy for tests: it lends temporary keys to clients
// that have no field for a session token. It verifies nothing. It takes away
// what a request was signed with, adds the token and signs again with the
// keys of the role, so the server behind it sees a client with session keys.
//
// Every place and payload mode of Signature Version 4 comes out as the one that
// came in: header or query; hash, unsigned, chunks with and without signatures,
// with and without trailer. Content whose chunks are signed again is held in
// memory. What carries no such signature goes on as it came.
package resign

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Proxy signs again and passes on.
type Proxy struct {
	// Target is the server's address, such as http://127.0.0.1:8481.
	Target *url.URL
	Keys   aws.Credentials
	Region string
	// Transport reaches the server; nil is http.DefaultTransport.
	Transport http.RoundTripper
	Now       func() time.Time
}

// mostHeld bounds content that is held in memory to be framed anew, in bytes.
const mostHeld = 256 << 20

const (
	signedChunks  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	unsigned      = "UNSIGNED-PAYLOAD"
	timeFormat    = "20060102T150405Z"
)

// ServeHTTP passes one request on and its answer back.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := p.request(r)
	if err != nil {
		http.Error(w, "resign: "+err.Error(), http.StatusBadGateway)
		return
	}
	transport := p.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	res, err := transport.RoundTrip(out)
	if err != nil {
		http.Error(w, "resign: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		panic(http.ErrAbortHandler) // the client must not take this for the end
	}
}

// request is r as the role would have sent it.
func (p *Proxy) request(r *http.Request) (*http.Request, error) {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	out := &http.Request{
		Method: r.Method, Header: r.Header.Clone(), Host: r.Host, ContentLength: r.ContentLength, Body: r.Body,
		URL: &url.URL{Scheme: p.Target.Scheme, Host: p.Target.Host, Opaque: "//" + r.Host + canonical(path), RawQuery: query},
	}
	out = out.WithContext(r.Context())
	if r.ContentLength == 0 {
		out.Body = nil
	}
	if r.Header.Get("User-Agent") == "" {
		out.Header["User-Agent"] = nil // else net/http adds its own
	}
	var err error
	switch {
	case out.URL.Query().Has("X-Amz-Signature"):
		err = p.presign(out)
	case strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "):
		for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "Date"} {
			out.Header.Del(name)
		}
		err = p.sign(out)
	}
	out.URL.Opaque = path // every byte as it came
	return out, err
}

// canonical is the path as it is signed: decoded, then encoded as S3 wants it.
func canonical(path string) string {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return path // the server is to refuse it
	}
	var b strings.Builder
	for i := range len(decoded) {
		c := decoded[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (p *Proxy) signer(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }

// presign signs in the query, for the names and the time that it asks for.
func (p *Proxy) presign(out *http.Request) error {
	query := out.URL.Query()
	for name := range query {
		switch name {
		case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token":
			query.Del(name)
		}
	}
	if !query.Has("X-Amz-Expires") {
		query.Set("X-Amz-Expires", "900")
	}
	out.URL.RawQuery = query.Encode()
	hash := out.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		hash = unsigned
	}
	// Not all headers that arrive were there to be signed: the length and what
	// transports add come later.
	bare := out.Clone(out.Context())
	bare.ContentLength, bare.Header = 0, http.Header{}
	for name, values := range out.Header {
		if strings.HasPrefix(name, "X-Amz-") {
			bare.Header[name] = values
		}
	}
	signed, _, err := v4.NewSigner().PresignHTTP(out.Context(), p.Keys, bare, hash, "s3", p.Region, p.Now(), p.signer)
	if err != nil {
		return err
	}
	_, out.URL.RawQuery, _ = strings.Cut(signed, "?")
	return nil
}

// sign signs in the header. Where chunks are signed, so are they.
func (p *Proxy) sign(out *http.Request) error {
	hash := out.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		hash = unsigned
		out.Header.Set("X-Amz-Content-Sha256", hash)
	}
	var content *framed
	if hash == signedChunks || hash == signedTrailer {
		var err error
		if content, err = unframe(out.Body); err != nil {
			return err
		}
		// The length is known before the signatures are: all have one size.
		out.ContentLength = int64(len(content.frame(nil, hash == signedTrailer)))
	}
	now := p.Now()
	if err := v4.NewSigner().SignHTTP(out.Context(), p.Keys, out, hash, "s3", p.Region, now, p.signer); err != nil {
		return err
	}
	if content != nil {
		_, seed, ok := strings.Cut(out.Header.Get("Authorization"), "Signature=")
		if !ok {
			return errors.New("the signer gave no signature")
		}
		c := p.chain(now, seed)
		out.Body = io.NopCloser(bytes.NewReader(content.frame(c, hash == signedTrailer)))
	}
	return nil
}

// framed is content in chunks, with its trailers as they were.
type framed struct {
	chunks   [][]byte // the last one is empty
	trailers []string // name:value, without the signature
}

// unframe reads an aws-chunked body and drops its signatures.
func unframe(body io.Reader) (*framed, error) {
	if body == nil {
		return nil, errors.New("a body in chunks is empty")
	}
	all, err := io.ReadAll(io.LimitReader(body, mostHeld+1))
	if err != nil {
		return nil, err
	}
	if len(all) > mostHeld {
		return nil, fmt.Errorf("content of more than %d bytes is not framed anew", mostHeld)
	}
	f := &framed{}
	for rest := all; ; {
		line, after, ok := bytes.Cut(rest, []byte("\r\n"))
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(digits), 16, 31)
		if !ok || err != nil || uint64(len(after)) < size {
			return nil, errors.New("the chunks can't be read")
		}
		f.chunks = append(f.chunks, after[:size])
		rest = after[size:]
		if size == 0 {
			for line := range strings.SplitSeq(string(rest), "\n") {
				line = strings.TrimRight(line, "\r")
				if line != "" && !strings.HasPrefix(strings.ToLower(line), "x-amz-trailer-signature:") {
					f.trailers = append(f.trailers, line)
				}
			}
			return f, nil
		}
		if rest, ok = bytes.CutPrefix(rest, []byte("\r\n")); !ok {
			return nil, errors.New("a chunk is not followed by CRLF")
		}
	}
}

// frame writes the body; without a chain, with signatures of zeros.
func (f *framed) frame(c *chain, trailer bool) []byte {
	var b bytes.Buffer
	for i, chunk := range f.chunks {
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n", len(chunk), c.chunk(chunk))
		b.Write(chunk)
		if i < len(f.chunks)-1 || !trailer {
			b.WriteString("\r\n")
		}
	}
	if trailer {
		signed := ""
		for _, t := range f.trailers {
			b.WriteString(t + "\r\n")
			signed += t + "\n"
		}
		b.WriteString("x-amz-trailer-signature:" + c.trailer(signed) + "\r\n\r\n")
	}
	return b.Bytes()
}

// chain is the chain of chunk signatures.
type chain struct {
	key             []byte
	preamble, scope string
	previous        string
}

func (p *Proxy) chain(now time.Time, seed string) *chain {
	day := now.UTC().Format("20060102")
	key := []byte("AWS4" + p.Keys.SecretAccessKey)
	for _, part := range []string{day, p.Region, "s3", "aws4_request"} {
		key = mac(key, part)
	}
	return &chain{key: key, preamble: now.UTC().Format(timeFormat), scope: day + "/" + p.Region + "/s3/aws4_request", previous: seed}
}

func (c *chain) chunk(data []byte) string {
	return c.link("AWS4-HMAC-SHA256-PAYLOAD", hexHash(nil)+"\n"+hexHash(data))
}

func (c *chain) trailer(lines string) string {
	return c.link("AWS4-HMAC-SHA256-TRAILER", hexHash([]byte(lines)))
}

func (c *chain) link(algorithm, tail string) string {
	if c == nil {
		return strings.Repeat("0", 64)
	}
	c.previous = hex.EncodeToString(mac(c.key, strings.Join([]string{algorithm, c.preamble, c.scope, c.previous, tail}, "\n")))
	return c.previous
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
