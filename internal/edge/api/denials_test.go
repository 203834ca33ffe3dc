package api_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/service/denial"
)

func userName(_ context.Context, id identity.PersonID) (string, error) {
	if id != "psn_bob" {
		return "", fault.New(fault.NotFound, "nobody")
	}
	return "bob@example.com", nil
}

// keep stores denials and waits until they are there.
func keep(t *testing.T, k *denial.Keeper, all ...denial.Denial) {
	t.Helper()
	for _, d := range all {
		k.Keep(d.AccessKeyID, func() denial.Denial { return d })
	}
	ended, end := context.WithCancel(t.Context())
	end()
	k.Run(ended)
}

// TestDenials: administrators see what decided, and the document says all of it;
// nobody else sees anything.
func TestDenials(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	d := readDocument(t, base)
	want := denial.Denial{
		Request: "AAAAAAAAAAAAAAAA", At: start, Operation: "GetObject", Code: "AccessDenied", Reason: "User: bob is not authorized", DecidedBy: denial.ByPolicy,
		Principal: "arn:p", Role: "arn:r", Account: "111122223333", Person: "psn_bob", LoginSession: "lgn_1", ServicePrincipal: "spn_1", Delegation: "dlg_1", GatewayKey: "gwk_1",
		Cluster: "etl", AccessKeyID: "ASIA1", Source: "192.0.2.1", UserAgent: "tool", Bucket: "hr", Key: "k", VersionID: "v", BucketAccount: "444455556666", Upstream: "disk",
		StoreRequest: "S", StoreHost: "H", MoreChecks: 3,
		Checks: []denial.Check{{Action: "s3:GetObject", Resource: "arn:aws:s3:::hr/k", Outcome: denial.Refused, Explicit: true, Reason: "with an explicit deny", Determining: []string{"own#Never"},
			Statements: []denial.Statement{{Policy: "identity-based policy", Name: "own#Never", Effect: "Deny", Applies: true}, {Policy: "p", Name: "n", Effect: "Allow", Unmet: []string{"Action"}}}, MoreStatements: 2}},
	}
	small := denial.Denial{Request: "BBBBBBBBBBBBBBBB", At: start.Add(1e9), Operation: "ListBuckets", Code: "AccessDenied", Reason: "no", DecidedBy: denial.ByGateway, Person: "psn_gone", AccessKeyID: "ASIA1", Checks: []denial.Check{}}
	keep(t, w.denials, want, small)
	want.PersonName = "bob@example.com"
	for _, at := range []string{"/api/v1/denials", "/api/v1/denials/AAAAAAAAAAAAAAAA"} {
		pattern := "/api/v1/denials"
		if at != pattern {
			pattern += "/{request}"
		}
		op := d.Paths[pattern]["get"]
		status, header, body := call(t, "GET", base+at, "", "Cookie", "carnet=admin")
		holds(t, d, at, op, status, header, body)
		var list api.DenialList
		one := &denial.Denial{}
		if pattern == at {
			if err := json.Unmarshal(body, &list); err != nil || status != 200 || len(list.Denials) != 2 || list.Denials[0].Request != small.Request {
				t.Fatalf("%d %v %s", status, err, body)
			}
			one = &list.Denials[1]
		} else if err := json.Unmarshal(body, one); err != nil || status != 200 {
			t.Fatalf("%d %v %s", status, err, body)
		}
		if diff := cmp.Diff(want, *one); diff != "" {
			t.Error(diff)
		}
		for _, who := range []string{"Cookie: carnet=bob", "Authorization: Bearer cli-bob", "X: y"} {
			name, value, _ := strings.Cut(who, ": ")
			if status, _, body := call(t, "GET", base+at, "", name, value); status != 403 && status != 401 {
				t.Errorf("%s with %s: %d %s", at, who, status, body)
			}
		}
	}
	for id, want := range map[string]int{"CCCCCCCCCCCCCCCC": 404, "short": 400, "AAAAAAAAAAAAAAA%27": 400} {
		if status, _, body := call(t, "GET", base+"/api/v1/denials/"+id, "", "Cookie", "carnet=admin"); status != want {
			t.Errorf("%s: %d %s", id, status, body)
		}
	}
}
