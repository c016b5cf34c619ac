package middleware_test

import (
	"encoding/json"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
)

func TestMetadataOfAResource(t *testing.T) {
	for _, tt := range []struct {
		metadata        middleware.Metadata
		url, path, body string
	}{
		{
			middleware.Metadata{Resource: "https://api.example.com", AuthorizationServers: []string{"https://id.example.com"}, Scopes: []string{"a", "b"}},
			"https://api.example.com/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource",
			`{"resource":"https://api.example.com","authorization_servers":["https://id.example.com"],"scopes_supported":["a","b"],"bearer_methods_supported":["header"]}`,
		},
		{
			middleware.Metadata{Resource: "https://api.example.com/"},
			"https://api.example.com/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource",
			`{"resource":"https://api.example.com/","bearer_methods_supported":["header"]}`,
		},
		{
			middleware.Metadata{Resource: "https://api.example.com:8443/orders/v1", Name: "Orders", Documentation: "https://docs.example.com", CertificateBound: true,
				DPoP: []oidc.Algorithm{oidc.ES256}, NoBearer: true},
			"https://api.example.com:8443/.well-known/oauth-protected-resource/orders/v1", "/.well-known/oauth-protected-resource/orders/v1",
			`{"resource":"https://api.example.com:8443/orders/v1","resource_name":"Orders","resource_documentation":"https://docs.example.com","dpop_signing_alg_values_supported":["ES256"],"dpop_bound_access_tokens_required":true,"tls_client_certificate_bound_access_tokens":true}`,
		},
	} {
		h, err := middleware.NewMetadata(tt.metadata)
		if err != nil {
			t.Error(err)
			continue
		}
		if h.URL() != tt.url || h.Path() != tt.path {
			t.Errorf("%s, %s; want %s, %s", h.URL(), h.Path(), tt.url, tt.path)
		}
		w := ask(h, "GET", h.Path())
		if w.Code != 200 || w.Body.String() != tt.body || w.Header().Get("Content-Type") != "application/json" || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %v got\n%s, want\n%s", w.Code, w.Header(), w.Body, tt.body)
		}
		if w := ask(h, "POST", h.Path()); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST: %d %v", w.Code, w.Header())
		}
	}
}

func TestNewMetadataRefuses(t *testing.T) {
	for _, m := range []middleware.Metadata{
		{}, {Resource: "api.example.com"}, {Resource: "http://api.example.com"}, {Resource: "https://api.example.com?x"}, {Resource: "https://api.example.com#"},
		{Resource: "https://u@api.example.com"}, {Resource: "https://%"}, {Resource: "https://api.example.com", NoBearer: true},
	} {
		if _, err := middleware.NewMetadata(m); err == nil {
			t.Errorf("%+v is accepted", m)
		}
	}
	for _, resource := range []string{"http://127.0.0.1:8080/x", "http://localhost", "http://[::1]:1"} {
		if _, err := middleware.NewMetadata(middleware.Metadata{Resource: resource}); err != nil {
			t.Errorf("%s: %v", resource, err)
		}
	}
}
