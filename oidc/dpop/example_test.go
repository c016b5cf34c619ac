package dpop_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// A client with a key, a token that is bound to it, and a resource server: the
// token is good with a proof, once, and worth nothing without.
func Example() {
	key, err := dpop.GenerateKey()
	if err != nil {
		log.Fatal(err)
	}
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	token := issuer.Token(map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint()}})

	validator, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"orders-api"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer validator.Close()
	verifier, err := dpop.NewVerifier(dpop.Config{})
	if err != nil {
		log.Fatal(err)
	}

	const url = "https://api.example.com/orders"
	proof, err := key.Proof(http.MethodGet, url+"?page=2", dpop.Options{AccessToken: token})
	if err != nil {
		log.Fatal(err)
	}
	judge := func(req oidc.Requirement) {
		if token, err := validator.Validate(context.Background(), token, req); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("hello", token.Subject)
		}
	}
	withProof := oidc.Requirement{Proof: oidc.Proof{
		DPoP: verifier.Check(dpop.Request{Proofs: []string{proof}, Method: http.MethodGet, URL: url}),
	}}
	judge(withProof)
	judge(withProof)
	judge(oidc.Requirement{}) // as a bearer token
	// Output:
	// hello alice
	// oidc: proof_replayed (jti): dpop: the proof was used before
	// oidc: proof_missing (cnf): the token is bound to a key, and came without a DPoP proof
}
