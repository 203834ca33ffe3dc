package scimapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/scim"
	"carnet.dev/carnet/internal/service/provisioning"
)

// mostBulk is how many operations one request may have.
const mostBulk = 500

const (
	bulkRequest  = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	bulkResponse = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
)

type bulkOperation struct {
	Method  string          `json:"method"`
	Path    string          `json:"path"`
	BulkID  string          `json:"bulkId"`
	Version string          `json:"version"`
	Data    json.RawMessage `json:"data"`
}

// bulk carries out operations one after the other (RFC 7644, section 3.7): each
// is whole or not at all, the request as a whole is not.
func (f *face) bulk(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
	text, err := body(r)
	if err != nil {
		return err
	}
	var ask struct {
		Schemas      []string        `json:"schemas"`
		FailOnErrors int             `json:"failOnErrors"`
		Operations   []bulkOperation `json:"Operations"`
	}
	if err := json.Unmarshal(text, &ask); err != nil || len(ask.Schemas) != 1 || ask.Schemas[0] != bulkRequest {
		return fault.Coded(fault.Invalid, scim.CodeSyntax, "The message is no "+bulkRequest).WithCause(err)
	}
	if len(ask.Operations) > mostBulk {
		return fault.Coded(fault.TooLarge, scim.CodeTooMany, "A bulk request has at most "+strconv.Itoa(mostBulk)+" operations")
	}
	made, errors := map[string]string{}, 0
	results := []any{}
	for _, op := range ask.Operations {
		result := map[string]any{"method": op.Method}
		if op.BulkID != "" {
			result["bulkId"] = op.BulkID
		}
		status, found, err := f.one(r.Context(), c, op, made)
		if err != nil {
			problem := fault.Of(err)
			status = Status(problem)
			result["response"] = json.RawMessage(scim.WriteError(problem, status))
			errors++
		}
		result["status"] = strconv.Itoa(status)
		if meta, ok := found.Resource["meta"].(map[string]any); ok {
			result["location"], result["version"] = meta["location"], found.Version
		}
		if found.ID != "" && op.BulkID != "" {
			made[op.BulkID] = found.ID
		}
		if results = append(results, result); ask.FailOnErrors > 0 && errors >= ask.FailOnErrors {
			break
		}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"schemas": []string{bulkResponse}, "Operations": results})
}

// one carries out one operation. made holds what earlier ones made, by bulkId.
func (f *face) one(ctx context.Context, c provisioning.Caller, op bulkOperation, made map[string]string) (int, provisioning.Found, error) {
	var none provisioning.Found
	endpoint, id, _ := strings.Cut(strings.TrimPrefix(op.Path, "/"), "/")
	kind, ok := map[string]provisioning.Kind{"Users": provisioning.User, "Groups": provisioning.Group, "ServicePrincipals": provisioning.ServicePrincipal}[endpoint]
	if !ok || strings.Contains(id, "/") {
		return 0, none, fault.Coded(fault.Invalid, scim.CodePath, "The path has to be /Users, /Groups or /ServicePrincipals, with an id for all but POST")
	}
	if reference, ok := strings.CutPrefix(id, "bulkId:"); ok {
		if id, ok = made[reference]; !ok {
			return 0, none, unresolved(reference)
		}
	}
	data, err := resolve(op.Data, made)
	if err != nil {
		return 0, none, err
	}
	method := strings.ToUpper(op.Method)
	if (id == "") != (method == http.MethodPost) {
		return 0, none, fault.Coded(fault.Invalid, scim.CodePath, "POST goes to a kind of resource, everything else to one of them")
	}
	switch method {
	case http.MethodPost:
		if op.BulkID == "" {
			return 0, none, fault.Coded(fault.Invalid, scim.CodeSyntax, "A POST in a bulk request needs a bulkId")
		}
		found, err := f.Provisioning.Create(ctx, c, kind, data)
		return http.StatusCreated, found, err
	case http.MethodPut:
		found, err := f.Provisioning.Replace(ctx, c, kind, id, data, op.Version)
		return http.StatusOK, found, err
	case http.MethodPatch:
		found, err := f.Provisioning.Patch(ctx, c, kind, id, data, op.Version)
		return http.StatusOK, found, err
	case http.MethodDelete:
		return http.StatusNoContent, none, f.Provisioning.Delete(ctx, c, kind, id, op.Version)
	}
	return 0, none, fault.Coded(fault.Invalid, scim.CodeSyntax, "The method has to be POST, PUT, PATCH or DELETE")
}

func unresolved(reference string) error {
	return fault.Coded(fault.Conflict, scim.CodeValue, "No earlier operation made bulkId "+strconv.Quote(reference))
}

// resolve puts the ids of what earlier operations made in the place of their
// bulkIds, where a text is such a reference as a whole.
func resolve(data json.RawMessage, made map[string]string) ([]byte, error) {
	if !strings.Contains(string(data), "bulkId:") {
		return data, nil
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fault.Coded(fault.Invalid, scim.CodeSyntax, "The data of an operation can't be read").WithCause(err)
	}
	var missing string
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case string:
			if reference, ok := strings.CutPrefix(v, "bulkId:"); ok {
				if id, ok := made[reference]; ok {
					return id
				}
				missing = reference
			}
		}
		return v
	}
	out, err := json.Marshal(walk(v))
	if missing != "" {
		return nil, unresolved(missing)
	}
	return out, err
}
