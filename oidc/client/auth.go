package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ClientAuth is how the client proves to the provider who it is (RFC 6749 section
// 2.3): one of [ClientSecretBasic], [ClientSecretPost], [ClientSecretJWT],
// [PrivateKeyJWT], [TLSClientAuth], [SelfSignedTLSClientAuth] and [None]. It must
// be the method that the client is registered with. The best that a provider
// supports is PrivateKeyJWT or TLSClientAuth: then no secret is ever sent.
type ClientAuth interface { //nolint:revive // the words of the standards
	// Method is the name as registered (OpenID Connect Core 1.0 section 9, RFC
	// 8705).
	Method() string

	check(*Config) error
	// apply adds what proves the client to one attempt of a request.
	apply(context.Context, *credentialed) error
}

// credentialed is a request that client authentication is added to: a fresh one
// for each attempt.
type credentialed struct {
	clientID string
	issuer   string // "" if unknown
	endpoint string // the URL that the request goes to
	now      time.Time
	form     url.Values  // the body's parameters
	header   http.Header // of the request
	secrets  []string    // what must not be repeated in an error
}

// secret returns the secret of a source, and notes that it is used.
func (r *credentialed) secret(ctx context.Context, source SecretSource) (string, error) {
	s, err := source.ReadSecret(ctx)
	if err != nil {
		return "", err
	}
	if s.IsZero() {
		return "", errors.New("the client secret is empty")
	}
	r.secrets = append(r.secrets, s.Reveal())
	return s.Reveal(), nil
}

func checkSecret(source SecretSource) error {
	if s, fixed := source.(Secret); source == nil || fixed && s.IsZero() {
		return errors.New("Secret is empty")
	}
	if source == SecretFile("") {
		return errors.New("Secret is a SecretFile without a path")
	}
	return nil
}

// None is a public client, which proves nothing: for programs that cannot keep a
// secret, such as command-line tools and apps.
type None struct{}

// Method implements [ClientAuth].
func (None) Method() string { return "none" }

func (None) check(*Config) error { return nil }

func (None) apply(_ context.Context, r *credentialed) error { //nolint:unparam // as ClientAuth has it
	r.form.Set("client_id", r.clientID)
	return nil
}

// ClientSecretBasic sends the secret in the header Authorization. Client ID and
// secret are form-encoded first, as RFC 6749 section 2.3.1 says.
type ClientSecretBasic struct{ Secret SecretSource } //nolint:revive // the registered name

// Method implements [ClientAuth].
func (ClientSecretBasic) Method() string { return "client_secret_basic" }

func (a ClientSecretBasic) check(*Config) error { return checkSecret(a.Secret) }

func (a ClientSecretBasic) apply(ctx context.Context, r *credentialed) error {
	secret, err := r.secret(ctx, a.Secret)
	if err != nil {
		return err
	}
	pair := url.QueryEscape(r.clientID) + ":" + url.QueryEscape(secret)
	r.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	return nil
}

// ClientSecretPost sends the secret in the body (RFC 6749 section 2.3.1).
type ClientSecretPost struct{ Secret SecretSource } //nolint:revive // the registered name

// Method implements [ClientAuth].
func (ClientSecretPost) Method() string { return "client_secret_post" }

func (a ClientSecretPost) check(*Config) error { return checkSecret(a.Secret) }

func (a ClientSecretPost) apply(ctx context.Context, r *credentialed) error {
	secret, err := r.secret(ctx, a.Secret)
	if err != nil {
		return err
	}
	r.form.Set("client_id", r.clientID)
	r.form.Set("client_secret", secret)
	return nil
}

// Assertion says what the JWT of [ClientSecretJWT] and [PrivateKeyJWT] holds. The
// zero Assertion is right for a provider that keeps to the standards.
type Assertion struct {
	// Audience is the JWT's aud; "" means the issuer, which is what RFC 9126 and
	// FAPI 2.0 want and what cannot be used at another provider.
	Audience string
	// EndpointAudience makes the URL of the endpoint that is called the aud, as
	// RFC 7523 once suggested and some providers still insist on.
	EndpointAudience bool
	// Type is the JWT's typ; "" means JWT, which every provider accepts. The
	// successor of RFC 7523 wants client-authentication+jwt.
	Type string
}

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLife = 2 * time.Minute // for clocks that differ; the JWT is used once and at once
)

func (a Assertion) check(cfg *Config) error {
	switch {
	case a.Audience != "" && a.EndpointAudience:
		return errors.New("Audience and EndpointAudience are both set")
	case a.Audience == "" && !a.EndpointAudience && cfg.issuer() == "":
		return errors.New("without Issuer, Audience or EndpointAudience must be set")
	}
	return nil
}

