package frameworks

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// Each framework passes on what the guard lets through, answers as the guard
// does, and runs no handler of a request that is refused.
func TestFrameworks(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	validator, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer validator.Close()
	guard, err := middleware.New(middleware.Config{Validator: validator, Realm: "orders", Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	good := issuer.Token(nil)
	writer := issuer.Token(map[string]any{"scope": "orders.write"})
	forged := issuer.Token(nil, oidctest.Forged())

	type request struct {
		method, path, token string
		status              int
		body, challenge     string
	}
	const (
		missing      = `{"error":"unauthorized","error_description":"An access token is required"}`
		invalid      = `{"error":"invalid_token","error_description":"The access token is not valid"}`
		insufficient = `{"error":"insufficient_scope","error_description":"The access token lacks a scope"}`
	)
	rest := []request{
		{"GET", "/orders", good, 200, "alice", ""},
		{"GET", "/orders", "", 401, missing, `Bearer realm="orders"`},
		{"GET", "/orders", forged, 401, invalid, `Bearer realm="orders", error="invalid_token"`},
		{"POST", "/orders", writer, 201, "", ""},
		{"POST", "/orders", good, 403, insufficient, `Bearer realm="orders", error="insufficient_scope", scope="orders.write"`},
	}
	for name, tt := range map[string]struct {
		handler  http.Handler
		requests []request
	}{
		"chi":  {withChi(guard), rest},
		"echo": {withEcho(guard), rest},
		"gin":  {withGin(guard), rest},
		"connect": {withConnect(guard), []request{
			{"POST", "/grpc.health.v1.Health/Check", good, 200, `{"status":"SERVING_STATUS_SERVING"}`, ""},
			{"POST", "/grpc.health.v1.Health/Check", "", 401, missing, `Bearer realm="orders"`},
			{"POST", "/grpc.health.v1.Health/Check", forged, 401, invalid, `Bearer realm="orders", error="invalid_token"`},
		}},
	} {
		for _, want := range tt.requests {
			r := httptest.NewRequest(want.method, want.path, strings.NewReader("{}"))
			r.Header.Set("Content-Type", "application/json")
			if want.token != "" {
				r.Header.Set("Authorization", "Bearer "+want.token)
			}
			w := httptest.NewRecorder()
			tt.handler.ServeHTTP(w, r)
			if w.Code != want.status || w.Body.String() != want.body || w.Header().Get("WWW-Authenticate") != want.challenge {
				t.Errorf("%s: %s %s: %d %s %q", name, want.method, want.path, w.Code, w.Body, w.Header().Values("WWW-Authenticate"))
			}
		}
	}
}
