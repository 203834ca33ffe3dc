package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/edge/api/clusterdoc"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/denial"
)

// schema is the part of JSON Schema that openapi.json uses; another keyword
// there fails the reading.
type schema struct {
	Ref         string             `json:"$ref"`
	Type        any                `json:"type"`
	Description string             `json:"description"`
	Format      string             `json:"format"`
	Enum        []string           `json:"enum"`
	Required    []string           `json:"required"`
	Extra       *bool              `json:"additionalProperties"`
	Properties  map[string]*schema `json:"properties"`
	Items       *schema            `json:"items"`
	AnyOf       []*schema          `json:"anyOf"`
}

type content map[string]struct {
	Schema *schema `json:"schema"`
}

type operation struct {
	Summary  string           `json:"summary"`
	Security *json.RawMessage `json:"security"`
	Body     *struct {
		Content content `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content content `json:"content"`
	} `json:"responses"`
}

type document struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

func readDocument(t *testing.T, base string) document {
	t.Helper()
	status, _, b := call(t, "GET", base+"/api/v1/openapi.json", "")
	var whole struct {
		Components struct {
			Schemas json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	if err := json.Unmarshal(b, &whole); err != nil {
		t.Fatal(err)
	}
	strict := json.NewDecoder(strings.NewReader(string(whole.Components.Schemas)))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d.Components.Schemas); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDocumentHasExactlyTheRoutes holds paths, methods and access.
func TestDocumentHasExactlyTheRoutes(t *testing.T) {
	t.Parallel()
	_, base, rows := serve(t)
	d := readDocument(t, base)
	described := 0
	for _, methods := range d.Paths {
		described += len(methods)
	}
	if described != len(rows) {
		t.Errorf("openapi.json describes %d operations, the table has %d rows", described, len(rows))
	}
	for _, r := range rows {
		op, ok := d.Paths[r.Pattern][strings.ToLower(r.Method)]
		if !ok {
			t.Errorf("openapi.json lacks %s %s", r.Method, r.Pattern)
			continue
		}
		if open := op.Security != nil && string(*op.Security) == "[]"; open != (r.Access < httpd.Node) {
			t.Errorf("%s %s: the document says open %v, the table %s", r.Method, r.Pattern, open, r.Access)
		}
		if takesBody := op.Body != nil; takesBody != (r.Method == http.MethodPost || r.Method == http.MethodPatch) {
			t.Errorf("%s %s: body %v", r.Method, r.Pattern, takesBody)
		}
	}
}

// TestDocumentHasExactlyTheFields holds each schema to the type that the
// server writes or reads, and to the one of the client.
func TestDocumentHasExactlyTheFields(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	d := readDocument(t, base)
	held := map[string]bool{}
	for _, v := range []any{
		api.Session{}, api.Person{}, api.LoginSession{}, api.Endpoints{}, api.Roles{}, api.Role{}, api.RoleError{}, api.RoleWarning{},
		api.CredentialsRequest{}, api.Credentials{}, api.PlaceEndpoints{}, api.CLITokenRequest{}, api.CLIToken{},
		ssodoc.IdentityProviders{}, ssodoc.IdentityProvider{}, ssodoc.Settings{}, ssodoc.RoleTemplate{}, ssodoc.Metadata{}, ssodoc.PendingMetadata{},
		ssodoc.Certificate{}, ssodoc.MetadataFields{}, ssodoc.NewIdentityProvider{}, ssodoc.IdentityProviderChange{}, ssodoc.Seen{},
		ssodoc.OpenIDProvider{}, ssodoc.OpenIDSettings{}, ssodoc.SAMLKeys{}, ssodoc.SAMLKey{}, ssodoc.SAMLKeyRequest{}, ssodoc.SingleSignOn{}, ssodoc.SingleSignOnChange{},
		api.AdministratorRoles{}, api.AdministratorRole{}, api.AdministratorCredentialsRequest{}, client.AdministratorRole{},
		api.Issuers{}, api.Issuer{}, api.AccountPlace{}, client.Issuer{}, api.IDTokenRequest{}, api.IDToken{},
		audit.Found{}, audit.Document{}, audit.UserIdentity{}, audit.Link{}, api.DenialList{}, denial.Denial{}, denial.Check{}, denial.Statement{},
		api.Upstreams{}, api.Upstream{}, api.UpstreamEndpoint{}, client.Upstream{}, client.UpstreamEndpoint{},
		api.AttachmentList{}, api.Attachment{}, api.AttachmentApproval{}, api.ApprovedAttachment{}, api.NewAttachment{},
		api.Revocation{}, api.Revoked{}, api.ServerApplied{}, api.OutstandingKey{}, api.PastRevocations{}, api.PastRevocation{},
		api.DelegationList{}, api.Delegation{}, api.NewDelegation{}, client.Delegation{}, client.NewDelegation{},
		api.GatewayKeyList{}, api.GatewayKey{}, api.NewGatewayKey{}, api.MadeGatewayKey{}, api.GatewayKeyRoll{}, api.GatewayClusterList{}, api.GatewayCluster{},
		api.TrinoMappingRequest{}, api.TrinoMapping{}, api.TrinoRule{}, api.PrefixGrantList{}, api.PrefixGrant{}, api.NewPrefixGrant{},
		clusterdoc.ClusterList{}, clusterdoc.Cluster{}, clusterdoc.ClusterMember{}, clusterdoc.NewCluster{}, clusterdoc.ClusterSettings{}, clusterdoc.ClusterChange{},
		clusterdoc.Assignment{}, clusterdoc.JoinTokenRequest{}, clusterdoc.JoinToken{}, clusterdoc.NodeList{}, clusterdoc.Node{},
		client.Session{}, client.Person{}, client.LoginSession{}, client.Endpoints{}, client.Role{}, client.RoleError{}, client.RoleWarning{},
	} {
		ty := reflect.TypeOf(v)
		s := d.Components.Schemas[ty.Name()]
		if s == nil {
			t.Errorf("no schema for %s", ty)
			continue
		}
		held[ty.Name()] = true
		sameFields(t, ty, s)
	}
	sameFields(t, reflect.TypeFor[httpd.ProblemDocument](), d.Components.Schemas["Problem"])
	held["Problem"] = true
	for name := range d.Components.Schemas {
		if !held[name] {
			t.Errorf("schema %s belongs to no type", name)
		}
	}
	var kinds []string
	for _, k := range fault.Kinds() {
		kinds = append(kinds, k.String())
	}
	if got := d.Components.Schemas["Problem"].Properties["kind"].Enum; !slices.Equal(got, kinds) {
		t.Errorf("kinds %v, want %v", got, kinds)
	}
}

func sameFields(t *testing.T, ty reflect.Type, s *schema) {
	t.Helper()
	if s.Extra == nil || *s.Extra {
		t.Errorf("schema %s admits members that it does not name", ty.Name())
	}
	if ty.NumField() != len(s.Properties) {
		t.Errorf("%s has %d fields, its schema %d", ty, ty.NumField(), len(s.Properties))
	}
	for i := range ty.NumField() {
		f := ty.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := s.Properties[name]
		if p == nil {
			t.Errorf("%s.%s: the schema lacks %q", ty, f.Name, name)
			continue
		}
		if got, want := schemaKind(p), goKind(f.Type); got != want {
			t.Errorf("%s.%s: the schema says %s, Go %s", ty, f.Name, got, want)
		}
	}
}

func schemaKind(s *schema) string {
	switch {
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case fmt.Sprint(s.Type) == "[integer null]":
		return "integer or null"
	case len(s.AnyOf) == 2:
		return schemaKind(s.AnyOf[0]) + " or " + schemaKind(s.AnyOf[1])
	case s.Format == "date-time" && s.Type == "string":
		return "time"
	case s.Format == "date-time":
		return "time or null"
	case s.Type == "array":
		return "list of " + schemaKind(s.Items)
	}
	return fmt.Sprint(s.Type)
}

func goKind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Pointer:
		return goKind(t.Elem()) + " or null"
	case t.Kind() == reflect.Slice:
		return "list of " + goKind(t.Elem())
	case t.Kind() == reflect.Struct:
		return t.Name()
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Map:
		return "object"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "integer"
	}
	return t.Kind().String()
}

// TestAnswersFollowTheDocument makes each call and holds status, media type
// and body against the schema.
func TestAnswersFollowTheDocument(t *testing.T) {
	t.Parallel()
	w, base, rows := serve(t)
	d := readDocument(t, base)
	p := w.enter(t)
	bodies := map[string]string{
		"POST /api/v1/cli/tokens":                      `{"code":"code","verifier":"verifier"}`,
		"POST /api/v1/roles/credentials":               `{"role":"analyst"}`,
		"POST /api/v1/id-tokens":                       `{"audience":"sts.amazonaws.com","role":"analyst"}`,
		"POST /api/v1/identity-providers":              `{"name":"n","metadata":"<x/>","accounts":[],"role_patterns":[],"user_name_domains":[]}`,
		"PATCH /api/v1/identity-providers/{id}":        `{"enabled":false}`,
		"POST /api/v1/identity-providers/{id}/refresh": `{}`,
		"POST /api/v1/identity-providers/{id}/accept":  `{}`,
		"POST /api/v1/identity-providers/{id}/refuse":  `{}`,
		"POST /api/v1/saml-keys":                       `{"purpose":"signing"}`,
		"POST /api/v1/saml-keys/promote":               `{"purpose":"signing"}`,
		"PATCH /api/v1/single-sign-on":                 `{"unified_login":false}`,

		"POST /api/v1/revocations":               `{"kind":"person","id":"bob"}`,
		"POST /api/v1/attachments/approve":       `{"user_code":"BBBB-BBBB"}`,
		"POST /api/v1/clusters/{id}/attachments": `{"node":"n1","person":"ada","uid":1001,"scope":"/a","scope_id":"1"}`,

		"POST /api/v1/gateway-keys":     `{"login_session":"lgn_bob","networks":["10.0.0.0/8"]}`,
		"POST /api/v1/gateway-clusters": `{"name":"trino","networks":["10.0.0.0/8"]}`,
		"POST /api/v1/clusters":         `{"name":"lab","kind":"standard","settings":{}}`,
		"POST /api/v1/prefix-grants":    `{"place":"s3://sales","role":"` + analyst.String() + `"}`,
	}
	want := map[string]int{"POST /api/v1/id-tokens": 200, "GET /api/v1/issuers": 200, "GET /api/v1/accounts/{account}/place": 200, "GET /api/v1/identity-providers": 200, "GET /api/v1/identity-providers/{id}": 200, "PATCH /api/v1/identity-providers/{id}": 200,
		"DELETE /api/v1/identity-providers/{id}": 204, "POST /api/v1/identity-providers/{id}/refresh": 404, "POST /api/v1/identity-providers/{id}/accept": 404,
		"GET /api/v1/saml-keys": 200, "POST /api/v1/saml-keys": 201, "POST /api/v1/saml-keys/promote": 200, "DELETE /api/v1/saml-keys/{id}": 404,
		"GET /api/v1/single-sign-on": 200, "PATCH /api/v1/single-sign-on": 200,
		"GET /api/v1/attachments": 200, "DELETE /api/v1/attachments/{id}": 204, "POST /api/v1/attachments/approve": 200, "GET /api/v1/clusters/{id}/attachments": 200,
		"POST /api/v1/clusters/{id}/attachments": 401, "DELETE /api/v1/clusters/{id}/attachments/{attachment}": 204,
		"GET /api/v1/gateway-keys": 200, "POST /api/v1/gateway-keys": 201, "GET /api/v1/gateway-clusters": 200, "POST /api/v1/gateway-clusters": 200,
		"GET /api/v1/clusters": 200, "POST /api/v1/clusters": 201,
		"GET /api/v1/revocations": 200, "POST /api/v1/revocations": 200,
		"GET /api/v1/prefix-grants": 200, "POST /api/v1/prefix-grants": 201}
	for _, r := range rows {
		key := r.Method + " " + r.Pattern
		op := d.Paths[r.Pattern][strings.ToLower(r.Method)]
		at := base + strings.Replace(r.Pattern, "{id}", string(p.ID), 1)
		status, header, body := call(t, r.Method, at, bodies[key], "Cookie", "carnet=admin")
		holds(t, d, key, op, status, header, body)
		if want[key] != 0 && status != want[key] {
			t.Errorf("%s: status %d, want %d: %s", key, status, want[key], body)
		}
		if r.Access >= httpd.Node {
			status, header, body = call(t, r.Method, at, bodies[key])
			if status != 401 {
				t.Errorf("%s by a stranger: status %d", key, status)
			}
			holds(t, d, key, op, status, header, body)
		}
	}
}

func holds(t *testing.T, d document, key string, op operation, status int, header http.Header, body []byte) {
	t.Helper()
	res, ok := op.Responses[strconv.Itoa(status)]
	if !ok {
		if res, ok = op.Responses["default"]; !ok || status < 400 {
			t.Errorf("%s: status %d is not described", key, status)
			return
		}
	}
	if len(res.Content) == 0 {
		if len(body) > 0 {
			t.Errorf("%s: a body where none is described: %s", key, body)
		}
		return
	}
	media, ok := res.Content[header.Get("Content-Type")]
	if !ok {
		t.Errorf("%s: %d in %q is not described", key, status, header.Get("Content-Type"))
		return
	}
	documents := [][]byte{body}
	if header.Get("Content-Type") == "application/jsonl" {
		documents = slices.Collect(bytes.Lines(body))
	}
	for _, one := range documents {
		var v any
		if err := json.Unmarshal(one, &v); err != nil {
			t.Errorf("%s: %v", key, err)
			return
		}
		for _, problem := range d.violations(media.Schema, v, key) {
			t.Error(problem)
		}
	}
}

// violations lists where v is not what s says.
func (d document) violations(s *schema, v any, at string) []string {
	if s.Ref != "" {
		s = d.Components.Schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]]
	}
	if len(s.AnyOf) > 0 {
		for _, one := range s.AnyOf {
			if len(d.violations(one, v, at)) == 0 {
				return nil
			}
		}
		return []string{at + ": none of the choices"}
	}
	types := []string{fmt.Sprint(s.Type)}
	if several, ok := s.Type.([]any); ok {
		types = nil
		for _, one := range several {
			types = append(types, one.(string))
		}
	}
	if got := jsonType(v); !slices.Contains(types, got) {
		return []string{fmt.Sprintf("%s: %s, want %v", at, got, types)}
	}
	var out []string
	switch v := v.(type) {
	case string:
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
			out = append(out, fmt.Sprintf("%s: %q is not one of %v", at, v, s.Enum))
		}
		if s.Format == "date-time" {
			if _, err := time.Parse("2006-01-02T15:04:05Z", v); err != nil {
				out = append(out, at+": "+err.Error())
			}
		}
	case []any:
		for i, one := range v {
			out = append(out, d.violations(s.Items, one, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				out = append(out, at+": lacks "+name)
			}
		}
		for name, one := range v {
			if p := s.Properties[name]; p != nil {
				out = append(out, d.violations(p, one, at+"."+name)...)
			} else if s.Extra != nil && !*s.Extra {
				out = append(out, at+": has "+name)
			}
		}
	}
	return out
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "integer"
}
