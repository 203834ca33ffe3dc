package scimapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/scimapi"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/provisioning"
)

const groupURN = "urn:ietf:params:scim:schemas:core:2.0:Group"

// TestKeycloak: what the SCIM clients that are added to Keycloak send: whole documents
// by PUT, their own id where externalId belongs, and PATCH of members with references.
func TestKeycloak(t *testing.T) {
	t.Parallel()
	c := serve(t)
	made := c.want(201, "POST", "/Users", `{"schemas":["`+userURN+`"],"id":"4affcc8f-d94b-4248-b9ab-5eb7d3cfc8d2","externalId":"4affcc8f-d94b-4248-b9ab-5eb7d3cfc8d2","userName":"ann",
		"name":{"givenName":"Ann","familyName":"Lee"},"displayName":"Ann Lee","emails":[{"value":"ann@example.com","primary":true}],"active":true,"roles":[]}`)
	id := made["id"].(string)
	if id == "4affcc8f-d94b-4248-b9ab-5eb7d3cfc8d2" {
		t.Error("the client chose the id")
	}
	same(t, "known by the client's own id", len(c.find(`externalId eq "4affcc8f-d94b-4248-b9ab-5eb7d3cfc8d2"`)), 1)
	group := c.want(201, "POST", "/Groups", `{"schemas":["`+groupURN+`"],"id":"48ac54b1-d582-493e-95d1-4c077dd57e9c","externalId":"48ac54b1-d582-493e-95d1-4c077dd57e9c","displayName":"Engineering"}`)
	gid := group["id"].(string)
	joined := c.want(200, "PUT", "/Groups/"+gid, `{"schemas":["`+groupURN+`"],"id":"`+gid+`","externalId":"48ac54b1-d582-493e-95d1-4c077dd57e9c","displayName":"Engineering","members":[{"value":"`+id+`","$ref":"`+c.base+`/Users/`+id+`","type":"User"}]}`)
	same(t, "joined by PUT", at(joined, "members", 0, "value"), id)
	off := c.want(200, "PUT", "/Users/"+id, `{"schemas":["`+userURN+`"],"id":"`+id+`","externalId":"4affcc8f-d94b-4248-b9ab-5eb7d3cfc8d2","userName":"ann","active":false,"meta":{"resourceType":"User","location":"`+c.base+`/Users/`+id+`"}}`)
	same(t, "switched off by PUT, still a member", []any{off["active"], len(at(c.want(200, "GET", "/Groups/"+gid, ""), "members").([]any))}, []any{false, 1})
	if c.notes.revoked.Load() == 0 {
		t.Error("switching off revokes nothing")
	}
	c.patch("/Groups/"+gid, `{"op":"remove","path":"members","value":[{"value":"`+id+`","$ref":"`+c.base+`/Users/`+id+`"}]}`)
	c.patch("/Groups/"+gid, `{"op":"Add","path":"members","value":[{"$ref":"`+c.base+`/Users/`+id+`","value":"`+id+`"}]}`)
	// A PUT that leaves members out clears them, as one of these clients does unawares.
	left := c.want(200, "PUT", "/Groups/"+gid, `{"schemas":["`+groupURN+`"],"id":"`+gid+`","externalId":"48ac54b1-d582-493e-95d1-4c077dd57e9c","displayName":"foo2"}`)
	same(t, "PUT without members", []any{left["members"], left["displayName"]}, []any{nil, "foo2"})
	c.want(204, "DELETE", "/Users/"+id, "")
}

