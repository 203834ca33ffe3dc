// Package iamapi is the IAM face: AWS's IAM Query API (version 2010-05-08) over
// the local authority.
//
// A call is signed with scope `iam`; its caller is found and the signature held
// before a parameter is read. One table names every operation: what is not in
// it is refused by name. Each operation reads its parameters under IAM's own
// limits, asks the policy engine for its iam: action on the resource's ARN, and
// only then says whether the resource exists. Changes and their audit record
// are one transaction of service/iam.
//
// It must never answer an unsigned request, drop a parameter in silence, tell
// a caller without permission what exists, or show a secret a second time.
package iamapi

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
	"slices"
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
	"carnet.dev/carnet/internal/service/iam"
)

// Authority finds callers and decides what they may do.
type Authority interface {
	// Lookup finds the caller behind an access key id and its session token,
	// which long-term keys don't have.
	Lookup(ctx context.Context, accessKeyID string, sessionToken secret.Text) (access.Caller, secret.Text, error)
	// Authorize answers one question about a proven caller.
	Authorize(ctx context.Context, c access.Caller, q access.Question) access.Decision
}

// Config is what the IAM face stands on.
type Config struct {
	Authority Authority
	IAM       *iam.Service
	// Region is the installation's. Clients sign IAM for the region of its
	// partition's only endpoint (us-east-1 and its like), or for their own.
	Region string
	// StaticKeys lets access keys be made (the setting static_keys).
	StaticKeys bool
	Now        func() time.Time
	// Source gives the address that a request comes from; default its socket.
	Source func(*http.Request) netip.Addr
	Logger *slog.Logger
	// Refusals records what a proven caller may not; nil: nobody does.
	Refusals Refusals
}

// Refusals takes what was refused into the audit trail, repeated ones as a number.
type Refusals interface {
	Refuse(ctx context.Context, e event.Event)
}

// IAM serves the Query protocol of IAM at "/".
type IAM struct {
	config Config
	table  map[string]operation
	large  chan struct{} // slots for bodies over awsquery.MaxBody
}

// operation answers one call that is authenticated and parsed, not authorised.
// Nil fields are an answer without a result.
type operation func(*call) ([]awsquery.Field, error)

const (
	// mostBody bounds a call: a SAML provider's metadata may have ten million
	// characters, and percent-encoding adds to that.
	mostBody = 16 << 20
	// mostLarge bounds the calls over awsquery.MaxBody at once.
	mostLarge = 4
)

// New makes the IAM face.
func New(c Config) *IAM {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Source == nil {
		c.Source = socketAddress
	}
	return &IAM{config: c, table: operations(), large: make(chan struct{}, mostLarge)}
}

func socketAddress(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap()
}

