package node

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/internal/edge/node/localhttp"
	"carnet.dev/carnet/internal/edge/node/peer"
	"carnet.dev/carnet/internal/service/binding"
)

// Socket is the agent's HTTP over a unix socket (documents: localdoc). Serve it over
// peer.Unix.
type Socket struct {
	Bindings Bindings
	// Attaching begins and ends attachments of callers.
	Attaching *Attaching
	// About says what the node is: all of a Status but its attachment.
	About func() localdoc.Status
	// Files names the files that the agent keeps for an attachment; empty: none.
	Files func(a *binding.Attachment) (token, webIdentity string)
	// Ready says why the agent is not ready; empty: it is.
	Ready func() []string
	// Engine is the uid that may read the mapping of Trino; nil Mapping: nobody.
	Engine  uint32
	Mapping Mapping
	// Connections serves the same uid; nil: nobody.
	Connections Connections
	Logger      *slog.Logger
}

// maxBody bounds a document of a local program.
const maxBody = 16 << 10

// handler answers one route: a document, nil for 204, or a fault.
type handler func(r *http.Request) (any, error)

// Handler gives the routes.
func (s *Socket) Handler() http.Handler {
	routes := map[string]handler{
		"GET /v1/status":       s.status,
		"POST /v1/attach":      s.attach,
		"POST /v1/attach/poll": s.poll,
		"POST /v1/detach":      s.detach,
		"GET /v1/keys":         s.keys,
		"GET /v1/id-token":     s.idToken,
		"GET /v1/roles":        s.roles,
		"PUT /v1/role":         s.setRole,
		"GET /v1/bearer":       s.bearer,
		"GET /v1/trino":        s.trino,
		"POST /v1/jdbc":        s.jdbc,
		"GET /healthz":         func(*http.Request) (any, error) { return map[string]string{"status": "alive"}, nil },
		"GET /readyz":          s.ready,
	}
	hosts := localhttp.Hosts{"localhost"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := routes[r.Method+" "+r.URL.Path]
		var out any
		err := hosts.Check(r)
		switch {
		case err != nil:
		case h == nil:
			err = fault.Coded(fault.NotFound, CodePath, "The agent has nothing at "+fault.Clip(r.Method+" "+r.URL.Path))
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			out, err = h(r)
		}
		// What was found out is given only to the process that asked.
		if p := peer.Of(r.Context()); err == nil && p != nil {
			err = p.Alive()
		}
		s.write(w, r, out, err)
	})
}

func (s *Socket) write(w http.ResponseWriter, r *http.Request, out any, err error) {
	if err != nil {
		f := fault.Of(err)
		if f.Cause != nil && f.Kind == fault.Internal {
			s.Logger.Error("a local request failed", "path", r.URL.Path, "error", err)
		}
		writeJSON(w, status(f.Kind), "application/problem+json", localdoc.Problem{
			Status: status(f.Kind), Detail: f.Public, Kind: f.Kind.String(), Code: f.Code, Mend: f.Mend,
		})
		return
	}
	if out == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", out)
}

// read takes a document; unknown fields are those of newer programs.
func read(r *http.Request, into any) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return fault.Wrap(err, fault.TooLarge, "The request is too long")
	}
	if len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fault.Wrap(err, fault.Invalid, "The request is no document that the agent reads")
	}
	return nil
}

// mine finds the caller's attachment; without one it is NotFound.
func (s *Socket) mine(r *http.Request) (*binding.Attachment, error) {
	a, err := Attached(s.Bindings, r)
	if f := fault.Of(err); err != nil && (f.Code == binding.CodeUnattached || f.Code == binding.CodeScope) {
		c := *f
		c.Kind = fault.NotFound
		return nil, &c
	}
	return a, err
}

func (s *Socket) status(r *http.Request) (any, error) {
	out := s.About()
	caller, err := peer.Of(r.Context()).Caller()
	if err != nil {
		return out, nil // root may look, and has nothing
	}
	if a, err := s.Bindings.Of(caller); err == nil {
		out.Attachment = s.document(a)
	}
	return out, nil
}

func (s *Socket) document(a *binding.Attachment) *localdoc.Attachment {
	d := &localdoc.Attachment{ID: string(a.ID), Name: a.Name, Account: a.Account, Scope: a.Scope, Role: a.Role, Expires: a.Expires.UTC().Truncate(time.Second)}
	if s.Files != nil {
		d.TokenFile, d.WebIdentityFile = s.Files(a)
	}
	return d
}

