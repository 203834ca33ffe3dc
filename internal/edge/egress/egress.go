// Package egress is the one HTTP client for URLs that people configure:
// metadata, key sets, discovery, publishers.
//
// An address is checked after its name was resolved and right before it is
// dialled, so no name can turn into an inside address between check and use.
// Loopback, private, link-local and other special addresses are reached only
// when egress.allow lists them, and only they may be spoken to in plain HTTP. A
// redirect stays on its host. Answers are bounded in size and time. It uses no
// proxy, keeps no cookies, and must never fetch what a token or a fetched
// document names.
package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Defaults of Config.
const (
	DefaultMaxBytes = 1 << 20
	DefaultTimeout  = 5 * time.Second
	maxRedirects    = 3
)

// Config of a client.
type Config struct {
	// Allow lists what may be reached beyond public addresses (ParseAllow).
	Allow Allow
	// Roots are the certificate authorities; nil means the system's.
	Roots *x509.CertPool
	// Certificates are shown to a server that asks for one.
	Certificates []tls.Certificate
	MaxBytes     int64         // of one body; 0: 1 MiB
	Timeout      time.Duration // of a whole exchange; 0: 5 s
}

// Client is a guarded HTTP client. Safe for concurrent use.
type Client struct {
	allow Allow
	max   int64
	http  *http.Client
}

// New makes a client.
func New(c Config) *Client {
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	client := &Client{allow: c.Allow, max: c.MaxBytes}
	transport := &http.Transport{
		Proxy:                  nil, // a proxy would resolve names behind our back
		DialContext:            client.dial,
		TLSClientConfig:        &tls.Config{RootCAs: c.Roots, Certificates: c.Certificates, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what is bounded is what was sent
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        time.Minute,
		TLSHandshakeTimeout:    c.Timeout,
	}
	client.http = &http.Client{Transport: guarded{client, transport}, Timeout: c.Timeout, CheckRedirect: sameHost}
	return client
}

// HTTP gives the guarded client as net/http's, for libraries that want one.
// Its errors wrap the faults that Get returns.
func (c *Client) HTTP() *http.Client { return c.http }

// Get fetches a configured URL and gives its body. Faults: Invalid (not such a
// URL), Denied ("egress.address", "egress.plain", "egress.redirect"), TooLarge
// ("egress.size"), Unavailable (no answer in time, or a status other than 200).
func (c *Client) Get(ctx context.Context, rawURL string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the configured address is not a URL")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, explain(err, request.URL)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fault.Coded(fault.Unavailable, "egress.status",
			fmt.Sprintf("%s answered with status %d", request.URL.Redacted(), answer.StatusCode))
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, explain(err, request.URL)
	}
	return body, nil
}

// Send makes one request to a configured URL and gives status and body, whatever
// the status is. A redirect is an answer like others: what is sent goes to the
// one place that was configured. body may be nil. Faults as for Get, but none for
// a status.
func (c *Client) Send(ctx context.Context, method, rawURL string, header http.Header, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, rawURL, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fault.Wrap(err, fault.Invalid, "the configured address is not a URL")
	}
	request.Header = header
	once := *c.http
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got, err := once.Do(request)
	if err != nil {
		return 0, nil, explain(err, request.URL)
	}
	defer func() { _ = got.Body.Close() }()
	if answer, err = io.ReadAll(got.Body); err != nil {
		return 0, nil, explain(err, request.URL)
	}
	return got.StatusCode, answer, nil
}

// explain keeps a fault of ours and says of everything else which URL failed.
func explain(err error, u *url.URL) error {
	var f *fault.Fault
	if errors.As(err, &f) {
		return f
	}
	return fault.Wrap(err, fault.Unavailable, u.Redacted()+" can't be reached").WithCode("egress.away").
		WithMend("look at the address, the name service and the network between")
}

// guarded checks each request of a chain, redirected ones too.
type guarded struct {
	client *Client
	next   http.RoundTripper
}

type plainKey struct{}

// RoundTrip refuses URLs that aren't plain web addresses and bounds the body.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.URL.User != nil:
		return nil, fault.New(fault.Invalid, "a configured address must not hold a user name or password")
	case r.URL.Scheme == "http":
		r = r.WithContext(context.WithValue(r.Context(), plainKey{}, true))
	case r.URL.Scheme != "https":
		return nil, fault.New(fault.Invalid, "the configured address is neither https nor http")
	}
	answer, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.ContentLength > g.client.max {
		_ = answer.Body.Close()
		return nil, tooLarge(g.client.max)
	}
	answer.Body = &bounded{ReadCloser: answer.Body, left: g.client.max, max: g.client.max}
	return answer, nil
}

type bounded struct {
	io.ReadCloser
	left, max int64
}

// Read gives an error, not an end, where the bound is crossed: a document that
// was cut must not pass for a whole one.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, tooLarge(b.max)
	}
	return n, err
}

func tooLarge(most int64) error {
	return fault.Coded(fault.TooLarge, "egress.size", fmt.Sprintf("the answer is larger than %d bytes", most))
}

func sameHost(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > maxRedirects || r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
		return fault.Coded(fault.Denied, "egress.redirect",
			fmt.Sprintf("%s sends us on to another place (%s), which is not followed", first.Redacted(), r.URL.Host)).
			WithMend("configure the final address")
	}
	return nil
}

// dial resolves, and checks each address in the moment it is connected to.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	named := c.allow.names[strings.ToLower(strings.TrimSuffix(host, "."))]
	plain, _ := ctx.Value(plainKey{}).(bool)
	d := net.Dialer{ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return err
		}
		return c.admit(host, to.Addr(), named, plain)
	}}
	return d.DialContext(ctx, network, net.JoinHostPort(host, port))
}

func (c *Client) admit(host string, to netip.Addr, named, plain bool) error {
	listed := named || c.allow.contains(to)
	if plain && !listed {
		return fault.Coded(fault.Denied, "egress.plain", fmt.Sprintf("plain http to %s is not allowed", host)).
			WithMend("use https, or list it in egress.allow")
	}
	if !listed && !Public(to) {
		return fault.Coded(fault.Denied, "egress.address", fmt.Sprintf("%s is at %s, which is not a public address", host, to)).
			WithMend("if it is meant, list that address, its network or the name in egress.allow")
	}
	return nil
}
