package trail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/edge/gateway/trail"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqldenial "carnet.dev/carnet/internal/edge/sql/denial"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/denial"
)

// plain is a key ring that seals nothing: the signing key of a test is no secret.
type plain struct{}

func (plain) Seal(_ string, _, p []byte) ([]byte, error) { return p, nil }
func (plain) Open(_ string, _, s []byte) ([]byte, error) { return s, nil }

// desk is a trail before a real database.
type desk struct {
	*trail.Trail
	db      *sql.DB
	queue   *audit.Queue
	denials *denial.Keeper
	began   time.Time
}

func open(t *testing.T, size int, c trail.Config) *desk {
	t.Helper()
	db := sqltest.Open(t)
	w, err := audit.Open(t.Context(), audit.Config{Store: sqlaudit.Store{DB: db}, Sealer: plain{}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{db: db, queue: audit.NewQueue(w, size, c.Strict), began: time.Now().UTC().Truncate(time.Millisecond)}
	d.denials = denial.New(denial.Config{Store: sqldenial.Store{DB: db}, Now: time.Now})
	c.Queue, c.Denials, c.Now = d.queue, d.denials, time.Now
	d.Trail = trail.New(c)
	return d
}

// written ends the trail and gives what it wrote.
func (d *desk) written(t *testing.T) (all []event.Event) {
	t.Helper()
	ended, end := context.WithCancel(t.Context())
	end()
	d.Run(ended)
	d.queue.Run(ended)
	d.denials.Run(ended)
	err := d.db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.Each(`SELECT body FROM audit_record ORDER BY seq`, nil, func(scan func(...any) error) error {
			var body string
			if err := scan(&body); err != nil {
				return err
			}
			var e event.Event
			all = append(all, e)
			return json.Unmarshal([]byte(body), &all[len(all)-1])
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (d *desk) request(op s3.Name, key string) *gateway.Record {
	return &gateway.Record{
		Request: "ABCDEFGHIJKLMNOP", Began: d.began, Source: netip.MustParseAddr("192.0.2.7"), Operation: op, Bucket: "hr", Key: key,
		AccessKeyID: "ASIAALICE0000000000A", Authentication: "REST-HEADER", UserAgent: "tool/1", Status: 200, Sent: 5, Received: 7,
		Place:      access.Place{Bucket: "hr", Account: "444455556666", Upstream: "disk"},
		GatewayKey: "gwk_1", Cluster: "etl", Node: "nod_1", Attachment: "att_1", ProcessOwner: "1000(alice)",
		Caller: &access.Caller{
			Account: "111122223333", ARN: "arn:aws:sts::111122223333:assumed-role/analyst/alice", Person: "psn_a", LoginSession: "lgn_a", Delegation: "dlg_a", ServicePrincipal: "spn_a",
			Role: arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"},
		},
	}
}

func (d *desk) refused(op s3.Name, key string) *gateway.Record {
	r := d.request(op, key)
	check := s3.Check{Action: "s3:" + string(op), Bucket: "hr", Key: key}
	r.Status, r.Code, r.Kind, r.Message, r.Denials = 403, "AccessDenied", fault.Denied, "User: alice is not authorized", 1
	r.Decisions = []gateway.Decided{{Checks: []s3.Check{check}, Decision: access.Decision{Explicit: true, Reason: r.Message, Statements: []string{"own#Never"},
		Explain: func() policy.Explanation {
			return policy.Explanation{Verdict: policy.Verdict{Explicit: true}, Reason: "with an explicit deny", Determining: []string{"own#Never"},
				Findings: []policy.Finding{{By: policy.ByIdentity, Statement: "own#Read", Unmet: []string{"Action does not cover it", "Resource neither"}},
					{By: policy.ByIdentity, Statement: "own#Never", Deny: true, Applies: true}, {By: policy.ByIdentity, Statement: "own#Near", Unmet: []string{"Action does not cover it"}}}}
		}}}}
	return r
}

func TestDenialIsRecordedAndKept(t *testing.T) {
	d := open(t, 16, trail.Config{})
	d.Observe(d.request(s3.GetObject, "allowed")) // not asked for
	d.Observe(d.refused(s3.GetObject, "salaries"))
	got := d.written(t)
	want := event.Event{
		At: d.began, Action: "s3.GetObject", Outcome: event.Denied, Code: "AccessDenied", Person: "psn_a", LoginSession: "lgn_a", ServicePrincipal: "spn_a", Delegation: "dlg_a",
		Request: "ABCDEFGHIJKLMNOP", Source: "192.0.2.7", Account: "111122223333", Role: "arn:aws:iam::111122223333:role/analyst", AccessKeyID: "ASIAALICE0000000000A",
		Principal: "arn:aws:sts::111122223333:assumed-role/analyst/alice", GatewayKey: "gwk_1", Cluster: "etl", Node: "nod_1", Attachment: "att_1", ProcessOwner: "1000(alice)", Target: "arn:aws:s3:::hr/salaries",
		Detail: map[string]string{"status": "403", "user_agent": "tool/1", "authentication": "REST-HEADER", "bucket_account": "444455556666", "decided_by": "policy",
			"reason": "User: alice is not authorized", "statements": "own#Never"},
	}
	if diff := cmp.Diff([]event.Event{want}, got); diff != "" {
		t.Error(diff)
	}
	kept, err := d.denials.Find(t.Context(), "ABCDEFGHIJKLMNOP")
	if err != nil {
		t.Fatal(err)
	}
	checks := []denial.Check{{
		Action: "s3:GetObject", Resource: "arn:aws:s3:::hr/salaries", Outcome: denial.Refused, Explicit: true, Reason: "with an explicit deny", Determining: []string{"own#Never"},
		Statements: []denial.Statement{
			{Policy: "identity-based policy", Name: "own#Never", Effect: "Deny", Applies: true},
			{Policy: "identity-based policy", Name: "own#Near", Effect: "Allow", Unmet: []string{"Action does not cover it"}},
			{Policy: "identity-based policy", Name: "own#Read", Effect: "Allow", Unmet: []string{"Action does not cover it", "Resource neither"}},
		},
	}}
	if diff := cmp.Diff(checks, kept.Checks); diff != "" {
		t.Error(diff)
	}
	// Every field says something.
	v := reflect.ValueOf(kept)
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Name; name {
		case "PersonName", "VersionID", "StoreRequest", "StoreHost", "MoreChecks":
		default:
			if v.Field(i).IsZero() {
				t.Errorf("%s is empty", name)
			}
		}
	}
}

// What is recorded of permitted requests is a choice; who was not proven never is
// recorded, and who could not be read neither.
func TestPermittedByChoice(t *testing.T) {
	for _, c := range []struct {
		reads, writes bool
		want          string
	}{{false, false, ""}, {true, false, "s3.GetObject done, s3.HeadObject failed"}, {false, true, "s3.PutObject done, s3.DeleteObjects done"}} {
		d := open(t, 16, trail.Config{Reads: c.reads, Writes: c.writes})
		unproven := d.refused(s3.GetObject, "k")
		unproven.Caller, unproven.Denials = nil, 0
		missing := d.request(s3.HeadObject, "missing")
		missing.Status, missing.Code, missing.Kind, missing.FromStore = 404, "NoSuchKey", fault.NotFound, true
		for _, r := range []*gateway.Record{d.request(s3.GetObject, "k"), d.request(s3.PutObject, "k"), missing, d.request(s3.DeleteObjects, ""), unproven, d.request("", "")} {
			d.Observe(r)
		}
		var got []string
		for _, e := range d.written(t) {
			got = append(got, e.Action+" "+string(e.Outcome))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("reads %v, writes %v: %s; want %s", c.reads, c.writes, s, c.want)
		}
	}
}

// A thousand denials of one kind are two records: the first, and a number.
func TestNoiseIsOneNumber(t *testing.T) {
	d := open(t, 16, trail.Config{})
	for i := range 1000 {
		d.Observe(d.refused(s3.GetObject, fmt.Sprint("key-", i)))
	}
	got := d.written(t)
	if len(got) != 2 || got[0].Target != "arn:aws:s3:::hr/key-0" || got[1].Target != "arn:aws:s3:::hr/key-999" || got[1].Detail["repeated"] != "999" || got[1].Detail["statements"] != "own#Never" {
		t.Errorf("%d records: %+v", len(got), got)
	}
	if d.queue.LostEver() != 0 {
		t.Errorf("%d lost", d.queue.LostEver())
	}
}

// TestAttackInventedBuckets: who makes bucket names up makes one kind of noise.
func TestAttackInventedBuckets(t *testing.T) {
	d := open(t, 16, trail.Config{})
	for i := range 100 {
		r := d.refused(s3.GetObject, "k")
		r.Bucket, r.Place = fmt.Sprint("invented-", i), access.Place{}
		d.Observe(r)
	}
	if got := d.written(t); len(got) != 2 || got[1].Detail["repeated"] != "99" {
		t.Errorf("%d records: %+v", len(got), got)
	}
}

// When the queue is full, strict refuses what would be recorded and nothing else;
// otherwise the loss is counted, and recorded itself.
func TestFullQueue(t *testing.T) {
	strict := open(t, 2, trail.Config{Writes: true, Strict: true})
	reserve := func(op s3.Name, allowed, want, refused bool) {
		t.Helper()
		if got, err := strict.Reserve(op, allowed); got != want || (err != nil) != refused {
			t.Errorf("%s, allowed %v: %v, %v", op, allowed, got, err)
		}
	}
	reserve(s3.PutObject, true, true, false)
	reserve(s3.GetObject, false, true, false)
	reserve(s3.PutObject, true, false, true)
	reserve(s3.GetObject, false, false, true)
	reserve(s3.GetObject, true, false, false)
	done, denied := strict.request(s3.PutObject, "k"), strict.refused(s3.GetObject, "k")
	done.Reserved, denied.Reserved = true, true
	strict.Observe(done)
	strict.Observe(denied)
	if got := strict.written(t); len(got) != 2 || got[0].Action != "s3.PutObject" || got[1].Outcome != event.Denied {
		t.Errorf("%+v", got)
	}
	for range 5 { // the first takes a place, those that repeat it give theirs back
		reserve(s3.GetObject, false, true, false)
		strict.Observe(denied)
	}
	reserve(s3.PutObject, true, true, false)
	reserve(s3.PutObject, true, false, true)

	lossy := open(t, 2, trail.Config{Writes: true})
	for i := range 5 {
		if ok, err := lossy.Reserve(s3.PutObject, true); ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
		lossy.Observe(lossy.request(s3.PutObject, fmt.Sprint(i)))
	}
	got := lossy.written(t)
	if len(got) != 3 || got[0].Action != "audit.lost" || got[0].Detail["records"] != "3" || lossy.queue.LostEver() != 3 {
		t.Errorf("%+v, %d lost", got, lossy.queue.LostEver())
	}
}

// A batch says how much of it was denied, and each denied key is explained.
func TestBatch(t *testing.T) {
	d := open(t, 16, trail.Config{Writes: true})
	r := d.request(s3.DeleteObjects, "")
	for i := range 30 {
		no := d.refused(s3.DeleteObject, fmt.Sprint(i))
		no.Decisions[0].Decision.Allow = i < 5
		r.Decisions = append(r.Decisions, no.Decisions...)
		r.Batch = append(r.Batch, gateway.Batched{Key: fmt.Sprint(i)})
	}
	r.Denials = 25
	d.Observe(r)
	got := d.written(t)
	if len(got) != 1 || got[0].Outcome != event.Denied || got[0].Code != "AccessDenied" || got[0].Detail["denied"] != "25" || got[0].Detail["keys"] != "30" {
		t.Errorf("%+v", got)
	}
	kept, err := d.denials.Find(t.Context(), "ABCDEFGHIJKLMNOP")
	if err != nil || len(kept.Checks) != 16 || kept.MoreChecks != 9 || kept.Checks[0].Resource != "arn:aws:s3:::hr/5" || kept.Reason == "" {
		t.Errorf("%v: %d checks, %d more: %+v", err, len(kept.Checks), kept.MoreChecks, kept)
	}
}

// Where AWS denied, its own request id is kept, which AWS support asks for.
func TestDeniedAtAWS(t *testing.T) {
	d := open(t, 16, trail.Config{})
	r := d.request(s3.GetObject, "k")
	r.AtAWS, r.Status, r.Code, r.Kind, r.FromStore, r.StoreRequest, r.StoreHost = true, 403, "AccessDenied", fault.Denied, true, "AWS1", "host="
	d.Observe(r)
	got := d.written(t)
	kept, err := d.denials.Find(t.Context(), "ABCDEFGHIJKLMNOP")
	if err != nil || kept.DecidedBy != denial.ByAWS || kept.StoreRequest != "AWS1" || kept.StoreHost != "host=" || len(got) != 1 || got[0].Detail["store_request_id"] != "AWS1" {
		t.Errorf("%v %+v %+v", err, kept, got)
	}
}
