// Package otlp sends the audit trail to an OpenTelemetry collector, as log records of
// OTLP over HTTP in the JSON form (OpenTelemetry Protocol, "JSON Protobuf Encoding").
//
// The body of each is the event's document as it stands in every export; what people
// filter by are attributes beside it. An answer of the collector that it took less
// than all is a failure: nothing is dropped because a collector says so. It must never
// show the values of its headers, which are secrets.
package otlp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/audit"
)

// Client sends one request to a configured address (egress.Client).
type Client interface {
	Send(ctx context.Context, method, url string, header http.Header, body []byte) (status int, answer []byte, err error)
}

// Config says where records go.
type Config struct {
	Name     string // of the target
	Endpoint string // scheme, host and port: /v1/logs is posted to there
	// Headers go with every request, such as Authorization.
	Headers map[string]secret.Text
	Client  Client
	Host    string // the name of this machine
	Version string // of this program
	Now     func() time.Time
}

// Exporter is a target. Safe for concurrent use.
type Exporter struct{ Config }

var _ audit.Target = (*Exporter)(nil)

// New makes an Exporter.
func New(c Config) *Exporter { return &Exporter{c} }

// Name is the target's name.
func (e *Exporter) Name() string { return e.Config.Name }

// Put posts records. Faults: Invalid and TooLarge for records that the collector
// refuses, Misconfigured where it refuses us, Unavailable otherwise.
func (e *Exporter) Put(ctx context.Context, documents []audit.Document) error {
	body, err := e.request(documents)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "a record can't be written as JSON")
	}
	header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"carnet"}}
	for name, value := range e.Headers {
		header.Set(name, value.Reveal())
	}
	status, answer, err := e.Client.Send(ctx, http.MethodPost, e.Endpoint+"/v1/logs", header, body)
	if err != nil {
		away := fault.Of(err)
		return fault.Wrap(away.Cause, fault.Unavailable, away.Public).WithMend("look at the collector and at the endpoint of this audit target")
	}
	return e.judge(status, answer)
}

// judge reads the collector's answer.
func (e *Exporter) judge(status int, answer []byte) error {
	said := "the collector answers " + strconv.Itoa(status) + " " + http.StatusText(status)
	switch {
	case status == http.StatusOK:
		return e.partial(answer)
	case status/100 == 2:
		return nil
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.New(fault.Misconfigured, said).WithMend("look at headers_file of this audit target")
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return fault.New(fault.Misconfigured, said+" to POST "+e.Endpoint+"/v1/logs").WithMend("does it receive OTLP over HTTP there, with a pipeline for logs?")
	case status == http.StatusRequestEntityTooLarge:
		return fault.New(fault.TooLarge, said)
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return fault.New(fault.Invalid, said+e.reason(answer))
	}
	return fault.New(fault.Unavailable, said+e.reason(answer))
}

