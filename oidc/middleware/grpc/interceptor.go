// Package grpc has interceptors for gRPC servers that let requests pass as a
// [middleware.Guard] decides:
//
//	guard, err := middleware.New(middleware.Config{Validator: validator})
//	server := gogrpc.NewServer(
//		gogrpc.UnaryInterceptor(grpc.Unary(guard, grpc.Options{})),
//		gogrpc.StreamInterceptor(grpc.Stream(guard, grpc.Options{})),
//	)
//
// Methods find the caller with [middleware.TokenFrom]. The credential is the
// metadata authorization, as it is the header of HTTP: exactly one.
//
// A call that may not pass gets the status Unauthenticated (a bad or missing
// credential), PermissionDenied (a good token is not enough), Unavailable (nobody
// can tell now: try again) or Internal, with one of few fixed texts. Its trailer
// has www-authenticate, with the challenge of RFC 6750 or RFC 9449, and dpop-nonce
// where nonces are used; an answer that succeeds has the latter in its header.
//
// DPoP proofs (RFC 9449) name POST, and the URL of the method as the client calls
// it: Config.Origin and the full method, https://api.example.com/orders.v1.Orders/List.
// Tokens that are bound to a certificate are held to the client's certificate of
// the connection, or to what [middleware.Config.CertSHA256] says, which gets the
// metadata as headers.
package grpc

import (
	"context"
	"crypto/sha256"
	"net/http"

	gogrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
)

// Options say what differs between methods. The zero Options guard all of them
// alike, those of reflection and health too.
type Options struct {
	// Public reports whether the method, such as /grpc.health.v1.Health/Check, is
	// for everybody: its credentials are not looked at, and there is no token. Nil
	// means none is.
	Public func(fullMethod string) bool
	// Scopes returns the scopes that a method needs beside those of the guard. Nil
	// means none.
	Scopes func(fullMethod string) []string
}

// Unary returns an interceptor for unary methods.
func Unary(g *middleware.Guard, o Options) gogrpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *gogrpc.UnaryServerInfo, handler gogrpc.UnaryHandler) (any, error) {
		ctx, err := o.check(ctx, g, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// Stream returns an interceptor for streaming methods. It decides when the stream
// begins: one that lasts longer than its token is not ended.
func Stream(g *middleware.Guard, o Options) gogrpc.StreamServerInterceptor {
	return func(srv any, stream gogrpc.ServerStream, info *gogrpc.StreamServerInfo, handler gogrpc.StreamHandler) error {
		ctx, err := o.check(stream.Context(), g, info.FullMethod)
		if err != nil {
			return err
		}
		return handler(srv, guardedStream{stream, ctx})
	}
}

// guardedStream is a stream whose context has the token.
type guardedStream struct {
	gogrpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s guardedStream) Context() context.Context { return s.ctx }

// check decides about a call, and returns the context for its method or the
// status of the refusal.
func (o Options) check(ctx context.Context, g *middleware.Guard, fullMethod string) (context.Context, error) {
	if o.Public != nil && o.Public(fullMethod) {
		return middleware.Decision{}.Context(ctx), nil // which has no token
	}
	md, _ := metadata.FromIncomingContext(ctx)
	r := middleware.Request{
		Header:     http.Header(md),
		Method:     http.MethodPost,
		Path:       fullMethod,
		CertSHA256: certificate(ctx),
	}
	if o.Scopes != nil {
		r.Scopes = o.Scopes(fullMethod)
	}
	d := g.Check(ctx, r)
	answer := metadata.MD{}
	for _, name := range []string{"www-authenticate", "dpop-nonce"} {
		answer.Append(name, d.Header().Values(name)...)
	}
	if !d.Allowed() {
		// The trailer of an answer that has nothing else is its only block of
		// headers, so that clients of both kinds find it.
		_ = gogrpc.SetTrailer(ctx, answer) // no error but without a call
		return nil, status.Error(code(d.Reason()), d.Reason().Description())
	}
	if len(answer) > 0 {
		_ = gogrpc.SetHeader(ctx, answer) // no error but without a call
	}
	return d.Context(ctx), nil
}

// code returns the status of a refusal.
func code(r oidc.Reason) codes.Code {
	switch r.Class() {
	case oidc.ClassNoCredential, oidc.ClassBadRequest, oidc.ClassInvalidToken, oidc.ClassProof, oidc.ClassStepUp:
		return codes.Unauthenticated
	case oidc.ClassInsufficientScope, oidc.ClassForbidden:
		return codes.PermissionDenied
	case oidc.ClassUnavailable:
		return codes.Unavailable
	default:
		return codes.Internal
	}
}

// certificate returns the hash of the client's certificate of the connection, nil
// if there is none.
func certificate(ctx context.Context) []byte {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil
	}
	sum := sha256.Sum256(info.State.PeerCertificates[0].Raw)
	return sum[:]
}
