package gateway

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
)

// Record is one finished request: all that logs, audit trail and metrics may
// know of it. It holds no secret: of a credential only the access key id, of the
// target no parameter that is part of one.
//
// It belongs to its request and is used again after Observe has returned: an
// observer copies what it keeps. Texts may be kept as they are.
type Record struct {
	Request identity.RequestID
	Began   time.Time
	// FirstByte is when the answer's header went out, and Total when all was
	// done, both counted from Began. Upstream is the time that stores took until
	// their headers came.
	FirstByte, Total, Upstream time.Duration
	// Proven is when the signature held, 0 where it did not. Asked is when the
	// decider was asked first, Decided how long it took in all.
	Proven, Asked, Decided time.Duration
	// Calls are the first requests to stores.
	Calls []Call
	calls [2]Call // their room

	Source     netip.Addr
	Method     string
	Host       string // as the client named it
	Target     string // path and query as sent, with the parameters that S3 names and no others
	Protocol   string // "HTTP/1.1"
	Referer    string // without its query, which may be that of a presigned URL
	UserAgent  string
	Trace      string // the client's traceparent: logged, never trusted
	TLSVersion uint16 // 0 without TLS
	TLSCipher  uint16

	// Operation is empty where the request wasn't read that far.
	Operation   s3.Name
	Bucket, Key string
	VersionID   string
	// Copied is what a copy reads; nil otherwise.
	Copied *s3.Source

	// AccessKeyID is the one that was presented, proven or not.
	AccessKeyID string
	// Caller is who it was, once the signature held; else nil.
	Caller *access.Caller
	// Authentication is REST-HEADER, REST-QUERY-STRING or POST; empty where the
	// signature did not hold.
	Authentication string
	GatewayKey     string // its id; empty for other keys
	// Cluster is the name of the cluster that the keys are for, and the others are
	// where on its nodes they were made for; empty for keys of no node.
	Cluster      string
	Node         identity.NodeID
	Attachment   identity.AttachmentID
	ProcessOwner string // 1000(alice)

	// AtAWS says that the keys were of a role at AWS, which decided.
	AtAWS bool
	// Reserved says that Recorder keeps a place for this record.
	Reserved bool

	// Place is where the bucket lives; zero where no rule places it.
	Place access.Place
	// StoreRequest and StoreHost are x-amz-request-id and x-amz-id-2 of the
	// store's last answer, StoreStatus its status; empty and 0 where no store was
	// asked.
	StoreRequest, StoreHost string
	StoreStatus             int

	// Decisions are what was asked of the decider, in order, at most mostDecisions.
	Decisions []Decided
	// Denials counts all that was denied, in a batch more than the answer says.
	Denials int

	// Batch is what became of each key of a DeleteObjects.
	Batch []Batched

	Status int // 0 where the connection ended before an answer
	// Code is S3's error code, empty for none; only then Kind and FromStore mean
	// nothing. FromStore says that the store found it, not the gateway.
	Code      string
	Kind      fault.Kind
	FromStore bool
	// Message is the sentence of the answer.
	Message string
	// Cause is the private side of a failure: for operators alone.
	Cause error
	// Sent and Received count the bytes of bodies, Size those of the object that
	// was read or written; -1 where it isn't known.
	Sent, Received, Size int64
}

// Decided is one question to the decider and its answer.
type Decided struct {
	Checks   []s3.Check
	Decision access.Decision
}

// Call is one request to a store: from Began, counted from that of the Record,
// until its header came.
type Call struct {
	Began, Took time.Duration
	Status      int // 0 where it did not answer
}

// Batched is one key of a batch: Status is what its own DELETE would have had.
type Batched struct {
	Key, VersionID string
	Status         int
	Code           string // S3's error code; empty for none
}

// mostDecisions bounds what a record remembers: a batch of keys asks one each.
const mostDecisions = 64

// Observer takes the record of every finished request, on the request's own
// goroutine: it must be quick, must not wait, and must not panic.
type Observer interface {
	Observe(*Record)
}

// Recorder says whether what is about to be done can be recorded.
type Recorder interface {
	// Reserve keeps a place for the record of a request that was allowed or
	// denied, where it is wanted; an error refuses the request.
	Reserve(op s3.Name, allowed bool) (reserved bool, err error)
}

// recordable holds a decision to the audit trail's being able to take it, before
// anything is done.
func (x *exchange) recordable(allowed bool) error {
	if x.g.config.Recorder == nil || x.record.Reserved {
		return nil
	}
	var err error
	x.record.Reserved, err = x.g.config.Recorder.Reserve(x.op.Name, allowed)
	if err != nil {
		return fault.Coded(fault.Unavailable, "ServiceUnavailable", "The request can't be recorded now, so it is refused. Please try again.").WithCause(err)
	}
	return nil
}

