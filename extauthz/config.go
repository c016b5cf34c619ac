package extauthz

import "github.com/claimgate/claimgate/oidc"

// Config is the configuration file as Go values. Its fields, their names and
// defaults are documented in docs/configuration.md and, for editors, in
// config.schema.json, which is made from these types and their comments.
//
// A Config comes from [ParseConfig] or [LoadConfig], which fill the defaults
// and report every problem with its position. One that is built by hand goes
// through [Config.Validate], which does the same without positions; [NewGate] and
// [Serve] see to that. A pointer is used where zero means something else than
// "not given".
type Config struct {
	// Where and how the gate serves.
	Server ServerConfig `json:"server,omitzero"`
	// Bounds of the cache of verified tokens.
	TokenCache TokenCacheConfig `json:"tokenCache,omitzero"`
	// The HTTP listener for operators.
	Admin AdminConfig `json:"admin,omitzero"`
	// What is logged.
	Log LogConfig `json:"log,omitzero"`
	// Where traces go.
	Tracing TracingConfig `json:"tracing,omitzero"`
	// What other Envoy filters can read.
	Metadata MetadataConfig `json:"metadata,omitzero"`
	// The authorization servers whose tokens are accepted. Needed by every policy that looks at tokens.
	Issuers []IssuerConfig `json:"issuers,omitempty" empty:"allowed"`
	// The identity that goes upstream: header name to claim or @attribute. An empty map sends none.
	Headers map[string]string `json:"headers,omitzero" empty:"allowed"`
	// The policies. The first one that matches a request decides.
	Policies []PolicyConfig `json:"policies" empty:"allowed" jsonschema:"minItems=1"`

	warnings []Problem // of the last Validate
}

// ServerConfig says where and how the gate serves.
type ServerConfig struct {
	// Where to serve gRPC: host:port, or unix:/path for a socket of mode 0660.
	Listen string `json:"listen,omitempty"`
	// The server's certificate, and what it wants of clients. Left out: no TLS.
	TLS *ServerTLSConfig `json:"tls,omitempty"`
	// Must be true to listen off loopback without TLS.
	Insecure bool `json:"insecure,omitempty"`
	// Time budget of one check, 10ms to 10s. The caller's own deadline less 10ms counts if it is shorter.
	CheckTimeout Duration `json:"checkTimeout,omitzero"`
	// Age at which a connection is closed gracefully, so that connections re-balance: 10s to 24h with a jitter of 10 %, or 0 for never.
	MaxConnectionAge *Duration `json:"maxConnectionAge,omitempty"`
	// How long to go on serving after SIGTERM while readiness says no: 0 to 10m.
	DrainDelay *Duration `json:"drainDelay,omitempty"`
	// How long running checks may take after the drain delay: 0 to 10m.
	DrainTimeout *Duration `json:"drainTimeout,omitempty"`
	// How often the configuration file and the files of server.tls are read again: 100ms to 1h, or 0 for never.
	ReloadInterval *Duration `json:"reloadInterval,omitempty"`
	// How many tokens that are not cached may be in verification at once; one more gets 503. Left out: as many as the processors verify in 75 ms.
	MaxVerifications int `json:"maxVerifications,omitempty" jsonschema:"minimum=1"`
	// What to make of a semicolon in a path: reject finds it ambiguous, allow takes it for an ordinary character.
	PathParameters PathParameters `json:"pathParameters,omitempty" jsonschema:"enum=reject,enum=allow"`
}

// ServerTLSConfig is the server's own certificate and what it wants of clients.
type ServerTLSConfig struct {
	// PEM file with the server's certificate and its chain, read again when it changes.
	CertFile string `json:"certFile" jsonschema:"minLength=1"`
	// PEM file with the certificate's private key, read again when it changes.
	KeyFile string `json:"keyFile" jsonschema:"minLength=1"`
	// PEM file with the authorities of client certificates. With it, every client must show one.
	ClientCAFile string `json:"clientCAFile,omitempty"`
	// URI or DNS names of which a client's certificate must have one, compared exactly. Left out: any.
	ClientNames []string `json:"clientNames,omitempty"`
}

// PathParameters says what a semicolon in a path is.
type PathParameters string

// The values of [PathParameters].
const (
	PathParametersReject PathParameters = "reject" // the path is ambiguous
	PathParametersAllow  PathParameters = "allow"  // an ordinary character
)

