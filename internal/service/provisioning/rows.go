package provisioning

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/scim"
)

const (
	maxName  = 256
	maxRoles = 1000
)

func invalid(code, format string, args ...any) error {
	return fault.Coded(fault.Invalid, code, fmt.Sprintf(format, args...))
}

// resource gives a row as a resource, whole.
func (s *Service) resource(r Row) (scim.Resource, error) {
	out := scim.Resource{}
	if len(r.Rest) > 0 {
		read, err := r.Kind.Type().Read(r.Rest)
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "a stored resource can't be read")
		}
		out = read
	}
	put := func(name, value string) {
		if value != "" {
			out[name] = value
		}
	}
	put("id", r.ID)
	put("externalId", r.ExternalID)
	put(nameOf(r.Kind), r.Name)
	if r.Kind == User {
		put("displayName", r.DisplayName)
	} else if r.Kind == ServicePrincipal {
		put("applicationId", r.ID)
	}
	if r.Kind != Group {
		out["active"] = r.Active
	}
	s.relations(out, r)
	out["meta"] = map[string]any{
		"resourceType": r.Kind.Type().Name, "created": r.Created.UTC().Format(time.RFC3339Nano), "lastModified": r.Changed.UTC().Format(time.RFC3339Nano),
		"location": s.location(r.ID), "version": Version(r),
	}
	return out, nil
}

// relations adds roles, members and groups.
func (s *Service) relations(out scim.Resource, r Row) {
	var roles, members, groups []any
	for _, role := range r.Roles {
		roles = append(roles, map[string]any{"value": role.String()})
	}
	for _, m := range r.Members {
		members = append(members, map[string]any{"value": m.ID, "display": m.Name, "type": KindOf(m.ID).Type().Name, "$ref": s.location(m.ID)})
	}
	for _, g := range r.Groups {
		groups = append(groups, map[string]any{"value": g.ID, "display": g.Name, "type": "direct", "$ref": s.location(g.ID)})
	}
	for name, list := range map[string][]any{"roles": roles, "members": members, "groups": groups} {
		if len(list) > 0 {
			out[name] = list
		}
	}
}

func (s *Service) location(id string) string { return s.Base + KindOf(id).Type().Endpoint + "/" + id }

// KindOf is the kind that an id is of.
func KindOf(id string) Kind {
	prefix, _, _ := strings.Cut(id, "_")
	return Kind(prefix)
}

// Version is a row's ETag (RFC 7644, section 3.14).
func Version(r Row) string { return `W/"` + strconv.FormatInt(r.Version, 10) + `"` }

// nameOf is the attribute that a kind is known by.
func nameOf(k Kind) string {
	if k == User {
		return "userName"
	}
	return "displayName"
}

// take brings a row to what a resource says. Errors are faults with SCIM's codes.
func (s *Service) take(ctx context.Context, row Row, r scim.Resource) (Row, error) {
	row.Name, row.ExternalID = r.Text(nameOf(row.Kind)), r.Text("externalId")
	if err := checkName(nameOf(row.Kind), row.Name); err != nil {
		return row, err
	}
	row.Active = r.Flag("active", true)
	if row.Kind == User {
		row.DisplayName, row.Mail = r.Text("displayName"), mail(r)
	}
	for name, v := range map[string]string{"externalId": row.ExternalID, "displayName": row.DisplayName, "the primary mail address": row.Mail} {
		if len(v) > maxName || !utf8.ValidString(v) {
			return row, invalid(scim.CodeValue, "%s is longer than %d bytes", name, maxName)
		}
	}
	var err error
	if row.Roles, err = s.roles(ctx, row, r); err != nil {
		return row, err
	}
	if row.Kind == Group {
		row.Members = nil
		for _, id := range r.Values("members") {
			if k := KindOf(id); k != User && k != Group && k != ServicePrincipal {
				return row, invalid(scim.CodeValue, "%q is the id of no user, group or service principal", clip(id))
			}
			row.Members = append(row.Members, Member{ID: id})
		}
	}
	rest := maps.Clone(r)
	for _, name := range []string{"id", "externalId", "meta", "groups", "roles", "members", "active", "applicationId", nameOf(row.Kind)} {
		delete(rest, name)
	}
	if row.Kind == User {
		delete(rest, "displayName")
	}
	row.Rest = nil
	if len(rest) > 0 {
		if row.Rest, err = json.Marshal(rest); err != nil {
			return row, fault.Wrap(err, fault.Internal, "a resource can't be written")
		}
	}
	return row, nil
}

// roles reads the role ARNs, all of them within what the provider may give.
func (s *Service) roles(ctx context.Context, row Row, r scim.Resource) ([]arn.Role, error) {
	var out []arn.Role
	for _, text := range r.Values("roles") {
		role, err := arn.ParseRole(text)
		if err != nil {
			return nil, invalid(scim.CodeValue, "%q is not the ARN of an IAM role", clip(text))
		}
		if slices.Contains(out, role) {
			continue
		}
		if !slices.Contains(row.Roles, role) {
			// What stands already may go on standing; only a new one is asked about.
			if err := s.Lists.Admits(ctx, row.IdP, role); err != nil {
				return nil, invalid(scim.CodeValue, "%s can't be given: %s", role, fault.Of(err).Public)
			}
		}
		if out = append(out, role); len(out) > maxRoles {
			return nil, invalid(scim.CodeTooMany, "more than %d roles", maxRoles)
		}
	}
	return out, nil
}

// mail is the primary address, else that of work, else the first.
func mail(r scim.Resource) string {
	list, _ := r["emails"].([]any)
	best, rank := "", 0
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		v, _ := m["value"].(string)
		n := 1
		if m["type"] == "work" {
			n = 2
		}
		if m["primary"] == true {
			n = 3
		}
		if v != "" && n > rank {
			best, rank = v, n
		}
	}
	return best
}

func checkName(what, s string) error {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return invalid(scim.CodeValue, "%s is 1 to %d bytes of UTF-8 without spaces around it", what, maxName)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return invalid(scim.CodeValue, "%s has a character that can't be seen", what)
		}
	}
	return nil
}

func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
