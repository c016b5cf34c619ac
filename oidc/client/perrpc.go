package client

import (
	"context"
	"fmt"
)

// PerRPC adds a token to each call of a gRPC client. It has the methods of gRPC's
// credentials.PerRPCCredentials, without this package's knowing of gRPC:
//
//	grpc.NewClient(target, grpc.WithPerRPCCredentials(client.PerRPC{Source: source}), ...)
//
// A call without a token fails. gRPC has no way to make a call again with another
// token: one that is answered Unauthenticated can be told to the source by
// [TokenSource.Reject].
type PerRPC struct {
	// Source has the tokens. Required. It stays the caller's to close.
	Source *TokenSource
	// Insecure sends the token over connections without TLS too: for tests, and inside
	// a mesh that encrypts them.
	Insecure bool
}

// GetRequestMetadata returns the header of one call.
func (p PerRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if p.Source == nil {
		return nil, fmt.Errorf("client: PerRPC without a Source")
	}
	token, err := p.Source.Token(ctx)
	if err != nil {
		return nil, err
	}
	if token.TokenType != typeBearer { // there is no standard for proofs in gRPC
		return nil, fmt.Errorf("client: the token is of the type %s, which cannot be sent by gRPC", token.TokenType)
	}
	return map[string]string{"authorization": "Bearer " + token.AccessToken.Reveal()}, nil
}

// RequireTransportSecurity reports whether connections must have TLS.
func (p PerRPC) RequireTransportSecurity() bool { return !p.Insecure }
