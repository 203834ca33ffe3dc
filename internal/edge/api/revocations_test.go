package api_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// takings take back for tests.
type takings struct{}

var views = []revocation.View{{Server: "srv_1", Epoch: 7, Seen: start}, {Server: "srv_2", Epoch: 6, Seen: start}}

func (takings) Revoke(_ context.Context, kind, text string) (withdrawal.Target, withdrawal.Result, error) {
	if kind != "person" && kind != "everything" {
		return withdrawal.Target{}, withdrawal.Result{}, fault.Coded(fault.Invalid, "revocation.kind", "there is nothing of that kind")
	}
	return withdrawal.Target{Kind: kind, ID: "psn_" + text}, withdrawal.Result{Epoch: 7, Servers: views, Outstanding: []withdrawal.Key{
		{Account: "444455556666", Role: cloud, Person: "psn_bob", LoginSession: "lgn_1", SessionName: "bob", AccessKeyID: "ASIA1", Until: start, Deny: withdrawal.DenyFailed, Trouble: "AccessDenied"}}}, nil
}

func (takings) Recent(_ context.Context, most int) ([]withdrawal.Past, []revocation.View, error) {
	all := []withdrawal.Past{{Target: withdrawal.Target{Kind: "person", ID: "psn_bob"}, Epoch: 7, At: start, By: "ada"}, {Target: withdrawal.Target{Kind: "role", ID: "r"}, Epoch: 3, At: start}}
	return all[:min(most, len(all))], views, nil
}

// TestRevocations: administrators take back and look back, as the document says;
// nobody else does either.
func TestRevocations(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	d, at := readDocument(t, base), base+"/api/v1/revocations"
	whole := start.Truncate(time.Second)
	servers := []api.ServerApplied{{Server: "srv_1", Applied: true, DecidesUntil: whole.Add(revocation.DefaultBound)}, {Server: "srv_2", DecidesUntil: whole.Add(revocation.DefaultBound)}}

	status, header, body := call(t, "POST", at, `{"kind":"person","id":"bob"}`, "Cookie", "carnet=admin")
	holds(t, d, at, d.Paths["/api/v1/revocations"]["post"], status, header, body)
	var done api.Revoked
	if err := json.Unmarshal(body, &done); err != nil || status != 200 {
		t.Fatalf("%d %v %s", status, err, body)
	}
	if diff := cmp.Diff(api.Revoked{Kind: "person", ID: "psn_bob", Epoch: 7, Servers: servers, Outstanding: []api.OutstandingKey{
		{Account: "444455556666", Role: cloud.String(), Person: "psn_bob", LoginSession: "lgn_1", SessionName: "bob", AccessKeyID: "ASIA1", Until: whole, Deny: "failed", Trouble: "AccessDenied"}}}, done); diff != "" {
		t.Error(diff)
	}
	for body, code := range map[string]string{`{"kind":"person"}`: "revocation.missing", `{"id":"x"}`: "revocation.missing", `{"kind":"planet","id":"x"}`: "revocation.kind",
		`{"kind":"person","id":"x","more":1}`: "request.json", `{"kind":"everything"}`: ""} {
		status, _, got := call(t, "POST", at, body, "Cookie", "carnet=admin")
		if code == "" && status == 200 {
			continue
		}
		if status != 400 || !strings.Contains(string(got), `"code":"`+code+`"`) {
			t.Errorf("%s: %d %s", body, status, got)
		}
	}
	for query, want := range map[string]int{"": 2, "?most=1": 1, "?most=500": 2, "?most=0": -1, "?most=501": -1, "?most=x": -1} {
		status, header, body := call(t, "GET", at+query, "", "Cookie", "carnet=admin")
		holds(t, d, at, d.Paths["/api/v1/revocations"]["get"], status, header, body)
		var list api.PastRevocations
		if err := json.Unmarshal(body, &list); err != nil || (status == 200) != (want > 0) || status == 200 && len(list.Revocations) != want {
			t.Fatalf("%q: %d %v %s", query, status, err, body)
		}
		if want > 0 {
			if diff := cmp.Diff(api.PastRevocation{Kind: "person", ID: "psn_bob", Epoch: 7, At: whole, By: "ada", Servers: servers}, list.Revocations[0]); diff != "" {
				t.Error(diff)
			}
		}
	}
	for _, who := range []string{"Cookie: carnet=bob", "Authorization: Bearer cli-bob", "X: y"} {
		name, value, _ := strings.Cut(who, ": ")
		for method, body := range map[string]string{"GET": "", "POST": `{"kind":"everything"}`} {
			if status, _, body := call(t, method, at, body, name, value); status != 403 && status != 401 {
				t.Errorf("%s with %s: %d %s", method, who, status, body)
			}
		}
	}
}
