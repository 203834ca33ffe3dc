// Package gateway is the S3 front: it proves who asks, reads what is asked,
// has it decided, and only then speaks to a store, under the store's own key.
//
// A request is parsed once. From then on there are three values: the presented
// credential, the caller behind it and the operation; nothing looks at the raw
// request again. Content streams, and its last bytes go upstream only after
// every hash, signature and checksum held, so nothing false becomes visible.
// The gateway stores nothing. It must never forward a client's credential,
// cookies or unknown headers, nor answer from a store before a decision.
package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

// Keys finds the caller behind an access key id and its session token. Errors
// are faults with S3's codes: InvalidAccessKeyId, InvalidToken, ExpiredToken.
type Keys interface {
	Lookup(ctx context.Context, accessKeyID string, sessionToken secret.Text) (access.Caller, secret.Text, error)
}

// Decider decides a set of checks: allowed only when each is.
type Decider interface {
	Decide(ctx context.Context, c access.Caller, checks []s3.Check, env access.Environment) access.Decision
}

// Places says where buckets live.
type Places interface {
	Place(bucket string) (access.Place, bool)
}

// Upstream sends a request to a store.
type Upstream interface {
	Do(ctx context.Context, out *s3.Outgoing) (*http.Response, error)
}

// Store is an upstream and how it treats keys.
type Store struct {
	Upstream Upstream
	Keys     s3.Keys
	// Encryption and StorageClasses (beside STANDARD) are what a request may
	// choose; all else is refused by name.
	Encryption     s3.Encryption
	StorageClasses []string
	// AWS says that the store decides by the role's own keys and has no other.
	AWS bool
	// Region is where buckets are made at AWS that name none.
	Region string
	// Accounts are those whose buckets it may hold; nil stands for all.
	Accounts []string
}

// Config is what a gateway needs.
type Config struct {
	Region string
	// Domains are the hosts under which BUCKET.domain names a bucket.
	Domains []string
	// Settings keeps bucket policies and CORS rules; nil: there are none.
	Settings Settings
	Keys     Keys
	// GatewayKeys finds gateway keys; nil: there are none.
	GatewayKeys GatewayKeys
	// Nodes tells records what keys of nodes don't say themselves; nil: nothing.
	Nodes   Nodes
	Decider Decider
	Places  Places
	Stores  map[string]Store // by the name that Place gives
	Logger  *slog.Logger     // takes what operators must know; requests go to Observers
	// Observers take the record of every finished request, in this order.
	Observers []Observer
	// Recorder holds requests to the audit trail; nil: they don't wait for it.
	Recorder Recorder
	Now      func() time.Time
	// Source gives the address that a request comes from; default its socket.
	Source func(*http.Request) netip.Addr
}

// Gateway serves S3. It must be mounted outside http.ServeMux, which would
// answer keys such as a//b with a redirect.
type Gateway struct {
	config  Config
	derived *keyCache
	buffers sync.Pool
	aws     bool // some store is at AWS

	inFlight atomic.Int64
}

const (
	derivedKeys = 4096
	copyBuffer  = 128 << 10
)

// New makes a gateway.
func New(config Config) (*Gateway, error) {
	if config.Region == "" || config.Keys == nil || config.Decider == nil || config.Places == nil {
		return nil, fault.New(fault.Misconfigured, "The gateway needs a region, keys, a decider and places")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Source == nil {
		config.Source = socketAddress
	}
	return &Gateway{
		config: config, derived: newKeyCache(derivedKeys),
		buffers: sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }},
		aws:     hasAWS(config.Stores),
	}, nil
}

func socketAddress(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap()
}

// exchange is one request and its answer.
type exchange struct {
	g     *Gateway
	w     http.ResponseWriter
	r     *http.Request
	id    identity.RequestID
	began time.Time

	parsed    *sigv4.Presented // by whoever sent it here; nil: by nobody yet
	claimed   string           // the access key id as presented: for the log only
	presented *sigv4.Presented
	key       sigv4.Key
	caller    access.Caller
	holder    *gatewaykeys.Holder  // of a gateway key; nil otherwise
	roleKeys  credential.Temporary // of the local role that it was given
	// as are the keys of the caller's role at AWS, which then decides instead of
	// us. nil for a role of a local account.
	as            *credential.Temporary
	madeIn        string // the region for a bucket at AWS that is to be made
	sourceAccount string // whose bucket a copy reads
	op            *s3.Operation
	tags          storedTags
	store         Store
	place         access.Place

	proven time.Time // when the keys last held; only the reader of a body moves it

	status   int // 0 until the answer has begun
	code     string
	sent     int64
	received int64
	cause    error

	record Record
}

// InFlight gives how many requests are being served.
func (g *Gateway) InFlight() int64 { return g.inFlight.Load() }

// ServeHTTP serves one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.ServePresented(w, r, nil) }

