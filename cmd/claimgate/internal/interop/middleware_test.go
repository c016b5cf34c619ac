package interop_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/middleware"
)

// wantUsable uses a provider's token that is bound to a key at a service of ours,
// which wants its own nonces: by the client's transport it is good, and without its
// key it is good for nothing.
func wantUsable(t *testing.T, issuer oidc.IssuerConfig, c *client.Client, answer *client.TokenResponse, key, thief *dpop.Key) {
	t.Helper()
	issuer.Name = "provider"
	validator, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{issuer}})
	if err != nil {
		t.Fatal(err)
	}
	defer validator.Close()
	nonces, err := dpop.NewNonces([]byte("32 bytes that are no secret here"))
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := dpop.NewVerifier(dpop.Config{Nonces: nonces})
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewUnstartedServer(nil)
	origin := "http://" + service.Listener.Addr().String()
	guard, err := middleware.New(middleware.Config{Validator: validator, DPoP: proofs, Origin: origin, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	subject := ""
	service.Config.Handler = guard.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		token, _ := middleware.TokenFrom(r.Context())
		subject = token.Subject
	}))
	service.Start()
	defer service.Close()

	source, err := c.RefreshSource(answer, client.RefreshParams{}, client.SourceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	token := answer.AccessToken.Reveal()
	for _, tt := range []struct {
		rule   string
		key    *dpop.Key // of the transport; nil sends the token as a bearer token
		status int
	}{{"its key", key, 200}, {"another key", thief, 401}, {"as a bearer token", nil, 401}} {
		var base http.RoundTripper = service.Client().Transport
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/orders?page=2", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.key == nil {
			request.Header.Set("Authorization", "Bearer "+token)
		} else if base, err = client.NewTransport(client.TransportConfig{Source: source, Origins: []string{origin}, Base: base, DPoP: tt.key}); err != nil {
			t.Fatal(err)
		}
		answered, err := base.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answered.Body.Close()
		if answered.StatusCode != tt.status || tt.status == 200 && subject == "" {
			t.Errorf("%s: %d %q", tt.rule, answered.StatusCode, answered.Header.Values("WWW-Authenticate"))
		}
	}
}
