package gateway_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/gateway"
	sqliam "carnet.dev/carnet/internal/edge/sql/iam"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/iam"
)

// trail remembers the audit records.
type trail struct{ events []event.Event }

func (t *trail) Record(_ context.Context, e event.Event) error {
	t.events = append(t.events, e)
	return nil
}

// keeping puts a gateway before the world's store that keeps policies and rules in
// a real authority.
func (w *world) keeping(t testing.TB, change func(*gateway.Config)) (*iam.Service, *trail) {
	t.Helper()
	records := &trail{}
	authority, err := iam.Open(t.Context(), iam.Config{
		Store: sqliam.Store{DB: sqltest.Open(t)}, Accounts: []iam.Account{{ID: account}, {ID: other}}, Now: time.Now, Trail: records,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = authority.Edit(t.Context(), event.Event{Action: "test"}, func(d *iam.Draft) error {
		d.Put(&iam.RoleRecord{ID: identity.NewRoleID(), Account: account, Path: "/", Name: "r", MaxSession: time.Hour, Created: d.Now(), Trust: iam.Policy{Name: "trust",
			Document: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}}`}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	config := gateway.Config{
		Region: region, Domains: []string{"s3.test"}, Keys: w, Decider: w, Places: w, Settings: authority,
		Stores: map[string]gateway.Store{"embedded": {Upstream: w.direct, Keys: s3.Filesystem}},
		Logger: slog.New(slog.NewJSONHandler(w.log, nil)),
	}
	if change != nil {
		change(&config)
	}
	g, err := gateway.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.http.Close()
	w.http = httptest.NewServer(g)
	t.Cleanup(w.http.Close)
	return authority, records
}

const readers = `{"Version":"2012-10-17","Statement":[{"Sid":"Readers","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/r"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::sales/*"}]}`

func TestBucketPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	authority, records := w.keeping(t, nil)
	refused(t, w.request(t, "GET", "/sales?policy", "", nil), 404, "NoSuchBucketPolicy")
	if res, body := send(t, w.request(t, "PUT", "/sales?policy", readers, nil)); res.StatusCode != 204 || body != "" {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	snapshot, err := authority.Current()
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := snapshot.Bucket("sales"); !ok || b.Account != account || b.Policy == nil {
		t.Errorf("%+v", b)
	}
	if r, _ := snapshot.View().Bucket("sales"); len(r.Policy.Pins) != 1 {
		t.Errorf("the principal is not pinned: %+v", r)
	}
	res, body := send(t, w.request(t, "GET", "/sales?policy", "", nil))
	if res.StatusCode != 200 || body != readers || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	last := records.events[len(records.events)-1]
	if last.Action != "s3.PutBucketPolicy" || last.Target != "arn:aws:s3:::sales" || last.AccessKeyID != alice || last.Account != account || last.Request == "" {
		t.Errorf("%+v", last)
	}
	for name, document := range map[string]string{
		"not JSON":               "{",
		"no principal":           `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::sales/*"}]}`,
		"another bucket":         strings.ReplaceAll(readers, "sales", "hr"),
		"all buckets":            strings.ReplaceAll(readers, "arn:aws:s3:::sales/*", "*"),
		"a longer bucket's name": strings.ReplaceAll(readers, "sales/*", "sales*"),
		"an unknown role":        strings.ReplaceAll(readers, "role/r", "role/ghost"),
		"an unknown element":     strings.ReplaceAll(readers, `"Sid"`, `"Hint"`),
		"too long":               strings.ReplaceAll(readers, "Readers", strings.Repeat("x", 21<<10)),
		"empty":                  "",
	} {
		if body := refused(t, w.request(t, "PUT", "/sales?policy", document, nil), 400, "MalformedPolicy"); strings.Contains(body, "Document<") {
			t.Errorf("%s: %s", name, body)
		}
	}
	if _, body = send(t, w.request(t, "GET", "/sales?policy", "", nil)); body != readers {
		t.Errorf("a refused policy took the place: %s", body)
	}
	if res, _ = send(t, w.request(t, "DELETE", "/sales?policy", "", nil)); res.StatusCode != 204 {
		t.Errorf("%d", res.StatusCode)
	}
	refused(t, w.request(t, "GET", "/sales?policy", "", nil), 404, "NoSuchBucketPolicy")
	if res, _ = send(t, w.request(t, "DELETE", "/sales?policy", "", nil)); res.StatusCode != 204 {
		t.Errorf("again: %d", res.StatusCode)
	}
	refused(t, w.request(t, "PUT", "/missing?policy", strings.ReplaceAll(readers, "sales", "missing"), nil), 404, "NoSuchBucket")
	refused(t, w.request(t, "PUT", "/lab?policy", strings.ReplaceAll(readers, "sales", "lab"), nil), 405, "MethodNotAllowed")
	w.forbid("s3:PutBucketPolicy sales", "s3:GetBucketPolicy sales")
	refused(t, w.request(t, "PUT", "/sales?policy", readers, nil), 403, "AccessDenied")
	refused(t, w.request(t, "GET", "/sales?policy", "", nil), 403, "AccessDenied")
}

const rules = `<CORSConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><CORSRule><ID>app</ID><AllowedHeader>x-amz-*</AllowedHeader><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedOrigin>https://*.example</AllowedOrigin><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>600</MaxAgeSeconds></CORSRule></CORSConfiguration>`

func TestBucketCORS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "k", "v")
	w.keeping(t, nil)
	refused(t, w.request(t, "GET", "/sales?cors", "", nil), 404, "NoSuchCORSConfiguration")
	if res, body := send(t, w.request(t, "PUT", "/sales?cors", rules, nil)); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if _, body := send(t, w.request(t, "GET", "/sales?cors", "", nil)); !strings.HasSuffix(body, rules) {
		t.Errorf("%s", body)
	}
	preflight := func(bucket, origin, method, headers string) *http.Request {
		req, err := http.NewRequest("OPTIONS", w.http.URL+bucket, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", method)
		if headers != "" {
			req.Header.Set("Access-Control-Request-Headers", headers)
		}
		return req
	}
	const page = "https://app.example"
	for _, target := range []string{"/sales/k", "/sales/k?X-Amz-Signature=00&X-Amz-Algorithm=AWS4-HMAC-SHA256", "/sales"} {
		res, body := send(t, preflight(target, page, "PUT", "X-Amz-Date, x-amz-acl"))
		h := res.Header
		if res.StatusCode != 200 || body != "" || h.Get("Access-Control-Allow-Origin") != page || h.Get("Access-Control-Allow-Methods") != "GET, PUT" ||
			h.Get("Access-Control-Allow-Headers") != "x-amz-date, x-amz-acl" || h.Get("Access-Control-Max-Age") != "600" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != s3.CORSVary {
			t.Errorf("%s: %d %s %v", target, res.StatusCode, body, h)
		}
	}
	for name, req := range map[string]*http.Request{
		"another origin": preflight("/sales/k", "https://evil.test", "PUT", ""), "another method": preflight("/sales/k", page, "DELETE", ""),
		"another header": preflight("/sales/k", page, "PUT", "authorization"), "another bucket": preflight("/hr/k", page, "PUT", ""),
		"no bucket": preflight("/missing/k", page, "PUT", ""), "an unplaced bucket": preflight("/unplaced/k", page, "PUT", ""),
	} {
		if body := refused(t, req, 403, "AccessForbidden"); strings.Contains(name, "bucket") != strings.Contains(body, "CORS is not enabled") {
			t.Errorf("%s: %s", name, body)
		}
	}
	refused(t, preflight("/sales/k", page, "PATCH", ""), 400, "BadRequest")
	refused(t, preflight("/sales/k", page, "PUT", "a b"), 400, "BadRequest")
	refused(t, preflight("/sales/k", "", "PUT", ""), 400, "BadRequest")
	if asked := w.asked(); len(asked) != 3 {
		t.Errorf("a preflight asked for a decision: %v", asked)
	}

	from := func(origin, method, target string) *http.Request {
		return w.request(t, method, target, "", func(r *http.Request) { r.Header.Set("Origin", origin) })
	}
	res, _ := send(t, from(page, "GET", "/sales/k"))
	if res.Header.Get("Access-Control-Allow-Origin") != page || res.Header.Get("Access-Control-Expose-Headers") != "ETag" || res.Header.Get("Vary") != s3.CORSVary {
		t.Errorf("%v", res.Header)
	}
	for name, req := range map[string]*http.Request{"missing": from(page, "GET", "/sales/none"), "not signed": func() *http.Request {
		r, _ := http.NewRequest("GET", w.http.URL+"/sales/k", nil)
		r.Header.Set("Origin", page)
		return r
	}()} {
		if res, _ := send(t, req); res.StatusCode < 400 || res.Header.Get("Access-Control-Allow-Origin") != page {
			t.Errorf("%s: a page can't read the error: %d %v", name, res.StatusCode, res.Header)
		}
	}
	for name, req := range map[string]*http.Request{"another origin": from("https://evil.test", "GET", "/sales/k"), "another method": from(page, "DELETE", "/sales/none"), "no rules": from(page, "GET", "/hr/k")} {
		if res, _ := send(t, req); res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", name, res.Header)
		}
	}
	if res, _ := send(t, w.request(t, "GET", "/sales/k", "", nil)); res.Header.Get("Vary") != s3.CORSVary || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without an origin: %v", res.Header)
	}
	if res, _ := send(t, w.request(t, "DELETE", "/sales?cors", "", nil)); res.StatusCode != 204 {
		t.Errorf("%d", res.StatusCode)
	}
	refused(t, preflight("/sales/k", page, "PUT", ""), 403, "AccessForbidden")
}

// TestBucketsMadeAgainInheritNothing: what is kept of a bucket goes with it; what
// was there while its deletion failed stays.
func TestBucketsMadeAgainInheritNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	authority, _ := w.keeping(t, nil)
	set := func() {
		t.Helper()
		for target, body := range map[string]string{"/sales?policy": readers, "/sales?cors": rules} {
			if res, answer := send(t, w.request(t, "PUT", target, body, nil)); res.StatusCode >= 300 {
				t.Fatalf("%s: %d %s", target, res.StatusCode, answer)
			}
		}
	}
	kept := func() iam.BucketSettings {
		t.Helper()
		s, err := authority.BucketSettings(account, "sales")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	set()
	w.put(t, "sales", "k", "v")
	refused(t, w.request(t, "DELETE", "/sales", "", nil), 409, "BucketNotEmpty")
	if s := kept(); s.Policy == "" || len(s.CORS) == 0 || s.Leaving {
		t.Errorf("the bucket is still there, its settings: %+v", s)
	}
	w.do(t, &s3.Outgoing{Method: "DELETE", Bucket: "sales", Key: "k"}, 204)
	if res, body := send(t, w.request(t, "DELETE", "/sales", "", nil)); res.StatusCode != 204 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if s := kept(); s.Policy != "" || len(s.CORS) != 0 {
		t.Errorf("the bucket is gone, its settings: %+v", s)
	}
	// A server that died between the deletion and this leaves the mark.
	w.do(t, &s3.Outgoing{Method: "PUT", Bucket: "sales"}, 200)
	set()
	if err := authority.BucketLeaves(t.Context(), event.Event{Action: "test"}, "sales", true); err != nil {
		t.Fatal(err)
	}
	w.do(t, &s3.Outgoing{Method: "DELETE", Bucket: "sales"}, 204)
	if res, body := send(t, w.request(t, "PUT", "/sales", "", nil)); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if s := kept(); s.Policy != "" || len(s.CORS) != 0 {
		t.Errorf("inherited: %+v", s)
	}
	// What an authority file says of a bucket that is yet to come is kept.
	set()
	w.do(t, &s3.Outgoing{Method: "DELETE", Bucket: "sales"}, 204)
	if res, body := send(t, w.request(t, "PUT", "/sales", "", nil)); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if s := kept(); s.Policy == "" {
		t.Errorf("forgotten: %+v", s)
	}
}
