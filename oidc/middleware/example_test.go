package middleware_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// A handler that only good tokens reach, and how each other request is answered.
func Example() {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	validator, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"orders-api"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer validator.Close()
	guard, err := middleware.New(middleware.Config{
		Validator: validator, Realm: "orders", Scopes: []string{"orders.read"},
		Wait: time.Minute, // the machine that runs the tests may be busy
	})
	if err != nil {
		log.Fatal(err)
	}

	handler := guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := middleware.TokenFrom(r.Context())
		fmt.Fprintf(w, "hello %s", token.Subject)
	}))
	for _, authorization := range []string{
		"",
		"Bearer " + issuer.Token(map[string]any{"scope": "orders.read"}),
		"Bearer " + issuer.Token(nil),
		"Bearer " + issuer.Token(map[string]any{"exp": 1}),
		"Bearer " + issuer.Token(nil) + ", Basic YWxpY2U6",
	} {
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.Join(w.Header().Values("WWW-Authenticate"), " "), w.Body)
	}
	// Output:
	// 401 Bearer realm="orders" {"error":"unauthorized","error_description":"An access token is required"}
	// 200  hello alice
	// 403 Bearer realm="orders", error="insufficient_scope", scope="orders.read" {"error":"insufficient_scope","error_description":"The access token lacks a scope"}
	// 401 Bearer realm="orders", error="invalid_token", error_description="The access token expired" {"error":"invalid_token","error_description":"The access token expired"}
	// 400 Bearer realm="orders", error="invalid_request" {"error":"invalid_request","error_description":"The credentials of the request are malformed"}
}
