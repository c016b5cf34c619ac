package client_test

import (
	"testing"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const secret = "a-secret-of-more-than-32-bytes: & + %"

// start returns a provider that knows the client "orders" by its secret.
func start(t *testing.T, opts ...oidctest.Option) *oidctest.Issuer {
	t.Helper()
	provider := oidctest.NewIssuer(opts...)
	t.Cleanup(provider.Close)
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: secret, RefreshTokens: true})
	return provider
}

// open returns the client "orders" of a provider, changed as the test needs it.
func open(t *testing.T, provider *oidctest.Issuer, change func(*client.Config)) *client.Client {
	t.Helper()
	cfg := client.Config{
		Issuer: provider.URL, ClientID: "orders",
		Auth: client.ClientSecretBasic{Secret: client.NewSecret(secret)},
	}
	cfg.HTTP.RootCAs = provider.CertPool()
	if change != nil {
		change(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
