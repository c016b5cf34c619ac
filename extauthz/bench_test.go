package extauthz

import (
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
)

func benchmarkRequest(b *testing.B, g *testGate) []byte {
	b.Helper()
	wire, err := proto.Marshal(checkRequest("/orders?page=2",
		":method", "GET", ":path", "/orders?page=2", ":authority", "api.example.com", "user-agent", "benchmark/1.0",
		"accept", "*/*", "accept-encoding", "gzip", "x-request-id", "0f0f0f0f-0000-4000-8000-000000000000", "cookie", "theme=dark",
		"authorization", "Bearer "+g.issuer.Token(nil)))
	if err != nil {
		b.Fatal(err)
	}
	return wire
}

// BenchmarkCheck measures a check with a cached token from the bytes of the
// request to the bytes of the answer: what the gate adds to gRPC's transport.
func BenchmarkCheck(b *testing.B) {
	g := newTestGate(b, oneIssuer+"policies: [{name: all}]")
	wire := benchmarkRequest(b, g)
	b.ReportAllocs()
	for b.Loop() {
		req := &authv3.CheckRequest{}
		if err := proto.Unmarshal(wire, req); err != nil {
			b.Fatal(err)
		}
		resp, _ := g.server.Check(b.Context(), req)
		if resp.GetOkResponse() == nil {
			b.Fatal(resp)
		}
		if _, err := proto.Marshal(resp); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheckWire measures the same the daemon's way.
func BenchmarkCheckWire(b *testing.B) {
	g := newTestGate(b, oneIssuer+"policies: [{name: all}]")
	wire := benchmarkRequest(b, g)
	b.ReportAllocs()
	for b.Loop() {
		if answer := g.server.checkWire(b.Context(), wire); len(answer) < 100 {
			b.Fatal(answer)
		}
	}
}

// BenchmarkDecide measures the decision alone.
func BenchmarkDecide(b *testing.B) {
	g := newTestGate(b, oneIssuer+"policies: [{name: all}]")
	r, _ := decode(checkRequest("/orders", "authorization", "Bearer "+g.issuer.Token(nil), "accept", "*/*", "user-agent", "x", "cookie", "a=b"))
	b.ReportAllocs()
	for b.Loop() {
		if d := g.Decide(b.Context(), &r); !d.Allowed() {
			b.Fatal(d.Reason())
		}
	}
}
