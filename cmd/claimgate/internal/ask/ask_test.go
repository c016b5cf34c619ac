package ask_test

import (
	"context"
	"net"
	"reflect"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/ask"
	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial serves on loopback what register registers, and connects to it.
func dial(t *testing.T, register func(grpc.ServiceRegistrar)) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestCheckAndExplainAgree(t *testing.T) {
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	cfg, err := extauthz.ParseConfig("gate.yaml", []byte(`
server: {checkTimeout: 10s}
issuers: [{issuer: "`+issuer.URL+`", name: shop, audiences: [api]}]
policies:
- {name: routed, match: [{routes: [HTTPRoute/shop/status]}], access: public}
- {name: public, match: [{paths: [/public/**]}], access: public}
- {name: orders, match: [{paths: [/orders/**]}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	gate, err := extauthz.NewGate(cfg, extauthz.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gate.Close)
	conn := dial(t, gate.Register)

	token := extauthz.Header{Name: "Authorization", Value: "Bearer " + issuer.Token(nil)}
	for _, tt := range []struct {
		name    string
		path    string
		headers []extauthz.Header
		routes  []extauthz.Route
		reason  string
	}{
		{"no token", "/orders/7", nil, nil, "missing_token"},
		{"a token", "/orders/7", []extauthz.Header{token}, nil, "valid_token"},
		{"a token twice", "/orders/7", []extauthz.Header{token, token}, nil, "multiple_credentials"},
		{"public, with a forged twin", "/public/x", []extauthz.Header{{Name: "X_Auth_Subject", Value: "root"}}, nil, "public"},
		{"no policy", "/", nil, nil, "no_policy"},
		{"a route", "/", nil, []extauthz.Route{{Kind: "HTTPRoute", Namespace: "shop", Name: "status"}}, "public"},
		{"another route", "/", nil, []extauthz.Route{{Kind: "HTTPRoute", Namespace: "shop", Name: "x"}}, "no_policy"},
		{"a forged token", "/orders/7", []extauthz.Header{{Name: "authorization", Value: "Bearer " + issuer.Token(nil, oidctest.Forged())}}, nil, "bad_signature"},
	} {
		r := ask.Request{Method: "GET", Host: "shop.example.com", Scheme: "https", Path: tt.path, Headers: tt.headers, Routes: tt.routes}
		explained, steps := ask.Explain(t.Context(), gate, r)
		checked, err := ask.Check(t.Context(), conn, r)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if !reflect.DeepEqual(explained, checked) {
			t.Errorf("%s: in process %+v, over gRPC %+v", tt.name, explained, checked)
		}
		if checked.Reason != tt.reason || len(steps) == 0 {
			t.Errorf("%s: reason %s in %d steps, want %s", tt.name, checked.Reason, len(steps), tt.reason)
		}
	}
}

// emptyServer answers as a broken server does. To Envoy that is an allow.
type emptyServer struct {
	authv3.UnimplementedAuthorizationServer
}

func (emptyServer) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{}, nil
}

func TestEmptyAnswerIsAnError(t *testing.T) {
	conn := dial(t, func(s grpc.ServiceRegistrar) { authv3.RegisterAuthorizationServer(s, emptyServer{}) })
	if a, err := ask.Check(t.Context(), conn, ask.Request{}); err == nil {
		t.Errorf("an empty answer was taken for %+v", a)
	}
}

func TestParseHeader(t *testing.T) {
	for text, want := range map[string]extauthz.Header{
		"name: value":    {Name: "name", Value: "value"},
		"Name:value":     {Name: "Name", Value: "value"},
		"name:":          {Name: "name"},
		"a: b: c":        {Name: "a", Value: "b: c"},
		"name:  value  ": {Name: "name", Value: "value"},
	} {
		if got, err := ask.ParseHeader(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "name", ": value", " : value"} {
		if got, err := ask.ParseHeader(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}
