package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const redirectURI = "https://shop.example.com/callback?tenant=a"

// app is a client that users log in to.
func app(change func(*oidctest.Client)) oidctest.Client {
	c := oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: secret, RedirectURIs: []string{redirectURI}, RefreshTokens: true}
	if change != nil {
		change(&c)
	}
	return c
}

func openid(change func(*client.AuthorizationParams)) client.AuthorizationParams {
	p := client.AuthorizationParams{RedirectURI: redirectURI, TokenParams: client.TokenParams{Scopes: []string{"openid", "orders.read"}}}
	if change != nil {
		change(&p)
	}
	return p
}

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// login is a login as far as it gets.
type login struct {
	request  *client.AuthorizationRequest
	callback *http.Request // what the browser comes back with
}

// begin begins a login and lets the browser come back.
func begin(t *testing.T, provider *oidctest.Issuer, c *client.Client, p client.AuthorizationParams) login {
	t.Helper()
	request, err := c.AuthorizationRequest(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	callback, err := provider.Browse(request.URL)
	if err != nil {
		t.Fatal(err)
	}
	return login{request, callback}
}

// finish finishes it.
func (l login) finish(t *testing.T, c *client.Client) (*client.TokenResponse, error) {
	t.Helper()
	callback, err := c.ParseCallback(t.Context(), l.request.Transaction, l.callback)
	if err != nil {
		return nil, err
	}
	return c.ExchangeCode(t.Context(), callback, client.TokenParams{})
}

func TestALoginBringsTokensOfTheUser(t *testing.T) {
	for _, mode := range []string{"", "query", "form_post", "jwt", "query.jwt", "form_post.jwt"} {
		t.Run("mode "+mode, func(t *testing.T) {
			provider := start(t)
			provider.RegisterClient(app(nil))
			provider.SetLogin(oidctest.Login{Subject: "bob", Claims: map[string]any{"acr": "gold"}})
			c := open(t, provider, nil)
			l := begin(t, provider, c, openid(func(p *client.AuthorizationParams) {
				p.ResponseMode, p.MaxAge, p.ACRValues, p.RequireACR = mode, time.Hour, []string{"gold", "silver"}, true
				p.Resources = []string{"https://orders.example.com", "https://stock.example.com"}
			}))
			answer, err := l.finish(t, c)
			if err != nil {
				t.Fatal(err)
			}
			if answer.ID == nil || answer.ID.Subject != "bob" || answer.ID.ACR != "gold" || answer.ID.AuthTime.IsZero() {
				t.Errorf("ID token %+v", answer.ID)
			}
			if strings.Join(answer.Scopes, " ") != "openid orders.read" || answer.RefreshToken.IsZero() || answer.TokenType != "Bearer" {
				t.Errorf("answer %+v", answer)
			}
			again, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: answer.ID})
			if err != nil || again.ID.Subject != "bob" {
				t.Errorf("refreshed: %+v, %v", again, err)
			}
		})
	}
}

