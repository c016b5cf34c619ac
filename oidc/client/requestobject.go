package client

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

const (
	requestObjectType = "oauth-authz-req+jwt" // RFC 9101 section 10.8
	requestObjectLife = 5 * time.Minute       // for a user who is slow to click
)

// signRequest puts the parameters of an authorization request into a JWT that is
// signed with the client's key (RFC 9101); without a key it returns them as they
// are. pushed says that the request does not go by the browser.
func (c *Client) signRequest(form url.Values, pushed bool) (url.Values, error) {
	key := c.cfg.RequestKey
	if key.Signer == nil {
		return form, nil
	}
	now := c.clock()
	claims := timeClaims(now, requestObjectLife)
	claims["nbf"] = now.Unix() // FAPI 2.0 Message Signing section 5.3
	claims["iss"], claims["aud"] = c.cfg.ClientID, c.cfg.issuer()
	for name, values := range form {
		if _, ours := claims[name]; ours || name == "sub" { // RFC 9101 section 10.8: it could pass for a client assertion
			return nil, fmt.Errorf("client: Extra has %q, which means something else in a signed request", name)
		}
		claim, err := requestClaim(name, values)
		if err != nil {
			return nil, err
		}
		claims[name] = claim
	}
	object, err := key.signJWT(requestObjectType, claims)
	if err != nil {
		return nil, fmt.Errorf("client: authorization request: %w", err)
	}
	if pushed { // RFC 9126 section 3: nothing beside it but what authenticates the client
		return url.Values{"request": {object}}, nil
	}
	signed := url.Values{"client_id": {c.cfg.ClientID}, "request": {object}}
	// OpenID Connect Core 1.0 section 6.1 wants these outside too. A provider of RFC
	// 9101 takes them from the object alone.
	for _, name := range []string{"response_type", "scope"} {
		if value := form.Get(name); value != "" {
			signed.Set(name, value)
		}
	}
	return signed, nil
}

// requestClaim writes a parameter as a claim: numbers and JSON are what they are
// (RFC 9101 section 4), a parameter that comes twice is a list.
func requestClaim(name string, values []string) (any, error) {
	switch {
	case name == "max_age":
		seconds, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("client: authorization request: max_age: %w", err)
		}
		return seconds, nil
	case name == "claims" || name == "authorization_details":
		return json.RawMessage(values[0]), nil
	case len(values) > 1:
		return values, nil
	default:
		return values[0], nil
	}
}
