package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
	envoyconfig "github.com/claimgate/claimgate/envoy-config"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// sidecar-uds.yaml: the gate beside Envoy, on a socket.
func TestSidecarAsksOverASocket(t *testing.T) {
	for encoding, joined := range encodings {
		t.Run(encoding, func(t *testing.T) {
			l := start(t, lab.Options{EnvoyConfig: envoyconfig.SidecarUDS, Socket: true, JoinedHeaders: joined})
			forged := header{"x-auth-subject", "root"}
			for _, test := range []struct {
				request lab.Request
				status  int
				want    map[string]string
			}{
				{lab.Request{Path: "/orders/7"}, 401, map[string]string{}},
				{lab.Request{Path: "/orders/7", Headers: []header{forged, token(l), forged}}, 200, alice},
				{lab.Request{Path: "/orders/7", Headers: []header{forged, token(l), forged}, HTTP2: true}, 200, alice},
				{lab.Request{Path: "/public/terms", Headers: []header{forged}}, 200, map[string]string{}},
				{lab.Request{Path: "/elsewhere", Headers: []header{token(l)}}, 403, map[string]string{}},
			} {
				a := do(t, l, test.request)
				if a.Status != test.status || !maps.Equal(seen(a), test.want) {
					t.Errorf("%s: status %d and %v, want %d and %v", test.request.Path, a.Status, seen(a), test.status, test.want)
				}
			}
			l.StopGate()
			if a := do(t, l, lab.Request{Path: "/public/terms"}); a.Status != fact(t, "no gate") {
				t.Errorf("without the gate: status %d, want %d", a.Status, fact(t, "no gate"))
			}
		})
	}
}

// route-by-issuer.yaml: the verified issuer chooses the backend, and nothing
// else does, not even where Envoy lets all headers through.
func TestVerifiedIssuerChoosesTheBackend(t *testing.T) {
	for door, edit := range map[string]lab.Edit{"as shipped": nil, "an open listener": open} {
		for encoding, joined := range encodings {
			t.Run(door+", "+encoding, func(t *testing.T) {
				l := start(t, lab.Options{
					EnvoyConfig: envoyconfig.RouteByIssuer, Edit: edit, JoinedHeaders: joined,
					Policies: "- name: api\n  match: [{hosts: [api.example.com]}]\n  access: optional\n",
				})
				customer := lab.Bearer(l.Customers.Token(map[string]any{"sub": "carol"}))
				workforce, customers := header{"x-auth-issuer", lab.Workforce}, header{"X-Auth-Issuer", lab.Customers}
				for _, test := range []struct {
					name     string
					headers  []header
					status   int
					upstream string
				}{
					{"workforce", []header{token(l)}, 200, lab.Workforce},
					{"customers", []header{customer}, 200, lab.Customers},
					{"workforce, forged", []header{customers, token(l)}, 200, lab.Workforce},
					{"customers, forged", []header{workforce, customer}, 200, lab.Customers},
					{"customers, forged twice", []header{workforce, customer, workforce}, 200, lab.Customers},
					{"customers, forged both ways", []header{customers, workforce, customer}, 200, lab.Customers},
					{"nobody", nil, 403, ""},
					{"nobody, forged", []header{workforce}, 403, ""},
					{"nobody, forged twice", []header{workforce, customers}, 403, ""},
					{"a bad token, forged", []header{workforce, lab.Bearer("x.y.z")}, 401, ""},
				} {
					for _, http2 := range []bool{false, true} {
						a := do(t, l, lab.Request{Host: "api.example.com", Path: "/v1/things", Headers: test.headers, HTTP2: http2})
						if a.Status != test.status || a.Echo.Upstream != test.upstream {
							t.Errorf("%s, HTTP/2 %v: %d at %q, want %d at %q", test.name, http2, a.Status, a.Echo.Upstream, test.status, test.upstream)
						}
					}
				}
				// The path chooses nothing, and other hosts have nothing.
				if a := do(t, l, lab.Request{Host: "api.example.com", Path: "/public/../public/terms", Headers: []header{workforce}}); a.Status != 403 {
					t.Errorf("a public path of another host's policy: status %d, want 403", a.Status)
				}
				if a := do(t, l, lab.Request{Host: "other.example.com", Path: "/public/terms"}); a.Status != 404 {
					t.Errorf("another host: status %d, want 404", a.Status)
				}
			})
		}
	}
}

// patient is withoutTLS, and waits longer for the gate: a busy machine must not
// change what a test sees.
func patient(l *lab.Lab) [][2]string {
	return append(withoutTLS(l), [2]string{"copy, nil, 200)", "copy, nil, 10000)"})
}

// withoutTLS lets jwt_authn fetch its keys from the lab's issuer.
func withoutTLS(l *lab.Lab) [][2]string {
	text := string(envoyconfig.JWTAuthnShadow)
	from := strings.Index(text, "    transport_socket:\n")
	to := from + strings.Index(text[from:], "    load_assignment:\n")
	return [][2]string{
		{text[from:to], ""},
		{"issuer: https://login.example.com/realms/workforce", "issuer: " + l.Workforce.URL},
		{"uri: https://login.example.com/realms/workforce/jwks", "uri: " + l.Workforce.URLOf(oidctest.JWKS)},
	}
}

