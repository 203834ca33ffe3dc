package httpd

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Access says who may call a route. The zero value is no rule, and refused.
type Access uint8

// The rules, from the widest to the narrowest.
const (
	noRule Access = iota
	// Open: anyone, at any time. For what holds nothing of anyone.
	Open
	// Setup: anyone, also before set-up is done. The handler asks for the
	// one-use code.
	Setup
	// Public: anyone, once set-up is done. For the steps of sign-in.
	Public
	// Visitor: anyone, once set-up is done; the caller is known where they have
	// a login session.
	Visitor
	// Node: a node of a cluster, by its access token. Nobody else is told more than
	// that.
	Node
	// Machine: a service principal, by its access token.
	Machine
	// Provisioner: a provisioning system (SCIM), by its bearer token. Nothing else
	// opens these, and it opens nothing else.
	Provisioner
	// Person: whoever has a login session.
	Person
	// Administrator: whoever has a login session as an administrator, by cookie or
	// CLI token: no access token opens these.
	Administrator
)

// String names the rule as the table's listing does.
func (a Access) String() string {
	switch a {
	case Open:
		return "open"
	case Setup:
		return "setup"
	case Public:
		return "public"
	case Visitor:
		return "visitor"
	case Node:
		return "node"
	case Machine:
		return "machine"
	case Provisioner:
		return "provisioner"
	case Person:
		return "person"
	case Administrator:
		return "administrator"
	default:
		return "none"
	}
}

// Rate bounds how often one source may call: one request per Every, with Burst
// at once. A source is an IPv4 address or an IPv6 /64. Routes with an equal
// Rate share the count.
type Rate struct {
	Name  string
	Every time.Duration
	Burst int
}

// The rates of the house. An office behind one address signs in at nine.
var (
	RateStatic = Rate{"static", 2 * time.Millisecond, 1000}
	RatePage   = Rate{"page", 20 * time.Millisecond, 200}
	RateSignIn = Rate{"sign-in", 50 * time.Millisecond, 100}
	RateSecret = Rate{"secret", time.Second, 30} // whoever presents a one-use code
	RateAPI    = Rate{"api", 10 * time.Millisecond, 500}
	RateNode   = Rate{"node", 2 * time.Millisecond, 2000} // whoever proves a node; several may share an address
)

// Handler serves one route. An error it returns is written by the row's
// ErrorWriter; it must not have begun the answer then.
type Handler func(w http.ResponseWriter, r *http.Request) error

// ErrorWriter writes a fault to a client, in the manner of one face.
type ErrorWriter func(w http.ResponseWriter, r *http.Request, f *fault.Fault)

// Route is one row of the table.
type Route struct {
	Method  string // GET covers HEAD
	Pattern string // as of http.ServeMux, without method and host
	Access  Access
	Rate    Rate
	// MaxBody bounds the request's body, in bytes. 0: no body is read.
	MaxBody int64
	// InFlight bounds how many requests of one source run at once; 0 means no
	// bound. For routes on which a stranger makes us work.
	InFlight int
	// CLIToken admits the bearer of a CLI token or of an access token for our
	// API, not only a browser's cookie.
	CLIToken bool
	// CrossSite admits a post from another site's page. The assertion
	// consumer alone has it.
	CrossSite bool
	// AnyHost answers whatever the Host header says; for probes.
	AnyHost bool
	// Document marks a public document, the same for everyone: its answers carry
	// nothing that is for pages alone, and are logged for debugging only, but for
	// refusals. Its pattern is one path.
	Document bool
	// Hosts are values of the Host header, host:port, that this row answers to
	// beside those of the site.
	Hosts   []string
	Errors  ErrorWriter
	Handler Handler
}

// check holds the rules of the table for one row.
func (r Route) check() error {
	var problems []error
	say := func(bad bool, what string) {
		if bad {
			problems = append(problems, errors.New(what))
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		say(true, "unknown method")
	}
	say(r.Pattern == "" || r.Pattern[0] != '/', "pattern must begin with /")
	say(r.Access == noRule || r.Access > Administrator, "no access rule")
	say(r.Rate.Every <= 0 || r.Rate.Burst <= 0, "no rate limit")
	say(r.Errors == nil || r.Handler == nil, "no handler or error writer")
	say(r.CLIToken && r.Access < Person, "a CLI token on a route that asks for nobody")
	say(r.Method == http.MethodGet && (r.MaxBody > 0 || r.CrossSite), "a GET takes no body and changes nothing")
	if len(problems) > 0 {
		return fmt.Errorf("httpd: route %q %q: %w", r.Method, r.Pattern, errors.Join(problems...))
	}
	return nil
}