// TestOneLogin: looks by userName first, changes people by PUT or by PATCH with paths,
// and groups by PATCH without a path.
func TestOneLogin(t *testing.T) {
	t.Parallel()
	c := serve(t)
	same(t, "not there yet", len(c.find(`userName eq "ann@example.com"`)), 0)
	made := c.want(201, "POST", "/Users", `{"schemas":["`+userURN+`","`+enterpriseURN+`"],"userName":"ann@example.com","externalId":"93264417","name":{"givenName":"Ann","familyName":"Lee","formatted":"Ann Lee"},
		"emails":[{"value":"ann@example.com","type":"work","primary":true}],"phoneNumbers":[],"active":true,"`+enterpriseURN+`":{"department":"R&D","manager":{}}}`)
	id := made["id"].(string)
	bob := c.user(`"userName":"bob@example.com","externalId":"93264418"`)
	off := c.patch("/Users/"+id, `{"op":"replace","path":"active","value":false}`)
	same(t, "suspended", off["active"], false)
	on := c.patch("/Users/"+id, `{"op":"replace","path":"active","value":true},{"op":"replace","path":"name.familyName","value":"Smith"}`)
	same(t, "back again, with a name", []any{on["active"], at(on, "name", "familyName")}, []any{true, "Smith"})
	gid := c.want(201, "POST", "/Groups", `{"schemas":["`+groupURN+`"],"displayName":"Engineering","members":[]}`)["id"].(string)
	added := c.patch("/Groups/"+gid, `{"op":"add","value":{"members":[{"value":"`+id+`"}]}}`)
	same(t, "added without a path", at(added, "members", 0, "value"), id)
	both := c.patch("/Groups/"+gid, `{"op":"add","path":"members","value":[{"value":"`+bob+`"},{"value":"`+id+`"}]}`)
	same(t, "who is there already is not there twice", len(at(both, "members").([]any)), 2)
	replaced := c.patch("/Groups/"+gid, `{"op":"replace","path":"members","value":[{"value":"`+bob+`"}]}`)
	same(t, "replaced", []any{len(at(replaced, "members").([]any)), at(replaced, "members", 0, "value")}, []any{1, bob})
	empty := c.patch("/Groups/"+gid, `{"op":"replace","value":{"id":"`+gid+`","displayName":"Engineering","members":[]}}`)
	same(t, "emptied", []any{empty["members"], empty["displayName"]}, []any{nil, "Engineering"})
	c.want(204, "DELETE", "/Groups/"+gid, "")
}

// TestJumpCloud: whole documents by PUT, members one PATCH each by lists of values, and
// switching off as the way in which people leave.
func TestJumpCloud(t *testing.T) {
	t.Parallel()
	c := serve(t)
	same(t, "the test of its set-up", c.want(200, "GET", "/Users?count=1&startIndex=1", "")["totalResults"], 0)
	ann := c.user(`"userName":"ann@example.com","externalId":"64f0","active":true,"displayName":"","name":{"givenName":"Ann","familyName":"Lee","middleName":"","formatted":"Ann Lee"},"emails":[{"type":"work","value":"ann@example.com","primary":true}],"addresses":[],"phoneNumbers":[],"preferredLanguage":null,"password":"none of ours"`)
	bob := c.user(`"userName":"bob@example.com","externalId":"64f1"`)
	c.want(409, "POST", "/Users", `{"schemas":["`+userURN+`"],"userName":"ann@example.com"}`)
	gid := c.want(201, "POST", "/Groups", `{"schemas":["`+groupURN+`"],"displayName":"Engineering"}`)["id"].(string)
	for _, id := range []string{ann, bob, ann} {
		c.patch("/Groups/"+gid, `{"op":"add","path":"members","value":[{"value":"`+id+`"}]}`)
	}
	same(t, "added one by one", len(at(c.want(200, "GET", "/Groups/"+gid, ""), "members").([]any)), 2)
	left := c.patch("/Groups/"+gid, `{"op":"remove","path":"members","value":[{"value":"`+ann+`"}]}`)
	same(t, "removed by value", []any{len(at(left, "members").([]any)), at(left, "members", 0, "value")}, []any{1, bob})
	// Who is not a member any more is removed once more: nothing happens.
	c.patch("/Groups/"+gid, `{"op":"remove","path":"members","value":[{"value":"`+ann+`"}]}`)
	off := c.want(200, "PUT", "/Users/"+ann, `{"schemas":["`+userURN+`"],"userName":"ann@example.com","externalId":"64f0","active":false,"name":{"givenName":"Ann","familyName":"Lee"}}`)
	same(t, "left", off["active"], false)
	same(t, "found by what it looks for", len(c.find(`userName eq "ann@example.com" and active eq false`)), 1)
}

