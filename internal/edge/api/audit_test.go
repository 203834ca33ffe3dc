package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/keyring"
)

// newTrail opens a real trail.
func newTrail(t *testing.T) (*audit.Writer, *audit.Reader) {
	t.Helper()
	db := sqltest.Open(t)
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Server: "s", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	now := func() time.Time { return start.Add(time.Hour + time.Duration(asked.Add(1))*time.Millisecond) }
	store := sqlaudit.Store{DB: db}
	w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: ring, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return w, audit.NewReader(audit.ReaderConfig{Trail: store, Recorder: w, Now: now})
}

// TestAuditByAPI: administrators search and export, and the trail says that they do,
// once for all pages of one search; nobody else sees anything; what isn't a filter is
// refused.
func TestAuditByAPI(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	d := readDocument(t, base)
	for i := range 5 {
		e := event.Event{At: start, Action: "sign-in", Person: "psn_a", UserName: "Ann <b>\u009b", Source: "10.1.2.3", IdP: "idp_1", LoginSession: "lgn_1", Request: "AAAAAAAAAAAAAAAA", Account: "111122223333", Role: "arn:aws:iam::111122223333:role/a",
			AccessKeyID: "ASIA1", Principal: "arn:p", ServicePrincipal: "spn_1", Delegation: "dlg_1", GatewayKey: "gwk_1", Cluster: "lab", Node: "nod_1", Attachment: "att_1", ProcessOwner: "1000(ann)", Target: "t", Detail: map[string]string{"n": strconv.Itoa(i)}}
		if i == 4 {
			e.Outcome, e.Code = event.Denied, "no"
		}
		if err := w.trail.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	search := func(query string) (out audit.Found) {
		t.Helper()
		status, header, body := call(t, "GET", base+"/api/v1/audit?"+query, "", "Cookie", "carnet=admin")
		holds(t, d, query, d.Paths["/api/v1/audit"]["get"], status, header, body)
		if err := json.Unmarshal(body, &out); err != nil || status != 200 {
			t.Fatal(status, err, string(body))
		}
		return out
	}
	page := search("event=sign-in&who=psn_a&most=2")
	if len(page.Documents) != 2 || page.Next == "" || page.Documents[0].Outcome != "denied" || page.Documents[0].Node != "nod_1" || page.Documents[0].RequestID != "AAAAAAAAAAAAAAAA" {
		t.Fatalf("%+v", page)
	}
	next := search("event=sign-in&who=psn_a&most=2&after=" + page.Next)
	if len(next.Documents) != 2 || next.Documents[0].Detail["n"] != "2" {
		t.Errorf("%+v", next)
	}
	if all := search("event=audit.read"); len(all.Documents) != 2 || all.Documents[1].UserIdentity.Person != "psn_bob" || all.Documents[1].SourceIP != "127.0.0.1" || all.Documents[1].RequestID == "" ||
		all.Documents[1].Detail["filter"] != "event=sign-in&who=psn_a" {
		t.Errorf("the trail says of its readers: %+v", all)
	}
	status, header, body := call(t, "GET", base+"/api/v1/audit/export?who=ann+%3Cb%3E%C2%9B&to=2026-11-23", "", "Authorization", "Bearer cli-admin")
	holds(t, d, "export", d.Paths["/api/v1/audit/export"]["get"], status, header, body)
	if lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n"); status != 200 || len(lines) != 5 || !strings.Contains(lines[0], `"n":"0"`) || !strings.Contains(lines[0], `\u009b`) || strings.Contains(lines[0], "\u009b") {
		t.Errorf("%d %s", status, body)
	}
	for at, want := range map[string]int{"?source=x": 400, "?event=a*b": 400, "?nothing=1": 400, "?who=a&who=b": 400, "?most=0": 400, "?most=1001": 400, "?order=up": 400, "?from=never": 400, "?outcome=good": 400, "?after=x": 400,
		"?from=2026-05-02&to=2026-05-01": 400, "/export?most=5": 400, "/export?after=x": 400, "/export?order=newest": 400, "?who=%ff": 400, "?who=": 200, "?from=24h&to=1h&order=oldest": 200} {
		if status, _, body := call(t, "GET", base+"/api/v1/audit"+at, "", "Cookie", "carnet=admin"); status != want || status == 400 && !strings.Contains(string(body), `"kind":"invalid"`) {
			t.Errorf("%s: %d %s", at, status, body)
		}
	}
	for _, at := range []string{"", "/export"} {
		for _, who := range []string{"Cookie: carnet=bob", "Authorization: Bearer cli-bob", "X: y"} {
			name, value, _ := strings.Cut(who, ": ")
			if status, _, body := call(t, "GET", base+"/api/v1/audit"+at, "", name, value); status != 403 && status != 401 {
				t.Errorf("%s with %s: %d %s", at, who, status, body)
			}
		}
	}
}

// TestAttackExportAfterRevocation: an export under way is cut off once the sign-in that
// it rests on is revoked.
func TestAttackExportAfterRevocation(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	for range 4 {
		if err := w.trail.Record(t.Context(), event.Event{At: start, Action: "sign-in"}); err != nil {
			t.Fatal(err)
		}
	}
	w.endsAfter = 3 // at the door, and for two parts
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/v1/audit/export?event=sign-in", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer cli-admin")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if n := strings.Count(string(got), "\n"); err == nil || n != 2 {
		t.Errorf("%d of 4 events came, %v", n, err)
	}
}

// single exports an event at a time.
type single struct{ *audit.Reader }

func (s single) Export(ctx context.Context, q audit.Query, each func([]audit.Document) error) error {
	return s.Reader.Export(ctx, q, func(all []audit.Document) error {
		if len(all) == 0 {
			return each(all)
		}
		for i := range all {
			if err := each(all[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	})
}
