package broker

import (
	"fmt"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/issuer"
)

// Failure says why a role can't be had: the AWS code and text, and how to
// mend it. The zero value is no failure.
type Failure struct {
	Code    string
	Message string
	Mend    string
}

// The four values that a sign-in's answer can carry in its header
// X-Databricks-PassThrough-Error.
const (
	ClassicValidation = "ValidationError"
	ClassicIdentity   = "InvalidIdentityToken"
	ClassicDenied     = "AccessDenied"
	ClassicMalformed  = "Malformed role name attribute"
)

// Classic gives the classic value for a failure; empty where there is none,
// as when STS was away or throttled.
func (f Failure) Classic() string {
	switch f.Code {
	case "ValidationError", "MalformedPolicyDocument", "PackedPolicyTooLarge", "PackedPolicyTooLargeException":
		return ClassicValidation
	case "InvalidIdentityToken", "InvalidIdentityTokenException", "ExpiredTokenException", "ExpiredToken",
		"IDPRejectedClaim", "IDPCommunicationError":
		return ClassicIdentity
	case "AccessDenied", "AccessDeniedException", "RegionDisabledException", "RegionDisabled":
		return ClassicDenied
	}
	return ""
}

// Warning is said of a role whose keys came, but not as they might: what it
// is, and the command by which an administrator mends it.
type Warning struct {
	Message string
	Command string
}

// comfortable is the life of keys below which people lose them in the middle
// of a day's work.
const comfortable = 4 * time.Hour

// shortLived warns of a role that grants less than the login session has left
// and less than is comfortable.
func shortLived(role arn.Role, granted, left time.Duration) Warning {
	if granted >= comfortable || granted >= left {
		return Warning{}
	}
	return Warning{
		Message: fmt.Sprintf("the keys of this role last %s at most, so you have to sign in again after that", inWords(granted)),
		Command: fmt.Sprintf("aws iam update-role --role-name %s --max-session-duration %d", role.Name, int(comfortable/time.Second)),
	}
}

// inWords gives a duration in hours and minutes.
func inWords(d time.Duration) string {
	h, m := int(d.Hours()), int(d.Minutes())%60
	switch {
	case h == 1 && m == 0:
		return "1 hour"
	case m == 0:
		return fmt.Sprintf("%d hours", h)
	case h == 0:
		return fmt.Sprintf("%d minutes", m)
	}
	return fmt.Sprintf("%d h %d min", h, m)
}

// tooLongFor reports whether STS refused the duration and nothing else
// ("The requested DurationSeconds exceeds the MaxSessionDuration set for this
// role.").
func tooLongFor(f *fault.Fault) bool {
	return f.Code == "ValidationError" && strings.Contains(f.Public, "DurationSeconds")
}

// tooLong is STS's length rule, found before the call.
func tooLong(n int) *Failure {
	return &Failure{
		Code: "ValidationError",
		Message: fmt.Sprintf("Value at 'sAMLAssertion' failed to satisfy constraint: Member must have length less than or equal to %d (this one has %d)",
			saml.MaxSTSCharacters, n),
		Mend: "an administrator has to shorten the response at the identity provider: send fewer roles and attributes to Carnet",
	}
}

// explain turns what STS said into a failure with a way to mend it.
func explain(f *fault.Fault, c entitlement.Candidate, assertion secret.Text) *Failure {
	if f.Code == "" {
		code := "InternalFailure"
		if f.Kind == fault.Unavailable || f.Kind == fault.Limited {
			code = "ServiceUnavailable"
		}
		return &Failure{Code: code, Message: "no answer from STS for account " + c.Account.ID,
			Mend: "sign in again in a moment; if it stays so, an administrator has to check the way from Carnet to STS"}
	}
	message := cut(f.Public, assertion)
	return &Failure{Code: f.Code, Message: message, Mend: mend(f.Code, message, c)}
}

// mend says what to do about an AWS error. The texts are AWS's own (IAM User
// Guide, "Troubleshoot SAML federation with IAM").
func mend(code, message string, c entitlement.Candidate) string {
	for _, m := range []struct{ code, text, mend string }{
		{"ValidationError", "Request ARN is invalid", "check the ARN of role %[1]s at the identity provider: role first, then the SAML provider"},
		{"ValidationError", "Principal ARN is invalid", "check the ARN of SAML provider %[2]s at the identity provider: role first, then the SAML provider"},
		{"ValidationError", "DurationSeconds", "set the maximum session duration of role %[1]s to one hour or more"},
		{"ValidationError", "", "check the values that the identity provider sends for role %[1]s"},
		{"PackedPolicyTooLarge", "", "send fewer or shorter session tags from the identity provider"},
		{"InvalidIdentityToken", "signature", "the metadata of SAML provider %[2]s is not this identity provider's current one: update it in account %[3]s"},
		{"InvalidIdentityToken", "Issuer not present", "the metadata of SAML provider %[2]s is of another identity provider: update it in account %[3]s"},
		{"InvalidIdentityToken", "provider doesn't exist", "create SAML provider %[2]s in account %[3]s, or mend its ARN at the identity provider"},
		{"InvalidIdentityToken", "RoleSessionName", "have the identity provider send the user name as " + saml.AttrRoleSessionName},
		{"InvalidIdentityToken", "", "compare the metadata of SAML provider %[2]s in account %[3]s with the identity provider's"},
		{"ExpiredToken", "redeemed within", "sign in again; if it stays so, check the clock of the identity provider"},
		{"ExpiredToken", "", "sign in again; if it stays so, have the identity provider issue assertions that are valid for 3 minutes or more"},
		{"IDP", "", "sign in again; if it stays so, check the identity provider"},
		{"AccessDenied", "", "check that role %[1]s exists and that its trust policy allows sts:AssumeRoleWithSAML to %[2]s with SAML:aud set to Carnet's SAML URL"},
		{"RegionDisabled", "", "activate the STS endpoint of this region in account %[3]s, or choose another region for it"},
		{"Throttl", "", "sign in again in a moment"},
	} {
		if strings.HasPrefix(code, m.code) && strings.Contains(message, m.text) {
			return fmt.Sprintf(m.mend+"%.0[1]s%.0[2]s%.0[3]s", c.Role, c.Provider, c.Account.ID)
		}
	}
	return "sign in again; if it stays so, ask an administrator to look at role " + c.Role.String()
}

