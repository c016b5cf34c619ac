package client_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// Metadata is fetched when it is needed, kept, fetched again when it is old, and
// holds while it cannot be fetched.
func TestMetadataIsKept(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	provider := start(t)
	var fetches []string
	var log strings.Builder
	c := open(t, provider, func(cfg *client.Config) {
		cfg.Clock = func() time.Time { return now }
		cfg.OnFetch = func(e oidc.FetchEvent) { fetches = append(fetches, string(e.Result)) }
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	want := func(what string, requests int) {
		t.Helper()
		m, err := c.Metadata(t.Context())
		if err != nil || m.Issuer != provider.URL || m.Endpoints[client.TokenEndpoint] != provider.URLOf(oidctest.Token) {
			t.Errorf("%s: %+v %v", what, m, err)
		}
		if n := provider.Requests(oidctest.OpenIDDiscovery); n != requests {
			t.Errorf("%s: %d requests, want %d", what, n, requests)
		}
	}
	if provider.Requests() != 0 {
		t.Error("New has made a request")
	}
	want("first", 1)
	want("again", 1)
	now = now.Add(2 * time.Hour)
	want("old", 2)

	provider.Fail(http.StatusBadGateway)
	now = now.Add(2 * time.Hour)
	want("a provider that fails", 3)
	want("a provider that fails, at once again", 3)
	now = now.Add(2 * time.Second)
	want("a provider that fails, later", 4)
	provider.Recover()
	provider.Lie("https://other.example.com")
	now = now.Add(2 * time.Minute)
	want("a provider that lies", 5)
	provider.Recover()
	now = now.Add(2 * time.Minute)
	want("a provider that is well", 6)
	if got := strings.Join(fetches, " "); got != "ok ok status status status status refused refused ok" {
		t.Errorf("fetches %s", got)
	}
	if n := strings.Count(log.String(), "the provider's metadata could not be fetched"); n != 6 {
		t.Errorf("%d failures are logged, want 6: %s", n, log.String())
	}
}

func TestMetadataThatCannotBeHad(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	provider := start(t)
	provider.Lie(provider.URL + "/")
	c := open(t, provider, func(cfg *client.Config) { cfg.Clock = func() time.Time { return now } })
	for range 3 {
		_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
		if err == nil || !strings.Contains(err.Error(), "it has a / at its end") || client.IsRetryable(err) {
			t.Errorf("got %v", err)
		}
	}
	if n := provider.Requests(oidctest.OpenIDDiscovery); n != 1 {
		t.Errorf("%d requests, want 1: the others come too soon", n)
	}
	provider.Recover()
	now = now.Add(2 * time.Second)
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Error(err)
	}
}

// Both places of metadata are asked, and a connection that breaks is tried once
// more.
func TestMetadataIsLookedFor(t *testing.T) {
	provider := start(t, oidctest.WithPath("/realms/shop"))
	provider.Fail(http.StatusNotFound, oidctest.OpenIDDiscovery)
	if _, err := open(t, provider, nil).ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Errorf("at the place of RFC 8414: %v", err)
	}
	provider.Recover()
	before := provider.Requests(oidctest.OpenIDDiscovery)
	provider.Respond(func(http.ResponseWriter, *http.Request) {
		provider.Recover()
		panic(http.ErrAbortHandler)
	}, oidctest.OpenIDDiscovery)
	if _, err := open(t, provider, nil).ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Errorf("after a connection that broke: %v", err)
	}
	if n := provider.Requests(oidctest.OpenIDDiscovery) - before; n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// An endpoint is called only where the rules let requests go.
func TestEndpointPolicy(t *testing.T) {
	provider := start(t)
	other := start(t)
	u, err := url.Parse(provider.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		endpoint any
		hosts    []string
		want     string
	}{
		{"https://169.254.169.254/token", nil, "refused: link-local or metadata address 169.254.169.254"},
		{"http://id.example.com/token", nil, "client: the provider's token_endpoint is a plain http URL"},
		{"https://user:password@id.example.com/token", nil, "client: the provider's token_endpoint is a URL with a user or password in it"},
		{"ftp://id.example.com/token", nil, "client: the provider's token_endpoint is not an https URL"},
		{oidctest.Omit, nil, "client: the provider's metadata has no token_endpoint"},
		{7, nil, "client: the provider's metadata has no token_endpoint"},
		{other.URLOf(oidctest.Token), []string{u.Host}, "which is not one of EndpointHosts"},
		{provider.URLOf(oidctest.Token), []string{u.Host}, ""},
		{other.URLOf(oidctest.Token), nil, ""},
	} {
		provider.SetMetadata("token_endpoint", tt.endpoint)
		c := open(t, provider, func(cfg *client.Config) { cfg.EndpointHosts = tt.hosts })
		_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %s", tt.endpoint, err, tt.want)
		}
		if client.IsRetryable(err) {
			t.Errorf("%v: it can be tried again", tt.endpoint)
		}
		if err != nil && strings.Contains(err.Error(), "password@") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
}
