package grpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	gogrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/middleware/grpc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const (
	checkMethod = "/grpc.health.v1.Health/Check"
	watchMethod = "/grpc.health.v1.Health/Watch"
	origin      = "https://api.example.com"
)

// greeter is a service of the one kind that needs no generated code of ours: it
// refuses to be well unless it knows who asks, and says so in a header.
type greeter struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (greeter) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	_ = gogrpc.SetHeader(ctx, metadata.Pairs("caller", caller(ctx)))
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func (greeter) Watch(_ *grpc_health_v1.HealthCheckRequest, stream gogrpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	_ = stream.SetHeader(metadata.Pairs("caller", caller(stream.Context())))
	return stream.Send(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING})
}

func caller(ctx context.Context) string {
	token, ok := middleware.TokenFrom(ctx)
	if !ok {
		return "nobody"
	}
	return token.Subject
}

type claims = map[string]any

type fixture struct {
	issuer *oidctest.Issuer
	client grpc_health_v1.HealthClient
}

// serve starts a real server on loopback, guarded by cfg, and a client of it.
func serve(t *testing.T, cfg middleware.Config, o grpc.Options, server, client credentials.TransportCredentials) fixture {
	t.Helper()
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	cfg.Validator, cfg.Wait = v, time.Minute
	g, err := middleware.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := gogrpc.NewServer(gogrpc.UnaryInterceptor(grpc.Unary(g, o)), gogrpc.StreamInterceptor(grpc.Stream(g, o)), gogrpc.Creds(server))
	grpc_health_v1.RegisterHealthServer(s, greeter{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := gogrpc.NewClient("passthrough:///"+l.Addr().String(), gogrpc.WithTransportCredentials(client))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return fixture{issuer, grpc_health_v1.NewHealthClient(conn)}
}

func plaintext(t *testing.T, cfg middleware.Config, o grpc.Options) fixture {
	t.Helper()
	return serve(t, cfg, o, insecure.NewCredentials(), insecure.NewCredentials())
}

// call calls both kinds of method with this metadata, and returns what both
// answer: code, text, caller, and trailer.
func (f fixture) call(t *testing.T, method string, pairs ...string) (codes.Code, string, metadata.MD, metadata.MD) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), pairs...)
	var header, trailer metadata.MD
	var err error
	if method == checkMethod {
		_, err = f.client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, gogrpc.Header(&header), gogrpc.Trailer(&trailer))
	} else {
		var stream gogrpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse]
		if stream, err = f.client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); err == nil {
			header, _ = stream.Header()
			_, _ = stream.Recv() // the end
		}
		trailer = stream.Trailer()
	}
	return status.Code(err), status.Convert(err).Message(), header, trailer
}

func TestCallsAreAnsweredByTheirCredential(t *testing.T) {
	f := plaintext(t, middleware.Config{Realm: "r"}, grpc.Options{Scopes: func(method string) []string {
		if method == watchMethod || method == checkMethod {
			return []string{"health"}
		}
		return nil
	}})
	good := "Bearer " + f.issuer.Token(claims{"scope": "health"})
	for _, tt := range []struct {
		rule      string
		pairs     []string
		code      codes.Code
		text      string
		caller    string
		challenge string
	}{
		{"good", []string{"authorization", good}, codes.OK, "", "alice", ""},
		{"none", nil, codes.Unauthenticated, "An access token is required", "", `Bearer realm="r"`},
		{"two", []string{"authorization", good, "authorization", good}, codes.Unauthenticated, "The credentials of the request are malformed", "", `Bearer realm="r", error="invalid_request"`},
		{"forged", []string{"authorization", "Bearer " + f.issuer.Token(nil, oidctest.Forged())}, codes.Unauthenticated, "The access token is not valid", "", `Bearer realm="r", error="invalid_token"`},
		{"expired", []string{"authorization", "Bearer " + f.issuer.Token(claims{"exp": 1})}, codes.Unauthenticated, "The access token expired", "", `Bearer realm="r", error="invalid_token", error_description="The access token expired"`},
		{"bound", []string{"authorization", "Bearer " + f.issuer.Token(claims{"cnf": claims{"jkt": "x"}})}, codes.Unauthenticated, "The access token is not valid", "", `Bearer realm="r", error="invalid_token"`},
		{"without the method's scope", []string{"authorization", "Bearer " + f.issuer.Token(nil)}, codes.PermissionDenied, "The access token lacks a scope", "", `Bearer realm="r", error="insufficient_scope", scope="health"`},
	} {
		for _, method := range []string{checkMethod, watchMethod} {
			code, text, header, trailer := f.call(t, method, tt.pairs...)
			if code != tt.code || text != tt.text || strings.Join(header.Get("caller"), "") != tt.caller || strings.Join(trailer.Get("www-authenticate"), "; ") != tt.challenge {
				t.Errorf("%s, %s: %s %q, header %v, trailer %v", tt.rule, method, code, text, header, trailer)
			}
		}
	}
}

