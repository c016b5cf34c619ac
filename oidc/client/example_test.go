package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

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
