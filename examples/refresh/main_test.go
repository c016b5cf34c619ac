package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func ordersAPI(t *testing.T, issuer *oidctest.Issuer) string {
	t.Helper()
	validator, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"api"}}}})
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
		fmt.Fprintf(w, "the orders of %s", token.Subject)
	})))
	t.Cleanup(server.Close)
	return server.URL + "/orders"
}

// The provider takes each refresh token once.
func TestASessionOutlivesTheProgram(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "reports", Method: "client_secret_basic", Secret: "s3cret", RefreshTokens: true})
	target, secret := ordersAPI(t, issuer), write(t, "s3cret")
	first := issuer.RefreshToken("reports", "alice", "orders.read")
	kept := tokenFile(write(t, first))
	last := first
	for range 3 {
		var out strings.Builder
		if err := run(t.Context(), issuer.URL, "reports", secret, kept, target, &out); err != nil || out.String() != "200 OK: the orders of alice\n" {
			t.Fatalf("%v\n%s", err, out.String())
		}
		now, err := kept.read()
		if err != nil || now.Reveal() == last || now.IsZero() {
			t.Errorf("the file has the old token: %v", err)
		}
		last = now.Reveal()
	}
	info, err := os.Stat(string(kept))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(string(kept)), "*")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %q %v", left, err)
	}

	used := tokenFile(write(t, first)) // as if it were from a backup
	err = run(t.Context(), issuer.URL, "reports", secret, used, target, &strings.Builder{})
	if !errors.Is(err, client.ErrInvalidGrant) || !strings.HasPrefix(err.Error(), "the session is over") {
		t.Errorf("a token that was used: %v", err)
	}
}

// A token that cannot be kept is not used: the session would be lost with the program.
func TestATokenThatCannotBeKept(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "reports", Method: "client_secret_basic", Secret: "s3cret"})
	c, err := client.New(client.Config{Issuer: issuer.URL, ClientID: "reports", Auth: client.ClientSecretBasic{Secret: client.NewSecret("s3cret")}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	file := write(t, issuer.RefreshToken("reports", "alice", ""))
	source, err := newSource(c, tokenFile(file))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	if token, err := source.Token(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v %v", token, err)
	}
	if _, err := newSource(c, tokenFile(file)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	if _, err := newSource(c, tokenFile(write(t, "\n"))); err == nil {
		t.Error("an empty file is accepted")
	}
}
