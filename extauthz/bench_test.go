package extauthz

import (
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// BenchmarkCheck measures a check with a cached token from the bytes of the
// request to the bytes of the answer: what the gate adds to gRPC's transport.
func BenchmarkCheck(b *testing.B) {
	g := newTestGate(b, oneIssuer+"tokenCache: {maxEntries: 10, maxBytes: 1MiB}\npolicies: [{name: all}]")
	wire, err := proto.Marshal(checkRequest("/orders?page=2",
		":method", "GET", ":path", "/orders?page=2", ":authority", "api.example.com", "user-agent", "benchmark/1.0",
		"accept", "*/*", "accept-encoding", "gzip", "x-request-id", "0f0f0f0f-0000-4000-8000-000000000000", "cookie", "theme=dark",
		"authorization", "Bearer "+g.issuer.Token(nil, oidctest.Header("typ", "at+jwt"))))
	if err != nil {
		b.Fatal(err)
	}
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
