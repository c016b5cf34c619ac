package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// Inspect fetches metadata and keys, and none of its requests has anything of the
// token in it.
func TestInspectSendsTheTokenNowhere(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	var mu sync.Mutex
	var requests []string
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dump, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		requests = append(requests, string(dump))
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			_, _ = w.Write([]byte(`{"issuer":"` + server.URL + `","jwks_uri":"` + server.URL + `/keys"}`))
			return
		}
		_, _ = w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	}))
	defer server.Close()

	config := filepath.Join(t.TempDir(), "gate.yaml")
	if err := os.WriteFile(config, []byte("issuers: [{issuer: \""+server.URL+"\", audiences: [api]}]\npolicies: [{name: all}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := issuer.Token(map[string]any{"iss": server.URL, "sub": "the-subject"})
	var out strings.Builder
	if code := execute(t.Context(), []string{"inspect", "-", "--config", config}, streams{strings.NewReader(token), &out, &out}); code != exitDenied {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	if len(requests) != 2 {
		t.Errorf("%d requests, want those for metadata and keys:\n%s", len(requests), strings.Join(requests, "\n"))
	}
	for _, r := range requests {
		for _, part := range append(strings.Split(token, "."), "the-subject", "key-1", "Authorization") {
			if strings.Contains(r, part) {
				t.Errorf("a request has %q:\n%s", part, r)
			}
		}
	}
}
