package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// A service gets a token for itself.
func Example() {
	provider := oidctest.NewIssuer()
	defer provider.Close()
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})

	c, err := client.New(client.Config{
		Issuer:   provider.URL,
		ClientID: "orders",
		Auth:     client.ClientSecretBasic{Secret: client.NewSecret("s3cret")},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	token, err := c.ClientCredentials(context.Background(), client.TokenParams{Scopes: []string{"stock.read"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.TokenType, token.AccessToken, token.Scopes)
	// Output:
	// Bearer REDACTED [stock.read]
}

// A refusal says why, and whether to try again.
func ExampleOAuthError() {
	provider := oidctest.NewIssuer()
	defer provider.Close()
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})
	c, err := client.New(client.Config{
		Issuer:   provider.URL,
		ClientID: "orders",
		Auth:     client.ClientSecretBasic{Secret: client.NewSecret("last-year's")},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = c.ClientCredentials(context.Background(), client.TokenParams{})
	fmt.Println(err)
	fmt.Println(errors.Is(err, client.ErrInvalidClient), client.IsRetryable(err))
	// Output:
	// client: token_endpoint: the provider answered invalid_client: "wrong secret" (status 401)
	// true false
}

// Calls between services: the token is asked for once, replaced before it ends, and
// sent to one origin only.
func ExampleTransport() {
	provider := oidctest.NewIssuer()
	defer provider.Close()
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})
	stock := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		fmt.Fprintf(w, "hello, bearer of a token by the scheme %s", scheme)
	}))
	defer stock.Close()

	c, err := client.New(client.Config{
		Issuer:   provider.URL,
		ClientID: "orders",
		Auth:     client.ClientSecretBasic{Secret: client.NewSecret("s3cret")},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	source, err := c.ClientCredentialsSource(client.TokenParams{Scopes: []string{"stock.read"}}, client.SourceConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	transport, err := client.NewTransport(client.TransportConfig{Source: source, Origins: []string{stock.URL}, Base: &http.Transport{}})
	if err != nil {
		log.Fatal(err)
	}
	api := &http.Client{Transport: transport}
	defer api.CloseIdleConnections()

	for range 3 {
		resp, err := api.Get(stock.URL + "/items")
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(string(body))
	}
	fmt.Println("token requests:", provider.Requests(oidctest.Token))
	// Output:
	// hello, bearer of a token by the scheme Bearer
	// hello, bearer of a token by the scheme Bearer
	// hello, bearer of a token by the scheme Bearer
	// token requests: 1
}
