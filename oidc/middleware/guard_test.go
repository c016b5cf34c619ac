package middleware_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const origin = "https://api.example.com"

type claims = map[string]any

func newIssuer(t *testing.T) *oidctest.Issuer {
	t.Helper()
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	return issuer
}

func newValidator(t *testing.T, issuers ...*oidctest.Issuer) *oidc.Validator {
	t.Helper()
	cfg := oidc.Config{Cache: oidc.CacheConfig{MaxEntries: 100, MaxBytes: 1 << 20}}
	for i, issuer := range issuers {
		cfg.Issuers = append(cfg.Issuers, oidc.IssuerConfig{Issuer: issuer.URL, Name: []string{"shop", "partner"}[i], Audiences: []string{"api"}})
	}
	v, err := oidc.NewValidator(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// newGuard makes a guard that is patient on a busy machine.
func newGuard(t *testing.T, cfg middleware.Config) *middleware.Guard {
	t.Helper()
	if cfg.Wait == 0 {
		cfg.Wait = time.Minute
	}
	g, err := middleware.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newVerifier(t *testing.T, cfg dpop.Config) *dpop.Verifier {
	t.Helper()
	v, err := dpop.NewVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newKey(t *testing.T) *dpop.Key {
	t.Helper()
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func proof(t *testing.T, key *dpop.Key, method, url string, o dpop.Options) string {
	t.Helper()
	p, err := key.Proof(method, url, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// whoami says who calls; it must never be asked by a request that was refused.
func whoami(w http.ResponseWriter, r *http.Request) {
	name := "nobody"
	if token, ok := middleware.TokenFrom(r.Context()); ok {
		name = token.Subject
	}
	_, _ = w.Write([]byte("hello " + name))
}

// ask sends a request with these headers, "name: value" each.
func ask(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestRequestsAreAnsweredByTheirCredential(t *testing.T) {
	issuer, partner := newIssuer(t), newIssuer(t)
	v := newValidator(t, issuer, partner)
	good := "Authorization: Bearer " + issuer.Token(claims{"scope": "read write", "acr": "gold"})
	const (
		missing   = `401 [Bearer realm="r"] {"error":"unauthorized","error_description":"An access token is required"}`
		malformed = `400 [Bearer realm="r", error="invalid_request"] {"error":"invalid_request","error_description":"The credentials of the request are malformed"}`
		invalid   = `401 [Bearer realm="r", error="invalid_token"] {"error":"invalid_token","error_description":"The access token is not valid"}`
	)
	for _, tt := range []struct {
		rule    string
		config  middleware.Config
		headers []string
		reason  oidc.Reason
		want    string
	}{
		{"a good token", middleware.Config{}, []string{good}, oidc.ValidToken, "200 [] hello alice"},
		{"none", middleware.Config{}, nil, oidc.MissingToken, missing},
		{"of another scheme", middleware.Config{}, []string{"Authorization: Basic dXNlcjpwYXNz"}, oidc.MissingToken, missing},
		{"in a cookie", middleware.Config{}, []string{"Cookie: access_token=" + strings.TrimPrefix(good, "Authorization: Bearer ")}, oidc.MissingToken, missing},
		{"empty", middleware.Config{}, []string{"Authorization: "}, oidc.MalformedCredentials, malformed},
		{"two", middleware.Config{}, []string{good, good}, oidc.MultipleCredentials, malformed},
		{"a good one and another scheme", middleware.Config{}, []string{"Authorization: Basic dXNlcjpwYXNz", good}, oidc.MultipleCredentials, malformed},
		{"joined", middleware.Config{}, []string{good + ", Bearer x"}, oidc.MultipleCredentials, malformed},
		{"DPoP where it is not offered", middleware.Config{}, []string{"Authorization: DPoP a.b.c"}, oidc.MalformedCredentials, malformed},
		{"forged", middleware.Config{}, []string{"Authorization: Bearer " + issuer.Token(nil, oidctest.Forged())}, oidc.BadSignature, invalid},
		{"junk", middleware.Config{}, []string{"Authorization: Bearer junk"}, oidc.MalformedToken, invalid},
		{"expired", middleware.Config{}, []string{"Authorization: Bearer " + issuer.Token(claims{"exp": 1})}, oidc.Expired,
			`401 [Bearer realm="r", error="invalid_token", error_description="The access token expired"] {"error":"invalid_token","error_description":"The access token expired"}`},
		{"bound to a key", middleware.Config{}, []string{"Authorization: Bearer " + issuer.Token(claims{"cnf": claims{"jkt": "x"}})}, oidc.ProofMissing, invalid},
		{"of an issuer that is not for this", middleware.Config{Issuers: []string{"partner"}}, []string{good}, oidc.IssuerNotAccepted, invalid},
		{"for another audience", middleware.Config{Audiences: []string{"orders"}}, []string{good}, oidc.WrongAudience, invalid},
		{"with the scopes", middleware.Config{Scopes: []string{"write", "read"}}, []string{good}, oidc.ValidToken, "200 [] hello alice"},
		{"without a scope", middleware.Config{Scopes: []string{"read", "admin"}, ResourceMetadata: "https://m.example/x"}, []string{good}, oidc.InsufficientScope,
			`403 [Bearer realm="r", error="insufficient_scope", scope="read admin", resource_metadata="https://m.example/x"] {"error":"insufficient_scope","error_description":"The access token lacks a scope"}`},
		{"authenticated well enough", middleware.Config{StepUp: oidc.StepUp{ACRValues: []string{"gold"}}}, []string{good}, oidc.ValidToken, "200 [] hello alice"},
		{"authenticated too long ago", middleware.Config{StepUp: oidc.StepUp{ACRValues: []string{"gold"}, MaxAge: time.Minute}}, []string{good}, oidc.InsufficientAuthentication,
			`401 [Bearer realm="r", error="insufficient_user_authentication", acr_values="gold", max_age="60"] {"error":"insufficient_user_authentication","error_description":"A stronger or more recent authentication is required"}`},
		{"optional, none", middleware.Config{Optional: true}, nil, oidc.Anonymous, "200 [] hello nobody"},
		{"optional, good", middleware.Config{Optional: true}, []string{good}, oidc.ValidToken, "200 [] hello alice"},
		{"optional, of another scheme", middleware.Config{Optional: true}, []string{"Authorization: Basic dXNlcjpwYXNz"}, oidc.Anonymous, "200 [] hello nobody"},
		{"optional, malformed", middleware.Config{Optional: true}, []string{"Authorization: Bearer"}, oidc.MalformedCredentials, malformed},
		{"optional, forged", middleware.Config{Optional: true}, []string{"Authorization: Bearer " + issuer.Token(nil, oidctest.Forged())}, oidc.BadSignature, invalid},
		{"optional, without a scope", middleware.Config{Optional: true, Scopes: []string{"admin"}}, []string{good}, oidc.InsufficientScope,
			`403 [Bearer realm="r", error="insufficient_scope", scope="admin"] {"error":"insufficient_scope","error_description":"The access token lacks a scope"}`},
	} {
		var seen []middleware.Decision
		cfg := tt.config
		cfg.Validator, cfg.Realm = v, "r"
		cfg.OnDecision = func(_ context.Context, d middleware.Decision) { seen = append(seen, d) }
		h := newGuard(t, cfg).Handler(http.HandlerFunc(whoami))
		w := ask(h, "GET", "/x?access_token=y", tt.headers...)
		got := strconv.Itoa(w.Code) + " [" + strings.Join(w.Header().Values("WWW-Authenticate"), "; ") + "] " + w.Body.String()
		if got != tt.want {
			t.Errorf("%s: got\n%s, want\n%s", tt.rule, got, tt.want)
		}
		if len(seen) != 1 || seen[0].Reason() != tt.reason || seen[0].Allowed() != (w.Code == 200) || (seen[0].Err() == nil) != (w.Code == 200) {
			t.Errorf("%s: decisions %+v, want %s", tt.rule, seen, tt.reason)
		}
		if w.Code != 200 && (w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json") {
			t.Errorf("%s: headers %v", tt.rule, w.Header())
		}
	}
}

func TestATokenThatCannotBeJudgedIsNotABadToken(t *testing.T) {
	issuer := newIssuer(t)
	issuer.Fail(500)
	h := newGuard(t, middleware.Config{Validator: newValidator(t, issuer)}).Handler(http.HandlerFunc(whoami))
	w := ask(h, "GET", "/", "Authorization: Bearer "+issuer.Token(nil))
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Header().Values("WWW-Authenticate") != nil {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// An issuer that hangs costs a request its Wait, and not more.
func TestWaitBoundsARequest(t *testing.T) {
	issuer := newIssuer(t)
	hang := issuer.Hang()
	defer hang.Release()
	h := newGuard(t, middleware.Config{Validator: newValidator(t, issuer), Wait: time.Millisecond}).Handler(http.HandlerFunc(whoami))
	if w := ask(h, "GET", "/", "Authorization: Bearer "+issuer.Token(nil)); w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAGRPCClientGetsPlainText(t *testing.T) {
	h := newGuard(t, middleware.Config{Validator: newValidator(t, newIssuer(t))}).Handler(http.HandlerFunc(whoami))
	w := ask(h, "POST", "/", "Content-Type: application/grpc+proto")
	if w.Header().Get("Content-Type") != "text/plain" || w.Body.String() != "An access token is required" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

func TestRequireScopes(t *testing.T) {
	issuer := newIssuer(t)
	v := newValidator(t, issuer)
	token := "Authorization: Bearer " + issuer.Token(claims{"scope": "read"})
	var reasons []oidc.Reason
	g := newGuard(t, middleware.Config{Validator: v, Realm: "r", Scopes: []string{"read"}, OnDecision: func(_ context.Context, d middleware.Decision) {
		reasons = append(reasons, d.Reason())
	}})
	optional := newGuard(t, middleware.Config{Validator: v, Realm: "o", Optional: true})
	next := http.HandlerFunc(whoami)
	for _, tt := range []struct {
		rule      string
		handler   http.Handler
		headers   []string
		code      int
		challenge string
	}{
		{"one that it has", g.Handler(g.RequireScopes("read")(next)), []string{token}, 200, ""},
		{"one that it lacks", g.Handler(g.RequireScopes("write", "read")(next)), []string{token}, 403, `Bearer realm="r", error="insufficient_scope", scope="read write"`},
		{"none", g.Handler(g.RequireScopes()(next)), []string{token}, 200, ""},
		{"without a guard before it", g.RequireScopes("read")(next), []string{token}, 500, ""},
		{"without a guard or scopes", g.RequireScopes()(next), []string{token}, 500, ""},
		{"of a request without a token", optional.Handler(optional.RequireScopes("read")(next)), nil, 401, `Bearer realm="o"`},
	} {
		w := ask(tt.handler, "GET", "/", tt.headers...)
		if w.Code != tt.code || strings.Join(w.Header().Values("WWW-Authenticate"), "; ") != tt.challenge {
			t.Errorf("%s: %d %v", tt.rule, w.Code, w.Header())
		}
	}
	if want := []oidc.Reason{oidc.ValidToken, oidc.ValidToken, oidc.InsufficientScope, oidc.ValidToken, oidc.Internal, oidc.Internal}; !slices.Equal(reasons, want) {
		t.Errorf("decisions %v, want %v", reasons, want)
	}
}

// The inner guard's word counts, whatever an outer one found.
func TestGuardsDoNotInheritATokenFromEachOther(t *testing.T) {
	issuer := newIssuer(t)
	v := newValidator(t, issuer)
	outer := newGuard(t, middleware.Config{Validator: v})
	inner := newGuard(t, middleware.Config{Validator: v, Optional: true})
	takeAway := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Authorization")
			next.ServeHTTP(w, r)
		})
	}
	h := outer.Handler(takeAway(inner.Handler(http.HandlerFunc(whoami))))
	if w := ask(h, "GET", "/", "Authorization: Bearer "+issuer.Token(nil)); w.Body.String() != "hello nobody" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTheZeroValuesDeny(t *testing.T) {
	var d middleware.Decision
	if d.Allowed() || d.Status() != 500 || d.Token() != nil || d.Reason() != oidc.Internal || d.Err() == nil {
		t.Errorf("%+v", d)
	}
	if _, ok := middleware.TokenFrom(d.Context(t.Context())); ok {
		t.Error("a token from nowhere")
	}
	if _, ok := middleware.TokenFrom(t.Context()); ok {
		t.Error("a token from nowhere")
	}
	w := ask((&middleware.Guard{}).Handler(http.HandlerFunc(whoami)), "GET", "/", "Authorization: Bearer x")
	if w.Code != 500 {
		t.Errorf("the zero Guard: %d", w.Code)
	}
}

func TestNewSaysAllThatIsWrong(t *testing.T) {
	verifier := newVerifier(t, dpop.Config{})
	for _, tt := range []struct {
		cfg  middleware.Config
		want string
	}{
		{middleware.Config{}, "middleware: Validator is missing: make one with oidc.NewValidator"},
		{middleware.Config{Scopes: []string{"a b"}}, `middleware: "a b" is not a scope`},
		{middleware.Config{DPoP: verifier}, "middleware: DPoP needs Origin: proofs name the URL that clients see"},
		{middleware.Config{NoBearer: true}, "middleware: with NoBearer and without DPoP no token would be accepted"},
		{middleware.Config{DPoP: verifier, Origin: "api.example.com"}, "middleware: Origin: the URL does not begin with https:// or http://"},
		{middleware.Config{DPoP: verifier, Origin: "https://api.example.com/"}, "middleware: Origin: it ends without a slash, and has no query and no fragment"},
		{middleware.Config{DPoP: verifier, Origin: "https://api.example.com?x"}, "middleware: Origin: it ends without a slash, and has no query and no fragment"},
		{middleware.Config{ResourceMetadata: "/x"}, "middleware: ResourceMetadata is not an absolute URL"},
		{middleware.Config{StepUp: oidc.StepUp{ACRValues: []string{}}}, "middleware: StepUp.ACRValues has no value that a token could have"},
		{middleware.Config{StepUp: oidc.StepUp{MaxAge: -1}}, "middleware: StepUp.MaxAge is negative"},
		{middleware.Config{Wait: -1}, "middleware: Wait is negative"},
	} {
		_, err := middleware.New(tt.cfg)
		if err == nil || !slices.Contains(strings.Split(err.Error(), "\n"), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestDPoP(t *testing.T) {
	issuer := newIssuer(t)
	v := newValidator(t, issuer)
	key, thief := newKey(t), newKey(t)
	bound := issuer.Token(claims{"cnf": claims{"jkt": key.Thumbprint()}, "scope": "read"})
	plain := issuer.Token(nil)
	verifier := newVerifier(t, dpop.Config{})
	const algs = `algs="ES256 ES384 ES512 EdDSA PS256 RS256"`
	both := middleware.Config{Validator: v, DPoP: verifier, Origin: origin + "/v1", Realm: "r"}
	alone, optional, scoped := both, both, both
	alone.NoBearer = true
	optional.NoBearer, optional.Optional = true, true
	scoped.Scopes = []string{"admin"}
	fresh := func(o dpop.Options) string {
		o.AccessToken = bound
		return "DPoP: " + proof(t, key, "GET", origin+"/v1/orders", o)
	}
	used := fresh(dpop.Options{})
	for _, tt := range []struct {
		rule    string
		config  middleware.Config
		target  string // GET /orders?page=2 if empty
		headers []string
		reason  oidc.Reason
		want    string // the challenge
	}{
		{"a bound token with its proof", both, "", []string{"Authorization: DPoP " + bound, used}, oidc.ValidToken, ""},
		{"the proof again", both, "", []string{"Authorization: DPoP " + bound, used}, oidc.ProofReplayed, `DPoP realm="r", error="invalid_dpop_proof", ` + algs},
		{"G1: as a bearer token", both, "", []string{"Authorization: Bearer " + bound, fresh(dpop.Options{})}, oidc.ProofMissing, `Bearer realm="r", error="invalid_token"; DPoP realm="r", ` + algs},
		{"G2: a token that is not bound", both, "", []string{"Authorization: DPoP " + plain, fresh(dpop.Options{})}, oidc.BindingMismatch, `DPoP realm="r", error="invalid_token", ` + algs},
		{"a token that is not bound, as a bearer token", both, "", []string{"Authorization: Bearer " + plain}, oidc.ValidToken, ""},
		{"a bearer token where they are not accepted", alone, "", []string{"Authorization: Bearer " + plain}, oidc.ProofMissing, `DPoP realm="r", error="invalid_token", ` + algs},
		{"a bearer token where they are not accepted, and none is needed", optional, "", []string{"Authorization: Bearer " + plain}, oidc.ProofMissing, `DPoP realm="r", error="invalid_token", ` + algs},
		{"none, where none is needed", optional, "", nil, oidc.Anonymous, ""},
		{"none", both, "", nil, oidc.MissingToken, `Bearer realm="r"; DPoP realm="r", ` + algs},
		{"none, without bearer tokens", alone, "", nil, oidc.MissingToken, `DPoP realm="r", ` + algs},
		{"G3: a thief's own key", both, "", []string{"Authorization: DPoP " + bound, "DPoP: " + proof(t, thief, "GET", origin+"/v1/orders", dpop.Options{AccessToken: bound})}, oidc.ProofInvalid, `DPoP realm="r", error="invalid_dpop_proof", ` + algs},
		{"G4: no proof", both, "", []string{"Authorization: DPoP " + bound}, oidc.ProofInvalid, `DPoP realm="r", error="invalid_dpop_proof", ` + algs},
		{"G4: two proofs", both, "", []string{"Authorization: DPoP " + bound, fresh(dpop.Options{}), fresh(dpop.Options{})}, oidc.ProofInvalid, `DPoP realm="r", error="invalid_dpop_proof", ` + algs},
		{"two credentials", both, "", []string{"Authorization: DPoP " + bound, "Authorization: Bearer " + plain, fresh(dpop.Options{})}, oidc.MultipleCredentials, `Bearer realm="r", error="invalid_request"`},
		{"G5: another path", both, "/other", []string{"Authorization: DPoP " + bound, fresh(dpop.Options{})}, oidc.ProofInvalid, `DPoP realm="r", error="invalid_dpop_proof", ` + algs},
		{"G5: a Host of the client's choice", both, "https://evil.example/orders", []string{"Authorization: DPoP " + bound, "X-Forwarded-Host: evil.example", fresh(dpop.Options{})}, oidc.ValidToken, ""},
		{"G5: a proof for that host", both, "https://evil.example/orders", []string{"Authorization: DPoP " + bound, "X-Forwarded-Host: evil.example", "DPoP: " + proof(t, key, "GET", "https://evil.example/orders", dpop.Options{AccessToken: bound})}, oidc.ProofInvalid, `DPoP realm="r", error="invalid_dpop_proof", ` + algs},
		{"G6: made too long ago", both, "", []string{"Authorization: DPoP " + bound, fresh(dpop.Options{Time: time.Now().Add(-10 * time.Minute)})}, oidc.ProofInvalid, `DPoP realm="r", error="invalid_dpop_proof", ` + algs},
		{"an expired token", both, "", []string{"Authorization: DPoP " + issuer.Token(claims{"exp": 1, "cnf": claims{"jkt": key.Thumbprint()}}), fresh(dpop.Options{})}, oidc.Expired, `DPoP realm="r", error="invalid_token", error_description="The access token expired", ` + algs},
		{"a scope is missing", scoped, "", []string{"Authorization: DPoP " + bound, fresh(dpop.Options{})}, oidc.InsufficientScope, `DPoP realm="r", error="insufficient_scope", scope="admin", ` + algs},
	} {
		var seen middleware.Decision
		tt.config.OnDecision = func(_ context.Context, d middleware.Decision) { seen = d }
		h := http.StripPrefix("/", newGuard(t, tt.config).Handler(http.HandlerFunc(whoami))) // which changes the URL
		target := tt.target
		if target == "" {
			target = "/orders?page=2"
		}
		w := ask(h, "GET", target, tt.headers...)
		if got := strings.Join(w.Header().Values("WWW-Authenticate"), "; "); seen.Reason() != tt.reason || got != tt.want || w.Code != tt.reason.Status() {
			t.Errorf("%s: %d, %v, got\n%s, want\n%s", tt.rule, w.Code, seen.Err(), got, tt.want)
		}
		if w.Header().Get("DPoP-Nonce") != "" {
			t.Errorf("%s: a nonce that nobody wants", tt.rule)
		}
	}
}

// RFC 9449 section 9: the client learns the nonce from a refusal, and the next one
// from each answer.
func TestDPoPNonces(t *testing.T) {
	issuer := newIssuer(t)
	key := newKey(t)
	token := issuer.Token(claims{"cnf": claims{"jkt": key.Thumbprint()}})
	nonces, err := dpop.NewNonces([]byte("a key of 32 bytes for this test.."))
	if err != nil {
		t.Fatal(err)
	}
	h := newGuard(t, middleware.Config{Validator: newValidator(t, issuer), DPoP: newVerifier(t, dpop.Config{Nonces: nonces}), Origin: origin}).Handler(http.HandlerFunc(whoami))
	send := func(nonce string) *httptest.ResponseRecorder {
		return ask(h, "GET", "/", "Authorization: DPoP "+token, "DPoP: "+proof(t, key, "GET", origin, dpop.Options{AccessToken: token, Nonce: nonce}))
	}
	first := send("")
	nonce := first.Header().Get("DPoP-Nonce")
	if first.Code != 401 || nonce == "" || !strings.HasPrefix(first.Header().Get("WWW-Authenticate"), `DPoP error="use_dpop_nonce", algs=`) ||
		first.Body.String() != `{"error":"use_dpop_nonce","error_description":"The access token is not valid"}` {
		t.Fatalf("%d %v %s", first.Code, first.Header(), first.Body)
	}
	second := send(nonce)
	if second.Code != 200 || second.Header().Get("DPoP-Nonce") == "" {
		t.Errorf("%d %v", second.Code, second.Header())
	}
	if w := ask(h, "GET", "/", "Authorization: Bearer "+issuer.Token(nil)); w.Code != 200 || w.Header().Get("DPoP-Nonce") != "" {
		t.Errorf("a bearer token: %d %v", w.Code, w.Header())
	}
}

func TestAPathCannotBecomeAHost(t *testing.T) {
	issuer := newIssuer(t)
	key := newKey(t)
	token := issuer.Token(claims{"cnf": claims{"jkt": key.Thumbprint()}})
	g := newGuard(t, middleware.Config{Validator: newValidator(t, issuer), DPoP: newVerifier(t, dpop.Config{}), Origin: origin})
	for path, allowed := range map[string]bool{".evil.example/x": false, "@evil.example/x": false, ":444/x": false, "/x": true, "": true, "?x": true} {
		d := g.Check(t.Context(), middleware.Request{
			Method: "GET", Path: path, Header: http.Header{
				"authorization": {"DPoP " + token},
				"dpop":          {proof(t, key, "GET", strings.Replace(origin+path, "@", ".", 1), dpop.Options{AccessToken: token})},
			},
		})
		if d.Allowed() != allowed {
			t.Errorf("%q: %v", path, d.Err())
		}
	}
}

func TestCertificateBoundTokens(t *testing.T) {
	issuer := newIssuer(t)
	sum := sha256.Sum256([]byte("DER of a certificate"))
	token := issuer.Token(claims{"cnf": claims{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}})
	g := newGuard(t, middleware.Config{Validator: newValidator(t, issuer), CertSHA256: middleware.ClientCert})
	h := g.Handler(http.HandlerFunc(whoami))
	certificate := func(der string) string {
		return "Client-Cert: :" + base64.StdEncoding.EncodeToString([]byte(der)) + ":"
	}
	for _, tt := range []struct {
		rule    string
		headers []string
		code    int
	}{
		{"its certificate", []string{certificate("DER of a certificate")}, 200},
		{"none", nil, 401},
		{"another", []string{certificate("DER of another")}, 401},
		{"two", []string{certificate("DER of a certificate"), certificate("DER of another")}, 401},
	} {
		w := ask(h, "GET", "/", append(tt.headers, "Authorization: Bearer "+token)...)
		if w.Code != tt.code {
			t.Errorf("%s: %d %s", tt.rule, w.Code, w.Body)
		}
	}
}

func TestErrorsAreOfTheEngine(t *testing.T) {
	issuer := newIssuer(t)
	g := newGuard(t, middleware.Config{Validator: newValidator(t, issuer), Scopes: []string{"admin"}})
	d := g.Check(t.Context(), middleware.Request{Header: http.Header{"Authorization": {"Bearer " + issuer.Token(nil)}}})
	var e *oidc.Error
	if !errors.As(d.Err(), &e) || !errors.Is(d.Err(), oidc.ErrNotAllowed) || e.Token == nil || e.IssuerName != "shop" {
		t.Errorf("%v", d.Err())
	}
	if d.Token() != nil {
		t.Error("a denial has a token to be taken for an allow")
	}
}

// What else brings requests than net/http has names of headers as they came.
func TestHeadersCountInAnyCase(t *testing.T) {
	issuer := newIssuer(t)
	g := newGuard(t, middleware.Config{Validator: newValidator(t, issuer), Optional: true})
	token := "Bearer " + issuer.Token(claims{"scope": "read"})
	for _, tt := range []struct {
		header http.Header
		scopes []string
		want   oidc.Reason
	}{
		{http.Header{"aUTHORIZATION": {token}}, nil, oidc.ValidToken},
		{http.Header{"authorization": {token}, "Authorization": {token}}, nil, oidc.MultipleCredentials},
		{http.Header{"authorization": {"Basic eA=="}, "Authorization": {token}}, nil, oidc.MultipleCredentials},
		{nil, nil, oidc.Anonymous},
		{http.Header{"authorization": {token}}, []string{"read"}, oidc.ValidToken},
		{http.Header{"authorization": {token}}, []string{"read", "write"}, oidc.InsufficientScope},
		{nil, []string{"read"}, oidc.MissingToken},
	} {
		if d := g.Check(t.Context(), middleware.Request{Header: tt.header, Scopes: tt.scopes}); d.Reason() != tt.want {
			t.Errorf("%v: %s, want %s", tt.header, d.Reason(), tt.want)
		}
	}
}