// TokenCacheConfig bounds the cache of verified tokens. Either bound 0 turns it
// off.
type TokenCacheConfig struct {
	// How many verified tokens are kept. 0 turns the cache off.
	MaxEntries *int `json:"maxEntries,omitempty" jsonschema:"minimum=0"`
	// How much memory they may take: bytes, or a text such as 128MiB. 0 turns the cache off.
	MaxBytes *Size `json:"maxBytes,omitempty"`
}

// AdminConfig is the HTTP listener for operators.
type AdminConfig struct {
	// Where to serve /livez, /readyz, /metrics, and on loopback the pages / and /config: host:port, or off.
	Listen string `json:"listen,omitempty"`
	// Serve everything off loopback too.
	Expose bool `json:"expose,omitempty"`
	// Serve /debug/pprof/.
	PProf bool `json:"pprof,omitempty"`
}

// LogConfig says what is logged. No field of it makes the gate log a token, a
// secret or a header's value.
type LogConfig struct {
	// The least severe messages that are logged.
	Level string `json:"level,omitempty" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// The form of log lines. Left out: text on a terminal, json anywhere else.
	Format string `json:"format,omitempty" jsonschema:"enum=json,enum=text"`
	// Which decisions are logged.
	Decisions string `json:"decisions,omitempty" jsonschema:"enum=all,enum=denied,enum=none"`
	// Write subject and client into decision records.
	Subject *bool `json:"subject,omitempty"`
}

// TracingConfig says where traces go.
type TracingConfig struct {
	// Where traces go: URL of an OpenTelemetry collector that takes OTLP over gRPC, such as http://127.0.0.1:4317. Left out: what the variable OTEL_EXPORTER_OTLP_ENDPOINT of the daemon says; without either there are no traces.
	Endpoint string `json:"endpoint,omitempty"`
}

// MetadataConfig adds to the dynamic metadata that other Envoy filters can read.
type MetadataConfig struct {
	// Claims that go into the dynamic metadata, under the key claims.
	Claims []string `json:"claims,omitempty" empty:"allowed"`
}

// IssuerConfig is one authorization server whose tokens are accepted.
type IssuerConfig struct {
	// Compared with the claim iss byte for byte. An https URL, or http on loopback; with jwksURL or jwksFile any text. With the preset spiffe a trust domain, such as spiffe://example.org.
	Issuer string `json:"issuer" jsonschema:"minLength=1"`
	// Short and unique, for headers, metrics, logs and policies. Left out: the issuer's host, such as id-example-com.
	Name string `json:"name,omitempty" jsonschema:"pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$,maxLength=63"`
	// Which tenants are accepted, if issuer has {tenant} in it, or stands for all tenants of Microsoft Entra ID. Exactly one of allow and pattern.
	Tenants *TenantsConfig `json:"tenants,omitempty"`
	// Further exact values of iss that mean this issuer.
	Aliases []string `json:"aliases,omitempty" empty:"allowed"`
	// The kind of provider: a set of defaults for what follows.
	Preset oidc.Preset `json:"preset,omitempty" jsonschema:"enum=generic,enum=auth0,enum=okta,enum=entra,enum=cognito,enum=keycloak,enum=google,enum=github,enum=gitlab,enum=kubernetes,enum=spiffe,enum=duende,enum=hydra,enum=zitadel,enum=dex,enum=rfc9068"`
	// Accepted audiences: one of them must be in aud. May be left out if every policy that accepts the issuer has audiences.
	Audiences []string `json:"audiences,omitempty"`
	// Must be true to accept tokens whatever their audience is.
	AnyAudience bool `json:"anyAudience,omitempty"`
	// Accepted signature algorithms. Left out: all that there are.
	Algorithms []oidc.Algorithm `json:"algorithms,omitempty"`
	// Accepted values of the header parameter typ, compared without case and without application/; none stands for a token without typ.
	TokenTypes []string `json:"tokenTypes,omitempty"`
	// Accept ID tokens too. The presets google and dex do.
	IDTokens bool `json:"idTokens,omitempty"`
	// What every token of this issuer must have: claim to list of values.
	Require map[string]ClaimValues `json:"require,omitempty"`
	// Where the issuer's metadata is. Left out: the OpenID form of the issuer, then the RFC 8414 form.
	DiscoveryURL string `json:"discoveryURL,omitempty"`
	// Where the key set is. With it there is no discovery.
	JWKSURL string `json:"jwksURL,omitempty"`
	// File with the key set, looked at every two seconds. With it nothing is fetched.
	JWKSFile string `json:"jwksFile,omitempty"`
	// Tolerance for exp, nbf and iat: 0 to 60s.
	Leeway *Duration `json:"leeway,omitempty"`
	// Largest accepted exp - iat, at least 1s. Left out: any.
	MaxLifetime Duration `json:"maxLifetime,omitzero"`
	// Which claims carry the identity. In each list the first claim that is present wins; an empty list means none.
	ClaimMappings ClaimMappingsConfig `json:"claimMappings,omitzero"`
	// How fresh the keys are kept.
	Keys KeysConfig `json:"keys,omitzero"`
	// How the issuer is reached.
	HTTP HTTPConfig `json:"http,omitzero"`
	// Readiness waits for this issuer's keys.
	Required bool `json:"required,omitempty"`
	// Allow plain http off loopback. Whoever is on the way can then replace the keys.
	Insecure bool `json:"insecure,omitempty"`
}

// TenantsConfig says which tenants of an issuer are accepted.
type TenantsConfig struct {
	// The tenants, compared byte for byte.
	Allow []string `json:"allow,omitempty"`
	// Regular expression (RE2) that the whole tenant must match.
	Pattern string `json:"pattern,omitempty"`
	// How many tenants keep their keys, with a pattern: 1 to 10000, and 1000 if left out.
	Max int `json:"max,omitempty" jsonschema:"minimum=1,maximum=10000"`
}

// ClaimMappingsConfig says which claims carry what a token's identity is made
// of. In each list the first claim that is present wins; nil means the preset's
// list, an empty list that there is no such claim.
type ClaimMappingsConfig struct {
	// Claims that carry the subject.
	Subject []string `json:"subject,omitzero" empty:"allowed"`
	// Claims that carry the client's identifier.
	Client []string `json:"client,omitzero" empty:"allowed"`
	// Claims that carry the scopes: text with spaces, or a list.
	Scopes []string `json:"scopes,omitzero" empty:"allowed"`
	// Claims that carry the roles.
	Roles []string `json:"roles,omitzero" empty:"allowed"`
	// Claims that carry the tenant.
	Tenant []string `json:"tenant,omitzero" empty:"allowed"`
	// Claims that stand for aud in tokens without it. An aud that is there always counts.
	Audience []string `json:"audience,omitzero" empty:"allowed"`
	// A claim of the roles may also be an object, whose member names are the roles. The preset zitadel does this.
	RoleObjects bool `json:"roleObjects,omitempty"`
}

// KeysConfig says how fresh an issuer's keys are kept.
type KeysConfig struct {
	// How long fetched keys are good if the issuer does not say: 1s to 24h, and 1h if left out. Written down, it is also the upper bound of what the issuer says.
	Refresh Duration `json:"refresh,omitzero"`
	// How long old keys serve while the issuer cannot be reached: refresh to 720h.
	MaxStale Duration `json:"maxStale,omitzero"`
	// At most one fetch in this time because of unknown keys: 1s to 1h.
	UnknownKeyInterval Duration `json:"unknownKeyInterval,omitzero"`
	// File where the last good key set is kept, so that a restart works while the issuer is down. One file is for one issuer.
	SnapshotFile string `json:"snapshotFile,omitempty"`
}

// HTTPConfig says how an issuer is reached.
type HTTPConfig struct {
	// PEM file with the certificate authorities to trust instead of the system's.
	CAFile string `json:"caFile,omitempty"`
	// PEM file with a client certificate and its chain; keyFile belongs to it.
	CertFile string `json:"certFile,omitempty"`
	// PEM file with the private key of certFile.
	KeyFile string `json:"keyFile,omitempty"`
	// The name that the server's certificate must have, in place of the URL's host.
	ServerName string `json:"serverName,omitempty"`
	// File with a bearer token to send. Like the client certificate and serverName, it goes only to the origin where keys are looked for.
	BearerTokenFile string `json:"bearerTokenFile,omitempty"`
	// Time for one fetch in all: 100ms to 60s.
	Timeout Duration `json:"timeout,omitzero"`
	// http or https URL of a proxy. Loopback is reached without it.
	ProxyURL string `json:"proxyURL,omitempty"`
}

// PolicyConfig says what a request must bring, if it is one that the policy
// matches.
type PolicyConfig struct {
	// Unique; the label in metrics and logs.
	Name string `json:"name" jsonschema:"minLength=1,maxLength=256"`
	// Which requests the policy is for: any of these. Left out: all.
	Match []MatchConfig `json:"match,omitempty"`
	// token wants a valid token; optional lets requests without a credential through, without identity; public does not look at credentials; deny refuses.
	Access Access `json:"access,omitempty" jsonschema:"enum=token,enum=optional,enum=public,enum=deny"`
	// Short names of the issuers accepted here. Left out: all.
	Issuers []string `json:"issuers,omitempty"`
	// Audiences accepted here instead of the issuer's.
	Audiences []string `json:"audiences,omitempty"`
	// Where the request says which tenant it is for: the token must be of that one.
	TenantFrom *TenantFromConfig `json:"tenantFrom,omitempty"`
	// Scopes that the token must have, all of them.
	Scopes []string `json:"scopes,omitempty"`
	// Scopes of which the token must have at least one.
	AnyScope []string `json:"anyScope,omitempty"`
	// Roles of which the token must have at least one.
	Roles []string `json:"roles,omitempty"`
	// What the token must have: claim to list of values. Text fits text, numbers numbers by value, booleans booleans.
	Claims map[string]ClaimValues `json:"claims,omitempty"`
	// CEL expression over request, token and context that must be true.
	When string `json:"when,omitempty"`
	// Where the credential is. Over all places together there must be exactly one.
	TokenFrom []TokenSourceConfig `json:"tokenFrom,omitempty"`
	// Whether the credential goes upstream. Left out: a verified token does, anything else does not.
	ForwardToken *bool `json:"forwardToken,omitempty"`
	// Added to the global headers; they win by name.
	Headers map[string]string `json:"headers,omitempty" empty:"allowed"`
	// Allow CORS preflight requests without looking at credentials.
	CORSPreflight bool `json:"corsPreflight,omitempty"`
	// The realm in challenges.
	Realm string `json:"realm,omitempty"`
	// URL of the protected-resource metadata, sent in challenges.
	ResourceMetadata string `json:"resourceMetadata,omitempty"`
}

// TenantFromConfig is what a token's tenant must be equal to: exactly one of
// Host and Claim is set.
type TenantFromConfig struct {
	// The request's host, with {tenant} where the tenant is, as in {tenant}.api.example.com.
	Host string `json:"host,omitempty"`
	// A claim of the token that names the tenant.
	Claim string `json:"claim,omitempty"`
}

// MatchConfig describes requests. All that is given must fit, so the zero value
// fits every request.
type MatchConfig struct {
	// Exact hosts, or *.example.com for one or more labels before it. Port, case and one trailing dot are ignored.
	Hosts []string `json:"hosts,omitempty"`
	// Methods in upper case, compared exactly.
	Methods []string `json:"methods,omitempty"`
	// Path patterns: * is one whole segment, ** at the end any number of them.
	Paths []string `json:"paths,omitempty"`
	// Routes of Envoy Gateway, KIND/NAMESPACE/NAME as in HTTPRoute/shop/orders. Needs includeRouteMetadata in the SecurityPolicy.
	Routes []string `json:"routes,omitempty"`
}

// Access says what a policy wants of a request. The zero Access means
// [AccessToken].
type Access string

// The values of [Access].
const (
	AccessToken    Access = "token"    // a valid token
	AccessOptional Access = "optional" // a valid token or no credential at all
	AccessPublic   Access = "public"   // credentials are not looked at
	AccessDeny     Access = "deny"     // refused whatever it brings
)

// TokenSourceConfig is one place where a credential can be: exactly one of
// Header, Cookie and Query is set.
type TokenSourceConfig struct {
	// Name of a header, in any case.
	Header string `json:"header,omitempty"`
	// Authentication scheme before the token. Left out: the header's whole value is the token.
	Scheme string `json:"scheme,omitempty"`
	// Name of a cookie.
	Cookie string `json:"cookie,omitempty"`
	// Name of a query parameter. It is always removed from the path that goes upstream.
	Query string `json:"query,omitempty"`
}
