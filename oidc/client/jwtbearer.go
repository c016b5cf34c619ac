package client

import (
	"context"
	"errors"
	"net/url"
	"time"
)

const jwtBearerGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// JWTBearer asks for a token by an assertion (RFC 7523 section 2.1): a JWT in which
// somebody whom the provider trusts says who the subject is. It may be a token of
// another provider, or one that [SigningKey.SignAssertion] made.
func (c *Client) JWTBearer(ctx context.Context, assertion Secret, params TokenParams) (*TokenResponse, error) {
	if assertion.IsZero() {
		return nil, errors.New("client: the assertion is empty")
	}
	return c.token(ctx, grant{
		grantType: jwtBearerGrant,
		form:      url.Values{"assertion": {assertion.Reveal()}},
		params:    params,
	})
}

// AssertionClaims is what an assertion for [Client.JWTBearer] says (RFC 7523
// section 3).
type AssertionClaims struct {
	// Issuer is who signs it, as the provider knows it. Required.
	Issuer string
	// Subject is whom the token will be for. Required.
	Subject string
	// Audience is the provider: its issuer, or the URL of its token endpoint if it
	// wants that. Required.
	Audience string
	// Lifetime is how long it is good: 2 minutes if zero, an hour at most.
	Lifetime time.Duration
	// Type is the header typ; "" means JWT.
	Type string
	// More are further claims. None may be one of iss, sub, aud, exp, iat and jti.
	More map[string]any
}

const maxAssertionLife = time.Hour

// SignAssertion signs an assertion that is good from now on, and once.
func (k SigningKey) SignAssertion(now time.Time, a AssertionClaims) (Secret, error) {
	life := a.Lifetime
	if life == 0 {
		life = assertionLife
	}
	switch err := k.check(); {
	case err != nil:
		return Secret{}, errors.New("client: " + err.Error())
	case a.Issuer == "" || a.Subject == "" || a.Audience == "":
		return Secret{}, errors.New("client: an assertion needs Issuer, Subject and Audience")
	case life < 0 || life > maxAssertionLife:
		return Secret{}, errors.New("client: Lifetime is not between 0 and 1 hour")
	}
	claims := timeClaims(now, life)
	claims["iss"], claims["sub"], claims["aud"] = a.Issuer, a.Subject, a.Audience
	for name, value := range a.More {
		if _, taken := claims[name]; taken {
			return Secret{}, errors.New("client: More has " + name + ", which is set already")
		}
		claims[name] = value
	}
	typ := a.Type
	if typ == "" {
		typ = "JWT"
	}
	text, err := k.signJWT(typ, claims)
	if err != nil {
		return Secret{}, errors.New("client: " + err.Error())
	}
	return NewSecret(text), nil
}
