package scimapi

import (
	"net/http"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/scim"
	"carnet.dev/carnet/internal/service/provisioning"
)

// base is the address that a request came by.
func base(r *http.Request) string {
	for _, b := range Bases {
		if strings.HasPrefix(r.URL.Path, b+"/") {
			return b
		}
	}
	return Bases[0]
}

func types() []*scim.ResourceType {
	return []*scim.ResourceType{scim.Users(), scim.Groups(), scim.ServicePrincipals()}
}

// serviceProviderConfig says what is served (RFC 7643, section 5).
func serviceProviderConfig(w http.ResponseWriter, r *http.Request, _ provisioning.Caller) error {
	supported := func(on bool, more map[string]any) map[string]any {
		out := map[string]any{"supported": on}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"schemas":        []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":          supported(true, nil),
		"bulk":           supported(true, map[string]any{"maxOperations": mostBulk, "maxPayloadSize": maxBulk}),
		"filter":         supported(true, map[string]any{"maxResults": provisioning.MostCount}),
		"changePassword": supported(false, nil), "sort": supported(true, nil), "etag": supported(true, nil),
		"authenticationSchemes": []any{map[string]any{
			"type": "oauthbearertoken", "name": "Bearer token", "primary": true,
			"description": "A token that an administrator of Carnet makes: carnet provisioning credential add",
		}},
		"meta": map[string]any{"resourceType": "ServiceProviderConfig", "location": base(r) + "/ServiceProviderConfig"},
	})
}

func typeDocument(t *scim.ResourceType, at string) map[string]any {
	extensions := []any{}
	for _, s := range t.Extensions {
		extensions = append(extensions, map[string]any{"schema": s.ID, "required": false})
	}
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": t.Name, "name": t.Name, "endpoint": t.Endpoint,
		"description": t.Schema.Description, "schema": t.Schema.ID, "schemaExtensions": extensions,
		"meta": map[string]any{"resourceType": "ResourceType", "location": at + "/ResourceTypes/" + t.Name},
	}
}

func resourceTypes(w http.ResponseWriter, r *http.Request, _ provisioning.Caller) error {
	var all []any
	for _, t := range types() {
		document := typeDocument(t, base(r))
		if r.PathValue("id") == t.Name {
			return writeJSON(w, http.StatusOK, document)
		}
		all = append(all, document)
	}
	return many(w, r, all, "resource type")
}

func (f *face) schemas(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
	var all []any
	for _, t := range types() {
		for _, s := range append([]*scim.Schema{t.Schema}, t.Extensions...) {
			document := map[string]any{
				"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}, "id": s.ID, "name": s.Name, "description": s.Description, "attributes": withRoles(s.Attributes, f.Roles(c.IdP)),
				"meta": map[string]any{"resourceType": "Schema", "location": base(r) + "/Schemas/" + s.ID},
			}
			if r.PathValue("id") == s.ID {
				return writeJSON(w, http.StatusOK, document)
			}
			all = append(all, document)
		}
	}
	return many(w, r, all, "schema")
}

// withRoles says which roles there are to choose from (canonicalValues of
// roles.value).
func withRoles(attributes []scim.Attribute, roles []string) []scim.Attribute {
	i := slices.IndexFunc(attributes, func(a scim.Attribute) bool { return a.Name == "roles" })
	if i < 0 {
		return attributes
	}
	attributes = slices.Clone(attributes)
	attributes[i].SubAttributes = slices.Clone(attributes[i].SubAttributes)
	for j := range attributes[i].SubAttributes {
		if a := &attributes[i].SubAttributes[j]; a.Name == "value" {
			a.CanonicalValues = roles
		}
	}
	return attributes
}

func many(w http.ResponseWriter, r *http.Request, all []any, what string) error {
	if r.PathValue("id") != "" {
		return fault.New(fault.NotFound, "There is no such "+what)
	}
	if r.URL.Query().Get("filter") != "" {
		// RFC 7644, section 4: a filter here is refused.
		return fault.New(fault.Denied, "What can be discovered takes no filter")
	}
	b, err := scim.WriteList(all, len(all), 1)
	if err == nil {
		write(w, http.StatusOK, b)
	}
	return err
}
