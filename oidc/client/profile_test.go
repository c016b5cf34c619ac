package client_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// fapi returns a provider and the configuration of a client that keeps to all of
// FAPI 2.0, Message Signing too.
func fapi(t *testing.T) (*oidctest.Issuer, client.Config) {
	t.Helper()
	provider := oidctest.NewIssuer(oidctest.WithTLS())
	t.Cleanup(provider.Close)
	key := oidctest.NewKey("ES256", "client-key")
	provider.RegisterClient(oidctest.Client{
		ID: "orders", Method: "private_key_jwt", Keys: []*oidctest.Key{key}, RedirectURIs: []string{redirectURI},
		RequirePAR: true, SignedRequests: true, DPoP: true, RefreshTokens: true,
	})
	cfg := client.Config{
		Issuer: provider.URL, ClientID: "orders", Auth: client.PrivateKeyJWT{Key: signingKey(key)}, DPoP: newDPoPKey(t),
		RequestKey: signingKey(key), Profile: client.ProfileFAPI2MessageSigning,
	}
	cfg.HTTP.RootCAs = provider.CertPool()
	return provider, cfg
}

func newClient(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestALoginByTheProfiles(t *testing.T) {
	for _, profile := range []client.Profile{client.ProfileFAPI2, client.ProfileFAPI2MessageSigning} {
		provider, cfg := fapi(t)
		cfg.Profile = profile
		provider.RequireDPoPNonce("n-1")
		c := newClient(t, cfg)
		l := begin(t, provider, c, openid(nil))
		if q := parameters(t, l.request); len(q) != 2 || !q.Has("request_uri") {
			t.Errorf("%s: the URL is %s", profile, l.request.URL)
		}
		if signed := strings.Contains(l.callback.URL.RawQuery, "response="); signed != (profile == client.ProfileFAPI2MessageSigning) {
			t.Errorf("%s: came back with %s", profile, l.callback.URL.RawQuery)
		}
		answer, err := l.finish(t, c)
		if err != nil || answer.TokenType != "DPoP" || answer.ID.Subject != "alice" {
			t.Fatalf("%s: %+v, %v", profile, answer, err)
		}
		if _, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: answer.ID}); err != nil {
			t.Errorf("%s: %v", profile, err)
		}
	}
}

// Each configuration that FAPI 2.0 forbids is refused by name.
func TestAProfileForbids(t *testing.T) {
	rsa := oidctest.NewKey("RS256", "rsa")
	rsaDPoP, err := dpop.NewKey(rsa.Signer(), oidc.RS256)
	if err != nil {
		t.Fatal(err)
	}
	long := client.NewSecret(strings.Repeat("s", 32))
	for _, tt := range []struct {
		rule   string
		change func(*client.Config)
		want   string
	}{
		{"a public client", func(c *client.Config) { c.Auth = client.None{} }, "a public client is forbidden: use private_key_jwt or tls_client_auth"},
		{"client_secret_basic", func(c *client.Config) { c.Auth = client.ClientSecretBasic{Secret: long} }, "client_secret_basic is forbidden: use private_key_jwt or tls_client_auth"},
		{"client_secret_post", func(c *client.Config) { c.Auth = client.ClientSecretPost{Secret: long} }, "client_secret_post is forbidden: use private_key_jwt or tls_client_auth"},
		{"client_secret_jwt", func(c *client.Config) { c.Auth = client.ClientSecretJWT{Secret: long} }, "client_secret_jwt is forbidden: use private_key_jwt or tls_client_auth"},
		{"RS256 assertions", func(c *client.Config) { c.Auth = client.PrivateKeyJWT{Key: signingKey(rsa)} }, "Auth signs with RS256: use PS256, ES256 or EdDSA"},
		{"RS256 requests", func(c *client.Config) { c.RequestKey = signingKey(rsa) }, "RequestKey signs with RS256: use PS256, ES256 or EdDSA"},
		{"RS256 proofs", func(c *client.Config) { c.DPoP = rsaDPoP }, "DPoP signs with RS256: use PS256, ES256 or EdDSA"},
		{"RS256 ID tokens", func(c *client.Config) { c.ResponseAlgorithms = []oidc.Algorithm{oidc.ES256, oidc.RS256} }, "the provider may not sign with RS256: there are PS256, ES256 and EdDSA"},
		{"an assertion for the endpoint", func(c *client.Config) {
			c.Auth = client.PrivateKeyJWT{Key: c.RequestKey, Assertion: client.Assertion{EndpointAudience: true}}
		}, "the audience of a client assertion is the issuer alone"},
		{"an assertion for another", func(c *client.Config) {
			c.Auth = client.PrivateKeyJWT{Key: c.RequestKey, Assertion: client.Assertion{Audience: "https://other.example"}}
		}, "the audience of a client assertion is the issuer alone"},
		{"bearer tokens", func(c *client.Config) { c.DPoP = nil }, "bearer tokens are forbidden: set DPoP, or use a client certificate"},
		{"plain http", func(c *client.Config) { c.Issuer = "http://127.0.0.1:9" }, "Issuer is not an https URL"},
		{"insecure", func(c *client.Config) { c.Insecure = true }, "Insecure allows plain http"},
		{"requests that are not signed", func(c *client.Config) { c.RequestKey = client.SigningKey{} }, "authorization requests are signed: set RequestKey"},
	} {
		_, cfg := fapi(t)
		tt.change(&cfg)
		_, err := client.New(cfg)
		if err == nil || !slices.Contains(strings.Split(err.Error(), "\n"), "client: Profile fapi2-message-signing: "+tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.rule, err, tt.want)
		}
	}
	_, cfg := fapi(t)
	cfg.Profile = "fapi1"
	if _, err := client.New(cfg); err == nil || !strings.Contains(err.Error(), `client: there is no Profile "fapi1"`) {
		t.Error(err)
	}
	_, cfg = fapi(t) // signatures are a matter of Message Signing alone
	cfg.Profile, cfg.RequestKey = client.ProfileFAPI2, client.SigningKey{}
	newClient(t, cfg)
}

