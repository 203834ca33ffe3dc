package httpd

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/provisioning"
)

// row is a Route at work.
type row struct {
	Route
	site   *Site
	limit  *limiter
	places *places      // nil: no bound on requests in flight
	log    slog.Handler // writes method and route by itself
}

func newRow(s *Site, r Route, limits map[Rate]*limiter) *row {
	l := limits[r.Rate]
	if l == nil {
		l = newLimiter(r.Rate)
		limits[r.Rate] = l
	}
	out := &row{Route: r, site: s, limit: l, log: s.log.Handler().WithAttrs([]slog.Attr{slog.String("method", r.Method), slog.String("route", r.Pattern)})}
	if r.InFlight > 0 {
		out.places = newPlaces(r.InFlight)
	}
	return out
}

// ServeHTTP applies the row's rules and runs its handler.
func (row *row) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rec, ok := w.(*recorder); ok && row.Pattern != "" {
		rec.row = row
	}
	if r, err := row.serve(w, r); err != nil {
		row.fail(w, r, err)
	}
}

// serve is the one order in which a request meets its rules: cheap checks that
// need nothing of ours first, the database after them, the body last.
// It gives the request with its caller, for the page of a refusal.
func (row *row) serve(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	if !row.AnyHost && !row.answersTo(plainHost(r.Host)) {
		return r, fault.Coded(fault.Invalid, "request.host", "This server does not answer for the host that was asked for").
			WithMend("use the address that your administrator gave you")
	}
	if wait := row.limit.take(Source(r), row.site.now()); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		return r, fault.Coded(fault.Limited, "request.rate", "Too many requests from this address").
			WithMend("wait a moment, then try again")
	}
	if row.places != nil {
		leave, ok := row.places.enter(Source(r))
		if !ok {
			w.Header().Set("Retry-After", "1")
			return r, fault.Coded(fault.Limited, "request.busy", "Too many requests at once from this address").
				WithMend("wait a moment, then try again")
		}
		defer leave()
	}
	if !row.CrossSite {
		if err := row.site.origin.Check(r); err != nil {
			return r, fault.Coded(fault.Denied, "request.cross-site", "Another site sent this request in your name").
				WithMend("start from a page of this server").WithCause(err)
		}
	}
	caller, err := row.admit(r)
	if rec, ok := w.(*recorder); ok {
		rec.session = caller.Session.ID
	}
	if caller.nobody() && err == nil { // a stranger: there is nobody to carry
		return r, row.handle(w, r)
	}
	ctx := context.WithValue(context.WithValue(r.Context(), callerKey{}, caller), rowKey{}, row)
	if s := caller.Session; s.ID != "" {
		ctx = identity.WithActor(ctx, identity.Actor{Person: s.Person.ID, UserName: s.Person.UserName, LoginSession: s.ID})
	}
	r = r.WithContext(ctx)
	if err != nil {
		return r, err
	}
	return r, row.handle(w, r)
}

func (row *row) handle(w http.ResponseWriter, r *http.Request) error {
	if r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, row.MaxBody)
	}
	return row.Handler(w, r)
}

func (row *row) answersTo(host string) bool {
	return row.site.hosts[host] || slices.ContainsFunc(row.Hosts, func(own string) bool { return plainHost(own) == host })
}

// Caller is who stands behind a request, once its row has admitted it. The
// zero value is a stranger.
type Caller struct {
	Session login.LoginSession
	// CLIToken or AccessToken is set when the caller came with one instead of a
	// cookie.
	CLIToken    secret.Text
	AccessToken secret.Text
	// Node is set on Node rows, Machine on Machine rows, Provisioner on Provisioner
	// rows, with address and request: alone.
	Node        cluster.Node
	Machine     identity.ServicePrincipalID
	Provisioner provisioning.Caller
}

func (c Caller) nobody() bool {
	return c.Session.ID == "" && c.CLIToken.IsZero() && c.AccessToken.IsZero() && c.Node.ID == "" && c.Machine == "" && c.Provisioner.Credential == ""
}

type callerKey struct{}

// CallerOf gives the caller that the row admitted; a stranger on routes that
// ask for nobody.
func CallerOf(r *http.Request) Caller {
	c, _ := r.Context().Value(callerKey{}).(Caller)
	return c
}

type rowKey struct{}

