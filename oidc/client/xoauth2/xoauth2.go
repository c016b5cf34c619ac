// Package xoauth2 lets token sources of oidc/client and of golang.org/x/oauth2 stand
// in for each other, so that code which has one of them can go on with it:
//
//	api := oauth2.NewClient(ctx, xoauth2.TokenSource(ctx, source)) // code that wants x/oauth2's
//	source, err := client.NewTokenSource(xoauth2.TokenFunc(old), client.SourceConfig{}) // code that has it
//
// It is a package of its own so that oidc/client needs no other module. What
// x/oauth2 does with a token is not as strict: its transport sends the token to
// wherever a request goes, redirects included, which [client.Transport] does not.
package xoauth2

import (
	"context"
	"encoding/json"
	"errors"

	"golang.org/x/oauth2"

	"github.com/claimgate/claimgate/oidc/client"
)

// TokenSource returns source as golang.org/x/oauth2 has it. ctx is for waiting, for
// as long as the result is used: x/oauth2 has no place for one. A wrapper that keeps
// tokens, such as oauth2.ReuseTokenSource, is not needed and would not see that a
// token was rejected.
//
// The tokens have no refresh token: that one is the source's. A token that is bound
// to a key (DPoP) is an error, since nothing in x/oauth2 could send its proof.
func TokenSource(ctx context.Context, source *client.TokenSource) oauth2.TokenSource {
	return forOAuth2{ctx, source}
}

type forOAuth2 struct {
	ctx    context.Context //nolint:containedctx // see TokenSource
	source *client.TokenSource
}

// Token implements oauth2.TokenSource.
func (s forOAuth2) Token() (*oauth2.Token, error) {
	t, err := s.source.Token(s.ctx)
	if err != nil {
		return nil, err
	}
	return Token(t)
}

// Token returns a token as golang.org/x/oauth2 has it, without the refresh token.
// Extra has the members of the provider's answer.
func Token(t *client.TokenResponse) (*oauth2.Token, error) {
	if t.TokenType != "Bearer" {
		return nil, errors.New("xoauth2: the token is of the type " + t.TokenType + ", which golang.org/x/oauth2 cannot use")
	}
	token := &oauth2.Token{AccessToken: t.AccessToken.Reveal(), TokenType: t.TokenType, Expiry: t.Expiry}
	if raw := t.Raw(); raw != nil {
		var extra map[string]any
		if err := json.Unmarshal(raw, &extra); err != nil {
			return nil, errors.New("xoauth2: the answer is no JSON object")
		}
		delete(extra, "refresh_token")
		token = token.WithExtra(extra)
	}
	return token, nil
}

// TokenFunc returns source as [client.NewTokenSource] takes it. It does not end with
// its context, because source's Token has none.
func TokenFunc(source oauth2.TokenSource) client.TokenFunc {
	return func(context.Context) (*client.TokenResponse, error) {
		token, err := source.Token()
		switch {
		case err != nil:
			return nil, err
		case token == nil || token.AccessToken == "":
			return nil, errors.New("xoauth2: no token came")
		case token.Type() != "Bearer":
			return nil, errors.New("xoauth2: the token is no Bearer token")
		}
		return &client.TokenResponse{
			AccessToken: client.NewSecret(token.AccessToken), TokenType: "Bearer",
			RefreshToken: client.NewSecret(token.RefreshToken), Expiry: token.Expiry,
		}, nil
	}
}
