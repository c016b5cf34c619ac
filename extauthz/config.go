package extauthz

// Config is the configuration file as Go values. Its members, their names and
// defaults are documented in docs/configuration.md and, for editors, in
// config.schema.json, which is made from these types.
//
// A Config comes from [ParseConfig] or [LoadConfig], which fill the defaults
// and report every problem; one built by hand goes through [Config.Validate].
type Config struct {
	Server     ServerConfig      `json:"server,omitzero"`
	TokenCache TokenCacheConfig  `json:"tokenCache,omitzero"`
	Admin      AdminConfig       `json:"admin,omitzero"`
	Log        LogConfig         `json:"log,omitzero"`
	Tracing    TracingConfig     `json:"tracing,omitzero"`
	Metadata   MetadataConfig    `json:"metadata,omitzero"`
	Issuers    []IssuerConfig    `json:"issuers,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Policies   []PolicyConfig    `json:"policies"`
}
