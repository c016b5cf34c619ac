// Command exchange is a service that calls a second one on behalf of its caller: it
// exchanges the caller's token for one that is for the second service alone (RFC
// 8693), rather than to pass on one that is good here.
//
//	go run ./examples/exchange -issuer https://id.example.com/realms/shop -audience orders-api \
//		-client orders -secret-file secret -stock http://127.0.0.1:8080/stock -stock-audience stock-api
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/middleware"
)

func main() {
	var s settings
	flag.StringVar(&s.issuer, "issuer", "", "the provider, of the tokens too")
	flag.StringVar(&s.audience, "audience", "", "who this service is in the tokens' aud")
	flag.StringVar(&s.id, "client", "", "who this service is as a client")
	flag.StringVar(&s.secret, "secret-file", "", "the file with the client's secret")
	flag.StringVar(&s.stock, "stock", "", "the URL of the second service")
	flag.StringVar(&s.stockAudience, "stock-audience", "", "who the second service is in the tokens' aud")
	listen := flag.String("listen", "127.0.0.1:8083", "the address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s, *listen)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type settings struct {
	issuer, audience, id, secret, stock, stockAudience string
}

func run(ctx context.Context, s settings, listen string) error {
	a, err := newService(s)
	if err != nil {
		return err
	}
	defer a.close()
	go a.validator.Run(ctx) //nolint:errcheck // it fails only if it runs already

	server := &http.Server{Addr: listen, Handler: a.handler, ReadHeaderTimeout: 5 * time.Second}
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

type service struct {
	settings
	validator *oidc.Validator
	client    *client.Client
	http      *http.Client // to the second service
	handler   http.Handler
}

func newService(s settings) (*service, error) {
	validator, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: s.issuer, Name: "main", Audiences: []string{s.audience}}},
		Cache:   oidc.CacheConfig{MaxEntries: 10_000, MaxBytes: 16 << 20},
	})
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{Issuer: s.issuer, ClientID: s.id, Auth: client.ClientSecretBasic{Secret: client.SecretFile(s.secret)}})
	if err != nil {
		validator.Close()
		return nil, err
	}
	guard, err := middleware.New(middleware.Config{Validator: validator})
	if err != nil {
		c.Close()
		validator.Close()
		return nil, err
	}
	a := &service{settings: s, validator: validator, client: c, http: &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token goes nowhere else
	}}
	a.handler = guard.Handler(http.HandlerFunc(a.order))
	return a, nil
}

func (a *service) close() {
	a.http.CloseIdleConnections()
	a.client.Close()
	a.validator.Close()
}

func (a *service) order(w http.ResponseWriter, r *http.Request) {
	body, err := a.askStock(r)
	if err != nil { // the caller learns less than the log
		slog.ErrorContext(r.Context(), "stock", "error", err)
		http.Error(w, "The stock is not known now.", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "ordered: %s\n", body) //nolint:gosec // no browser takes plain text for a page
}

// askStock calls the second service for the caller of r.
func (a *service) askStock(r *http.Request) (string, error) {
	token, err := a.tokenForStock(r)
	if err != nil {
		return "", err
	}
	call, err := http.NewRequestWithContext(r.Context(), http.MethodGet, a.stock, nil)
	if err != nil {
		return "", err
	}
	call.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())
	answer, err := a.http.Do(call)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", a.stock, answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return string(body), err
}

// tokenForStock exchanges the token of a request that the guard has let through. What
// comes is kept beside the validated token, for the next requests that bring it. (The
// first one of all only fills the validator's cache: a caller with one request leaves
// nothing behind.)
func (a *service) tokenForStock(r *http.Request) (*client.TokenResponse, error) {
	caller, ok := middleware.TokenFrom(r.Context())
	if !ok {
		return nil, errors.New("no token: is there a guard before this?")
	}
	if kept, ok := caller.Kept().(*client.TokenResponse); ok && time.Until(kept.Expiry) > 30*time.Second {
		return kept, nil
	}
	_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token, err := a.client.TokenExchange(r.Context(),
		client.TypedToken{Token: client.NewSecret(strings.TrimSpace(bearer)), Type: client.TypeAccessToken},
		client.ExchangeParams{TokenParams: client.TokenParams{Audiences: []string{a.stockAudience}}})
	if err != nil {
		return nil, err
	}
	caller.Keep(token)
	return token, nil
}
