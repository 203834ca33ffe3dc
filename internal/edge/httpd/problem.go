package httpd

import (
	"encoding/json"
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// ProblemDocument is a fault as the API writes it (RFC 9457). Type stays
// "about:blank": kind and code name the problem.
type ProblemDocument struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Kind      string `json:"kind"`
	Code      string `json:"code"`
	Mend      string `json:"mend"`
	RequestID string `json:"request_id"`
}

// Problem is the API's ErrorWriter.
func Problem(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	status := Status(f.Kind)
	b, err := json.Marshal(ProblemDocument{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: f.Public, Kind: f.Kind.String(), Code: f.Code, Mend: f.Mend,
		RequestID: string(identity.RequestIDFrom(r.Context())),
	})
	if err != nil {
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="carnet"`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
