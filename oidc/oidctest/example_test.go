package oidctest_test

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// A validator under test is given issuer.URL and then sees a real issuer.
func Example() {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()

	answer, err := http.Get(issuer.URLOf(oidctest.OpenIDDiscovery))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	defer http.DefaultClient.CloseIdleConnections()
	var discovery struct{ Issuer string }
	if err := json.NewDecoder(answer.Body).Decode(&discovery); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("issuer as configured:", discovery.Issuer == issuer.URL)

	good := issuer.Token(map[string]any{"scope": "orders.read"})
	forged := issuer.Token(nil, oidctest.Forged())
	fmt.Println("tokens differ:", good != forged)

	issuer.Fail(http.StatusServiceUnavailable, oidctest.JWKS)
	issuer.Rotate()
	issuer.Recover()
	fmt.Println("requests to discovery:", issuer.Requests(oidctest.OpenIDDiscovery))
	// Output:
	// issuer as configured: true
	// tokens differ: true
	// requests to discovery: 1
}
