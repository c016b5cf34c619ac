// Command dpop is an API that takes tokens with a proof of possession only (DPoP, RFC
// 9449), and a client of it: a token that somebody steals is worth nothing without the
// client's key.
//
//	go run ./examples/dpop -issuer https://id.example.com/realms/shop -audience orders-api
//	go run ./examples/dpop -issuer https://id.example.com/realms/shop -client shop -secret-file secret \
//		-call http://127.0.0.1:8084/orders
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/middleware"
)

func main() {
	issuer := flag.String("issuer", "", "the provider")
	audience := flag.String("audience", "", "the API: who it is in the tokens' aud")
	origin := flag.String("origin", "http://127.0.0.1:8084", "the API: its URL as clients see it")
	listen := flag.String("listen", "127.0.0.1:8084", "the API: the address to listen on")
	call := flag.String("call", "", "the client: what to call")
	id := flag.String("client", "", "the client: its ID")
	secret := flag.String("secret-file", "", "the client: the file with its secret")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if *call != "" {
		err = runClient(ctx, *issuer, *id, *secret, *call, os.Stdout)
	} else {
		err = runAPI(ctx, *issuer, *audience, *origin, *listen)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runAPI(ctx context.Context, issuer, audience, origin, listen string) error {
	validator, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer, Name: "main", Audiences: []string{audience}}},
		Cache:   oidc.CacheConfig{MaxEntries: 10_000, MaxBytes: 16 << 20},
		Logger:  slog.Default(),
	})
	if err != nil {
		return err
	}
	defer validator.Close()
	go validator.Run(ctx) //nolint:errcheck // it fails only if it runs already

	handler, err := newAPI(validator, origin)
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
	err = server.Shutdown(patience)
	if ended := <-ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// newAPI makes the API. Each proof has to carry a nonce of the last two minutes by
// the API's own clock, and is good once.
func newAPI(validator *oidc.Validator, origin string) (http.Handler, error) {
	key := make([]byte, 32) // replicas behind one address need the same
	rand.Read(key)          // it never fails
	nonces, err := dpop.NewNonces(key)
	if err != nil {
		return nil, err
	}
	proofs, err := dpop.NewVerifier(dpop.Config{Nonces: nonces})
	if err != nil {
		return nil, err
	}
	guard, err := middleware.New(middleware.Config{
		Validator: validator, Realm: "orders",
		DPoP: proofs, Origin: origin, NoBearer: true,
		OnDecision: func(ctx context.Context, d middleware.Decision) {
			if !d.Allowed() { // the client learns less than the log
				slog.WarnContext(ctx, "refused", "reason", string(d.Reason()), "error", d.Err())
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := middleware.TokenFrom(r.Context()) // there is one: nobody gets here without
		fmt.Fprintf(w, "the orders, for %s", token.ClientID)
	})), nil
}

func runClient(ctx context.Context, issuer, id, secret, target string, out io.Writer) error {
	key, err := dpop.GenerateKey() // it lives as long as the program, and so do the tokens
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{
		Issuer: issuer, ClientID: id,
		Auth: client.ClientSecretBasic{Secret: client.SecretFile(secret)},
		DPoP: key, // the provider binds tokens to it
	})
	if err != nil {
		return err
	}
	defer c.Close()
	source, err := c.ClientCredentialsSource(client.TokenParams{}, client.SourceConfig{})
	if err != nil {
		return err
	}
	defer source.Close() // before the client
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	transport, err := client.NewTransport(client.TransportConfig{
		Source: source, Origins: []string{u.Scheme + "://" + u.Host},
		DPoP: key, // each request gets a proof of its own, with the API's nonce
	})
	if err != nil {
		return err
	}
	api := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	defer api.CloseIdleConnections()
	for range 2 {
		if err := call(ctx, api, target, out); err != nil {
			return err
		}
	}
	return nil
}

func call(ctx context.Context, c *http.Client, target string, out io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %s\n", answer.Status, body)
	return err
}
