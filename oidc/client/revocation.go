package client

import "context"

// Revoke ends a token, and with a refresh token mostly the session that it is of
// (RFC 7009). The provider says yes to tokens that it does not know too. hint may be
// "". An error means that the token may still be good: see [IsRetryable].
func (c *Client) Revoke(ctx context.Context, token Secret, hint TokenHint) error {
	form, err := aboutToken(token, hint)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, request{endpoint: RevocationEndpoint, form: form, authenticate: true})
	return err
}
