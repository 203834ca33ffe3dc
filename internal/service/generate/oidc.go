package generate

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// AudienceAWS is the audience of every token that STS is to take.
const AudienceAWS = "sts.amazonaws.com"

// BridgeRisk is what an administrator has to know before a role that trusts
// assertions also trusts Carnet's tokens.
const BridgeRisk = "whoever holds Carnet's issuer key can then act as anyone in roles that trust it"

// OIDC is trust in tokens that Carnet issues, for the subjects named here.
type OIDC struct {
	// Issuer is Carnet's registered issuer, not the address of its discovery
	// document: AWS appends that path by itself.
	Issuer string
	// Local says that the accounts are Carnet's own. Their authority takes an
	// issuer on a loopback address where iam.loopback_providers is on.
	Local bool
	// Subjects are principals as they stand in a token's sub: user:psn_…,
	// sp:spn_…, job:dlg_….
	Subjects []string
	// Patterns are subjects with * and ?, which is warned of.
	Patterns []string
}

var (
	subjectForm = regexp.MustCompile(`^(user:psn|sp:spn|job:dlg)_[a-z0-9]{1,64}$`)
	patternForm = regexp.MustCompile(`^(user|sp|job):[a-z0-9_*?]{1,64}$`)
)

func (s OIDC) check() error {
	if err := s.checkIssuer(); err != nil {
		return err
	}
	if len(s.Subjects)+len(s.Patterns) == 0 {
		return badWith("give a principal with --subject, such as sp:spn_…; --subject-like 'user:*' takes every person, for the bridge",
			"no subject is named: the role would be open to every token of Carnet's")
	}
	for _, x := range s.Subjects {
		if !subjectForm.MatchString(x) {
			return badWith("it is user:, sp: or job: and the id; to trust a pattern, give --subject-like", "subject %q is not one principal", x)
		}
	}
	for _, x := range s.Patterns {
		if !patternForm.MatchString(x) {
			return badWith("begin with user:, sp: or job:, so that one kind of principal is named", "subject pattern %q: want such as 'user:*'", x)
		}
	}
	return nil
}

// checkIssuer holds the issuer to what IAM takes as a provider's URL (IAM API
// Reference, CreateOpenIDConnectProvider).
func (s OIDC) checkIssuer() error {
	if issuer, ok := oidc.IssuerOf(s.Issuer); ok {
		return badWith("the issuer is "+issuer+"; AWS appends the rest by itself", "%s is the address of a discovery document", s.Issuer)
	}
	u, err := url.Parse(s.Issuer)
	switch {
	case err != nil, u.Host == "", u.Opaque != "", u.Scheme != "https" && u.Scheme != "http", u.User != nil,
		strings.ContainsAny(s.Issuer, unsafe+"{}|^`;&()"), strings.HasSuffix(u.Path, "/"), len(s.Issuer) > 255:
		return bad("%q is not an issuer such as https://carnet.example.com/oidc", s.Issuer)
	case strings.ContainsAny(s.Issuer, "?#"):
		return bad("issuer %s: AWS takes no query and no fragment", s.Issuer)
	case u.Scheme == "https" && u.Port() == "" && !loopback(u.Hostname()):
		return nil
	case s.Local && loopback(u.Hostname()):
		return nil
	case s.Local:
		return badWith("set oidc.public_url", "issuer %s: IAM takes https without a port; only on loopback it may be otherwise", s.Issuer)
	}
	return badWith("set oidc.public_url to an https address without a port that the internet reaches; where this server is not reached, "+
		"oidc.publish writes the keys to such a place. For a local account of Carnet, give --local",
		"AWS can't take the issuer %s: it fetches the keys by https from a public host, without a port", s.Issuer)
}

// ForAWS reports whether AWS can take the issuer.
func (s OIDC) ForAWS() bool {
	s.Local = false
	return s.checkIssuer() == nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// name is the issuer as it stands in the provider's ARN and in condition keys.
func (s OIDC) name() string {
	_, rest, _ := strings.Cut(s.Issuer, "://")
	return rest
}

// trust pins audience, subject and, by the roles claim, the one role that a
// token was asked for.
func (s OIDC) trust(provider string) statement {
	condition := map[string]map[string][]string{
		"StringEquals": {s.name() + ":aud": {AudienceAWS}},
		"Bool":         {"sts:RoleAuthorizedByIdp": {"true"}},
	}
	if len(s.Patterns) == 0 {
		condition["StringEquals"][s.name()+":sub"] = s.Subjects
	} else { // one operator: conditions on one key under two would both have to hold
		condition["StringLike"] = map[string][]string{s.name() + ":sub": append(append([]string{}, s.Subjects...), s.Patterns...)}
	}
	return statement{
		Effect: "Allow", Principal: map[string]string{"Federated": provider},
		Action: []string{"sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"}, Condition: condition,
	}
}

func (s OIDC) warnings() (out []string) {
	for _, p := range s.Patterns {
		out = append(out, "the role is open to every subject like "+p+": Carnet alone decides which of them gets a token for it; name subjects where you can")
	}
	return out
}