// shadowLine is a line of the access log of jwt-authn-shadow.yaml.
type shadowLine struct {
	Path     string `json:"path"`
	Status   int    `json:"status"`
	Details  string `json:"details"`
	Differ   *bool  `json:"differ"`
	JWTAuthn string `json:"jwt_authn"`
	Gate     string `json:"gate"`
	Reason   string `json:"reason"`
	Policy   string `json:"policy"`
}

// shadowLog waits for the line of a path.
func shadowLog(t *testing.T, l *lab.Lab, path string) (shadowLine, string) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond) // Envoy writes its log every 100 ms
	defer tick.Stop()
	for {
		for line := range strings.Lines(l.EnvoyLog()) {
			var parsed shadowLine
			if json.Unmarshal([]byte(line), &parsed) == nil && parsed.Path == path {
				return parsed, line
			}
		}
		select {
		case <-deadline.C:
			t.Fatalf("no line of %s in the access log:\n%s", path, l.EnvoyLog())
		case <-tick.C:
		}
	}
}

// jwt-authn-shadow.yaml: jwt_authn decides, the log says where the gate would
// have decided otherwise, and the request goes on as if there were no gate.
func TestShadowTellsWhereTheGateDiffers(t *testing.T) {
	for encoding, joined := range encodings {
		t.Run(encoding, func(t *testing.T) {
			l := start(t, lab.Options{EnvoyConfig: envoyconfig.JWTAuthnShadow, Edit: patient, JoinedHeaders: joined})
			customer := lab.Bearer(l.Customers.Token(map[string]any{"sub": "carol"}))
			claims := func(claims map[string]any) header {
				claims["typ"], claims["azp"] = "Bearer", "intranet"
				return lab.Bearer(l.Workforce.Token(claims))
			}
			idToken := lab.Bearer(l.Workforce.Token(map[string]any{"typ": "ID", "azp": "intranet"}))
			for _, test := range []struct {
				path    string
				headers []header
				method  string
				status  int
				jwt     string
				gate    string
				reason  string
			}{
				{"/orders/good", []header{token(l)}, "", 200, "allow", "allow", "valid_token"},
				{"/orders/none", nil, "", 401, "deny", "deny", "missing_token"},
				{"/orders/nonsense", []header{lab.Bearer("nonsense")}, "", 401, "deny", "deny", "malformed_token"},
				{"/orders/two", []header{token(l), token(l)}, "", 0, "", "deny", "multiple_credentials"},
				{"/orders/id-token", []header{idToken}, "", 200, "allow", "deny", "wrong_token_type"},
				{"/orders/customer", []header{customer}, "", 401, "deny", "allow", "valid_token"},
				{"/orders/7/refund", []header{token(l), {"Content-Length", "0"}}, "POST", 200, "allow", "deny", "insufficient_scope"},
				{"/orders/audience", []header{claims(map[string]any{"aud": "https://shop-api/"})}, "", 200, "allow", "deny", "wrong_audience"},
				{"/orders/exp", []header{claims(map[string]any{"exp": oidctest.Omit})}, "", 200, "allow", "deny", "invalid_claim"},
				{"/orders/middle", []header{{"Authorization", "Odd " + token(l)[1]}}, "", 200, "allow", "deny", "missing_token"},
				{"/orders/case", []header{{"Authorization", "bearer" + strings.TrimPrefix(token(l)[1], "Bearer")}}, "", 401, "deny", "allow", "valid_token"},
				{"/public/terms", nil, "", 200, "allow", "allow", "public"},
				{"/elsewhere", nil, "", 200, "allow", "deny", "no_policy"},
			} {
				a := do(t, l, lab.Request{Path: test.path, Method: test.method, Headers: test.headers})
				line, text := shadowLog(t, l, test.path)
				if test.jwt == "" { // jwt_authn's own matter
					test.status, test.jwt = a.Status, line.JWTAuthn
				}
				if a.Status != test.status {
					t.Errorf("%s: status %d, want %d", test.path, a.Status, test.status)
				}
				if line.JWTAuthn != test.jwt || line.Gate != test.gate || line.Reason != test.reason {
					t.Errorf("%s: the log has %s", test.path, text)
				}
				if differ := test.jwt != test.gate; line.Differ == nil || *line.Differ != differ || strings.Contains(text, `"differ":true`) != differ {
					t.Errorf("%s: differ is not %v in %s", test.path, differ, text)
				}
				if len(seen(a)) > 0 {
					t.Errorf("%s: the upstream sees %v of the gate", test.path, seen(a))
				}
				if a.Status == 200 && len(test.headers) > 0 && len(a.Echo.Authorization) != 1 {
					t.Errorf("%s: the upstream sees the credentials %q, want them as they came", test.path, a.Echo.Authorization)
				}
			}
		})
	}
}

