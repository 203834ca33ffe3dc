package httpd

import (
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
)

// RetryAfter is what a refusal says that a moment later may not be one: the
// database, or another server's word, is away. A client that asks another server
// need not wait.
const RetryAfter = "2"

// Status maps a kind of fault to the HTTP status of pages and API. A kind
// without a line here is a failure of ours, and a test fails.
func Status(k fault.Kind) int {
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
	default:
		return http.StatusInternalServerError
	}
}
