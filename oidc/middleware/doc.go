// Package middleware validates access tokens in services that have no Envoy in
// front: the same validator, the same answers and challenges as the gate's.
//
// Make one [Guard] for each set of rules, and put its Handler before what it
// guards:
//
//	guard, err := middleware.New(middleware.Config{
//		Validator: validator, // one for the whole process, see oidc.NewValidator
//		Realm:     "orders",
//	})
//	if err != nil {
//		return err
//	}
//	mux.Handle("GET /orders", guard.Handler(list))
//	mux.Handle("POST /orders", guard.Handler(guard.RequireScopes("orders.write")(create)))
//
// A handler behind it knows who calls:
//
//	token, ok := middleware.TokenFrom(r.Context())
//
// The Handler is a func(http.Handler) http.Handler, which every router of net/http
// takes. The package grpc beside this one has the interceptors for gRPC, and
// [Guard.Check] is for whatever else brings requests, such as a function behind an
// API gateway.
//
// # Answers
//
// A request without a credential gets 401, one with several or a malformed one
// 400, one with a bad token 401, one whose token lacks a scope 403, and one whose
// token cannot be judged now 503, each with the challenge of RFC 6750, RFC 9449 or
// RFC 9470 and a body of constants. What was wrong exactly is in
// [Decision.Reason] and [Decision.Err], for [Config.OnDecision]: nothing else logs
// or counts.
//
// The token comes from exactly one Authorization header. Nothing is taken from
// the query, cookies or other headers, and nothing that a client sends chooses
// rules. A CORS preflight has no credential: answer it before the Handler.
//
// # Bound tokens
//
// A token that is bound to a certificate (RFC 8705) is accepted on a connection
// whose client has that certificate, if the server asks for one
// (tls.RequestClientCert is enough: the token says which). Where TLS ends at a
// proxy, [Config.CertSHA256] reads what that proxy says.
//
// A token that is bound to a key is accepted with a DPoP proof (RFC 9449) if
// [Config.DPoP] is set. Proofs name the URL, so [Config.Origin] must say how
// clients see this service.
package middleware
