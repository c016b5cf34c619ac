package client_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/middleware"
)

// A resource of package middleware, as a client finds it: by the challenge of its
// 401, and by the well-known place.
func TestDiscoverResource(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	resource := server.URL + "/orders"
	metadata, err := middleware.NewMetadata(middleware.Metadata{
		Resource: resource, AuthorizationServers: []string{"https://id.example.com"}, Scopes: []string{"orders.read"},
		Name: "Orders", DPoP: []oidc.Algorithm{oidc.ES256}, NoBearer: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle(metadata.Path(), metadata)
	mux.HandleFunc("/orders", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Www-Authenticate"] = oidc.Challenge{ResourceMetadata: metadata.URL()}.Values(oidc.MissingToken)
		w.WriteHeader(http.StatusUnauthorized)
	})
	answer, err := server.Client().Get(resource)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	named := client.ResourceMetadataURL(answer.Header)
	if named != metadata.URL() {
		t.Errorf("the challenge names %q", named)
	}
	for _, where := range []string{"", named} {
		r, err := client.DiscoverResource(t.Context(), resource, client.ResourceConfig{MetadataURL: where})
		if err != nil {
			t.Fatal(err)
		}
		if r.Resource != resource || !slices.Equal(r.AuthorizationServers, []string{"https://id.example.com"}) || !slices.Equal(r.Scopes, []string{"orders.read"}) ||
			r.Name != "Orders" || !r.DPoPRequired || !slices.Equal(r.DPoPAlgorithms, []string{"ES256"}) || len(r.Raw) == 0 {
			t.Errorf("got %+v", r)
		}
	}

	for _, tt := range []struct{ resource, where, want string }{
		{server.URL + "/other", named, "client: oauth-protected-resource: the metadata is of another resource than the one that is called (RFC 9728 section 3.3)"},
		{server.URL + "/nowhere", "", "client: oauth-protected-resource: status 404"},
		{"orders", "", "client: the resource is no absolute URL without user and fragment"},
		{"http://api.example.com/", "", "client: the URL of the resource's metadata is "},
		{resource, "file:///etc/passwd", "client: the URL of the resource's metadata is "},
		{resource, "https://169.254.169.254/", "client: oauth-protected-resource: GET https://169.254.169.254/: dial tcp 169.254.169.254:443: refused"},
	} {
		if r, err := client.DiscoverResource(t.Context(), tt.resource, client.ResourceConfig{MetadataURL: tt.where}); r != nil || !strings.HasPrefix(errText(err), tt.want) {
			t.Errorf("%s at %s\ngot  %v\nwant %s", tt.resource, tt.where, err, tt.want)
		}
	}
}

func TestTheChallengeNamesTheMetadata(t *testing.T) {
	for challenge, want := range map[string]string{
		`Bearer resource_metadata="https://a.example.com/.well-known/oauth-protected-resource"`: "https://a.example.com/.well-known/oauth-protected-resource",
		`Bearer error="invalid_token", resource_metadata="https://a.example.com/m"`:             "https://a.example.com/m",
		`Bearer x_resource_metadata="https://a.example.com/m"`:                                  "",
		`Bearer resource_metadata="https://a.example.com/\"m"`:                                  "",
		`Bearer resource_metadata="https://a.example.com/m`:                                     "",
		`Bearer`: "",
	} {
		if got := client.ResourceMetadataURL(http.Header{"Www-Authenticate": {challenge}}); got != want {
			t.Errorf("%s: %q", challenge, got)
		}
	}
}
