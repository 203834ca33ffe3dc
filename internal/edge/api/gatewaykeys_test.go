package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/sql"
	sqlcluster "carnet.dev/carnet/internal/edge/sql/cluster"
	sqlgatewaykeys "carnet.dev/carnet/internal/edge/sql/gatewaykeys"
	sqlonceonly "carnet.dev/carnet/internal/edge/sql/onceonly"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/onceonly"
	"carnet.dev/carnet/internal/service/revocation"
)

// ResumeID and Heard stand for the sign-in below the gateway keys, which are the
// real thing.
func (w *world) ResumeID(context.Context, identity.LoginSessionID) (login.LoginSession, error) {
	return w.person(false), nil
}

func (w *world) Heard(_ context.Context, _ identity.PersonID, _ identity.IdPID, roles []arn.Role) ([]arn.Role, error) {
	return roles, nil
}

// openGatewayKeys opens them an hour after bob signed in.
func (w *world) openGatewayKeys(t *testing.T, db *sql.DB, ring gatewaykeys.Sealer) {
	t.Helper()
	now := func() time.Time { return start.Add(time.Hour) }
	feed, err := revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: db}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	store := sqlgatewaykeys.Store{DB: db}
	clusters := sqlcluster.Store{DB: db}
	w.clusters, err = cluster.Open(t.Context(), cluster.Config{Clusters: clusters, Nodes: clusters, Healths: clusters, JoinTokens: clusters, Directory: folk{}, Providers: w.sso,
		Once: onceonly.New(sqlonceonly.Store{DB: db}, 1000, now), Sealer: ring, Feed: feed, State: db, Trail: unwritten{}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	w.gateway, err = gatewaykeys.Open(t.Context(), gatewaykeys.Config{Store: store, Clusters: w.clusters, Grants: store, Sealer: ring, Sessions: w, Entitled: w,
		Accounts:      entitlement.Accounts{analyst.Account: {Partition: "aws", Local: true}, cloud.Account: {Partition: "aws"}},
		BucketAccount: func(bucket string) (string, bool) { return analyst.Account, bucket == "sales" },
		Feed:          feed, State: db, Trail: unwritten{}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
}

// by sends a call with a cookie and reads the answer.
func by(t *testing.T, who, method, target, body string, into any) int {
	t.Helper()
	status, _, raw := call(t, method, target, body, "Cookie", "carnet="+who)
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s %s: %d %s", method, target, status, raw)
		}
	}
	return status
}

// TestGatewayKeysByAPI is the life of a gateway key as an administrator's program
// sees it.
func TestGatewayKeysByAPI(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	base += "/api/v1/"
	var made, rolled api.MadeGatewayKey
	body := `{"login_session":"lgn_bob","networks":["10.0.0.0/8"],"roles":["` + analyst.String() + `"],"lifetime_seconds":3600}`
	if status := by(t, "bob", http.MethodPost, base+"gateway-keys", body, nil); status != http.StatusForbidden {
		t.Errorf("a person who is no administrator makes a key: %d", status)
	}
	if status := by(t, "admin", http.MethodPost, base+"gateway-keys", body, &made); status != http.StatusCreated || len(made.SecretAccessKey) != 40 ||
		!strings.HasPrefix(made.GatewayKey.AccessKeyID, identity.GatewayKeyPrefix) || made.Endpoint != "http://127.0.0.1:8481" || made.GatewayKey.Name != "bob@example.com" {
		t.Fatalf("%d %+v", status, made)
	}
	if status := by(t, "admin", http.MethodPost, base+"gateway-keys/"+made.GatewayKey.ID+"/roll", `{"overlap_seconds":60}`, &rolled); status != http.StatusCreated ||
		rolled.GatewayKey.Follows != made.GatewayKey.ID || rolled.SecretAccessKey == made.SecretAccessKey {
		t.Fatalf("%d %+v", status, rolled)
	}
	var problem struct{ Code string }
	if status := by(t, "admin", http.MethodPost, base+"gateway-keys/"+made.GatewayKey.ID+"/roll", `{}`, &problem); status != http.StatusConflict || problem.Code != "gateway-key.rolled" {
		t.Errorf("rolled twice: %d %+v", status, problem)
	}
	if status := by(t, "admin", http.MethodDelete, base+"gateway-keys/"+rolled.GatewayKey.ID, "", nil); status != http.StatusNoContent {
		t.Errorf("revoked: %d", status)
	}
	var list api.GatewayKeyList
	status, _, raw := call(t, http.MethodGet, base+"gateway-keys", "", "Cookie", "carnet=admin")
	if err := json.Unmarshal(raw, &list); err != nil || status != http.StatusOK || len(list.GatewayKeys) != 2 {
		t.Fatalf("%d %s", status, raw)
	}
	for _, k := range list.GatewayKeys { // made in the same moment: in any order
		old, revoked := k.ID == made.GatewayKey.ID && k.RolledTo == rolled.GatewayKey.ID, k.ID == rolled.GatewayKey.ID && k.State == "revoked" && k.Revoked != nil
		if !old && !revoked {
			t.Errorf("%+v", k)
		}
	}
	for _, secret := range []string{made.SecretAccessKey, rolled.SecretAccessKey} {
		if strings.Contains(string(raw), secret) {
			t.Error("the list shows a secret")
		}
	}
	for name, body := range map[string]string{
		"nobody's":        `{"networks":["10.0.0.0/8"]}`,
		"two owners":      `{"login_session":"lgn_bob","delegation":"dlg_x","networks":["10.0.0.0/8"]}`,
		"unbound":         `{"login_session":"lgn_bob"}`,
		"everywhere":      `{"login_session":"lgn_bob","networks":["0.0.0.0/0"]}`,
		"too long":        `{"login_session":"lgn_bob","networks":["10.0.0.0/8"],"lifetime_seconds":86401}`,
		"no such role":    `{"login_session":"lgn_bob","networks":["10.0.0.0/8"],"roles":["` + cloud.String() + `"]}`,
		"a failed role":   `{"login_session":"lgn_bob","networks":["10.0.0.0/8"],"roles":["` + broken.String() + `"]}`,
		"another default": `{"login_session":"lgn_bob","networks":["10.0.0.0/8"],"roles":["` + analyst.String() + `"],"default_role":"` + cloud.String() + `"}`,
	} {
		if status := by(t, "admin", http.MethodPost, base+"gateway-keys", body, nil); status != http.StatusBadRequest && status != http.StatusForbidden {
			t.Errorf("%s: %d", name, status)
		}
	}
}

// TestGatewayPlacesByAPI: clusters, prefix grants and the mapping of Trino.
func TestGatewayPlacesByAPI(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	base += "/api/v1/"
	if status := by(t, "admin", http.MethodPost, base+"gateway-clusters", `{"name":"Trino","networks":["10.4.0.0/16"]}`, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	var made api.MadeGatewayKey
	if status := by(t, "admin", http.MethodPost, base+"gateway-keys", `{"login_session":"lgn_bob","cluster":"trino"}`, &made); status != http.StatusCreated || made.GatewayKey.Cluster != "Trino" {
		t.Fatal(status, made)
	}
	var mapping api.TrinoMapping
	if status := by(t, "admin", http.MethodPost, base+"gateway-clusters/TRINO/trino-mapping", `{}`, &mapping); status != http.StatusOK || len(mapping.Mappings) != 1 ||
		mapping.Mappings[0] != (api.TrinoRule{User: `bob@example\.com`, AccessKey: made.GatewayKey.AccessKeyID, SecretKey: made.SecretAccessKey, Endpoint: made.Endpoint, Region: "us-east-1"}) {
		t.Errorf("%d %+v", status, mapping)
	}
	if status := by(t, "bob", http.MethodPost, base+"gateway-clusters/TRINO/trino-mapping", `{}`, nil); status != http.StatusForbidden {
		t.Errorf("a person who is no administrator has everybody's keys: %d", status)
	}
	if status := by(t, "admin", http.MethodDelete, base+"gateway-clusters/trino", "", nil); status != http.StatusNoContent {
		t.Error(status)
	}
	if status := by(t, "admin", http.MethodPost, base+"gateway-clusters/trino/trino-mapping", `{}`, nil); status != http.StatusNotFound {
		t.Error(status)
	}
	var grant api.PrefixGrant
	body := `{"place":"s3://sales/hr/","role":"` + analyst.String() + `"}`
	if status := by(t, "admin", http.MethodPost, base+"prefix-grants", body, &grant); status != http.StatusCreated || grant.Place != "s3://sales/hr/" {
		t.Fatal(status, grant)
	}
	for _, bad := range []string{body, strings.Replace(body, "sales", "nowhere", 1), strings.Replace(body, "s3://", "", 1), strings.Replace(body, analyst.String(), cloud.String(), 1)} {
		if status := by(t, "admin", http.MethodPost, base+"prefix-grants", bad, nil); status != http.StatusConflict && status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, status)
		}
	}
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		if status := by(t, "admin", http.MethodDelete, base+"prefix-grants/"+grant.ID, "", nil); status != want {
			t.Errorf("removed: %d, want %d", status, want)
		}
	}
}
