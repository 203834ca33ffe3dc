package web

import (
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// reportPage shows what a test sign-in found.
type reportPage struct {
	login.Report
	Checks      []checkRow
	Certificate *certificate
	Ends        *clock
}

// IsOIDC reports whether it was by OpenID Connect.
func (p reportPage) IsOIDC() bool { return p.Protocol == federation.OIDC.String() }

// checkRow is one check in plain words.
type checkRow struct {
	login.Check
	Words string
}

// report shows the report of a test sign-in to the administrator's browser that
// began it.
func (web *Web) report(w http.ResponseWriter, r *http.Request) error {
	found, err := web.Arrivals.Report(r.Context(), secret.New(r.URL.Query().Get("handle")), web.cookies.PreLogin(r))
	if err != nil {
		return err
	}
	page := reportPage{Report: found}
	for _, c := range found.Checks {
		page.Checks = append(page.Checks, checkRow{c, words(c.Code)})
	}
	if c := found.Certificate; c.SHA256 != "" {
		page.Certificate = &certificate{Subject: c.Subject, SHA256: c.SHA256, Until: clock{c.NotAfter, left(c.NotAfter.Sub(web.Now()))}}
	}
	if !found.Ends.IsZero() {
		page.Ends = &clock{found.Ends, left(max(0, found.Ends.Sub(web.Now()), time.Duration(0)))}
	}
	return web.show(w, r, http.StatusOK, "report", frame{Title: "Test sign-in", Here: "sso", Page: page})
}

// words says what a check looks at.
func words(code string) string {
	if s, ok := checkWords[code]; ok {
		return s
	}
	return "Another rule"
}

// checkWords has a line for each code of a check.
var checkWords = map[string]string{
	saml.CheckSize: "It is not too large", saml.CheckEncoding: "It is base64", saml.CheckXML: "It is XML of the safe kind",
	saml.CheckDTD: "It has no document type", saml.CheckLimits: "It is not too deep or too wide",
	saml.CheckShape: "It is one response with one assertion", saml.CheckStatus: "The identity provider reports success",
	saml.CheckEncrypted: "It is encrypted as it is set here", saml.CheckEncryptionShape: "What is encrypted can be read",
	saml.CheckVersion: "It is SAML 2.0", saml.CheckID: "Its IDs are sound and unique",
	saml.CheckUnsigned: "What has to be signed is signed", saml.CheckSignaturePlace: "Signatures stand only where they may",
	saml.CheckSignatureShape: "Signatures cover the whole element", saml.CheckAlgorithm: "The algorithms are sound",
	saml.CheckSignature: "A certificate of the metadata verifies it", saml.CheckCertificate: "That certificate is within its dates",
	saml.CheckIssuer: "It comes from this identity provider (Issuer)", saml.CheckDestination: "It was sent to this address (Destination)",
	saml.CheckInResponseTo: "It answers the request of this test (InResponseTo)", saml.CheckUnsolicited: "Somebody here asked for it",
	saml.CheckSubject: "It names a person (NameID)", saml.CheckConfirmation: "It is for whoever bears it (SubjectConfirmation)",
	saml.CheckRecipient: "It may be used at this address (Recipient)", saml.CheckConfirmationTime: "It came in time",
	saml.CheckConditions: "Its conditions are ones that we know", saml.CheckNotBefore: "It is valid already (NotBefore)",
	saml.CheckExpired: "It is still valid (NotOnOrAfter)", saml.CheckIssueInstant: "Its time of issue is stated and not in the future",
	saml.CheckAudience: "It was made for this service (Audience)", saml.CheckAuthnStatement: "It says how the person signed in (AuthnStatement)",
	saml.CheckAuthnContext: "The person signed in by a way that is required (AuthnContext)", saml.CheckAuthnInstant: "The person signed in anew (ForceAuthn)",
	saml.CheckLoginSessionEnded: "The sign-in there has not ended (SessionNotOnOrAfter)", saml.CheckAttribute: "Its attributes can be read",
	"login.subject": "The name is one that this identity provider may sign in", "saml.nameid-transient": "The name is the same at each sign-in",
	"saml.nameid": "The user name is 1 to 256 printable characters", "saml.user-name": "The user name is among the attributes",
	"federation.domain":  "The user name’s domain is on the list",
	"login.session-name": "RoleSessionName is the person’s own",

	login.CheckAnswerIssuer: "The answer is from this identity provider (iss)", login.CheckAnswer: "The identity provider reports no error",
	login.CheckCode: "The code was traded for an ID token", login.CheckUserInfo: "The userinfo endpoint tells of the same person",
	oidc.CheckMalformed: "The ID token is a signed JWT", oidc.CheckType: "It is an ID token (typ)", oidc.CheckAlgorithm: "Its algorithm is sound (alg)",
	oidc.CheckKey: "Its key is one that the provider publishes (kid)", oidc.CheckSignature: "That key verifies it",
	oidc.CheckClaims: "It has every claim that it has to have", oidc.CheckIssuer: "It comes from this identity provider (iss)",
	oidc.CheckAudience: "It was made for this client (aud, azp)", oidc.CheckExpired: "It is still valid (exp)", oidc.CheckNotYet: "It is valid already (iat, nbf)",
	openid.CheckClient: "This client is among its audiences (aud)", openid.CheckNonce: "It was made for this test (nonce)",
	openid.CheckHash: "It belongs to the access token beside it (at_hash)", openid.CheckAuthTime: "The person signed in recently enough (auth_time)",
	openid.CheckContext: "The person signed in by a way that is asked for (acr)", login.CheckSubject: "It names a person (sub)",
	"oidc.user-name": "The user name is among the claims",
}
