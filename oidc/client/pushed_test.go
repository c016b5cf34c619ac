package client_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func parameters(t *testing.T, request *client.AuthorizationRequest) url.Values {
	t.Helper()
	u, err := url.Parse(request.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// RFC 9126: where the provider demands it, nobody has to say so; then nothing of
// the request is in the URL.
func TestRequestsArePushedWhereTheProviderOrTheConfigurationDemandsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		required, configured, want bool
	}{
		"nobody demands it": {}, "the provider": {required: true, want: true}, "the configuration": {configured: true, want: true},
	} {
		provider := start(t)
		provider.RegisterClient(app(func(c *oidctest.Client) { c.RequirePAR = tt.want }))
		if tt.required {
			provider.SetMetadata("require_pushed_authorization_requests", true)
		}
		c := open(t, provider, func(cfg *client.Config) { cfg.PushedRequests = tt.configured })
		l := begin(t, provider, c, openid(nil))
		q := parameters(t, l.request)
		if pushed := q.Has("request_uri"); pushed != tt.want || pushed && len(q) != 2 {
			t.Errorf("%s: the URL is %s", name, l.request.URL)
		}
		if n := provider.Requests(oidctest.PAR); (n == 1) != tt.want {
			t.Errorf("%s: %d pushed requests", name, n)
		}
		if _, err := l.finish(t, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPushedRequestLivesAsLongAsTheProviderSays(t *testing.T) {
	cl := newClock()
	provider := start(t, oidctest.WithClock(cl.Now))
	provider.RegisterClient(app(nil))
	c := open(t, provider, func(cfg *client.Config) { cfg.PushedRequests, cfg.Clock = true, cl.Now })
	request, err := c.AuthorizationRequest(t.Context(), openid(nil))
	if err != nil || !request.Expiry.Equal(cl.Now().Add(time.Minute)) {
		t.Fatal(request, err)
	}
	if _, err := provider.Browse(request.URL); err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Browse(request.URL); err == nil { // the fake issuer keeps to RFC 9126 section 4 too
		t.Error("a request_uri is good twice")
	}
}

func TestWhatIsNoAnswerToAPushedRequest(t *testing.T) {
	for name, body := range map[string]string{
		"no request_uri":       `{"expires_in":60}`,
		"not a string":         `{"request_uri":5,"expires_in":60}`,
		"no expires_in":        `{"request_uri":"urn:x"}`,
		"expired already":      `{"request_uri":"urn:x","expires_in":0}`,
		"a space in it":        `{"request_uri":"urn:x &request=evil","expires_in":60}`,
		"a huge one":           `{"request_uri":"urn:` + strings.Repeat("x", 3<<10) + `","expires_in":60}`,
		"truncated":            `{"request_uri":"urn:x",`,
		"an error as an array": `[]`,
	} {
		provider := start(t)
		provider.Respond(status(201, body), oidctest.PAR)
		c := open(t, provider, func(cfg *client.Config) { cfg.PushedRequests = true })
		var re *client.RequestError
		if _, err := c.AuthorizationRequest(t.Context(), openid(nil)); !errors.As(err, &re) || re.Result != oidc.FetchMalformed || re.Endpoint != client.PAREndpoint {
			t.Errorf("%s: %v", name, err)
		}
	}
	provider := start(t)
	provider.Respond(status(200, `{"request_uri":"urn:x","expires_in":60}`), oidctest.PAR)
	c := open(t, provider, func(cfg *client.Config) { cfg.PushedRequests = true })
	var re *client.RequestError
	if _, err := c.AuthorizationRequest(t.Context(), openid(nil)); !errors.As(err, &re) || re.Status != 200 {
		t.Errorf("status 200: %v", err)
	}
	provider.Respond(status(400, `{"error":"invalid_request"}`), oidctest.PAR)
	if _, err := c.AuthorizationRequest(t.Context(), openid(nil)); !errors.Is(err, client.ErrInvalidRequest) {
		t.Errorf("a refusal: %v", err)
	}
	provider.SetMetadata("pushed_authorization_request_endpoint", oidctest.Omit)
	other := open(t, provider, func(cfg *client.Config) { cfg.PushedRequests = true })
	if _, err := other.AuthorizationRequest(t.Context(), openid(nil)); err == nil || !strings.Contains(err.Error(), "has no pushed_authorization_request_endpoint") {
		t.Errorf("no endpoint: %v", err)
	}
}

// claimsOf is what a JWT says, unverified.
func claimsOf(t *testing.T, token string, part int) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[part])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// RFC 9101: all parameters are claims of the kind that they are.
func TestASignedRequestSaysAllThatWasAskedFor(t *testing.T) {
	key := oidctest.NewKey("ES256", "client-key")
	for _, pushed := range []bool{false, true} {
		provider := start(t)
		provider.RegisterClient(app(func(c *oidctest.Client) { c.SignedRequests, c.Keys, c.RequirePAR = true, []*oidctest.Key{key}, pushed }))
		c := open(t, provider, func(cfg *client.Config) { cfg.RequestKey, cfg.PushedRequests = signingKey(key), pushed })
		l := begin(t, provider, c, openid(func(p *client.AuthorizationParams) {
			p.MaxAge, p.Claims, p.Resources = time.Hour, json.RawMessage(`{"id_token":{"email":null}}`), []string{"https://a.example", "https://b.example"}
			p.AuthorizationDetails, p.Extra = json.RawMessage(`[{"type":"payment"}]`), url.Values{"display": {"popup"}}
		}))
		answer, err := l.finish(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if string(answer.AuthorizationDetails) != `[{"type":"payment"}]` {
			t.Errorf("granted details %s", answer.AuthorizationDetails)
		}
		if pushed {
			continue
		}
		q := parameters(t, l.request)
		if len(q) != 4 || q.Get("client_id") != "orders" || q.Get("response_type") != "code" || q.Get("scope") != "openid orders.read" {
			t.Errorf("outside the object: %v", q)
		}
		header, claims := claimsOf(t, q.Get("request"), 0), claimsOf(t, q.Get("request"), 1)
		if header["typ"] != "oauth-authz-req+jwt" || header["kid"] != "client-key" || header["alg"] != "ES256" {
			t.Errorf("header %v", header)
		}
		details, _ := claims["authorization_details"].([]any)
		wanted, _ := claims["claims"].(map[string]any)
		resources, _ := claims["resource"].([]any)
		maxAge, _ := claims["max_age"].(float64)
		if len(details) != 1 || wanted["id_token"] == nil || len(resources) != 2 || maxAge != 3600 || claims["display"] != "popup" ||
			claims["iss"] != "orders" || claims["aud"] != provider.URL || claims["sub"] != nil || claims["jti"] == "" || claims["redirect_uri"] != redirectURI {
			t.Errorf("claims %v", claims)
		}
		iat, _ := claims["iat"].(float64)
		nbf, _ := claims["nbf"].(float64)
		exp, _ := claims["exp"].(float64)
		if nbf != iat || exp-nbf != 300 {
			t.Errorf("from %v to %v", nbf, exp)
		}
	}
}

// RFC 9126 section 3: beside a signed request there is only what authenticates the
// client.
func TestASignedRequestIsPushedAlone(t *testing.T) {
	key := oidctest.NewKey("ES256", "k")
	for name, tt := range map[string]struct {
		auth client.ClientAuth
		want string
	}{
		"client_secret_basic": {client.ClientSecretBasic{Secret: client.NewSecret(secret)}, "request"},
		"private_key_jwt":     {client.PrivateKeyJWT{Key: signingKey(key)}, "client_assertion client_assertion_type client_id request"},
	} {
		provider := start(t)
		var names []string
		provider.Respond(func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			names = slices.Sorted(maps.Keys(r.PostForm))
			status(201, `{"request_uri":"urn:x","expires_in":60}`)(w, r)
		}, oidctest.PAR)
		c := open(t, provider, func(cfg *client.Config) {
			cfg.Auth, cfg.RequestKey, cfg.PushedRequests = tt.auth, signingKey(key), true
		})
		if _, err := c.AuthorizationRequest(t.Context(), openid(nil)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: pushed %s, want %s", name, got, tt.want)
		}
	}
}

// A parameter of the caller's cannot take the place of a claim.
func TestClaimsOfASignedRequestAreNotFree(t *testing.T) {
	c := open(t, start(t), func(cfg *client.Config) { cfg.RequestKey = signingKey(oidctest.NewKey("ES256", "k")) })
	for _, name := range []string{"iss", "aud", "exp", "nbf", "iat", "jti", "sub"} {
		_, err := c.AuthorizationRequest(t.Context(), openid(func(p *client.AuthorizationParams) { p.Extra = url.Values{name: {"x"}} }))
		if err == nil || !strings.Contains(err.Error(), "Extra has \""+name+"\"") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheKeyOfSignedRequestsIsAKeyForIt(t *testing.T) {
	key := oidctest.NewKey("ES256", "k")
	wrong := signingKey(key)
	wrong.Algorithm = oidc.RS256
	_, err := client.New(client.Config{Issuer: "https://id.example.com", ClientID: "orders", Auth: client.None{}, RequestKey: wrong})
	if err == nil || !strings.Contains(err.Error(), "RequestKey: algorithm \"RS256\" is not one of a key of type *ecdsa.PublicKey") {
		t.Error(err)
	}
	_, err = client.New(client.Config{Issuer: "https://id.example.com", ClientID: "orders", Auth: client.None{}, ResponseAlgorithms: []oidc.Algorithm{"HS256"}})
	if err == nil || !strings.Contains(err.Error(), `the algorithm "HS256" cannot be verified`) {
		t.Error(err)
	}
}

func TestIDTokensAreSignedAsRegistered(t *testing.T) {
	provider := start(t, oidctest.WithAlgorithms("ES256"))
	provider.RegisterClient(app(nil))
	c := open(t, provider, func(cfg *client.Config) { cfg.IDTokenAlgorithms = []oidc.Algorithm{oidc.PS256} })
	_, err := begin(t, provider, c, openid(nil)).finish(t, c)
	if oidc.ReasonOf(err) != oidc.UnsupportedAlgorithm {
		t.Error(err)
	}
}

// The example of RFC 9126 sections 2.1, 2.2 and 4.
func TestThePushedRequestOfTheRFC(t *testing.T) {
	provider := start(t)
	var sent url.Values
	provider.Respond(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		sent = r.PostForm
		status(201, `{"request_uri":"urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c","expires_in":60}`)(w, r)
	}, oidctest.PAR)
	c := open(t, provider, func(cfg *client.Config) { cfg.ClientID, cfg.PushedRequests = "s6BhdRkqt3", true })
	request, err := c.AuthorizationRequest(t.Context(), client.AuthorizationParams{
		RedirectURI: "https://client.example.org/cb", TokenParams: client.TokenParams{Scopes: []string{"account-information"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "s6BhdRkqt3", "redirect_uri": "https://client.example.org/cb", "code_challenge_method": "S256", "scope": "account-information",
	} {
		if sent.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, sent.Get(name), want)
		}
	}
	const want = "?client_id=s6BhdRkqt3&request_uri=urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3A6esc_11ACC5bwc014ltc14eY22c"
	if got := strings.TrimPrefix(request.URL, provider.URLOf(oidctest.Authorization)); got != want {
		t.Errorf("the URL ends with %s, want %s", got, want)
	}

	// Section 2.3.
	provider.Respond(status(400, `{"error":"invalid_request","error_description":"The redirect_uri is not valid for the given client"}`), oidctest.PAR)
	_, err = c.AuthorizationRequest(t.Context(), client.AuthorizationParams{RedirectURI: "https://client.example.org/cb"})
	var refusal *client.OAuthError
	if !errors.As(err, &refusal) || refusal.Code != "invalid_request" || refusal.Description != "The redirect_uri is not valid for the given client" || refusal.Status != 400 {
		t.Errorf("%#v", err)
	}
}

// The claims of RFC 9101 section 4, as far as a login by code has them.
func TestTheSignedRequestOfTheRFC(t *testing.T) {
	provider := start(t)
	key := oidctest.NewKey("ES256", "k")
	c := open(t, provider, func(cfg *client.Config) { cfg.ClientID, cfg.RequestKey = "s6BhdRkqt3", signingKey(key) })
	request, err := c.AuthorizationRequest(t.Context(), client.AuthorizationParams{
		RedirectURI: "https://client.example.org/cb", MaxAge: 86400 * time.Second, TokenParams: client.TokenParams{Scopes: []string{"openid"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	claims := claimsOf(t, parameters(t, request).Get("request"), 1)
	for name, want := range map[string]any{
		"iss": "s6BhdRkqt3", "aud": provider.URL, "response_type": "code", "client_id": "s6BhdRkqt3", "redirect_uri": "https://client.example.org/cb",
		"scope": "openid", "max_age": 86400.0, "request": nil, "request_uri": nil, "sub": nil,
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
}
