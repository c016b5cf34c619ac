package interop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
)

// newECKey is newKey for ES256 and for ECDH-ES.
func newECKey(t *testing.T, id, algorithm, use string) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: algorithm, Use: use}
}

// clientProvider is npm's oidc-provider with all that a client can use.
type clientProvider struct {
	server
	issuer string
	caFile string
	roots  *x509.CertPool             // the same
	keys   map[string]jose.JSONWebKey // of its clients
}

func startClientProvider(t *testing.T, env ...string) *clientProvider {
	t.Helper()
	script := filepath.Join(part(t, "oidc-provider"), "client.mjs")
	node := filepath.Join(part(t, "node"), "node")
	port, dir := freePort(t), t.TempDir()
	p := &clientProvider{issuer: "https://127.0.0.1:" + port, roots: x509.NewCertPool(), keys: map[string]jose.JSONWebKey{}}

	own := filepath.Join(dir, "keys.json")
	writeKeys(t, own, newKey(t, "rsa"), newECKey(t, "ec", "ES256", "sig"))
	rsaKey := newKey(t, "open-rsa")
	rsaKey.Algorithm, rsaKey.Use = "RSA-OAEP-256", "enc"
	var public jose.JSONWebKeySet
	for _, k := range []jose.JSONWebKey{newECKey(t, "sign", "ES256", "sig"), newECKey(t, "open", "ECDH-ES+A256KW", "enc"), rsaKey} {
		p.keys[k.KeyID] = k
		public.Keys = append(public.Keys, k.Public())
	}
	clientKeys, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	// The certificate that net/http/httptest has is good for 127.0.0.1.
	example := httptest.NewTLSServer(http.NotFoundHandler())
	example.Close()
	certificate := example.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	p.roots.AddCert(example.Certificate())
	files := map[string][]byte{
		"CLIENT_KEYS": clientKeys,
		"TLS_CERT":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		"TLS_KEY":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
	env = append(env, "PORT="+port, "KEYS="+own)
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+file)
	}
	p.caFile = filepath.Join(dir, "TLS_CERT")
	p.server = server{
		name: "oidc-provider",
		command: func() *exec.Cmd {
			cmd := exec.Command(node, script)
			cmd.Env = append(os.Environ(), env...)
			return cmd
		},
		ready: answers(&http.Client{Transport: p.transport()}, p.issuer+"/.well-known/openid-configuration"),
	}
	p.start(t)
	return p
}

// transport trusts the provider.
func (p *clientProvider) transport() http.RoundTripper { return trusting(p.roots) }

// trusting is a transport that trusts a provider, and keeps no connection.
func trusting(roots *x509.CertPool) http.RoundTripper {
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
}

const shopCallback = "https://shop.example.com/callback"

