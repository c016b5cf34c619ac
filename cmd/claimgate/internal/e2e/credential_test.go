package e2e_test

import (
	"slices"
	"testing"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// Envoy applies what the gate says about the credential: a rewritten path, a
// rewritten cookie header, a header that does not go on.
func TestCredentialsStayBehind(t *testing.T) {
	l := start(t, lab.Options{Policies: `
- name: query
  match: [{paths: [/query]}]
  tokenFrom: [{query: access_token}]
- name: cookie
  match: [{paths: [/cookie]}]
  tokenFrom: [{cookie: session}]
  forwardToken: false
- name: header
  match: [{paths: [/header]}]
  forwardToken: false
`})
	good := token(l)
	text := good[1][len("Bearer "):]
	tests := []struct {
		name    string
		request lab.Request
		path    string
		cookie  []string
		bearer  bool
	}{
		{"the token of the query", lab.Request{Path: "/query?a=%20&access_token=" + text + "&b"}, "/query?a=%20&b", nil, false},
		{"the query is nothing but the token", lab.Request{Path: "/query?%61ccess_token=" + text}, "/query", nil, false},
		{"one cookie of several", lab.Request{Path: "/cookie", Headers: []header{{"Cookie", "a=1; session=" + text + "; b=2"}}}, "/cookie", []string{"a=1; b=2"}, false},
		{"the only cookie", lab.Request{Path: "/cookie", Headers: []header{{"Cookie", "session=" + text}}}, "/cookie", nil, false},
		{"the header", lab.Request{Path: "/header", Headers: []header{good}}, "/header", nil, false},
		{"a header that may go on", lab.Request{Path: "/orders/7", Headers: []header{good}}, "/orders/7", nil, true},
		{"a public path", lab.Request{Path: "/public/x", Headers: []header{good}}, "/public/x", nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := do(t, l, test.request)
			if a.Status != 200 || a.Echo.Path != test.path {
				t.Errorf("status %d, the upstream sees %s, want %s", a.Status, a.Echo.Path, test.path)
			}
			if !slices.Equal(a.Echo.Cookie, test.cookie) || len(a.Echo.Authorization) > 0 != test.bearer {
				t.Errorf("the upstream sees cookies %q and authorization %q", a.Echo.Cookie, a.Echo.Authorization)
			}
		})
	}
}
