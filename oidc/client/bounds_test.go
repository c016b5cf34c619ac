package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestRedirectURIs(t *testing.T) {
	strict := open(t, start(t), nil)
	lab := open(t, start(t), func(cfg *client.Config) { cfg.Insecure = true })
	for uri, refused := range map[string]bool{
		"https://shop.example.com/cb": false, "http://localhost:8080/cb": false, "http://[::1]/cb": false, "http://127.8.8.8/cb": false,
		"http://192.0.2.1/cb": true, "http://localhost.example.com/cb": true, "https:///cb": true, "https://%zz/cb": true, "https://shop.example.com/%zz": true,
	} {
		_, err := strict.AuthorizationRequest(t.Context(), client.AuthorizationParams{RedirectURI: uri})
		if (err != nil) != refused {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if _, err := lab.AuthorizationRequest(t.Context(), client.AuthorizationParams{RedirectURI: "http://192.0.2.1/cb"}); err != nil {
		t.Errorf("with Insecure: %v", err)
	}
}

func TestListsInARequest(t *testing.T) {
	c := open(t, start(t), nil)
	for list, refused := range map[string]bool{"none": false, "": true, "lo\tgin": true, "lo\ngin": true} {
		_, err := c.AuthorizationRequest(t.Context(), openid(func(p *client.AuthorizationParams) { p.Prompt = []string{list} }))
		if (err != nil) != refused {
			t.Errorf("prompt %q: %v", list, err)
		}
	}
}

// max_age is in whole seconds, and what is asked for is what the ID token has to show.
func TestMaxAgeIsSentAndHeldTo(t *testing.T) {
	cl := newClock()
	provider := start(t, oidctest.WithClock(cl.Now))
	provider.RegisterClient(app(nil))
	c := open(t, provider, func(cfg *client.Config) { cfg.Clock = cl.Now })
	for _, tt := range []struct {
		maxAge  time.Duration
		sent    string
		ago     time.Duration // of the user's authentication
		refused bool
	}{
		{0, "", 1000 * time.Hour, false},
		{-1, "0", 30 * time.Second, false}, // the leeway
		{-1, "0", 31 * time.Second, true},
		{time.Hour, "3600", time.Hour + 30*time.Second, false},
		{time.Hour, "3600", time.Hour + 31*time.Second, true},
		{time.Second, "1", 31 * time.Second, false},
		{time.Second / 2, "0", 32 * time.Second, true},
	} {
		provider.SetLogin(oidctest.Login{AuthTime: cl.Now().Add(-tt.ago)})
		l := begin(t, provider, c, openid(func(p *client.AuthorizationParams) { p.MaxAge = tt.maxAge }))
		if got := parameters(t, l.request); got.Get("max_age") != tt.sent || got.Has("max_age") != (tt.sent != "") {
			t.Errorf("%v: max_age %q", tt.maxAge, got.Get("max_age"))
		}
		if _, err := l.finish(t, c); (err != nil) != tt.refused || err != nil && oidc.ReasonOf(err) != oidc.InsufficientAuthentication {
			t.Errorf("%v, authenticated %v ago: %v", tt.maxAge, tt.ago, err)
		}
	}
}

// A wish for a class is no demand.
func TestACRValuesAloneAreAWish(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	if _, err := begin(t, provider, c, openid(func(p *client.AuthorizationParams) { p.ACRValues = []string{"gold"} })).finish(t, c); err != nil {
		t.Error(err)
	}
}

// A client that cannot find the provider's keys asks for nothing signed.
func TestWithoutKeysNothingSignedIsAskedFor(t *testing.T) {
	c, err := client.New(client.Config{
		ClientID: "orders", Auth: client.None{},
		Metadata: &client.Metadata{Issuer: "https://id.example.com", AuthorizationEndpoint: "https://id.example.com/authorize"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := client.AuthorizationParams{RedirectURI: redirectURI}
	request, err := c.AuthorizationRequest(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	p.ResponseMode = "jwt"
	if _, err := c.AuthorizationRequest(t.Context(), p); err == nil || !strings.Contains(err.Error(), "signature cannot be verified") {
		t.Error(err)
	}
	// One who has a transaction of such a request cannot use it here.
	signed := strings.Replace(request.Transaction.Encode().Reveal(), `"exp"`, `"mode":"jwt","exp"`, 1)
	tx, err := client.DecodeTransaction(client.NewSecret(signed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ParseCallbackQuery(t.Context(), tx, "response=a.b.c"); err == nil || !strings.Contains(err.Error(), "signature cannot be verified") {
		t.Error(err)
	}
}

func TestACodeIsOfItsClient(t *testing.T) {
	provider, elsewhere := start(t), start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	l := begin(t, provider, c, openid(nil))
	callback, err := c.ParseCallback(t.Context(), l.request.Transaction, l.callback)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*client.Client{
		"of another provider": open(t, elsewhere, nil),
		"of another client":   open(t, provider, func(cfg *client.Config) { cfg.ClientID = "other" }),
		"with a DPoP key":     open(t, provider, func(cfg *client.Config) { cfg.DPoP = newDPoPKey(t) }),
	} {
		if _, err := other.ExchangeCode(t.Context(), callback, client.TokenParams{}); !errors.Is(err, client.ErrTransactionForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, none := range []*client.Callback{nil, {}} {
		if _, err := c.ExchangeCode(t.Context(), none, client.TokenParams{}); err == nil || err.Error() != "client: there is no callback" {
			t.Errorf("none: %v", err)
		}
	}
	if _, err := c.ExchangeCode(t.Context(), callback, client.TokenParams{}); err != nil {
		t.Errorf("its own client, after all these: %v", err)
	}
}

func TestACallbackThatIsPostedIsAForm(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	l := begin(t, provider, c, openid(func(p *client.AuthorizationParams) { p.ResponseMode = "form_post" }))
	body, err := io.ReadAll(l.callback.Body)
	if err != nil {
		t.Fatal(err)
	}
	post := func(contentType string, body io.Reader) error {
		r, err := http.NewRequest(http.MethodPost, redirectURI, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		_, err = c.ParseCallback(t.Context(), l.request.Transaction, r)
		return err
	}
	const form = "application/x-www-form-urlencoded"
	for name, err := range map[string]error{
		"JSON":         post("application/json", strings.NewReader(string(body))),
		"no type":      post("", strings.NewReader(string(body))),
		"a bad type":   post(form+"; a=b; a=c", strings.NewReader(string(body))),
		"a broken one": post(form, iotest.ErrReader(errors.New("broken"))),
		"a huge one":   post(form, strings.NewReader(string(body)+"&x="+strings.Repeat("x", 64<<10))),
		"no form":      post(form, strings.NewReader("%zz")),
	} {
		if !errors.Is(err, client.ErrCallbackMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fill := 64<<10 - len(body) - len("&x=")
	if err := post(form+"; charset=utf-8", strings.NewReader(string(body)+"&x="+strings.Repeat("x", fill))); err != nil {
		t.Errorf("one that is just not too large: %v", err)
	}
}

func TestWhatTheProviderSaysInACallbackIsCutOff(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	provider.ChangeCallback(func(v url.Values) {
		v.Del("code")
		v.Set("error", strings.Repeat("e", 65))
		v.Set("error_description", strings.Repeat("d", 513))
		v.Set("error_uri", "https://id.example.com/e")
	})
	_, err := begin(t, provider, c, openid(nil)).finish(t, c)
	var oe *client.OAuthError
	if !errors.As(err, &oe) || len(oe.Code) != 64 || len(oe.Description) != 512 || oe.URI != "https://id.example.com/e" {
		t.Errorf("%#v", err)
	}
	for _, name := range []string{"token_type", "access_token", "id_token"} {
		provider.ChangeCallback(func(v url.Values) { v.Set(name, "x") })
		if _, err := begin(t, provider, c, openid(nil)).finish(t, c); !errors.Is(err, client.ErrCallbackMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPushedRequestThatLivesLongerThanTheTransaction(t *testing.T) {
	cl := newClock()
	provider := start(t, oidctest.WithClock(cl.Now))
	provider.Respond(status(201, `{"request_uri":"urn:!~","expires_in":86400}`), oidctest.PAR)
	c := open(t, provider, func(cfg *client.Config) { cfg.PushedRequests, cfg.Clock = true, cl.Now })
	request, err := c.AuthorizationRequest(t.Context(), openid(nil))
	if err != nil || !request.Expiry.Equal(cl.Now().Add(10*time.Minute)) {
		t.Error(request, err)
	}
	for _, body := range []string{`{"request_uri":"","expires_in":60}`, `{"request_uri":"urn:\u00e4","expires_in":60}`, `{"request_uri":"urn:\u007f","expires_in":60}`, `{"request_uri":"urn:x","expires_in":{}}`} {
		provider.Respond(status(201, body), oidctest.PAR)
		var re *client.RequestError
		if _, err := c.AuthorizationRequest(t.Context(), openid(nil)); !errors.As(err, &re) || re.Result != oidc.FetchMalformed {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// The profiles of FAPI 2.0 allow for ten seconds between clocks.
func TestAProfileAllowsForTenSeconds(t *testing.T) {
	clientKey := oidctest.NewKey("ES256", "client-key")
	for _, tt := range []struct {
		profile client.Profile
		ahead   time.Duration
		refused bool
	}{
		{client.ProfileFAPI2, 10 * time.Second, false}, {client.ProfileFAPI2, 11 * time.Second, true},
		{"", 30 * time.Second, false}, {"", 31 * time.Second, true},
	} {
		provider, cfg := fapi(t)
		cl := newClock()
		cfg.Profile, cfg.Clock, cfg.PushedRequests, cfg.DPoP = tt.profile, cl.Now, true, nil
		provider.RegisterClient(oidctest.Client{ID: "orders", Method: "private_key_jwt", Keys: []*oidctest.Key{clientKey}, RedirectURIs: []string{redirectURI}})
		cfg.Auth, cfg.RequestKey = client.PrivateKeyJWT{Key: signingKey(clientKey)}, signingKey(clientKey)
		if tt.profile != "" {
			cfg.DPoP = newDPoPKey(t)
		}
		cl.add(time.Since(cl.Now())) // the provider's clock is the real one
		provider.ChangeIDToken(func(claims map[string]any) {
			claims["iat"], claims["exp"], claims["auth_time"] = cl.Now().Add(tt.ahead).Unix(), cl.Now().Add(time.Hour).Unix(), 5
		})
		c := newClient(t, cfg)
		_, err := begin(t, provider, c, openid(nil)).finish(t, c)
		if (err != nil) != tt.refused || err != nil && oidc.ReasonOf(err) != oidc.NotYetValid {
			t.Errorf("profile %q, %v ahead: %v", tt.profile, tt.ahead, err)
		}
	}
}

func TestAProfileTakesEachSignedMode(t *testing.T) {
	_, cfg := fapi(t)
	c := newClient(t, cfg)
	for _, mode := range []string{"jwt", "query.jwt", "form_post.jwt"} {
		if _, err := c.AuthorizationRequest(t.Context(), openid(func(p *client.AuthorizationParams) { p.ResponseMode = mode })); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
	// The issuer by its name is what a client assertion is for without saying so.
	auth, _ := cfg.Auth.(client.PrivateKeyJWT)
	auth.Audience = cfg.Issuer
	cfg.Auth, cfg.IDTokenAlgorithms = auth, []oidc.Algorithm{oidc.PS256, oidc.ES256, oidc.EdDSA}
	newClient(t, cfg)
}

func TestAnIncompleteTransactionIsRefused(t *testing.T) {
	c := open(t, start(t), nil)
	request, err := c.AuthorizationRequest(t.Context(), openid(nil))
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	if err := json.Unmarshal([]byte(request.Transaction.Encode().Reveal()), &whole); err != nil {
		t.Fatal(err)
	}
	for name, empty := range map[string]any{"v": 0, "client": "", "redirect": "", "state": "", "verifier": "", "exp": 0} {
		part := map[string]any{}
		for n, v := range whole {
			part[n] = v
		}
		part[name] = empty
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.DecodeTransaction(client.NewSecret(string(text))); err == nil {
			t.Errorf("without %s: %v", name, err)
		}
	}
	spaces := 16<<10 - len(request.Transaction.Encode().Reveal())
	for more, refused := range map[int]bool{spaces: false, spaces + 1: true} {
		_, err := client.DecodeTransaction(client.NewSecret(strings.Repeat(" ", more) + request.Transaction.Encode().Reveal()))
		if (err != nil) != refused {
			t.Errorf("%d spaces: %v", more, err)
		}
	}
	zero := &client.Transaction{}
	if zero.State() != "" || !zero.Expiry().IsZero() || !zero.Encode().IsZero() {
		t.Error("the zero transaction is something")
	}
	text, err := request.Transaction.MarshalText()
	if err != nil || string(text) != "REDACTED" || fmt.Sprintf("%+v", request.Transaction) != "REDACTED" || request.Transaction.LogValue().String() != "REDACTED" {
		t.Errorf("it prints %+v", request.Transaction)
	}
}