// partial reads an ExportLogsServiceResponse. A collector that took all says nothing.
func (e *Exporter) partial(answer []byte) error {
	var r struct {
		Partial struct {
			Rejected number `json:"rejectedLogRecords"`
			Message  string `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		// Something else, such as the page of a proxy, has thrown the records away.
		return fault.Wrap(err, fault.Misconfigured, "what answers 200 OK to POST "+e.Endpoint+"/v1/logs is no collector").WithMend("does it receive OTLP over HTTP there, with a pipeline for logs?")
	}
	if r.Partial.Rejected <= 0 {
		return nil
	}
	return fault.New(fault.Invalid, fmt.Sprintf("the collector refuses %d records%s", r.Partial.Rejected, e.masked(r.Partial.Message)))
}

// number is an int64 of the JSON form: a text, or a number.
type number int64

// UnmarshalJSON reads both.
func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	i, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	*n = number(i)
	return err
}

// reason gives what a collector's Status says, if it is one.
func (e *Exporter) reason(answer []byte) string {
	var s struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, &s) != nil {
		return ""
	}
	return e.masked(s.Message)
}

// masked makes a foreign text fit to be shown: short, one line, and without our
// headers' values, which some servers repeat.
func (e *Exporter) masked(text string) string {
	for _, value := range e.Headers {
		text = strings.ReplaceAll(text, value.Reveal(), secret.Mask)
		if _, bare, ok := strings.Cut(value.Reveal(), " "); ok && len(bare) >= 8 {
			text = strings.ReplaceAll(text, bare, secret.Mask) // without its scheme
		}
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if text == "" {
		return ""
	}
	return ": " + fault.Clip(text)
}

// The parts of an ExportLogsServiceRequest.
type (
	request struct {
		ResourceLogs []resourceLogs `json:"resourceLogs"`
	}
	resourceLogs struct {
		Resource struct {
			Attributes []attribute `json:"attributes"`
		} `json:"resource"`
		ScopeLogs []scopeLogs `json:"scopeLogs"`
	}
	scopeLogs struct {
		Scope struct {
			Name    string `json:"name"`
			Version string `json:"version,omitempty"`
		} `json:"scope"`
		LogRecords []logRecord `json:"logRecords"`
	}
	logRecord struct {
		Time         string      `json:"timeUnixNano"`
		Observed     string      `json:"observedTimeUnixNano"`
		Severity     int         `json:"severityNumber"`
		SeverityText string      `json:"severityText"`
		EventName    string      `json:"eventName,omitempty"`
		Body         value       `json:"body"`
		Attributes   []attribute `json:"attributes"`
	}
	attribute struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	value struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
	}
)

func (e *Exporter) request(documents []audit.Document) ([]byte, error) {
	var r resourceLogs
	r.Resource.Attributes = attributes("service.name", "carnet", "service.version", e.Version, "host.name", e.Host)
	var s scopeLogs
	s.Scope.Name, s.Scope.Version = "carnet.dev/carnet/audit", audit.DocumentVersion
	now := e.Now()
	for _, d := range documents {
		one, err := record(d, now)
		if err != nil {
			return nil, err
		}
		s.LogRecords = append(s.LogRecords, one)
	}
	r.ScopeLogs = []scopeLogs{s}
	return json.Marshal(request{[]resourceLogs{r}})
}

func record(d audit.Document, now time.Time) (logRecord, error) {
	line, err := audit.Lines([]audit.Document{d})
	if err != nil {
		return logRecord{}, err
	}
	u := d.UserIdentity
	l := logRecord{Time: nanos(d.EventTime), Observed: nanos(now), EventName: d.EventName, Body: text(strings.TrimSuffix(string(line), "\n"))}
	l.Severity, l.SeverityText = severity(d.Outcome)
	l.Attributes = attributes("carnet.audit.event_id", d.EventID, "carnet.audit.outcome", string(d.Outcome), "carnet.audit.chain", d.Chain.Writer, "carnet.audit.hash", d.Chain.Hash,
		"error.type", d.ErrorCode, "user.id", u.Person, "user.name", u.UserName, "client.address", d.SourceIP, "carnet.request_id", d.RequestID, "carnet.target", d.Target,
		"cloud.account.id", d.Account, "carnet.role", u.Role)
	seq := strconv.FormatInt(d.Chain.Seq, 10)
	l.Attributes = append(l.Attributes, attribute{"carnet.audit.seq", value{Int: &seq}})
	return l, nil
}

// severity gives SeverityNumber and SeverityText (OpenTelemetry, "Logs Data Model").
func severity(o event.Outcome) (int, string) {
	switch o {
	case event.Done:
		return 9, "INFO"
	case event.Denied:
		return 13, "WARN"
	}
	return 17, "ERROR"
}

func nanos(t time.Time) string { return strconv.FormatInt(max(0, t.UnixNano()), 10) }

func text(s string) value { return value{String: &s} }

// attributes pairs names and texts; empty ones are left out.
func attributes(pairs ...string) (all []attribute) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all = append(all, attribute{pairs[i], text(pairs[i+1])})
		}
	}
	return all
}
