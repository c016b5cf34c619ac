package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClientAndAPI(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "shop", Method: "client_secret_basic", Secret: "s3cret"})
	issuer.RequireDPoPNonce("the-provider's")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	validator, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer validator.Close()
	server := httptest.NewUnstartedServer(nil)
	origin := "http://" + server.Listener.Addr().String()
	api, err := newAPI(validator, origin)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan http.Header, 100) // the client's requests
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		api.ServeHTTP(w, r)
	})
	server.Start()
	defer server.Close()

	var out strings.Builder
	if err := runClient(t.Context(), issuer.URL, "shop", secret, origin+"/orders", &out); err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("200 OK: the orders, for shop\n", 2); out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
	if len(seen) != 3 { // the first is sent again, with the nonce
		t.Fatalf("%d requests", len(seen))
	}
	<-seen
	<-seen
	last := <-seen
	_, stolen, _ := strings.Cut(last.Get("Authorization"), " ")
	for rule, header := range map[string]http.Header{
		"as a bearer token":    {"Authorization": {"Bearer " + stolen}},
		"without a proof":      {"Authorization": {"DPoP " + stolen}},
		"with a proof of once": {"Authorization": {"DPoP " + stolen}, "Dpop": last.Values("DPoP")},
	} {
		r := httptest.NewRequest("GET", origin+"/orders", nil)
		r.Header = header
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if challenge := w.Header().Get("WWW-Authenticate"); w.Code != 401 || !strings.HasPrefix(challenge, "DPoP ") {
			t.Errorf("a stolen token, %s: %d %s %s", rule, w.Code, challenge, w.Body)
		}
	}
}

func TestTheProgramStartsAndEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runAPI(ctx, "http://127.0.0.1:1", "orders-api", "http://127.0.0.1:8084", "127.0.0.1:0"); err != nil {
		t.Error(err)
	}
	if err := runAPI(t.Context(), "http://127.0.0.1:1", "orders-api", "", "127.0.0.1:0"); err == nil {
		t.Error("an API that does not know its URL starts")
	}
	if err := runClient(t.Context(), "http://127.0.0.1:1", "", "secret", "http://127.0.0.1:1", &strings.Builder{}); err == nil {
		t.Error("a client without an ID starts")
	}
}
