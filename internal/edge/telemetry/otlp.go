package telemetry

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exporter posts spans as OTLP over HTTP in its JSON form (OpenTelemetry Protocol,
// "JSON Protobuf Encoding"), which every collector takes. The official exporter
// brings gRPC along, for the same few fields.
type exporter struct {
	config TraceConfig
	told   time.Time // of a failure; used by the one goroutine that exports
}

var _ sdktrace.SpanExporter = (*exporter)(nil)

// The parts of an ExportTraceServiceRequest.
type (
	otlpRequest struct {
		ResourceSpans []otlpResource `json:"resourceSpans"`
	}
	otlpResource struct {
		Resource struct {
			Attributes []otlpAttribute `json:"attributes"`
		} `json:"resource"`
		ScopeSpans []otlpScope `json:"scopeSpans"`
	}
	otlpScope struct {
		Scope struct {
			Name string `json:"name"`
		} `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		Parent     string          `json:"parentSpanId,omitempty"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Start      string          `json:"startTimeUnixNano"`
		End        string          `json:"endTimeUnixNano"`
		Attributes []otlpAttribute `json:"attributes,omitempty"`
		Status     *otlpStatus     `json:"status,omitempty"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
	}
	otlpStatus struct {
		Message string `json:"message,omitempty"`
		Code    int    `json:"code"`
	}
)

// ExportSpans posts spans, once.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	body, err := json.Marshal(document(spans))
	if err == nil {
		err = e.post(ctx, body)
	}
	if now := time.Now(); err != nil && now.Sub(e.told) > time.Minute {
		e.told = now
		e.config.Logger.Warn("spans can't be exported: they are dropped", "spans", len(spans), "error", err)
	}
	return nil // told already
}

// Shutdown does nothing: nothing is kept here.
func (e *exporter) Shutdown(context.Context) error { return nil }

func (e *exporter) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.config.Endpoint+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range e.config.Headers {
		req.Header.Set(name, value.Reveal())
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.config.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answers %s", res.Status)
	}
	return nil
}

func document(spans []sdktrace.ReadOnlySpan) otlpRequest {
	var r otlpResource
	r.Resource.Attributes = attributes(spans[0].Resource().Attributes())
	var scope otlpScope
	scope.Scope.Name = spans[0].InstrumentationScope().Name
	for _, s := range spans {
		scope.Spans = append(scope.Spans, span(s))
	}
	r.ScopeSpans = []otlpScope{scope}
	return otlpRequest{[]otlpResource{r}}
}

func span(s sdktrace.ReadOnlySpan) otlpSpan {
	c, p := s.SpanContext(), s.Parent()
	traceID, spanID := c.TraceID(), c.SpanID()
	out := otlpSpan{
		TraceID: hex.EncodeToString(traceID[:]), SpanID: hex.EncodeToString(spanID[:]), Name: s.Name(), Kind: int(s.SpanKind()),
		Start: strconv.FormatInt(s.StartTime().UnixNano(), 10), End: strconv.FormatInt(s.EndTime().UnixNano(), 10), Attributes: attributes(s.Attributes()),
	}
	if p.HasSpanID() {
		id := p.SpanID()
		out.Parent = hex.EncodeToString(id[:])
	}
	if s.Status().Code == codes.Error {
		out.Status = &otlpStatus{s.Status().Description, 2}
	}
	return out
}

func attributes(all []attribute.KeyValue) (out []otlpAttribute) {
	for _, a := range all {
		o := otlpAttribute{Key: string(a.Key)}
		text := a.Value.String()
		if a.Value.Type() == attribute.INT64 {
			o.Value.Int = &text
		} else {
			o.Value.String = &text
		}
		out = append(out, o)
	}
	return out
}