func (s *Socket) keys(r *http.Request) (any, error) {
	a, role, err := s.asked(r)
	if err != nil {
		return nil, err
	}
	k, err := s.Bindings.Keys(r.Context(), a, role)
	if err != nil {
		return nil, err
	}
	return localdoc.Keys{
		AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey.Reveal(), SessionToken: k.SessionToken.Reveal(), Expiration: k.Expiration,
		Role: k.Role, AccountID: k.AccountID, Region: k.Region, S3: k.S3, STS: k.STS,
	}, nil
}

func (s *Socket) idToken(r *http.Request) (any, error) {
	a, role, err := s.asked(r)
	if err != nil {
		return nil, err
	}
	t, err := s.Bindings.IDToken(r.Context(), a, role)
	if err != nil {
		return nil, err
	}
	return localdoc.IDToken{Token: t.Token.Reveal(), Expires: t.Expires.UTC(), Role: t.Role, Region: t.Region, STS: t.STS}, nil
}

// asked reads which role a caller wants.
func (s *Socket) asked(r *http.Request) (*binding.Attachment, string, error) {
	query := r.URL.Query()
	for name, values := range query {
		if name != "role" || len(values) != 1 {
			return nil, "", fault.Coded(fault.Invalid, CodePath, "The only parameter here is role, once")
		}
	}
	role, err := roleText(query.Get("role"))
	if err != nil {
		return nil, "", err
	}
	a, err := s.mine(r)
	return a, role, err
}

func (s *Socket) roles(r *http.Request) (any, error) {
	a, err := s.mine(r)
	if err != nil {
		return nil, err
	}
	all, err := s.Bindings.Roles(r.Context(), a)
	return rolesDocument(all), err
}

func (s *Socket) setRole(r *http.Request) (any, error) {
	var in localdoc.SetRole
	if err := read(r, &in); err != nil {
		return nil, err
	}
	role, err := roleText(in.Role)
	if err != nil {
		return nil, err
	}
	a, err := s.mine(r)
	if err != nil {
		return nil, err
	}
	all, err := s.Bindings.SetRole(r.Context(), a, role)
	return rolesDocument(all), err
}

func rolesDocument(all []binding.Role) localdoc.Roles {
	out := localdoc.Roles{Roles: []localdoc.Role{}}
	for _, x := range all {
		out.Roles = append(out.Roles, localdoc.Role{ARN: x.ARN, Current: x.Current, Trouble: x.Trouble})
	}
	return out
}

func (s *Socket) bearer(r *http.Request) (any, error) {
	a, err := s.mine(r)
	if err != nil {
		return nil, err
	}
	return localdoc.Bearer{Token: a.Token.Reveal()}, nil
}

func (s *Socket) trino(r *http.Request) (any, error) {
	caller, err := peer.Of(r.Context()).Caller()
	switch {
	case err != nil:
		return nil, err
	case s.Mapping == nil || caller.UID != s.Engine:
		return nil, fault.Coded(fault.Denied, CodeEngine, "The mapping is for the account of the engine alone").
			WithMend("run Trino under the account that the agent's engine_account names")
	}
	return s.Mapping.Trino(r.Context())
}

// jdbc serves the engine: who connects to it is proven to the server, not here.
func (s *Socket) jdbc(r *http.Request) (any, error) {
	caller, err := peer.Of(r.Context()).Caller()
	switch {
	case err != nil:
		return nil, err
	case s.Connections == nil || caller.UID != s.Engine:
		return nil, fault.Coded(fault.Denied, CodeEngine, "Connections are for the account of the engine alone").
			WithMend("run the engine under the account that the agent's engine_account names")
	}
	var in localdoc.JDBC
	if err := read(r, &in); err != nil {
		return nil, err
	}
	return s.Connections.JDBC(r.Context(), in)
}

func (s *Socket) ready(*http.Request) (any, error) {
	if why := s.Ready(); len(why) > 0 {
		return nil, fault.Coded(fault.Unavailable, "node.not-ready", "The agent is not ready: "+why[0])
	}
	return map[string]string{"status": "ready"}, nil
}
