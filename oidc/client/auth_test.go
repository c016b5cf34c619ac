package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func signingKey(k *oidctest.Key) client.SigningKey {
	return client.SigningKey{Signer: k.Signer(), Algorithm: oidc.Algorithm(k.Algorithm), KeyID: k.ID}
}

// certificate writes a self-signed client certificate and returns its files and
// its SHA-256.
func certificate(t *testing.T) (certFile, keyFile string, sum [32]byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "orders"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return certFile, keyFile, sha256.Sum256(der)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Each method of client authentication proves the client to a provider that
// accepts that method of it and no other, with a good credential and with none
// else.
func TestClientAuthentication(t *testing.T) {
	certFile, keyFile, sum := certificate(t)
	provider := start(t, oidctest.WithTLS(), oidctest.WithPath("/realms/shop"))
	keys := map[string]*oidctest.Key{}
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		keys[alg] = oidctest.NewKey(alg, "kid-"+alg)
	}
	register := func(c oidctest.Client) {
		c.ID, c.Secret = "orders", secret
		for _, k := range keys {
			c.Keys = append(c.Keys, k)
		}
		c.CertSHA256 = sum
		provider.RegisterClient(c)
	}
	type auth = client.ClientAuth
	good, bad := client.NewSecret(secret), client.NewSecret(strings.ToUpper(secret))
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, secret+"\n")
	stranger := oidctest.NewKey("ES256", "kid-ES256")
	endpoint := provider.URLOf(oidctest.Token)

	tests := []struct {
		rule     string
		register oidctest.Client
		auth     auth
		refused  bool
	}{
		{rule: "basic", auth: client.ClientSecretBasic{Secret: good}},
		{rule: "basic, from a file", register: oidctest.Client{Method: "client_secret_basic"}, auth: client.ClientSecretBasic{Secret: client.SecretFile(file)}},
		{rule: "basic, wrong secret", auth: client.ClientSecretBasic{Secret: bad}, refused: true},
		{rule: "post", auth: client.ClientSecretPost{Secret: good}},
		{rule: "post, wrong secret", auth: client.ClientSecretPost{Secret: bad}, refused: true},
		{rule: "post where basic is registered", register: oidctest.Client{Method: "client_secret_basic"}, auth: client.ClientSecretPost{Secret: good}, refused: true},
		{rule: "secret JWT", auth: client.ClientSecretJWT{Secret: good}},
		{rule: "secret JWT, wrong secret", auth: client.ClientSecretJWT{Secret: bad}, refused: true},
		{rule: "RS256", auth: client.PrivateKeyJWT{Key: signingKey(keys["RS256"])}},
		{rule: "PS256", auth: client.PrivateKeyJWT{Key: signingKey(keys["PS256"])}},
		{rule: "ES256", auth: client.PrivateKeyJWT{Key: signingKey(keys["ES256"])}},
		{rule: "ES384", auth: client.PrivateKeyJWT{Key: signingKey(keys["ES384"])}},
		{rule: "ES512", auth: client.PrivateKeyJWT{Key: signingKey(keys["ES512"])}},
		{rule: "EdDSA", auth: client.PrivateKeyJWT{Key: signingKey(keys["EdDSA"])}},
		{rule: "a key that is not registered", auth: client.PrivateKeyJWT{Key: signingKey(stranger)}, refused: true},
		{
			rule: "aud the endpoint's URL", register: oidctest.Client{Audiences: []string{endpoint}},
			auth: client.PrivateKeyJWT{Key: signingKey(keys["ES256"]), Assertion: client.Assertion{EndpointAudience: true}},
		},
		{
			rule: "aud another text", register: oidctest.Client{Audiences: []string{"urn:provider"}},
			auth: client.ClientSecretJWT{Secret: good, Assertion: client.Assertion{Audience: "urn:provider"}},
		},
		{
			rule: "aud the endpoint's URL where the issuer is wanted",
			auth: client.PrivateKeyJWT{Key: signingKey(keys["ES256"]), Assertion: client.Assertion{EndpointAudience: true}}, refused: true,
		},
		{rule: "TLS", auth: client.TLSClientAuth{}},
		{rule: "self-signed TLS", auth: client.SelfSignedTLSClientAuth{}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if tt.register.Method == "" {
				tt.register.Method = tt.auth.Method()
			}
			register(tt.register)
			c := open(t, provider, func(cfg *client.Config) {
				cfg.Auth = tt.auth
				if strings.Contains(tt.rule, "TLS") {
					cfg.HTTP.CertFile, cfg.HTTP.KeyFile = certFile, keyFile
				}
			})
			for range 2 { // the second has an assertion of its own, or it is refused
				_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
				if got := errors.Is(err, client.ErrInvalidClient); got != tt.refused || err != nil && !tt.refused {
					t.Errorf("refused %t, want %t: %v", got, tt.refused, err)
				}
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error repeats the secret: %v", err)
				}
			}
		})
	}
}

func TestPublicClientIsNamedInTheBody(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(oidctest.Client{ID: "cli", Method: "none", RefreshTokens: true})
	c := open(t, provider, func(cfg *client.Config) { cfg.ClientID, cfg.Auth = "cli", client.None{} })
	if _, err := c.Refresh(t.Context(), client.NewSecret(provider.RefreshToken("cli", "alice", "")), client.RefreshParams{}); err != nil {
		t.Error(err)
	}
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); !errors.Is(err, client.ErrUnauthorizedClient) {
		t.Errorf("client credentials of a public client: %v", err)
	}
}

// A secret, a certificate that is replaced in its file counts from the next request
// on.
func TestReplacedFilesCount(t *testing.T) {
	provider := start(t, oidctest.WithTLS())
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "yesterday's")
	c := open(t, provider, func(cfg *client.Config) { cfg.Auth = client.ClientSecretBasic{Secret: client.SecretFile(path)} })
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); !errors.Is(err, client.ErrInvalidClient) {
		t.Errorf("with the old secret: %v", err)
	}
	write(t, path, secret)
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Errorf("with the new secret: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
	if err == nil || !strings.Contains(err.Error(), "there is no such file: put it there, or correct the path") {
		t.Errorf("without a file: %v", err)
	}

	certFile, keyFile, _ := certificate(t)
	otherCert, otherKey, sum := certificate(t)
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "self_signed_tls_client_auth", CertSHA256: sum})
	c = open(t, provider, func(cfg *client.Config) {
		cfg.Auth = client.SelfSignedTLSClientAuth{}
		cfg.HTTP.CertFile, cfg.HTTP.KeyFile = certFile, keyFile
	})
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); !errors.Is(err, client.ErrInvalidClient) {
		t.Errorf("with the old certificate: %v", err)
	}
	for from, to := range map[string]string{otherCert: certFile, otherKey: keyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
}
