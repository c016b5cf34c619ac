package server

import (
	"context"
	"net"
	"os"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
)

// reference answers OK and looks at nothing: what is left is the cost of gRPC.
type reference struct {
	authv3.UnimplementedAuthorizationServer
}

// Check implements the ext_authz service.
func (reference) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	}, nil
}

// ServeReference makes this process the reference server.
func ServeReference() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := Serving(os.Stderr, l.Addr().String()); err != nil {
		return err
	}
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, reference{})
	return s.Serve(l)
}
