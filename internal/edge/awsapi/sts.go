package awsapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/protocol/sigv4"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/sts"
)

// The headers by which Carnet's own broker says for whom keys are. They are
// believed on the internal listener and nowhere else.
const (
	headerLoginSession = "X-Carnet-Login-Session"
	headerPerson       = "X-Carnet-Person"
)

// Keys finds the caller behind an access key id and its session token.
type Keys interface {
	Lookup(ctx context.Context, accessKeyID string, sessionToken secret.Text) (access.Caller, secret.Text, error)
}

// Authority is the security token service.
type Authority interface {
	AssumeRole(ctx context.Context, r sts.RoleRequest) (*sts.RoleAnswer, error)
	AssumeRoleWithSAML(ctx context.Context, r sts.SAMLRequest) (*sts.SAMLAnswer, error)
	AssumeRoleWithWebIdentity(ctx context.Context, r sts.WebRequest) (*sts.WebAnswer, error)
	GetFederationToken(ctx context.Context, r sts.FederationRequest) (*sts.UserAnswer, error)
	GetSessionToken(ctx context.Context, r sts.SessionRequest) (*sts.UserAnswer, error)
}

// STSConfig is what the STS face stands on.
type STSConfig struct {
	Authority Authority
	Keys      Keys
	Region    string
	Now       func() time.Time
	// TrustInternal marks the handler of the internal listener: the broker's
	// headers are believed there, and its connection counts as secure.
	TrustInternal bool
	// Source gives the address that a request comes from; default its socket.
	Source func(*http.Request) netip.Addr
	// Exchanges bounds the assertions verified at once, and the ID tokens as
	// many; 0 means two for each processor. Those that wait longer than two seconds are told to come back.
	Exchanges int
	Logger    *slog.Logger
	// Refusals records exchanges that were refused; nil: nobody does.
	Refusals Refusals
}

// Refusals takes what was refused into the audit trail, repeated ones as a number.
type Refusals interface {
	Refuse(ctx context.Context, e event.Event)
}

// STS serves the Query protocol of STS at "/".
type STS struct {
	config STSConfig
	// Assertions and ID tokens have slots apart: the latter may wait for the keys
	// of a provider that is slow or away, which must not keep others out.
	slots, webSlots chan struct{}
}

// NewSTS makes the STS face.
func NewSTS(c STSConfig) *STS {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Source == nil {
		c.Source = socketAddress
	}
	if c.Exchanges == 0 {
		c.Exchanges = 2 * runtime.GOMAXPROCS(0)
	}
	return &STS{config: c, slots: make(chan struct{}, c.Exchanges), webSlots: make(chan struct{}, c.Exchanges)}
}

func socketAddress(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap()
}

// call is one request on its way through.
type call struct {
	id         identity.RequestID
	parameters awsquery.Parameters
	action     string
	caller     *access.Caller // nil without a signature
	role       string         // for the log
}

// ServeHTTP answers one call.
func (s *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := s.config.Now()
	c := &call{id: identity.NewRequestID()}
	status, body := http.StatusOK, []byte(nil)
	defer func() {
		if p := recover(); p != nil {
			s.config.Logger.Error("sts failed", "request", c.id, "panic", fmt.Sprint(p))
			status, body = s.refuse(c, fault.New(fault.Internal, "panic"))
		}
		h := w.Header()
		h.Set("Content-Type", "text/xml")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Amzn-Requestid", string(c.id))
		h.Set("Content-Length", strconv.Itoa(len(body)))
		if status == http.StatusServiceUnavailable {
			h.Set("Retry-After", httpd.RetryAfter)
		}
		w.WriteHeader(status)
		// A client that went away is none of our failures.
		_, _ = w.Write(body)
		s.config.Logger.LogAttrs(r.Context(), slog.LevelInfo, "sts", slog.String("request", string(c.id)), slog.String("action", clip(c.action)),
			slog.String("role", clip(c.role)), slog.Int("status", status), slog.String("source", s.config.Source(r).String()), slog.Duration("took", s.config.Now().Sub(began)))
	}()
	fields, err := s.serve(w, r, c)
	if err != nil {
		status, body = s.refuse(c, err)
		s.note(r, c, err)
		return
	}
	body = awsquery.Answer(c.action, fields, string(c.id))
}

// refuse turns an error into its answer and tells the log the cause.
func (s *STS) refuse(c *call, err error) (int, []byte) {
	f := stsFault(err)
	status, code, message := awsquery.ErrorOf(f)
	level := slog.LevelInfo
	if status >= 500 {
		level = slog.LevelError
	}
	s.config.Logger.Log(context.Background(), level, "sts refused", "request", c.id, "action", clip(c.action), "role", clip(c.role), "code", code, "cause", err)
	return status, awsquery.Error(status, code, message, string(c.id))
}

