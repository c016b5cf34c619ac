package client

import "context"

// ClientCredentials asks for a token for the client itself (RFC 6749 section 4.4).
// For calls between services rather use a [TokenSource] of it, which asks once and
// not each time.
func (c *Client) ClientCredentials(ctx context.Context, params TokenParams) (*TokenResponse, error) {
	return c.token(ctx, grant{grantType: "client_credentials", params: params})
}
