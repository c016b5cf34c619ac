package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// UserInfo is what a provider says of a user (OpenID Connect Core 1.0 section
// 5.3.2). It is immutable and safe to share. It is about a person: think before
// you log it.
type UserInfo struct {
	// Subject is who it is about: unique together with the provider only.
	Subject string
	// Claims are all members of the answer, a JSON object.
	Claims oidc.Value
	// Signed tells that the provider signed the answer.
	Signed bool
}

// Raw is the whole answer, of a signed one its claims.
func (u *UserInfo) Raw() json.RawMessage { return json.RawMessage(u.Claims.Raw()) }

// UserInfoParams is whom a [Client.UserInfo] is about.
type UserInfoParams struct {
	// Subject is the Subject of the ID token that the access token came with. An
	// answer about anybody else is refused (OpenID Connect Core 1.0 section 5.3.2).
	Subject string
	// AllowAnySubject takes an answer about anybody, for a caller without an ID token.
	// Then the answer says whose access token it is, and not who has logged in: a
	// token that somebody else was given would do.
	AllowAnySubject bool
}

// UserInfo asks the provider for the claims of the user that an access token is of.
// An answer that is signed, or encrypted to [Config.Decrypter], is verified; with
// [Config.UserInfoAlgorithms] it must be signed.
func (c *Client) UserInfo(ctx context.Context, accessToken Secret, params UserInfoParams) (*UserInfo, error) {
	switch {
	case accessToken.IsZero():
		return nil, errors.New("client: the access token is empty")
	case params.Subject == "" && !params.AllowAnySubject:
		return nil, errors.New("client: UserInfoParams.Subject is empty: give it the ID token's, with which the answer has to be compared")
	}
	accept := "application/json"
	if c.cfg.UserInfoAlgorithms != nil {
		accept = mediaTypeJWT
	}
	a, err := c.do(ctx, request{endpoint: UserInfoEndpoint, method: "GET", bearer: accessToken, proof: c.cfg.DPoP, accept: accept})
	if err != nil {
		return nil, err
	}
	u := &UserInfo{Signed: a.mediaType == mediaTypeJWT}
	switch {
	case u.Signed && c.messages == nil:
		return nil, errNoKeys
	case u.Signed:
		claims, err := c.messages.ValidateUserInfo(ctx, a.text(), c.recipient(c.cfg.UserInfoAlgorithms))
		if err != nil {
			return nil, fmt.Errorf("client: %s: %w", a.endpoint, err)
		}
		u.Claims = claims.Object()
	case c.cfg.UserInfoAlgorithms != nil:
		return nil, refused(a.endpoint, "the answer is not signed, and UserInfoAlgorithms says that the client is registered for signed ones")
	default:
		if u.Claims, err = a.object(); err != nil {
			return nil, err
		}
	}
	sub, _ := u.Claims.Member("sub")
	if sub.Kind() != oidc.KindString || sub.Text() == "" {
		return nil, refused(a.endpoint, "the answer has no sub: it does not say who it is about")
	}
	if u.Subject = sub.Text(); u.Subject != params.Subject && !params.AllowAnySubject {
		return nil, refused(a.endpoint, "the answer is about another subject than the ID token: an access token that was put in its place (OpenID Connect Core 1.0 section 5.3.2)")
	}
	return u, nil
}

const mediaTypeJWT = "application/jwt"

// text is the body of an answer that is a JWT.
func (a *answer) text() string { return strings.TrimSpace(string(a.body)) }
