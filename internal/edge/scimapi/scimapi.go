// Package scimapi serves SCIM 2.0 (RFC 7644) to provisioning systems, at /scim/v2
// and at the address that drop-in clients know.
//
// It reads requests and writes documents; what they mean is decided by
// service/provisioning. Every row but that of /Me is a Provisioner's in the table of
// routes: httpd proves its bearer token, made by an administrator, before a handler
// here runs; /Me is a person's own, by their login session. It must never answer a
// cookie elsewhere, nor a token in an address.
package scimapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/scim"
	"carnet.dev/carnet/internal/service/provisioning"
)

// Provisioning answers provisioning systems.
type Provisioning interface {
	Create(ctx context.Context, c provisioning.Caller, k provisioning.Kind, text []byte) (provisioning.Found, error)
	Get(ctx context.Context, c provisioning.Caller, k provisioning.Kind, id string) (provisioning.Found, error)
	Replace(ctx context.Context, c provisioning.Caller, k provisioning.Kind, id string, text []byte, match string) (provisioning.Found, error)
	Patch(ctx context.Context, c provisioning.Caller, k provisioning.Kind, id string, text []byte, match string) (provisioning.Found, error)
	Delete(ctx context.Context, c provisioning.Caller, k provisioning.Kind, id, match string) error
}

// Lists gives pages.
type Lists interface {
	List(ctx context.Context, c provisioning.Caller, k provisioning.Kind, q provisioning.Query) (provisioning.Listed, error)
}

// Config is what the face stands on.
type Config struct {
	Provisioning Provisioning
	Lists        Lists
	// Roles gives ARNs of roles that a provider may give, to choose from; not all
	// have to be there.
	Roles func(idp identity.IdPID) []string
	Now   func() time.Time
}

// Bases are the addresses under which everything is served.
var Bases = [...]string{"/scim/v2", "/api/2.0/preview/scim/v2"}

// A credential may ask this often; the rows' own rate is for strangers.
const (
	perSecond = 25
	burst     = 50
	maxBulk   = 4 << 20
)

var rateSCIM = httpd.Rate{Name: "scim", Every: 10 * time.Millisecond, Burst: 500}

type face struct {
	Config

	mu     sync.Mutex
	limits map[identity.CredentialID]*rate.Limiter
}

// Routes gives the rows of the table.
func Routes(c Config) []httpd.Route {
	f := &face{Config: c, limits: map[identity.CredentialID]*rate.Limiter{}}
	var all []httpd.Route
	for _, base := range Bases {
		offered := map[string][]string{}
		row := func(method, pattern string, h handler) {
			offered[pattern] = append(offered[pattern], method)
			r := httpd.Route{Method: method, Pattern: base + pattern, Access: httpd.Provisioner, Rate: rateSCIM, Errors: writeFault, InFlight: 32, Handler: f.counted(h)}
			if method != http.MethodGet && method != http.MethodDelete {
				r.MaxBody = scim.MaxDocument
			}
			if pattern == "/Bulk" && method == http.MethodPost {
				r.MaxBody = maxBulk
			}
			all = append(all, r)
		}
		for _, k := range []provisioning.Kind{provisioning.User, provisioning.Group, provisioning.ServicePrincipal} {
			at := k.Type().Endpoint
			row(http.MethodGet, at, f.list(k))
			row(http.MethodPost, at, f.create(k))
			row(http.MethodPost, at+"/.search", f.search(k))
			row(http.MethodGet, at+"/{id}", f.get(k))
			row(http.MethodPut, at+"/{id}", f.replace(k))
			row(http.MethodPatch, at+"/{id}", f.patch(k))
			row(http.MethodDelete, at+"/{id}", f.remove(k))
		}
		row(http.MethodPost, "/Bulk", f.bulk)
		row(http.MethodPost, "/.search", f.searchAll)
		all = append(all, httpd.Route{Method: http.MethodGet, Pattern: base + "/Me", Access: httpd.Person, CLIToken: true, Rate: httpd.RateAPI, Errors: writeFault, Handler: f.me})
		row(http.MethodGet, "/ServiceProviderConfig", serviceProviderConfig)
		row(http.MethodGet, "/ResourceTypes", resourceTypes)
		row(http.MethodGet, "/ResourceTypes/{id}", resourceTypes)
		row(http.MethodGet, "/Schemas", f.schemas)
		row(http.MethodGet, "/Schemas/{id}", f.schemas)
		for pattern, methods := range maps.Clone(offered) {
			for _, m := range methodNames {
				if !slices.Contains(methods, m) {
					row(m, pattern, notOffered(methods))
				}
			}
		}
		for _, m := range methodNames {
			row(m, "/{rest...}", nothing)
		}
	}
	return all
}

var methodNames = [...]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func nothing(http.ResponseWriter, *http.Request, provisioning.Caller) error {
	return fault.New(fault.NotFound, "There is nothing at this address")
}

// codeMethod is answered with 405.
const codeMethod = "scim.method"

func notOffered(methods []string) handler {
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, _ *http.Request, _ provisioning.Caller) error {
		w.Header().Set("Allow", allow)
		return fault.Coded(fault.Invalid, codeMethod, "This address takes "+allow+" alone")
	}
}

type handler func(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error

// counted lets the request of a provisioning system through, so often a second.
func (f *face) counted(h handler) httpd.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		c := httpd.CallerOf(r).Provisioner
		if c.Credential == "" {
			return fault.New(fault.Internal, "a provisioning system was not proven")
		}
		if wait := f.wait(c.Credential); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
			return fault.New(fault.Limited, "Too many requests: 25 a second are answered")
		}
		return h(w, r, c)
	}
}

// wait is how long a credential has to wait for its next request; 0: not at all.
func (f *face) wait(id identity.CredentialID) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.limits[id]
	if l == nil {
		l = rate.NewLimiter(perSecond, burst) // credentials are few, and proven
		f.limits[id] = l
	}
	now := f.Now()
	if l.AllowN(now, 1) {
		return 0
	}
	return max(time.Duration((1-l.TokensAt(now))/perSecond*float64(time.Second)), time.Millisecond)
}

// writeFault answers with a fault as SCIM has it.
func writeFault(w http.ResponseWriter, _ *http.Request, f *fault.Fault) {
	status := Status(f)
	if f.Kind == fault.Unauthenticated {
		w.Header().Set("WWW-Authenticate", `Bearer realm="scim"`)
	}
	write(w, status, scim.WriteError(f, status))
}

// Status maps a fault to the status of RFC 7644, section 3.12.
func Status(f *fault.Fault) int {
	switch f.Code {
	case provisioning.CodeVersion:
		return http.StatusPreconditionFailed
	case codeMethod:
		return http.StatusMethodNotAllowed
	}
	return httpd.Status(f.Kind)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", scim.MediaType)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is none of our failures
}

func writeJSON(w http.ResponseWriter, status int, document any) error {
	b, err := json.Marshal(document)
	if err == nil {
		write(w, status, b)
	}
	return err
}

// body reads a document; the row has bounded it.
func body(r *http.Request) ([]byte, error) {
	if t := r.Header.Get("Content-Type"); t != "" {
		name, _, _ := strings.Cut(t, ";")
		if name = strings.ToLower(strings.TrimSpace(name)); name != scim.MediaType && name != "application/json" {
			return nil, fault.Coded(fault.Invalid, scim.CodeSyntax, "The content type has to be "+scim.MediaType)
		}
	}
	b, err := io.ReadAll(r.Body)
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return nil, fault.Coded(fault.TooLarge, "scim.tooLarge", "The document is too long").WithCause(err)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "The document broke off")
	}
	return b, nil
}
