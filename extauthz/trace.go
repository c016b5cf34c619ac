package extauthz

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	otelattr "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/claimgate/claimgate/oidc"
)

// tracerName is the instrumentation scope of all spans.
const tracerName = "github.com/claimgate/claimgate/extauthz"

// tracing makes a span of each check when it is over, so that deciding knows
// nothing of traces. A fetch of keys belongs to no check, since many may wait for
// one: it becomes a child of each traced check during which it ended.
type tracing struct{ tracer trace.Tracer }

func newTracing(p trace.TracerProvider) *tracing {
	if p == nil {
		return nil
	}
	return &tracing{p.Tracer(tracerName)}
}

// checked reports a check. Its parent is the one that the caller named in the gRPC
// metadata; nothing else of what a client sent goes into a span.
func (t *tracing) checked(ctx context.Context, d Decision, start, end time.Time, fetches *recentFetches) {
	parent := propagation.TraceContext{}.Extract(ctx, metadataCarrier{ctx})
	inSpan, span := t.tracer.Start(parent, "claimgate check", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(start))
	defer span.End(trace.WithTimestamp(end))
	if !span.IsRecording() {
		return
	}
	reason := d.Reason()
	span.SetAttributes(
		otelattr.String("claimgate.policy", d.policy),
		otelattr.String("claimgate.issuer", d.issuer),
		otelattr.String("claimgate.reason", string(reason)),
	)
	if class := reason.Class(); class == oidc.ClassInternal || class == oidc.ClassUnavailable {
		span.SetStatus(codes.Error, string(reason)) // any other denial is no error: it is what the gate is for
	}
	for _, e := range fetches.endedSince(start, d.issuer) {
		_, fetch := t.tracer.Start(inSpan, "fetch "+string(e.Kind), trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(e.Start))
		fetch.SetAttributes(otelattr.String("claimgate.issuer", e.IssuerName), otelattr.String("claimgate.result", string(e.Result)))
		if e.Status != 0 {
			fetch.SetAttributes(otelattr.Int("http.response.status_code", e.Status))
		}
		if e.Err != nil {
			fetch.SetStatus(codes.Error, string(e.Result))
		}
		fetch.End(trace.WithTimestamp(e.Start.Add(e.Duration)))
	}
}

// metadataCarrier reads the headers of W3C Trace Context. Where there are two of
// them, neither counts.
type metadataCarrier struct{ ctx context.Context }

// Get implements propagation.TextMapCarrier.
func (c metadataCarrier) Get(key string) string {
	values := metadata.ValueFromIncomingContext(c.ctx, key)
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// Set implements propagation.TextMapCarrier.
func (metadataCarrier) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (metadataCarrier) Keys() []string { return nil }

// recentFetches keeps the last fetches for the checks that waited for them. It
// keeps no header, no URL and nothing of a connection.
type recentFetches struct {
	newest atomic.Int64 // when the last one ended, so that a check without any looks no further

	mu   sync.Mutex
	list [32]oidc.FetchEvent // guarded by mu; a ring
	next int                 // guarded by mu
}

func (f *recentFetches) add(e oidc.FetchEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list[f.next] = oidc.FetchEvent{
		IssuerName: e.IssuerName, Kind: e.Kind, Result: e.Result, Start: e.Start, Duration: e.Duration, Status: e.Status, Err: e.Err,
	}
	f.next = (f.next + 1) % len(f.list)
	f.newest.Store(max(f.newest.Load(), e.Start.Add(e.Duration).UnixNano()))
}

// endedSince returns the issuer's fetches that ended at a time or later, the
// oldest first.
func (f *recentFetches) endedSince(start time.Time, issuer string) []oidc.FetchEvent {
	if issuer == "" || f.newest.Load() < start.UnixNano() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []oidc.FetchEvent
	for i := range f.list {
		e := &f.list[(f.next+i)%len(f.list)]
		if e.IssuerName == issuer && !e.Start.Add(e.Duration).Before(start) {
			list = append(list, *e)
		}
	}
	return list
}

// CheckCollectorURL says what is wrong with the address of a collector of traces:
// http or https, a host and, as a rule, the port 4317, and no more.
func CheckCollectorURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.TrimSuffix(u.Path, "/") != "" ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return errors.New("is no address of a collector: write http:// or https://, a host and its port for OTLP over gRPC, such as http://127.0.0.1:4317")
	}
	return nil
}
