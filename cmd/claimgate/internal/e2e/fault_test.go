package e2e_test

import (
	"context"
	"sync/atomic"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// moreTime is for a busy machine, where a gate of the test's own must be heard.
func moreTime(*lab.Lab) [][2]string { return [][2]string{{"timeout: 0.5s", "timeout: 10s"}} }

// A gate that fails once or twice is asked again, and the client does not notice.
func TestFailedChecksAreRetried(t *testing.T) {
	var asked atomic.Int32
	l := startWith(t, lab.Options{Edit: moreTime}, func(ctx context.Context, gate authv3.AuthorizationClient, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
		if asked.Add(1) <= 2 {
			return nil, status.Error(codes.Unavailable, "as the test wants")
		}
		return gate.Check(ctx, r)
	})
	a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{token(l), {"x-auth-subject", "root"}}})
	if a.Status != 200 || seen(a)["x-auth-subject"] != "alice" {
		t.Errorf("status %d, the upstream sees %v; want 200 and alice", a.Status, seen(a))
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("the gate was asked %d times, want 3", n)
	}
}

// A gate that answers errors, or never, lets nobody in, and says "later". A
// gRPC client hears the same in its own words.
func TestFailingGateLetsNobodyIn(t *testing.T) {
	for name, code := range map[string]codes.Code{
		"unavailable": codes.Unavailable, "an error": codes.Internal,
		"a denial in the wrong form": codes.Unauthenticated, "no answer": codes.OK,
	} {
		t.Run(name, func(t *testing.T) {
			l := startWith(t, lab.Options{}, func(ctx context.Context, _ authv3.AuthorizationClient, _ *authv3.CheckRequest) (*authv3.CheckResponse, error) {
				if code == codes.OK {
					<-ctx.Done() // Envoy's time-out
					return nil, ctx.Err()
				}
				return nil, status.Error(code, "as the test wants")
			})
			for _, r := range []lab.Request{
				{Path: "/orders/7", Headers: []header{token(l)}},
				{Path: "/public/terms"},
				{Host: "admin.example.com", Path: "/", Headers: []header{adminToken(l)}, HTTP2: true},
			} {
				a := do(t, l, r)
				if want := fact(t, "no gate"); a.Status != want || a.Echo.Upstream != "" {
					t.Errorf("%s%s: %d at %q, want %d and no upstream", r.Host, r.Path, a.Status, a.Echo.Upstream, want)
				}
			}
			if a := do(t, l, grpcRequest(token(l))); a.Header.Get("Grpc-Status") != "14" || a.Echo.Upstream != "" {
				t.Errorf("gRPC: grpc-status %q at %q, want 14 (unavailable)", a.Header.Get("Grpc-Status"), a.Echo.Upstream)
			}
		})
	}
}
