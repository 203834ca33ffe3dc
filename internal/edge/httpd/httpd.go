// Package httpd stands between the network and the handlers of the web port:
// pages and API.
//
// All routes are rows of one table: method, pattern, who may call, how often,
// how much body. A row's rules are applied in one place, in one order, before
// its handler runs; what is not a row is answered 404. Every request gets an
// id, which stands in the answer's header, in its body on failure, and in the
// log. Handlers return faults; each face (page, API) writes them in its way.
//
// It must never trust a header for the source address or the request id, log
// a query, a cookie or a body, or let a handler run on a row without rules.
package httpd

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/provisioning"
)

// Sessions is what httpd asks about login sessions.
type Sessions interface {
	// Resume gives the login session of a browser's cookie.
	Resume(ctx context.Context, cookie secret.Text) (login.LoginSession, error)
	// ResumeCLI gives the login session of a CLI token.
	ResumeCLI(ctx context.Context, token secret.Text) (login.LoginSession, error)
	// NeedsSetup reports whether nobody can sign in yet.
	NeedsSetup(ctx context.Context) (bool, error)
}

// AccessTokens is what httpd asks about access tokens (RFC 9068).
type AccessTokens interface {
	// ResumeAccess gives the login session of an access token for our API.
	ResumeAccess(ctx context.Context, token secret.Text) (login.LoginSession, error)
}

// Nodes is what httpd asks about nodes of clusters.
type Nodes interface {
	// NodeOf gives the node of its access token, from memory.
	NodeOf(ctx context.Context, token secret.Text) (cluster.Node, error)
}

// Machines is what httpd asks about service principals.
type Machines interface {
	// MachineOf gives the service principal of an access token that opens our API.
	MachineOf(ctx context.Context, token secret.Text) (identity.ServicePrincipalID, error)
}

// Provisioners is what httpd asks about provisioning systems.
type Provisioners interface {
	// Authenticate gives whoever a bearer token proves, from memory.
	Authenticate(ctx context.Context, bearer secret.Text) (provisioning.Caller, error)
}

// Config is what a Site is made of. All fields but AlsoHosts, AccessTokens, Nodes,
// Machines and Provisioners are needed.
type Config struct {
	// BaseURL is where browsers reach this site; its scheme decides whether
	// cookies are Secure and HSTS is sent.
	BaseURL *url.URL
	// AlsoHosts are further values of the Host header to answer, host:port.
	AlsoHosts []string
	Sessions  Sessions
	// AccessTokens opens CLIToken rows to access tokens; nil: they are refused.
	AccessTokens AccessTokens
	// Nodes, Machines and Provisioners open the rows of those rules; nil: nobody is
	// admitted there.
	Nodes        Nodes
	Machines     Machines
	Provisioners Provisioners
	// Page writes a fault as a page, for requests that no row serves.
	Page   ErrorWriter
	Logger *slog.Logger
	Now    func() time.Time
}

// Site serves a table of routes.
type Site struct {
	cookies  Cookies
	hosts    map[string]bool
	hsts     bool
	sessions Sessions
	bearers  AccessTokens
	nodes    Nodes
	machines Machines
	systems  Provisioners
	ready    atomic.Bool // set-up is done; never goes back
	page     ErrorWriter
	log      *slog.Logger
	now      func() time.Time
	origin   *http.CrossOriginProtection
	mux      *http.ServeMux
	lost     *row
	rows     []Route
	// plain finds rows by method and path where their pattern is one path: the
	// same that mux would find, for less.
	plain map[string]map[string]*row
	// always and documents are headers that answers begin with.
	always, documents []header
}

// New makes a site of rows. A row that breaks a rule of the table is an error.
func New(c Config, tables ...[]Route) (*Site, error) {
	s := &Site{
		cookies: NewCookies(c.BaseURL), hosts: map[string]bool{}, hsts: c.BaseURL.Scheme == "https",
		sessions: c.Sessions, bearers: c.AccessTokens, nodes: c.Nodes, machines: c.Machines, systems: c.Provisioners, page: c.Page, log: c.Logger, now: c.Now,
		origin: http.NewCrossOriginProtection(), mux: http.NewServeMux(), plain: map[string]map[string]*row{},
	}
	s.always, s.documents = headers(s.hsts, false), headers(s.hsts, true)
	for _, h := range append([]string{c.BaseURL.Host}, c.AlsoHosts...) {
		s.hosts[plainHost(h)] = true
	}
	limits := map[Rate]*limiter{}
	for _, table := range tables {
		for _, r := range table {
			if err := r.check(); err != nil {
				return nil, err
			}
			if err := s.register(newRow(s, r, limits)); err != nil {
				return nil, err
			}
		}
	}
	s.lost = newRow(s, Route{Access: Open, Rate: RatePage, Errors: s.lostErrors, Handler: lost}, limits)
	s.mux.Handle("/", s.lost)
	return s, nil
}

// register adds one row; two rows that can serve the same request, and bad
// patterns, are errors (ServeMux panics on both).
func (s *Site) register(r *row) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("httpd: route %s %s: %v", r.Method, r.Pattern, p)
		}
	}()
	s.mux.Handle(r.Method+" "+r.Pattern, r)
	s.rows = append(s.rows, r.Route)
	if !strings.Contains(r.Pattern, "{") && !strings.HasSuffix(r.Pattern, "/") {
		if s.plain[r.Method] == nil {
			s.plain[r.Method] = map[string]*row{}
		}
		s.plain[r.Method][r.Pattern] = r
	}
	return nil
}

// Routes lists the table, for tests and for the documents that must match it.
func (s *Site) Routes() []Route { return append([]Route(nil), s.rows...) }

// ServeHTTP gives the request its id, sends it to its row, and logs it.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := identity.NewRequestID()
	rec := &recorder{ResponseWriter: w, site: s, id: id, started: s.now()}
	row := s.plain[r.Method][r.URL.Path]
	if r.URL.RawPath != "" {
		row = nil
	}
	document := row != nil && row.Document
	s.setHeaders(w.Header(), id, document)
	if !document { // row.fail gives a document's request its id too
		r = r.WithContext(identity.WithSource(identity.WithRequestID(r.Context(), id), Source(r)))
	}
	defer s.finish(rec, r)
	if row != nil {
		row.ServeHTTP(rec, r)
		return
	}
	if !cleanPath(r.URL.Path) {
		// ServeMux would answer these itself, with a redirect.
		s.lost.ServeHTTP(rec, r)
		return
	}
	s.mux.ServeHTTP(rec, r)
}

// cleanPath reports whether ServeMux takes the path as it is.
func cleanPath(p string) bool {
	if !strings.HasPrefix(p, "/") {
		return false
	}
	c := path.Clean(p)
	return c == p || c+"/" == p
}

// Source is the address of the peer. It comes from the connection alone.
func Source(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// plainHost lowers a Host value and drops the default ports.
func plainHost(h string) string {
	h = strings.ToLower(h)
	return strings.TrimSuffix(strings.TrimSuffix(h, ":443"), ":80")
}

func lost(http.ResponseWriter, *http.Request) error {
	return fault.Coded(fault.NotFound, "route.unknown", "There is nothing at this address").
		WithMend("go back to the start page")
}

// lostErrors answers a stray API call as the API does, all else with a page.
func (s *Site) lostErrors(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		Problem(w, r, f)
		return
	}
	s.page(w, r, f)
}