// note has a refused exchange recorded: of a proven caller what they may not, of
// strangers each that failed.
func (s *STS) note(r *http.Request, c *call, err error) {
	f := stsFault(err)
	federated := c.action == "AssumeRoleWithSAML" || c.action == "AssumeRoleWithWebIdentity"
	status, code, message := awsquery.ErrorOf(f)
	if s.config.Refusals == nil || status >= http.StatusInternalServerError || !federated && (c.caller == nil || f.Kind != fault.Denied) {
		return
	}
	e := event.Event{Action: "sts." + c.action, Code: code, Request: c.id, Role: clip(c.role), Source: s.config.Source(r).String(), Detail: map[string]string{"reason": clip(message)}}
	if agent := r.UserAgent(); agent != "" && !s.config.TrustInternal {
		e.Detail["user_agent"] = clip(agent)
	}
	if by := c.caller; by != nil {
		e.Person, e.LoginSession, e.ServicePrincipal, e.Delegation = by.Person, by.LoginSession, by.ServicePrincipal, by.Delegation
		e.Account, e.Principal, e.AccessKeyID = by.Account, by.ARN, by.AccessKeyID
		e.Node, e.Attachment, e.ProcessOwner = by.Node, by.Attachment, by.Owner
	}
	s.config.Refusals.Refuse(r.Context(), e)
}

// stsFault gives STS's names to the faults of signatures and keys, which carry
// those of S3 (STS API Reference, "Common errors").
func stsFault(err error) *fault.Fault {
	f := fault.Of(err)
	switch f.Code {
	case "InvalidAccessKeyId", "InvalidToken":
		return f.WithCode("InvalidClientTokenId")
	case "ExpiredToken":
		return f.WithCode("ExpiredToken")
	case "RequestTimeTooSkewed":
		return f.WithCode("SignatureDoesNotMatch")
	case "AuthorizationHeaderMalformed", "AuthorizationQueryParametersError":
		return f.WithCode("IncompleteSignature")
	}
	return f
}

func (s *STS) serve(w http.ResponseWriter, r *http.Request, c *call) ([]awsquery.Field, error) {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if path != "/" || r.Method != http.MethodGet && r.Method != http.MethodPost {
		return nil, fault.Coded(fault.Invalid, "InvalidAction", "STS answers GET and POST of / only.")
	}
	body, text, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	if c.caller, err = s.authenticate(r, body); err != nil {
		return nil, err
	}
	if c.parameters, err = awsquery.Parse(r.Method, query, r.Header.Get("Content-Type"), text); err != nil {
		return nil, err
	}
	action, ok := c.parameters.Get("Action")
	if !ok {
		return nil, fault.Coded(fault.Invalid, "MissingAction", "The request names no Action.")
	}
	c.action = action
	if version, _ := c.parameters.Get("Version"); version != awsquery.Version {
		return nil, noSuchAction(action, version)
	}
	switch action {
	case "AssumeRole":
		return s.assumeRole(r, c)
	case "AssumeRoleWithSAML":
		return s.assumeRoleWithSAML(r, c)
	case "AssumeRoleWithWebIdentity":
		return s.assumeRoleWithWebIdentity(r, c)
	case "GetCallerIdentity":
		return getCallerIdentity(c)
	case "GetFederationToken":
		return s.getFederationToken(r, c)
	case "GetSessionToken":
		return s.getSessionToken(r, c)
	}
	return nil, noSuchAction(action, awsquery.Version)
}

func noSuchAction(action, version string) error {
	if version == "" {
		version = "NO_VERSION_SPECIFIED"
	}
	return fault.Coded(fault.Unsupported, "InvalidAction", "Could not find operation "+clip(action)+" for version "+clip(version))
}

func readBody(w http.ResponseWriter, r *http.Request) (_ []byte, text string, _ error) {
	if k, ok := r.Body.(*kept); ok && k.whole {
		return k.body, k.text, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, awsquery.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, "", fault.Coded(fault.TooLarge, "RequestEntityTooLarge", fmt.Sprintf("The request is larger than %d bytes.", awsquery.MaxBody))
	case err != nil:
		return nil, "", fault.Wrap(err, fault.Invalid, "The request's body could not be read.")
	}
	return body, string(body), nil
}

// authenticate proves who signed the request; nil for an unsigned one. The
// body is hashed here: most clients send no hash to STS.
func (s *STS) authenticate(r *http.Request, body []byte) (*access.Caller, error) {
	request := &sigv4.Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header, ContentLength: r.ContentLength}
	presented, err := sigv4.Parse(request)
	if err != nil || presented == nil {
		return nil, err
	}
	scope, now := sigv4.Scope{Service: "sts", Region: s.config.Region}, s.config.Now()
	if err := presented.Fits(scope, now); err != nil {
		return nil, err
	}
	caller, key, err := s.config.Keys.Lookup(r.Context(), presented.AccessKeyID, presented.SessionToken)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	if err := presented.Verify(request, key, scope, hex.EncodeToString(sum[:]), now); err != nil {
		return nil, err
	}
	return &caller, nil
}

// callerOf says what is known of who sends a request. On the internal listener
// Carnet's own broker says for whom it asks.
func (s *STS) callerOf(r *http.Request, c *call) sts.Caller {
	caller := sts.Caller{Request: c.id, Secure: true}
	if s.config.TrustInternal {
		caller.Person = identity.PersonID(r.Header.Get(headerPerson))
		caller.LoginSession = identity.LoginSessionID(r.Header.Get(headerLoginSession))
	} else {
		caller.Source, caller.Secure, caller.UserAgent = s.config.Source(r), r.TLS != nil, r.UserAgent()
	}
	if c.caller != nil {
		caller.Signed = *c.caller
	}
	return caller
}

// patience is how long an exchange waits for its turn.
const patience = 2 * time.Second

// enter takes a slot for the work of verifying, which a stranger can cause.
func (s *STS) enter(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "The client went away.")
	case <-timer.C:
		return fault.Coded(fault.Limited, "Throttling", "Rate exceeded").WithMend("try again in a moment")
	}
}

func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
