package awsquery

import "carnet.dev/carnet/internal/core/fault"

// IAMErrorOf maps a fault to IAM's status, code and message: the one place
// where kinds meet IAM's codes (IAM API Reference, the errors of each
// operation and "Common Errors"). A fault with a code that IAM has keeps it.
func IAMErrorOf(f *fault.Fault) (status int, code, message string) {
	message = f.Public
	if f.Mend != "" {
		message += " (" + f.Mend + ")"
	}
	if status, ok := iamStatusOf(f.Code); ok {
		return status, f.Code, message
	}
	switch f.Kind {
	case fault.NotFound:
		return 404, "NoSuchEntity", message
	case fault.Conflict:
		return 409, "ConcurrentModification", message
	case fault.TooLarge:
		return 409, "LimitExceeded", message
	case fault.Internal, fault.Misconfigured:
		return 500, "ServiceFailure", "Carnet failed on this request; give the request id to your administrator."
	default:
		return ErrorOf(f)
	}
}

func iamStatusOf(code string) (int, bool) {
	switch code {
	case "InvalidInput", "MalformedPolicyDocument", "MalformedCertificate", "UnmodifiableEntity", "PolicyNotAttachable",
		"InvalidUserType", "OpenIdIdpCommunicationError":
		return 400, true
	case "NoSuchEntity":
		return 404, true
	case "EntityAlreadyExists", "DeleteConflict", "LimitExceeded", "EntityTemporarilyUnmodifiable", "ConcurrentModification":
		return 409, true
	case "PolicyEvaluation":
		return 500, true
	}
	return statusOf(code)
}