// So is each request.
func TestAProfileForbidsRequests(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		params func(*client.AuthorizationParams)
		change func(*oidctest.Issuer)
		want   string
	}{
		{rule: "an http redirect URI", params: func(p *client.AuthorizationParams) { p.RedirectURI = "http://127.0.0.1/cb" }, want: "RedirectURI is not https"},
		{rule: "an app's redirect URI", params: func(p *client.AuthorizationParams) { p.RedirectURI = "com.example.app:/cb" }, want: "RedirectURI is not https"},
		{rule: "an answer that is not signed", params: func(p *client.AuthorizationParams) { p.ResponseMode = "query" }, want: "ResponseMode query is not signed: use jwt"},
		{
			rule: "a provider that says nothing of S256", change: func(i *oidctest.Issuer) { i.SetMetadata("code_challenge_methods_supported", oidctest.Omit) },
			want: "the provider's metadata does not say that it supports PKCE with S256",
		},
		{
			rule: "a provider with plain PKCE", change: func(i *oidctest.Issuer) { i.SetMetadata("code_challenge_methods_supported", []string{"plain"}) },
			want: "the provider does not support PKCE with S256",
		},
		{rule: "another response type", params: func(p *client.AuthorizationParams) { p.Extra = url.Values{"response_type": {"code id_token"}} }, want: `Extra has "response_type"`},
		{
			rule: "a provider without PAR", change: func(i *oidctest.Issuer) { i.SetMetadata("pushed_authorization_request_endpoint", oidctest.Omit) },
			want: "has no pushed_authorization_request_endpoint",
		},
	} {
		provider, cfg := fapi(t)
		if tt.change != nil {
			tt.change(provider)
		}
		_, err := newClient(t, cfg).AuthorizationRequest(t.Context(), openid(tt.params))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.rule, err, tt.want)
		}
	}
}

// And each answer, whatever the provider's metadata promise.
func TestAProfileForbidsAnswers(t *testing.T) {
	provider, cfg := fapi(t)
	cfg.Profile = client.ProfileFAPI2
	provider.SetMetadata("authorization_response_iss_parameter_supported", oidctest.Omit)
	provider.ChangeCallback(func(v url.Values) { v.Del("iss") })
	c := newClient(t, cfg)
	if _, err := begin(t, provider, c, openid(nil)).finish(t, c); !errors.Is(err, client.ErrIssuerMismatch) {
		t.Errorf("no issuer: %v", err)
	}

	weak := oidctest.NewIssuer(oidctest.WithTLS(), oidctest.WithAlgorithms("RS256"))
	t.Cleanup(weak.Close)
	key := oidctest.NewKey("ES256", "client-key")
	weak.RegisterClient(oidctest.Client{ID: "orders", Method: "private_key_jwt", Keys: []*oidctest.Key{key}, RedirectURIs: []string{redirectURI}})
	cfg.Issuer, cfg.Auth, cfg.RequestKey, cfg.HTTP.RootCAs = weak.URL, client.PrivateKeyJWT{Key: signingKey(key)}, signingKey(key), weak.CertPool()
	c = newClient(t, cfg)
	if _, err := begin(t, weak, c, openid(nil)).finish(t, c); oidc.ReasonOf(err) != oidc.UnsupportedAlgorithm {
		t.Errorf("an RS256 ID token: %v", err)
	}
}

// A certificate takes the place of both the key that proves the client and of DPoP.
func TestALoginByAProfileWithAClientCertificate(t *testing.T) {
	certFile, keyFile, sum := certificate(t)
	provider, cfg := fapi(t)
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "tls_client_auth", CertSHA256: sum, RedirectURIs: []string{redirectURI}, RequirePAR: true})
	cfg.Auth, cfg.DPoP, cfg.RequestKey, cfg.Profile = client.TLSClientAuth{}, nil, client.SigningKey{}, client.ProfileFAPI2
	cfg.HTTP.CertFile, cfg.HTTP.KeyFile = certFile, keyFile
	c := newClient(t, cfg)
	if _, err := begin(t, provider, c, openid(nil)).finish(t, c); err != nil {
		t.Error(err)
	}
}
