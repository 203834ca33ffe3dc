package provisioning

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/scim"
	"carnet.dev/carnet/internal/service/revocation"
)

// CodeScope: the credential is not good for this kind of resource.
const CodeScope = "provisioning.scope"

// Found is a resource with its ETag.
type Found struct {
	ID       string
	Version  string
	Resource scim.Resource
}

func (s *Service) may(c Caller, k Kind) error {
	if c.IdP == "" || !slices.Contains(c.Kinds, k) {
		return fault.Coded(fault.Denied, CodeScope, fmt.Sprintf("This credential is not for %s", k.Type().Endpoint[1:])).
			WithMend("have an administrator make one with that scope")
	}
	return nil
}

func (s *Service) found(r Row) (Found, error) {
	resource, err := s.resource(r)
	return Found{ID: r.ID, Version: Version(r), Resource: resource}, err
}

// Create makes a resource. Faults: Invalid; Conflict for a name that is taken.
func (s *Service) Create(ctx context.Context, c Caller, k Kind, text []byte) (Found, error) {
	if err := s.may(c, k); err != nil {
		return Found{}, err
	}
	r, err := read(k, text)
	if err != nil {
		return Found{}, err
	}
	now := s.Now().UTC()
	row, err := s.take(ctx, Row{Kind: k, IdP: c.IdP, Version: 1, Created: now, Changed: now}, r)
	if err != nil {
		return Found{}, err
	}
	switch k {
	case User:
		row.ID = string(identity.NewPersonID())
	case Group:
		row.ID = string(identity.NewGroupID())
	default:
		row.ID = string(identity.NewServicePrincipalID())
	}
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		stored, err := s.Store.Add(ctx, row)
		if err != nil {
			return err
		}
		row = stored
		return s.Trail.Record(ctx, s.event(c, "add", Row{Kind: k, ID: row.ID}, row))
	})
	if err != nil {
		return Found{}, err
	}
	return s.found(row)
}

// read reads a whole resource. Who is not said to be inactive is active.
func read(k Kind, text []byte) (scim.Resource, error) {
	r, err := k.Type().Read(text)
	if err != nil {
		return nil, err
	}
	if _, said := r["active"]; !said && k != Group {
		r["active"] = true
	}
	return r, k.Type().Complete(r)
}

// Get gives one.
func (s *Service) Get(ctx context.Context, c Caller, k Kind, id string) (Found, error) {
	if err := s.may(c, k); err != nil {
		return Found{}, err
	}
	rows, err := s.Store.Rows(ctx, Page{Kind: k, IdP: c.IdP, By: "id", Value: id, Most: 1, Members: true})
	if err != nil {
		return Found{}, err
	}
	if len(rows) == 0 {
		return Found{}, missing(k, id)
	}
	return s.found(rows[0])
}

func missing(k Kind, id string) error {
	return fault.New(fault.NotFound, fmt.Sprintf("There is no %s with the id %q", k.Type().Name, clip(id)))
}

// Replace makes a resource what a document says; what it leaves out goes. match
// is an If-Match header, empty for none.
func (s *Service) Replace(ctx context.Context, c Caller, k Kind, id string, text []byte, match string) (Found, error) {
	r, err := read(k, text)
	if err != nil {
		return Found{}, err
	}
	return s.change(ctx, c, k, id, match, func(ctx context.Context, row Row) (Row, error) { return s.take(ctx, row, r) })
}

// Patch applies the operations of a message, all or none of them.
func (s *Service) Patch(ctx context.Context, c Caller, k Kind, id string, text []byte, match string) (Found, error) {
	operations, err := scim.ReadPatch(text)
	if err != nil {
		return Found{}, err
	}
	return s.change(ctx, c, k, id, match, func(ctx context.Context, row Row) (Row, error) {
		r, err := s.resource(row)
		if err != nil {
			return row, err
		}
		if r, err = k.Type().Apply(r, operations); err != nil {
			return row, err
		}
		return s.take(ctx, row, r)
	})
}

func (s *Service) change(ctx context.Context, c Caller, k Kind, id, match string, change func(context.Context, Row) (Row, error)) (Found, error) {
	if err := s.may(c, k); err != nil {
		return Found{}, err
	}
	var after Row
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		before, now, err := s.Store.Change(ctx, k, c.IdP, id, func(row Row) (Row, error) {
			if err := matches(row, match); err != nil {
				return row, err
			}
			return change(ctx, row)
		})
		if err != nil {
			return err
		}
		after = now
		if before.Version == now.Version {
			return nil // nothing changed: nothing to record
		}
		if err := s.takeBack(ctx, before, now); err != nil {
			return err
		}
		return s.Trail.Record(ctx, s.event(c, "change", before, now))
	})
	if err != nil {
		return Found{}, err
	}
	return s.found(after)
}

// matches holds an If-Match header to the version (RFC 7644, section 3.14).
func matches(row Row, match string) error {
	if match == "" || match == "*" || match == Version(row) || match == `"`+strconv.FormatInt(row.Version, 10)+`"` {
		return nil
	}
	return fault.Coded(fault.Conflict, CodeVersion, "The resource has changed since it was read: it is "+Version(row)+" now").WithMend("read it again")
}

