package client_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// payload decodes a token's claims, unverified.
func payload(t *testing.T, token string) map[string]any {
	t.Helper()
	var claims map[string]any
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestTokenExchange(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	subject := client.TypedToken{Token: client.NewSecret(provider.Token(map[string]any{"sub": "alice"})), Type: client.TypeAccessToken}
	actor := client.TypedToken{Token: client.NewSecret(provider.Token(map[string]any{"sub": "orders"})), Type: client.TypeAccessToken}
	answer, err := c.TokenExchange(t.Context(), subject, client.ExchangeParams{
		Actor: actor, RequestedType: client.TypeAccessToken,
		TokenParams: client.TokenParams{Audiences: []string{"stock", "billing"}, Resources: []string{"https://stock.example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	claims := payload(t, answer.AccessToken.Reveal())
	act, _ := claims["act"].(map[string]any)
	aud, _ := claims["aud"].([]any)
	if claims["sub"] != "alice" || act["sub"] != "orders" || len(aud) != 3 || answer.IssuedTokenType != client.TypeAccessToken {
		t.Errorf("%s: %v", answer.IssuedTokenType, claims)
	}

	forged := client.TypedToken{Token: client.NewSecret(provider.Token(nil, oidctest.Forged())), Type: client.TypeAccessToken}
	_, err = c.TokenExchange(t.Context(), forged, client.ExchangeParams{})
	if !errors.Is(err, client.ErrInvalidRequest) || strings.Contains(err.Error(), forged.Token.Reveal()) {
		t.Errorf("a forged token: %v", err)
	}
	for _, tt := range []struct {
		subject, actor client.TypedToken
		want           string
	}{
		{client.TypedToken{}, client.TypedToken{}, "client: the subject's token or its type is empty"},
		{client.TypedToken{Token: subject.Token}, client.TypedToken{}, "client: the subject's token or its type is empty"},
		{subject, client.TypedToken{Token: actor.Token}, "client: the actor's token and its type belong together"},
		{subject, client.TypedToken{Type: actor.Type}, "client: the actor's token and its type belong together"},
	} {
		if _, err := c.TokenExchange(t.Context(), tt.subject, client.ExchangeParams{Actor: tt.actor}); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	for body, want := range map[string]string{
		`{"access_token":"t","token_type":"N_A","issued_token_type":"urn:ietf:params:oauth:token-type:id_token"}`: "",
		`{"access_token":"t","token_type":"Bearer"}`:                                                              "client: token_endpoint: the answer has no issued_token_type",
		`{"access_token":"t","token_type":"pop","issued_token_type":"x"}`:                                         "client: token_endpoint: the answer's token_type is not Bearer: this client cannot use such a token",
	} {
		provider.Body(body, oidctest.Token)
		got := ""
		if _, err := c.TokenExchange(t.Context(), subject, client.ExchangeParams{}); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestJWTBearer(t *testing.T) {
	provider := start(t)
	key := oidctest.NewKey("PS256", "svc")
	provider.TrustAssertions("https://partner.example.com", key)
	c := open(t, provider, nil)
	claims := client.AssertionClaims{Issuer: "https://partner.example.com", Subject: "bob", Audience: provider.URL, More: map[string]any{"tenant": "t1"}}
	assertion, err := signingKey(key).SignAssertion(time.Now(), claims)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.JWTBearer(t.Context(), assertion, client.TokenParams{Scopes: []string{"orders.read"}})
	if err != nil {
		t.Fatal(err)
	}
	if sub := payload(t, answer.AccessToken.Reveal())["sub"]; sub != "bob" {
		t.Errorf("sub %v", sub)
	}
	said := payload(t, assertion.Reveal())
	if said["tenant"] != "t1" || said["jti"] == "" || said["exp"].(float64)-said["iat"].(float64) != 120 {
		t.Errorf("claims %v", said)
	}
	old, err := signingKey(key).SignAssertion(time.Now().Add(-time.Hour), claims)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.JWTBearer(t.Context(), old, client.TokenParams{}); !errors.Is(err, client.ErrInvalidGrant) {
		t.Errorf("an old assertion: %v", err)
	}
	if _, err := c.JWTBearer(t.Context(), client.Secret{}, client.TokenParams{}); err == nil {
		t.Error("an empty assertion was sent")
	}
	for _, bad := range []client.AssertionClaims{
		{}, {Issuer: "a", Subject: "b"}, {Issuer: "a", Subject: "b", Audience: "c", Lifetime: 2 * time.Hour},
		{Issuer: "a", Subject: "b", Audience: "c", Lifetime: -1}, {Issuer: "a", Subject: "b", Audience: "c", More: map[string]any{"exp": 1}},
		{Issuer: "a", Subject: "b", Audience: "c", More: map[string]any{"x": func() {}}},
	} {
		if s, err := signingKey(key).SignAssertion(time.Now(), bad); err == nil || !s.IsZero() {
			t.Errorf("%+v was signed", bad)
		}
	}
	if _, err := (client.SigningKey{Signer: key.Signer(), Algorithm: oidc.ES256}).SignAssertion(time.Now(), claims); err == nil {
		t.Error("a key signed with an algorithm that does not fit it")
	}
}
