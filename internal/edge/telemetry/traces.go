package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"carnet.dev/carnet/internal/core/secret"
)

// TraceConfig says where spans go.
type TraceConfig struct {
	// Endpoint is a collector's address without a path, such as
	// http://127.0.0.1:4318; spans are posted to /v1/traces there.
	Endpoint string
	// Sample is the share of requests that are traced, from 0 to 1.
	Sample  float64
	Version string // of this build
	Server  string // names this process among others
	Logger  *slog.Logger
	// Headers go with every request to the collector, such as Authorization.
	Headers map[string]secret.Text
	// Client posts the spans; nil takes one of its own.
	Client *http.Client
}

// Traces exports spans of a sample of requests. Requests never wait for it: what
// the collector does not take in time is dropped. Safe for concurrent use.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// The bounds of what waits for the collector.
const (
	mostSpans    = 2048
	spansAtOnce  = 256
	exportEvery  = 5 * time.Second
	exportWithin = 10 * time.Second
)

// NewTraces makes Traces.
func NewTraces(c TraceConfig) *Traces {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: exportWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	out := &exporter{config: c}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.TraceIDRatioBased(c.Sample)),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "carnet"), attribute.String("service.version", c.Version), attribute.String("service.instance.id", c.Server))),
		sdktrace.WithBatcher(out, sdktrace.WithMaxQueueSize(mostSpans), sdktrace.WithMaxExportBatchSize(spansAtOnce),
			sdktrace.WithBatchTimeout(exportEvery), sdktrace.WithExportTimeout(exportWithin)),
	)
	return &Traces{provider: provider, tracer: provider.Tracer("carnet.dev/carnet")}
}

// Span is one finished piece of work.
type Span struct {
	Name       string
	Began      time.Time
	Took       time.Duration
	Failed     string // why, in a word; empty for none
	Client     bool   // it was a call to another server
	Attributes []Attribute
}

// Attribute is a fact about a span, named by OpenTelemetry's conventions where it
// has a name for it. A Text that is empty and is no Number is left out.
type Attribute struct {
	Name   string
	Text   string
	Number int64
}

// Put exports a request, if it belongs to the sample. Only then more is asked for
// its attributes and its parts.
func (t *Traces) Put(request Span, more func() ([]Attribute, []Span)) {
	ctx, root := t.tracer.Start(context.Background(), request.Name, trace.WithNewRoot(), trace.WithTimestamp(request.Began), trace.WithSpanKind(trace.SpanKindServer))
	if !root.IsRecording() {
		return
	}
	attributes, parts := more()
	request.Attributes = append(request.Attributes, attributes...)
	for _, p := range parts {
		kind := trace.SpanKindInternal
		if p.Client {
			kind = trace.SpanKindClient
		}
		_, s := t.tracer.Start(ctx, p.Name, trace.WithTimestamp(p.Began), trace.WithSpanKind(kind))
		end(s, p)
	}
	end(root, request)
}

func end(s trace.Span, d Span) {
	for _, a := range d.Attributes {
		switch {
		case a.Text != "":
			s.SetAttributes(attribute.String(a.Name, a.Text))
		case a.Number != 0:
			s.SetAttributes(attribute.Int64(a.Name, a.Number))
		}
	}
	if d.Failed != "" {
		s.SetStatus(codes.Error, d.Failed)
	}
	s.End(trace.WithTimestamp(d.Began.Add(d.Took)))
}

// Close exports what is left, at most until ctx ends.
func (t *Traces) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }
