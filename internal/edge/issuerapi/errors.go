package issuerapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// ErrorDocument is an error as OAuth writes it (RFC 6749, section 5.2).
type ErrorDocument struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// statuses maps the error codes of OAuth to HTTP statuses (RFC 6749, RFC 6750,
// RFC 7009, RFC 8628, RFC 8693, RFC 9396). A fault whose Code is one of them is
// answered with it.
var statuses = map[string]int{
	"invalid_request":           http.StatusBadRequest,
	"invalid_client":            http.StatusUnauthorized,
	"invalid_grant":             http.StatusBadRequest,
	"unauthorized_client":       http.StatusBadRequest,
	"unsupported_grant_type":    http.StatusBadRequest,
	"unsupported_response_type": http.StatusBadRequest,
	"unsupported_token_type":    http.StatusBadRequest,
	"invalid_scope":             http.StatusBadRequest,
	"invalid_target":            http.StatusBadRequest,
	"access_denied":             http.StatusBadRequest,
	"authorization_pending":     http.StatusBadRequest,
	"slow_down":                 http.StatusBadRequest,
	"expired_token":             http.StatusBadRequest,
	"invalid_token":             http.StatusUnauthorized,
	"insufficient_scope":        http.StatusForbidden,
	"server_error":              http.StatusInternalServerError,
	"temporarily_unavailable":   http.StatusServiceUnavailable,
}

// ErrorOf maps a fault to an error code of OAuth and its status.
func ErrorOf(f *fault.Fault) (code string, status int) {
	if status, known := statuses[f.Code]; known {
		return f.Code, status
	}
	if f.Code == codeNoToken {
		return "invalid_token", http.StatusUnauthorized
	}
	switch f.Kind {
	case fault.Unauthenticated:
		return "invalid_client", http.StatusUnauthorized
	case fault.Denied:
		return "access_denied", http.StatusForbidden
	case fault.Expired, fault.Revoked:
		return "invalid_grant", http.StatusBadRequest
	case fault.NotFound:
		return "invalid_request", http.StatusNotFound
	case fault.TooLarge:
		return "invalid_request", http.StatusRequestEntityTooLarge
	case fault.Invalid, fault.Conflict, fault.Unsupported:
		return "invalid_request", http.StatusBadRequest
	case fault.Limited:
		return "temporarily_unavailable", http.StatusTooManyRequests
	case fault.Unavailable, fault.Misconfigured:
		return "temporarily_unavailable", http.StatusServiceUnavailable
	default:
		return "server_error", http.StatusInternalServerError
	}
}

// WriteError is the ErrorWriter of all endpoints.
func WriteError(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	code, status := ErrorOf(f)
	text := f.Public
	if f.Mend != "" {
		text += ": " + f.Mend
	}
	body, err := json.Marshal(ErrorDocument{Error: code, Description: plain(text)})
	if err != nil {
		http.Error(w, http.StatusText(status), status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if status == http.StatusUnauthorized || code == "insufficient_scope" {
		h.Set("WWW-Authenticate", challenge(r, f.Code))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// challenge names the scheme that the client tried: a bearer of a token is told
// of that, everyone else of client authentication. Who brought no token is told
// of no error (RFC 6750, section 3.1).
func challenge(r *http.Request, code string) string {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case code == codeNoToken:
		return `Bearer realm="carnet"`
	case code == "invalid_token" || code == "insufficient_scope" || strings.EqualFold(scheme, "Bearer"):
		return `Bearer realm="carnet", error="` + plain(code) + `"`
	}
	return `Basic realm="carnet"`
}

// plain keeps the characters that error_description may have (RFC 6749, section
// 5.2).
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < 0x20 || r > 0x7e:
			return '?'
		}
		return r
	}, s)
}
