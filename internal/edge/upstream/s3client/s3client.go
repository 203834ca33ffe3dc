// Package s3client sends requests to an S3 store: it signs what the gateway
// decided with the store's own key and streams both ways.
//
// It is no S3 SDK: a request is built from an s3.Outgoing and from nothing
// else, is sent once, never follows a redirect, and keeps bytes as they are. It
// must never see a client's credential, nor retry a request whose body it has
// begun to send.
package s3client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// Config names a store.
type Config struct {
	// Endpoint is http(s)://host[:port], without a path: stores sign paths.
	Endpoint    string
	Region      string
	AccessKeyID string
	SecretKey   secret.Text
	// RoleKeys signs each request with the keys that it brings (s3.Outgoing.As),
	// and with no other. Without it the store has the one key above, and keys of
	// a role are never sent there.
	RoleKeys bool
	// Dial replaces the network, for a store on a unix socket. Optional.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// PlainBodies sends content bare under Content-Length. Without it content is
	// framed (aws-chunked), so that a store can't take an upload that broke off
	// for a whole one: the embedded store does, under a bare Content-Length.
	PlainBodies bool
	// RootCAs are the authorities to trust; nil stands for the system's.
	RootCAs *x509.CertPool
	Now     func() time.Time
}

// Client speaks to one store. It is safe for concurrent use.
type Client struct {
	base      url.URL
	config    Config
	signer    *v4.Signer
	transport *http.Transport
}

// idlePerHost keeps as many connections as a busy gateway has requests at once;
// with fewer, each request above that pays for a new one.
const idlePerHost = 512

// New makes a client.
func New(config Config) (*Client, error) {
	base, err := url.Parse(config.Endpoint)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" ||
		strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.User != nil || base.Fragment != "" {
		return nil, fault.New(fault.Misconfigured, "The upstream's endpoint must be http(s)://host[:port] and nothing more").WithCause(err)
	}
	if hasKey := config.AccessKeyID != "" && !config.SecretKey.IsZero(); config.Region == "" || hasKey == config.RoleKeys {
		return nil, fault.New(fault.Misconfigured, "The upstream needs a region, and either an access key id with its secret key or role keys")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	if config.Dial == nil {
		config.Dial = dialer.DialContext
	}
	return &Client{
		base: *base, config: config,
		signer: v4.NewSigner(func(o *v4.SignerOptions) {
			o.DisableURIPathEscaping = true // S3 encodes paths once
		}),
		transport: &http.Transport{
			DialContext: config.Dial, TLSClientConfig: &tls.Config{RootCAs: config.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 60 * time.Second,
			MaxIdleConns: 4 * idlePerHost, MaxIdleConnsPerHost: idlePerHost,
			DisableCompression: true, // bytes stay as they are
			WriteBufferSize:    64 << 10, ReadBufferSize: 16 << 10, MaxResponseHeaderBytes: 64 << 10,
		},
	}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Do sends one request. The caller closes the response's body. A store that
// can't be reached is a fault of kind Unavailable; a failure of the request's
// own body comes back as it is.
func (c *Client) Do(ctx context.Context, out *s3.Outgoing) (*http.Response, error) {
	req, err := c.request(ctx, out)
	if err != nil {
		return nil, err
	}
	creds := aws.Credentials{AccessKeyID: c.config.AccessKeyID, SecretAccessKey: c.config.SecretKey.Reveal()}
	switch as := out.As; {
	case (as != nil) != c.config.RoleKeys:
		return nil, fault.New(fault.Internal, "The request to the store brings keys of another kind than the store takes")
	case as != nil:
		creds = aws.Credentials{AccessKeyID: as.AccessKeyID, SecretAccessKey: as.SecretAccessKey.Reveal(), SessionToken: as.SessionToken.Reveal()}
	}
	hash := req.Header.Get("X-Amz-Content-Sha256")
	if err := c.signer.SignHTTP(ctx, creds, req, hash, "s3", c.config.Region, c.config.Now().UTC()); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "The request to the store could not be signed")
	}
	res, err := c.transport.RoundTrip(req)
	if err == nil {
		return res, nil
	}
	var f *fault.Fault
	if errors.As(err, &f) || ctx.Err() != nil {
		return nil, err
	}
	return nil, fault.Wrap(err, fault.Unavailable, "The store behind this gateway can't be reached").WithMend("try again")
}

// request builds the HTTP request: path style, the key encoded as it is signed.
func (c *Client) request(ctx context.Context, out *s3.Outgoing) (*http.Request, error) {
	u := c.base
	u.Path = "/" + out.Bucket
	if out.Key != "" {
		u.Path += "/" + out.Key
	}
	u.RawPath = string(sigv4.AppendEscaped(nil, u.Path, true))
	u.RawQuery = query(out.Query)
	req := &http.Request{
		Method: out.Method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, len(out.Header)+8),
	}
	for name, values := range out.Header {
		req.Header[name] = values
	}
	req.Header["User-Agent"] = []string{"carnet"}
	c.body(req, out)
	return req.WithContext(ctx), nil
}

// body sets the body, its length and its payload hash. Content is not hashed
// again: it was held to the client's hash on its way here, and the store is on
// TLS or on a private socket.
func (c *Client) body(req *http.Request, out *s3.Outgoing) {
	hash := sigv4.Unsigned
	switch {
	case out.Body == nil:
		sum := sha256.Sum256(out.Document)
		hash = hex.EncodeToString(sum[:])
		if len(out.Document) > 0 {
			req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(out.Document)), int64(len(out.Document))
		}
	case out.Trailer != nil || !c.config.PlainBodies:
		hash = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		frame(req, out)
	default:
		req.Body, req.ContentLength = io.NopCloser(out.Body), out.Length
	}
	req.Header["X-Amz-Content-Sha256"] = []string{hash}
}

// frame sends the content as one aws-chunk, followed by the empty one that says
// it is whole and by its checksum, which is known only when all went through.
// The payload hash alone says so: a Content-Encoding of aws-chunked is kept with
// the object by some stores, the embedded one among them.
func frame(req *http.Request, out *s3.Outgoing) {
	head := fmt.Sprintf("%x\r\n", out.Length)
	tail, length := &late{make: func() string { return "\r\n0\r\n\r\n" }}, 7
	if t := out.Trailer; t != nil {
		name := sigv4.ChecksumPrefix + t.Algorithm
		tail.make = func() string { return "\r\n0\r\n" + name + ":" + t.Value() + "\r\n\r\n" }
		length += len(name) + len(":\r\n") + sigv4.ChecksumLength(t.Algorithm)
		req.Header["X-Amz-Trailer"] = []string{name}
	}
	req.Body = io.NopCloser(io.MultiReader(strings.NewReader(head), out.Body, tail))
	req.ContentLength = int64(len(head)) + out.Length + int64(length)
	req.Header["X-Amz-Decoded-Content-Length"] = []string{fmt.Sprint(out.Length)}
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

func query(params []sigv4.Param) string {
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
