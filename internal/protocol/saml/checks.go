package saml

import "carnet.dev/carnet/internal/core/fault"

// The codes of the checks, one per thing that can be wrong. They are stable:
// pages, logs, the API and tests name them.
const (
	CheckSize              = "saml.size"                // over the size limit
	CheckEncoding          = "saml.encoding"            // not base64
	CheckXML               = "saml.xml"                 // not well-formed, or outside the safe subset
	CheckDTD               = "saml.dtd"                 // a document type declaration
	CheckLimits            = "saml.limits"              // depth, elements, attributes, namespaces
	CheckShape             = "saml.shape"               // not one response with one assertion
	CheckStatus            = "saml.status"              // the identity provider answered with an error
	CheckEncrypted         = "saml.encrypted"           // encrypted assertion, name or attribute
	CheckVersion           = "saml.version"             // not SAML 2.0
	CheckID                = "saml.id"                  // an ID is missing, malformed or not unique
	CheckUnsigned          = "saml.unsigned"            // no signature where one has to be
	CheckSignaturePlace    = "saml.signature-place"     // a signature where none may be
	CheckSignatureShape    = "saml.signature-shape"     // reference or transforms are not the allowed ones
	CheckAlgorithm         = "saml.algorithm"           // algorithm outside the allow-list
	CheckSignature         = "saml.signature"           // no pinned key verifies it
	CheckCertificate       = "saml.certificate"         // the pinned certificate is outside its dates
	CheckIssuer            = "saml.issuer"              // assertion or response of another issuer
	CheckDestination       = "saml.destination"         // response for another URL
	CheckInResponseTo      = "saml.in-response-to"      // answers another request
	CheckUnsolicited       = "saml.unsolicited"         // answers no request, and that is not allowed
	CheckSubject           = "saml.subject"             // no usable NameID
	CheckConfirmation      = "saml.confirmation"        // no bearer confirmation with its data
	CheckRecipient         = "saml.recipient"           // confirmation for another URL
	CheckConfirmationTime  = "saml.confirmation-time"   // confirmation's time is over, or not stated
	CheckConditions        = "saml.conditions"          // none, or one we don't know
	CheckNotBefore         = "saml.not-before"          // not valid yet
	CheckExpired           = "saml.expired"             // valid no more
	CheckIssueInstant      = "saml.issue-instant"       // missing, malformed or in the future
	CheckAudience          = "saml.audience"            // made for another service provider
	CheckAuthnStatement    = "saml.authn-statement"     // none, or malformed
	CheckLoginSessionEnded = "saml.login-session-ended" // past SessionNotOnOrAfter
	CheckAttribute         = "saml.attribute"           // malformed attribute
	CheckMetadata          = "saml.metadata"            // metadata can't be used
)

func refuse(kind fault.Kind, check, public string) *fault.Fault {
	return fault.Coded(kind, check, public)
}
