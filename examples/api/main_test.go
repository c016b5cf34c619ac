package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAPI(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	validator, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"orders-api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer validator.Close()
	server := httptest.NewUnstartedServer(nil)
	origin := "http://" + server.Listener.Addr().String()
	handler, err := newHandler(validator, issuer.URL, origin)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = handler
	server.Start()
	defer server.Close()

	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	bound := issuer.Token(map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint()}})
	proof, err := key.Proof("GET", origin+"/orders", dpop.Options{AccessToken: bound})
	if err != nil {
		t.Fatal(err)
	}
	about := `resource_metadata="` + origin + `/.well-known/oauth-protected-resource"`
	for _, tt := range []struct {
		method  string
		headers map[string]string
		status  int
		body    string
		first   string // of WWW-Authenticate
	}{
		{"GET", map[string]string{"Authorization": "Bearer " + issuer.Token(nil)}, 200, "the orders of alice\n", ""},
		{"GET", nil, 401, `{"error":"unauthorized","error_description":"An access token is required"}`, `Bearer realm="orders", ` + about},
		{"GET", map[string]string{"Authorization": "Bearer " + bound}, 401, `{"error":"invalid_token","error_description":"The access token is not valid"}`, `Bearer realm="orders", error="invalid_token", ` + about},
		{"GET", map[string]string{"Authorization": "DPoP " + bound, "DPoP": proof}, 200, "the orders of alice\n", ""},
		{"POST", map[string]string{"Authorization": "Bearer " + issuer.Token(map[string]any{"scope": "orders.write"})}, 201, "an order of alice, by the client client\n", ""},
		{"POST", map[string]string{"Authorization": "Bearer " + issuer.Token(nil)}, 403, `{"error":"insufficient_scope","error_description":"The access token lacks a scope"}`, `Bearer realm="orders", error="insufficient_scope", scope="orders.write", ` + about},
	} {
		status, header, body := ask(t, server.Client(), tt.method, origin+"/orders", tt.headers)
		if status != tt.status || body != tt.body || header.Get("WWW-Authenticate") != tt.first {
			t.Errorf("%s %v: %d %s %q", tt.method, tt.headers, status, body, header.Values("WWW-Authenticate"))
		}
	}
	status, _, body := ask(t, server.Client(), "GET", origin+"/.well-known/oauth-protected-resource", nil)
	var metadata map[string]any
	if err := json.Unmarshal([]byte(body), &metadata); err != nil || status != 200 || metadata["resource"] != origin {
		t.Errorf("%d %s", status, body)
	}
}

func ask(t *testing.T, c *http.Client, method, url string, headers map[string]string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(body)
}

// The program starts although its issuer is down, and ends when it is told to.
func TestTheProgramStartsAndEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "http://127.0.0.1:1", "orders-api", "http://127.0.0.1:8080", "127.0.0.1:0") }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // nothing was sent
	if err := run(t.Context(), "http://127.0.0.1:1", "orders-api", "http://127.0.0.1:8080", taken.Addr().String()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("on an address that is taken: %v", err)
	}
}
