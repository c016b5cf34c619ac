package client

import (
	"context"
	"errors"
	"net/url"

	"github.com/claimgate/claimgate/oidc"
)

// RefreshParams is what a refresh can ask for. Scopes can only be fewer than those
// that were granted; none means the same.
type RefreshParams struct {
	TokenParams
	// Previous is the ID token of the login: a new one must be of the same user (OpenID
	// Connect Core 1.0 section 12.2). One with nothing but Subject will do. Without it a new one is dropped, since nobody
	// could say whether it is.
	Previous *oidc.IDToken
}

// Refresh asks for new tokens in exchange for a refresh token (RFC 6749 section 6).
// The answer's RefreshToken is the one to use from now on: the one that was given,
// if the provider did not replace it.
//
// A provider that rotates refresh tokens takes each once, and ends the session if
// one comes twice (RFC 9700 section 4.14.2). So store the new one before anything
// else, let no two goroutines refresh with the same one ([TokenSource] does so),
// and mind that after an error that [IsRetryable] the old one may be used up. After
// [ErrInvalidGrant] the user has to log in again.
func (c *Client) Refresh(ctx context.Context, refreshToken Secret, params RefreshParams) (*TokenResponse, error) {
	if refreshToken.IsZero() {
		return nil, errors.New("client: the refresh token is empty")
	}
	g := grant{
		grantType: "refresh_token",
		form:      url.Values{"refresh_token": {refreshToken.Reveal()}},
		params:    params.TokenParams,
	}
	if params.Previous != nil {
		g.id = &oidc.IDTokenRequirement{Previous: params.Previous}
	}
	t, err := c.token(ctx, g)
	if err != nil {
		return nil, err
	}
	if t.RefreshToken.IsZero() {
		t.RefreshToken = refreshToken
	}
	return t, nil
}
