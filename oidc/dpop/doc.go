// Package dpop makes and verifies proofs of possession by RFC 9449: a client
// signs each request with a key of its own, and a token that is bound to that
// key is worth nothing to whoever steals it.
//
// A client makes a [Key], lets the authorization server bind tokens to it, and
// sends a fresh proof with each request:
//
//	key, err := dpop.GenerateKey()
//	proof, err := key.Proof(http.MethodGet, "https://api.example.com/orders", dpop.Options{AccessToken: token})
//	request.Header.Set("Authorization", "DPoP "+token)
//	request.Header.Set("DPoP", proof)
//
// A resource server makes one [Verifier] for the whole process and hands its
// check to the validator of tokens, for each request that uses the scheme DPoP:
//
//	verifier, err := dpop.NewVerifier(dpop.Config{})
//	token, err := validator.Validate(ctx, credential, oidc.Requirement{Proof: oidc.Proof{
//		DPoP: verifier.Check(dpop.Request{
//			Proofs: r.Header.Values("DPoP"),
//			Method: r.Method,
//			URL:    "https://api.example.com" + r.URL.EscapedPath(),
//		}),
//	}})
//
// The package oidc/middleware does this for servers of net/http and gRPC.
//
// # What a proof must be
//
// The checks are those of RFC 9449 section 4.3, the cheap ones first: exactly one
// DPoP header; the size; strict base64url and JSON; typ, algorithm and a public
// key in the header; jti; htm and htu, which must be the method and the URL of
// this request; the time, by iat or by a nonce of this server; ath, which must be
// the hash of this token; the key, which must be the one that the token is bound
// to; the signature; and that this proof was not used before.
//
// The URL is the one that the client sees. Behind a proxy only configuration
// knows it: never take it from headers that a client can send. It is compared
// without query and fragment, after the normalisation of RFC 3986 sections 6.2.2
// and 6.2.3.
//
// # Replay
//
// A proof is good for a minute, and once. Which ones were used is remembered by
// a [ReplayStore]; the one that comes without asking, [Memory], is of one process:
// of n replicas behind one address, each takes a proof once. Where that is not
// good enough, give all of them a store that they share. A store that cannot
// remember one more refuses, with [oidc.Overloaded].
//
// [Nonces] make proofs that were made in advance worthless, and clients whose
// clocks are wrong welcome. They need no memory: replicas that have one key accept
// each other's.
package dpop
