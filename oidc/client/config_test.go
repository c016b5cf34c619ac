package client_test

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestNewReportsEveryFault(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // that is the point
	if err != nil {
		t.Fatal(err)
	}
	es256 := oidctest.NewKey("ES256", "")
	metadata := func(document string) *client.Metadata {
		m, err := client.ParseMetadata([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	tests := []struct {
		change func(*client.Config)
		want   string
	}{
		{func(c *client.Config) { *c = client.Config{} }, `client: ClientID is empty
client: Auth is nil: a public client says None{}
client: Issuer and Metadata are both empty`},
		{func(c *client.Config) { c.Issuer = "http://id.example.com" }, "client: Issuer is a plain http URL, which is accepted only on loopback and never from an https issuer; use https; without DiscoveryURL it must be a URL to discover keys from"},
		{func(c *client.Config) { c.DiscoveryURL = "ftp://id.example.com" }, "client: DiscoveryURL is not an https URL"},
		{func(c *client.Config) { c.HTTP.CAFile, c.HTTPClient = "ca.pem", &http.Client{} }, "client: HTTP.Client is set, so authorities, certificates, server name and proxy belong in its transport"},
		{func(c *client.Config) { c.HTTP.Client, c.HTTPClient = &http.Client{}, &http.Client{} }, "client: HTTPClient and HTTP.Client are both set"},
		{func(c *client.Config) { c.HTTP.CertFile = "tls.crt" }, "client: HTTP.CertFile and HTTP.KeyFile belong together"},
		{func(c *client.Config) { c.EndpointHosts = []string{"https://id.example.com"} }, `client: EndpointHosts has "https://id.example.com", which is no host`},
		{func(c *client.Config) { c.Auth = client.ClientSecretBasic{} }, "client: Auth client_secret_basic: Secret is empty"},
		{func(c *client.Config) { c.Auth = client.ClientSecretPost{Secret: client.NewSecret("")} }, "client: Auth client_secret_post: Secret is empty"},
		{func(c *client.Config) { c.Auth = client.ClientSecretPost{Secret: client.SecretFile("")} }, "client: Auth client_secret_post: Secret is a SecretFile without a path"},
		{func(c *client.Config) { c.Auth = client.ClientSecretJWT{Secret: client.NewSecret("short")} }, "client: Auth client_secret_jwt: Secret is shorter than 32 bytes: it is too weak a key for HS256 (RFC 7518 section 3.2)"},
		{func(c *client.Config) { c.Auth = client.PrivateKeyJWT{} }, "client: Auth private_key_jwt: Key: the algorithm is empty"},
		{func(c *client.Config) {
			c.Auth = client.PrivateKeyJWT{Key: client.SigningKey{Signer: weak, Algorithm: oidc.PS256}}
		}, "client: Auth private_key_jwt: Key: an RSA key must have 2048 bits"},
		{func(c *client.Config) {
			c.Auth = client.PrivateKeyJWT{Key: client.SigningKey{Signer: es256.Signer(), Algorithm: oidc.RS256}}
		}, `client: Auth private_key_jwt: Key: algorithm "RS256" is not one of a key of type *ecdsa.PublicKey`},
		{func(c *client.Config) {
			c.Auth = client.PrivateKeyJWT{Key: signingKey(es256), Assertion: client.Assertion{Audience: "a", EndpointAudience: true}}
		}, "client: Auth private_key_jwt: Audience and EndpointAudience are both set"},
		{func(c *client.Config) { c.Auth = client.TLSClientAuth{} }, "client: Auth tls_client_auth: there is no client certificate: set HTTP.CertFile and HTTP.KeyFile, or have one in HTTPClient's transport"},
		{func(c *client.Config) { c.Metadata = metadata(`{"issuer":"https://other.example.com"}`) }, "client: Metadata.Issuer is not Issuer"},
		{func(c *client.Config) {
			c.Metadata, c.DiscoveryURL = metadata(`{}`), "https://id.example.com/metadata"
		}, "client: Metadata and DiscoveryURL are both set"},
		{func(c *client.Config) { c.Metadata = metadata(`{"token_endpoint":"http://id.example.com/token"}`) }, "client: the provider's token_endpoint is a plain http URL, which is accepted only on loopback and never from an https issuer; use https"},
		{func(c *client.Config) {
			c.Issuer, c.Metadata, c.Auth = "", metadata(`{"token_endpoint":"https://id.example.com/token"}`), client.PrivateKeyJWT{Key: signingKey(es256)}
		}, "client: Auth private_key_jwt: without Issuer, Audience or EndpointAudience must be set"},
	}
	for _, tt := range tests {
		cfg := client.Config{
			Issuer: "https://id.example.com", ClientID: "orders",
			Auth: client.ClientSecretBasic{Secret: client.NewSecret(secret)},
		}
		tt.change(&cfg)
		c, err := client.New(cfg)
		if err == nil {
			c.Close()
			t.Errorf("no error, want %q", tt.want)
			continue
		}
		if err.Error() != tt.want {
			t.Errorf("got  %s\nwant %s", err, tt.want)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

// A provider that publishes no metadata is configured by it.
func TestMetadataInPlaceOfDiscovery(t *testing.T) {
	provider := start(t)
	metadata, err := client.ParseMetadata([]byte(`{"token_endpoint":"` + provider.URLOf(oidctest.Token) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, provider, func(cfg *client.Config) { cfg.Issuer, cfg.Metadata = "", metadata })
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Error(err)
	}
	if n := provider.Requests(oidctest.OpenIDDiscovery, oidctest.OAuthDiscovery); n != 0 {
		t.Errorf("%d requests to discovery", n)
	}
}

func TestParseMetadataIsStrict(t *testing.T) {
	for _, document := range []string{``, `[]`, `{"issuer":"a","issuer":"b"}`, `{"a":1}x`} {
		if m, err := client.ParseMetadata([]byte(document)); err == nil {
			t.Errorf("%s: %v", document, m)
		}
	}
}
