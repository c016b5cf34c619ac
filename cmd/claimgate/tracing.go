package main

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/claimgate/claimgate/extauthz"
)

const (
	traceFlushTime   = 2 * time.Second // for the last spans, at the end
	traceErrorPeriod = time.Minute     // between two log lines about a collector
)

// tracers sends spans to the collector of the configuration in force. Spans wait
// in a bounded queue and are dropped when it is full, so that a slow or absent
// collector delays nothing. The SDK reads the other OTEL_ variables itself, such
// as the sampler (by default the parent's decision), headers and certificates.
type tracers struct {
	fallback string // OTEL_EXPORTER_OTLP_ENDPOINT
	logger   *slog.Logger

	endpoint string
	provider *sdktrace.TracerProvider // nil while there are no traces
	exporter *otlptrace.Exporter      // of provider
	closing  sync.WaitGroup
}

// use is extauthz.ServeOptions.Tracing.
func (t *tracers) use(cfg extauthz.TracingConfig) trace.TracerProvider {
	if endpoint := cmp.Or(cfg.Endpoint, t.fallback); endpoint != t.endpoint {
		t.retire()
		t.endpoint = endpoint
		t.connect()
	}
	if t.provider == nil {
		return nil
	}
	return t.provider
}

// connect makes no provider without an endpoint, nor for one that cannot be used:
// traces are not worth a gate that does not start.
func (t *tracers) connect() {
	if t.endpoint == "" {
		return
	}
	if err := extauthz.CheckCollectorURL(t.endpoint); err != nil { // only the variable can be wrong
		t.logger.Warn("no traces: OTEL_EXPORTER_OTLP_ENDPOINT " + err.Error())
		return
	}
	ctx := context.Background() // neither waits for a collector
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(t.endpoint))
	if err != nil {
		t.logger.Warn("no traces", slog.String("endpoint", t.endpoint), slog.String("error", err.Error()))
		return
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "claimgate"), attribute.String("service.version", version),
	), resource.WithFromEnv())
	if err != nil {
		t.logger.Warn("traces say less about this process", slog.String("error", err.Error()))
	}
	t.logger.Info("traces are sent", slog.String("endpoint", t.endpoint))
	t.exporter = exporter
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
}

// retire sends what the provider still has, beside what comes next.
func (t *tracers) retire() {
	old, exporter := t.provider, t.exporter
	if old == nil {
		return
	}
	t.provider, t.exporter = nil, nil
	t.closing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), traceFlushTime)
		defer cancel()
		if err := old.Shutdown(ctx); err != nil {
			t.logger.Warn("the last traces were lost", slog.String("error", err.Error()))
		}
		cancel()
		_ = exporter.Shutdown(ctx) // cuts off what still runs; the provider leaves that
	})
}

// close sends the last spans, for two seconds at most.
func (t *tracers) close() {
	t.retire()
	t.closing.Wait()
}

// collectorTrouble logs what the SDK cannot deliver: once a minute, however many
// batches there are.
type collectorTrouble struct {
	logger *slog.Logger

	mu   sync.Mutex
	last time.Time // guarded by mu
}

// Handle implements otel.ErrorHandler.
func (c *collectorTrouble) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.last) >= traceErrorPeriod {
		c.last = now
		c.logger.Warn("traces are not delivered; checks are not affected", slog.String("error", err.Error()))
	}
}

var _ otel.ErrorHandler = (*collectorTrouble)(nil)