func TestTheRequestSaysWhatWasAskedFor(t *testing.T) {
	provider := start(t)
	provider.SetMetadata("authorization_endpoint", provider.URLOf(oidctest.Authorization)+"?realm=shop")
	c := open(t, provider, nil)
	request, err := c.AuthorizationRequest(t.Context(), openid(func(p *client.AuthorizationParams) {
		p.Prompt, p.MaxAge, p.LoginHint, p.UILocales = []string{"login", "consent"}, -1, "bob@example.com", []string{"de", "fr-CA"}
		p.ACRValues, p.Claims, p.IDTokenHint = []string{"gold"}, json.RawMessage(`{"id_token":{"email":null}}`), client.NewSecret("hint")
		p.AuthorizationDetails = json.RawMessage(`[{"type":"payment"}]`)
		p.Audiences, p.Extra = []string{"api"}, url.Values{"display": {"popup"}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(request.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"realm": "shop", "response_type": "code", "client_id": "orders", "redirect_uri": redirectURI, "scope": "openid orders.read",
		"code_challenge_method": "S256", "prompt": "login consent", "max_age": "0", "login_hint": "bob@example.com", "ui_locales": "de fr-CA",
		"acr_values": "gold", "claims": `{"id_token":{"email":null}}`, "id_token_hint": "hint", "authorization_details": `[{"type":"payment"}]`,
		"audience": "api", "display": "popup", "state": request.Transaction.State(), "response_mode": "", "request": "", "request_uri": "", "dpop_jkt": "",
	} {
		if got := q.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} { // 32 random bytes each
		if len(q.Get(name)) != 43 {
			t.Errorf("%s is %q", name, q.Get(name))
		}
	}
	other, err := c.AuthorizationRequest(t.Context(), client.AuthorizationParams{RedirectURI: redirectURI})
	if err != nil {
		t.Fatal(err)
	}
	u, _ = url.Parse(other.URL)
	if u.Query().Get("state") == q.Get("state") || u.Query().Get("code_challenge") == q.Get("code_challenge") {
		t.Error("a value comes twice")
	}
	if u.Query().Has("nonce") || u.Query().Has("scope") {
		t.Error("a nonce or a scope that nobody asked for")
	}
}

// The values of RFC 7636 appendix B.
func TestTheChallengeIsThatOfTheRFC(t *testing.T) {
	if got := client.ChallengeOf("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Errorf("challenge %s", got)
	}
}

func TestARequestThatCannotBeGoodIsNotMade(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		params func(*client.AuthorizationParams)
		change func(*oidctest.Issuer)
		want   string
	}{
		{rule: "no redirect URI", params: func(p *client.AuthorizationParams) { p.RedirectURI = "" }, want: "RedirectURI is empty"},
		{rule: "a relative one", params: func(p *client.AuthorizationParams) { p.RedirectURI = "/callback" }, want: "RedirectURI is no absolute URI without fragment (RFC 6749 section 3.1.2)"},
		{rule: "a fragment", params: func(p *client.AuthorizationParams) { p.RedirectURI = "https://shop.example.com/#" }, want: "RedirectURI is no absolute URI without fragment (RFC 6749 section 3.1.2)"},
		{rule: "plain http", params: func(p *client.AuthorizationParams) { p.RedirectURI = "http://shop.example.com/" }, want: "RedirectURI is plain http off loopback: a code that comes there can be read on the way"},
		{rule: "a user", params: func(p *client.AuthorizationParams) { p.RedirectURI = "https://me@shop.example.com/" }, want: "RedirectURI has a user in it"},
		{rule: "javascript", params: func(p *client.AuthorizationParams) { p.RedirectURI = "javascript:alert(1)" }, want: `RedirectURI has the scheme "javascript", which is neither https nor a private-use scheme such as com.example.app`},
		{rule: "http on loopback", params: func(p *client.AuthorizationParams) { p.RedirectURI = "http://127.0.0.1:8080/cb" }},
		{rule: "an app's scheme", params: func(p *client.AuthorizationParams) { p.RedirectURI = "com.example.shop:/cb" }},
		{rule: "a fragment as response mode", params: func(p *client.AuthorizationParams) { p.ResponseMode = "fragment" }, want: `ResponseMode "fragment" is none of query, form_post, jwt, query.jwt and form_post.jwt`},
		{rule: "prompt none and another", params: func(p *client.AuthorizationParams) { p.Prompt = []string{"none", "login"} }, want: "Prompt none goes with no other"},
		{rule: "acr without values", params: func(p *client.AuthorizationParams) { p.RequireACR = true }, want: "RequireACR needs ACRValues"},
		{rule: "claims that are no object", params: func(p *client.AuthorizationParams) { p.Claims = json.RawMessage(`[]`) }, want: "Claims is no JSON object"},
		{rule: "a list in a list", params: func(p *client.AuthorizationParams) { p.UILocales = []string{"de fr"} }, want: `"de fr" is not a value of Prompt, ACRValues or UILocales: one has no space in it`},
		{rule: "an Extra with a field", params: func(p *client.AuthorizationParams) { p.Extra = url.Values{"max_age": {"1"}} }, want: `Extra has "max_age": use the field for it`},
		{rule: "another response type", params: func(p *client.AuthorizationParams) { p.Extra = url.Values{"response_type": {"token"}} }, want: `client: Extra has "response_type", which is not free: use the field for it`},
		{rule: "plain PKCE", params: func(p *client.AuthorizationParams) { p.Extra = url.Values{"code_challenge_method": {"plain"}} }, want: `client: Extra has "code_challenge_method", which is not free: use the field for it`},
		{rule: "a request of one's own", params: func(p *client.AuthorizationParams) { p.Extra = url.Values{"request": {"x"}} }, want: `client: Extra has "request", which is not free: use the field for it`},
		{
			rule: "a provider without S256", change: func(i *oidctest.Issuer) { i.SetMetadata("code_challenge_methods_supported", []string{"plain"}) },
			want: "the provider does not support PKCE with S256, without which a stolen code is worth a login",
		},
		{
			rule: "a provider that wants a signature", change: func(i *oidctest.Issuer) { i.SetMetadata("require_signed_request_object", true) },
			want: "the provider wants a signed request (RFC 9101): set Config.RequestKey",
		},
		{
			rule: "no endpoint", change: func(i *oidctest.Issuer) { i.SetMetadata("authorization_endpoint", oidctest.Omit) },
			want: "client: the provider's metadata has no authorization_endpoint",
		},
		{
			rule: "a plain endpoint", change: func(i *oidctest.Issuer) { i.SetMetadata("authorization_endpoint", "http://elsewhere.example/") },
			want: "authorization_endpoint is a plain http URL",
		},
	} {
		provider := start(t)
		if tt.change != nil {
			tt.change(provider)
		}
		c := open(t, provider, nil)
		_, err := c.AuthorizationRequest(t.Context(), openid(tt.params))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.rule, err, tt.want)
		}
	}
}

func TestACallbackIsTheAnswerToItsRequest(t *testing.T) {
	set := func(name, value string) func(url.Values) { return func(v url.Values) { v.Set(name, value) } }
	del := func(names ...string) func(url.Values) {
		return func(v url.Values) {
			for _, name := range names {
				v.Del(name)
			}
		}
	}
	for _, tt := range []struct {
		rule   string
		mode   string
		change func(url.Values)
		want   error
	}{
		{rule: "another login's state", change: set("state", "other"), want: client.ErrStateMismatch},
		{rule: "no state", change: del("state"), want: client.ErrCallbackMalformed},
		{rule: "another provider (mix-up)", change: set("iss", "https://evil.example"), want: client.ErrIssuerMismatch},
		{rule: "an empty issuer", change: set("iss", ""), want: client.ErrIssuerMismatch},
		{rule: "no issuer where it is promised", change: del("iss"), want: client.ErrIssuerMismatch},
		{rule: "no issuer in an error", change: func(v url.Values) { v.Del("iss"); v.Del("code"); v.Set("error", "access_denied") }, want: client.ErrIssuerMismatch},
		{rule: "a forged error", change: func(v url.Values) { v.Set("error", "access_denied"); v.Set("state", "other") }, want: client.ErrStateMismatch},
		{rule: "no code", change: del("code"), want: client.ErrCallbackMalformed},
		{rule: "a code twice", change: func(v url.Values) { v.Add("code", "other") }, want: client.ErrCallbackMalformed},
		{rule: "anything twice", change: func(v url.Values) { v["x"] = []string{"1", "2"} }, want: client.ErrCallbackMalformed},
		{rule: "a token", change: set("access_token", "x"), want: client.ErrCallbackMalformed},
		{rule: "an ID token", change: set("id_token", "x"), want: client.ErrCallbackMalformed},
		{rule: "a signed answer nobody asked for", change: set("response", "x"), want: client.ErrCallbackMalformed},
		{rule: "a huge one", change: set("x", strings.Repeat("x", 64<<10)), want: client.ErrCallbackMalformed},
		{rule: "an error", change: func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") }, want: client.ErrAccessDenied},
		{rule: "an error beside a code", change: set("error", "server_error"), want: client.ErrServerError},
		{rule: "signed: another state", mode: "jwt", change: set("state", "other"), want: client.ErrStateMismatch},
		{rule: "signed: an error", mode: "jwt", change: func(v url.Values) { v.Del("code"); v.Set("error", "login_required") }, want: client.ErrLoginRequired},
		{rule: "signed: another issuer", mode: "jwt", change: set("iss", "https://evil.example"), want: oidc.ErrBadToken},
		{rule: "signed: by form", mode: "form_post.jwt", change: del("code"), want: client.ErrCallbackMalformed},
		{rule: "form: another state", mode: "form_post", change: set("state", "other"), want: client.ErrStateMismatch},
	} {
		provider := start(t)
		provider.RegisterClient(app(nil))
		c := open(t, provider, nil)
		provider.ChangeCallback(tt.change)
		_, err := begin(t, provider, c, openid(func(p *client.AuthorizationParams) { p.ResponseMode = tt.mode })).finish(t, c)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.rule, err, tt.want)
		}
		if n := provider.Requests(oidctest.Token); n != 0 {
			t.Errorf("%s: the token endpoint was asked", tt.rule)
		}
	}
}

