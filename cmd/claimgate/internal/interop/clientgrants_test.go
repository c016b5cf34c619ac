package interop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
)

// longSecret is good for an HMAC.
const longSecret = "a-secret-of-more-than-32-bytes: & + %"

// deviceLogIn gets tokens as a device does whose user answers at once.
func deviceLogIn(t *testing.T, c *client.Client, transport http.RoundTripper, fields map[string]string) *client.TokenResponse {
	t.Helper()
	d, err := c.AuthorizeDevice(t.Context(), client.TokenParams{Scopes: []string{"openid"}})
	if err != nil {
		t.Fatal(err)
	}
	if d.UserCode == "" || d.VerificationURIComplete == "" {
		t.Fatalf("%+v", d)
	}
	browse(t, transport, d.VerificationURIComplete, "", fields)
	answer, err := c.DeviceToken(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeviceToken(t.Context(), d); err == nil {
		t.Error("a device code is good twice")
	}
	return answer
}

// keepsTokens has many callers want a token at once.
func keepsTokens(t *testing.T, c *client.Client, params client.TokenParams) {
	t.Helper()
	s, err := c.ClientCredentialsSource(params, client.SourceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var mu sync.Mutex
	seen := map[string]bool{}
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			token, err := s.Token(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[token.AccessToken.Reveal()] = true
		})
	}
	callers.Wait()
	if len(seen) != 1 {
		t.Errorf("a hundred callers got %d tokens, want one", len(seen))
	}
}

// signingKey is a private JWK as oidc/client takes it.
func signingKey(k jose.JSONWebKey) client.SigningKey {
	signer, _ := k.Key.(crypto.Signer)
	return client.SigningKey{Signer: signer, Algorithm: oidc.Algorithm(k.Algorithm), KeyID: k.KeyID}
}

