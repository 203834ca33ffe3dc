package oauth

import "carnet.dev/carnet/internal/core/fault"

// The error codes of OAuth 2.0 and OpenID Connect: they are the codes of this
// package's faults.
const (
	InvalidRequest       = "invalid_request"        // RFC 6749 sections 4.1.2.1 and 5.2
	InvalidClient        = "invalid_client"         // RFC 6749 section 5.2
	InvalidGrant         = "invalid_grant"          // RFC 6749 section 5.2
	UnauthorizedClient   = "unauthorized_client"    // RFC 6749
	UnsupportedGrant     = "unsupported_grant_type" // RFC 6749 section 5.2
	UnsupportedResponse  = "unsupported_response_type"
	InvalidScope         = "invalid_scope"
	AccessDenied         = "access_denied"
	ServerError          = "server_error"
	TemporarilyAway      = "temporarily_unavailable"
	InvalidTarget        = "invalid_target" // RFC 8693 section 2.2.2, RFC 8707
	InvalidToken         = "invalid_token"  // RFC 6750 section 3.1
	InsufficientScope    = "insufficient_scope"
	UnsupportedTokenType = "unsupported_token_type" // RFC 7009 section 2.2.1
	LoginRequired        = "login_required"         // OpenID Connect Core section 3.1.2.6
	ConsentRequired      = "consent_required"
	RequestNotSupported  = "request_not_supported"
	RequestURINot        = "request_uri_not_supported"
	RegistrationNot      = "registration_not_supported"
	AuthorizationPending = "authorization_pending" // RFC 8628 section 3.5
	SlowDown             = "slow_down"
	ExpiredToken         = "expired_token"
)

// kindOf gives the kind of fault that a code is.
func kindOf(code string) fault.Kind {
	switch code {
	case InvalidClient, InvalidToken, LoginRequired, ConsentRequired:
		return fault.Unauthenticated
	case UnauthorizedClient, AccessDenied, InsufficientScope:
		return fault.Denied
	case UnsupportedGrant, UnsupportedResponse, UnsupportedTokenType, RequestNotSupported, RequestURINot, RegistrationNot:
		return fault.Unsupported
	case ServerError:
		return fault.Internal
	case TemporarilyAway:
		return fault.Unavailable
	case ExpiredToken:
		return fault.Expired
	case SlowDown:
		return fault.Limited
	}
	return fault.Invalid
}

// refuse makes the fault of a code.
func refuse(code, public string) *fault.Fault { return fault.Coded(kindOf(code), code, public) }
