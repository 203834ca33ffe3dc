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
	CheckEncrypted         = "saml.encrypted"           // encrypted where that is off, or in the clear where it has to be
	CheckEncryptionShape   = "saml.encryption-shape"    // the encrypted part is not of the allowed form
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
	CheckAuthnContext      = "saml.authn-context"       // signed in by another way than required
	CheckAuthnInstant      = "saml.authn-instant"       // signed in before the time required
	CheckLoginSessionEnded = "saml.login-session-ended" // past SessionNotOnOrAfter
	CheckQuery             = "saml.query"               // a redirect whose parameters are missing, doubled or malformed
	CheckAttribute         = "saml.attribute"           // malformed attribute
	CheckMetadata          = "saml.metadata"            // metadata can't be used
)

// mends says for each check what to do next, where one thing mostly helps.
var mends = map[string]string{
	CheckStatus:            "try again; if it stays, ask the administrator of the identity provider",
	CheckEncrypted:         "set assertion encryption alike at the identity provider and here; names and attributes alone can't be encrypted",
	CheckUnsigned:          "have the identity provider sign the response, the assertion, or both, as it is set here, and logout messages too",
	CheckAlgorithm:         "have the identity provider sign with RSA or ECDSA and SHA-256 or better, and encrypt with AES-GCM and RSA-OAEP",
	CheckSignature:         "import the identity provider's current metadata; if that does not help, the message was changed on its way",
	CheckCertificate:       "import the identity provider's current metadata",
	CheckIssuer:            "import the metadata of the identity provider that sent it",
	CheckDestination:       "set the SAML URL of this installation as ACS and logout URL at the identity provider",
	CheckInResponseTo:      "begin the sign-in again, in one window",
	CheckUnsolicited:       "begin the sign-in at Carnet",
	CheckRecipient:         "set the SAML URL of this installation as recipient at the identity provider",
	CheckConfirmationTime:  "sign in again; if it stays, compare the clocks of the identity provider and of this server",
	CheckNotBefore:         "compare the clocks of the identity provider and of this server",
	CheckExpired:           "sign in again; if it stays, compare the clocks of the identity provider and of this server",
	CheckIssueInstant:      "compare the clocks of the identity provider and of this server",
	CheckAudience:          "set the SAML URL of this installation as audience at the identity provider",
	CheckAuthnContext:      "have the identity provider honour RequestedAuthnContext, or change the required ways here",
	CheckAuthnInstant:      "have the identity provider honour ForceAuthn, or switch it off here",
	CheckLoginSessionEnded: "sign in again",
	CheckMetadata:          "export the metadata at the identity provider again",
}

// refuse makes the refusal of a check, with what to do next.
func refuse(kind fault.Kind, check, public string) *fault.Fault {
	return fault.Coded(kind, check, public).WithMend(mends[check])
}
