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
// Make one Validator for the whole process and share it: the keys and the cache
// of verified tokens are its worth. [NewValidator] does no I/O, so a program
// starts although an issuer is down; whose keys are still missing shows in
// [Validator.Status]. Run is not needed for right answers, only for quick ones:
// without it the first token of an issuer waits for a fetch, and refreshes start
// when a token comes. Close waits until the last goroutine has ended.
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
// may do, nor whether the token was revoked. It does not look for the token in a
// request either: take it from exactly one Authorization header, and refuse a
// request with two. The package oidc/middleware does all of this.
//
// A token that is bound to a key or a certificate (its claim cnf) is refused
// unless [Requirement.Proof] has what proves possession.
//
// Two things are the caller's to say, since a library cannot guess them. Name
// the audience: a token for another service of the same issuer is a good token,
// and only aud tells it from yours. And identify a caller by [Token.Principal]
// or by Issuer and Subject together, never by Subject alone: issuers hand out
// the same subjects.
//
// # ID tokens and other messages
//
// What an issuer signs for a client is verified with the same keys by methods of
// their own, so that one kind never passes for another: [Validator.ValidateIDToken],
// [Validator.ValidateLogoutToken], and for signed answers
// [Validator.ValidateAuthorizationResponse], [Validator.ValidateUserInfo] and
// [Validator.ValidateIntrospection]. They are for those who write a client; package
// oidc/client calls them. A [Decrypter] opens what is encrypted.
//
// # Refusals
//
// Each refusal is an [*Error] whose [Reason] says exactly what was wrong, for
// operators, and whose [Class] says what the client gets to see. [ErrBadToken],
// [ErrNotAllowed] and [ErrCannotKnow] tell apart a token that is bad (401), a
// caller who may not (403) and a question that cannot be answered now (503).
// Do not answer 401 for the last: a client would throw a good token away.
//
// [Reason.Status], [Reason.ErrorCode], [Reason.Description] and [Challenge] make
// the answer to the client (RFC 6750, RFC 9470). The error's own text is for logs:
// it says more than a client should learn, and nothing that is in the token but
// names of claims.
//
// # Keys
//
// Keys are trusted because of where they came from: an https URL that was
// configured or discovered from the issuer. A fetch follows no redirects, has
// limits on time and size, and never reaches link-local or metadata addresses.
// One odd key in a set is skipped and the rest is used. A token with an unknown
// key ID causes one fetch, and no more than one each 30 seconds whatever tokens
// come.
//
// Keys live as long as the issuer's answer says, from five minutes to a day, and
// are fetched again at four fifths of that. While fetches fail the last good
// keys serve on, for a day unless [KeysConfig] says otherwise; then tokens of
// that issuer, and only of that one, get [KeysUnavailable]. A key that the issuer
// takes out of its set stops working at the next fetch, for cached tokens too.
//
// Configurations come and go: [Validator.Next] makes the next one from the one in
// use. What did not change keeps its keys and verified tokens, and what was
// removed is refused from the first token on.
//
// # Time and waiting
//
// A token that is in the cache, or whose key is in memory, never waits. If
// Validate has to wait for a fetch it does so until its context or the
// Requirement's deadline ends, whichever is first; the fetch itself goes on for
// those who come later. Give requests a deadline: an issuer that hangs then costs
// its own tokens a 503 and nothing else.
//
// # State
//
// The package has no global state, reads no environment variables, logs only to
// [Config.Logger] and starts nothing that [Validator.Close] does not end. Zero
// values are safe: the zero Validator refuses every token, the zero Reason is
// answered 500, the zero ClaimRule is satisfied by nothing.
package oidc
