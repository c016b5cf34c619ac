package interop_test

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
)

// addClient registers a client that users log in to at Keycloak.
func (k *keycloak) addClient(t *testing.T, id string, more map[string]any) {
	t.Helper()
	c := map[string]any{"clientId": id, "secret": id + "-secret", "redirectUris": []string{callback}}
	for name, value := range more {
		c[name] = value
	}
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	k.call(t, http.MethodPost, "/admin/realms/shop/clients", string(body), http.StatusCreated)
}

// open makes one of Keycloak's clients.
func (k *keycloak) open(t *testing.T, id string, change func(*client.Config)) *client.Client {
	t.Helper()
	cfg := client.Config{Issuer: k.issuer, ClientID: id, Auth: client.ClientSecretBasic{Secret: client.NewSecret(id + "-secret")}}
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

// logIn logs alice in at a client.
func (k *keycloak) logIn(t *testing.T, c *client.Client, params client.AuthorizationParams) (*client.AuthorizationRequest, *client.TokenResponse, error) {
	t.Helper()
	params.RedirectURI = callback
	return clientLogIn(t, c, oneShot.Transport, params, map[string]string{"username": "alice", "password": "alice-password"})
}

// loggedIn is the shop's client after a login that has nothing special.
func (k *keycloak) loggedIn(t *testing.T) (*client.Client, *client.TokenResponse) {
	t.Helper()
	c := k.open(t, "shop", nil)
	_, answer, err := k.logIn(t, c, client.AuthorizationParams{})
	if err != nil {
		t.Fatal(err)
	}
	return c, answer
}

// withoutIss has a client's answers lack iss. Keycloak writes it twice into one that is
// signed, as its issuer and as the parameter of RFC 9207, and then nobody can read it who
// refuses duplicate members.
const withoutIss = "exclude.issuer.from.auth.response"

func (k *keycloak) clientLogsInInEachMode(t *testing.T) {
	k.addClient(t, "signed", map[string]any{"attributes": map[string]string{withoutIss: "true"}})
	for _, mode := range responseModes {
		id := "shop"
		if strings.HasSuffix(mode, "jwt") {
			id = "signed"
		}
		c := k.open(t, id, nil)
		_, answer, err := k.logIn(t, c, client.AuthorizationParams{ResponseMode: mode, MaxAge: -1})
		if err != nil {
			t.Fatalf("%q: %v", mode, err)
		}
		if answer.ID.Subject == "" || answer.ID.SessionID == "" || answer.ID.AuthTime.IsZero() || answer.ID.AuthorizedParty != id || answer.TokenType != "Bearer" {
			t.Errorf("%q: %+v, %s", mode, answer.ID, answer.TokenType)
		}
	}
}

func (k *keycloak) clientRefreshes(t *testing.T) {
	k.call(t, http.MethodPut, "/admin/realms/shop", `{"revokeRefreshToken": true, "refreshTokenMaxReuse": 0}`, http.StatusNoContent)
	c, answer := k.loggedIn(t)
	refreshOnce(t, c, answer)
}

func (k *keycloak) clientPushes(t *testing.T) {
	c := k.open(t, "shop", func(cfg *client.Config) { cfg.PushedRequests = true })
	begun, answer, err := k.logIn(t, c, client.AuthorizationParams{})
	if err != nil || answer.ID == nil {
		t.Fatal(answer, err)
	}
	if !strings.Contains(begun.URL, "request_uri=") || strings.Contains(begun.URL, "redirect_uri=") {
		t.Error(begun.URL)
	}
}

func (k *keycloak) clientIsRefused(t *testing.T) {
	c := k.open(t, "shop", nil)
	if _, _, err := k.logIn(t, c, client.AuthorizationParams{Prompt: []string{"none"}}); !errors.Is(err, client.ErrLoginRequired) {
		t.Error(err)
	}
}

func (k *keycloak) clientHasDPoP(t *testing.T) {
	k.addClient(t, "bound", map[string]any{"publicClient": true, "attributes": map[string]string{"dpop.bound.access.tokens": "true"}})
	key, thief := newDPoPKey(t), newDPoPKey(t)
	c := k.open(t, "bound", func(cfg *client.Config) { cfg.Auth, cfg.DPoP = client.None{}, key })
	_, answer, err := k.logIn(t, c, client.AuthorizationParams{})
	if err != nil {
		t.Fatal(err)
	}
	if answer.TokenType != "DPoP" || !strings.Contains(claimsOf(answer.AccessToken.Reveal()), key.Thumbprint()) {
		t.Errorf("%s, %s", answer.TokenType, claimsOf(answer.AccessToken.Reveal()))
	}
	other := k.open(t, "bound", func(cfg *client.Config) { cfg.Auth, cfg.DPoP = client.None{}, thief })
	var refusal *client.OAuthError
	if _, err := other.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{}); !errors.As(err, &refusal) {
		t.Errorf("the refresh token with another key: %v", err)
	}
	if _, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: answer.ID}); err != nil {
		t.Error("refresh:", err)
	}
	wantUsable(t, oidc.IssuerConfig{Issuer: k.issuer, Preset: oidc.PresetKeycloak, AnyAudience: true}, c, answer, key, thief)
}

func (k *keycloak) clientSigns(t *testing.T) {
	key := newECKey(t, "bank-key", "ES256", "sig")
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	k.addClient(t, "bank", map[string]any{"clientAuthenticatorType": "client-jwt", "attributes": map[string]string{
		"use.jwks.string": "true", "jwks.string": string(public), "token.endpoint.auth.signing.alg": "ES256",
		"request.object.required": "request or request_uri", "request.object.signature.alg": "ES256", withoutIss: "true",
	}})
	private, _ := key.Key.(*ecdsa.PrivateKey)
	signing := client.SigningKey{Signer: private, Algorithm: oidc.ES256, KeyID: key.KeyID}
	for _, pushed := range []bool{false, true} {
		c := k.open(t, "bank", func(cfg *client.Config) {
			cfg.Auth, cfg.RequestKey, cfg.PushedRequests, cfg.DPoP = client.PrivateKeyJWT{Key: signing}, signing, pushed, newDPoPKey(t)
		})
		_, answer, err := k.logIn(t, c, client.AuthorizationParams{ResponseMode: "jwt", MaxAge: -1})
		if err != nil || answer.ID == nil || answer.TokenType != "DPoP" {
			t.Errorf("pushed %v: %v, %v", pushed, answer, err)
		}
	}
}
