// Package s3proxy is the signing proxy of a node: programs send S3 requests to it on
// loopback without keys, and it sends them on signed with those of the caller's role.
// Keys never enter the programs.
//
// Whose request it is says the kernel, of the connection; nothing in the request does.
// A signature in it is not looked at, since there is no secret that it could be made
// of: unsigned requests and those of a placeholder key are alike. The placeholder
// "carnet.NAME" asks for the role of that name instead of the current one. Content
// streams in both directions.
//
// It must never send a request anywhere but to the S3 endpoint that the server named
// with the keys, never pass a client's own credential or cookie on, and never take
// real keys for a placeholder: they mean somebody else.
package s3proxy

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node/localhttp"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// Keys are those of a role, and where they are used.
type Keys struct {
	credential.Temporary
	Region string
	// Endpoint is http(s)://host[:port]; empty: AWS's own of the region.
	Endpoint string
}

// People says whose request it is, and what they hold.
type People interface {
	// Attached names the attachment of the process that sent the request, by what the
	// kernel says of its connection. Errors are faults.
	Attached(r *http.Request) (attachment string, err error)
	// Keys gives those of a role: by name, or empty for the current one.
	Keys(ctx context.Context, r *http.Request, role string) (Keys, error)
}

// Store sends one request to one S3 endpoint; see s3client.Client.
type Store interface {
	Do(ctx context.Context, out *s3.Outgoing) (*http.Response, error)
}

// Config is what a Proxy stands on.
type Config struct {
	Hosts  localhttp.Hosts
	People People
	// Offered reports whether the cluster has the proxy switched on.
	Offered func() bool
	// Open makes the client of an endpoint; "" is AWS's of the region.
	Open   func(endpoint, region string) (Store, error)
	Logger *slog.Logger
}

// The most requests and small documents of one attachment at a time, and the most
// endpoints that a server may name.
const (
	mostRequests  = 128
	mostDocuments = 8
	mostStores    = 16
)

// Proxy is a handler. Safe for concurrent use.
type Proxy struct {
	c         Config
	requests  gate
	documents gate

	mu     sync.Mutex
	stores map[place]Store
}

// place is an endpoint as the server named it.
type place struct{ endpoint, region string }

// New makes a Proxy.
func New(c Config) *Proxy {
	return &Proxy{
		c: c, stores: map[place]Store{},
		requests: gate{most: mostRequests, now: map[string]int{}}, documents: gate{most: mostDocuments, now: map[string]int{}},
	}
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{p: p, w: w, r: r, id: secret.Random(8).Reveal()}
	if err := x.serve(); err != nil {
		x.refuse(err)
	}
}

// exchange is one request on its way through.
type exchange struct {
	p    *Proxy
	w    http.ResponseWriter
	r    *http.Request
	id   string
	who  string // the attachment
	head request
	// begun is set once the answer is on its way: nothing else can be said then.
	begun bool
}

func (x *exchange) serve() error {
	c := &x.p.c
	if err := c.Hosts.Check(x.r); err != nil {
		return err
	}
	if !c.Offered() {
		return fault.New(fault.Denied, "The signing proxy is switched off on this cluster").
			WithMend("whoever manages the cluster may switch it on: signing_proxy")
	}
	var err error
	if x.who, err = c.People.Attached(x.r); err != nil {
		return err
	}
	if !x.p.requests.enter(x.who) {
		return fault.Coded(fault.Limited, "SlowDown", "Please reduce your request rate: too many requests of yours are under way at this proxy")
	}
	defer x.p.requests.leave(x.who)
	if x.head, err = readHead(x.r); err != nil {
		return err
	}
	keys, err := c.People.Keys(x.r.Context(), x.r, x.head.role)
	if err != nil {
		return noRole(err)
	}
	store, err := x.p.store(place{keys.Endpoint, keys.Region})
	if err != nil {
		return err
	}
	return x.send(store, keys)
}

// noRole keeps a role that isn't there from looking like an object that isn't.
func noRole(err error) error {
	f := fault.Of(err)
	switch f.Kind {
	case fault.NotFound, fault.Conflict, fault.Expired, fault.Invalid:
		return fault.Wrap(err, fault.Denied, f.Public).WithMend(f.Mend)
	}
	return err
}

// store gives the client of an endpoint, made when the server first named it.
func (p *Proxy) store(at place) (Store, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.stores[at]; ok {
		return s, nil
	}
	s, err := p.c.Open(at.endpoint, at.region)
	if err != nil {
		return nil, err
	}
	if len(p.stores) >= mostStores {
		clear(p.stores)
	}
	p.stores[at] = s
	return s, nil
}

// gate counts what each attachment has under way, so that no one takes all places.
type gate struct {
	most int
	mu   sync.Mutex
	now  map[string]int
}

func (g *gate) enter(who string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now[who] >= g.most {
		return false
	}
	g.now[who]++
	return true
}

func (g *gate) leave(who string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now[who]--; g.now[who] == 0 {
		delete(g.now, who)
	}
}

// Placeholder is the access key id that means the current role; followed by a dot
// and a name, that role.
const Placeholder = "carnet"

// roleOf reads which role a placeholder asks for.
func roleOf(p *sigv4.Presented) (string, error) {
	if p == nil {
		return "", nil
	}
	if p.Place != sigv4.Header {
		return "", fault.Coded(fault.Invalid, "InvalidRequest", "A presigned address is not taken by the signing proxy: it carries its own rights").
			WithMend("use it at the S3 endpoint that it was made for")
	}
	if p.Service != "s3" {
		return "", fault.Coded(fault.Invalid, "AuthorizationHeaderMalformed", "The request is signed for the service "+fault.Clip(p.Service)+"; this proxy is for S3 alone").
			WithMend("set AWS_ENDPOINT_URL_S3 to it, not AWS_ENDPOINT_URL")
	}
	if !p.SessionToken.IsZero() || realKey(p.AccessKeyID) {
		return "", fault.Coded(fault.Denied, "InvalidAccessKeyId", "The request is signed with real keys, and the signing proxy signs by itself").
			WithMend("set AWS_ACCESS_KEY_ID=" + Placeholder + " and any AWS_SECRET_ACCESS_KEY, and no session token")
	}
	if name, ok := strings.CutPrefix(p.AccessKeyID, Placeholder+"."); ok {
		return name, nil
	}
	return "", nil
}

// realKey reports whether an access key id has the form of AWS's or of ours (IAM
// User Guide, "Unique identifiers"): 20 characters after a known prefix.
func realKey(id string) bool {
	if len(id) < 16 || strings.ToUpper(id) != id {
		return false
	}
	for _, prefix := range [...]string{"AKIA", "ASIA", "ABIA", "ACCA", "GWKA"} {
		if strings.HasPrefix(id, prefix) {
			return true
		}
	}
	return false
}
