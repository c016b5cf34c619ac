package client_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func respond(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body))
	}
}

func TestIntrospect(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	token := client.NewSecret(provider.Token(map[string]any{"scope": "orders.read orders.write", "client_id": "shop", "aud": []string{"orders"}}))
	i, err := c.Introspect(t.Context(), token, client.HintAccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if !i.Active || i.Subject != "alice" || i.ClientID != "shop" || !slices.Equal(i.Scopes, []string{"orders.read", "orders.write"}) ||
		!slices.Equal(i.Audience, []string{"orders"}) || i.Issuer != provider.URL || i.TokenType != "Bearer" || i.Expiry.IsZero() || i.ID == "" {
		t.Errorf("got %+v", i)
	}
	for name, bad := range map[string]string{
		"forged":  provider.Token(nil, oidctest.Forged()),
		"expired": provider.Token(map[string]any{"exp": 1}),
		"unknown": "opaque",
	} {
		i, err := c.Introspect(t.Context(), client.NewSecret(bad), "")
		if err != nil || i.Active || i.Subject != "" || i.Raw() != nil {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	if _, err := c.Introspect(t.Context(), client.Secret{}, ""); errText(err) != "client: the token is empty" {
		t.Errorf("got %v", err)
	}
}

func TestIntrospectTakesOnlyAClearYes(t *testing.T) {
	provider := start(t)
	now := time.Unix(1_800_000_000, 0)
	c := open(t, provider, func(cfg *client.Config) { cfg.Clock = func() time.Time { return now } })
	for body, want := range map[string]string{
		`{"active":true}`:                                 "active",
		`{"active":true,"aud":"orders"}`:                  "active",
		`{"active":true,"exp":1800000001}`:                "active",
		`{"active":true,"nbf":1800000030}`:                "active",
		`{"active":true,"exp":1800000001.5,"scope":null}`: "active",
		`{"active":true,"exp":1800000000}`:                "inactive",
		`{"active":true,"nbf":1800000031}`:                "inactive",
		`{"active":false,"sub":7}`:                        "inactive",
		`{}`:                                              "the answer's active is not true or false",
		`{"active":"true"}`:                               "the answer's active is not true or false",
		`{"active":1}`:                                    "the answer's active is not true or false",
		`{"Active":true}`:                                 "the answer's active is not true or false",
		`{"active":true,"exp":"1800000001"}`:              "the answer's exp is no time",
		`{"active":true,"exp":1e300}`:                     "the answer's exp is no time",
		`{"active":true,"nbf":{}}`:                        "the answer's nbf is no time",
		`{"active":true,"sub":7}`:                         "the answer's sub is no string",
		`{"active":true,"scope":["orders"]}`:              "the answer's scope is no string",
		`{"active":true,"aud":7}`:                         "the answer's aud is neither a string nor a list of strings",
		`[]`:                                              "the answer is no JSON object",
		`{"active":true,"active":false}`:                  "the answer is",
		`{"active":true}{"active":false}`:                 "the answer is",
		`{"active":true,"x":"` + strings.Repeat("x", 1<<20) + `"}`: "the answer is over 1 MiB",
	} {
		provider.Body(body, oidctest.Introspection)
		i, err := c.Introspect(t.Context(), client.NewSecret("opaque-token"), "")
		got := errText(err)
		switch {
		case err != nil && i != nil:
			t.Errorf("%.60s: an error and an answer", body)
		case err == nil && i.Active:
			got = "active"
		case err == nil:
			got = "inactive"
		}
		if !strings.HasPrefix(strings.TrimPrefix(got, "client: introspection_endpoint: "), want) {
			t.Errorf("%.60s\ngot  %s\nwant %s", body, got, want)
		}
	}
	provider.Fail(500, oidctest.Introspection)
	if _, err := c.Introspect(t.Context(), client.NewSecret("opaque-token"), ""); !client.IsRetryable(err) {
		t.Errorf("a failure is no answer: %v", err)
	}
}

func TestIntrospectSigned(t *testing.T) {
	provider := start(t)
	c := open(t, provider, func(cfg *client.Config) {
		cfg.IntrospectionAlgorithms = []oidc.Algorithm{oidc.Algorithm(provider.SigningKey().Algorithm)}
	})
	token := client.NewSecret(provider.Token(nil))
	if _, err := c.Introspect(t.Context(), token, ""); !strings.HasPrefix(errText(err), "client: introspection_endpoint: the answer is not signed") {
		t.Errorf("a plain answer to a client that is registered for signed ones: %v", err)
	}
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: secret, SignedIntrospection: true})
	i, err := c.Introspect(t.Context(), token, "")
	if err != nil || !i.Active || !i.Signed || i.Subject != "alice" {
		t.Fatalf("got %+v, %v", i, err)
	}
	if accept := provider.LastHeader(oidctest.Introspection).Get("Accept"); accept != "application/token-introspection+jwt" {
		t.Errorf("Accept: %s", accept)
	}
	active := map[string]any{"active": true}
	for name, answer := range map[string]string{
		"forged":                     provider.Introspection("orders", active, oidctest.Forged()),
		"for another":                provider.Introspection("billing", active),
		"an access token":            provider.Token(map[string]any{"aud": "orders", "token_introspection": active}),
		"says nothing":               provider.Introspection("orders", nil, oidctest.RawClaims([]byte(`{"iss":"`+provider.URL+`","aud":"orders","iat":1}`))),
		"active outside of its room": provider.Token(map[string]any{"aud": "orders", "active": true}, oidctest.Header("typ", "token-introspection+jwt")),
	} {
		provider.Respond(respond("application/token-introspection+jwt", answer), oidctest.Introspection)
		if i, err := c.Introspect(t.Context(), token, ""); i != nil || !errors.Is(err, oidc.ErrBadToken) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
}

// RFC 7662 section 2.2, the example of an answer.
func TestIntrospectRFC7662Example(t *testing.T) {
	provider := start(t)
	provider.Body(`{
      "active": true,
      "client_id": "l238j323ds-23ij4",
      "username": "jdoe",
      "scope": "read write dolphin",
      "sub": "Z5O3upPC88QrAjx00dis",
      "aud": "https://protected.example.net/resource",
      "iss": "https://server.example.com/",
      "exp": 1419356238,
      "iat": 1419350238,
      "extension_field": "twenty-seven"
     }`, oidctest.Introspection)
	c := open(t, provider, func(cfg *client.Config) { cfg.Clock = func() time.Time { return time.Unix(1419350300, 0) } })
	i, err := c.Introspect(t.Context(), client.NewSecret("2YotnFZFEjr1zCsicMWpAA"), "")
	if err != nil {
		t.Fatal(err)
	}
	extension, _ := i.Claims.Member("extension_field")
	if !i.Active || i.Username != "jdoe" || len(i.Scopes) != 3 || i.Expiry.Unix() != 1419356238 || extension.Text() != "twenty-seven" ||
		!slices.Equal(i.Audience, []string{"https://protected.example.net/resource"}) {
		t.Errorf("got %+v", i)
	}
}

func TestRevoke(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	access := client.NewSecret(provider.Token(map[string]any{"client_id": "orders"}))
	refresh := client.NewSecret(provider.RefreshToken("orders", "alice", "openid"))
	for _, token := range []client.Secret{access, refresh} {
		if i, err := c.Introspect(t.Context(), token, ""); err != nil || !i.Active {
			t.Fatalf("before: %+v, %v", i, err)
		}
		if err := c.Revoke(t.Context(), token, ""); err != nil {
			t.Fatal(err)
		}
		if i, err := c.Introspect(t.Context(), token, ""); err != nil || i.Active {
			t.Errorf("after: %+v, %v", i, err)
		}
		if err := c.Revoke(t.Context(), token, client.HintRefreshToken); err != nil {
			t.Errorf("a token that is gone already: %v", err)
		}
	}
	if _, err := c.Refresh(t.Context(), refresh, client.RefreshParams{}); !errors.Is(err, client.ErrInvalidGrant) {
		t.Errorf("a revoked refresh token: %v", err)
	}
	if err := c.Revoke(t.Context(), client.Secret{}, ""); errText(err) != "client: the token is empty" {
		t.Errorf("got %v", err)
	}
	if err := c.Revoke(t.Context(), access, "x-other"); !errors.Is(err, client.ErrUnsupportedTokenType) {
		t.Errorf("got %v", err)
	}
	provider.Respond(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	}, oidctest.Revocation)
	if err := c.Revoke(t.Context(), access, ""); !client.IsRetryable(err) || client.RetryAfter(err) != 7*time.Second {
		t.Errorf("got %v", err)
	}
}
