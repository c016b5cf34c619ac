package client

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
)

// Config is what a [Client] is made from. It is read once; later changes of its
// slices have no effect.
type Config struct {
	// Issuer is the provider: an https URL, or http on loopback, exactly as the
	// provider's metadata has it. Required unless Metadata is set.
	Issuer string
	// DiscoveryURL is where the provider's metadata is; "" looks at both places
	// where the standards put it.
	DiscoveryURL string
	// Metadata is used in place of discovery if it is not nil: for a provider that
	// publishes none. [ParseMetadata] reads it from a document. Its Issuer must be
	// Issuer, or empty.
	Metadata *Metadata

	// ClientID is the client's identifier at the provider. Required.
	ClientID string
	// Auth is how the client proves who it is. Required: a public client says
	// None{}.
	Auth ClientAuth
	// MutualTLS calls the endpoints that ask for a client certificate (RFC 8705
	// section 5) although Auth is none that needs one: for certificate-bound tokens
	// if HTTPClient shows the certificate. HTTP.CertFile implies it.
	MutualTLS bool
	// DPoP binds tokens to this key (RFC 9449); nil for none. Every token request
	// carries a proof then, and an answer with a token that is not bound is refused.
	DPoP *dpop.Key
	// RequestKey signs authorization requests (RFC 9101); without a Signer they are
	// not signed.
	RequestKey SigningKey
	// PushedRequests pushes authorization requests (RFC 9126) to every provider; false
	// pushes them where the provider's metadata demands it.
	PushedRequests bool
	// Profile is a set of rules that the client keeps to; "" means none.
	Profile Profile

	// IDTokenAlgorithms are those that the client is registered with
	// (id_token_signed_response_alg); nil means all that [oidc] verifies.
	IDTokenAlgorithms []oidc.Algorithm
	// ResponseAlgorithms are those that the client is registered with for signed
	// authorization responses (authorization_signed_response_alg); nil means all that
	// [oidc] verifies.
	ResponseAlgorithms []oidc.Algorithm
	// UserInfoAlgorithms and IntrospectionAlgorithms are those that the client is
	// registered with for signed answers (userinfo_signed_response_alg,
	// introspection_signed_response_alg). If set, an answer that is not signed is
	// refused; nil asks for plain ones.
	UserInfoAlgorithms, IntrospectionAlgorithms []oidc.Algorithm
	// TrustedAudiences may be in the aud of ID tokens beside the client.
	TrustedAudiences []string
	// Decrypter opens what the provider encrypts to the client; nil refuses that.
	Decrypter *oidc.Decrypter

	// HTTP says how the provider is reached: authorities, client certificate, proxy
	// and timeout, which is 10 s if zero. Its files are read again when they change.
	// The bearer token is for metadata and keys only.
	HTTP oidc.HTTPConfig
	// HTTPClient makes the requests in place of one made from HTTP. It is never
	// changed: a copy is used that follows no redirects and has no cookies, and ends
	// requests by HTTP.Timeout, by its own timeout, or after 10 s. With it of HTTP only
	// Timeout and BearerTokenFile may be set.
	HTTPClient *http.Client
	// EndpointHosts are the hosts, with the port if it is in the URL, that endpoints
	// may be on; nil means any that the metadata names over https.
	EndpointHosts []string
	// Insecure allows plain http off loopback: for tests in networks of their own.
	Insecure bool

	// Clock tells the time; nil means time.Now. It is called by several goroutines.
	Clock func() time.Time
	// Logger gets a line for what an operator should know and no error tells; nil
	// discards.
	Logger *slog.Logger
	// OnRequest is called after each request to an endpoint, by the goroutine that
	// made it; nil is allowed.
	OnRequest func(RequestEvent)
	// OnFetch is called after each fetch of metadata or keys; nil is allowed.
	OnFetch func(oidc.FetchEvent)
}

// issuer is the configured issuer, "" if there is none.
func (c *Config) issuer() string {
	if c.Issuer == "" && c.Metadata != nil {
		return c.Metadata.Issuer
	}
	return c.Issuer
}

const defaultTimeout = 10 * time.Second

// Client is a client of one provider. It is immutable and safe for concurrent use.
// Make one with [New], for the whole process, and Close it at the end.
type Client struct {
	cfg         Config
	http        *http.Client
	clock       func() time.Time
	logger      *slog.Logger
	certificate bool // endpoints with a client certificate are called
	hosts       []string
	nonces      nonces // of DPoP

	static     *provider // nil if discovery is used
	source     *oidc.MetadataSource
	discovered atomic.Pointer[discovered]
	messages   *oidc.Validator // of what the provider signs; nil if its keys cannot be found
}

