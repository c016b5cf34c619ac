// Command grpc is a gRPC service that validates its callers' tokens itself. Its one
// service is that of gRPC's health checks, so that the example needs no generated
// code: Check is for everybody, Watch for callers with the scope health.watch.
//
//	go run ./examples/grpc -issuer https://id.example.com/realms/shop -audience orders-api
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"

	gogrpc "google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/middleware/grpc"
)

func main() {
	issuer := flag.String("issuer", "", "the issuer of the tokens")
	audience := flag.String("audience", "", "who this service is in the tokens' aud")
	listen := flag.String("listen", "127.0.0.1:8081", "the address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	listener, err := net.Listen("tcp", *listen)
	if err == nil {
		err = run(ctx, *issuer, *audience, listener)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves on listener, until ctx ends.
func run(ctx context.Context, issuer, audience string, listener net.Listener) error {
	validator, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer, Name: "main", Audiences: []string{audience}}},
		Cache:   oidc.CacheConfig{MaxEntries: 10_000, MaxBytes: 16 << 20},
		Logger:  slog.Default(),
	})
	if err != nil {
		return err
	}
	defer validator.Close()
	go validator.Run(ctx) //nolint:errcheck // it fails only if it runs already; keys are kept fresh, so that calls need not wait

	guard, err := middleware.New(middleware.Config{Validator: validator, Realm: "orders"})
	if err != nil {
		return err
	}
	rules := grpc.Options{
		Public: func(method string) bool { return method == grpc_health_v1.Health_Check_FullMethodName },
		Scopes: func(method string) []string {
			if method == grpc_health_v1.Health_Watch_FullMethodName {
				return []string{"health.watch"}
			}
			return nil
		},
	}
	server := gogrpc.NewServer(gogrpc.UnaryInterceptor(grpc.Unary(guard, rules)), gogrpc.StreamInterceptor(grpc.Stream(guard, rules)))
	grpc_health_v1.RegisterHealthServer(server, health{})
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	return server.Serve(listener)
}

type health struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (health) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func (health) Watch(_ *grpc_health_v1.HealthCheckRequest, stream gogrpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	token, _ := middleware.TokenFrom(stream.Context()) // there is one: nobody gets here without
	slog.InfoContext(stream.Context(), "watched", "by", token.Principal())
	return stream.Send(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING})
}
