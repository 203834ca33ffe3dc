package scimapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/scimapi"
	"carnet.dev/carnet/internal/edge/sql"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlprovisioning "carnet.dev/carnet/internal/edge/sql/provisioning"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/provisioning"
)

const (
	userURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	patchURN      = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

// nobody has no login sessions; list gives every role of one account; notes counts
// records and revocations.
type (
	nobody struct{}
	list   struct{}
	notes  struct{ records, revoked atomic.Int64 }
)

func (nobody) Resume(context.Context, secret.Text) (login.LoginSession, error) {
	return login.LoginSession{}, fault.New(fault.Unauthenticated, "nobody")
}

func (nobody) ResumeCLI(context.Context, secret.Text) (login.LoginSession, error) {
	return login.LoginSession{}, fault.New(fault.Unauthenticated, "nobody")
}
func (nobody) NeedsSetup(context.Context) (bool, error) { return false, nil }

func (list) Admits(_ context.Context, _ identity.IdPID, r arn.Role) error {
	if r.Account != "111122223333" {
		return fault.New(fault.Denied, "not on the list")
	}
	return nil
}

func (n *notes) Record(context.Context, event.Event) error { n.records.Add(1); return nil }
func (n *notes) Revoke(context.Context, string, string) (uint64, error) {
	n.revoked.Add(1)
	return 1, nil
}

// client is a provisioning system.
type client struct {
	t      *testing.T
	base   string
	bearer string
	notes  *notes
	svc    *provisioning.Service
	stands atomic.Int64 // the clock of requests' rates, in ns; 0: it goes
}

func (c *client) now() time.Time {
	if at := c.stands.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Now()
}

func serve(t *testing.T) *client {
	t.Helper()
	db := sqltest.Open(t)
	return serveOn(t, db)
}

func serveOn(t *testing.T, db *sql.DB) *client {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	base, err := url.Parse("http://" + srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, base: base.String() + "/scim/v2", notes: &notes{}}
	store := sqlprovisioning.Store{DB: db}
	c.svc, err = provisioning.Open(t.Context(), provisioning.Config{Store: store, Credentials: store, Lists: list{}, Members: sqldirectory.Store{DB: db},
		Revocations: c.notes, State: db, Trail: c.notes, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Base: c.base})
	if err != nil {
		t.Fatal(err)
	}
	site, err := httpd.New(httpd.Config{BaseURL: base, Sessions: nobody{}, Provisioners: c.svc, Page: httpd.Problem, Now: time.Now, Logger: slog.New(slog.DiscardHandler)},
		scimapi.Routes(scimapi.Config{Provisioning: c.svc, Lists: c.svc, Roles: func(identity.IdPID) []string { return nil }, Now: c.now}))
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = site
	srv.Start()
	t.Cleanup(srv.Close)
	c.bearer = c.credential("idp_corp", provisioning.User, provisioning.Group, provisioning.ServicePrincipal)
	return c
}

func (c *client) credential(idp identity.IdPID, kinds ...provisioning.Kind) string {
	c.t.Helper()
	_, bearer, err := c.svc.MakeCredential(c.t.Context(), provisioning.NewCredential{IdP: idp, Label: "l", Owner: "o", Kinds: kinds})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.svc.Load(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	return bearer.Reveal()
}

// call sends a request, again where it is told to wait, as provisioning systems do.
func (c *client) call(method, path, body string, headers ...string) (int, http.Header, map[string]any) {
	c.t.Helper()
	for {
		req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, bytes.NewReader([]byte(body)))
		if err != nil {
			c.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.bearer)
		if body != "" {
			req.Header.Set("Content-Type", "application/scim+json; charset=utf-8")
		}
		for i := 0; i+1 < len(headers); i += 2 {
			if req.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
				req.Header.Del(headers[i])
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			c.t.Error(err)
			return 0, nil, nil
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			c.t.Error(err)
			return 0, nil, nil
		}
		if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "" {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		var out map[string]any
		if len(text) > 0 && json.Unmarshal(text, &out) != nil {
			c.t.Errorf("%s %s answers %s", method, path, text)
		}
		return resp.StatusCode, resp.Header, out
	}
}

func (c *client) want(status int, method, path, body string, headers ...string) map[string]any {
	c.t.Helper()
	got, _, out := c.call(method, path, body, headers...)
	if got != status {
		c.t.Fatalf("%s %s %s: %d %v, want %d", method, path, body, got, out, status)
	}
	return out
}

func (c *client) user(rest string) string {
	c.t.Helper()
	return c.want(201, "POST", "/Users", `{"schemas":["`+userURN+`"],`+rest+`}`)["id"].(string)
}

func (c *client) patch(path, operations string) map[string]any {
	c.t.Helper()
	return c.want(200, "PATCH", path, `{"schemas":["`+patchURN+`"],"Operations":[`+operations+`]}`)
}

func (c *client) find(filter string) []any {
	c.t.Helper()
	return c.want(200, "GET", "/Users?filter="+url.QueryEscape(filter), "")["Resources"].([]any)
}

func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestOkta: the requests of Okta's SCIM 2.0 client, in the order in which it sends them.
func TestOkta(t *testing.T) {
	t.Parallel()
	c := serve(t)
	page := c.want(200, "GET", "/Users?startIndex=1&count=2", "")
	same(t, "an empty page", []any{page["totalResults"], page["startIndex"], page["itemsPerPage"], page["Resources"], page["schemas"]},
		[]any{0, 1, 0, []any{}, []any{"urn:ietf:params:scim:api:messages:2.0:ListResponse"}})
	same(t, "an unknown name", len(c.find(`userName eq "ann@example.com"`)), 0)
	missing := c.want(404, "GET", "/Users/psn_aaaaaaaaaaaaaaaaaaaaaaaaaa", "")
	same(t, "the status in an error is a text", []any{missing["status"], missing["schemas"]}, []any{"404", []any{"urn:ietf:params:scim:api:messages:2.0:Error"}})
	same(t, "without a token", c.want(401, "GET", "/Users", "", "Authorization", "")["status"], "401")
	same(t, "with another token", c.want(401, "GET", "/Users", "", "Authorization", "Bearer carnet-scim-"+strings.Repeat("a", 43))["status"], "401")

	made := c.want(201, "POST", "/Users", `{"schemas":["`+userURN+`"],"userName":"Ann@example.com","name":{"givenName":"Ann","familyName":"Lee"},"emails":[{"primary":true,"value":"ann@example.com","type":"work"}],
		"displayName":"Ann Lee","locale":"en-US","externalId":"00u1","groups":[],"password":"1mz050nq","active":true}`)
	id := made["id"].(string)
	same(t, "what was made", []any{made["userName"], at(made, "name", "familyName"), at(made, "emails", 0, "value"), made["active"], at(made, "meta", "resourceType"), made["password"]},
		[]any{"Ann@example.com", "Lee", "ann@example.com", true, "User", nil})
	same(t, "again", c.want(409, "POST", "/Users", `{"schemas":["`+userURN+`"],"userName":"ANN@example.com"}`)["scimType"], "uniqueness")
	same(t, "found in other letters", len(c.find(`userName eq "ANN@EXAMPLE.COM"`)), 1)

	put := c.want(200, "PUT", "/Users/"+id, `{"schemas":["`+userURN+`"],"id":"`+id+`","userName":"ann@example.com","name":{"givenName":"Ann","familyName":"Smith"},"active":true,"meta":{"resourceType":"User"}}`)
	same(t, "PUT replaces, and clears", []any{at(put, "name", "familyName"), put["displayName"], put["emails"]}, []any{"Smith", nil, nil})
	off := c.patch("/Users/"+id, `{"op":"replace","value":{"active":false}}`)
	same(t, "switched off", off["active"], false)
	if c.notes.revoked.Load() == 0 {
		t.Error("switching off revokes nothing")
	}

	group := c.want(201, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Team","members":[{"value":"`+id+`","display":"ann@example.com"}]}`)
	gid := group["id"].(string)
	renamed := c.patch("/Groups/"+gid, `{"op":"replace","value":{"id":"`+gid+`","displayName":"The team"}}`)
	same(t, "renamed, with the id in the value", []any{renamed["displayName"], at(renamed, "members", 0, "value")}, []any{"The team", id})
	left := c.patch("/Groups/"+gid, `{"op":"remove","path":"members[value eq \"`+id+`\"]"}`)
	same(t, "removed by filter", left["members"], nil)
	for i := range 3 {
		c.user(fmt.Sprintf(`"userName":"more%d@example.com"`, i))
	}
	second := c.want(200, "GET", "/Users?startIndex=3&count=2", "")
	same(t, "the second page", []any{second["totalResults"], second["startIndex"], second["itemsPerPage"]}, []any{4, 3, 2})
	c.want(204, "DELETE", "/Groups/"+gid, "")
	c.want(404, "GET", "/Groups/"+gid, "")
}

// TestEntra: the requests of Entra ID's provisioning service, both of its dialects.
func TestEntra(t *testing.T) {
	t.Parallel()
	c := serve(t)
	id := c.user(`"externalId":"ann","userName":"ann@contoso.example","active":true,"displayName":"Ann","emails":[{"type":"work","primary":true,"value":"ann@contoso.example"}],"meta":{"resourceType":"User"},
		"name":{"formatted":"Ann Lee","familyName":"Lee","givenName":"Ann"},"roles":[],"` + enterpriseURN + `":{"department":"D1"}`)
	boss := c.user(`"userName":"boss@contoso.example"`)
	path := "/Users/" + id
	same(t, "by externalId", len(c.find(`externalId eq "ann"`)), 1)
	for _, x := range []struct {
		what, operations string
		path             []any
		want             any
	}{
		{"Op in capitals", `{"Op":"Replace","path":"displayName","value":"Ann L."}`, []any{"displayName"}, "Ann L."},
		{"booleans as texts", `{"op":"Replace","path":"active","value":"False"}`, []any{"active"}, false},
		{"and back", `{"op":"Replace","path":"active","value":"True"}`, []any{"active"}, true},
		{"a value of a kind", `{"op":"Replace","path":"emails[type eq \"work\"].value","value":"a@contoso.example"}`, []any{"emails", 0, "value"}, "a@contoso.example"},
		{"a kind that is not there yet", `{"op":"Add","path":"phoneNumbers[type eq \"mobile\"].value","value":"+1 555"}`, []any{"phoneNumbers", 0, "value"}, "+1 555"},
		{"dotted names in a value", `{"op":"Add","value":{"name.givenName":"Anna","title":"Dr","` + enterpriseURN + `:department":"D2"}}`, []any{"name", "givenName"}, "Anna"},
		{"the extension, by its URN", `{"op":"Replace","path":"` + enterpriseURN + `:department","value":"D3"}`, []any{enterpriseURN, "department"}, "D3"},
		{"a manager as a text", `{"op":"Add","path":"` + enterpriseURN + `:manager","value":"` + boss + `"}`, []any{enterpriseURN, "manager", "value"}, boss},
		{"a manager as an object", `{"op":"Replace","path":"` + enterpriseURN + `:manager","value":{"value":"` + boss + `"}}`, []any{enterpriseURN, "manager", "value"}, boss},
		{"no manager", `{"op":"Remove","path":"` + enterpriseURN + `:manager"}`, []any{enterpriseURN, "manager"}, nil},
		{"an empty text clears", `{"op":"Replace","path":"title","value":""}`, []any{"title"}, nil},
		{"null clears", `{"op":"Replace","value":{"displayName":null}}`, []any{"displayName"}, nil},
		{"several at once", `{"op":"Add","path":"nickName","value":"N"},{"op":"Replace","path":"nickName","value":"M"}`, []any{"nickName"}, "M"},
		{"roles", `{"op":"Add","path":"roles","value":[{"value":"arn:aws:iam::111122223333:role/a"}]}`, []any{"roles", 0, "value"}, "arn:aws:iam::111122223333:role/a"},
	} {
		same(t, x.what, at(c.patch(path, x.operations), x.path...), x.want)
	}
	before, _, _ := c.call("GET", path, "")
	same(t, "still there", before, 200)
	// One of several is wrong: none counts.
	c.want(400, "PATCH", path, `{"schemas":["`+patchURN+`"],"Operations":[{"op":"replace","path":"nickName","value":"lost"},{"op":"replace","path":"nonsense[","value":"x"}]}`)
	same(t, "none counts", c.want(200, "GET", path, "")["nickName"], "M")

	group := c.want(201, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],"externalId":"g1","displayName":"Team","meta":{"resourceType":"Group"}}`)
	gid := group["id"].(string)
	c.patch("/Groups/"+gid, `{"op":"Add","path":"members","value":[{"value":"`+id+`"},{"value":"`+boss+`"}]}`)
	slim := c.want(200, "GET", "/Groups/"+gid+"?excludedAttributes=members", "")
	same(t, "without members", []any{slim["displayName"], slim["members"]}, []any{"Team", nil})
	left := c.patch("/Groups/"+gid, `{"op":"Remove","path":"members","value":[{"value":"`+id+`"}]}`)
	same(t, "removed by a list of values", []any{len(at(left, "members").([]any)), at(left, "members", 0, "value")}, []any{1, boss})
	same(t, "a group by name", len(c.want(200, "GET", "/Groups?excludedAttributes=members&filter="+url.QueryEscape(`displayName eq "team"`), "")["Resources"].([]any)), 1)
	for i := range 11 {
		c.user(fmt.Sprintf(`"userName":"p%02d@contoso.example"`, i))
	}
	seen := map[any]bool{}
	for start := 1; start <= 13; start += 5 {
		for _, u := range c.want(200, "GET", fmt.Sprintf("/Users?startIndex=%d&count=5", start), "")["Resources"].([]any) {
			seen[at(u, "id")] = true
		}
	}
	same(t, "everybody once in three pages", len(seen), 13)
}

// TestRaces: of many who make the same person one succeeds; of members who are added
// at once none is lost.
func TestRaces(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, conf sql.Config) {
		c := serveOn(t, sqltest.OpenWith(t, conf))
		const many = 20
		var made, refused atomic.Int64
		var wg sync.WaitGroup
		for range many {
			wg.Go(func() {
				switch status, _, _ := c.call("POST", "/Users", `{"schemas":["`+userURN+`"],"userName":"once@example.com"}`); status {
				case 201:
					made.Add(1)
				case 409:
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		same(t, "racing creates", []any{made.Load(), refused.Load()}, []any{1, many - 1})

		gid := c.want(201, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"all"}`)["id"].(string)
		ids := make([]string, many)
		for i := range ids {
			ids[i] = c.user(fmt.Sprintf(`"userName":"m%d"`, i))
		}
		for _, id := range ids {
			wg.Go(func() { c.patch("/Groups/"+gid, `{"op":"add","path":"members","value":[{"value":"`+id+`"}]}`) })
		}
		wg.Wait()
		members, _ := c.want(200, "GET", "/Groups/"+gid, "")["members"].([]any)
		same(t, "racing member adds", len(members), many)
	})
}