// ServePresented serves a request whose credential was parsed from it already,
// and from nothing else; nil: it is parsed here.
func (g *Gateway) ServePresented(w http.ResponseWriter, r *http.Request, p *sigv4.Presented) {
	x := &exchange{g: g, w: w, r: r, parsed: p, id: identity.NewRequestID(), began: g.config.Now(), record: Record{Size: -1}}
	g.inFlight.Add(1)
	defer g.inFlight.Add(-1)
	h := w.Header()
	h["X-Amz-Request-Id"] = []string{string(x.id)}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Content-Security-Policy"] = []string{"sandbox; default-src 'none'"}
	defer x.observe()
	defer func() {
		if p := recover(); p != nil {
			x.panicked(p)
		}
	}()
	if err := x.serve(); err != nil {
		if x.r.Context().Err() != nil && fault.Of(err).Code == "" {
			err = fault.Coded(fault.Invalid, "RequestTimeout", "The client closed the connection before the answer").WithCause(err)
		}
		x.fail(err)
	}
}

// panicked ends the request after a panic: as a fault where the answer has not
// begun, by cutting the connection where it has.
func (x *exchange) panicked(p any) {
	if p != http.ErrAbortHandler {
		x.cause = errors.Join(x.cause, &panicError{p})
		x.g.config.Logger.Error("panic in the S3 gateway", "request_id", x.id, "panic", p)
	}
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	x.fail(fault.Wrap(x.cause, fault.Internal, "We encountered an internal error. Please try again."))
}

type panicError struct{ value any }

func (e *panicError) Error() string { return "panic" }

// serve is the walk of every request: who, what, may they, do it.
func (x *exchange) serve() error {
	rules := x.allowOrigin()
	if x.r.Method == http.MethodOptions {
		return x.preflight(rules)
	}
	if x.isForm() {
		return x.serveForm()
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	var err error
	x.op, err = s3.Parse(&s3.Request{
		Method: x.r.Method, Host: x.r.Host, Target: x.presented.Target,
		Header: x.r.Header, Presigned: x.presented.Place == sigv4.Query, Now: x.began,
	}, x.g.config.Domains)
	if err != nil {
		return err
	}
	body, err := x.openBody()
	if err != nil {
		return err
	}
	return x.act(body)
}

// signed is the request as its verifier takes it.
func (x *exchange) signed() *sigv4.Request {
	return &sigv4.Request{
		Method: x.r.Method, Target: x.r.RequestURI, Host: x.r.Host,
		Header: x.r.Header, ContentLength: x.r.ContentLength,
	}
}

// authenticate proves the caller.
func (x *exchange) authenticate() error {
	request := x.signed()
	p, err := x.parsed, error(nil)
	if p == nil {
		p, err = sigv4.Parse(request)
	}
	if err != nil {
		return err
	}
	if p == nil {
		return unsigned()
	}
	return x.prove(p, request, "")
}

// prove finds the caller behind a credential, and holds it to the caller's key.
// policy is that of a form.
func (x *exchange) prove(p *sigv4.Presented, request *sigv4.Request, policy string) error {
	x.claimed = p.AccessKeyID
	scope := x.g.scope(p)
	if err := p.Fits(scope, x.began); err != nil {
		if p.Region != scope.Region {
			x.w.Header()["X-Amz-Bucket-Region"] = []string{scope.Region}
		}
		return err
	}
	caller, secretKey, err := x.lookUp(p)
	if err != nil {
		return err
	}
	key := x.g.derived.derive(secretKey, p.Date, p.Region, p.Service)
	if p.Place == sigv4.Form {
		err = p.VerifyForm(request, policy, key, scope, x.began)
	} else {
		err = p.VerifyWith(request, key, scope, "", x.began)
	}
	if err != nil {
		return err
	}
	x.presented, x.key, x.caller, x.proven = p, key, caller, x.began
	x.record.Proven = x.g.config.Now().Sub(x.began)
	return x.admit()
}

// askAgain is how long a transfer goes on before its keys are asked for anew:
// within it a revocation has to work (design 7.5).
const askAgain = 2 * time.Second

// stillHolds asks, in a transfer that lasts, whether its keys were taken back.
// Keys that end by themselves may finish what they began in time, as on AWS.
func (x *exchange) stillHolds() error {
	now := x.g.config.Now()
	if now.Sub(x.proven) < askAgain {
		return nil
	}
	if err := x.keysHold(); err != nil && fault.Of(err).Kind != fault.Expired {
		return err
	}
	x.proven = now
	return nil
}

// lasting is an answer's content, cut off where the keys no longer hold.
type lasting struct {
	io.Reader
	x *exchange
}

func (l lasting) Read(b []byte) (int, error) {
	n, err := l.Reader.Read(b)
	if held := l.x.stillHolds(); held != nil {
		return 0, held
	}
	return n, err
}

// unsigned refuses a request without a credential: anonymous access does not
// exist.
func unsigned() error {
	return fault.Coded(fault.Denied, "AccessDenied", "Access Denied: the request carries no signature").
		WithMend("sign it with the temporary keys of a role; anonymous access doesn't exist here")
}

// environment is what policies may ask about the request.
func (x *exchange) environment() access.Environment {
	env := access.Environment{
		SourceIP: x.g.config.Source(x.r), Secure: x.r.TLS != nil,
		UserAgent: x.r.UserAgent(), Referer: x.r.Referer(),
		Now: x.began, RequestID: x.id,
		AuthType: x.presented.Place.String(), PayloadHash: x.presented.PayloadHash, Stored: &x.tags,
	}
	x.tags.x = x
	if x.r.TLS != nil {
		env.TLSVersion = tlsVersion(x.r.TLS.Version)
	}
	if x.presented.Place != sigv4.Header {
		env.SignatureAge = x.began.Sub(x.presented.Time)
	}
	return env
}
