package server

import (
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/arn"
)

// trusts says which trust rests on an issuer: the roles of local accounts by
// name, and for accounts at AWS what their roles would name, since those can't
// be seen from here.
func (s *state) trusts(issuerURL string) []string {
	_, name, _ := strings.Cut(issuerURL, "://")
	var all []string
	now, err := s.iam.Current()
	for _, a := range s.config.Accounts {
		provider := arn.OIDCProvider{Partition: a.Partition, Account: a.ID, URL: name}.String()
		switch {
		case a.Kind != config.AccountLocal && a.Accepts(config.ExchangeWebIdentity):
			all = append(all, fmt.Sprintf("Account %s (%s) at AWS: roles that trust %s", a.ID, a.Name, provider))
		case a.Kind != config.AccountLocal:
		case err != nil:
			all = append(all, fmt.Sprintf("Account %s (%s): roles that trust %s", a.ID, a.Name, provider))
		default:
			for _, r := range now.View().Roles(a.ID) {
				if strings.Contains(r.Trust.Document, `"`+provider+`"`) {
					all = append(all, "Role "+arn.Role{Partition: a.Partition, Account: a.ID, Path: r.Path, Name: r.Name}.String())
				}
			}
		}
	}
	return all
}
