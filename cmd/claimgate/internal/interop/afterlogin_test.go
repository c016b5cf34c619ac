package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
)

// person is the transport of a browser that keeps its cookies from one browse to the
// next: who has logged in can log out.
type person struct {
	jar  http.CookieJar
	base http.RoundTripper
}

func newPerson(t *testing.T, base http.RoundTripper) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{jar, base}
}

func (p *person) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Cookie")
	for _, c := range p.jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	answer, err := p.base.RoundTrip(r)
	if err == nil {
		p.jar.SetCookies(r.URL, answer.Cookies())
	}
	return answer, err
}

// wantUserInfo asks who has logged in, by the good token and by a bad one.
func wantUserInfo(t *testing.T, c *client.Client, answer *client.TokenResponse, signed bool) {
	t.Helper()
	u, err := c.UserInfo(t.Context(), answer.AccessToken, client.UserInfoParams{Subject: answer.ID.Subject})
	if err != nil || u.Subject != answer.ID.Subject || u.Signed != signed {
		t.Errorf("user info: %+v, %v", u, err)
	}
	if _, err := c.UserInfo(t.Context(), answer.AccessToken, client.UserInfoParams{Subject: "another"}); err == nil {
		t.Error("user info about somebody else is taken")
	}
	wantNoUserInfo(t, c, client.NewSecret("a-token-of-nobody"))
}

// wantNoUserInfo asks by a token that is not good. zitadel's OP answers 401 and nothing
// else, the others invalid_token.
func wantNoUserInfo(t *testing.T, c *client.Client, token client.Secret) {
	t.Helper()
	u, err := c.UserInfo(t.Context(), token, client.UserInfoParams{AllowAnySubject: true})
	var bare *client.RequestError
	is401 := errors.As(err, &bare) && bare.Status == http.StatusUnauthorized
	if !errors.Is(err, client.ErrInvalidToken) && !is401 || client.IsRetryable(err) {
		t.Errorf("user info by a token that is not good: %+v, %v", u, err)
	}
}

// wantIntrospected asks about a token that is good, and about one that never was.
func wantIntrospected(t *testing.T, c *client.Client, token client.Secret, clientID string, signed bool) *client.Introspection {
	t.Helper()
	i, err := c.Introspect(t.Context(), token, client.HintAccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if !i.Active || i.Signed != signed || i.ClientID != clientID || i.Expiry.Before(time.Now()) {
		t.Errorf("a good token: %+v", i)
	}
	wantInactive(t, c, client.NewSecret("a-token-of-nobody"), signed)
	return i
}

// wantNoAnswer asks about a good token as one that the provider does not know: that says
// nothing about the token.
func wantNoAnswer(t *testing.T, stranger *client.Client, token client.Secret) {
	t.Helper()
	if i, err := stranger.Introspect(t.Context(), token, ""); i != nil || err == nil || client.IsRetryable(err) {
		t.Errorf("introspection by a stranger: %+v, %v", i, err)
	}
	if err := stranger.Revoke(t.Context(), token, ""); err == nil || client.IsRetryable(err) {
		t.Errorf("revocation by a stranger: %v", err)
	}
}

func wantInactive(t *testing.T, c *client.Client, token client.Secret, signed bool) {
	t.Helper()
	i, err := c.Introspect(t.Context(), token, "")
	if err != nil || i.Active || i.Signed != signed || i.Subject != "" || i.Raw() != nil {
		t.Errorf("a token that is not good: %+v, %v", i, err)
	}
}

// wantRevoked revokes a token, twice: the second time the provider knows it no more.
func wantRevoked(t *testing.T, c *client.Client, token client.Secret, hint client.TokenHint) {
	t.Helper()
	for range 2 {
		if err := c.Revoke(t.Context(), token, hint); err != nil {
			t.Errorf("revoking: %v", err)
		}
	}
}

// wantRevocation revokes both tokens of a login: neither is good for anything then.
func wantRevocation(t *testing.T, c *client.Client, answer *client.TokenResponse) {
	t.Helper()
	wantRevoked(t, c, answer.AccessToken, client.HintAccessToken)
	wantInactive(t, c, answer.AccessToken, false)
	wantNoUserInfo(t, c, answer.AccessToken)
	wantRevoked(t, c, answer.RefreshToken, client.HintRefreshToken)
	if _, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{}); !errors.Is(err, client.ErrInvalidGrant) {
		t.Errorf("the refresh token: %v", err)
	}
}

// logouts is a server that hears of logouts by the back channel.
type logouts struct {
	*httptest.Server
	mux    *http.ServeMux
	tokens chan *oidc.LogoutToken
}

