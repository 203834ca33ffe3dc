// Package trail records S3 decisions in the audit trail.
//
// Every denial of a proven caller is recorded, permitted reads and writes where
// the configuration says so. Denials that repeat themselves are counted and
// recorded as a number, so that nobody fills the trail by asking again. Requests
// whose caller was not proven are in metrics and access log alone: strangers must
// not write here. Each denial is kept with what decided, too, for whoever has to
// explain it. Requests never wait for the database: they are queued.
package trail

import (
	"context"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/denial"
)

// Denials keeps why requests were denied.
type Denials interface {
	Keep(principal string, make func() denial.Denial)
}

// Config is what a Trail stands on.
type Config struct {
	Queue   *audit.Queue
	Denials Denials
	// Reads and Writes say whether what was permitted is recorded.
	Reads, Writes bool
	// Strict says that a request which would be recorded is refused where the
	// queue is full.
	Strict bool
	Now    func() time.Time
}

// Trail is a gateway.Observer and a gateway.Recorder. Safe for concurrent use.
type Trail struct {
	Config
	repeats *audit.Repeats
}

var (
	_ gateway.Observer = (*Trail)(nil)
	_ gateway.Recorder = (*Trail)(nil)
)

// window is how long repeated denials are counted before their number is
// recorded.
const window = time.Minute

// New makes a Trail.
func New(c Config) *Trail { return &Trail{Config: c, repeats: audit.NewRepeats(window)} }

// Reserve keeps a place in the queue for what has to be recorded.
func (t *Trail) Reserve(op s3.Name, allowed bool) (bool, error) {
	if !t.Strict || allowed && !t.wants(op) {
		return false, nil
	}
	return t.Queue.Reserve()
}

// wants reports whether a permitted operation is recorded.
func (t *Trail) wants(op s3.Name) bool {
	if op.Reads() {
		return t.Reads
	}
	return t.Writes
}

// Observe records one request.
func (t *Trail) Observe(r *gateway.Record) {
	e, wanted := t.event(r)
	switch {
	case wanted && r.Reserved:
		t.Queue.PutReserved(e)
	case wanted:
		_ = t.Queue.Put(e) // the queue counts what it can't take
	case r.Reserved:
		t.Queue.Release()
	}
}

func (t *Trail) event(r *gateway.Record) (event.Event, bool) {
	switch {
	case r.Caller == nil || r.Operation == "":
		return event.Event{}, false
	case denied(r):
		t.keep(r)
		e := describe(r, event.Denied)
		return e, t.repeats.First(kind(r), e)
	case !t.wants(r.Operation):
		return event.Event{}, false
	case r.Code != "" || r.Status == 0:
		return describe(r, event.Failed), true
	}
	return describe(r, event.Done), true
}

// denied reports whether the caller was refused something for want of a right.
func denied(r *gateway.Record) bool {
	return r.Denials > 0 || r.Code != "" && r.Kind == fault.Denied
}

// kind says which denials are the same noise. The key of the object is not part
// of it: who tries many keys makes one noise.
func kind(r *gateway.Record) audit.Kind {
	k := audit.Kind{
		Actor: r.AccessKeyID + " " + r.Caller.ARN, Source: r.Source.String(), Action: string(r.Operation), Object: r.Bucket, Why: r.Code,
	}
	if r.Place.Account == "" {
		k.Object = "" // no rule knows the name: whoever makes names up makes one noise
	}
	if d := refusal(r); d != nil && len(d.Decision.Statements) > 0 {
		k.Why += " " + d.Decision.Statements[len(d.Decision.Statements)-1]
	}
	return k
}

// refusal gives the first decision that denied.
func refusal(r *gateway.Record) *gateway.Decided {
	for i := range r.Decisions {
		if !r.Decisions[i].Decision.Allow {
			return &r.Decisions[i]
		}
	}
	return nil
}

// describe makes the event of a request, named as CloudTrail names it.
func describe(r *gateway.Record, outcome event.Outcome) event.Event {
	c := r.Caller
	e := event.Event{
		At: r.Began.UTC().Truncate(time.Millisecond), Action: "s3." + string(r.Operation), Outcome: outcome, Code: r.Code,
		Person: c.Person, LoginSession: c.LoginSession, ServicePrincipal: c.ServicePrincipal, Delegation: c.Delegation,
		Request: r.Request, Source: r.Source.String(), Account: c.Account, Role: role(c), Principal: c.ARN,
		AccessKeyID: r.AccessKeyID, GatewayKey: identity.GatewayKeyID(r.GatewayKey), Cluster: r.Cluster,
		Node: r.Node, Attachment: r.Attachment, ProcessOwner: r.ProcessOwner,
		Target: target(r.Bucket, r.Key), Detail: detail(r, outcome),
	}
	if e.Code == "" && outcome == event.Denied {
		e.Code = "AccessDenied" // of keys in a batch, whose answer is a 200
	}
	return e
}

func role(c *access.Caller) string {
	if c.Role.Name == "" {
		return ""
	}
	return c.Role.String()
}

func target(bucket, key string) string {
	switch {
	case bucket == "":
		return "*"
	case key == "":
		return "arn:aws:s3:::" + bucket
	}
	return "arn:aws:s3:::" + bucket + "/" + key
}

const mostDetail = 512

func detail(r *gateway.Record, outcome event.Outcome) map[string]string {
	d := map[string]string{"status": strconv.Itoa(r.Status)}
	set := func(name, value string) {
		if value != "" {
			d[name] = strings.ToValidUTF8(value[:min(len(value), mostDetail)], "")
		}
	}
	set("user_agent", r.UserAgent)
	set("authentication", r.Authentication)
	set("version_id", r.VersionID)
	set("store_request_id", r.StoreRequest)
	if r.Place.Account != r.Caller.Account {
		set("bucket_account", r.Place.Account)
	}
	if r.Copied != nil {
		set("copied_from", target(r.Copied.Bucket, r.Copied.Key))
	}
	if n := len(r.Batch); n > 0 {
		set("keys", strconv.Itoa(n))
	}
	if outcome != event.Denied {
		set("sent", strconv.FormatInt(r.Sent, 10))
		set("received", strconv.FormatInt(r.Received, 10))
		return d
	}
	set("decided_by", string(by(r)))
	set("reason", r.Message)
	if r.Denials > 1 {
		set("denied", strconv.Itoa(r.Denials))
	}
	if refused := refusal(r); refused != nil {
		set("statements", strings.Join(refused.Decision.Statements, " "))
		if r.Message == "" {
			set("reason", refused.Decision.Reason)
		}
	}
	return d
}

// by says who denied.
func by(r *gateway.Record) denial.By {
	switch {
	case r.Denials > 0:
		return denial.ByPolicy
	case r.FromStore && r.AtAWS:
		return denial.ByAWS
	case r.FromStore:
		return denial.ByStore
	}
	return denial.ByGateway
}

// Run records numbers of repeated denials until ctx ends, and once more then. The
// queue must run for longer.
func (t *Trail) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.put(t.repeats.Ended(t.Now()))
		case <-ctx.Done():
			t.put(t.repeats.All(t.Now()))
			return
		}
	}
}

func (t *Trail) put(all []event.Event) {
	for _, e := range all {
		// Of a strict queue that is full the number is lost; its denials were refused
		// all the same.
		_ = t.Queue.Put(e)
	}
}
