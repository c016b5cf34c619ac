package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/claimgate/claimgate/extauthz"
)

// collectorAt runs a collector that tells what it got.
type collectorAt struct {
	collector.UnimplementedTraceServiceServer
	url  string
	mu   sync.Mutex
	seen []string // guarded by mu: service names and spans
}

func (c *collectorAt) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, a := range r.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				c.seen = append(c.seen, a.GetValue().GetStringValue())
			}
		}
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.seen = append(c.seen, span.GetName())
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func startCollector(t *testing.T) *collectorAt {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collectorAt{url: "http://" + l.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	return c
}

// What was begun for a collector still goes there when the configuration names
// another one, and at the end nothing is left.
func TestTracesGoWhereTheConfigurationSays(t *testing.T) {
	first, second := startCollector(t), startCollector(t)
	var log bytes.Buffer
	spans := &tracers{fallback: second.url, logger: slog.New(slog.NewTextHandler(&log, nil))}
	span := func(p trace.TracerProvider, name string) {
		_, s := p.Tracer("test").Start(t.Context(), name)
		s.End()
	}
	a := spans.use(extauthz.TracingConfig{Endpoint: first.url})
	span(a, "one")
	if again := spans.use(extauthz.TracingConfig{Endpoint: first.url}); again != a {
		t.Error("a reload that changes nothing makes another provider")
	}
	span(spans.use(extauthz.TracingConfig{}), "two")
	spans.close()
	for c, want := range map[*collectorAt]string{first: "claimgate one", second: "claimgate two"} {
		if got := strings.Join(c.seen, " "); got != want {
			t.Errorf("a collector got %q, want %q", got, want)
		}
	}
	off := &tracers{logger: slog.New(slog.DiscardHandler)}
	if p := off.use(extauthz.TracingConfig{}); p != nil {
		t.Errorf("without an endpoint there is %v", p)
	}
	off.close()
}

func TestAVariableThatNamesNoCollectorIsSaidAndStopsNothing(t *testing.T) {
	var log bytes.Buffer
	spans := &tracers{fallback: "collector:4317", logger: slog.New(slog.NewTextHandler(&log, nil))}
	if p := spans.use(extauthz.TracingConfig{}); p != nil {
		t.Error("there are traces")
	}
	spans.close()
	if !strings.Contains(log.String(), "no traces: OTEL_EXPORTER_OTLP_ENDPOINT is no address of a collector: write http://") {
		t.Errorf("the log says %s", &log)
	}
}

// A collector that never answers holds up the end for two seconds at most.
func TestACollectorThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it accepts nobody
	var log bytes.Buffer
	spans := &tracers{logger: slog.New(slog.NewTextHandler(&log, nil))}
	_, s := spans.use(extauthz.TracingConfig{Endpoint: "http://" + l.Addr().String()}).Tracer("test").Start(t.Context(), "lost")
	s.End()
	spans.close()
	if !strings.Contains(log.String(), "the last traces were lost") {
		t.Errorf("the log says %s", &log)
	}
}

func TestTroubleWithACollectorIsLoggedOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	c := &collectorTrouble{logger: slog.New(slog.NewTextHandler(&log, nil))}
	for range 100 {
		c.Handle(errors.New("refused"))
	}
	c.last = time.Now().Add(-traceErrorPeriod)
	c.Handle(errors.New("refused"))
	if n := strings.Count(log.String(), "traces are not delivered"); n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
}
