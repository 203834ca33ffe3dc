package login

import (
	"encoding/json"
	"slices"

	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/entitlement"
)

// reportOIDC is report for a sign-in by OpenID Connect.
func (s *Service) reportOIDC(p *posted, said identified) Report {
	r, done := newReport(p)
	if done {
		return r
	}
	r.NameID, r.AuthnContext, r.SingleLogout = shorten(said.id.Subject), shorten(said.claims.Text("acr")), said.sid() != ""
	r.Attributes = claimsOf(said.claims)
	who, err := said.subject(p.sp)
	r.check("login.subject", err, "signs in as "+who.UserName)
	if err != nil {
		return r
	}
	r.Person, r.Mail, r.Administrator = who.person(), who.Mail, p.sp.MakesAdministrator(p.sp.GroupsIn(said.claims))
	r.entitled(entitlement.OfOIDC(said.claims, p.sp, s.Accounts, who.UserName))
	return r
}

// claimsOf shows claims as a report shows attributes, by name. What is neither
// text nor a list of texts stands as JSON.
func claimsOf(c openid.Claims) []Attribute {
	var names []string
	for name := range c {
		if name != "nonce" && name != "at_hash" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var all []Attribute
	for _, name := range names[:min(len(names), mostReportAttributes)] {
		values, ok := oidc.Texts(c[name])
		if !ok {
			text, err := json.Marshal(c[name])
			if err != nil {
				continue // it was JSON
			}
			values = []string{string(text)}
		}
		out := Attribute{Name: shorten(name), More: max(0, len(values)-mostReportValues)}
		for _, v := range values[:min(len(values), mostReportValues)] {
			out.Values = append(out.Values, shorten(v))
		}
		all = append(all, out)
	}
	return all
}
