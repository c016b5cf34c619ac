package extauthz_test

import (
	"context"
	"fmt"
	"log"
	"net"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claimgate/claimgate/extauthz"
)

// A Go program puts the gate on a gRPC server of its own.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer()

	cfg, err := extauthz.ParseConfig("inline", []byte("policies: [{name: health, match: [{paths: [/healthz]}], access: public}]"))
	if err != nil {
		log.Fatal(err)
	}
	gate, err := extauthz.NewGate(cfg, extauthz.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	gate.Register(s)

	done := make(chan struct{})
	go func() { _ = gate.Run(ctx); close(done) }()
	go func() { _ = s.Serve(listener) }()

	client, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/orders"} {
		answer, err := authv3.NewAuthorizationClient(client).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Host: "api.example.com", Path: path,
			}},
		}})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(path, answer.GetDynamicMetadata().GetFields()["reason"].GetStringValue())
	}
	_ = client.Close()
	s.Stop()
	cancel()
	<-done
	// Output:
	// /healthz public
	// /orders no_policy
}

// Without gRPC, the gate decides about a request by itself.
func ExampleGate_Decide() {
	cfg, err := extauthz.ParseConfig("inline", []byte("policies: [{name: all, access: deny}]"))
	if err != nil {
		log.Fatal(err)
	}
	gate, err := extauthz.NewGate(cfg, extauthz.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	d := gate.Decide(context.Background(), &extauthz.Request{Method: "GET", Host: "api.example.com", Path: "/"})
	fmt.Println(d.Allowed(), d.Status(), d.Reason(), d.Policy())
	// Output: false 403 denied_by_policy all
}
