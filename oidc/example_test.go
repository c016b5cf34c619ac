package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// One issuer, whose keys are found by discovery.
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

// Several issuers in one validator. A token is judged by the keys and rules of
// the issuer that it names and of no other; a Requirement narrows for one
// request which issuers and audiences are accepted. Run keeps the keys of all
// of them fresh, so that requests need not wait for a fetch.
func Example_manyIssuers() {
	staff := oidctest.NewIssuer(oidctest.WithAudience("backoffice"))
	defer staff.Close()
	partners := oidctest.NewIssuer(oidctest.WithAudience("partner-api"))
	defer partners.Close()

	v, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{
			{Issuer: staff.URL, Name: "staff", Audiences: []string{"backoffice"}},
			{Issuer: partners.URL, Name: "partners", Audiences: []string{"partner-api"}, Algorithms: []oidc.Algorithm{oidc.ES256}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- v.Run(ctx) }()

	staffOnly := oidc.Requirement{Issuers: []string{"staff"}}
	for _, token := range []string{staff.Token(nil), partners.Token(nil)} {
		for _, req := range []oidc.Requirement{{}, staffOnly} {
			if token, err := v.Validate(ctx, token, req); err != nil {
				fmt.Println(oidc.ReasonOf(err))
			} else {
				fmt.Println("a token of", token.IssuerName)
			}
		}
	}

	cancel()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	v.Close()
	// Output:
	// a token of staff
	// a token of staff
	// a token of partners
	// issuer_not_accepted
}

// Keys from a file, for an issuer that cannot be reached: nothing is fetched,
// and a changed file is read again.
func Example_staticKeys() {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(file, keySetOf(issuer), 0o600); err != nil {
		log.Fatal(err)
	}

	v, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{
			Issuer: issuer.URL, Name: "shop", Audiences: []string{"orders-api"},
			JWKSFile: file,
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	issuer.Down()
	token, err := v.Validate(context.Background(), issuer.Token(nil), oidc.Requirement{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Subject)
	// Output:
	// alice
}

// keySetOf downloads an issuer's key set, as one does once and by hand.
func keySetOf(issuer *oidctest.Issuer) []byte {
	resp, err := http.Get(issuer.URLOf(oidctest.JWKS))
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		log.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return body
}

// Rules that every token of an issuer must satisfy stand in its configuration.
// What the caller of one operation may do is checked after Validate.
func Example_customClaims() {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()

	claim := func(name string) oidc.ClaimName {
		n, err := oidc.ParseClaimName(name)
		if err != nil {
			log.Fatal(err)
		}
		return n
	}
	v, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{
			Issuer: issuer.URL, Name: "shop", Audiences: []string{"orders-api"},
			Require: []oidc.ClaimRule{{Name: claim("email_verified"), Values: []oidc.Scalar{oidc.BoolScalar(true)}}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()

	ctx := context.Background()
	_, err = v.Validate(ctx, issuer.Token(map[string]any{"email_verified": "true"}), oidc.Requirement{})
	fmt.Println(err)

	token, err := v.Validate(ctx, issuer.Token(map[string]any{
		"email_verified": true,
		"limits":         map[string]any{"orders": 25},
	}), oidc.Requirement{})
	if err != nil {
		log.Fatal(err)
	}
	limit, ok := token.Claims.Get(claim("/limits/orders"))
	orders, isInteger := limit.Int64()
	fmt.Println(ok && isInteger, orders)
	// Output:
	// oidc: invalid_claim (email_verified): not a value that this issuer's configuration requires
	// true 25
}

// A token that cannot be judged is not a bad token. The reason says which it
// is, and with it the status and the challenge.
func ExampleError() {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	v, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"orders-api"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()

	issuer.Fail(http.StatusBadGateway)
	for _, token := range []string{issuer.Token(nil), issuer.Token(map[string]any{"aud": "other-api"})} {
		_, err := v.Validate(context.Background(), token, oidc.Requirement{})
		var e *oidc.Error
		switch {
		case errors.Is(err, oidc.ErrCannotKnow) && errors.As(err, &e):
			fmt.Println("come back later:", e.Reason, e.Reason.Status(), e.IssuerName)
		case errors.Is(err, oidc.ErrBadToken) && errors.As(err, &e):
			fmt.Println("get another token:", e.Reason, e.Reason.Status(), e.Claim)
		}
	}
	// Output:
	// come back later: keys_unavailable 503 shop
	// get another token: wrong_audience 401 aud
}

// Explain shows each step of a validation: for the operator who holds a token
// and asks why it is refused.
func ExampleRequirement_explain() {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	v, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"Orders-API"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	_, err = v.Validate(context.Background(), issuer.Token(nil), oidc.Requirement{Explain: func(s oidc.Step) {
		if s.Name == "audience" || s.Name == "type" {
			fmt.Println(s.Name, s.OK, s.Detail)
		}
	}})
	fmt.Println(oidc.ReasonOf(err))
	// Output:
	// type true an access token, of accepted types at+jwt, jwt, none
	// audience false wrong_audience (aud): no accepted audience
	// wrong_audience
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

// A plain name is the claim of exactly that name, dots and all; one that begins
// with a slash leads into objects and lists.
func ExampleParseClaimName() {
	for _, name := range []string{"https://example.com/roles", "/realm_access/roles", "/a~1b", "/a~b"} {
		n, err := oidc.ParseClaimName(name)
		fmt.Println(n, err)
	}
	// Output:
	// https://example.com/roles <nil>
	// /realm_access/roles <nil>
	// /a~1b <nil>
	//  "/a~b" is no JSON Pointer: ~ must be followed by 0 or 1
}
