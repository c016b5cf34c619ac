package oidc

import "context"

// Answers of an issuer's endpoints that are signed are JWTs too.
var (
	authorizationResponseKind = messageKind{
		types: []string{"jwt", tokenTypeNone},
		marks: []string{"sub", "nonce", "at_hash", "c_hash", "events", "htm", "token_introspection"},
		texts: []string{"code", "state", "error", "error_description", "error_uri"},
	}
	userInfoKind = messageKind{
		types:    []string{"jwt", tokenTypeNone},
		marks:    []string{"nonce", "at_hash", "c_hash", "events", "htm", "token_introspection"},
		lasting:  true,
		required: []string{"sub"},
		texts:    []string{"sub"},
	}
	introspectionKind = messageKind{
		types:    []string{"token-introspection+jwt"},
		marks:    []string{"nonce", "at_hash", "c_hash", "events", "htm"},
		lasting:  true,
		required: []string{"iat", "token_introspection"},
	}
)

// ValidateAuthorizationResponse verifies the parameter response of an
// authorization response (JARM: JWT Secured Authorization Response Mode section
// 2.4) and returns the parameters that are in it as claims, or an [*Error] that
// says why not. It waits as [Validator.Validate] does.
//
// It does not compare state, and does not know whether the request was one of the
// caller's: that is for the caller.
func (v *Validator) ValidateAuthorizationResponse(ctx context.Context, response string, to Recipient) (Claims, error) {
	return v.claimsOf(ctx, response, to, authorizationResponseKind)
}

// ValidateUserInfo verifies a signed answer of the userinfo endpoint (OpenID
// Connect Core section 5.3.2) and returns its claims, or an [*Error] that says why
// not. It waits as [Validator.Validate] does.
//
// It does not compare sub with that of the ID token, which callers must.
func (v *Validator) ValidateUserInfo(ctx context.Context, response string, to Recipient) (Claims, error) {
	return v.claimsOf(ctx, response, to, userInfoKind)
}

// ValidateIntrospection verifies a signed answer of the introspection endpoint
// (RFC 9701 section 5) and returns what it says about the token, the members of
// token_introspection, or an [*Error] that says why not. The recipient's ClientID
// is that of the resource server that asked. It waits as [Validator.Validate]
// does.
//
// It does not look at active or at anything else about the token.
func (v *Validator) ValidateIntrospection(ctx context.Context, response string, to Recipient) (Claims, error) {
	all, err := v.claimsOf(ctx, response, to, introspectionKind)
	if err != nil {
		return Claims{}, err
	}
	about, _ := all.Top("token_introspection")
	if about.Kind() != KindObject {
		return Claims{}, invalidClaim("token_introspection", "not an object")
	}
	return Claims{object: about}, nil
}

func (v *Validator) claimsOf(ctx context.Context, response string, to Recipient, kind messageKind) (Claims, error) {
	m, err := v.readMessage(ctx, response, to, kind, nil)
	if err != nil {
		return Claims{}, err
	}
	return m.claims.unindexed(), nil
}
