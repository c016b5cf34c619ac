package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// Endpoint is an endpoint of a provider, by the name of the metadata member that
// has its URL (RFC 8414 section 2).
type Endpoint string

// The endpoints that this package calls.
const (
	TokenEndpoint               Endpoint = "token_endpoint"
	DeviceAuthorizationEndpoint Endpoint = "device_authorization_endpoint"         // RFC 8628
	BackchannelEndpoint         Endpoint = "backchannel_authentication_endpoint"   // CIBA Core 1.0
	PAREndpoint                 Endpoint = "pushed_authorization_request_endpoint" // RFC 9126
	UserInfoEndpoint            Endpoint = "userinfo_endpoint"
	IntrospectionEndpoint       Endpoint = "introspection_endpoint" // RFC 7662
	RevocationEndpoint          Endpoint = "revocation_endpoint"    // RFC 7009
	RegistrationEndpoint        Endpoint = "registration_endpoint"  // RFC 7591
)

// Metadata is what a provider says of itself (OpenID Connect Discovery 1.0 section
// 3, RFC 8414 section 2 and the registered extensions). Members that are absent, or
// not of the type that the standards give them, are zero. Treat it as read-only.
type Metadata struct {
	Issuer                string
	JWKSURI               string
	AuthorizationEndpoint string
	EndSessionEndpoint    string

	// Endpoints are those that are called directly.
	Endpoints map[Endpoint]string
	// MTLSAliases are those to call with a client certificate (RFC 8705 section 5).
	MTLSAliases map[Endpoint]string

	ScopesSupported                   []string
	ResponseTypesSupported            []string
	ResponseModesSupported            []string
	GrantTypesSupported               []string
	ACRValuesSupported                []string
	SubjectTypesSupported             []string
	ClaimsSupported                   []string
	PromptValuesSupported             []string
	CodeChallengeMethodsSupported     []string
	TokenEndpointAuthMethodsSupported []string
	TokenEndpointAuthSigningAlgs      []string
	IDTokenSigningAlgs                []string
	IDTokenEncryptionAlgs             []string
	UserInfoSigningAlgs               []string
	RequestObjectSigningAlgs          []string
	AuthorizationSigningAlgs          []string // JARM
	IntrospectionSigningAlgs          []string // RFC 9701
	DPoPSigningAlgs                   []string // RFC 9449
	AuthorizationDetailsTypes         []string // RFC 9396
	BackchannelTokenDeliveryModes     []string // CIBA

	RequirePAR                   bool // RFC 9126: require_pushed_authorization_requests
	RequireSignedRequestObject   bool // RFC 9101
	RequestParameterSupported    bool
	RequestURIParameterSupported bool
	AuthorizationResponseIss     bool // RFC 9207: authorization_response_iss_parameter_supported
	CertificateBoundAccessTokens bool // RFC 8705
	BackchannelLogoutSupported   bool
	BackchannelLogoutSession     bool
	FrontchannelLogoutSupported  bool
	FrontchannelLogoutSession    bool
	BackchannelUserCodeParameter bool // CIBA
	ClaimsParameterSupported     bool

	// Raw is the whole document.
	Raw json.RawMessage
}

// maxMetadata bounds a document that ParseMetadata reads.
const maxMetadata = 1 << 20

// ParseMetadata reads a metadata document, for [Config.Metadata]. It must be strict
// JSON, 1 MiB at most.
func ParseMetadata(document []byte) (*Metadata, error) {
	if len(document) > maxMetadata {
		return nil, errors.New("client: metadata: over 1 MiB")
	}
	object, err := oidc.ParseJSON(string(document))
	if err != nil {
		return nil, fmt.Errorf("client: metadata: %w", err)
	}
	if object.Kind() != oidc.KindObject {
		return nil, errors.New("client: metadata: not a JSON object")
	}
	return readMetadata(object), nil
}

