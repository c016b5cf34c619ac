package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// Registrar registers clients with a provider (RFC 7591, OpenID Connect Dynamic
// Client Registration 1.0) and manages them (RFC 7592). It is immutable and safe
// for concurrent use.
type Registrar struct{ client *Client }

// NewRegistrar checks cfg and returns a Registrar for it, or all that is wrong with
// cfg in one error. It does no I/O. ClientID and Auth must not be set: there is no
// client yet. The caller must Close the Registrar.
func NewRegistrar(cfg Config) (*Registrar, error) {
	if cfg.ClientID != "" || cfg.Auth != nil {
		return nil, errors.New("client: a Registrar has neither ClientID nor Auth: they are what it gets")
	}
	cfg.ClientID, cfg.Auth = "registrar", None{} // neither is ever sent
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return &Registrar{c}, nil
}

// Close lets go of what the Registrar holds.
func (r *Registrar) Close() { r.client.Close() }

// ClientMetadata is what a client wants to be (RFC 7591 section 2). What is zero is
// left to the provider.
type ClientMetadata struct { //nolint:revive // the words of the standard
	RedirectURIs            []string        `json:"redirect_uris,omitempty"`
	GrantTypes              []string        `json:"grant_types,omitempty"`
	ResponseTypes           []string        `json:"response_types,omitempty"`
	TokenEndpointAuthMethod string          `json:"token_endpoint_auth_method,omitempty"`
	ClientName              string          `json:"client_name,omitempty"`
	ClientURI               string          `json:"client_uri,omitempty"`
	Scope                   string          `json:"scope,omitempty"` // separated by spaces
	Contacts                []string        `json:"contacts,omitempty"`
	JWKSURI                 string          `json:"jwks_uri,omitempty"`
	JWKS                    json.RawMessage `json:"jwks,omitempty"` // not both
	SoftwareID              string          `json:"software_id,omitempty"`
	SoftwareVersion         string          `json:"software_version,omitempty"`
	SoftwareStatement       string          `json:"software_statement,omitempty"` // a JWT
	IDTokenSignedAlg        string          `json:"id_token_signed_response_alg,omitempty"`
	PostLogoutRedirectURIs  []string        `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI    string          `json:"backchannel_logout_uri,omitempty"`
	FrontchannelLogoutURI   string          `json:"frontchannel_logout_uri,omitempty"`
	RequirePAR              bool            `json:"require_pushed_authorization_requests,omitempty"` // RFC 9126
	DPoPBoundAccessTokens   bool            `json:"dpop_bound_access_tokens,omitempty"`              // RFC 9449

	// Extra are further members. None may be one of those above, nor one that only the
	// provider gives.
	Extra map[string]any `json:"-"`
}

// Registration is a client as the provider has registered it.
type Registration struct {
	ClientID string
	// ClientSecret is empty if the client has none.
	ClientSecret Secret
	// SecretExpiry is when ClientSecret ends; zero means never.
	SecretExpiry time.Time
	// AccessToken and ManagementURI are for Read, Update and Delete; empty if the
	// provider has no such thing.
	AccessToken   Secret
	ManagementURI string
	// Metadata is what was registered, which need not be what was asked for: look at
	// what you depend on.
	Metadata ClientMetadata

	raw *string
}

// Raw is the whole answer, in memory of the caller's own. The secrets are in it:
// nobody should log it.
func (r *Registration) Raw() json.RawMessage {
	if r.raw == nil {
		return nil
	}
	return json.RawMessage(*r.raw)
}

// Register registers a client. initialAccessToken is for providers that want one
// (RFC 7591 section 3); empty elsewhere. Keep the Registration where secrets are
// kept.
func (r *Registrar) Register(ctx context.Context, metadata ClientMetadata, initialAccessToken Secret) (*Registration, error) {
	body, err := metadata.encode(nil)
	if err != nil {
		return nil, err
	}
	a, err := r.client.do(ctx, request{
		endpoint: RegistrationEndpoint, body: body, contentType: "application/json", bearer: initialAccessToken, status: http.StatusCreated,
	})
	if err != nil {
		return nil, err
	}
	return readRegistration(a)
}

// Read asks what a client is registered as (RFC 7592 section 2.1). Keep what it
// returns in place of reg: providers may give a new AccessToken and a new secret.
func (r *Registrar) Read(ctx context.Context, reg *Registration) (*Registration, error) {
	return r.manage(ctx, reg, request{method: http.MethodGet})
}

// Update replaces what a client is registered as with metadata, all of it (RFC 7592
// section 2.2). Keep what it returns in place of reg.
func (r *Registrar) Update(ctx context.Context, reg *Registration, metadata ClientMetadata) (*Registration, error) {
	own := map[string]any{"client_id": reg.ClientID}
	if !reg.ClientSecret.IsZero() {
		own["client_secret"] = reg.ClientSecret.Reveal()
	}
	body, err := metadata.encode(own)
	if err != nil {
		return nil, err
	}
	return r.manage(ctx, reg, request{
		method: http.MethodPut, body: body, contentType: "application/json", secrets: []string{reg.ClientSecret.Reveal()},
	})
}

// Delete takes a client away (RFC 7592 section 2.3).
func (r *Registrar) Delete(ctx context.Context, reg *Registration) error {
	_, err := r.managed(ctx, reg, request{method: http.MethodDelete, status: http.StatusNoContent})
	return err
}

// manage makes a request about a client that is answered with its registration.
func (r *Registrar) manage(ctx context.Context, reg *Registration, what request) (*Registration, error) {
	a, err := r.managed(ctx, reg, what)
	if err != nil {
		return nil, err
	}
	now, err := readRegistration(a)
	if err != nil {
		return nil, err
	}
	if now.ClientID != reg.ClientID {
		return nil, refused(a.endpoint, "the answer is about another client")
	}
	if now.AccessToken.IsZero() {
		now.AccessToken = reg.AccessToken
	}
	if now.ManagementURI == "" {
		now.ManagementURI = reg.ManagementURI
	}
	return now, nil
}

// managed makes a request at a client's own URL, which came from the provider and
// is held to the rules for its endpoints.
func (r *Registrar) managed(ctx context.Context, reg *Registration, what request) (*answer, error) {
	if reg.ManagementURI == "" || reg.AccessToken.IsZero() {
		return nil, errors.New("client: the provider gave no registration_client_uri and registration_access_token: it has no management of clients (RFC 7592)")
	}
	p, err := r.client.provider(ctx)
	if err != nil {
		return nil, err
	}
	what.endpoint, what.bearer = RegistrationEndpoint, reg.AccessToken
	if what.url, err = r.client.judged(p, reg.ManagementURI, "registration_client_uri"); err != nil {
		return nil, err
	}
	return r.client.do(ctx, what)
}

// givenMembers are those of a registration that only the provider gives.
var givenMembers = []string{
	"client_id", "client_secret", "client_id_issued_at", "client_secret_expires_at", "registration_access_token", "registration_client_uri",
}

// encode writes metadata as JSON, with the members that name the client.
func (m ClientMetadata) encode(own map[string]any) ([]byte, error) {
	for _, list := range [][]string{m.RedirectURIs, m.PostLogoutRedirectURIs} {
		for _, raw := range list {
			if u, err := url.Parse(raw); err != nil || !u.IsAbs() || u.Fragment != "" {
				return nil, fmt.Errorf("client: %q is no absolute URI without fragment", raw)
			}
		}
	}
	if m.JWKS != nil && m.JWKSURI != "" {
		return nil, errors.New("client: JWKS and JWKSURI are both set (RFC 7591 section 2)")
	}
	fields, err := json.Marshal(m)
	if err != nil {
		return nil, errors.New("client: JWKS is no JSON")
	}
	all := map[string]any{}
	var known map[string]json.RawMessage
	if err := json.Unmarshal(fields, &known); err != nil {
		return nil, fmt.Errorf("client: metadata: %w", err)
	}
	for name, value := range known {
		all[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(m.Extra)) {
		if _, set := all[name]; set || slices.Contains(givenMembers, name) {
			return nil, fmt.Errorf("client: Extra has %q, which is not free", name)
		}
		all[name] = m.Extra[name]
	}
	maps.Copy(all, own)
	body, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("client: Extra: %w", err)
	}
	return body, nil
}

// readRegistration reads a client information answer (RFC 7591 section 3.2.1).
func readRegistration(a *answer) (*Registration, error) {
	malformed := func(format string, args ...any) (*Registration, error) {
		return nil, &RequestError{Endpoint: a.endpoint, Result: oidc.FetchMalformed, Status: a.status, Err: fmt.Errorf(format, args...)}
	}
	object, err := a.object()
	if err != nil {
		return nil, err
	}
	raw := object.Raw()
	reg := &Registration{raw: &raw}
	var clientSecret, accessToken string
	for name, into := range map[string]*string{
		"client_id": &reg.ClientID, "client_secret": &clientSecret,
		"registration_access_token": &accessToken, "registration_client_uri": &reg.ManagementURI,
	} {
		v, _ := object.Member(name)
		if k := v.Kind(); k != oidc.KindString && k != oidc.KindNull {
			return malformed("the answer's %s is no string", name)
		}
		*into = v.Text()
	}
	if reg.ClientID == "" {
		return malformed("the answer has no client_id")
	}
	reg.ClientSecret, reg.AccessToken = NewSecret(clientSecret), NewSecret(accessToken)
	if v, _ := object.Member("client_secret_expires_at"); v.Kind() != oidc.KindNull {
		seconds, ok := v.Int64()
		if !ok || seconds < 0 {
			return malformed("the answer's client_secret_expires_at is no time")
		}
		if seconds > 0 { // 0 means never
			reg.SecretExpiry = time.Unix(seconds, 0)
		}
	}
	// The object was read strictly above; names that differ in case only are others.
	if err := json.Unmarshal([]byte(exactly(object)), &reg.Metadata); err != nil {
		return malformed("the answer's metadata has a member of another type than RFC 7591 gives it")
	}
	return reg, nil
}

// exactly is the text of an object without the members whose names encoding/json
// would take for another's because it does not mind case.
func exactly(object oidc.Value) string {
	out := map[string]json.RawMessage{}
	for name, value := range object.Members() {
		if slices.Contains(metadataMembers, name) {
			out[name] = json.RawMessage(value.Raw())
		}
	}
	text, _ := json.Marshal(out) // of JSON that is good
	return string(text)
}

// metadataMembers are the members that ClientMetadata has.
var metadataMembers = []string{
	"redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method", "client_name", "client_uri", "scope", "contacts",
	"jwks_uri", "jwks", "software_id", "software_version", "software_statement", "id_token_signed_response_alg",
	"post_logout_redirect_uris", "backchannel_logout_uri", "frontchannel_logout_uri", "require_pushed_authorization_requests", "dpop_bound_access_tokens",
}