// explainWeb turns what STS said of a token of ours into a fault with a way to
// mend it.
func explainWeb(f *fault.Fault, role arn.Role, m issuer.Minted) error {
	if f.Code == "" {
		return fault.Coded(fault.Unavailable, "ServiceUnavailable", "no answer from STS for account "+role.Account).WithCause(f).
			WithMend("try again in a moment; if it stays so, an administrator has to check the way from Carnet to STS")
	}
	message := cut(f.Public, m.Token)
	return fault.Coded(f.Kind, f.Code, message).WithMend(mendWeb(f.Code, message, role, m.Issuer))
}

// mendWeb says what to do about an AWS error (IAM User Guide, "Troubleshoot OIDC
// federation", "Pass session tags in AWS STS").
func mendWeb(code, message string, role arn.Role, issuer string) string {
	for _, m := range []struct{ code, text, mend string }{
		{"ValidationError", "DurationSeconds", "set the maximum session duration of role %[1]s to one hour or more"},
		{"ValidationError", "", "an administrator has to look at role %[1]s and its account"},
		{"PackedPolicyTooLarge", "", "send fewer or shorter session tags from the identity provider, or set tags: off for account %[3]s"},
		{"InvalidIdentityToken", "No OpenIDConnect provider", "create the OpenID Connect provider %[2]s in account %[3]s: carnet setup aws --oidc prints how"},
		{"InvalidIdentityToken", "audience", "add the client id sts.amazonaws.com to the OpenID Connect provider %[2]s in account %[3]s"},
		{"InvalidIdentityToken", "verification key", "see what the world reads of the issuer: carnet issuer check; %[2]s has to be reachable from account %[3]s"},
		{"InvalidIdentityToken", "", "compare the OpenID Connect provider of account %[3]s with the issuer %[2]s: carnet issuer check"},
		{"ExpiredToken", "", "check the clock of the Carnet server"},
		{"IDP", "", "STS can't read the keys of %[2]s: carnet issuer check shows what the world sees; then try again"},
		{"AccessDenied", "TagSession", "the trust policy of role %[1]s has to allow sts:TagSession, or set tags: off for account %[3]s"},
		{"AccessDenied", "SetSourceIdentity", "the trust policy of role %[1]s has to allow sts:SetSourceIdentity, or set source_identity: off for account %[3]s"},
		{"AccessDenied", "", "check that role %[1]s exists and that its trust policy allows sts:AssumeRoleWithWebIdentity, sts:TagSession and sts:SetSourceIdentity " +
			"to the OpenID Connect provider %[2]s, with audience sts.amazonaws.com and a subject that fits: carnet setup aws --oidc prints it"},
		{"RegionDisabled", "", "activate the STS endpoint of this region in account %[3]s, or choose another region for it"},
		{"Throttl", "", "try again in a moment"},
	} {
		if strings.HasPrefix(code, m.code) && strings.Contains(message, m.text) {
			return fmt.Sprintf(m.mend+"%.0[1]s%.0[2]s%.0[3]s", role, issuer, role.Account)
		}
	}
	return "ask an administrator to look at role " + role.String()
}

// cut bounds a text of STS and takes any piece of the assertion, or of a token,
// out of it: validation errors may quote what was sent, which is a credential.
func cut(message string, assertion secret.Text) string {
	const most, piece = 800, 24
	if len(message) > most {
		message = message[:most]
	}
	raw := assertion.Reveal()
	var b strings.Builder
	for i := 0; i < len(message); {
		// Searching is dear, and a person may have hundreds of refused roles:
		// what is no run of base64 is no piece of the assertion.
		if run := base64Run(message[i:]); run < piece {
			end := min(i+run+1, len(message))
			b.WriteString(message[i:end])
			i = end
			continue
		}
		if strings.Contains(raw, message[i:i+piece]) {
			n := piece
			for i+n < len(message) && strings.Contains(raw, message[i:i+n+1]) {
				n++
			}
			b.WriteString("[assertion]")
			i += n
			continue
		}
		b.WriteByte(message[i])
		i++
	}
	return strings.ToValidUTF8(b.String(), "")
}

// base64Run counts the bytes up to the first that no base64 text and no token
// holds; broken lines are base64 too.
func base64Run(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("+/=-_.\r\n", c) < 0 {
			return i
		}
	}
	return len(s)
}
