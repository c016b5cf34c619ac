// Package oidctest is a fake OpenID Connect issuer for tests and
// demonstrations: it speaks discovery, JWKS and the token endpoint over real HTTP on loopback,
// mints good and bad tokens, and fails in every way that real issuers fail.
//
// An [Issuer] is to a token validator what an httptest.Server is to an HTTP
// client:
//
//	issuer := oidctest.NewIssuer()
//	defer issuer.Close()
//	good := issuer.Token(map[string]any{"scope": "orders.read"})
//	expired := issuer.Token(map[string]any{"exp": 1})
//	forged := issuer.Token(nil, oidctest.Forged())
//
// Keys are rotated with [Issuer.Rotate] and [Issuer.RemoveOldKeys]. Faults are
// switched on with [Issuer.Fail], [Issuer.Hang], [Issuer.Down], [Issuer.Lie],
// [Issuer.Body], [Issuer.Redirect] and [Issuer.Respond], and off again with
// [Issuer.Recover]. [Issuer.Requests] says how often an endpoint was asked.
//
// With [Issuer.RegisterClient] it has a token endpoint too, for tests of clients:
// it authenticates them strictly, answers client credentials, refresh (with
// rotation), device and CIBA polls ([Issuer.Approve]), token exchange and JWT bearer,
// and whatever a test teaches it with [Issuer.HandleGrant]. The faults above work at
// [Token] as they do elsewhere. [Issuer.Transport] reaches it without a network. It
// answers userinfo ([Issuer.SetUserInfo]), introspection and revocation of its own tokens,
// registers clients, and mints logout tokens ([Issuer.LogoutToken]).
//
// Users log in at its authorization endpoint, with PKCE, PAR, signed requests and
// answers, and DPoP: [Issuer.SetLogin] says who, [Issuer.Browse] is the browser. It
// holds clients to the standards. [Issuer.ChangeCallback], [Issuer.ChangeIDToken] and
// [Issuer.RequireDPoPNonce] make it one that clients have to be wary of.
//
// The package signs with Go's standard crypto packages and imports nothing of
// Claimgate, so that it can judge any validator, ours included. It does not
// import testing either, and can be part of a demonstration binary. Its issuer
// hands a token to whoever asks: it must never be reachable from outside.
package oidctest