// TestAttackSCIM: what a stranger, another provider's system or one with less scope
// sends gets nothing and changes nothing.
func TestAttackSCIM(t *testing.T) {
	t.Parallel()
	c := serve(t)
	ann := c.user(`"userName":"ann","roles":[{"value":"arn:aws:iam::111122223333:role/a"}]`)
	records := c.notes.records.Load()
	corp := c.bearer
	c.bearer = c.credential("idp_lab", provisioning.User)
	records++ // of the credential
	same(t, "another provider's person", c.want(404, "GET", "/Users/"+ann, "")["status"], "404")
	same(t, "in a list", c.want(200, "GET", "/Users", "")["totalResults"], 0)
	c.want(404, "PATCH", "/Users/"+ann, `{"schemas":["`+patchURN+`"],"Operations":[{"op":"replace","path":"active","value":false}]}`)
	c.want(404, "DELETE", "/Users/"+ann, "")
	c.want(403, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"g"}`)
	c.bearer = corp
	for name, x := range map[string]struct {
		method, path, body string
		want               int
	}{
		"a role outside the list":  {"PATCH", "/Users/" + ann, `{"schemas":["` + patchURN + `"],"Operations":[{"op":"add","path":"roles","value":[{"value":"arn:aws:iam::999999999999:role/a"}]}]}`, 400},
		"no ARN":                   {"PATCH", "/Users/" + ann, `{"schemas":["` + patchURN + `"],"Operations":[{"op":"add","path":"roles","value":[{"value":"root"}]}]}`, 400},
		"a filter of SQL":          {"GET", "/Users?filter=" + url.QueryEscape(`userName eq "x' OR '1'='1"`), "", 200},
		"a broken filter":          {"GET", "/Users?filter=" + url.QueryEscape(`userName eq "x" or`), "", 400},
		"a deep filter":            {"GET", "/Users?filter=" + url.QueryEscape(strings.Repeat("(", 500)+`id pr`+strings.Repeat(")", 500)), "", 400},
		"a deep document":          {"POST", "/Users", strings.Repeat(`{"name":`, 5000) + "1" + strings.Repeat("}", 5000), 400},
		"a huge document":          {"POST", "/Users", `{"schemas":["` + userURN + `"],"userName":"` + strings.Repeat("a", 20<<20) + `"}`, 413},
		"another member's id":      {"POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"g2","members":[{"value":"psn_aaaaaaaaaaaaaaaaaaaaaaaaaa"}]}`, 400},
		"an old version":           {"PUT", "/Users/" + ann, `{"schemas":["` + userURN + `"],"userName":"ann2"}`, 412},
		"another method":           {"PUT", "/Users", `{}`, 405},
		"another content type":     {"POST", "/Users", `{}`, 400},
		"a name that can't be one": {"POST", "/Users", `{"schemas":["` + userURN + `"],"userName":"a\u0000b"}`, 400},
	} {
		headers := []string{}
		if name == "an old version" {
			headers = []string{"If-Match", `W/"99"`}
		}
		if name == "another content type" {
			headers = []string{"Content-Type", "text/plain"}
		}
		status, _, out := c.call(x.method, x.path, x.body, headers...)
		if status != x.want {
			t.Errorf("%s: %d %v, want %d", name, status, out, x.want)
		}
		if name == "a filter of SQL" {
			same(t, name, out["totalResults"], 0)
		}
	}
	same(t, "records of refused requests", c.notes.records.Load(), records)
	same(t, "what is left", at(c.want(200, "GET", "/Users/"+ann, ""), "userName"), "ann")
}

