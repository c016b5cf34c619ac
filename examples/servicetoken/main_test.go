package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stockAPI is the other service: it wants a token of the issuer with a scope.
func stockAPI(t *testing.T, issuer *oidctest.Issuer) string {
	t.Helper()
	validator, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(validator.Close)
	guard, err := middleware.New(middleware.Config{Validator: validator, Scopes: []string{"stock.read"}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := middleware.TokenFrom(r.Context())
		fmt.Fprintf(w, "the stock, for %s", token.ClientID)
	})))
	t.Cleanup(server.Close)
	return server.URL + "/stock"
}

func TestThreeCallsWithOneToken(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := stockAPI(t, issuer)
	for _, tt := range []struct {
		rule, scope, want string
	}{
		{"with the scope", "stock.read", strings.Repeat("200 OK: the stock, for orders\n", 3)},
		{"without", "stock.write", strings.Repeat(`403 Forbidden: {"error":"insufficient_scope","error_description":"The access token lacks a scope"}`+"\n", 3)},
	} {
		before := issuer.Requests(oidctest.Token)
		var out strings.Builder
		if err := run(t.Context(), issuer.URL, "orders", secret, tt.scope, target, &out); err != nil {
			t.Fatal(err)
		}
		if asked := issuer.Requests(oidctest.Token) - before; out.String() != tt.want || asked != 1 {
			t.Errorf("%s: %d token requests\n%s", tt.rule, asked, out.String())
		}
	}
}

func TestTheProgramSaysWhatIsWrong(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("last-year's"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ id, secret, target, want string }{
		{"orders", secret, "http://127.0.0.1:1/stock", "invalid_client"},
		{"orders", secret + "-that-is-not-there", "http://127.0.0.1:1/stock", "no such file"},
		{"", secret, "http://127.0.0.1:1/stock", "ClientID"},
		{"orders", secret, "http://stock.example.com/", "plain http"},
	} {
		err := run(t.Context(), issuer.URL, tt.id, tt.secret, "stock.read", tt.target, &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want %s: %v", tt.want, err)
		}
	}
}