func TestWithoutAPromiseTheIssuerNeedNotBeNamed(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	provider.SetMetadata("authorization_response_iss_parameter_supported", oidctest.Omit)
	provider.ChangeCallback(func(v url.Values) { v.Del("iss") })
	c := open(t, provider, nil)
	if _, err := begin(t, provider, c, openid(nil)).finish(t, c); err != nil {
		t.Error(err)
	}
}

// A signed answer that was asked for cannot be left away, nor made by others.
func TestASignedAnswerIsWhatWasAskedFor(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	jarm := func(t *testing.T) *client.AuthorizationRequest {
		t.Helper()
		request, err := c.AuthorizationRequest(t.Context(), openid(func(p *client.AuthorizationParams) { p.ResponseMode = "jwt" }))
		if err != nil {
			t.Fatal(err)
		}
		return request
	}
	plain := jarm(t)
	_, err := c.ParseCallbackQuery(t.Context(), plain.Transaction, "code=x&iss="+url.QueryEscape(provider.URL)+"&state="+plain.Transaction.State())
	if !errors.Is(err, client.ErrCallbackMalformed) {
		t.Errorf("a plain answer: %v", err)
	}
	for name, options := range map[string][]oidctest.TokenOption{
		"forged": {oidctest.Forged()}, "unsigned": {oidctest.Unsigned()}, "an access token's type": {oidctest.Header("typ", "at+jwt")},
	} {
		request := jarm(t)
		claims := map[string]any{"aud": "orders", "sub": oidctest.Omit, "client_id": oidctest.Omit, "jti": oidctest.Omit, "code": "x", "state": request.Transaction.State()}
		response := provider.Token(claims, append([]oidctest.TokenOption{oidctest.Header("typ", "JWT")}, options...)...)
		if _, err := c.ParseCallbackQuery(t.Context(), request.Transaction, "response="+response); !errors.Is(err, oidc.ErrBadToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATransactionIsGoodOnceForTenMinutes(t *testing.T) {
	cl := newClock()
	provider := start(t, oidctest.WithClock(cl.Now))
	provider.RegisterClient(app(nil))
	c := open(t, provider, func(cfg *client.Config) { cfg.Clock = cl.Now })

	l := begin(t, provider, c, openid(nil))
	if got, want := l.request.Expiry, cl.Now().Add(10*time.Minute); !got.Equal(want) || !l.request.Transaction.Expiry().Equal(want) {
		t.Errorf("expiry %v, want %v", got, want)
	}
	if _, err := l.finish(t, c); err != nil {
		t.Fatal(err)
	}
	if _, err := l.finish(t, c); !errors.Is(err, client.ErrTransactionUsed) {
		t.Errorf("a second callback: %v", err)
	}

	// Junk with another state leaves the transaction be.
	l = begin(t, provider, c, openid(nil))
	if _, err := c.ParseCallbackQuery(t.Context(), l.request.Transaction, "code=x&state=other"); !errors.Is(err, client.ErrStateMismatch) {
		t.Errorf("junk: %v", err)
	}
	if _, err := l.finish(t, c); err != nil {
		t.Error("after junk:", err)
	}

	l = begin(t, provider, c, openid(nil))
	cl.add(10 * time.Minute)
	if _, err := l.finish(t, c); !errors.Is(err, client.ErrTransactionExpired) {
		t.Errorf("after ten minutes: %v", err)
	}
}

func TestACodeIsExchangedOnce(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	l := begin(t, provider, c, openid(nil))
	stored := l.request.Transaction.Encode()
	callback, err := c.ParseCallback(t.Context(), l.request.Transaction, l.callback)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExchangeCode(t.Context(), callback, client.TokenParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExchangeCode(t.Context(), callback, client.TokenParams{}); !errors.Is(err, client.ErrTransactionUsed) {
		t.Errorf("the same callback: %v", err)
	}
	// A store that gives it out twice: then the provider refuses the code.
	again, err := client.DecodeTransaction(stored)
	if err != nil {
		t.Fatal(err)
	}
	if callback, err = c.ParseCallback(t.Context(), again, l.callback); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExchangeCode(t.Context(), callback, client.TokenParams{}); !errors.Is(err, client.ErrInvalidGrant) {
		t.Errorf("a replayed code: %v", err)
	}
}

func TestATransactionIsStoredAndReadAgain(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	provider.SetLogin(oidctest.Login{Claims: map[string]any{"acr": "bronze"}})
	c := open(t, provider, nil)
	l := begin(t, provider, c, openid(func(p *client.AuthorizationParams) { p.RequireACR, p.ACRValues, p.MaxAge = true, []string{"gold"}, -1 }))
	stored := l.request.Transaction.Encode()
	tx, err := client.DecodeTransaction(stored)
	if err != nil {
		t.Fatal(err)
	}
	if tx.State() != l.request.Transaction.State() || !tx.Expiry().Equal(l.request.Transaction.Expiry()) || !tx.Encode().Equal(stored) {
		t.Error("what is read is not what was written")
	}
	other := open(t, provider, nil) // another process
	callback, err := other.ParseCallback(t.Context(), tx, l.callback)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.ExchangeCode(t.Context(), callback, client.TokenParams{}); oidc.ReasonOf(err) != oidc.InsufficientAuthentication {
		t.Errorf("what the transaction wants of acr: %v", err)
	}
	for _, text := range []string{
		"", "{}", "null", "[]", "x", stored.Reveal() + " {}", strings.Replace(stored.Reveal(), `"v":1`, `"v":2`, 1),
		strings.Replace(stored.Reveal(), `"v":1`, `"v":1,"other":1`, 1), strings.Repeat(" ", 17<<10) + stored.Reveal(),
	} {
		if _, err := client.DecodeTransaction(client.NewSecret(text)); err == nil || strings.Contains(err.Error(), tx.State()) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestATransactionIsOfItsClient(t *testing.T) {
	provider, elsewhere := start(t), start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	l := begin(t, provider, c, openid(nil))
	for name, other := range map[string]*client.Client{
		"of another provider": open(t, elsewhere, nil),
		"of another client":   open(t, provider, func(cfg *client.Config) { cfg.ClientID = "other" }),
	} {
		if _, err := other.ParseCallback(t.Context(), l.request.Transaction, l.callback); !errors.Is(err, client.ErrTransactionForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.ParseCallback(t.Context(), nil, l.callback); err == nil || !strings.Contains(err.Error(), "there is no transaction") {
		t.Errorf("none: %v", err)
	}
	if _, err := c.ParseCallback(t.Context(), &client.Transaction{}, l.callback); err == nil || !strings.Contains(err.Error(), "there is no transaction") {
		t.Errorf("the zero one: %v", err)
	}
	for name, r := range map[string]*http.Request{
		"PUT":       {Method: http.MethodPut, URL: l.callback.URL},
		"JSON POST": {Method: http.MethodPost, URL: l.callback.URL, Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody},
	} {
		if _, err := c.ParseCallback(t.Context(), l.request.Transaction, r); !errors.Is(err, client.ErrCallbackMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A form that another handler has parsed is still there.
func TestACallbackWhoseFormWasReadIsReadAgain(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	l := begin(t, provider, c, openid(func(p *client.AuthorizationParams) { p.ResponseMode = "form_post" }))
	if err := l.callback.ParseForm(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.finish(t, c); err != nil {
		t.Error(err)
	}
}

func TestTransactionsPrintNothing(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	request, err := c.AuthorizationRequest(t.Context(), openid(nil))
	if err != nil {
		t.Fatal(err)
	}
	tx := request.Transaction
	asJSON, err := json.Marshal(struct{ T *client.Transaction }{tx})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("login", "tx", tx)
	for _, text := range []string{string(asJSON), log.String(), fmt.Sprintf("%v %+v %#v %s %d", tx, tx, tx, tx, tx), fmt.Sprint(tx.Encode())} {
		if strings.Contains(text, tx.State()) || strings.Contains(text, "verifier") {
			t.Error(text)
		}
	}
}

func TestTheIDTokenOfALoginIsThatOfTheRequest(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		change func(claims map[string]any)
		want   string // the claim at fault
	}{
		{"a swapped nonce", func(c map[string]any) { c["nonce"] = "other" }, "nonce"},
		{"no nonce", func(c map[string]any) { delete(c, "nonce") }, "nonce"},
		{"another access token's hash", func(c map[string]any) { c["at_hash"] = "77QmUPtjPfzWtF2AnpK9RQ" }, "at_hash"},
		{"another code's hash", func(c map[string]any) { c["c_hash"] = "77QmUPtjPfzWtF2AnpK9RQ" }, "c_hash"},
		{"another state's hash", func(c map[string]any) { c["s_hash"] = "77QmUPtjPfzWtF2AnpK9RQ" }, "s_hash"},
		{"for another client", func(c map[string]any) { c["aud"] = "other" }, "aud"},
		{"issued to another client", func(c map[string]any) { c["azp"] = "other" }, "azp"},
		{"an old authentication", func(c map[string]any) { c["auth_time"] = 1 }, "auth_time"},
		{"nobody knows when", func(c map[string]any) { delete(c, "auth_time") }, "auth_time"},
		{"of another issuer", func(c map[string]any) { c["iss"] = "https://evil.example" }, "iss"},
		{"expired", func(c map[string]any) { c["exp"] = 5 }, "exp"},
	} {
		provider := start(t)
		provider.RegisterClient(app(nil))
		provider.ChangeIDToken(tt.change)
		c := open(t, provider, nil)
		answer, err := begin(t, provider, c, openid(func(p *client.AuthorizationParams) { p.MaxAge = time.Hour })).finish(t, c)
		var refusal *oidc.Error
		if answer != nil || !errors.As(err, &refusal) || refusal.Claim != tt.want {
			t.Errorf("%s: %+v, %v", tt.rule, answer, err)
		}
	}
}

func TestALoginWithoutIDTokenIsRefused(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	provider.HandleGrant("authorization_code", func(g oidctest.GrantRequest) (map[string]any, *oidctest.Refusal) {
		return g.TokenAnswer("alice"), nil
	})
	if _, err := begin(t, provider, c, openid(nil)).finish(t, c); err == nil || !strings.Contains(err.Error(), "no id_token") {
		t.Error(err)
	}
	// Without the scope openid it is no login, and needs none.
	p := openid(func(p *client.AuthorizationParams) { p.Scopes = []string{"orders.read"} })
	answer, err := begin(t, provider, c, p).finish(t, c)
	if err != nil || strings.Join(answer.Scopes, " ") != "orders.read" {
		t.Error(answer, err)
	}
}

func TestTheUserWhoRefusesIsAnOAuthError(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	provider.SetLogin(oidctest.Login{Refuse: &oidctest.Refusal{Code: "access_denied", Description: strings.Repeat("no ", 500)}})
	c := open(t, provider, nil)
	_, err := begin(t, provider, c, openid(nil)).finish(t, c)
	var oe *client.OAuthError
	if !errors.As(err, &oe) || oe.Code != "access_denied" || oe.Status != 0 || oe.Endpoint != "" || len(oe.Description) > 512 {
		t.Errorf("%#v", err)
	}
}

// What the token endpoint does wrong is an error, and never a login.
func TestAFaultAtTheTokenEndpointIsNoLogin(t *testing.T) {
	for name, fault := range map[string]func(*oidctest.Issuer){
		"truncated JSON": func(i *oidctest.Issuer) { i.Body(`{"access_token":"x","token_type":"Bear`, oidctest.Token) },
		"503":            func(i *oidctest.Issuer) { i.Fail(503, oidctest.Token) },
		"a huge body":    func(i *oidctest.Issuer) { i.Body(`{"x":"`+strings.Repeat("x", 2<<20)+`"}`, oidctest.Token) },
		"a page":         func(i *oidctest.Issuer) { i.HTML(oidctest.Token) },
		"a redirect":     func(i *oidctest.Issuer) { i.Redirect("https://evil.example/", oidctest.Token) },
		"two tokens": func(i *oidctest.Issuer) {
			i.Body(`{"access_token":"x","access_token":"y","token_type":"Bearer"}`, oidctest.Token)
		},
	} {
		provider := start(t)
		provider.RegisterClient(app(nil))
		c := open(t, provider, nil)
		l := begin(t, provider, c, openid(nil))
		fault(provider)
		var re *client.RequestError
		answer, err := l.finish(t, c)
		if answer != nil || !errors.As(err, &re) || re.Endpoint != client.TokenEndpoint {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
		if n := provider.Requests(oidctest.Token); n != 1 {
			t.Errorf("%s: %d requests with one code", name, n)
		}
	}
}

func FuzzParseCallbackQuery(f *testing.F) {
	provider := oidctest.NewIssuer()
	f.Cleanup(provider.Close)
	provider.RegisterClient(app(nil))
	c, err := client.New(client.Config{Issuer: provider.URL, ClientID: "orders", Auth: client.None{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	f.Add("code=x&state=STATE&iss=ISS")
	f.Add("error=access_denied&state=STATE&iss=ISS")
	f.Add("code=x&code=y&state=STATE&iss=ISS")
	f.Add("%zz;&=&state=STATE")
	f.Fuzz(func(t *testing.T, query string) {
		request, err := c.AuthorizationRequest(t.Context(), client.AuthorizationParams{RedirectURI: redirectURI})
		if err != nil {
			t.Fatal(err)
		}
		query = strings.NewReplacer("STATE", request.Transaction.State(), "ISS", url.QueryEscape(provider.URL)).Replace(query)
		if _, err := c.ParseCallbackQuery(t.Context(), request.Transaction, query); err != nil {
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil || len(values["state"]) != 1 || values.Get("state") != request.Transaction.State() || len(values["code"]) != 1 ||
			values.Get("code") == "" || values.Get("iss") != provider.URL || values.Get("error") != "" {
			t.Errorf("accepted %q", query)
		}
	})
}

// Two providers, one of which is the attacker's: it sends the browser on to the
// honest one, so that the client takes the honest one's code to the attacker (RFC
// 9207 section 1). The issuer in the answer gives it away.
func TestAMixUpAttackGetsNoCode(t *testing.T) {
	honest, evil := start(t), start(t)
	for _, provider := range []*oidctest.Issuer{honest, evil} {
		provider.RegisterClient(app(nil))
	}
	c := open(t, evil, nil)
	request, err := c.AuthorizationRequest(t.Context(), openid(nil))
	if err != nil {
		t.Fatal(err)
	}
	redirected := strings.Replace(request.URL, evil.URLOf(oidctest.Authorization), honest.URLOf(oidctest.Authorization), 1)
	callback, err := honest.Browse(redirected)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (login{request, callback}).finish(t, c); !errors.Is(err, client.ErrIssuerMismatch) {
		t.Error(err)
	}
	if n := evil.Requests(oidctest.Token); n != 0 {
		t.Error("the attacker got the code")
	}
}

// A stolen code is worth nothing in another login: its verifier is another one, and
// so is its nonce (RFC 9700 section 4.5).
func TestAnInjectedCodeIsRefused(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, nil)
	victim, attacker := begin(t, provider, c, openid(nil)), begin(t, provider, c, openid(nil))
	q := attacker.callback.URL.Query()
	q.Set("code", victim.callback.URL.Query().Get("code"))
	attacker.callback.URL.RawQuery = q.Encode()
	if _, err := attacker.finish(t, c); !errors.Is(err, client.ErrInvalidGrant) {
		t.Error(err)
	}
}