// apply has an assertion signed, a new one for each attempt: its jti is good once
// (RFC 7523 section 3).
func (a Assertion) apply(r *credentialed, sign func(typ string, claims map[string]any) (string, error)) error {
	claims := timeClaims(r.now, assertionLife)
	claims["iss"], claims["sub"] = r.clientID, r.clientID
	switch {
	case a.Audience != "":
		claims["aud"] = a.Audience
	case a.EndpointAudience:
		claims["aud"] = r.endpoint
	default:
		claims["aud"] = r.issuer
	}
	typ := a.Type
	if typ == "" {
		typ = "JWT"
	}
	assertion, err := sign(typ, claims)
	if err != nil {
		return err
	}
	r.form.Set("client_id", r.clientID)
	r.form.Set("client_assertion_type", assertionType)
	r.form.Set("client_assertion", assertion)
	r.secrets = append(r.secrets, assertion)
	return nil
}

// ClientSecretJWT sends a JWT whose HMAC (HS256) is made with the secret, of 32
// bytes or more (OpenID Connect Core 1.0 section 9).
type ClientSecretJWT struct { //nolint:revive // the registered name
	Secret SecretSource
	Assertion
}

// Method implements [ClientAuth].
func (ClientSecretJWT) Method() string { return "client_secret_jwt" }

const minHMACKey = 32 // RFC 7518 section 3.2

func (a ClientSecretJWT) check(cfg *Config) error {
	err := checkSecret(a.Secret)
	if s, fixed := a.Secret.(Secret); err == nil && fixed && len(s.Reveal()) < minHMACKey {
		err = errShortHMACKey
	}
	return errors.Join(err, a.Assertion.check(cfg))
}

var errShortHMACKey = fmt.Errorf("Secret is shorter than %d bytes: it is too weak a key for HS256 (RFC 7518 section 3.2)", minHMACKey)

func (a ClientSecretJWT) apply(ctx context.Context, r *credentialed) error {
	secret, err := r.secret(ctx, a.Secret)
	if err != nil {
		return err
	}
	if len(secret) < minHMACKey {
		return errShortHMACKey
	}
	return a.Assertion.apply(r, func(typ string, claims map[string]any) (string, error) {
		return signJWT(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, typ, "", claims)
	})
}

// PrivateKeyJWT sends a JWT signed with the client's private key (OpenID Connect
// Core 1.0 section 9, RFC 7523). The provider has the public key.
type PrivateKeyJWT struct {
	Key SigningKey
	Assertion
}

// Method implements [ClientAuth].
func (PrivateKeyJWT) Method() string { return "private_key_jwt" }

func (a PrivateKeyJWT) check(cfg *Config) error {
	err := a.Key.check()
	if err != nil {
		err = fmt.Errorf("Key: %w", err)
	}
	return errors.Join(err, a.Assertion.check(cfg))
}

func (a PrivateKeyJWT) apply(_ context.Context, r *credentialed) error {
	return a.Assertion.apply(r, a.Key.signJWT)
}

// TLSClientAuth is a client certificate of an authority that the provider trusts
// (RFC 8705 section 2.1): that of Config.HTTP, or one that Config.HTTPClient shows.
type TLSClientAuth struct{}

// Method implements [ClientAuth].
func (TLSClientAuth) Method() string { return "tls_client_auth" }

func (TLSClientAuth) check(cfg *Config) error { return checkCertificate(cfg) }

func (TLSClientAuth) apply(_ context.Context, r *credentialed) error {
	r.form.Set("client_id", r.clientID) // RFC 8705 section 2
	return nil
}

// SelfSignedTLSClientAuth is a client certificate that the provider was given
// (RFC 8705 section 2.2): that of Config.HTTP, or one that Config.HTTPClient shows.
type SelfSignedTLSClientAuth struct{}

// Method implements [ClientAuth].
func (SelfSignedTLSClientAuth) Method() string { return "self_signed_tls_client_auth" }

func (SelfSignedTLSClientAuth) check(cfg *Config) error { return checkCertificate(cfg) }

func (SelfSignedTLSClientAuth) apply(ctx context.Context, r *credentialed) error {
	return TLSClientAuth{}.apply(ctx, r)
}

func checkCertificate(cfg *Config) error {
	if cfg.HTTP.CertFile == "" && cfg.HTTPClient == nil {
		return errors.New("there is no client certificate: set HTTP.CertFile and HTTP.KeyFile, or have one in HTTPClient's transport")
	}
	return nil
}

// usesCertificate reports whether endpoints are to be called that ask for a client
// certificate (RFC 8705 section 5).
func usesCertificate(cfg *Config) bool {
	switch cfg.Auth.(type) {
	case TLSClientAuth, SelfSignedTLSClientAuth:
		return true
	default:
		return cfg.HTTP.CertFile != "" || cfg.MutualTLS
	}
}
