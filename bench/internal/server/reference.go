package server

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/go-jose/go-jose/v4"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// reference answers OK and looks at nothing: what is left is the cost of gRPC. With
// keys it does one thing beside: it verifies the bare signature of the token, RS256
// or ES256, and reads nothing of it. No gate can do less.
type reference struct {
	authv3.UnimplementedAuthorizationServer
	answer *authv3.CheckResponse
	keys   []crypto.PublicKey // nil: signatures are not looked at
}

// Check implements the ext_authz service.
func (r *reference) Check(_ context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	if r.keys != nil && !r.signed(req.GetAttributes().GetRequest().GetHttp().GetHeaders()["authorization"]) {
		return &authv3.CheckResponse{
			Status:       &rpcstatus.Status{Code: int32(codes.Unauthenticated)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{}},
		}, nil
	}
	return r.answer, nil
}

// signed reports whether the token is signed by a key. The algorithm is that of the
// key for which the signature has the right length.
func (r *reference) signed(credential string) bool {
	dot := strings.LastIndexByte(credential, '.')
	input, ok := strings.CutPrefix(credential[:max(dot, 0)], "Bearer ")
	signature, err := base64.RawURLEncoding.DecodeString(credential[dot+1:])
	if !ok || err != nil {
		return false
	}
	digest := sha256.Sum256([]byte(input))
	for _, key := range r.keys {
		switch key := key.(type) {
		case *rsa.PublicKey:
			if len(signature) == key.Size() {
				return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
			}
		case *ecdsa.PublicKey:
			if len(signature) == 64 {
				return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
			}
		}
	}
	return false
}

// newReference reads what the reference does more than nothing.
func newReference(args []string) (*reference, error) {
	r := &reference{answer: &authv3.CheckResponse{
		Status:       &rpcstatus.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	}}
	flags := flag.NewFlagSet("bench reference", flag.ContinueOnError)
	answer := flags.String("answer", "", "answer what is in this file, a CheckResponse on the wire")
	keys := flags.String("keys", "", "verify the signatures of tokens by the key set in this file")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *answer != "" {
		data, err := os.ReadFile(*answer)
		if err != nil {
			return nil, err
		}
		r.answer = &authv3.CheckResponse{}
		if err := proto.Unmarshal(data, r.answer); err != nil {
			return nil, fmt.Errorf("%s: %w", *answer, err)
		}
	}
	if *keys != "" {
		data, err := os.ReadFile(*keys)
		if err != nil {
			return nil, err
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(data, &set); err != nil {
			return nil, fmt.Errorf("%s: %w", *keys, err)
		}
		r.keys = []crypto.PublicKey{}
		for _, k := range set.Keys {
			r.keys = append(r.keys, k.Key)
		}
	}
	return r, nil
}

// ServeReference makes this process the reference server. Its arguments say what it
// does more than nothing.
func ServeReference(args []string) error {
	r, err := newReference(args)
	if err != nil {
		return err
	}
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
	authv3.RegisterAuthorizationServer(s, r)
	return s.Serve(l)
}
