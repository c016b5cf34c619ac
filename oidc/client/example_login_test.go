package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// A user logs in with a browser: one handler sends it away, another takes what it
// comes back with.
func ExampleClient_AuthorizationRequest() {
	ctx := context.Background()
	provider := oidctest.NewIssuer()
	defer provider.Close()
	provider.RegisterClient(oidctest.Client{ID: "shop", Method: "client_secret_basic", Secret: "s3cret", RedirectURIs: []string{"https://shop.example.com/callback"}})

	c, err := client.New(client.Config{
		Issuer:   provider.URL,
		ClientID: "shop",
		Auth:     client.ClientSecretBasic{Secret: client.NewSecret("s3cret")},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	request, err := c.AuthorizationRequest(ctx, client.AuthorizationParams{
		RedirectURI: "https://shop.example.com/callback",
		TokenParams: client.TokenParams{Scopes: []string{"openid", "orders.read"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	session := request.Transaction // in the user's session; the browser goes to request.URL
	r, err := provider.Browse(request.URL)
	if err != nil {
		log.Fatal(err)
	}

	callback, err := c.ParseCallback(ctx, session, r)
	if err != nil {
		log.Fatal(err)
	}
	token, err := c.ExchangeCode(ctx, callback, client.TokenParams{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.ID.Subject, token.Scopes, token.AccessToken)
	// Output:
	// alice [openid orders.read] REDACTED
}