func listenForLogouts(t *testing.T) *logouts {
	t.Helper()
	l := &logouts{mux: http.NewServeMux(), tokens: make(chan *oidc.LogoutToken, 8)}
	l.Server = httptest.NewServer(l.mux)
	t.Cleanup(l.Close)
	return l
}

func (l *logouts) uri() string { return l.URL + "/backchannel-logout" }

// serve has a client hear of them.
func (l *logouts) serve(c *client.Client) {
	l.mux.Handle("/backchannel-logout", c.BackchannelLogoutHandler(func(_ context.Context, token *oidc.LogoutToken) error {
		l.tokens <- token
		return nil
	}))
}

// wantLogout logs a user out at the provider: the browser comes back to bye, and the
// client hears of it. fields are those of the provider's page, if it has one.
func (l *logouts) wantLogout(t *testing.T, c *client.Client, who *person, answer *client.TokenResponse, bye string) {
	t.Helper()
	// What else the provider has signed for the client ends no session.
	forged := request(t, http.MethodPost, l.uri(), "application/x-www-form-urlencoded", url.Values{"logout_token": {answer.IDToken.Reveal()}}.Encode())
	send(t, oneShot, forged, http.StatusBadRequest)

	out, err := c.Logout(t.Context(), client.LogoutParams{IDToken: answer.IDToken, PostLogoutRedirectURI: bye})
	if err != nil {
		t.Fatal(err)
	}
	back := browse(t, who, out.URL, bye, nil)
	if err := client.CheckPostLogout(back, out.State); err != nil {
		t.Errorf("%v: %v", back.URL, err)
	}
	select {
	case token := <-l.tokens:
		if token.SessionID == "" || token.SessionID != answer.ID.SessionID || token.Subject != answer.ID.Subject {
			t.Errorf("the logout is that of %+v, want that of %+v", token, answer.ID)
		}
	case <-time.After(patience):
		t.Fatal("nobody hears of the logout")
	}
	if len(l.tokens) != 0 {
		t.Error("an ID token ended a session")
	}
}

// wantLoggedOut asks for a login without a page: there is no session any more.
func wantLoggedOut(t *testing.T, c *client.Client, who *person, redirectURI string) {
	t.Helper()
	_, _, err := clientLogIn(t, c, who, client.AuthorizationParams{RedirectURI: redirectURI, Prompt: []string{"none"}}, nil)
	if !errors.Is(err, client.ErrLoginRequired) {
		t.Errorf("after the logout: %v", err)
	}
}

// wantRegistration registers a client, reads and changes it, and takes it away.
func wantRegistration(t *testing.T, cfg client.Config, initial client.Secret) {
	t.Helper()
	r, err := client.NewRegistrar(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	metadata := client.ClientMetadata{
		ClientName: "kiosk", RedirectURIs: []string{shopCallback}, GrantTypes: []string{"authorization_code"},
		ResponseTypes: []string{"code"}, TokenEndpointAuthMethod: "client_secret_basic",
	}
	if _, err := r.Register(t.Context(), metadata, client.NewSecret("of-a-stranger")); err == nil || client.IsRetryable(err) {
		t.Errorf("registered by a stranger: %v", err)
	}
	reg, err := r.Register(t.Context(), metadata, initial)
	if err != nil {
		t.Fatal(err)
	}
	if reg.ClientID == "" || reg.ClientSecret.IsZero() || !slices.Equal(reg.Metadata.RedirectURIs, metadata.RedirectURIs) {
		t.Errorf("registered: %+v", reg)
	}
	read, err := r.Read(t.Context(), reg)
	if err != nil || read.Metadata.ClientName != "kiosk" {
		t.Fatalf("read: %+v, %v", read, err)
	}
	metadata.ClientName = "counter"
	changed, err := r.Update(t.Context(), read, metadata)
	if err != nil || changed.Metadata.ClientName != "counter" {
		t.Fatalf("changed: %+v, %v", changed, err)
	}
	if err := r.Delete(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), changed); err == nil || client.IsRetryable(err) {
		t.Errorf("read after it was deleted: %v", err)
	}
}