// ServeHTTP answers one call.
func (f *IAM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := f.config.Now()
	c := &call{face: f, id: identity.NewRequestID(), request: r}
	c.ctx = identity.WithRequestID(r.Context(), c.id)
	status, body := http.StatusOK, []byte(nil)
	defer func() {
		if p := recover(); p != nil {
			f.config.Logger.Error("iam failed", "request", c.id, "action", clip(c.action), "panic", fmt.Sprint(p))
			status, body = f.refuse(c, fault.New(fault.Internal, "panic"))
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
		f.config.Logger.Info("iam", "request", c.id, "action", clip(c.action), "caller", c.caller.ARN, "status", status,
			"source", f.config.Source(r), "took", f.config.Now().Sub(began))
	}()
	fields, err := f.serve(w, r, c)
	if err != nil {
		status, body = f.refuse(c, err)
		f.note(r, c, err)
		return
	}
	body = awsquery.IAM.Answer(c.action, fields, string(c.id))
}

// refuse turns an error into its answer and tells the log the cause.
func (f *IAM) refuse(c *call, err error) (int, []byte) {
	status, code, message := awsquery.IAMErrorOf(signatureFault(err))
	level := slog.LevelInfo
	if status >= 500 {
		level = slog.LevelError
	}
	f.config.Logger.Log(c.ctx, level, "iam refused", "request", c.id, "action", clip(c.action), "caller", c.caller.ARN, "code", code, "cause", err)
	return status, awsquery.IAM.Error(status, code, message, string(c.id))
}

// note has what a proven caller may not recorded.
func (f *IAM) note(r *http.Request, c *call, err error) {
	denied := fault.Of(err)
	if f.config.Refusals == nil || c.caller.ARN == "" || denied.Kind != fault.Denied || f.table[c.action] == nil {
		return
	}
	by := c.caller
	e := event.Event{Action: "iam." + c.action, Code: denied.Code, Request: c.id, Source: f.config.Source(r).String(),
		Person: by.Person, LoginSession: by.LoginSession, ServicePrincipal: by.ServicePrincipal, Delegation: by.Delegation, Account: by.Account, Principal: by.ARN, AccessKeyID: by.AccessKeyID,
		Node: by.Node, Attachment: by.Attachment, ProcessOwner: by.Owner, Detail: map[string]string{"reason": clip(denied.Public)}}
	if by.Role.Name != "" {
		e.Role = by.Role.String()
	}
	f.config.Refusals.Refuse(c.ctx, e)
}

// signatureFault gives IAM's names to the faults of signatures and keys, which
// carry those of S3 (IAM API Reference, "Common Errors").
func signatureFault(err error) *fault.Fault {
	f := fault.Of(err)
	switch f.Code {
	case "InvalidAccessKeyId", "InvalidToken":
		return f.WithCode("InvalidClientTokenId")
	case "RequestTimeTooSkewed":
		return f.WithCode("SignatureDoesNotMatch")
	case "AuthorizationHeaderMalformed", "AuthorizationQueryParametersError":
		return f.WithCode("IncompleteSignature")
	}
	return f
}

func (f *IAM) serve(w http.ResponseWriter, r *http.Request, c *call) ([]awsquery.Field, error) {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if path != "/" || r.Method != http.MethodGet && r.Method != http.MethodPost {
		return nil, fault.Coded(fault.Invalid, "InvalidAction", "IAM answers GET and POST of / only.")
	}
	body, err := f.authenticate(w, r, c)
	if err != nil {
		return nil, err
	}
	parameters, err := awsquery.ParseWithin(mostBody, r.Method, query, r.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, err
	}
	action, ok := parameters.Get("Action")
	if !ok {
		return nil, fault.Coded(fault.Invalid, "MissingAction", "The request names no Action.")
	}
	c.action, c.in = action, newInput(parameters)
	if version, _ := parameters.Get("Version"); version != awsquery.IAM.Version {
		return nil, noSuchAction(action, version)
	}
	answer, ok := f.table[action]
	if !ok {
		return nil, notOffered(action)
	}
	if err := mayUseIAM(c.caller); err != nil {
		return nil, err
	}
	return answer(c)
}

func noSuchAction(action, version string) error {
	if version == "" {
		version = "NO_VERSION_SPECIFIED"
	}
	return fault.Coded(fault.Unsupported, "InvalidAction", "Could not find operation "+clip(action)+" for version "+clip(version))
}

// authenticate proves who signed the call, and gives its body. Nothing of the
// body is read for keys that this server didn't issue.
func (f *IAM) authenticate(w http.ResponseWriter, r *http.Request, c *call) ([]byte, error) {
	request := &sigv4.Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header, ContentLength: r.ContentLength}
	presented, err := sigv4.Parse(request)
	if err != nil {
		return nil, err
	}
	if presented == nil {
		return nil, fault.Coded(fault.Unauthenticated, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	scope, now := sigv4.Scope{Service: "iam", Region: f.region(presented.Region)}, f.config.Now()
	if err := presented.Fits(scope, now); err != nil {
		return nil, err
	}
	caller, key, err := f.config.Authority.Lookup(r.Context(), presented.AccessKeyID, presented.SessionToken)
	if err != nil {
		return nil, err
	}
	body, err := f.readBody(w, r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	if err := presented.Verify(request, key, scope, hex.EncodeToString(sum[:]), now); err != nil {
		return nil, err
	}
	c.caller = caller
	c.env = access.Environment{
		SourceIP: f.config.Source(r), Secure: r.TLS != nil, UserAgent: r.UserAgent(), Referer: r.Referer(), Now: now, RequestID: c.id,
	}
	return body, nil
}

// region gives the region that a signature must be made for: the one that it
// names, if clients sign IAM for that. IAM has one endpoint in each partition,
// in these regions (AWS General Reference, "IAM endpoints"); with an endpoint
// of one's own some clients sign for their configured region.
func (f *IAM) region(named string) string {
	if slices.Contains([]string{"us-east-1", "cn-north-1", "us-gov-west-1"}, named) {
		return named
	}
	return f.config.Region
}

// readBody reads a call. Large ones wait for one of few slots.
func (f *IAM) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	most := int64(awsquery.MaxBody)
	if r.ContentLength > most {
		select {
		case f.large <- struct{}{}:
			defer func() { <-f.large }()
			most = mostBody
		default:
			return nil, fault.Coded(fault.Limited, "Throttling", "Rate exceeded").WithMend("try again in a moment")
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fault.Coded(fault.TooLarge, "RequestEntityTooLarge", fmt.Sprintf("The request is larger than %d bytes.", most))
	case err != nil:
		return nil, fault.Wrap(err, fault.Invalid, "The request's body could not be read.")
	}
	return body, nil
}

func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
