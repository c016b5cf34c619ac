// Package extauthz is a token gate for Envoy: an external authorization server
// (ext_authz v3 over gRPC) that validates the bearer token of each request
// against many issuers, decides by policy, and answers allow with clean identity
// headers, or deny with a correct challenge.
//
// A [Gate] is made from a [Config] and decides; it knows nothing of gRPC.
// [Gate.Register] puts it on a gRPC server of the caller's, and [Serve] runs a
// whole daemon with listeners, health, metrics and draining.
//
// # A check
//
// Decode turns the CheckRequest into a small [Request]. Select finds the policy.
// Extract finds exactly one credential. Verify asks the token's issuer, and is
// the only step that can wait. Authorize compares policy and claims. Respond
// renders the [Decision]. All but Verify are pure.
//
// # What to rely on
//
// The zero Decision denies, a panic becomes a denial with status 500, and no
// answer is ever nil or empty: to Envoy, an empty answer would be an allow.
// On every allow each identity header of the configuration is either set or
// removed, together with every spelling of it that a backend might take for it.
package extauthz