// New checks cfg and returns a Client for it, or all that is wrong with cfg in one
// error. It does no I/O and starts nothing: a program starts although its provider
// is down. The caller must Close the Client.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, clock: cfg.Clock, logger: cfg.Logger}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	c.cfg.HTTP.Client = cmp.Or(cfg.HTTPClient, cfg.HTTP.Client)
	if own := c.cfg.HTTP.Client; own == nil || own.Timeout == 0 {
		c.cfg.HTTP.Timeout = cmp.Or(cfg.HTTP.Timeout, defaultTimeout)
	}

	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("client: "+format, args...))
	}
	if cfg.ClientID == "" {
		fault("ClientID is empty")
	}
	if cfg.HTTPClient != nil && cfg.HTTP.Client != nil {
		fault("HTTPClient and HTTP.Client are both set")
	}
	var err error
	if c.http, err = c.cfg.HTTP.NewClient(cfg.Insecure); err != nil {
		fault("%w", trimmed(err))
		c.cfg.HTTP = oidc.HTTPConfig{} // whose faults are known by now
	}
	switch {
	case cfg.Auth == nil:
		fault("Auth is nil: a public client says None{}")
	default:
		if err := cfg.Auth.check(&c.cfg); err != nil {
			fault("Auth %s: %w", cfg.Auth.Method(), err)
		}
		c.certificate = usesCertificate(&c.cfg)
	}
	if cfg.EndpointHosts != nil {
		c.hosts = []string{}
	}
	for _, host := range cfg.EndpointHosts {
		if u, err := url.Parse("https://" + host); err != nil || u.Host != host || host == "" {
			fault("EndpointHosts has %q, which is no host", host)
		}
		c.hosts = append(c.hosts, strings.ToLower(host))
	}
	for _, err := range c.checkSigning() {
		fault("%w", err)
	}
	for _, err := range c.findProvider() {
		fault("%w", trimmed(err))
	}
	if len(faults) > 0 {
		c.Close()
		return nil, errors.Join(faults...)
	}
	return c, nil
}

// checkSigning checks what is said of signatures, and the profile.
func (c *Client) checkSigning() []error {
	var faults []error
	if c.cfg.RequestKey.Signer != nil {
		if err := c.cfg.RequestKey.check(); err != nil {
			faults = append(faults, fmt.Errorf("RequestKey: %w", err))
		}
		if c.cfg.issuer() == "" {
			faults = append(faults, errors.New("RequestKey needs Issuer, whom a signed request is for"))
		}
	}
	for _, list := range [][]oidc.Algorithm{c.cfg.IDTokenAlgorithms, c.cfg.ResponseAlgorithms, c.cfg.UserInfoAlgorithms, c.cfg.IntrospectionAlgorithms} {
		for _, a := range list {
			if !a.Known() {
				faults = append(faults, fmt.Errorf("the algorithm %q cannot be verified", string(a)))
			}
		}
	}
	return append(faults, c.cfg.Profile.check(&c.cfg)...)
}

// findProvider sets up where metadata and keys are from.
func (c *Client) findProvider() []error {
	cfg := &c.cfg
	keys := oidc.IssuerConfig{
		Issuer: cfg.issuer(), Name: "provider", DiscoveryURL: cfg.DiscoveryURL,
		Audiences: []string{cfg.ClientID}, Leeway: cfg.Profile.leeway(),
		HTTP: cfg.HTTP, Insecure: cfg.Insecure,
	}
	switch {
	case cfg.Metadata == nil:
		if cfg.Issuer == "" {
			return []error{errors.New("Issuer and Metadata are both empty")}
		}
		var err error
		if c.source, err = oidc.NewMetadataSource(oidc.MetadataConfig{
			Issuer: cfg.Issuer, DiscoveryURL: cfg.DiscoveryURL, HTTP: cfg.HTTP, Insecure: cfg.Insecure,
			Clock: cfg.Clock, OnFetch: c.onFetch,
		}); err != nil {
			return []error{err}
		}
	default:
		var faults []error
		if cfg.DiscoveryURL != "" {
			faults = append(faults, errors.New("Metadata and DiscoveryURL are both set"))
		}
		if cfg.Issuer != "" && cfg.Metadata.Issuer != "" && cfg.Metadata.Issuer != cfg.Issuer {
			faults = append(faults, errors.New("Metadata.Issuer is not Issuer"))
		}
		c.static = &provider{metadata: cfg.Metadata, judge: func(raw string) (*url.URL, error) {
			if err := oidc.CheckFetchURL(raw, cfg.Insecure); err != nil {
				return nil, err
			}
			return url.Parse(raw)
		}}
		for _, e := range endpoints {
			for _, raw := range []string{cfg.Metadata.Endpoints[e], cfg.Metadata.MTLSAliases[e]} {
				if raw == "" {
					continue
				}
				if _, err := c.judged(c.static, raw, string(e)); err != nil {
					faults = append(faults, err)
				}
			}
		}
		if len(faults) > 0 {
			return faults
		}
		if keys.JWKSURL = cfg.Metadata.JWKSURI; keys.Issuer == "" || keys.JWKSURL == "" {
			return nil // there are no keys
		}
	}
	if cfg.ClientID == "" {
		return nil // is a fault already
	}
	var err error
	c.messages, err = oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{keys}, Clock: cfg.Clock, Logger: cfg.Logger, OnFetch: cfg.OnFetch,
	})
	if err != nil {
		return []error{err}
	}
	return nil
}

// onFetch tells of a fetch of metadata. Its failure is nobody's error while the last
// good document holds.
func (c *Client) onFetch(e oidc.FetchEvent) {
	if e.Err != nil {
		c.logger.Warn("the provider's metadata could not be fetched", slog.String("url", e.URL), slog.String("error", e.Err.Error()))
	}
	if c.cfg.OnFetch != nil {
		c.cfg.OnFetch(e)
	}
}

// trimmed is err without the prefixes of the packages below.
func trimmed(err error) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "oidc: "), "client: ")
	return errors.New(strings.ReplaceAll(text, "\noidc: ", "\nclient: "))
}

// Close ends what the client started, waits for it, and lets go of connections
// that are not in use. A request that is under way ends as it would.
func (c *Client) Close() {
	if c.messages != nil {
		c.messages.Close()
	}
	if c.http != nil && c.cfg.HTTP.Client == nil { // else they are the caller's
		c.http.CloseIdleConnections()
	}
}
