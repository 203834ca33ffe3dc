package gateway

import (
	"strconv"

	"carnet.dev/carnet/internal/edge/telemetry"
)

// ToMetrics counts requests.
type ToMetrics struct{ Metrics *telemetry.Metrics }

// Observe counts one request.
func (m ToMetrics) Observe(r *Record) {
	out := telemetry.Request{
		Operation: string(r.Operation), Status: r.Status, Sent: r.Sent, Received: r.Received, Total: r.Total, FirstByte: -1,
		Denied: r.Denials > 0,
	}
	if r.Status != 0 {
		out.FirstByte = r.FirstByte
	}
	out.Cause, out.By = r.cause()
	out.Denied = out.Denied || out.Cause == "denied"
	if c := r.Caller; c != nil {
		out.Account, out.Role = c.Account, c.Role.Name
		switch {
		case out.Role == "" && c.User.Name != "":
			out.Role = "user/" + c.User.Name
		case out.Role == "":
			out.Account = "" // a gateway key for which no role was found
		}
	}
	if len(r.Calls) > 0 { // none is named where all stores were asked
		out.Upstream, out.Store = r.Place.Upstream, r.Upstream
	}
	m.Metrics.S3(&out)
}

// cause gives the class of a failure and who found it; both empty for none.
func (r *Record) cause() (cause, by string) {
	switch {
	case r.Code == "" && r.Status != 0:
		return "", ""
	case r.Code == "":
		return "client-gone", "gateway"
	case r.FromStore && r.AtAWS:
		return r.Kind.String(), "aws"
	case r.FromStore:
		return r.Kind.String(), "store"
	}
	return r.Kind.String(), "gateway"
}

// ToTraces exports spans of a sample of requests.
type ToTraces struct{ Traces *telemetry.Traces }

// Observe exports one request, if it belongs to the sample. Attributes are named
// by OpenTelemetry's conventions for HTTP and for S3; the key of the object and
// the person are not among them, they stand in the access log under the request
// id.
func (t ToTraces) Observe(r *Record) {
	text := func(name, value string) telemetry.Attribute { return telemetry.Attribute{Name: name, Text: value} }
	number := func(name string, n int) telemetry.Attribute {
		return telemetry.Attribute{Name: name, Number: int64(n)}
	}
	name := "S3"
	if r.Operation != "" {
		name += "." + string(r.Operation)
	}
	failed := ""
	if r.Status >= 500 || r.Status == 0 {
		failed, _ = r.cause()
	}
	t.Traces.Put(telemetry.Span{Name: name, Began: r.Began, Took: r.Total, Failed: failed}, func() ([]telemetry.Attribute, []telemetry.Span) {
		all := []telemetry.Attribute{
			text("rpc.service", "S3"), text("rpc.method", string(r.Operation)), text("aws.s3.bucket", r.Bucket), text("aws.request_id", string(r.Request)),
			text("http.request.method", r.Method), number("http.response.status_code", r.Status), text("error.type", r.Code),
			text("carnet.client_traceparent", clipped(r.Trace)), number("carnet.bytes_sent", int(r.Sent)), number("carnet.bytes_received", int(r.Received)),
		}
		if c := r.Caller; c != nil {
			all = append(all, text("carnet.account", c.Account), text("carnet.role", c.Role.Name))
		}
		return all, r.spans()
	})
}

// clipped bounds what a client says of its own trace.
func clipped(s string) string { return s[:min(len(s), 64)] }

// spans gives the parts of a request.
func (r *Record) spans() (all []telemetry.Span) {
	proven := telemetry.Span{Name: "authenticate", Began: r.Began, Took: r.Proven}
	if r.Caller == nil {
		proven.Took, proven.Failed = r.Total, r.Code
	}
	all = append(all, proven)
	if r.Asked > 0 {
		decided := telemetry.Span{Name: "decide", Began: r.Began.Add(r.Asked), Took: r.Decided}
		if r.Denials > 0 {
			decided.Failed = "denied"
		}
		all = append(all, decided)
	}
	for _, c := range r.Calls {
		call := telemetry.Span{Name: "upstream", Began: r.Began.Add(c.Began), Took: c.Took, Client: true, Attributes: []telemetry.Attribute{
			{Name: "carnet.upstream", Text: r.Place.Upstream}, {Name: "http.response.status_code", Number: int64(c.Status)}}}
		if c.Status == 0 || c.Status >= 500 {
			call.Failed = strconv.Itoa(c.Status)
		}
		all = append(all, call)
	}
	return all
}
