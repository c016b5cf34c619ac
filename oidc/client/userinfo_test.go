package client_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// errText is an error's text, "" for nil.
func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestUserInfo(t *testing.T) {
	provider := start(t)
	provider.SetUserInfo(map[string]any{"email": "alice@example.com"})
	c := open(t, provider, nil)
	token := client.NewSecret(provider.Token(map[string]any{"client_id": "orders"}))
	for _, params := range []client.UserInfoParams{{Subject: "alice"}, {AllowAnySubject: true}} {
		u, err := c.UserInfo(t.Context(), token, params)
		if err != nil {
			t.Fatal(err)
		}
		email, _ := u.Claims.Member("email")
		if u.Subject != "alice" || email.Text() != "alice@example.com" || u.Signed || !strings.Contains(string(u.Raw()), `"email"`) {
			t.Errorf("got %+v", u)
		}
	}

	for _, tt := range []struct {
		name   string
		token  client.Secret
		params client.UserInfoParams
		body   string
		want   string
	}{
		{"another subject than the ID token", token, client.UserInfoParams{Subject: "bob"}, "", "client: userinfo_endpoint: the answer is about another subject than the ID token: an access token that was put in its place (OpenID Connect Core 1.0 section 5.3.2)"},
		{"no subject to compare", token, client.UserInfoParams{}, "", "client: UserInfoParams.Subject is empty: give it the ID token's, with which the answer has to be compared"},
		{"no token", client.Secret{}, client.UserInfoParams{Subject: "alice"}, "", "client: the access token is empty"},
		{"no sub", token, client.UserInfoParams{AllowAnySubject: true}, `{"email":"x"}`, "client: userinfo_endpoint: the answer has no sub: it does not say who it is about"},
		{"a sub that is no string", token, client.UserInfoParams{AllowAnySubject: true}, `{"sub":7}`, "client: userinfo_endpoint: the answer has no sub: it does not say who it is about"},
		{"sub twice", token, client.UserInfoParams{Subject: "alice"}, `{"sub":"bob","sub":"alice"}`, `client: userinfo_endpoint: the answer is not valid JSON at byte 13: duplicate member "sub"`},
		{"not JSON", token, client.UserInfoParams{Subject: "alice"}, `sub=alice`, "client: userinfo_endpoint: the answer is not valid JSON at byte 0: a value is expected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			provider.Recover()
			if tt.body != "" {
				provider.Body(tt.body, oidctest.UserInfo)
			}
			_, err := c.UserInfo(t.Context(), tt.token, tt.params)
			if got := errText(err); !sameStart(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	provider.Recover()
	forged := client.NewSecret(provider.Token(nil, oidctest.Forged()))
	_, err := c.UserInfo(t.Context(), forged, client.UserInfoParams{Subject: "alice"})
	if !errors.Is(err, client.ErrInvalidToken) || client.IsRetryable(err) || strings.Contains(err.Error(), forged.Reveal()) {
		t.Errorf("a forged token: %v", err)
	}
	provider.Fail(503, oidctest.UserInfo)
	if _, err := c.UserInfo(t.Context(), token, client.UserInfoParams{Subject: "alice"}); !client.IsRetryable(err) {
		t.Errorf("a provider that is out of order: %v", err)
	}
}

// sameStart compares two texts up to where the parser of JSON says what it misses:
// that is not what these tests are about.
func sameStart(got, want string) bool {
	const json = "not valid JSON"
	if before, _, ok := strings.Cut(want, json); ok {
		return strings.HasPrefix(got, before)
	}
	return got == want
}

func TestUserInfoSigned(t *testing.T) {
	provider := start(t)
	c := open(t, provider, func(cfg *client.Config) {
		cfg.UserInfoAlgorithms = []oidc.Algorithm{oidc.Algorithm(provider.SigningKey().Algorithm)}
	})
	token := client.NewSecret(provider.Token(map[string]any{"client_id": "orders"}))
	alice := client.UserInfoParams{Subject: "alice"}
	if _, err := c.UserInfo(t.Context(), token, alice); !strings.HasPrefix(errText(err), "client: userinfo_endpoint: the answer is not signed") {
		t.Errorf("a plain answer to a client that is registered for signed ones: %v", err)
	}
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: secret, SignedUserInfo: true})
	u, err := c.UserInfo(t.Context(), token, alice)
	if err != nil || !u.Signed || u.Subject != "alice" {
		t.Fatalf("got %+v, %v", u, err)
	}
	if accept := provider.LastHeader(oidctest.UserInfo).Get("Accept"); accept != "application/jwt" {
		t.Errorf("Accept: %s", accept)
	}
	for name, answer := range map[string]string{
		"forged":             provider.IDToken("orders", nil, oidctest.Forged()),
		"for another client": provider.IDToken("billing", nil),
		"an ID token":        provider.IDToken("orders", map[string]any{"nonce": "n"}),
		"unsigned":           provider.IDToken("orders", nil, oidctest.Unsigned()),
	} {
		provider.Respond(respond("application/jwt", answer), oidctest.UserInfo)
		if u, err := c.UserInfo(t.Context(), token, alice); u != nil || !errors.Is(err, oidc.ErrBadToken) {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
}

func TestUserInfoIsAskedWithAProof(t *testing.T) {
	provider := start(t)
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, provider, func(cfg *client.Config) { cfg.DPoP = key })
	provider.RequireDPoPNonce("nonce-1")
	token := client.NewSecret(provider.Token(map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint()}}))
	if _, err := c.UserInfo(t.Context(), token, client.UserInfoParams{Subject: "alice"}); err != nil {
		t.Fatal(err)
	}
	unbound := client.NewSecret(provider.Token(nil))
	if _, err := c.UserInfo(t.Context(), unbound, client.UserInfoParams{Subject: "alice"}); !errors.Is(err, client.ErrInvalidToken) {
		t.Errorf("a token of nobody's key: %v", err)
	}
}
