package server

import (
	"context"
	"fmt"

	"carnet.dev/carnet/internal/core/fault"
)

// SubjectName is what a person, group or service principal is called; the id itself
// where there is none.
func (s *state) SubjectName(ctx context.Context, id string) string {
	found, err := s.byID(ctx, id)
	if err != nil || len(found) != 1 {
		return id
	}
	return found[0].Name
}

// FindSubject gives the id of the person, group or service principal that a text
// names, by id or by a name that one of that kind has.
func (s *state) FindSubject(ctx context.Context, kind, text string) (string, error) {
	found, err := s.byID(ctx, text)
	if err == nil && len(found) == 0 {
		found, err = s.byName(ctx, text)
	}
	if err != nil {
		return "", err
	}
	var ids []string
	for _, f := range found {
		if f.Kind == kind {
			ids = append(ids, f.ID)
		}
	}
	switch len(ids) {
	case 1:
		return ids[0], nil
	case 0:
		return "", fault.Coded(fault.NotFound, "subject.unknown", fmt.Sprintf("no %s is called %q", kind, fault.Clip(text))).
			WithMend("people appear at their first sign-in; list who there is: carnet people list")
	}
	return "", fault.Coded(fault.Conflict, "subject.ambiguous", fmt.Sprintf("%q is the name of several", fault.Clip(text))).WithMend("give the id")
}