// The clients of a service, by each way of authentication that Keycloak has but TLS.
func (k *keycloak) clientAuthenticates(t *testing.T) {
	rsaKey, ecKey := newKey(t, "rsa"), newECKey(t, "ec", "ES256", "sig")
	rsaKey.Algorithm = "PS256"
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{rsaKey.Public(), ecKey.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	secret := client.NewSecret(longSecret)
	byKey := map[string]string{"use.jwks.string": "true", "jwks.string": string(public)}
	for _, tt := range []struct {
		id, authenticator string
		attributes        map[string]string
		auths             []client.ClientAuth
	}{
		{"by-secret", "client-secret", nil, []client.ClientAuth{client.ClientSecretBasic{Secret: secret}, client.ClientSecretPost{Secret: secret}}},
		{"by-hmac", "client-secret-jwt", nil, []client.ClientAuth{client.ClientSecretJWT{Secret: secret}}},
		{"by-key", "client-jwt", byKey, []client.ClientAuth{client.PrivateKeyJWT{Key: signingKey(rsaKey)}, client.PrivateKeyJWT{Key: signingKey(ecKey)}}},
	} {
		k.addClient(t, tt.id, map[string]any{
			"secret": longSecret, "clientAuthenticatorType": tt.authenticator, "attributes": tt.attributes, "serviceAccountsEnabled": true,
		})
		for _, auth := range tt.auths {
			c := k.open(t, tt.id, func(cfg *client.Config) { cfg.Auth = auth })
			for range 2 { // each assertion is good once
				answer, err := c.ClientCredentials(t.Context(), client.TokenParams{})
				if err != nil || answer.Expiry.IsZero() {
					t.Errorf("%s, %s: %v", tt.id, auth.Method(), err)
				}
			}
			keepsTokens(t, c, client.TokenParams{})
		}
	}
	stranger := newECKey(t, "ec", "ES256", "sig")
	for id, auth := range map[string]client.ClientAuth{
		"by-secret": client.ClientSecretBasic{Secret: client.NewSecret("another")},
		"by-hmac":   client.ClientSecretJWT{Secret: client.NewSecret(strings.Repeat("another ", 5))},
		"by-key":    client.PrivateKeyJWT{Key: signingKey(stranger)},
	} {
		c := k.open(t, id, func(cfg *client.Config) { cfg.Auth = auth })
		_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
		if !errors.Is(err, client.ErrInvalidClient) && !errors.Is(err, client.ErrUnauthorizedClient) || client.IsRetryable(err) {
			t.Errorf("%s with a stranger's credentials: %v", id, err)
		}
	}
}

func (k *keycloak) clientExchangesTokens(t *testing.T) {
	k.addClient(t, "middle", map[string]any{"serviceAccountsEnabled": true, "attributes": map[string]string{"standard.token.exchange.enabled": "true"}})
	k.addClient(t, "front", map[string]any{"protocolMappers": []map[string]any{{
		"name": "for the service in the middle", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
		"config": map[string]string{"included.client.audience": "middle", "access.token.claim": "true"},
	}}})
	_, login, err := k.logIn(t, k.open(t, "front", nil), client.AuthorizationParams{})
	if err != nil {
		t.Fatal(err)
	}
	middle := k.open(t, "middle", nil)
	subject := client.TypedToken{Token: login.AccessToken, Type: client.TypeAccessToken}
	answer, err := middle.TokenExchange(t.Context(), subject, client.ExchangeParams{RequestedType: client.TypeAccessToken})
	if err != nil {
		t.Fatal(err)
	}
	claims := claimsOf(answer.AccessToken.Reveal())
	if answer.IssuedTokenType != client.TypeAccessToken || !strings.Contains(claims, `"azp":"middle"`) || !strings.Contains(claims, `"preferred_username":"alice"`) {
		t.Errorf("%s: %s", answer.IssuedTokenType, claims)
	}
	var refusal *client.OAuthError
	subject.Token = client.NewSecret(tampered(login.AccessToken.Reveal()))
	if _, err := middle.TokenExchange(t.Context(), subject, client.ExchangeParams{}); !errors.As(err, &refusal) {
		t.Errorf("a token that was tampered with: %v", err)
	}
}

func (k *keycloak) clientIsADevice(t *testing.T) {
	k.addClient(t, "tv", map[string]any{"publicClient": true, "attributes": map[string]string{"oauth2.device.authorization.grant.enabled": "true"}})
	c := k.open(t, "tv", func(cfg *client.Config) { cfg.Auth = client.None{} })
	answer := deviceLogIn(t, c, oneShot.Transport, map[string]string{"username": "alice", "password": "alice-password", "cancel": ""})
	if answer.ID == nil || answer.ID.AuthorizedParty != "tv" {
		t.Errorf("%+v", answer.ID)
	}
}

// clientCertificate is a self-signed certificate in files, and its public key as the
// provider knows it.
func clientCertificate(t *testing.T) (certFile, keyFile, thumbprint string, public jose.JSONWebKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "machine"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(der)
	return certFile, keyFile, base64.RawURLEncoding.EncodeToString(sum[:]), jose.JSONWebKey{
		Key: key.Public(), KeyID: "machine", Algorithm: "ES256", Use: "sig", Certificates: []*x509.Certificate{certificate},
	}
}

// What oidc-provider has for clients without a login: services, devices and users on
// another device.
func TestClientGrantsAtOIDCProvider(t *testing.T) {
	t.Parallel()
	certFile, keyFile, thumbprint, certificate := clientCertificate(t)
	machine, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	p := startClientProvider(t, "MACHINE_KEYS="+string(machine))
	orders := client.TokenParams{Resources: []string{"https://orders.example.com"}, Scopes: []string{"orders.read"}}

	t.Run("a service, by each way of authentication", func(t *testing.T) {
		for id, auth := range map[string]client.ClientAuth{
			"basic": client.ClientSecretBasic{Secret: client.NewSecret(longSecret)},
			"post":  client.ClientSecretPost{Secret: client.NewSecret(longSecret)},
			"hmac":  client.ClientSecretJWT{Secret: client.NewSecret(longSecret)},
			"key":   client.PrivateKeyJWT{Key: p.signingKey()},
		} {
			c := p.open(t, func(cfg *client.Config) { cfg.ClientID, cfg.Auth = id, auth })
			for range 2 { // each assertion is good once
				answer, err := c.ClientCredentials(t.Context(), orders)
				if err != nil || !strings.Contains(claimsOf(answer.AccessToken.Reveal()), `"aud":"https://orders.example.com"`) {
					t.Errorf("%s: %v", id, err)
				}
			}
			keepsTokens(t, c, orders)
		}
		c := p.open(t, func(cfg *client.Config) {
			cfg.ClientID, cfg.Auth = "basic", client.ClientSecretBasic{Secret: client.NewSecret("another")}
		})
		if _, err := c.ClientCredentials(t.Context(), orders); !errors.Is(err, client.ErrInvalidClient) || client.IsRetryable(err) {
			t.Errorf("a wrong secret: %v", err)
		}
	})
	t.Run("a service with a certificate, and a token that is bound to it", func(t *testing.T) {
		c := p.open(t, func(cfg *client.Config) {
			cfg.ClientID, cfg.Auth = "machine", client.SelfSignedTLSClientAuth{}
			cfg.HTTP.CertFile, cfg.HTTP.KeyFile = certFile, keyFile
		})
		answer, err := c.ClientCredentials(t.Context(), orders)
		if err != nil {
			t.Fatal(err)
		}
		if claims := claimsOf(answer.AccessToken.Reveal()); !strings.Contains(claims, `"x5t#S256":"`+thumbprint+`"`) {
			t.Errorf("claims %s", claims)
		}
		m, err := c.Metadata(t.Context())
		if err != nil || m.MTLSAliases[client.TokenEndpoint] == "" || m.MTLSAliases[client.TokenEndpoint] == m.Endpoints[client.TokenEndpoint] {
			t.Fatalf("%v %v", m, err)
		}
		other, otherKey, _, _ := clientCertificate(t)
		stranger := p.open(t, func(cfg *client.Config) {
			cfg.ClientID, cfg.Auth = "machine", client.SelfSignedTLSClientAuth{}
			cfg.HTTP.CertFile, cfg.HTTP.KeyFile = other, otherKey
		})
		if _, err := stranger.ClientCredentials(t.Context(), orders); !errors.Is(err, client.ErrInvalidClient) {
			t.Errorf("another certificate: %v", err)
		}
	})
	t.Run("a device", func(t *testing.T) {
		c := p.open(t, func(cfg *client.Config) { cfg.ClientID, cfg.Auth = "tv", client.None{} })
		answer := deviceLogIn(t, c, p.transport(), map[string]string{"login": "alice", "password": "any", "abort": ""})
		if answer.ID == nil || answer.ID.Subject != "alice" {
			t.Errorf("%+v", answer.ID)
		}
	})
	t.Run("a user on another device", func(t *testing.T) {
		c := p.open(t, func(cfg *client.Config) {
			cfg.ClientID = "phone"
			cfg.Auth = client.ClientSecretBasic{Secret: client.NewSecret(longSecret)}
		})
		ask := func(user string) (*client.TokenResponse, error) {
			b, err := c.AuthenticateBackchannel(t.Context(), client.BackchannelParams{LoginHint: user, BindingMessage: "W4SCT"})
			if err != nil {
				t.Fatal(err)
			}
			return c.BackchannelToken(t.Context(), b)
		}
		if answer, err := ask("alice"); err != nil || answer.ID == nil || answer.ID.Subject != "alice" {
			t.Errorf("%+v %v", answer, err)
		}
		if _, err := ask("mallory"); !errors.Is(err, client.ErrAccessDenied) {
			t.Errorf("a user who refuses: %v", err)
		}
		if _, err := c.AuthenticateBackchannel(t.Context(), client.BackchannelParams{LoginHint: "nobody"}); !errors.Is(err, client.ErrUnknownUserID) {
			t.Errorf("a user who does not exist: %v", err)
		}
	})
}