func TestATokenThatCannotBeJudgedIsUnavailable(t *testing.T) {
	f := plaintext(t, middleware.Config{}, grpc.Options{})
	f.issuer.Fail(500)
	for _, method := range []string{checkMethod, watchMethod} {
		if code, text, _, _ := f.call(t, method, "authorization", "Bearer "+f.issuer.Token(nil)); code != codes.Unavailable || text != "The request cannot be checked now" {
			t.Errorf("%s: %s %q", method, code, text)
		}
	}
}

// Credentials at a public method are not looked at: a bad one does no harm, and a
// good one is no identity.
func TestPublicMethodsHaveNoCaller(t *testing.T) {
	f := plaintext(t, middleware.Config{}, grpc.Options{Public: func(method string) bool { return method == checkMethod }})
	for _, token := range []string{f.issuer.Token(nil), f.issuer.Token(nil, oidctest.Forged())} {
		code, _, header, _ := f.call(t, checkMethod, "authorization", "Bearer "+token)
		if code != codes.OK || strings.Join(header.Get("caller"), "") != "nobody" {
			t.Errorf("%s %v", code, header)
		}
	}
	if code, _, _, _ := f.call(t, watchMethod); code != codes.Unauthenticated {
		t.Errorf("the other method: %s", code)
	}
}

func TestOptionalCallsMayHaveNoCaller(t *testing.T) {
	f := plaintext(t, middleware.Config{Optional: true}, grpc.Options{})
	for _, method := range []string{checkMethod, watchMethod} {
		if code, _, header, _ := f.call(t, method); code != codes.OK || strings.Join(header.Get("caller"), "") != "nobody" {
			t.Errorf("%s: %s %v", method, code, header)
		}
	}
}

func TestDPoP(t *testing.T) {
	nonces, err := dpop.NewNonces([]byte("a key of 32 bytes for this test.."))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := dpop.NewVerifier(dpop.Config{Nonces: nonces, Algorithms: []oidc.Algorithm{oidc.ES256}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	f := plaintext(t, middleware.Config{DPoP: verifier, Origin: origin}, grpc.Options{})
	token := f.issuer.Token(claims{"cnf": claims{"jkt": key.Thumbprint()}})
	for _, method := range []string{checkMethod, watchMethod} {
		send := func(url, nonce string) (codes.Code, metadata.MD, metadata.MD) {
			proof, err := key.Proof("POST", url, dpop.Options{AccessToken: token, Nonce: nonce})
			if err != nil {
				t.Fatal(err)
			}
			code, _, header, trailer := f.call(t, method, "authorization", "DPoP "+token, "dpop", proof)
			return code, header, trailer
		}
		code, _, trailer := send(origin+method, "")
		nonce := strings.Join(trailer.Get("dpop-nonce"), "")
		if code != codes.Unauthenticated || nonce == "" || strings.Join(trailer.Get("www-authenticate"), "; ") != `DPoP error="use_dpop_nonce", algs="ES256"` {
			t.Errorf("%s: %s %v", method, code, trailer)
		}
		if code, header, _ := send(origin+method, nonce); code != codes.OK || len(header.Get("dpop-nonce")) != 1 || strings.Join(header.Get("caller"), "") != "alice" {
			t.Errorf("%s: %s %v", method, code, header)
		}
		if code, _, _ := send(origin+"/other", nonce); code != codes.Unauthenticated {
			t.Errorf("%s: a proof for another method: %s", method, code)
		}
	}
}

func certificateOf(t *testing.T, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, DNSNames: []string{host},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestTheConnectionsCertificateIsTheProof(t *testing.T) {
	server, mine, other := certificateOf(t, "localhost"), certificateOf(t, "client"), certificateOf(t, "client")
	roots := x509.NewCertPool()
	roots.AddCert(server.Leaf)
	sum := sha256.Sum256(mine.Certificate[0])
	cnf := claims{"cnf": claims{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}}
	for _, tt := range []struct {
		rule string
		cert []tls.Certificate
		want codes.Code
	}{
		{"its certificate", []tls.Certificate{mine}, codes.OK},
		{"another", []tls.Certificate{other}, codes.Unauthenticated},
		{"none", nil, codes.Unauthenticated},
	} {
		f := serve(t, middleware.Config{}, grpc.Options{},
			credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}),
			credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: tt.cert, MinVersion: tls.VersionTLS12}))
		for _, method := range []string{checkMethod, watchMethod} {
			if code, text, _, _ := f.call(t, method, "authorization", "Bearer "+f.issuer.Token(cnf)); code != tt.want {
				t.Errorf("%s, %s: %s %s", tt.rule, method, code, text)
			}
		}
	}
}
