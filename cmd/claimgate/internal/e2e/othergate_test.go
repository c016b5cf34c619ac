package e2e_test

import (
	"context"
	"net"
	"sync"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// check answers a check, perhaps by asking the lab's gate.
type check func(ctx context.Context, gate authv3.AuthorizationClient, r *authv3.CheckRequest) (*authv3.CheckResponse, error)

// otherGate is a gate that does what a test wants.
type otherGate struct {
	authv3.UnimplementedAuthorizationServer
	gate  authv3.AuthorizationClient
	check check
}

func (g *otherGate) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return g.check(ctx, g.gate, r)
}

// startWith starts a lab whose Envoy asks another gate.
func startWith(t *testing.T, opts lab.Options, check check) *lab.Lab {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Gate = listener.Addr().String()
	l := start(t, opts)
	conn, err := grpc.NewClient("passthrough:///"+l.GateAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, &otherGate{gate: authv3.NewAuthorizationClient(conn), check: check})
	var serve sync.WaitGroup
	serve.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serve.Wait()
		_ = conn.Close()
	})
	return l
}
