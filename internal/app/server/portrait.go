package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	sqlbroker "carnet.dev/carnet/internal/edge/sql/broker"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/login"
)

// reason is one reason why somebody holds a role.
type reason struct {
	Origin       string    `json:"origin"` // saml, oidc, scim, admin or login-session
	Through      []string  `json:"through,omitempty"`
	Since        time.Time `json:"since"`
	Until        time.Time `json:"until,omitzero"`
	LoginSession string    `json:"login_session,omitempty"`
	Explanation  string    `json:"explanation"`
	TakenAwayBy  string    `json:"taken_away_by"`
}

type explainedRole struct {
	Role    string   `json:"role"`
	Reasons []reason `json:"reasons"`
}

// explained is everything that somebody holds, and why.
type explained struct {
	Subject subject         `json:"subject"`
	Roles   []explainedRole `json:"roles"`
	Notes   []string        `json:"notes"`
}

// explanation gathers the stored roles with those of open login sessions.
func (s *state) explanation(ctx context.Context, who subject) (explained, error) {
	x := explained{Subject: who, Roles: []explainedRole{}, Notes: []string{}}
	byRole := map[string][]reason{}
	mappings, err := s.holds(ctx, who)
	if err != nil {
		return x, err
	}
	for _, m := range mappings {
		r := reason{Origin: string(m.Origin), Since: m.Set, Explanation: s.named(m.Explain()), TakenAwayBy: s.named(m.TakenAwayBy())}
		for _, g := range m.Through {
			r.Through = append(r.Through, g.Name)
		}
		byRole[m.Role.String()] = append(byRole[m.Role.String()], r)
	}
	sessions, err := s.openSessions(ctx, who)
	if err != nil {
		return x, err
	}
	for _, l := range sessions {
		for _, role := range l.Roles {
			byRole[role] = append(byRole[role], l.reason())
		}
		x.Notes = append(x.Notes, l.Notes...)
	}
	for role, reasons := range byRole {
		x.Roles = append(x.Roles, explainedRole{Role: role, Reasons: reasons})
	}
	slices.SortFunc(x.Roles, func(a, b explainedRole) int { return strings.Compare(a.Role, b.Role) })
	if !who.Active {
		own, err := s.directory.Mappings.Own(ctx, who.ID)
		if err != nil {
			return x, err
		}
		x.Notes = append(x.Notes, fmt.Sprintf("%s is switched off, and holds nothing; %d stored roles would count again", who.Name, len(own)))
	}
	return x, nil
}

// holds gives the mappings that count for a subject. A group holds nothing by
// itself: these are the ones that it gives to its members.
func (s *state) holds(ctx context.Context, who subject) ([]directory.HeldMapping, error) {
	if who.Kind != "group" {
		return s.directory.Mappings.Held(ctx, who.ID)
	}
	var held []directory.HeldMapping
	own, err := s.directory.Mappings.Own(ctx, who.ID)
	for _, m := range own {
		held = append(held, directory.HeldMapping{Mapping: m})
	}
	return held, err
}

// named replaces ids of identity providers by their names.
func (s *state) named(text string) string {
	for _, p := range s.federation.List() {
		text = strings.ReplaceAll(text, string(p.ID), p.Name)
	}
	return text
}

// openSession is one login session as administrators see it.
type openSession struct {
	ID      string    `json:"id"`
	IdP     string    `json:"identity_provider"`
	Started time.Time `json:"started"`
	Expires time.Time `json:"expires"`
	Roles   []string  `json:"roles"`
	Notes   []string  `json:"notes"`
}