// readMetadata takes from a document what is of the right type.
func readMetadata(object oidc.Value) *Metadata {
	m := &Metadata{Endpoints: map[Endpoint]string{}, MTLSAliases: map[Endpoint]string{}, Raw: json.RawMessage(object.Raw())}
	texts := map[string]*string{
		"issuer": &m.Issuer, "jwks_uri": &m.JWKSURI,
		"authorization_endpoint": &m.AuthorizationEndpoint, "end_session_endpoint": &m.EndSessionEndpoint,
	}
	lists := map[string]*[]string{
		"scopes_supported":                                 &m.ScopesSupported,
		"response_types_supported":                         &m.ResponseTypesSupported,
		"response_modes_supported":                         &m.ResponseModesSupported,
		"grant_types_supported":                            &m.GrantTypesSupported,
		"acr_values_supported":                             &m.ACRValuesSupported,
		"subject_types_supported":                          &m.SubjectTypesSupported,
		"claims_supported":                                 &m.ClaimsSupported,
		"prompt_values_supported":                          &m.PromptValuesSupported,
		"code_challenge_methods_supported":                 &m.CodeChallengeMethodsSupported,
		"token_endpoint_auth_methods_supported":            &m.TokenEndpointAuthMethodsSupported,
		"token_endpoint_auth_signing_alg_values_supported": &m.TokenEndpointAuthSigningAlgs,
		"id_token_signing_alg_values_supported":            &m.IDTokenSigningAlgs,
		"id_token_encryption_alg_values_supported":         &m.IDTokenEncryptionAlgs,
		"userinfo_signing_alg_values_supported":            &m.UserInfoSigningAlgs,
		"request_object_signing_alg_values_supported":      &m.RequestObjectSigningAlgs,
		"authorization_signing_alg_values_supported":       &m.AuthorizationSigningAlgs,
		"introspection_signing_alg_values_supported":       &m.IntrospectionSigningAlgs,
		"dpop_signing_alg_values_supported":                &m.DPoPSigningAlgs,
		"authorization_details_types_supported":            &m.AuthorizationDetailsTypes,
		"backchannel_token_delivery_modes_supported":       &m.BackchannelTokenDeliveryModes,
	}
	flags := map[string]*bool{
		"require_pushed_authorization_requests":          &m.RequirePAR,
		"require_signed_request_object":                  &m.RequireSignedRequestObject,
		"request_parameter_supported":                    &m.RequestParameterSupported,
		"request_uri_parameter_supported":                &m.RequestURIParameterSupported,
		"authorization_response_iss_parameter_supported": &m.AuthorizationResponseIss,
		"tls_client_certificate_bound_access_tokens":     &m.CertificateBoundAccessTokens,
		"backchannel_logout_supported":                   &m.BackchannelLogoutSupported,
		"backchannel_logout_session_supported":           &m.BackchannelLogoutSession,
		"frontchannel_logout_supported":                  &m.FrontchannelLogoutSupported,
		"frontchannel_logout_session_supported":          &m.FrontchannelLogoutSession,
		"backchannel_user_code_parameter_supported":      &m.BackchannelUserCodeParameter,
		"claims_parameter_supported":                     &m.ClaimsParameterSupported,
	}
	for name, value := range object.Members() {
		if p := texts[name]; p != nil && value.Kind() == oidc.KindString {
			*p = value.Text()
		}
		if p := lists[name]; p != nil {
			*p, _ = value.Strings()
		}
		if p := flags[name]; p != nil {
			*p = value.Bool()
		}
	}
	aliases, _ := object.Member("mtls_endpoint_aliases")
	for _, e := range endpoints {
		if v, _ := object.Member(string(e)); v.Kind() == oidc.KindString {
			m.Endpoints[e] = v.Text()
		}
		if v, _ := aliases.Member(string(e)); v.Kind() == oidc.KindString {
			m.MTLSAliases[e] = v.Text()
		}
	}
	return m
}

var endpoints = []Endpoint{
	TokenEndpoint, DeviceAuthorizationEndpoint, BackchannelEndpoint, PAREndpoint,
	UserInfoEndpoint, IntrospectionEndpoint, RevocationEndpoint, RegistrationEndpoint,
}

// provider is the provider as it is known at the time of a request.
type provider struct {
	metadata *Metadata
	judge    func(raw string) (*url.URL, error) // the rules for URLs of this document
}

// Metadata returns the provider's metadata: what was configured, or what discovery
// brought. It is fetched when it is first needed, kept for as long as the provider
// says, and then fetched again by one caller; while that fails the last good one
// holds. ctx is for waiting only.
func (c *Client) Metadata(ctx context.Context) (*Metadata, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return nil, err
	}
	return p.metadata, nil
}

func (c *Client) provider(ctx context.Context) (*provider, error) {
	if c.static != nil {
		return c.static, nil
	}
	found, err := c.source.Metadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if last := c.discovered.Load(); last != nil && last.found == found {
		return &last.provider, nil
	}
	p := &discovered{found, provider{readMetadata(found.Document), found.EndpointURL}}
	c.discovered.Store(p)
	return &p.provider, nil
}

// discovered is a document and what was read from it.
type discovered struct {
	found *oidc.Metadata
	provider
}

// endpoint returns where an endpoint is. With a client certificate in use the
// alias for it counts, if there is one.
func (c *Client) endpoint(p *provider, e Endpoint) (*url.URL, error) {
	raw, name := p.metadata.Endpoints[e], string(e)
	if alias := p.metadata.MTLSAliases[e]; alias != "" && c.certificate {
		raw, name = alias, "mtls_endpoint_aliases."+name
	}
	return c.judged(p, raw, name)
}

// judged returns a URL of the metadata, if the rules let this client use it.
func (c *Client) judged(p *provider, raw, name string) (*url.URL, error) {
	if raw == "" {
		return nil, fmt.Errorf("client: the provider's metadata has no %s", name)
	}
	u, err := p.judge(raw)
	if err != nil {
		return nil, fmt.Errorf("client: the provider's %s is %w", name, err)
	}
	if c.hosts != nil && !slices.Contains(c.hosts, strings.ToLower(u.Host)) {
		return nil, fmt.Errorf("client: the provider's %s is on the host %q, which is not one of EndpointHosts", name, u.Host)
	}
	return u, nil
}
