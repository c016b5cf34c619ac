// Package client gets tokens from OpenID Connect providers and OAuth 2
// authorization servers, and uses what else they offer to clients.
//
// A [Client] is one client of one provider. It finds the provider's endpoints by
// discovery, proves who it is in each of the registered ways, and has one method for
// each grant:
//
//	c, err := client.New(client.Config{
//		Issuer:   "https://id.example.com/realms/shop",
//		ClientID: "orders",
//		Auth:     client.ClientSecretBasic{Secret: client.SecretFile("/var/run/secrets/orders")},
//	})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//
//	token, err := c.ClientCredentials(ctx, client.TokenParams{Scopes: []string{"stock.read"}})
//
// Make one Client for each provider and share it. [New] does no I/O, so a program
// starts although its provider is down; metadata is fetched when it is first needed,
// and kept while the provider does not answer.
//
// # Which method
//
//   - A service that acts for itself: [Client.ClientCredentials].
//   - A user who logs in with a browser: [Client.AuthorizationRequest], then
//     [Client.ParseCallback] and [Client.ExchangeCode].
//     For calls between services have a [TokenSource] keep the token and a [Transport]
//     send it: [Client.ClientCredentialsSource].
//   - New tokens for a session that has a refresh token: [Client.Refresh].
//   - A user of a program without a browser: [Client.AuthorizeDevice], then
//     [Client.DeviceToken].
//   - A user who answers on a device of theirs: [Client.AuthenticateBackchannel], then
//     [Client.BackchannelToken].
//   - A call further down on behalf of the user who called: [Client.TokenExchange].
//   - A token of somebody whom the provider trusts: [Client.JWTBearer].
//
// After that: [Client.UserInfo], [Client.Introspect], [Client.Revoke] and
// [Client.Logout]. [Client.BackchannelLogoutHandler] hears of logouts elsewhere, and
// a [Registrar] registers clients.
//
// Prefer [PrivateKeyJWT] or [TLSClientAuth] to a secret where the provider has
// them, and [SecretFile] to a secret in the environment.
//
// # Logins
//
// A login is an authorization code with PKCE (S256), state and nonce; there is no
// other. [Transaction] is what of it has to be kept while the browser is away: in
// the user's own session, once, for ten minutes. The callback is compared with it,
// and so is the ID token: another browser's answer, another provider's (RFC 9207)
// and another login's are refused.
//
// Requests are pushed (RFC 9126) where the provider demands it, signed (RFC 9101)
// with [Config.RequestKey], and their answers too (JARM) with a ResponseMode of jwt.
// With [Config.DPoP] the code and all tokens are bound to the key (RFC 9449): the
// processes that share sessions must share it. [ProfileFAPI2] refuses whatever FAPI
// 2.0 forbids.
//
// # What every request keeps to
//
// An answer is read strictly: JSON without duplicate members, 1 MiB at most, no HTML,
// no redirect; a token of a type that this client cannot use is refused. Requests
// end after 10 seconds unless [Config] says otherwise, and before that with their
// context, which is for waiting only. Nothing is sent twice but a GET whose
// connection broke, and a request that the provider wants with a nonce (RFC 9449
// section 8); each attempt has a client assertion of its own. Endpoints are called
// over https, without cookies, never at link-local or metadata addresses.
//
// # Errors
//
// [*OAuthError] is the provider's refusal: branch on it with [errors.Is] and
// [ErrInvalidGrant], [ErrInvalidClient] and so on. [*RequestError] is a request
// without a usable answer. [IsRetryable] tells whether to come back later, and
// [RetryAfter] when. No error repeats a secret that was sent, although providers do.
//
// # Secrets
//
// [Secret] is the type of what must not be printed: client secrets and tokens.
// Whatever prints it shows REDACTED; [Secret.Reveal] has the text.
//
// # State
//
// The package has no global state, reads no environment variables, logs only to
// [Config.Logger] and starts nothing that [Client.Close] does not end.
//
// # How a flow is added
//
// Each flow is one file that is named for it, and a pure step on each side of one
// call. Before: it puts its parameters into a [net/url.Values] and has TokenParams or
// addExtra add the caller's. The call: Client.token for whatever the token endpoint
// answers, Client.do for the rest; both choose the endpoint, authenticate, prove,
// limit, retry and make errors, so that no flow touches HTTP. After: it reads the
// answer's object into a type of its own, with its Raw. The provider's side of it
// goes into [oidctest], in a file of the same name.
//
// [oidctest]: https://pkg.go.dev/github.com/claimgate/claimgate/oidc/oidctest
package client