// jwt_authn learns of a new key when its cache is over, the gate when a token
// names it.
func TestShadowTellsOfANewKey(t *testing.T) {
	l := start(t, lab.Options{EnvoyConfig: envoyconfig.JWTAuthnShadow, Edit: patient})
	if a := do(t, l, lab.Request{Path: "/orders/before", Headers: []header{token(l)}}); a.Status != 200 {
		t.Fatalf("before: status %d", a.Status)
	}
	l.Workforce.Rotate()
	good := token(l)
	deadline := time.Now().Add(time.Minute)
	for n := 0; ; n++ { // the gate asks once in its unknownKeyInterval, a second here
		path := fmt.Sprintf("/orders/after-%d", n)
		a := do(t, l, lab.Request{Path: path, Headers: []header{good}})
		line, text := shadowLog(t, l, path)
		if a.Status != 401 || line.JWTAuthn != "deny" {
			t.Fatalf("jwt_authn knows the key: status %d, %s", a.Status, text)
		}
		if line.Gate == "allow" && line.Differ != nil && *line.Differ {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the gate does not know the key: %s", text)
		}
	}
}

// The verdict does not depend on how the client speaks: Envoy answers a gRPC call
// 200, whatever it is.
func TestShadowReadsTheVerdictOnGRPCCalls(t *testing.T) {
	l := start(t, lab.Options{EnvoyConfig: envoyconfig.JWTAuthnShadow, Edit: patient})
	for path, test := range map[string]struct {
		headers []header
		jwt     string
		gate    string
	}{
		"/orders/Get":  {[]header{token(l)}, "allow", "allow"},
		"/orders/List": {nil, "deny", "deny"},
		"/other/Get":   {[]header{token(l)}, "allow", "deny"},
	} {
		r := grpcRequest(test.headers...)
		r.Path = path
		do(t, l, r)
		if line, text := shadowLog(t, l, path); line.JWTAuthn != test.jwt || line.Gate != test.gate {
			t.Errorf("%s: the log has %s", path, text)
		}
	}
	for _, method := range []string{"HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"} {
		path := "/orders/" + method
		do(t, l, lab.Request{Method: method, Path: path, Headers: []header{token(l)}, HTTP2: true, Body: "body"})
		if line, text := shadowLog(t, l, path); line.JWTAuthn != "allow" || line.Gate != "allow" {
			t.Errorf("%s: the log has %s", path, text)
		}
	}
}

// A client cannot write the verdict.
func TestShadowBelievesNoClient(t *testing.T) {
	l := start(t, lab.Options{EnvoyConfig: envoyconfig.JWTAuthnShadow, Edit: patient})
	do(t, l, lab.Request{Path: "/orders/forged", Headers: []header{
		{"x-claimgate-verdict", "allow"}, {"x-claimgate-reason", "valid_token"}, {"x-claimgate-policy", "p"},
	}})
	if line, text := shadowLog(t, l, "/orders/forged"); line.Gate != "deny" || line.Reason != "missing_token" {
		t.Errorf("the log has %s", text)
	}
}

// A gate that is down, or never answers, changes nothing for clients under
// jwt-authn-shadow.yaml.
func TestShadowOfADeadGateStopsNobody(t *testing.T) {
	down := func(t *testing.T) *lab.Lab {
		l := start(t, lab.Options{EnvoyConfig: envoyconfig.JWTAuthnShadow, Edit: patient})
		l.StopGate()
		return l
	}
	silent := func(t *testing.T) *lab.Lab {
		opts := lab.Options{EnvoyConfig: envoyconfig.JWTAuthnShadow, Edit: withoutTLS}
		return startWith(t, opts, func(ctx context.Context, _ authv3.AuthorizationClient, _ *authv3.CheckRequest) (*authv3.CheckResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
	}
	for name, start := range map[string]func(*testing.T) *lab.Lab{"down": down, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			l := start(t)
			for _, path := range []string{"/orders/good", "/public/terms"} {
				a := do(t, l, lab.Request{Path: path, Headers: []header{token(l)}})
				line, text := shadowLog(t, l, path)
				if a.Status != 200 || line.Gate != "none" || line.Differ != nil || line.JWTAuthn != "allow" {
					t.Errorf("%s: status %d, the log has %s", path, a.Status, text)
				}
			}
		})
	}
}

// Upgrades and CONNECT are not asked about as what they are, and pass as before.
func TestShadowLeavesUpgradesAlone(t *testing.T) {
	l := start(t, lab.Options{EnvoyConfig: envoyconfig.JWTAuthnShadow, Edit: patient})
	a := do(t, l, upgrade("/orders/socket", "Upgrade", token(l)))
	if line, text := shadowLog(t, l, "/orders/socket"); a.Status != 101 || line.Gate != "allow" || line.JWTAuthn != "allow" {
		t.Errorf("a WebSocket: status %d, the log has %s", a.Status, text)
	}
	if a := do(t, l, lab.Request{Method: "CONNECT", Path: "shop.example.com:443", Host: "shop.example.com:443"}); a.Status < 400 {
		t.Errorf("CONNECT: status %d", a.Status)
	}
	if a := do(t, l, lab.Request{Path: "/public/terms"}); a.Status != 200 {
		t.Errorf("afterwards: status %d, want 200", a.Status)
	}
}