// Again applies the access rule of a request's row once more: an answer that takes long
// ends with what it rests on. The fault is that of the rule.
func Again(r *http.Request) error {
	row, ok := r.Context().Value(rowKey{}).(*row)
	if !ok {
		return fault.New(fault.Internal, "nobody was admitted to this request")
	}
	_, err := row.admit(r)
	return err
}

// admit applies the access rule. Beside a refusal it gives the caller who was
// proven all the same.
func (row *row) admit(r *http.Request) (Caller, error) {
	if row.Access == Open || row.Access == Setup {
		return Caller{}, nil
	}
	waiting, err := row.site.needsSetup(r.Context())
	if err != nil {
		return Caller{}, err
	}
	switch {
	case row.Access < Person && row.Access != Visitor && waiting:
		return Caller{}, waitingForSetup()
	case row.Access == Public:
		return Caller{}, nil
	case row.Access == Node:
		return row.proveNode(r)
	case row.Access == Machine:
		return row.proveMachine(r)
	case row.Access == Provisioner:
		return row.proveProvisioner(r)
	}
	c, err := row.prove(r)
	switch {
	case row.Access == Visitor && waiting:
		return Caller{}, waitingForSetup()
	case row.Access == Visitor && err != nil && noLonger(fault.KindOf(err)):
		return Caller{}, nil
	case err != nil && waiting && fault.KindOf(err) == fault.Unauthenticated:
		return Caller{}, waitingForSetup()
	case err != nil:
		return Caller{}, err
	case row.Access == Administrator && !c.AccessToken.IsZero():
		// Consent to a program doesn't hand on the installation: what is changed
		// there outlives the program, the token and the sign-in.
		return c, ByThemselves("Administration")
	case row.Access == Administrator && !c.Session.Administrator:
		return c, fault.Coded(fault.Denied, "login.not-administrator", "This is for administrators of Carnet").
			WithMend("ask an administrator, or sign in as one")
	case waiting && !c.Session.Administrator:
		return c, waitingForSetup()
	}
	return c, nil
}

// noLonger reports whether a proof counts as none at all.
func noLonger(k fault.Kind) bool {
	return k == fault.Unauthenticated || k == fault.Expired || k == fault.Revoked
}

// prove finds the login session: of the CLI token where the row takes one and
// the request has an Authorization header, else of the cookie.
func (row *row) prove(r *http.Request) (Caller, error) {
	if given := r.Header.Values("Authorization"); row.CLIToken && len(given) > 0 {
		scheme, token, _ := strings.Cut(given[0], " ")
		if len(given) != 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
			return Caller{}, fault.Coded(fault.Unauthenticated, "login.authorization", "The Authorization header must be one Bearer token").
				WithMend("run `carnet login`")
		}
		return row.site.bearer(r.Context(), secret.New(token))
	}
	cookie := row.site.cookies.Login(r)
	if cookie.IsZero() {
		return Caller{}, fault.Coded(fault.Unauthenticated, CodeSignIn, "You are not signed in").WithMend("sign in")
	}
	s, err := row.site.sessions.Resume(r.Context(), cookie)
	return Caller{Session: s}, err
}

// bearerToken reads the one Authorization header of a caller that is no person.
func bearerToken(r *http.Request, mend string) (secret.Text, error) {
	given := r.Header.Values("Authorization")
	scheme, token := "", ""
	if len(given) == 1 {
		scheme, token, _ = strings.Cut(given[0], " ")
	}
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxBearer {
		return secret.Text{}, fault.Coded(fault.Unauthenticated, "login.authorization", "The Authorization header must be one Bearer token").WithMend(mend)
	}
	return secret.New(token), nil
}

const maxBearer = 8 << 10

// proveNode finds the node of a node access token.
func (row *row) proveNode(r *http.Request) (Caller, error) {
	t, err := bearerToken(r, "the node's agent buys an access token by its key")
	if err != nil {
		return Caller{}, err
	}
	if row.site.nodes == nil {
		return Caller{}, fault.Coded(fault.Unauthenticated, "node.none", "This server has no clusters")
	}
	n, err := row.site.nodes.NodeOf(r.Context(), t)
	return Caller{Node: n}, err
}

