package s3client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// expectOver is the length of content, in bytes, from which a store whose region
// for the bucket isn't known is first asked whether it takes it.
const expectOver = 4 << 10

// request builds the HTTP request, all but its signature: bucket and key are
// encoded as they are signed, the query in the order in which it is.
func (c *Client) request(ctx context.Context, a *attempt) *http.Request {
	out := a.out
	path := "/" + out.Key
	if out.Bucket != "" && !c.inFront(out.Bucket) {
		path = "/" + out.Bucket
		if out.Key != "" {
			path += "/" + out.Key
		}
	}
	u := &url.URL{
		Scheme: a.at.endpoint.scheme, Host: a.host, Path: path,
		RawPath: string(sigv4.AppendEscaped(make([]byte, 0, len(path)+32), path, true)), RawQuery: query(out.Query),
	}
	req := &http.Request{
		Method: out.Method, URL: u, Host: a.host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, len(out.Header)+8),
	}
	for name, values := range out.Header {
		req.Header[name] = values
	}
	req.Header["User-Agent"] = []string{"carnet"}
	c.body(req, a)
	return req.WithContext(ctx)
}

// body sets length and payload hash, and the body where it is small. Content is
// not hashed again: it was held to the client's hash on its way here, and the
// store is on TLS or on a private socket.
func (c *Client) body(req *http.Request, a *attempt) {
	out, hash := a.out, sigv4.Unsigned
	switch {
	case out.Body == nil && len(out.Document) == 0:
		hash = sigv4.EmptyHash
	case out.Body == nil:
		sum := sha256.Sum256(out.Document)
		hash = hex.EncodeToString(sum[:])
		req.ContentLength = int64(len(out.Document))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Document)), nil }
		req.Body, _ = req.GetBody()
	case out.Trailer != nil || !c.config.PlainBodies:
		hash = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		frame(req, out, c.config.RoleKeys)
	default:
		req.Body, req.ContentLength = io.NopCloser(out.Body), out.Length
	}
	if out.Body != nil && !a.at.sure && out.Length > expectOver {
		req.Header["Expect"] = []string{"100-continue"}
	}
	req.Header["X-Amz-Content-Sha256"] = []string{hash}
}

// frame sends the content as one aws-chunk, followed by the empty one that says
// it is whole and by its checksum, which is known only when all went through.
// The payload hash alone says so to most stores: a Content-Encoding of
// aws-chunked, which AWS wants beside it, is kept with the object by some, the
// embedded one among them.
func frame(req *http.Request, out *s3.Outgoing, encoding bool) {
	head := strconv.FormatInt(out.Length, 16) + "\r\n"
	tail, length := &late{make: func() string { return "\r\n0\r\n\r\n" }}, 7
	if t := out.Trailer; t != nil {
		name := sigv4.ChecksumPrefix + t.Algorithm
		tail.make = func() string { return "\r\n0\r\n" + name + ":" + t.Value() + "\r\n\r\n" }
		length += len(name) + len(":\r\n") + sigv4.ChecksumLength(t.Algorithm)
		req.Header["X-Amz-Trailer"] = []string{name}
	}
	if encoding {
		req.Header["Content-Encoding"] = []string{strings.Join(slices.Concat([]string{"aws-chunked"}, out.Header["Content-Encoding"]), ",")}
	}
	req.Body = &framed{strings.NewReader(head), out.Body, tail}
	req.ContentLength = int64(len(head)) + out.Length + int64(length)
	req.Header["X-Amz-Decoded-Content-Length"] = []string{fmt.Sprint(out.Length)}
}

// framed is content between its frame's ends.
type framed struct {
	head    io.Reader
	content io.Reader
	tail    io.Reader
}

// Read reads the three parts in turn.
func (f *framed) Read(p []byte) (int, error) {
	for _, r := range []*io.Reader{&f.head, &f.content} {
		if *r == nil {
			continue
		}
		n, err := (*r).Read(p)
		if err == io.EOF {
			*r, err = nil, nil
			if n == 0 {
				continue
			}
		}
		return n, err
	}
	return f.tail.Read(p)
}

// Close does nothing: the content is its owner's.
func (f *framed) Close() error { return nil }

// attach puts the content that is watched into the request's body.
func attach(req *http.Request, r *reading) {
	if f, ok := req.Body.(*framed); ok {
		f.content = r
		return
	}
	req.Body = io.NopCloser(r)
}

// late is text that is made when it is first read.
type late struct {
	make func() string
	r    *strings.Reader
}

func (l *late) Read(b []byte) (int, error) {
	if l.r == nil {
		l.r = strings.NewReader(l.make())
	}
	return l.r.Read(b)
}

// query writes parameters in the order in which they are signed.
func query(params []sigv4.Param) string {
	if len(params) == 0 {
		return ""
	}
	if !slices.IsSortedFunc(params, compare) {
		params = slices.Clone(params)
		slices.SortStableFunc(params, compare)
	}
	var b []byte
	for i, p := range params {
		if i > 0 {
			b = append(b, '&')
		}
		b = sigv4.AppendEscaped(b, p.Name, false)
		b = append(b, '=')
		b = sigv4.AppendEscaped(b, p.Value, false)
	}
	return string(b)
}

func compare(a, b sigv4.Param) int { return strings.Compare(a.Name, b.Name) }
