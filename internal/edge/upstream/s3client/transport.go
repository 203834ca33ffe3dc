package s3client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/edge/upstream/wire"
)

// transport carries requests over kept connections.
type transport interface {
	RoundTrip(*http.Request) (*http.Response, error)
	CloseIdleConnections()
}

// idlePerHost keeps as many connections as a busy gateway has requests at once;
// with fewer, each request above that pays for a new one.
const idlePerHost = 512

// newTransport gives the cheap one for a store of one's own. AWS is reached by
// net/http's, which knows proxies and waits for 100 Continue.
func newTransport(c Config) transport {
	secured := &tls.Config{RootCAs: c.RootCAs, Certificates: c.Certificates, MinVersion: tls.VersionTLS12}
	if !c.RoleKeys && c.Proxy == nil {
		return &wire.Transport{Dial: c.Dial, TLS: secured, HandshakeTimeout: c.Patience.Connect, MostIdle: idlePerHost}
	}
	return &http.Transport{
		DialContext: c.Dial, Proxy: c.Proxy, TLSClientConfig: secured,
		TLSHandshakeTimeout: c.Patience.Connect, IdleConnTimeout: 60 * time.Second, ExpectContinueTimeout: time.Second,
		MaxIdleConns: 4 * idlePerHost, MaxIdleConnsPerHost: idlePerHost,
		DisableCompression: true, // bytes stay as they are
		WriteBufferSize:    64 << 10, ReadBufferSize: 16 << 10, MaxResponseHeaderBytes: 64 << 10,
	}
}

// newWatch watches over a request, where the transport can't do so itself.
func (a *attempt) newWatch(ctx context.Context) (context.Context, *watch) {
	if _, ok := a.client.transport.(*wire.Transport); ok {
		return ctx, nil
	}
	return newWatch(ctx, a.patience())
}

// carry sends the request.
func (a *attempt) carry(req *http.Request) (*http.Response, error) {
	w, ok := a.client.transport.(*wire.Transport)
	if !ok {
		return a.client.transport.RoundTrip(req)
	}
	p := a.client.config.Patience
	if a.content == nil {
		p.Answer = a.patience()
	}
	res, err := w.Do(req, wire.Patience{Answer: p.Answer, Piece: p.Silence})
	if errors.Is(err, wire.ErrSilent) {
		err = errSilent
	}
	return res, err
}

// bare gives the content where the kernel can move it.
func (a *answer) bare() *wire.Body {
	b, ok := a.ReadCloser.(*wire.Body)
	if !ok || !b.Plain() {
		return nil
	}
	return b
}

// Plain reports whether Pass can be used.
func (a *answer) Plain() bool { return a.bare() != nil }

// Buffered gives content that is there already; see wire.Body.
func (a *answer) Buffered() []byte { return a.bare().Buffered() }

// Take drops n bytes that Buffered gave.
func (a *answer) Take(n int) error { return a.bare().Take(n) }

// Pass moves content on.
func (a *answer) Pass(to io.ReaderFrom, most int64) (int64, error) { return a.bare().Pass(to, most) }
