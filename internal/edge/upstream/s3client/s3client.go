// Package s3client sends requests to an S3 store: it signs what the gateway
// decided and streams both ways.
//
// It is no S3 SDK: a request is built from an s3.Outgoing and from nothing
// else, and bytes stay as they are. A store has a service key of its own, or it
// takes the keys that each request brings, those of a role, as AWS does; never
// both. Where requests go is said by the configuration; of an answer only the
// name of a region is believed, never an address.
//
// A request is sent again only where the store can't have acted on it, or where
// acting twice changes nothing, and always with the same rights. Each endpoint
// has a circuit breaker, so that a store that is away costs nobody a wait. The
// package must never see a client's credential, nor repeat content of which a
// byte was read.
package s3client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/s3"
)

// Config names a store.
type Config struct {
	// Endpoint is http(s)://host[:port], without a path: stores sign paths. With
	// RoleKeys it may be empty and stands for AWS's own endpoint of the region.
	Endpoint string
	// BucketEndpoints are endpoints of single buckets.
	BucketEndpoints map[string]string
	// Virtual names the bucket as a label before the endpoint's host; a name with
	// dots, which no certificate covers, stands in the path all the same.
	Virtual     bool
	Region      string
	AccessKeyID string
	SecretKey   secret.Text
	// RoleKeys signs each request with the keys that it brings (s3.Outgoing.As),
	// and with no other. Without it the store has the one key above, and keys of
	// a role are never sent there.
	RoleKeys bool
	// Dial replaces the network, for a store on a unix socket or behind rules of
	// where one may go. Optional.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Proxy finds the proxy for a request; nil: none is used.
	Proxy func(*http.Request) (*url.URL, error)
	// PlainBodies sends content bare under Content-Length. Without it content is
	// framed (aws-chunked), so that a store can't take an upload that broke off
	// for a whole one: the embedded store does, under a bare Content-Length.
	PlainBodies bool
	// RootCAs are the authorities to trust; nil stands for the system's.
	RootCAs *x509.CertPool
	// Certificates are shown to a store that asks for one.
	Certificates []tls.Certificate
	// Parallel bounds the requests under way, and with them the connections; 0:
	// DefaultParallel. One caller (s3.Outgoing.Caller) holds no more of these places
	// than are left free: half of them alone, a third beside another one.
	Parallel int
	// Patience says how long a store may be silent; zero fields take defaults.
	Patience Patience
	Now      func() time.Time
}

// DefaultParallel is how many requests to one store may be under way.
const DefaultParallel = 1024

// Client speaks to one store. It is safe for concurrent use.
type Client struct {
	config    Config
	base      *endpoint
	buckets   map[string]*endpoint
	template  *template // nil: the endpoint is of one region
	signer    *signer
	regions   *regions
	shares    *shares
	transport transport

	mu     sync.Mutex
	learnt map[string]*endpoint // of other regions, by region
}

// New makes a client.
func New(config Config) (*Client, error) {
	if hasKey := config.AccessKeyID != "" && !config.SecretKey.IsZero(); config.Region == "" || hasKey == config.RoleKeys {
		return nil, fault.New(fault.Misconfigured, "The upstream needs a region, and either an access key id with its secret key or role keys")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Parallel == 0 {
		config.Parallel = DefaultParallel
	}
	config.Patience.complete()
	c := &Client{
		config: config, signer: newSigner(), regions: newRegions(), shares: newShares(config.Parallel, config.Patience.Slot),
		buckets: make(map[string]*endpoint, len(config.BucketEndpoints)), learnt: make(map[string]*endpoint),
	}
	if err := c.locateEndpoints(); err != nil {
		return nil, err
	}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: config.Patience.Connect, KeepAlive: 30 * time.Second}).DialContext
	}
	c.transport = newTransport(config)
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Do sends one request. The caller closes the response's body. A store that
// can't be reached is a fault of kind Unavailable, whose cause may be a *Busy; a
// failure of the request's own body comes back as it is.
func (c *Client) Do(ctx context.Context, out *s3.Outgoing) (*http.Response, error) {
	keys, err := c.keys(out)
	if err != nil {
		return nil, err
	}
	a := &attempt{client: c, out: out, keys: keys, at: c.place(out.Bucket, out.Region)}
	if out.Body != nil {
		a.content = &content{r: out.Body}
	}
	for {
		res, err := a.send(ctx)
		if err != nil {
			if !a.again(ctx, err) {
				return nil, a.explain(ctx, err)
			}
			continue
		}
		if again, err := a.mended(ctx, res); again || err != nil {
			discard(res)
			if err != nil {
				return nil, err
			}
			continue
		}
		c.remember(out.Bucket, a.at, res.StatusCode)
		return res, nil
	}
}

// keys gives what a request is signed with.
func (c *Client) keys(out *s3.Outgoing) (credential.Temporary, error) {
	switch {
	case (out.As != nil) != c.config.RoleKeys:
		return credential.Temporary{}, fault.New(fault.Internal, "The request to the store brings keys of another kind than the store takes")
	case out.As != nil:
		return *out.As, nil
	}
	return credential.Temporary{AccessKeyID: c.config.AccessKeyID, SecretAccessKey: c.config.SecretKey}, nil
}
