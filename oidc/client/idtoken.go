package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/claimgate/claimgate/oidc"
)

// recipient is this client as a message of the provider must name it. algorithms
// are those that it is registered with for this kind of message.
func (c *Client) recipient(algorithms []oidc.Algorithm) oidc.Recipient {
	if algorithms == nil && c.cfg.Profile != "" {
		algorithms = profileAlgorithms
	}
	return oidc.Recipient{
		Issuer: c.cfg.issuer(), ClientID: c.cfg.ClientID, TrustedAudiences: c.cfg.TrustedAudiences,
		Algorithms: algorithms, Decrypter: c.cfg.Decrypter,
	}
}

// errNoKeys is why nothing that the provider signs can be validated.
var errNoKeys = errors.New("client: the provider's signature cannot be verified: the configuration has no Issuer, or its Metadata no JWKSURI")

// validateIDToken returns the ID token of an answer if it is good and satisfies
// what the flow wants of it; the client and the access token are filled in.
func (c *Client) validateIDToken(ctx context.Context, t *TokenResponse, want oidc.IDTokenRequirement) (*oidc.IDToken, error) {
	if c.messages == nil {
		return nil, errNoKeys
	}
	want.Recipient = c.recipient(c.cfg.IDTokenAlgorithms)
	want.AccessToken = t.AccessToken.Reveal()
	id, err := c.messages.ValidateIDToken(ctx, t.IDToken.Reveal(), want)
	if err != nil {
		return nil, fmt.Errorf("client: ID token: %w", err)
	}
	return id, nil
}
