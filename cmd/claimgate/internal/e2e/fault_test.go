package e2e_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// faultyGate stands before a real gate and fails as a gate may: it answers the
// first checks with errors, or never.
type faultyGate struct {
	authv3.UnimplementedAuthorizationServer
	gate   authv3.AuthorizationClient
	fail   codes.Code // of the first failures checks; OK is no answer at all
	failed atomic.Int32
	times  int32
}

func (g *faultyGate) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	if g.failed.Add(1) > g.times {
		return g.gate.Check(ctx, r)
	}
	if g.fail == codes.OK {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, status.Error(g.fail, "as the test wants")
}

// always is more failures than a test has checks.
const always = 1 << 20

// startFaulty starts a lab whose Envoy asks a gate that fails so many times.
func startFaulty(t *testing.T, fail codes.Code, times int32) (*lab.Lab, *faultyGate) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := start(t, lab.Options{Gate: listener.Addr().String()})
	conn, err := grpc.NewClient("passthrough:///"+l.GateAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	g := &faultyGate{gate: authv3.NewAuthorizationClient(conn), fail: fail, times: times}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, g)
	var serve sync.WaitGroup
	serve.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serve.Wait()
		_ = conn.Close()
	})
	return l, g
}

// A gate that fails once or twice is asked again, and the client does not notice.
func TestFailedChecksAreRetried(t *testing.T) {
	l, g := startFaulty(t, codes.Unavailable, 2)
	a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{token(l), {"x-auth-subject", "root"}}})
	if a.Status != 200 || seen(a)["x-auth-subject"] != "alice" {
		t.Errorf("status %d, the upstream sees %v; want 200 and alice", a.Status, seen(a))
	}
	if n := g.failed.Load(); n != 3 {
		t.Errorf("the gate was asked %d times, want 3", n)
	}
}

// A gate that answers errors, or never, lets nobody in, and says "later".
func TestFailingGateLetsNobodyIn(t *testing.T) {
	for name, fail := range map[string]codes.Code{
		"unavailable": codes.Unavailable, "an error": codes.Internal,
		"a denial in the wrong form": codes.Unauthenticated, "no answer": codes.OK,
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := startFaulty(t, fail, always)
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
		})
	}
}
