// Package node is the agent's face towards the processes of its machine: the container
// credentials endpoint on loopback, and HTTP over a unix socket.
//
// Who is calling is known before a request is read (package peer). A handler finds the
// attachment of that caller for each request, asks for the second factor where there is
// one, and gives out what binding says. It must never look at what a request says about
// who sent it, and never write a secret before the kernel's word, the attachment and the
// token were all good.
package node

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/peer"
	"carnet.dev/carnet/internal/service/binding"
)

// Bindings says what a caller gets; see binding.Service.
type Bindings interface {
	Of(c binding.Caller) (*binding.Attachment, error)
	Keys(ctx context.Context, a *binding.Attachment, role string) (*binding.Answer, error)
	IDToken(ctx context.Context, a *binding.Attachment, role string) (*binding.IDToken, error)
	Roles(ctx context.Context, a *binding.Attachment) ([]binding.Role, error)
	SetRole(ctx context.Context, a *binding.Attachment, role string) ([]binding.Role, error)
}

// Attached names the attachment of whoever sent a request. Faults: Denied.
func Attached(b Bindings, r *http.Request) (*binding.Attachment, error) {
	caller, err := peer.Of(r.Context()).Caller()
	if err != nil {
		return nil, err
	}
	return b.Of(caller)
}

// maxRole bounds the text that names a role; ARNs have 2048 characters at most.
const maxRole = 2048

// roleText holds what a caller calls a role to printable ASCII.
func roleText(s string) (string, error) {
	bad := len(s) > maxRole
	for i := 0; i < len(s) && !bad; i++ {
		bad = s[i] <= ' ' || s[i] > '~'
	}
	if bad {
		return "", fault.Coded(fault.Invalid, "node.role", "This is no name of a role: "+fault.Clip(strings.ToValidUTF8(s, "?"))).WithMend("give its ARN or its name; list them: carnet role list")
	}
	return s, nil
}

// status maps kinds of faults to HTTP.
func status(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated, fault.Expired, fault.Revoked:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Unsupported:
		return http.StatusNotImplemented
	case fault.Unavailable, fault.Misconfigured:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// name is the code of a fault, or its kind where it has none.
func name(f *fault.Fault) string {
	if f.Code != "" {
		return f.Code
	}
	return f.Kind.String()
}

func writeJSON(w http.ResponseWriter, code int, kind string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n'))
}