// observe completes the record and shows it to everyone.
func (x *exchange) observe() {
	if len(x.g.config.Observers) == 0 {
		return
	}
	r := &x.record
	r.Request, r.Began, r.Total = x.id, x.began, x.g.config.Now().Sub(x.began)
	r.Source, r.Method, r.Host, r.Protocol = x.g.config.Source(x.r), x.r.Method, x.r.Host, x.r.Proto
	r.Target = loggable(x.r.RequestURI)
	r.Referer, _, _ = strings.Cut(x.r.Referer(), "?")
	r.UserAgent = x.r.UserAgent()
	if v := x.r.Header["Traceparent"]; len(v) == 1 {
		r.Trace = v[0]
	}
	if x.r.TLS != nil {
		r.TLSVersion, r.TLSCipher = x.r.TLS.Version, x.r.TLS.CipherSuite
	}
	if x.op != nil {
		r.Operation, r.Bucket, r.Key, r.Copied = x.op.Name, x.op.Bucket, x.op.Key, x.op.Source
		r.VersionID = x.op.Param("versionId")
	}
	r.AccessKeyID = x.claimed
	if x.presented != nil {
		r.Caller, r.Authentication = &x.caller, x.presented.Place.String()
		on := x.onNode()
		r.Cluster, r.Node, r.Attachment, r.ProcessOwner = x.clusterName(on.Cluster), on.Node, on.Attachment, on.Owner
	}
	r.Place, r.AtAWS = x.place, x.as != nil
	r.Status, r.Code, r.Cause = x.status, x.code, x.cause
	r.Sent, r.Received = x.sent, x.received
	for _, o := range x.g.config.Observers {
		o.Observe(r)
	}
}

// decided notes one answer of the decider.
func (x *exchange) decided(checks []s3.Check, d access.Decision, asked time.Time) {
	r := &x.record
	if r.Asked == 0 {
		r.Asked = asked.Sub(x.began)
	}
	r.Decided += x.g.config.Now().Sub(asked)
	if !d.Allow {
		r.Denials++
	}
	if len(r.Decisions) < mostDecisions {
		r.Decisions = append(r.Decisions, Decided{checks, d})
	}
}

// batched notes what became of the keys of a batch: the store's answer lists
// failures, those that were refused here among them.
func (r *Record) batched(wanted []s3.Deletion, failures []s3.DeleteError) {
	type object struct{ key, version string }
	failed := make(map[object]string, len(failures))
	for _, e := range failures {
		failed[object{e.Key, e.VersionID}] = e.Code
	}
	r.Batch = make([]Batched, 0, len(wanted))
	for _, d := range wanted {
		b := Batched{Key: d.Key, VersionID: d.VersionID, Status: http.StatusNoContent, Code: failed[object{d.Key, d.VersionID}]}
		switch b.Code {
		case "":
		case "AccessDenied":
			b.Status = http.StatusForbidden
		case "InternalError":
			b.Status = http.StatusInternalServerError
		default:
			b.Status = http.StatusBadRequest
		}
		r.Batch = append(r.Batch, b)
	}
}

// header begins the answer: nothing else writes a status.
func (x *exchange) header(status int) {
	x.status = status
	x.record.FirstByte = x.g.config.Now().Sub(x.began)
	x.w.WriteHeader(status)
}

// ask sends a request to a store: the one way from a request to any upstream.
func (x *exchange) ask(store Store, out *s3.Outgoing) (*http.Response, error) {
	var err error
	if err = x.address(store, out); err != nil {
		return nil, err
	}
	out.Caller = x.party()
	began := x.g.config.Now()
	res, err := store.Upstream.Do(x.r.Context(), out)
	r := &x.record
	call := Call{Began: began.Sub(x.began), Took: x.g.config.Now().Sub(began)}
	r.Upstream += call.Took
	if err == nil {
		call.Status = res.StatusCode
	}
	if n := len(r.Calls); n < len(r.calls) {
		r.calls[n] = call
		r.Calls = r.calls[:n+1]
	}
	if err == nil {
		r.StoreStatus, r.StoreRequest, r.StoreHost = res.StatusCode, first(res.Header["X-Amz-Request-Id"]), first(res.Header["X-Amz-Id-2"])
		x.traced(store)
	}
	return res, err
}

// sized notes how large the object is that is read: of a range, the whole.
func (r *Record) sized(op *s3.Operation, h http.Header) {
	if op.Name != s3.GetObject && op.Name != s3.HeadObject {
		return
	}
	text := first(h["Content-Length"])
	if ranged := first(h["Content-Range"]); ranged != "" {
		_, text, _ = strings.Cut(ranged, "/")
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		r.Size = n
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// loggable gives a request-target with those parameters that S3 names, as they
// were sent. All others go: among them stand the parts of presigned URLs, and
// whatever else a client took for one.
func loggable(target string) string {
	path, query, ok := strings.Cut(target, "?")
	if !ok {
		return target
	}
	all := true
	for part := range strings.SplitSeq(query, "&") {
		all = all && namesParam(part)
	}
	if all {
		return target
	}
	b := make([]byte, 0, len(target))
	b = append(b, path...)
	next := byte('?')
	for part := range strings.SplitSeq(query, "&") {
		if namesParam(part) {
			b = append(append(b, next), part...)
			next = '&'
		}
	}
	return string(b)
}

func namesParam(part string) bool {
	name, _, _ := strings.Cut(part, "=")
	return s3.NamesParam(name)
}

// classOf gives the class of a store's refusal.
func classOf(status int) fault.Kind {
	switch status {
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusForbidden:
		return fault.Denied
	case http.StatusConflict, http.StatusPreconditionFailed:
		return fault.Conflict
	case http.StatusNotImplemented:
		return fault.Unsupported
	case http.StatusTooManyRequests:
		return fault.Limited
	}
	if status >= 500 {
		return fault.Unavailable
	}
	return fault.Invalid
}
