package client

import (
	"context"
	"errors"
	"net/url"
)

const exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"

// The types of tokens that can be exchanged (RFC 8693 section 3).
const (
	TypeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	TypeRefreshToken = "urn:ietf:params:oauth:token-type:refresh_token"
	TypeIDToken      = "urn:ietf:params:oauth:token-type:id_token"
	TypeSAML1        = "urn:ietf:params:oauth:token-type:saml1"
	TypeSAML2        = "urn:ietf:params:oauth:token-type:saml2"
	TypeJWT          = "urn:ietf:params:oauth:token-type:jwt"
)

// TypedToken is a token and what it is: one of the types above, or another URI.
type TypedToken struct {
	Token Secret
	Type  string
}

// ExchangeParams is what a token exchange can ask for. Resources and Audiences say
// where the new token is to be used.
type ExchangeParams struct {
	TokenParams
	// Actor is the token of the party that acts for the subject, for delegation;
	// zero for impersonation (RFC 8693 section 1.1).
	Actor TypedToken
	// RequestedType is the type of the new token; "" leaves it to the provider.
	RequestedType string
}

// TokenExchange asks for another token in exchange for one that was presented to
// this client (RFC 8693): for a call further down on behalf of the same user. The
// answer's IssuedTokenType says what AccessToken is: with TokenType "N_A" it is no
// access token.
func (c *Client) TokenExchange(ctx context.Context, subject TypedToken, params ExchangeParams) (*TokenResponse, error) {
	form := url.Values{"subject_token": {subject.Token.Reveal()}, "subject_token_type": {subject.Type}}
	switch {
	case subject.Token.IsZero() || subject.Type == "":
		return nil, errors.New("client: the subject's token or its type is empty")
	case params.Actor.Token.IsZero() != (params.Actor.Type == ""): // RFC 8693 section 2.1
		return nil, errors.New("client: the actor's token and its type belong together")
	}
	if !params.Actor.Token.IsZero() {
		form.Set("actor_token", params.Actor.Token.Reveal())
		form.Set("actor_token_type", params.Actor.Type)
	}
	if params.RequestedType != "" {
		form.Set("requested_token_type", params.RequestedType)
	}
	return c.token(ctx, grant{grantType: exchangeGrant, form: form, params: params.TokenParams, exchange: true})
}