// TestAttackOpenRow: there is no row of SCIM that anybody may call: each asks the table
// of routes for the credential of a provisioning system, but /Me, which is a person's.
func TestAttackOpenRow(t *testing.T) {
	t.Parallel()
	c := serve(t)
	rows := scimapi.Routes(scimapi.Config{Provisioning: c.svc, Lists: c.svc, Roles: func(identity.IdPID) []string { return nil }, Now: time.Now})
	for _, r := range rows {
		want := httpd.Provisioner
		if strings.HasSuffix(r.Pattern, "/Me") && r.Method == http.MethodGet {
			want = httpd.Person
		}
		if r.Access != want {
			t.Errorf("%s %s is for %s", r.Method, r.Pattern, r.Access)
		}
	}
	for _, r := range rows {
		path := strings.NewReplacer("{id}", "x", "{rest...}", "y").Replace(strings.TrimPrefix(r.Pattern, scimapi.Bases[0]))
		if path == r.Pattern {
			continue // the other base
		}
		for _, headers := range [][]string{{"Authorization", ""}, {"Authorization", "Bearer carnet-scim-" + strings.Repeat("A", 43)}, {"Authorization", "", "Cookie", "carnet=x"}} {
			if status, got, _ := c.call(r.Method, path, "", headers...); status != 401 || got.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %.24q: %d", r.Method, path, headers, status)
			}
		}
	}
	if len(rows) < 40 {
		t.Errorf("only %d rows were looked at", len(rows))
	}
}

// servers are several on one database, for one provider.
func servers(t *testing.T, conf sql.Config, n int) []*client {
	all := make([]*client, n)
	for i := range all {
		all[i] = serveOn(t, sqltest.OpenWith(t, conf))
	}
	for _, c := range all { // each knows the credentials of those that came after it
		if err := c.svc.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestRacesOfServers: the same at three servers at once, and beside them: of writers
// who all saw one version one wins, and a bulk request that stops at its first error
// has done what it says, no more and no less.
func TestRacesOfServers(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, conf sql.Config) {
		const many = 18
		all := servers(t, conf, 3)
		var wg sync.WaitGroup
		race := func(do func(i int, c *client)) {
			for i := range many {
				wg.Go(func() { do(i, all[i%len(all)]) })
			}
			wg.Wait()
		}
		var made, refused atomic.Int64
		race(func(_ int, c *client) {
			switch status, _, _ := c.call("POST", "/Users", `{"schemas":["`+userURN+`"],"userName":"Once@example.com"}`); status {
			case 201:
				made.Add(1)
			case 409:
				refused.Add(1)
			}
		})
		same(t, "racing creates", []any{made.Load(), refused.Load()}, []any{1, many - 1})

		gid := all[0].want(201, "POST", "/Groups", `{"schemas":["`+groupURN+`"],"displayName":"all"}`)["id"].(string)
		ids := make([]string, many)
		for i := range ids {
			ids[i] = all[0].user(fmt.Sprintf(`"userName":"m%d"`, i))
		}
		race(func(i int, c *client) {
			c.patch("/Groups/"+gid, `{"op":"add","path":"members","value":[{"value":"`+ids[i]+`"}]}`)
		})
		members, _ := all[1].want(200, "GET", "/Groups/"+gid, "")["members"].([]any)
		same(t, "racing member adds", len(members), many)

		_, header, _ := all[0].call("GET", "/Groups/"+gid, "")
		made.Store(0)
		refused.Store(0)
		race(func(i int, c *client) {
			switch status, _, _ := c.call("PATCH", "/Groups/"+gid, `{"schemas":["`+patchURN+`"],"Operations":[{"op":"remove","path":"members[value eq \"`+ids[i]+`\"]"}]}`, "If-Match", header.Get("ETag")); status {
			case 200:
				made.Add(1)
			case 412:
				refused.Add(1)
			}
		})
		same(t, "writers of one version", []any{made.Load(), refused.Load()}, []any{1, many - 1})
		members, _ = all[2].want(200, "GET", "/Groups/"+gid, "")["members"].([]any)
		same(t, "and no more than one is out", len(members), many-1)

		var done atomic.Int64
		race(func(i int, c *client) { done.Add(int64(bulkRace(c, i))) })
		same(t, "people whom bulk requests say they made", done.Load(), 5+many)
		found := all[0].want(200, "GET", "/Users?filter=nickName%20eq%20%22bulk%22&count=200", "")
		same(t, "and who are there", found["totalResults"], 5+many)
	})
}

