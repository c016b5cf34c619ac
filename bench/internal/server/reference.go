package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

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
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := Serving(os.Stderr, l.Addr().String(), admin.Addr().String()); err != nil {
		return err
	}
	metrics := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintf(w, "%s %d\n", mallocs, m.Mallocs)
	})}
	go func() { _ = metrics.Serve(admin) }() // until the process is ended
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, reference{})
	return s.Serve(l)
}
