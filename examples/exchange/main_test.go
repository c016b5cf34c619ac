package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stockAPI is the second service: a token that is for the first is not good there.
func stockAPI(t *testing.T, issuer *oidctest.Issuer) string {
	t.Helper()
	validator, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"stock-api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(validator.Close)
	guard, err := middleware.New(middleware.Config{Validator: validator})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := middleware.TokenFrom(r.Context())
		fmt.Fprintf(w, "three apples for %s, by %s", token.Subject, token.ClientID)
	})))
	t.Cleanup(server.Close)
	return server.URL + "/stock"
}

func settingsFor(t *testing.T, issuer *oidctest.Issuer, secret string) settings {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return settings{
		issuer: issuer.URL, audience: "orders-api", id: "orders", secret: file,
		stock: stockAPI(t, issuer), stockAudience: "stock-api",
	}
}

func TestACallOnBehalfOfTheCaller(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})
	a, err := newService(settingsFor(t, issuer, "s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	alice, bob := issuer.Token(nil), issuer.Token(map[string]any{"sub": "bob"})
	for _, tt := range []struct {
		rule, token string
		status      int
		body        string
		exchanges   int // since the beginning
	}{
		{"alice", alice, 200, "ordered: three apples for alice, by orders\n", 1},
		{"alice again", alice, 200, "ordered: three apples for alice, by orders\n", 2},
		{"from then on with what was exchanged before", alice, 200, "ordered: three apples for alice, by orders\n", 2},
		{"bob does not get what is alice's", bob, 200, "ordered: three apples for bob, by orders\n", 3},
		{"nobody", issuer.Token(nil, oidctest.Forged()), 401, `{"error":"invalid_token","error_description":"The access token is not valid"}`, 3},
		{"who is known to the second service only", issuer.Token(map[string]any{"aud": "stock-api"}), 401, `{"error":"invalid_token","error_description":"The access token is not valid"}`, 3},
	} {
		status, body := ask(a.handler, tt.token)
		if n := issuer.Requests(oidctest.Token); status != tt.status || body != tt.body || n != tt.exchanges {
			t.Errorf("%s: %d %s, %d exchanges", tt.rule, status, body, n)
		}
	}
}

func TestTheCallerDoesNotLearnWhatIsWrongBehind(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})
	a, err := newService(settingsFor(t, issuer, "last-year's"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if status, body := ask(a.handler, issuer.Token(nil)); status != 502 || body != "The stock is not known now.\n" {
		t.Errorf("%d %s", status, body)
	}
}

// A second service that sends the call elsewhere does not send the token there.
func TestNoRedirectTakesTheTokenElsewhere(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})
	s := settingsFor(t, issuer, "s3cret")
	elsewhere := s.stock
	moved := httptest.NewServer(http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect))
	defer moved.Close()
	s.stock = moved.URL
	a, err := newService(s)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if status, body := ask(a.handler, issuer.Token(nil)); status != 502 {
		t.Errorf("%d %s", status, body)
	}
}

func ask(h http.Handler, token string) (int, string) {
	r := httptest.NewRequest("POST", "/orders", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestTheProgramStartsAndEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := settings{issuer: "http://127.0.0.1:1", audience: "orders-api", id: "orders", secret: "secret", stock: "http://127.0.0.1:1", stockAudience: "stock-api"}
	if err := run(ctx, s, "127.0.0.1:0"); err != nil {
		t.Error(err)
	}
	s.id = ""
	if err := run(t.Context(), s, "127.0.0.1:0"); err == nil {
		t.Error("a client without an ID is accepted")
	}
}
