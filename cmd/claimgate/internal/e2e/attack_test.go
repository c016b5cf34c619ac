package e2e_test

import (
	"maps"
	"net/http"
	"slices"
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

// adminToken is one that the policy admin wants, which Envoy names.
func adminToken(l *lab.Lab) header {
	return lab.Bearer(l.Workforce.Token(map[string]any{
		"typ": "Bearer", "azp": "intranet", "realm_access": map[string]any{"roles": []string{"admin"}},
	}))
}

func seen(a lab.Answer) map[string]string {
	identity := map[string]string{}
	for name, values := range a.Echo.Identity {
		identity[name] = strings.Join(values, ",")
	}
	return identity
}

// open makes Envoy let everything through: no header is dropped before the
// check, underscores are welcome. So the gate alone stands between a forged
// header and the upstream, and what this Envoy makes of the gate's answer counts.
func open(*lab.Lab) [][2]string {
	return [][2]string{
		{"headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"},
		{"- remove: x-auth-issuer", "- remove: x-unrelated-1"},
		{"- remove: x-auth-subject", "- remove: x-unrelated-2"},
		{"- remove: x-auth-client", "- remove: x-unrelated-3"},
		{"- remove: x-auth-scopes", "- remove: x-unrelated-4"},
	}
}

// C4: an identity header that the client sends is overwritten or removed on
// every allow, in whatever spelling and number it comes.
func TestForgedIdentityNeverArrives(t *testing.T) {
	forgeries := []struct {
		name    string
		headers []header
		refused bool // by the listener as shipped
	}{
		{"exact", []header{{"x-auth-subject", "root"}}, false},
		{"in capitals", []header{{"X-AUTH-SUBJECT", "root"}}, false},
		{"twice", []header{{"x-auth-subject", "root"}, {"x-auth-subject", "admin"}}, false},
		{"twice, in two spellings", []header{{"x-auth-subject", "root"}, {"X-Auth-Subject", "admin"}}, false},
		{"a list", []header{{"x-auth-subject", "root, admin"}}, false},
		{"empty", []header{{"x-auth-subject", ""}}, false},
		{"empty and not", []header{{"x-auth-subject", ""}, {"x-auth-subject", "root"}}, false},
		{"what the gate will say", []header{{"x-auth-subject", "alice"}, {"x-auth-subject", "root"}}, false},
		{"one that the token does not set", []header{{"x-auth-scopes", "everything"}}, false},
		{"all", []header{{"x-auth-subject", "root"}, {"x-auth-issuer", "customers"}, {"x-auth-client", "c"}, {"x-auth-scopes", "s"}}, false},
		{"all twice", []header{
			{"x-auth-subject", "root"}, {"x-auth-issuer", "customers"}, {"x-auth-client", "c"}, {"x-auth-scopes", "s"},
			{"x-auth-subject", "root"}, {"x-auth-issuer", "workforce"}, {"x-auth-client", "d"}, {"x-auth-scopes", "t"},
		}, false},
		{"with dots", []header{{"X.Auth.Subject", "root"}, {"x.auth.subject", "admin"}}, false},
		{"with odd bytes", []header{{"x-auth!subject", "root"}, {"x~auth~subject", "root"}}, false},
		{"with underscores", []header{{"X_Auth_Subject", "root"}}, true},
		{"with underscores, twice", []header{{"X_Auth_Subject", "root"}, {"x_auth_subject", "admin"}}, true},
		{"with one underscore", []header{{"x-auth_subject", "root"}}, true},
		{"all ways at once", []header{{"x-auth-subject", "root"}, {"X_Auth_Subject", "root"}, {"x.auth.subject", "root"}, {"x-auth_subject", ""}}, true},
	}
	doors := map[string]lab.Edit{"as shipped": nil, "an open listener": open}
	for door, edit := range doors {
		for encoding, joined := range encodings {
			t.Run(door+", "+encoding, func(t *testing.T) {
				l := start(t, lab.Options{Edit: edit, JoinedHeaders: joined})
				for _, r := range []struct {
					name     string
					request  lab.Request
					upstream string
					want     map[string]string
				}{
					{"with a token", lab.Request{Path: "/orders/7", Headers: []header{token(l)}}, lab.Workforce, alice},
					{"with a policy by name", lab.Request{Host: "admin.example.com", Path: "/", Headers: []header{adminToken(l)}}, lab.Workforce, alice},
					{"to a public path", lab.Request{Path: "/public/terms"}, lab.Customers, map[string]string{}},
				} {
					for _, f := range forgeries {
						for _, http2 := range []bool{false, true} {
							request := r.request
							request.HTTP2 = http2
							request.Headers = slices.Concat(f.headers[:len(f.headers)/2], request.Headers, f.headers[len(f.headers)/2:])
							if f.refused && edit == nil {
								// Over HTTP/2 the stream is reset, which is an error here.
								if a, err := l.Do(t.Context(), request); err == nil && a.Status != 400 {
									t.Errorf("%s, %s, HTTP/2 %v: status %d, want 400 or no answer", f.name, r.name, http2, a.Status)
								}
								continue
							}
							a := do(t, l, request)
							if a.Status != 200 || a.Echo.Upstream != r.upstream || !maps.Equal(seen(a), r.want) {
								t.Errorf("%s, %s, HTTP/2 %v: status %d, %q sees %v, want %q to see %v",
									f.name, r.name, http2, a.Status, a.Echo.Upstream, seen(a), r.upstream, r.want)
							}
						}
					}
				}
			})
		}
	}
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
			"/public/..;/orders/7":        fact(t, "/public/..;/orders/7"), // some Envoys take "..;" for ".."
			"/public;x=1/terms":           403,                             // ambiguous
			"/public/%252e%252e/orders/7": 403,
			"/public/terms%00":            400,
			"/publicity":                  403, // no segment boundary, no policy
			"/PUBLIC/terms":               403,
			"/public/terms?x=/../orders":  200, // the query is no path
			"/other?x=/public/terms":      403,
		} {
			for _, http2 := range []bool{false, true} {
				a := do(t, l, lab.Request{Path: path, HTTP2: http2})
				if a.Status != want {
					t.Errorf("%s, HTTP/2 %v: status %d, want %d", path, http2, a.Status, want)
				}
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