// What oidc/client does at npm's oidc-provider when the login is over.
func TestClientAfterLoginAtOIDCProvider(t *testing.T) {
	t.Parallel()
	heard := listenForLogouts(t)
	p := startClientProvider(t, "BACKCHANNEL_LOGOUT="+heard.uri())
	desk := p.open(t, func(cfg *client.Config) {
		cfg.ClientID, cfg.Auth = "desk", client.ClientSecretBasic{Secret: client.NewSecret("desk-secret")}
	})
	notary := p.open(t, func(cfg *client.Config) {
		cfg.ClientID, cfg.Auth = "notary", client.ClientSecretBasic{Secret: client.NewSecret("notary-secret")}
		cfg.UserInfoAlgorithms, cfg.IntrospectionAlgorithms = []oidc.Algorithm{oidc.ES256}, []oidc.Algorithm{oidc.ES256}
	})
	heard.serve(desk)
	logIn := func(t *testing.T, c *client.Client) *client.TokenResponse {
		t.Helper()
		_, answer, err := p.logIn(t, c, client.AuthorizationParams{})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}

	t.Run("user info is that of the login", func(t *testing.T) {
		wantUserInfo(t, desk, logIn(t, desk), false)
	})
	t.Run("user info that is signed", func(t *testing.T) {
		wantUserInfo(t, notary, logIn(t, notary), true)
	})
	t.Run("introspection", func(t *testing.T) {
		token := logIn(t, desk).AccessToken
		wantNoAnswer(t, p.open(t, func(cfg *client.Config) {
			cfg.ClientID, cfg.Auth = "desk", client.ClientSecretBasic{Secret: client.NewSecret("another")}
		}), token)
		if i := wantIntrospected(t, desk, token, "desk", false); i.Subject != "alice" || i.TokenType != "Bearer" {
			t.Errorf("%+v", i)
		}
	})
	t.Run("introspection that is signed", func(t *testing.T) {
		if i := wantIntrospected(t, notary, logIn(t, notary).AccessToken, "notary", true); i.Subject != "alice" {
			t.Errorf("%+v", i)
		}
	})
	t.Run("a token that is revoked is good no more", func(t *testing.T) {
		wantRevocation(t, desk, logIn(t, desk))
	})
	t.Run("a logout at the provider, and the back channel tells of it", func(t *testing.T) {
		who := newPerson(t, p.transport())
		_, answer, err := clientLogIn(t, desk, who, client.AuthorizationParams{RedirectURI: shopCallback}, map[string]string{"login": "alice", "password": "any"})
		if err != nil {
			t.Fatal(err)
		}
		heard.wantLogout(t, desk, who, answer, "https://shop.example.com/bye")
		wantLoggedOut(t, desk, who, shopCallback)
	})
	t.Run("a client is registered, changed and taken away", func(t *testing.T) {
		cfg := client.Config{Issuer: p.issuer}
		cfg.HTTP.RootCAs = p.roots
		wantRegistration(t, cfg, client.NewSecret("of-the-operator"))
	})
}

// The same at Keycloak.

func (k *keycloak) clientAsksWhoLoggedIn(t *testing.T) {
	c, answer := k.loggedIn(t)
	wantUserInfo(t, c, answer, false)
}

func (k *keycloak) clientIntrospects(t *testing.T) {
	c, answer := k.loggedIn(t)
	wantNoAnswer(t, k.open(t, "shop", func(cfg *client.Config) {
		cfg.Auth = client.ClientSecretBasic{Secret: client.NewSecret("another")}
	}), answer.AccessToken)
	if i := wantIntrospected(t, c, answer.AccessToken, "shop", false); i.Subject != answer.ID.Subject || i.Issuer != k.issuer || i.Username != "alice" {
		t.Errorf("%+v", i)
	}
}

func (k *keycloak) clientRevokes(t *testing.T) {
	c, answer := k.loggedIn(t)
	wantRevocation(t, c, answer)
}

func (k *keycloak) clientLogsOut(t *testing.T) {
	heard := listenForLogouts(t)
	const bye = "http://127.0.0.1/bye"
	k.addClient(t, "desk", map[string]any{"attributes": map[string]string{
		"backchannel.logout.url": heard.uri(), "backchannel.logout.session.required": "true", "post.logout.redirect.uris": bye,
	}})
	c, who := k.open(t, "desk", nil), newPerson(t, oneShot.Transport)
	heard.serve(c)
	_, answer, err := clientLogIn(t, c, who, client.AuthorizationParams{RedirectURI: callback}, map[string]string{"username": "alice", "password": "alice-password"})
	if err != nil {
		t.Fatal(err)
	}
	heard.wantLogout(t, c, who, answer, bye)
	wantLoggedOut(t, c, who, callback)
}

func (k *keycloak) clientIsRegistered(t *testing.T) {
	var initial struct{ Token string }
	answer := k.call(t, http.MethodPost, "/admin/realms/shop/clients-initial-access", `{"expiration": 600, "count": 2}`, http.StatusOK)
	if err := json.Unmarshal(answer, &initial); err != nil {
		t.Fatal(err)
	}
	wantRegistration(t, client.Config{Issuer: k.issuer}, client.NewSecret(initial.Token))
}

// The same at Spring's and zitadel's servers.

// open makes one of their clients.
func (p *provider) open(t *testing.T, id string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Issuer: p.issuer, ClientID: id, Auth: client.ClientSecretBasic{Secret: client.NewSecret(id + "-secret")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
