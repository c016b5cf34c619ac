// Package oidc validates the access tokens that OpenID Connect providers and
// OAuth 2 authorization servers issue as JWTs.
//
// A [Validator] accepts tokens of many issuers at once. It finds each issuer's
// keys by discovery (OpenID Connect Discovery 1.0, RFC 8414), keeps them fresh
// in the background, and goes on deciding with the last good keys while an
// issuer is slow, down or wrong:
//
//	v, err := oidc.NewValidator(oidc.Config{
//		Issuers: []oidc.IssuerConfig{{
//			Issuer:    "https://id.example.com/realms/shop",
//			Name:      "shop",
//			Audiences: []string{"orders-api"},
//		}},
//		Cache: oidc.CacheConfig{MaxEntries: 10_000, MaxBytes: 16 << 20},
//	})
//	if err != nil {
//		return err
//	}
//	defer v.Close()
//	go v.Run(ctx)
//
//	token, err := v.Validate(ctx, bearer, oidc.Requirement{})
//
// # What Validate checks
//
// In this order, and the first failure is the [Reason]: the size; the compact
// form, with strict base64url and strict JSON; the algorithm and the header; the
// issuer, byte for byte; the token's type, so that an ID token or a logout token
// is no access token; the types of the claims; exp, nbf and iat; the audience;
// the key; the signature. Whatever can be refused without a key is refused
// without one, so junk causes neither a fetch nor a signature check. No part of
// the token can name a key or a place to get one.
//
// Validate does not check scopes, roles or anything else about what the caller
// may do, nor whether the token was revoked.
//
// # Refusals
//
// Each refusal is an [*Error] whose [Reason] says exactly what was wrong, for
// operators, and whose [Class] says what the client gets to see. [ErrBadToken],
// [ErrNotAllowed] and [ErrCannotKnow] tell apart a token that is bad (401), a
// caller who may not (403) and a question that cannot be answered now (503).
// Do not answer 401 for the last: a client would throw a good token away.
//
// # Keys
//
// Keys are trusted because of where they came from: an https URL that was
// configured or discovered from the issuer. A fetch follows no redirects, has
// limits on time and size, and never reaches link-local or metadata addresses.
// One odd key in a set is skipped and the rest is used. A token with an unknown
// key ID causes one fetch, and no more than one each 30 seconds whatever tokens
// come.
package oidc
