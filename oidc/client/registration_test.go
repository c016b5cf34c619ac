package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func registrar(t *testing.T, provider *oidctest.Issuer) *client.Registrar {
	t.Helper()
	r, err := client.NewRegistrar(client.Config{Issuer: provider.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestRegistration(t *testing.T) {
	provider := start(t)
	provider.SetInitialAccessToken("initial-token")
	r := registrar(t, provider)
	metadata := client.ClientMetadata{
		RedirectURIs: []string{"https://shop.example.com/cb"}, ClientName: "shop", GrantTypes: []string{"authorization_code"},
		TokenEndpointAuthMethod: "client_secret_basic", Extra: map[string]any{"x_team": "red"},
	}
	if _, err := r.Register(t.Context(), metadata, client.NewSecret("another-token")); !errors.Is(err, client.ErrInvalidToken) || strings.Contains(err.Error(), "another-token") {
		t.Errorf("a wrong initial access token: %v", err)
	}
	reg, err := r.Register(t.Context(), metadata, client.NewSecret("initial-token"))
	if err != nil {
		t.Fatal(err)
	}
	if reg.ClientID == "" || reg.ClientSecret.IsZero() || !reg.SecretExpiry.IsZero() || reg.AccessToken.IsZero() || reg.ManagementURI == "" ||
		reg.Metadata.ClientName != "shop" || !slices.Equal(reg.Metadata.RedirectURIs, metadata.RedirectURIs) || !strings.Contains(string(reg.Raw()), `"x_team":"red"`) {
		t.Errorf("got %+v", reg)
	}
	if text := fmt.Sprintf("%v %+v %#v", *reg, *reg, *reg); strings.Contains(text, reg.ClientSecret.Reveal()) || strings.Contains(text, reg.AccessToken.Reveal()) {
		t.Errorf("a secret is printed: %s", text)
	}

	// What was registered is a client that works.
	c, err := client.New(client.Config{Issuer: provider.URL, ClientID: reg.ClientID, Auth: client.ClientSecretBasic{Secret: reg.ClientSecret}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Error(err)
	}

	read, err := r.Read(t.Context(), reg)
	if err != nil {
		t.Fatal(err)
	}
	if read.AccessToken.Equal(reg.AccessToken) {
		t.Error("the provider rotates the access token, and the old one was kept")
	}
	if _, err := r.Read(t.Context(), reg); !errors.Is(err, client.ErrInvalidToken) {
		t.Errorf("the old access token: %v", err)
	}
	metadata.ClientName = "shop 2"
	updated, err := r.Update(t.Context(), read, metadata)
	if err != nil || updated.Metadata.ClientName != "shop 2" || updated.ClientID != reg.ClientID {
		t.Fatalf("got %+v, %v", updated, err)
	}
	if err := r.Delete(t.Context(), updated); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), updated); !errors.Is(err, client.ErrInvalidToken) {
		t.Errorf("a client that is gone: %v", err)
	}
}

func TestRegistrationRefuses(t *testing.T) {
	provider := start(t)
	r := registrar(t, provider)
	for _, tt := range []struct {
		metadata client.ClientMetadata
		want     string
	}{
		{client.ClientMetadata{RedirectURIs: []string{"/cb"}}, `client: "/cb" is no absolute URI without fragment`},
		{client.ClientMetadata{PostLogoutRedirectURIs: []string{"https://a.example.com/#x"}}, `client: "https://a.example.com/#x" is no absolute URI without fragment`},
		{client.ClientMetadata{JWKS: json.RawMessage(`{"keys":[]}`), JWKSURI: "https://a.example.com/keys"}, "client: JWKS and JWKSURI are both set (RFC 7591 section 2)"},
		{client.ClientMetadata{JWKS: json.RawMessage(`{`)}, "client: JWKS is no JSON"},
		{client.ClientMetadata{ClientName: "a", Extra: map[string]any{"client_name": "b"}}, `client: Extra has "client_name", which is not free`},
		{client.ClientMetadata{Extra: map[string]any{"client_secret": "b"}}, `client: Extra has "client_secret", which is not free`},
	} {
		if _, err := r.Register(t.Context(), tt.metadata, client.Secret{}); errText(err) != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	if n := provider.Requests(oidctest.Registration); n != 0 {
		t.Errorf("%d requests for what cannot be good", n)
	}
	if _, err := r.Register(t.Context(), client.ClientMetadata{TokenEndpointAuthMethod: "magic"}, client.Secret{}); !errors.Is(err, client.ErrInvalidClientMetadata) {
		t.Errorf("got %v", err)
	}
	for body, want := range map[string]string{
		`{}`:              "the answer has no client_id",
		`{"client_id":7}`: "the answer's client_id is no string",
		`{"client_id":"c","client_secret_expires_at":"soon"}`: "the answer's client_secret_expires_at is no time",
		`{"client_id":"c","redirect_uris":7}`:                 "the answer's metadata has a member of another type than RFC 7591 gives it",
		`{"client_id":"c","REDIRECT_URIS":7}`:                 "",
	} {
		provider.Respond(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(body))
		}, oidctest.Registration)
		_, err := r.Register(t.Context(), client.ClientMetadata{}, client.Secret{})
		if got := strings.TrimPrefix(errText(err), "client: registration_endpoint: "); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
		}
	}

	// A management URL is the provider's word, and held to the rules for it.
	for uri, want := range map[string]string{
		"":                               "client: the provider gave no registration_client_uri and registration_access_token: it has no management of clients (RFC 7592)",
		"https://169.254.169.254/latest": "client: registration_endpoint: GET https://169.254.169.254/latest: dial tcp 169.254.169.254:443: refused: link-local or metadata address",
		"file:///etc/passwd":             "client: the provider's registration_client_uri is ",
	} {
		reg := &client.Registration{ClientID: "c", AccessToken: client.NewSecret("manage-token"), ManagementURI: uri}
		if _, err := r.Read(t.Context(), reg); !strings.HasPrefix(errText(err), want) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if _, err := client.NewRegistrar(client.Config{Issuer: provider.URL, ClientID: "x"}); err == nil {
		t.Error("a Registrar with a client ID")
	}
	if _, err := client.NewRegistrar(client.Config{}); err == nil {
		t.Error("a Registrar of nobody")
	}
}
