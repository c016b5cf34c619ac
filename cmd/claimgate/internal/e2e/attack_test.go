package e2e_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

type header = [2]string

// alice is what the upstream must see of [token], whatever else is sent.
var alice = map[string]string{"x-auth-issuer": "workforce", "x-auth-subject": "alice", "x-auth-client": "intranet"}

func token(l *lab.Lab) header {
	return lab.Bearer(l.Workforce.Token(map[string]any{"typ": "Bearer", "azp": "intranet"}))
}

func seen(a lab.Answer) map[string]string {
	identity := map[string]string{}
	for name, values := range a.Echo.Identity {
		identity[name] = strings.Join(values, ",")
	}
	return identity
}

// C4: an identity header that the client sends is overwritten or removed on
// every allow, in whatever spelling and number it comes.
func TestForgedIdentityNeverArrives(t *testing.T) {
	forgeries := []struct {
		name    string
		headers []header
		status  int // of an authenticated request; 400 where Envoy refuses it
	}{
		{"exact", []header{{"x-auth-subject", "root"}}, 200},
		{"in capitals", []header{{"X-AUTH-SUBJECT", "root"}}, 200},
		{"twice", []header{{"x-auth-subject", "root"}, {"x-auth-subject", "admin"}}, 200},
		{"a list", []header{{"x-auth-subject", "root, admin"}}, 200},
		{"empty", []header{{"x-auth-subject", ""}}, 200},
		{"one that the token does not set", []header{{"x-auth-scopes", "everything"}}, 200},
		{"all", []header{{"x-auth-subject", "root"}, {"x-auth-issuer", "customers"}, {"x-auth-client", "c"}, {"x-auth-scopes", "s"}}, 200},
		{"with dots", []header{{"x.auth.subject", "root"}}, 200},
		{"with odd bytes", []header{{"x-auth!subject", "root"}, {"x~auth~subject", "root"}}, 200},
		{"with underscores", []header{{"X_Auth_Subject", "root"}}, 400},
		{"with one underscore", []header{{"x-auth_subject", "root"}}, 400},
	}
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		for _, f := range forgeries {
			for _, r := range []struct {
				name    string
				request lab.Request
				want    map[string]string
			}{
				{"with a token", lab.Request{Path: "/orders/7", Headers: append([]header{token(l)}, f.headers...)}, alice},
				{"to a public path", lab.Request{Path: "/public/terms", Headers: f.headers}, map[string]string{}},
			} {
				a := do(t, l, r.request)
				if a.Status != f.status {
					t.Errorf("%s, %s: status %d, want %d", f.name, r.name, a.Status, f.status)
					continue
				}
				if a.Status == 200 && !maps.Equal(seen(a), r.want) {
					t.Errorf("%s, %s: the upstream sees %v, want %v", f.name, r.name, seen(a), r.want)
				}
			}
		}
	})
}

// A forged x-auth-issuer must not choose the route, neither before the check nor
// after it.
func TestForgedIssuerDoesNotChooseTheRoute(t *testing.T) {
	l := start(t, lab.Options{})
	a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{token(l), {"x-auth-issuer", "customers"}}})
	if a.Status != 200 || a.Echo.Upstream != lab.Workforce {
		t.Errorf("with a token: %d at %q, want 200 at %q", a.Status, a.Echo.Upstream, lab.Workforce)
	}
	a = do(t, l, lab.Request{Path: "/public/terms", Headers: []header{{"x-auth-issuer", "workforce"}}})
	if a.Status != 200 || a.Echo.Upstream != lab.Customers {
		t.Errorf("public: %d at %q, want 200 at %q", a.Status, a.Echo.Upstream, lab.Customers)
	}
}

// C5: headers that Connection names are dropped by the next hop. Ours must not
// be.
func TestConnectionHeaderDoesNotDropIdentity(t *testing.T) {
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		for _, value := range []string{
			"close, x-auth-subject", "x-auth-subject, close", "close, X-Auth-Issuer, x-auth-client",
		} {
			a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{token(l), {"Connection", value}}})
			if a.Status != 200 || !maps.Equal(seen(a), alice) {
				t.Errorf("Connection: %s: %d, the upstream sees %v, want %v", value, a.Status, seen(a), alice)
			}
		}
		// Envoy drops what Connection names before the check sees it: no token.
		a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{token(l), {"Connection", "close, authorization"}}})
		if a.Status != 401 {
			t.Errorf("Connection: close, authorization: status %d, want 401", a.Status)
		}
	})
}

// D: paths that Envoy normalises are decided as what they become, others are
// refused.
func TestPathTricksDoNotReachAWeakerPolicy(t *testing.T) {
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		for path, want := range map[string]int{
			"/public/../orders/7":         401, // normalised: /orders/7 wants a token
			"/public/%2e%2e/orders/7":     401,
			"/public/./terms":             200,
			"//public//terms":             200, // merged
			"/public%2f..%2forders/7":     400, // Envoy's own
			"/public%5c..%5corders/7":     400,
			"/public/..;/orders/7":        401, // Envoy 1.40 takes the segment for ".."
			"/public;x=1/terms":           403, // ambiguous
			"/public/%252e%252e/orders/7": 403,
			"/public/terms%00":            400,
			"/publicity":                  403, // no segment boundary, no policy
			"/PUBLIC/terms":               403,
			"/public/terms?x=/../orders":  200, // the query is no path
			"/other?x=/public/terms":      403,
		} {
			a := do(t, l, lab.Request{Path: path})
			if a.Status != want {
				t.Errorf("%s: status %d, want %d", path, a.Status, want)
			}
		}
	})
}

// D10: the method is what the request line says.
func TestMethodOverrideSteersNothing(t *testing.T) {
	l := start(t, lab.Options{})
	for _, h := range []header{
		{"X-HTTP-Method-Override", "GET"}, {"X-HTTP-Method", "GET"}, {"X-Original-Method", "GET"},
		{"X-Original-URL", "/public/terms"}, {"X-Rewrite-URL", "/public/terms"}, {"X-Forwarded-Host", "admin.example.com"},
	} {
		a := do(t, l, lab.Request{Method: http.MethodPost, Path: "/orders/7/refund", Headers: []header{token(l), h}})
		if a.Status != 403 {
			t.Errorf("%s: %s: status %d, want 403", h[0], h[1], a.Status)
		}
	}
}
