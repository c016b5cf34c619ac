// Command servicetoken is a service that calls another one in its own name: client
// credentials, with one token for all calls until it has to be replaced.
//
//	go run ./examples/servicetoken -issuer https://id.example.com/realms/shop -client orders -secret-file secret \
//		-scope stock.read -url http://127.0.0.1:8080/stock
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"time"

	"github.com/claimgate/claimgate/oidc/client"
)

func main() {
	issuer := flag.String("issuer", "", "the provider")
	id := flag.String("client", "", "the client ID")
	secret := flag.String("secret-file", "", "the file with the client's secret")
	scope := flag.String("scope", "", "the scope to ask for")
	target := flag.String("url", "", "what to call")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *issuer, *id, *secret, *scope, *target, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, issuer, id, secret, scope, target string, out io.Writer) error {
	c, err := client.New(client.Config{
		Issuer: issuer, ClientID: id,
		Auth:   client.ClientSecretBasic{Secret: client.SecretFile(secret)}, // read for each request: it may be replaced
		Logger: slog.Default(),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	source, err := c.ClientCredentialsSource(client.TokenParams{Scopes: []string{scope}}, client.SourceConfig{})
	if err != nil {
		return err
	}
	defer source.Close() // before the client
	stock, err := newCaller(source, target)
	if err != nil {
		return err
	}
	defer stock.CloseIdleConnections()
	for range 3 { // a service would go on for as long as it lives
		if err := call(ctx, stock, target, out); err != nil {
			return err
		}
	}
	return nil
}

// newCaller makes the HTTP client for calls to the service at target. The token goes
// to that origin alone: a request to another one, by a redirect for example, fails.
func newCaller(source *client.TokenSource, target string) (*http.Client, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	transport, err := client.NewTransport(client.TransportConfig{Source: source, Origins: []string{u.Scheme + "://" + u.Host}})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, nil
}

// call knows nothing of tokens.
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
