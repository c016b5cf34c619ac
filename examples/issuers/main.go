// Command issuers is an HTTP service for callers of several issuers: staff and
// partners read, staff alone deletes.
//
//	go run ./examples/issuers -staff https://id.example.com/realms/staff -partners https://login.example.net
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
)

func main() {
	staff := flag.String("staff", "", "the issuer of the staff's tokens")
	partners := flag.String("partners", "", "the issuer of the partners' tokens")
	listen := flag.String("listen", "127.0.0.1:8082", "the address to listen on")
	flag.Parse()
	if err := run(*staff, *partners, *listen); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(staff, partners, listen string) error {
	validator, err := newValidator(staff, partners)
	if err != nil {
		return err
	}
	defer validator.Close()
	go validator.Run(context.Background()) //nolint:errcheck // it fails only if it runs already

	handler, err := newHandler(validator)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

// newValidator makes the one validator for all of them. What an issuer may say is
// its own: the keys and algorithms, the audience, where roles and scopes are.
func newValidator(staff, partners string) (*oidc.Validator, error) {
	return oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{
			{Issuer: staff, Name: "staff", Audiences: []string{"backoffice"}, Preset: oidc.PresetKeycloak},
			{Issuer: partners, Name: "partners", Audiences: []string{"partner-api"}, Algorithms: []oidc.Algorithm{oidc.ES256}},
		},
		Cache: oidc.CacheConfig{MaxEntries: 10_000, MaxBytes: 16 << 20},
	})
}

func newHandler(validator *oidc.Validator) (http.Handler, error) {
	everybody, err := middleware.New(middleware.Config{Validator: validator})
	if err != nil {
		return nil, err
	}
	staffOnly, err := middleware.New(middleware.Config{Validator: validator, Issuers: []string{"staff"}})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /stock", everybody.Handler(http.HandlerFunc(hello)))
	mux.Handle("DELETE /stock", staffOnly.Handler(http.HandlerFunc(hello)))
	return mux, nil
}

// hello names the caller by issuer and subject together: issuers hand out the same
// subjects.
func hello(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.TokenFrom(r.Context()) // there is one: nobody gets here without
	fmt.Fprintf(w, "%s of %s\n", token.Subject, token.IssuerName)
}