// TestBulk: operations of one request may name what earlier ones made.
func TestBulk(t *testing.T) {
	t.Parallel()
	c := serve(t)
	out := c.want(200, "POST", "/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[
		{"method":"POST","path":"/Users","bulkId":"u","data":{"schemas":["`+userURN+`"],"userName":"ann"}},
		{"method":"POST","path":"/Groups","bulkId":"g","data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"team","members":[{"value":"bulkId:u"}]}},
		{"method":"PATCH","path":"/Groups/bulkId:g","data":{"schemas":["`+patchURN+`"],"Operations":[{"op":"replace","path":"displayName","value":"The team"}]}},
		{"method":"POST","path":"/Users","bulkId":"again","data":{"schemas":["`+userURN+`"],"userName":"ANN"}},
		{"method":"DELETE","path":"/Users/bulkId:nobody"}]}`)
	var statuses []any
	for _, o := range out["Operations"].([]any) {
		statuses = append(statuses, at(o, "status"))
	}
	same(t, "statuses", statuses, []any{201, 201, 200, 409, 409})
	groups := c.want(200, "GET", "/Groups", "")["Resources"].([]any)
	same(t, "the group", []any{len(groups), at(groups, 0, "displayName"), len(at(groups, 0, "members").([]any))}, []any{1, "The team", 1})
}

// TestSearch: by POST in one kind and in all.
func TestSearch(t *testing.T) {
	t.Parallel()
	c := serve(t)
	c.user(`"userName":"ann","nickName":"x"`)
	c.want(201, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"x"}`)
	c.want(201, "POST", "/ServicePrincipals", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"],"displayName":"x"}`)
	search := func(path, rest string) map[string]any {
		return c.want(200, "POST", path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]`+rest+`}`)
	}
	same(t, "in one kind", search("/Users/.search", `,"filter":"nickName eq \"x\""`)["totalResults"], 1)
	same(t, "in all", search("/.search", "")["totalResults"], 3)
	same(t, "by what some have", search("/.search", `,"filter":"displayName eq \"x\""`)["totalResults"], 2)
	last := search("/.search", `,"startIndex":3,"count":5`)
	same(t, "the last of three", []any{last["totalResults"], last["itemsPerPage"], at(last, "Resources", 0, "meta", "resourceType")}, []any{3, 1, "ServicePrincipal"})
	c.want(400, "POST", "/.search", `{"schemas":[],"filter":"nonsense eq"}`)
}

// TestRate: a credential that asks too often is told when to come again, and another
// one is not held up.
func TestRate(t *testing.T) {
	t.Parallel()
	c := serve(t)
	other := c.credential("idp_lab", provisioning.User)
	limited := false
	for range 200 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/ServiceProviderConfig", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.bearer)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests {
			limited = resp.Header.Get("Retry-After") != ""
			break
		}
	}
	if !limited {
		t.Error("nothing bounds a credential, or it is not told when to come again")
	}
	c.bearer = other
	if status, _, _ := c.call("GET", "/ServiceProviderConfig", ""); status != http.StatusOK {
		t.Errorf("another credential is answered with %d", status)
	}
}
