// Command api is an HTTP service that validates its callers' tokens itself.
//
//	go run ./examples/api -issuer https://id.example.com/realms/shop -audience orders-api
//	curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/orders
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/middleware"
)

func main() {
	issuer := flag.String("issuer", "", "the issuer of the tokens")
	audience := flag.String("audience", "", "who this service is in the tokens' aud")
	origin := flag.String("origin", "http://127.0.0.1:8080", "this service's URL as clients see it")
	listen := flag.String("listen", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *issuer, *audience, *origin, *listen)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, issuer, audience, origin, listen string) error {
	validator, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer, Name: "main", Audiences: []string{audience}}},
		Cache:   oidc.CacheConfig{MaxEntries: 10_000, MaxBytes: 16 << 20},
		Logger:  slog.Default(),
	})
	if err != nil {
		return err
	}
	defer validator.Close()
	go validator.Run(ctx) //nolint:errcheck // it fails only if it runs already; keys are kept fresh, so that requests need not wait

	handler, err := newHandler(validator, issuer, origin)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended: // it could not listen
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(patience), ignoreClosed(<-ended))
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newHandler makes the service: orders for callers with a token, which may be
// bound to a key by DPoP, and metadata for everybody.
func newHandler(validator *oidc.Validator, issuer, origin string) (http.Handler, error) {
	proofs, err := dpop.NewVerifier(dpop.Config{})
	if err != nil {
		return nil, err
	}
	metadata, err := middleware.NewMetadata(middleware.Metadata{
		Resource: origin, AuthorizationServers: []string{issuer}, Scopes: []string{"orders.write"}, DPoP: proofs.Algorithms(),
	})
	if err != nil {
		return nil, err
	}
	guard, err := middleware.New(middleware.Config{
		Validator: validator, Realm: "orders", ResourceMetadata: metadata.URL(),
		DPoP: proofs, Origin: origin,
		OnDecision: func(ctx context.Context, d middleware.Decision) {
			if !d.Allowed() { // the client learns less than the log
				slog.WarnContext(ctx, "refused", "reason", string(d.Reason()), "error", d.Err())
			}
		},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(metadata.Path(), metadata)
	mux.Handle("GET /orders", guard.Handler(http.HandlerFunc(list)))
	mux.Handle("POST /orders", guard.Handler(guard.RequireScopes("orders.write")(http.HandlerFunc(create))))
	return mux, nil
}

func list(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.TokenFrom(r.Context()) // there is one: nobody gets here without
	fmt.Fprintf(w, "the orders of %s\n", token.Subject)
}

func create(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.TokenFrom(r.Context())
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "an order of %s, by the client %s\n", token.Subject, token.ClientID)
}
