package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func Example() {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()

	v, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"orders-api"}}},
		Cache:   oidc.CacheConfig{MaxEntries: 10_000, MaxBytes: 16 << 20},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()

	ctx := context.Background()
	token, err := v.Validate(ctx, issuer.Token(map[string]any{"scope": "orders.read"}), oidc.Requirement{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.IssuerName, token.Subject, token.Scopes)

	_, err = v.Validate(ctx, issuer.Token(nil, oidctest.Forged()), oidc.Requirement{})
	fmt.Println(oidc.ReasonOf(err), errors.Is(err, oidc.ErrBadToken))
	// Output:
	// shop alice [orders.read]
	// bad_signature true
}

// What a client gets to see comes from the reason, never from the error's text.
func ExampleChallenge() {
	c := oidc.Challenge{Realm: "orders"}
	for _, r := range []oidc.Reason{oidc.MissingToken, oidc.Expired, oidc.BadSignature, oidc.KeysUnavailable} {
		fmt.Println(r.Status(), c.Values(r))
	}
	// Output:
	// 401 [Bearer realm="orders"]
	// 401 [Bearer realm="orders", error="invalid_token", error_description="The access token expired"]
	// 401 [Bearer realm="orders", error="invalid_token"]
	// 503 []
}
