package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFunction(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("orders-api"))
	defer issuer.Close()
	good := issuer.Token(map[string]any{"scope": "orders.read"})
	for _, tt := range []struct {
		rule    string
		headers map[string]string
		want    answer
	}{
		{"a good token", map[string]string{"authorization": "Bearer " + good}, answer{StatusCode: 200, Body: "the orders of alice"}},
		{"none", nil, answer{StatusCode: 401, Headers: map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "Www-Authenticate": "Bearer"},
			Body: `{"error":"unauthorized","error_description":"An access token is required"}`}},
		{"two, joined by the gateway", map[string]string{"authorization": "Bearer " + good + ",Bearer " + good},
			answer{StatusCode: 400, Headers: map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "Www-Authenticate": `Bearer error="invalid_request"`},
				Body: `{"error":"invalid_request","error_description":"The credentials of the request are malformed"}`}},
		{"two, by their names", map[string]string{"authorization": "Bearer " + good, "Authorization": "Bearer " + good},
			answer{StatusCode: 400, Headers: map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "Www-Authenticate": `Bearer error="invalid_request"`},
				Body: `{"error":"invalid_request","error_description":"The credentials of the request are malformed"}`}},
		{"no scope", map[string]string{"authorization": "Bearer " + issuer.Token(nil)},
			answer{StatusCode: 403, Headers: map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "Www-Authenticate": `Bearer error="insufficient_scope", scope="orders.read"`},
				Body: `{"error":"insufficient_scope","error_description":"The access token lacks a scope"}`}},
	} {
		in, err := json.Marshal(map[string]any{
			"version": "2.0", "rawPath": "/orders", "headers": tt.headers,
			"requestContext": map[string]any{"http": map[string]any{"method": "GET"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := run(t.Context(), issuer.URL, "orders-api", bytes.NewReader(in), &out); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(out.String()); got != string(want) {
			t.Errorf("%s: got\n%s, want\n%s", tt.rule, got, want)
		}
	}
}

func TestTheProgramSaysWhatIsWrong(t *testing.T) {
	var out bytes.Buffer
	for _, tt := range [][2]string{{"not a URL", "{}"}, {"https://id.example.com", "<html>"}} {
		if err := run(t.Context(), tt[0], "orders-api", strings.NewReader(tt[1]), &out); err == nil || out.Len() > 0 {
			t.Errorf("%q: %v %s", tt, err, out.String())
		}
	}
}
