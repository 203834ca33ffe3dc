package node

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/internal/edge/node/localhttp"
	"carnet.dev/carnet/internal/edge/node/peer"
	"carnet.dev/carnet/internal/service/binding"
)

// CredentialsPath is where the container endpoint gives keys of the current role; those
// of another lie below, by name or ARN.
const CredentialsPath = "/v1/credentials"

// TrinoPath gives the mapping of Trino, to the account of the engine alone.
const TrinoPath = "/v1/trino"

// The codes of refusals here.
const (
	CodeToken  = "node.token"  // no bearer token, or not that of the attachment
	CodeMethod = "node.method" // another method than GET
	CodePath   = "node.path"   // no such place
	CodeEngine = "node.engine" // not the engine's account
)

// Mapping gives Trino's, as the server wrote it.
type Mapping interface {
	Trino(ctx context.Context) (json.RawMessage, error)
}

// Connections serves those who connect to the engine of the node, by JDBC or ODBC.
type Connections interface {
	JDBC(ctx context.Context, ask localdoc.JDBC) (localdoc.JDBCConnection, error)
}

// Container is the container credentials endpoint (the protocol of ECS and of EKS Pod
// Identity). Serve it over peer.TCP.
type Container struct {
	Bindings Bindings
	Hosts    localhttp.Hosts
	Now      func() time.Time
	// Engine is the uid that may read the mapping of Trino; nil Mapping: nobody.
	Engine  uint32
	Mapping Mapping

	given, refused atomic.Int64
}

// Counts are the answers with keys, or the mapping, and the refusals since the start.
func (c *Container) Counts() (given, refused int64) { return c.given.Load(), c.refused.Load() }

// header values that every answer has; they are shared and never changed.
type headers struct{ kind, noStore, end []string }

func (c *Container) headers() headers {
	return headers{kind: []string{"application/json"}, noStore: []string{"no-store"}, end: []string{"close"}}
}

// Handler gives the endpoint's handler.
func (c *Container) Handler() http.Handler {
	shared := c.headers()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Content-Type"], h["Cache-Control"] = shared.kind, shared.noStore
		if peer.Of(r.Context()).Ending(c.Now()) {
			h["Connection"] = shared.end
		}
		body, err := c.answer(r)
		if err != nil {
			c.refused.Add(1)
			refuse(w, r, err)
			return
		}
		c.given.Add(1)
		_, _ = io.WriteString(w, body)
	})
}

// answer finds what a request gets.
func (c *Container) answer(r *http.Request) (string, error) {
	if err := c.Hosts.Check(r); err != nil {
		return "", err
	}
	if r.Method != http.MethodGet {
		return "", fault.Coded(fault.Unsupported, CodeMethod, "This endpoint answers GET alone")
	}
	if r.URL.Path == TrinoPath && c.Mapping != nil {
		return c.mapping(r)
	}
	role, err := roleOf(r)
	if err != nil {
		return "", err
	}
	a, err := Attached(c.Bindings, r)
	if err != nil {
		return "", err
	}
	if err := second(r, a); err != nil {
		return "", err
	}
	answer, err := c.Bindings.Keys(r.Context(), a, role)
	if err != nil {
		return "", err
	}
	return answer.Container, nil
}

// roleOf reads the role out of the path. SDKs send no query and no content.
func roleOf(r *http.Request) (string, error) {
	rest, ok := strings.CutPrefix(r.URL.Path, CredentialsPath)
	switch {
	case !ok || r.URL.RawQuery != "" || rest != "" && rest[0] != '/' || rest == "/":
		return "", fault.Coded(fault.NotFound, CodePath, "There is nothing at this address").WithMend("ask for " + CredentialsPath + ", or for " + CredentialsPath + "/ROLE")
	case r.ContentLength != 0:
		return "", fault.Coded(fault.Invalid, CodePath, "The request has content, and should have none")
	case rest == "":
		return "", nil
	}
	return roleText(rest[1:])
}

// second holds the bearer token to that of the attachment, which the kernel's word has
// chosen already.
func second(r *http.Request, a *binding.Attachment) error {
	given := r.Header["Authorization"]
	if len(given) == 1 && subtle.ConstantTimeCompare([]byte(given[0]), []byte(a.Token.Reveal())) == 1 {
		return nil
	}
	return fault.Coded(fault.Unauthenticated, CodeToken, "The bearer token of this attachment is missing, or is another").
		WithMend("set AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE as carnet attach says")
}

// mapping gives Trino's, to the engine's account.
func (c *Container) mapping(r *http.Request) (string, error) {
	caller, err := peer.Of(r.Context()).Caller()
	if err != nil {
		return "", err
	}
	if caller.UID != c.Engine {
		return "", fault.Coded(fault.Denied, CodeEngine, "The mapping is for the account of the engine alone").
			WithMend("run Trino under the account that the agent's engine_account names")
	}
	text, err := c.Mapping.Trino(r.Context())
	return string(text), err
}

// refuse writes an error as SDKs read it: some look for code and message, some for Code
// and Message.
func refuse(w http.ResponseWriter, _ *http.Request, err error) {
	f := fault.Of(err)
	message := f.Public
	if f.Mend != "" {
		message += "; " + f.Mend
	}
	code := status(f.Kind)
	if f.Code == CodeMethod {
		code = http.StatusMethodNotAllowed
		w.Header().Set("Allow", http.MethodGet)
	}
	writeJSON(w, code, "application/json", struct {
		Code         string `json:"code"`
		Message      string `json:"message"`
		UpperCode    string `json:"Code"`
		UpperMessage string `json:"Message"`
	}{name(f), message, name(f), message})
}
