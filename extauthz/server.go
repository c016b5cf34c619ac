package extauthz

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/claimgate/claimgate/oidc"
)

// Register puts the gate's Authorization service on a gRPC server.
func (g *Gate) Register(s grpc.ServiceRegistrar) {
	authv3.RegisterAuthorizationServer(s, &server{gate: g})
}

// server is the gRPC front: it speaks CheckRequest and CheckResponse, and the
// gate speaks neither.
type server struct {
	authv3.UnimplementedAuthorizationServer
	gate *Gate
}

// Check answers one request. It never returns an error: to Envoy that would be a
// failure of the filter, which may let the request pass, where a denial does not.
func (s *server) Check(ctx context.Context, req *authv3.CheckRequest) (resp *authv3.CheckResponse, _ error) {
	g := s.gate
	start := g.begin()
	defer g.end()
	var r Request
	var isHTTP bool
	defer func() {
		if cause := recover(); cause != nil {
			resp = respond(g.contain(ctx, cause, &r, start), nil)
		}
	}()
	set := g.set.Load()
	r, isHTTP = decode(req)
	d := set.answer(ctx, &r, isHTTP)
	resp = respond(d, set.metadataClaims)
	g.observe(ctx, set, &r, d, start)
	return resp, nil
}

// checkWire is Check from bytes to bytes: see wireCodec.
func (s *server) checkWire(ctx context.Context, data []byte) (answer []byte) {
	g := s.gate
	start := g.begin()
	defer g.end()
	w := newWireRequest() // not given back after a panic
	defer func() {
		if cause := recover(); cause != nil {
			answer = encodeAnswer(g.contain(ctx, cause, &w.request, start), nil)
		}
	}()
	set := g.set.Load()
	r, isHTTP := w.read(data)
	d := set.answer(ctx, r, isHTTP)
	answer = encodePrepared(d, set.metadataClaims)
	g.observe(ctx, set, r, d, start)
	w.release()
	return answer
}

func (g *Gate) begin() time.Time {
	g.metrics.inFlight.Inc()
	return g.clock()
}

func (g *Gate) end() { g.metrics.inFlight.Dec() }

// answer decides, also about a check that has nothing of HTTP.
func (s *policySet) answer(ctx context.Context, r *Request, isHTTP bool) Decision {
	if !isHTTP {
		return Decision{reason: oidc.NoPolicy}
	}
	return s.decide(ctx, r, nil)
}

// contain makes a denial of a recovered panic, and counts and reports it.
func (g *Gate) contain(ctx context.Context, cause any, r *Request, start time.Time) Decision {
	d := Decision{reason: oidc.Internal}
	if r.Headers != nil {
		d.plainText = isGRPC(r.Headers)
	}
	g.panicked(cause)
	g.count(ctx, d, start, g.clock())
	return d
}

// count counts and traces one decision.
func (g *Gate) count(ctx context.Context, d Decision, start, now time.Time) {
	g.metrics.checked(d, now, now.Sub(start))
	if t := g.tracing.Load(); t != nil {
		t.checked(ctx, d, start, now, &g.fetches)
	}
}

// panicked reports a recovered panic. A panic's value can hold anything, also
// what a client sent, so only a runtime error's text is written; the stack holds
// code positions and no data.
func (g *Gate) panicked(cause any) {
	text := fmt.Sprintf("panic of type %T", cause)
	if err, ok := cause.(runtime.Error); ok {
		text = err.Error()
	}
	g.logger.Error("a check panicked and was denied; please report this",
		slog.String("cause", text), slog.String("stack", string(debug.Stack())))
}

// observe counts, traces and records one decision.
func (g *Gate) observe(ctx context.Context, set *policySet, r *Request, d Decision, start time.Time) {
	now := g.clock()
	g.count(ctx, d, start, now)
	if !set.records.wants(d.Allowed()) {
		return
	}
	path, _, _ := strings.Cut(r.Path, "?")
	record := decisionRecord{
		time: now, duration: now.Sub(start),
		reason: d.Reason(), allowed: d.Allowed(), policy: d.policy, issuer: d.issuer,
		method: r.Method, host: r.Host, path: path, source: r.SourceAddress,
		traceID: traceID(ctx), token: d.credential,
	}
	if r.Headers != nil {
		record.requestID, _ = r.Headers.Get("x-request-id")
	}
	if d.token != nil && set.records.subject {
		record.subject, record.client = d.token.Subject, d.token.ClientID
	}
	g.log.add(record)
}

// traceID returns the trace that the check belongs to, by the traceparent in the
// gRPC metadata (W3C Trace Context: version, trace, parent, flags).
func traceID(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, "traceparent")
	const from, to = len("00-"), len("00-") + 32
	if len(values) != 1 || len(values[0]) < to {
		return ""
	}
	id := values[0][from:to]
	for i := 0; i < len(id); i++ {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return id
}
