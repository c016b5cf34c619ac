package extauthz

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// receiver is a collector of traces.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	address string

	mu    sync.Mutex
	spans []*spans.Span // guarded by mu
}

// Export implements collector.TraceServiceServer.
func (r *receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{address: l.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	return r
}

// provider sends spans to a collector, and flush waits until they are there.
func provider(t *testing.T, address string) (p *sdktrace.TracerProvider, flush func()) {
	t.Helper()
	exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpointURL("http://"+address))
	if err != nil {
		t.Fatal(err)
	}
	p = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Shutdown(ctx) // there may be no collector
		cancel()
		_ = exporter.Shutdown(ctx) // cuts off what still runs
	})
	return p, func() {
		t.Helper()
		if err := p.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func attributesOf(s *spans.Span) map[string]string {
	m := map[string]string{}
	for _, a := range s.GetAttributes() {
		m[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return m
}

const (
	parentTrace = "0af7651916cd43dd8448eb211c80319c"
	parentSpan  = "b7ad6b7169203331"
	traceparent = "00-" + parentTrace + "-" + parentSpan + "-01"
)

// Both ways into the gate make the same spans: one a check under the caller's, and
// one below it for each fetch that it waited for.
func TestEachCheckIsASpanUnderItsCaller(t *testing.T) {
	for name, wire := range map[string]bool{"plain": false, "wire": true} {
		t.Run(name, func(t *testing.T) {
			r := startReceiver(t)
			p, flush := provider(t, r.address)
			g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
			g.tracing.Store(newTracing(p))
			now := g.clock().Add(-time.Millisecond)
			g.clock = func() time.Time { now = now.Add(time.Millisecond); return now } // only the validator's stands still
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", traceparent, "tracestate", "a=b"))
			check := func(ctx context.Context, headers ...string) {
				req := checkRequest("/secret-path?secret-query", headers...)
				if !wire {
					if _, err := g.server.Check(ctx, req); err != nil {
						t.Fatal(err)
					}
					return
				}
				data, err := proto.Marshal(req)
				if err != nil {
					t.Fatal(err)
				}
				g.server.checkWire(ctx, data)
			}
			token := g.issuer.Token(map[string]any{"sub": "secret-subject"})
			check(ctx, "authorization", "Bearer "+token, "cookie", "secret-cookie")
			check(ctx, "authorization", "Bearer "+token)
			flush()
			if len(r.spans) != 4 {
				t.Fatalf("%d spans, want two checks and two fetches: %v", len(r.spans), r.spans)
			}
			parents := map[string]string{}
			for _, s := range r.spans {
				if id := trace.TraceID(s.GetTraceId()).String(); id != parentTrace {
					t.Errorf("%s is in trace %s", s.GetName(), id)
				}
				if s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
					t.Errorf("%s ends before it starts", s.GetName())
				}
				parents[s.GetName()] = trace.SpanID(s.GetParentSpanId()).String()
				a := attributesOf(s)
				if a["claimgate.issuer"] != "shop" {
					t.Errorf("%s: %v", s.GetName(), a)
				}
				if s.GetName() == "claimgate check" && (a["claimgate.policy"] != "all" || a["claimgate.reason"] != "valid_token" || len(a) != 3) {
					t.Errorf("a check's attributes are %v", a)
				}
				if s.GetName() != "claimgate check" && a["claimgate.result"] != "ok" {
					t.Errorf("a fetch's attributes are %v", a)
				}
				if text := protojson.Format(s); strings.Contains(text, "secret") || strings.Contains(text, token[:20]) {
					t.Errorf("a span tells a secret: %s", text)
				}
			}
			first := trace.SpanID(r.spans[len(r.spans)-1].GetSpanId()).String()
			for _, s := range r.spans {
				if s.GetName() == "claimgate check" {
					first = trace.SpanID(s.GetSpanId()).String()
					break
				}
			}
			if parents["claimgate check"] != parentSpan || parents["fetch discovery"] != first || parents["fetch jwks"] != first {
				t.Errorf("parents are %v; the check that fetched is %s", parents, first)
			}
		})
	}
}

func TestTheCallerDecidesWhatIsTraced(t *testing.T) {
	for _, c := range []struct {
		name, header string
		spans        int
		trace        string // "" for one of its own
	}{
		{"sampled", traceparent, 1, parentTrace},
		{"not sampled", strings.TrimSuffix(traceparent, "01") + "00", 0, ""},
		{"none", "", 1, ""},
		{"malformed", "00-zz", 1, ""},
		{"huge", strings.Repeat("0", 1<<20), 1, ""},
		{"zeros", "00-00000000000000000000000000000000-0000000000000000-01", 1, ""},
		{"two", traceparent + "|" + traceparent, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startReceiver(t)
			p, flush := provider(t, r.address)
			g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
			g.tracing.Store(newTracing(p))
			md := metadata.MD{}
			for value := range strings.SplitSeq(c.header, "|") {
				md.Append("traceparent", value)
			}
			if _, err := g.server.Check(metadata.NewIncomingContext(t.Context(), md), checkRequest("/")); err != nil {
				t.Fatal(err)
			}
			flush()
			if len(r.spans) != c.spans {
				t.Fatalf("%d spans", len(r.spans))
			}
			for _, s := range r.spans {
				if own := !bytes.Equal(s.GetTraceId(), mustTraceID(t)); own != (c.trace == "") || own && len(s.GetParentSpanId()) > 0 {
					t.Errorf("trace %x, parent %x", s.GetTraceId(), s.GetParentSpanId())
				}
				if a := attributesOf(s); a["claimgate.reason"] != "missing_token" || s.GetStatus().GetCode() != spans.Status_STATUS_CODE_UNSET {
					t.Errorf("a denial is %v", s)
				}
			}
		})
	}
}

func mustTraceID(t *testing.T) []byte {
	t.Helper()
	id, err := trace.TraceIDFromHex(parentTrace)
	if err != nil {
		t.Fatal(err)
	}
	return id[:]
}

func TestAFailedFetchIsAnErrorBelowItsCheck(t *testing.T) {
	r := startReceiver(t)
	p, flush := provider(t, r.address)
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	g.tracing.Store(newTracing(p))
	g.issuer.Down()
	g.check(t, checkRequest("/", "authorization", "Bearer "+g.issuer.Token(nil)))
	flush()
	failed := 0
	for _, s := range r.spans {
		if s.GetStatus().GetCode() == spans.Status_STATUS_CODE_ERROR {
			failed++
		}
	}
	if len(r.spans) < 2 || failed != len(r.spans) {
		t.Errorf("%d of %d spans are errors: %v", failed, len(r.spans), r.spans)
	}
}

// A collector that is not there: the queue fills, checks go on.
func TestWithoutItsCollectorAGateDecidesAsBefore(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it accepts nobody
	p, _ := provider(t, l.Addr().String())
	g := newTestGate(t, "log: {decisions: none}\n"+oneIssuer+"policies: [{name: all}]")
	g.tracing.Store(newTracing(p))
	token := g.issuer.Token(nil)
	for range 3 * sdktrace.DefaultMaxQueueSize {
		if resp := g.check(t, checkRequest("/", "authorization", "Bearer "+token)); resp.GetOkResponse() == nil {
			t.Fatal(resp)
		}
	}
}

// The daemon asks at the start and after each reload where spans go.
func TestTracesFollowTheConfiguration(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	r := startReceiver(t)
	p, flush := provider(t, r.address)
	cfg, err := ParseConfig("gate.yaml", []byte(`
server: {listen: "127.0.0.1:0", drainDelay: 0s}
admin: {listen: "off"}
tracing: {endpoint: "http://`+r.address+`"}
policies: [{name: all}]
issuers: [{issuer: `+issuer.URL+`, audiences: [api]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	d := serveDaemon(t, cfg, ServeOptions{Tracing: func(c TracingConfig) trace.TracerProvider {
		if c.Endpoint != "http://"+r.address {
			t.Errorf("asked for %q", c.Endpoint)
		}
		return p
	}})
	d.reason(t, checkRequest("/"))
	flush()
	if len(r.spans) != 1 {
		t.Errorf("%d spans", len(r.spans))
	}
}

func TestTracesThatAreOffCostNothing(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all, access: public}]")
	d := Decision{reason: "public", policy: "all"}
	now := g.clock()
	g.count(t.Context(), d, now, now)
	if n := testing.AllocsPerRun(100, func() { g.count(t.Context(), d, now, now) }); n != 0 {
		t.Errorf("%v allocations a check to count it", n)
	}
}