// open makes a client of the provider.
func (p *clientProvider) open(t *testing.T, change func(*client.Config)) *client.Client {
	t.Helper()
	cfg := client.Config{Issuer: p.issuer, ClientID: "shop", Auth: client.ClientSecretBasic{Secret: client.NewSecret("shop-secret")}}
	cfg.HTTP.RootCAs = p.roots
	change(&cfg)
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// signingKey is the key of the client bank.
func (p *clientProvider) signingKey() client.SigningKey {
	private, _ := p.keys["sign"].Key.(*ecdsa.PrivateKey)
	return client.SigningKey{Signer: private, Algorithm: oidc.ES256, KeyID: "sign"}
}

// logIn logs alice in at a client.
func (p *clientProvider) logIn(t *testing.T, c *client.Client, params client.AuthorizationParams) (*client.AuthorizationRequest, *client.TokenResponse, error) {
	t.Helper()
	params.RedirectURI = shopCallback
	return clientLogIn(t, c, p.transport(), params, map[string]string{"login": "alice", "password": "any"})
}

// responseModes are those that oidc/client reads, but for the synonyms.
var responseModes = []string{"", "form_post", "jwt", "form_post.jwt"}

// clientLogIn logs a person in at a client, with the scope openid and what params ask
// for. The transport is that of the browser.
func clientLogIn(t *testing.T, c *client.Client, transport http.RoundTripper, params client.AuthorizationParams, fields map[string]string) (*client.AuthorizationRequest, *client.TokenResponse, error) {
	t.Helper()
	params.Scopes = append([]string{"openid"}, params.Scopes...)
	begun, err := c.AuthorizationRequest(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	back := browse(t, transport, begun.URL, params.RedirectURI, fields)
	callback, err := c.ParseCallback(t.Context(), begun.Transaction, back)
	if err != nil {
		return begun, nil, err
	}
	answer, err := c.ExchangeCode(t.Context(), callback, client.TokenParams{Resources: params.Resources})
	return begun, answer, err
}

// clientLogsIn logs a person in at the provider's client shop, bound to a key if there
// is one.
func (p *provider) clientLogsIn(t *testing.T, key *dpop.Key, fields map[string]string) *client.TokenResponse {
	t.Helper()
	c, err := client.New(client.Config{
		Issuer: p.issuer, ClientID: "shop", Auth: client.ClientSecretBasic{Secret: client.NewSecret("shop-secret")}, DPoP: key,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, answer, err := clientLogIn(t, c, oneShot.Transport, client.AuthorizationParams{RedirectURI: callback}, fields)
	if err != nil || answer.ID == nil || answer.ID.Subject == "" {
		t.Fatal(answer, err)
	}
	return answer
}

// refreshOnce refreshes a session, and then with the same refresh token again.
func refreshOnce(t *testing.T, c *client.Client, answer *client.TokenResponse) {
	t.Helper()
	next, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: answer.ID})
	if err != nil || next.ID == nil || next.ID.Subject != answer.ID.Subject || next.RefreshToken.Equal(answer.RefreshToken) {
		t.Errorf("refreshed: %+v, %v", next, err)
	}
	if _, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{}); !errors.Is(err, client.ErrInvalidGrant) {
		t.Errorf("the same refresh token again: %v", err)
	}
}

func newDPoPKey(t *testing.T) *dpop.Key {
	t.Helper()
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// oidc/client logs in at npm's oidc-provider, in every way that both have.
func TestClientAtOIDCProvider(t *testing.T) {
	t.Parallel()
	p := startClientProvider(t, "DPOP_NONCE=1")
	orders := []string{"https://orders.example.com"}

	t.Run("a login by code and PKCE, in each response mode", func(t *testing.T) {
		for _, mode := range responseModes {
			c := p.open(t, func(*client.Config) {})
			_, answer, err := p.logIn(t, c, client.AuthorizationParams{
				ResponseMode: mode, MaxAge: time.Hour, Prompt: []string{"login"}, TokenParams: client.TokenParams{Resources: orders},
			})
			if err != nil {
				t.Fatalf("%q: %v", mode, err)
			}
			if answer.ID.Subject != "alice" || answer.ID.AuthTime.IsZero() || answer.TokenType != "Bearer" {
				t.Errorf("%q: %+v, %s", mode, answer.ID, answer.TokenType)
			}
			if !strings.Contains(claimsOf(answer.AccessToken.Reveal()), `"aud":"https://orders.example.com"`) {
				t.Errorf("%q: the access token says %s", mode, claimsOf(answer.AccessToken.Reveal()))
			}
		}
	})
	t.Run("a refresh token is replaced and good once", func(t *testing.T) {
		c := p.open(t, func(*client.Config) {})
		_, answer, err := p.logIn(t, c, client.AuthorizationParams{})
		if err != nil {
			t.Fatal(err)
		}
		refreshOnce(t, c, answer)
	})
	t.Run("a pushed request", func(t *testing.T) {
		c := p.open(t, func(cfg *client.Config) { cfg.PushedRequests = true })
		begun, answer, err := p.logIn(t, c, client.AuthorizationParams{})
		if err != nil || answer.ID.Subject != "alice" {
			t.Fatal(answer, err)
		}
		if !strings.Contains(begun.URL, "request_uri=") || strings.Contains(begun.URL, "redirect_uri=") {
			t.Error(begun.URL)
		}
	})
	t.Run("authorization details", func(t *testing.T) {
		c := p.open(t, func(cfg *client.Config) { cfg.PushedRequests = true })
		_, answer, err := p.logIn(t, c, client.AuthorizationParams{TokenParams: client.TokenParams{
			Resources: orders, AuthorizationDetails: json.RawMessage(`[{"type":"order","actions":["cancel"],"locations":["https://orders.example.com"]}]`),
		}})
		if err != nil || !strings.Contains(string(answer.AuthorizationDetails), "cancel") {
			t.Fatal(answer, err)
		}
	})
	t.Run("a login that needs a page is refused where there may be none", func(t *testing.T) {
		c := p.open(t, func(*client.Config) {})
		if _, _, err := p.logIn(t, c, client.AuthorizationParams{Prompt: []string{"none"}}); !errors.Is(err, client.ErrLoginRequired) {
			t.Error(err)
		}
	})
	t.Run("a login that is bound to a DPoP key, with nonces", func(t *testing.T) {
		attempts := map[client.Endpoint]int{}
		key, thief := newDPoPKey(t), newDPoPKey(t)
		c := p.open(t, func(cfg *client.Config) {
			cfg.ClientID, cfg.Auth, cfg.DPoP = "app", client.None{}, key
			cfg.OnRequest = func(e client.RequestEvent) { attempts[e.Endpoint] += e.Attempts }
		})
		_, answer, err := p.logIn(t, c, client.AuthorizationParams{TokenParams: client.TokenParams{Resources: orders}})
		if err != nil {
			t.Fatal(err)
		}
		if answer.TokenType != "DPoP" || !strings.Contains(claimsOf(answer.AccessToken.Reveal()), key.Thumbprint()) {
			t.Errorf("%s, %s", answer.TokenType, claimsOf(answer.AccessToken.Reveal()))
		}
		if attempts[client.TokenEndpoint] != 2 { // the first to learn the nonce
			t.Errorf("%d attempts", attempts[client.TokenEndpoint])
		}
		next, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: answer.ID})
		if err != nil || attempts[client.TokenEndpoint] != 3 {
			t.Fatalf("refresh: %v after %d attempts", err, attempts[client.TokenEndpoint])
		}
		other := p.open(t, func(cfg *client.Config) { cfg.ClientID, cfg.Auth, cfg.DPoP = "app", client.None{}, thief })
		var refusal *client.OAuthError
		if _, err := other.Refresh(t.Context(), next.RefreshToken, client.RefreshParams{}); !errors.As(err, &refusal) {
			t.Errorf("the refresh token with another key: %v", err)
		}
		wantUsable(t, oidc.IssuerConfig{Issuer: p.issuer, Audiences: orders, HTTP: oidc.HTTPConfig{CAFile: p.caFile}}, c, answer, key, thief)
	})
	t.Run("an encrypted ID token", func(t *testing.T) {
		d, err := oidc.NewDecrypter(
			oidc.DecryptionKey{ID: "open", Algorithm: oidc.ECDHESA256KW, Private: p.keys["open"].Key},
			oidc.DecryptionKey{ID: "open-rsa", Algorithm: oidc.RSAOAEP256, Private: p.keys["open-rsa"].Key},
		)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"sealed", "sealed-rsa"} {
			auth := client.ClientSecretBasic{Secret: client.NewSecret(id + "-secret")}
			c := p.open(t, func(cfg *client.Config) { cfg.ClientID, cfg.Auth, cfg.Decrypter = id, auth, d })
			_, answer, err := p.logIn(t, c, client.AuthorizationParams{})
			if err != nil || answer.ID.Subject != "alice" || strings.Count(answer.IDToken.Reveal(), ".") != 4 {
				t.Errorf("%s: %+v, %v", id, answer, err)
			}
			blind := p.open(t, func(cfg *client.Config) { cfg.ClientID, cfg.Auth = id, auth })
			if _, _, err := p.logIn(t, blind, client.AuthorizationParams{}); oidc.ReasonOf(err) != oidc.MalformedToken {
				t.Errorf("%s without a Decrypter: %v", id, err)
			}
		}
	})
	t.Run("a signed request and its signed answer, by a client with a key", func(t *testing.T) {
		c := p.open(t, func(cfg *client.Config) {
			cfg.ClientID, cfg.DPoP, cfg.PushedRequests = "bank", newDPoPKey(t), true
			cfg.Auth, cfg.RequestKey = client.PrivateKeyJWT{Key: p.signingKey()}, p.signingKey()
		})
		_, answer, err := p.logIn(t, c, client.AuthorizationParams{ResponseMode: "jwt"})
		if err != nil || answer.ID.Subject != "alice" {
			t.Error(answer, err)
		}
	})
	t.Run("the profiles of FAPI 2.0", func(t *testing.T) {
		for _, profile := range []client.Profile{client.ProfileFAPI2, client.ProfileFAPI2MessageSigning} {
			c := p.open(t, func(cfg *client.Config) {
				cfg.ClientID, cfg.Profile, cfg.DPoP = "bank", profile, newDPoPKey(t)
				cfg.Auth, cfg.RequestKey = client.PrivateKeyJWT{Key: p.signingKey()}, p.signingKey()
			})
			begun, answer, err := p.logIn(t, c, client.AuthorizationParams{TokenParams: client.TokenParams{Resources: orders}})
			if err != nil {
				t.Fatalf("%s: %v", profile, err)
			}
			if answer.ID.Subject != "alice" || answer.TokenType != "DPoP" || strings.Contains(begun.URL, "state=") {
				t.Errorf("%s: %+v, %s, %s", profile, answer.ID, answer.TokenType, begun.URL)
			}
			if _, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: answer.ID}); err != nil {
				t.Errorf("%s: refresh: %v", profile, err)
			}
		}
	})
}