func (l openSession) reason() reason {
	return reason{Origin: "login-session", Since: l.Started, Until: l.Expires, LoginSession: l.ID,
		Explanation: "asserted by " + l.IdP + " at the sign-in of " + stamp(l.Started) + ", for that login session alone",
		TakenAwayBy: "its end at " + stamp(l.Expires) + ", signing out, or carnet revoke login-session " + l.ID}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// openSessions gives a person's login sessions that are neither over nor
// revoked, with the roles whose keys were had.
func (s *state) openSessions(ctx context.Context, who subject) ([]openSession, error) {
	if who.person == nil {
		return nil, nil
	}
	records, err := (sqllogin.Store{DB: s.db}).OfPerson(ctx, identity.PersonID(who.ID), s.now())
	if err != nil {
		return nil, err
	}
	var open []openSession
	for _, r := range records {
		refused, err := s.refused(r)
		if err != nil {
			return nil, err
		}
		if refused {
			continue
		}
		rows, err := (sqlbroker.Store{DB: s.db}).Load(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		l := openSession{ID: string(r.ID), IdP: r.IdPName, Started: r.Started, Expires: r.Expires, Roles: []string{}, Notes: append([]string{}, r.Notes...)}
		for _, row := range rows {
			switch {
			case row.Trouble.Code != "":
				l.Notes = append(l.Notes, row.Role+" was not renewed: "+row.Trouble.Code)
			case len(row.Evidence) > 0: // its keys come at need
				l.Roles = append(l.Roles, row.Role)
			case row.Failure.Code != "":
				l.Notes = append(l.Notes, row.Role+" could not be had: "+row.Failure.Code)
			case !s.now().Before(row.Expiration):
				l.Notes = append(l.Notes, "the keys of "+row.Role+" have expired")
			default:
				l.Roles = append(l.Roles, row.Role)
			}
		}
		open = append(open, l)
	}
	return open, nil
}

func (s *state) refused(r login.Record) (bool, error) {
	bySession, err := s.feed.Refused("login-session", string(r.ID), r.Epoch)
	if err != nil || bySession {
		return bySession, err
	}
	return s.feed.Refused("person", string(r.Person.ID), r.Epoch)
}

// only keeps one role, named by ARN or name.
func (x explained) only(name string) (explained, error) {
	var held []string
	found := []explainedRole{}
	for _, r := range x.Roles {
		held = append(held, r.Role)
		if role, err := arn.ParseRole(r.Role); r.Role == name || err == nil && role.Name == name {
			found = append(found, r)
		}
	}
	x.Roles = found
	if len(found) > 0 {
		return x, nil
	}
	text := x.Subject.Name + " doesn't hold " + name
	switch {
	case !x.Subject.Active:
		text += ": switched off"
	case len(held) > 0:
		text += "; held are " + strings.Join(held, ", ")
	default:
		text += ", nor any other role"
	}
	for _, n := range x.Notes {
		text += "\n  note: " + n
	}
	return x, fault.New(fault.NotFound, text)
}

// String tells it as text.
func (x explained) String() string {
	var b strings.Builder
	switch {
	case x.Subject.Kind == "group":
		fmt.Fprintf(&b, "Group %s (%s) gives its members %d roles.\n", x.Subject.Name, x.Subject.ID, len(x.Roles))
	default:
		fmt.Fprintf(&b, "%s (%s) holds %d roles.\n", x.Subject.Name, x.Subject.ID, len(x.Roles))
	}
	for _, r := range x.Roles {
		fmt.Fprintf(&b, "\n%s\n", r.Role)
		for _, why := range r.Reasons {
			fmt.Fprintf(&b, "  %s, since %s\n    taken away by: %s\n", why.Explanation, stamp(why.Since), why.TakenAwayBy)
		}
	}
	if len(x.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range x.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

// portrait is all that is stored about somebody.
type portrait struct {
	Subject  subject       `json:"subject"`
	Person   *personLine   `json:"person,omitempty"`
	MemberOf []string      `json:"member_of"`
	Members  []string      `json:"members,omitempty"`
	Roles    []string      `json:"roles"`
	Sessions []openSession `json:"login_sessions"`
}

func (s *state) portrait(ctx context.Context, who subject) (portrait, error) {
	v := portrait{Subject: who, MemberOf: []string{}, Roles: []string{}}
	if p := who.person; p != nil {
		line := lineOf(*p, s.idpName(p.IdP))
		v.Person = &line
	}
	in, err := s.directory.Lists.MemberOf(ctx, who.ID)
	if err != nil {
		return v, err
	}
	for _, g := range in {
		v.MemberOf = append(v.MemberOf, g.Name)
	}
	if who.Kind == "group" {
		members, err := s.directory.Lists.Members(ctx, identity.GroupID(who.ID))
		if err != nil {
			return v, err
		}
		for _, m := range members {
			v.Members = append(v.Members, m.Name+" ("+m.ID+")")
		}
	}
	x, err := s.explanation(ctx, who)
	if err != nil {
		return v, err
	}
	for _, r := range x.Roles {
		v.Roles = append(v.Roles, r.Role)
	}
	v.Sessions, err = s.openSessions(ctx, who)
	return v, err
}

// String tells it as text.
func (v portrait) String() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-20s%s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "%s, %s\n", v.Subject.Name, v.Subject.Kind)
	line("id", v.Subject.ID)
	if p := v.Person; p != nil {
		line("display name", p.DisplayName)
		line("mail", p.Mail)
		line("identity provider", p.IdPName)
		line("external id", p.ExternalID)
		line("known since", stamp(p.Created))
		if p.Administrator {
			line("administrator", "yes")
		}
	}
	if !v.Subject.Active {
		line("switched off", "yes")
	}
	line("member of", strings.Join(v.MemberOf, ", "))
	line("members", strings.Join(v.Members, ", "))
	line("roles", strings.Join(v.Roles, ", "))
	for _, l := range v.Sessions {
		line("login session", fmt.Sprintf("%s, from %s to %s", l.ID, stamp(l.Started), stamp(l.Expires)))
	}
	return b.String()
}
