package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
)

// subject is whoever can hold roles, as a command names them.
type subject struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"` // "person", "group" or "service-principal"
	Name   string `json:"name"`
	Active bool   `json:"active"`

	person *directory.Person // set for a person
	note   string            // what a list says of it
}

func aPerson(p directory.Person) subject {
	return subject{ID: string(p.ID), Kind: "person", Name: p.UserName, Active: p.Active, person: &p}
}

func aGroup(g directory.Group) subject {
	return subject{ID: string(g.ID), Kind: "group", Name: g.Name, Active: true}
}

func aServicePrincipal(p directory.ServicePrincipal) subject {
	return subject{ID: string(p.ID), Kind: "service-principal", Name: p.Name, Active: p.Active}
}

// findSubject finds the one person, group or service principal that a text
// names: by id, or by name, letter case aside. A name that several have is
// refused: the same user name at two identity providers is two people.
func (s *state) findSubject(ctx context.Context, text string) (subject, error) {
	found, err := s.byID(ctx, text)
	if err == nil && len(found) == 0 {
		found, err = s.byName(ctx, text)
	}
	if err != nil {
		return subject{}, err
	}
	switch len(found) {
	case 0:
		return subject{}, fault.New(fault.NotFound, fmt.Sprintf("nobody is called %q", text)).
			WithMend("list who there is: carnet people list; somebody is known once they have signed in, or by provisioning")
	case 1:
		return found[0], nil
	}
	all := make([]string, len(found))
	for i, f := range found {
		all[i] = f.ID + " (" + f.Kind
		if f.person != nil {
			all[i] += " of " + s.idpName(f.person.IdP)
		}
		all[i] += ")"
	}
	return subject{}, fault.New(fault.Conflict, fmt.Sprintf("%q is the name of several: %s", text, strings.Join(all, ", "))).
		WithMend("give the id")
}

func (s *state) findPerson(ctx context.Context, text string) (directory.Person, error) {
	found, err := s.findSubject(ctx, text)
	if err != nil {
		return directory.Person{}, err
	}
	if found.person == nil {
		return directory.Person{}, fault.New(fault.Invalid, fmt.Sprintf("%q is a %s: this command is for people", text, found.Kind))
	}
	return *found.person, nil
}

func (s *state) findMachine(ctx context.Context, text string) (directory.ServicePrincipal, error) {
	found, err := s.findSubject(ctx, text)
	if err != nil {
		return directory.ServicePrincipal{}, err
	}
	if found.Kind != "service-principal" {
		return directory.ServicePrincipal{}, fault.New(fault.Invalid, fmt.Sprintf("%q is a %s: this command is for service principals", text, found.Kind))
	}
	return s.directory.ServicePrincipals.ServicePrincipal(ctx, identity.ServicePrincipalID(found.ID))
}

// byID gives at most one; none where the text is no id or nobody has it.
func (s *state) byID(ctx context.Context, text string) (found []subject, err error) {
	switch prefix, _, _ := strings.Cut(text, "_"); prefix {
	case "psn":
		var p directory.Person
		if p, err = s.directory.People.Person(ctx, identity.PersonID(text)); err == nil {
			found = append(found, aPerson(p))
		}
	case "grp":
		var g directory.Group
		if g, err = s.directory.Lists.Group(ctx, identity.GroupID(text)); err == nil {
			found = append(found, aGroup(g))
		}
	case "spn":
		var p directory.ServicePrincipal
		if p, err = s.directory.ServicePrincipals.ServicePrincipal(ctx, identity.ServicePrincipalID(text)); err == nil {
			found = append(found, aServicePrincipal(p))
		}
	}
	if errors.Is(err, fault.New(fault.NotFound, "")) {
		err = nil
	}
	return found, err
}

// mostNamesakes bounds how many identity providers are shown for one name.
const mostNamesakes = 20

func (s *state) byName(ctx context.Context, name string) (found []subject, err error) {
	people, err := s.directory.People.People(ctx, directory.Person{UserName: name}, mostNamesakes)
	if err != nil {
		return nil, err
	}
	fold := directory.Fold(name)
	for _, p := range people { // in the order of folded names
		if directory.Fold(p.UserName) == fold {
			found = append(found, aPerson(p))
		}
	}
	g, err := s.directory.Groups.GroupByName(ctx, name)
	if err == nil {
		found = append(found, aGroup(g))
	} else if !errors.Is(err, fault.New(fault.NotFound, "")) {
		return nil, err
	}
	principals, err := s.directory.ServicePrincipals.ServicePrincipals(ctx)
	for _, p := range principals {
		if directory.Fold(p.Name) == fold {
			found = append(found, aServicePrincipal(p))
		}
	}
	return found, err
}

// idpName gives the name that an administrator gave, or the id of one that was
// removed.
func (s *state) idpName(id identity.IdPID) string {
	for _, p := range s.federation.List() {
		if p.ID == id {
			return p.Name
		}
	}
	return string(id)
}