// proveMachine finds the service principal of an access token.
func (row *row) proveMachine(r *http.Request) (Caller, error) {
	t, err := bearerToken(r, "get an access token for the service principal: grant_type=client_credentials, scope=all-apis")
	if err != nil {
		return Caller{}, err
	}
	if row.site.machines == nil {
		return Caller{}, fault.Coded(fault.Unauthenticated, "login.authorization", "Access tokens are not taken here")
	}
	m, err := row.site.machines.MachineOf(r.Context(), t)
	return Caller{Machine: m}, err
}

// proveProvisioner finds the provisioning system of a bearer token.
func (row *row) proveProvisioner(r *http.Request) (Caller, error) {
	t, err := bearerToken(r, "send the token of the provisioning system: carnet provisioning credential add makes one")
	if err != nil {
		return Caller{}, err
	}
	if row.site.systems == nil {
		return Caller{}, fault.Coded(fault.Unauthenticated, "login.authorization", "Provisioning systems are not served here")
	}
	p, err := row.site.systems.Authenticate(r.Context(), t)
	if err == nil && p.Credential == "" {
		err = fault.New(fault.Internal, "a provisioning system without a credential")
	}
	p.Source, p.Request = Source(r).String(), identity.RequestIDFrom(r.Context())
	return Caller{Provisioner: p}, err
}

// bearer finds the login session of a token: our access tokens are JWTs, of
// three parts, and CLI tokens have no dot.
func (s *Site) bearer(ctx context.Context, t secret.Text) (Caller, error) {
	if strings.Count(t.Reveal(), ".") != 2 {
		session, err := s.sessions.ResumeCLI(ctx, t)
		return Caller{Session: session, CLIToken: t}, err
	}
	if s.bearers == nil {
		return Caller{}, fault.Coded(fault.Unauthenticated, "login.authorization", "Access tokens are not taken here").WithMend("run `carnet login`")
	}
	session, err := s.bearers.ResumeAccess(ctx, t)
	return Caller{Session: session, AccessToken: t}, err
}

// ByThemselves is the fault on what a program may not do in a person's name,
// whatever it was approved for.
func ByThemselves(what string) error {
	return fault.Coded(fault.Denied, CodeThemselves, what+" is for people themselves: no program does it with an access token").
		WithMend("use the pages, or the command line after `carnet login`")
}

// CodeThemselves is the code of ByThemselves.
const CodeThemselves = "login.by-a-program"

// CodeSignIn is the code of the fault on a request without any proof.
const CodeSignIn = "login.required"

func waitingForSetup() error {
	return fault.Coded(fault.Misconfigured, "setup.pending", "Carnet is not set up yet: it waits for its first administrator").
		WithMend("open the set-up link that the server printed at its first start; `carnet admin recover` on the server makes a new one")
}

// needsSetup asks until set-up is done, and never again after that.
func (s *Site) needsSetup(ctx context.Context) (bool, error) {
	if s.ready.Load() {
		return false, nil
	}
	waiting, err := s.sessions.NeedsSetup(ctx)
	if err == nil && !waiting {
		s.ready.Store(true)
	}
	return waiting, err
}

// fail writes the fault of err, unless the answer has begun.
func (row *row) fail(w http.ResponseWriter, r *http.Request, err error) {
	var tooLong *http.MaxBytesError
	f := fault.Of(err)
	switch {
	case errors.As(err, &tooLong):
		f = fault.Coded(fault.TooLarge, "request.body", "The request is larger than "+strconv.FormatInt(tooLong.Limit, 10)+" bytes").WithCause(err)
	case errors.Is(err, context.DeadlineExceeded) && f.Kind == fault.Internal:
		f = fault.Wrap(err, fault.Unavailable, "The answer took too long").WithMend("try again")
	}
	if rec, ok := w.(*recorder); ok {
		rec.fault = f
		if identity.RequestIDFrom(r.Context()) == "" {
			r = r.WithContext(identity.WithRequestID(r.Context(), rec.id))
		}
		if rec.status != 0 {
			rec.half = true
			return // half an answer is out, and is cut off: the log has the fault
		}
	}
	for _, h := range []string{"Content-Length", "Content-Disposition", "Etag", "Last-Modified"} {
		w.Header().Del(h)
	}
	w.Header().Set("Cache-Control", "no-store")
	if f.Kind == fault.Unavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", RetryAfter)
	}
	row.Errors(w, r, f)
}