// CodeVersion: an If-Match header names another version.
const CodeVersion = "provisioning.version"

// Delete forgets a resource, and takes back what is out of it.
func (s *Service) Delete(ctx context.Context, c Caller, k Kind, id, match string) error {
	if err := s.may(c, k); err != nil {
		return err
	}
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		rows, err := s.Store.Rows(ctx, Page{Kind: k, IdP: c.IdP, By: "id", Value: id, Most: 1, Members: true})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return missing(k, id)
		}
		if err := matches(rows[0], match); err != nil {
			return err
		}
		if err := s.Store.Delete(ctx, k, c.IdP, id); err != nil {
			return err
		}
		if err := s.takeBack(ctx, rows[0], Row{Kind: k, ID: id}); err != nil {
			return err
		}
		return s.Trail.Record(ctx, s.event(c, "delete", rows[0], Row{Kind: k, ID: id}))
	})
}

// takeBack revokes what rests on what a change took away. Whoever lost a role, a
// membership in a group that gives roles, or everything, has keys out that name
// it: theirs end, and what is still theirs they get anew.
func (s *Service) takeBack(ctx context.Context, before, after Row) error {
	lost := before.Active && !after.Active && before.Kind != Group || slices.ContainsFunc(before.Roles, func(r arn.Role) bool { return !slices.Contains(after.Roles, r) })
	var whose []string
	switch stays := set(ids(after.Members)); {
	case before.Kind != Group && lost:
		whose = []string{before.ID}
	case before.Kind == Group:
		for _, m := range before.Members {
			if lost || !stays[m.ID] {
				whose = append(whose, m.ID)
			}
		}
	}
	taken := map[string]bool{}
	for _, subject := range whose {
		everyone, err := s.Members.Everyone(ctx, subject)
		if err != nil {
			return err
		}
		for _, id := range everyone {
			if kind := revocationKind(id); kind != "" && !taken[id] {
				taken[id] = true
				if _, err := s.Revocations.Revoke(ctx, kind, id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func revocationKind(id string) string {
	switch KindOf(id) {
	case User:
		return revocation.Person
	case ServicePrincipal:
		return revocation.ServicePrincipal
	}
	return ""
}

// event is the record of a change, with what it changed.
func (s *Service) event(c Caller, act string, before, after Row) event.Event {
	detail := map[string]string{"credential": string(c.Credential), "name": after.Name}
	if after.Name == "" {
		detail["name"] = before.Name
	}
	differ := func(name, was, is string) {
		if was != is {
			detail[name] = was + " → " + is
		}
	}
	differ("renamed", before.Name, after.Name)
	if before.Kind != Group {
		differ("active", strconv.FormatBool(before.Active), strconv.FormatBool(after.Active))
	}
	added, removed := difference(before.Roles, after.Roles)
	list := func(name string, values []string) {
		if len(values) > 0 {
			const most = 50
			detail[name] = fmt.Sprint(values[:min(most, len(values))])
			if len(values) > most {
				detail[name] += fmt.Sprintf(" and %d more", len(values)-most)
			}
		}
	}
	list("roles_added", added)
	list("roles_removed", removed)
	joined, left := difference(ids(before.Members), ids(after.Members))
	list("members_added", joined)
	list("members_removed", left)
	action := "person." + act
	switch after.Kind {
	case Group:
		action = "group." + act
	case ServicePrincipal:
		action = "service-principal." + act
	}
	return event.Event{Action: action, Outcome: event.Done, IdP: c.IdP, Target: after.ID, Source: c.Source, Request: c.Request, Detail: detail}
}

func ids(list []Member) (out []string) {
	for _, m := range list {
		out = append(out, m.ID)
	}
	return out
}

func difference[T comparable](before, after []T) (added, removed []string) {
	was, is := set(before), set(after)
	for _, v := range after {
		if !was[v] {
			added = append(added, fmt.Sprint(v))
		}
	}
	for _, v := range before {
		if !is[v] {
			removed = append(removed, fmt.Sprint(v))
		}
	}
	return added, removed
}

func set[T comparable](list []T) map[T]bool {
	out := make(map[T]bool, len(list))
	for _, v := range list {
		out[v] = true
	}
	return out
}

// Same reports whether a change changed nothing that is stored.
func Same(a, b Row) bool {
	a.Version, a.Changed, a.Groups = b.Version, b.Changed, b.Groups
	a.Members, b.Members = named(a.Members), named(b.Members)
	if len(a.Roles) == 0 && len(b.Roles) == 0 {
		a.Roles, b.Roles = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// named drops the names of members, which are not the group's.
func named(list []Member) []Member {
	out := make([]Member, len(list))
	for i, m := range list {
		out[i] = Member{ID: m.ID}
	}
	slices.SortFunc(out, func(x, y Member) int {
		if x.ID < y.ID {
			return -1
		}
		return 1
	})
	return out
}
