package login

import (
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// mostListed bounds how many roles an error lists.
const mostListed = 20

// Role gives the one role of the login session that a text names: an ARN, a role
// name that is held once, or account/name with the account's number or name.
// Whether it can be had is its State. Faults: NotFound, Invalid, listing what is
// held.
func (l LoginSession) Role(text string) (RoleStatus, error) {
	var held []string
	var found []RoleStatus
	for _, r := range l.Roles {
		held = append(held, r.Role.String())
		if r.named(text) {
			found = append(found, r)
		}
	}
	if len(held) > mostListed {
		held = append(held[:mostListed:mostListed], "…")
	}
	list := strings.Join(held, ", ")
	switch {
	case len(held) == 0:
		return RoleStatus{}, fault.Coded(fault.NotFound, "role.none", "you hold no role").
			WithMend("ask the administrator of your identity provider for one, then sign in again")
	case text == "":
		return RoleStatus{}, fault.Coded(fault.Invalid, "role.choose", "the request names no role; you hold "+list).WithMend("choose one of them")
	case len(found) == 0:
		return RoleStatus{}, fault.Coded(fault.NotFound, "role.unheld", fmt.Sprintf("you don't hold role %s; you hold %s", quoted(text), list)).
			WithMend("choose one of them, or ask for the role at your identity provider and sign in again")
	case len(found) > 1:
		return RoleStatus{}, fault.Coded(fault.Invalid, "role.ambiguous", fmt.Sprintf("role name %s is held in several accounts; you hold %s", quoted(text), list)).
			WithMend("give the role's ARN")
	}
	return found[0], nil
}

func (r RoleStatus) named(text string) bool {
	if text == r.Role.String() || text == r.Role.Name {
		return true
	}
	account, name, ok := strings.Cut(text, "/")
	return ok && name == r.Role.Name && (account == r.Role.Account || account == r.AccountName && account != "")
}