// bulkRace sends one person of one's own, then five whom everybody makes, each in a
// request that stops at its first error; it gives how many it was told were made.
func bulkRace(c *client, i int) (made int) {
	user := func(name string) string {
		return `{"method":"POST","path":"/Users","bulkId":"` + name + `","data":{"schemas":["` + userURN + `"],"nickName":"bulk","userName":"` + name + `"}}`
	}
	ask := func(operations ...string) []any {
		out := c.want(200, "POST", "/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"failOnErrors":1,"Operations":[`+strings.Join(operations, ",")+`]}`)
		results, _ := out["Operations"].([]any)
		return results
	}
	for n := range 5 {
		operations := []string{user(fmt.Sprint("shared", (n+i)%5)), user(fmt.Sprintf("after-%d-%d", n, i))}
		if n == 0 {
			operations = append([]string{user(fmt.Sprint("own", i))}, operations...)
		}
		for j, o := range ask(operations[:len(operations)-1]...) {
			switch status := at(o, "status"); {
			case status == "201":
				made++
			case status != "409":
				c.t.Errorf("operation %d: %v", j, o)
			}
		}
		// The shared one is there now: nothing behind it is done.
		if results := ask(user(fmt.Sprint("shared", (n+i)%5)), operations[len(operations)-1]); len(results) != 1 || at(results, 0, "status") != "409" {
			c.t.Errorf("a bulk request went on after its error: %v", results)
		}
	}
	return made
}

// TestRateOfEach: each credential has a count of its own, at every route, and is told
// when to come again in whole seconds.
func TestRateOfEach(t *testing.T) {
	t.Parallel()
	c := serve(t)
	c.stands.Store(time.Now().UnixNano()) // else a busy machine never asks too often
	other := c.credential("idp_corp", provisioning.User)
	statuses := map[int]int{}
	for i := range 200 {
		method, path := http.MethodGet, "/Groups"
		if i%2 == 0 {
			method, path = http.MethodDelete, "/Users/psn_aaaaaaaaaaaaaaaaaaaaaaaaaa"
		}
		req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.bearer)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if statuses[resp.StatusCode]++; resp.StatusCode == http.StatusTooManyRequests {
			if resp.Header.Get("Retry-After") != "1" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/scim+json") {
				t.Errorf("429 with %v", resp.Header)
			}
			break
		}
	}
	if statuses[http.StatusTooManyRequests] == 0 || statuses[http.StatusNotFound] == 0 || statuses[http.StatusOK] == 0 {
		t.Errorf("answers %v", statuses)
	}
	c.bearer = other
	if status, _, _ := c.call("GET", "/Users", ""); status != http.StatusOK {
		t.Errorf("another credential of the same provider is answered with %d", status)
	}
}
