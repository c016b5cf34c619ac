package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestLogout(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	logout, err := c.Logout(t.Context(), client.LogoutParams{
		IDToken: client.NewSecret("an.id.token"), PostLogoutRedirectURI: "https://shop.example.com/bye", LogoutHint: "alice", UILocales: []string{"de", "en"},
		Extra: url.Values{"x_brand": {"shop"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(logout.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(logout.URL, provider.URL+"/logout?") || q.Get("client_id") != "orders" || q.Get("id_token_hint") != "an.id.token" ||
		q.Get("post_logout_redirect_uri") != "https://shop.example.com/bye" || q.Get("state") != logout.State || len(logout.State) != 43 ||
		q.Get("logout_hint") != "alice" || q.Get("ui_locales") != "de en" || q.Get("x_brand") != "shop" {
		t.Errorf("got %s", logout.URL)
	}
	for query, good := range map[string]bool{
		"?state=" + logout.State:                            true,
		"?state=" + logout.State + "&state=" + logout.State: false,
		"?state=x":   false,
		"":           false,
		"?state=%zz": false,
	} {
		err := client.CheckPostLogout(httptest.NewRequest(http.MethodGet, "/bye"+query, nil), logout.State)
		if (err == nil) != good || !good && !errors.Is(err, client.ErrStateMismatch) {
			t.Errorf("%s: %v", query, err)
		}
	}
	if client.CheckPostLogout(httptest.NewRequest(http.MethodGet, "/bye?state=", nil), "") == nil {
		t.Error("an empty state is a state")
	}
	plain, err := c.Logout(t.Context(), client.LogoutParams{})
	if err != nil || plain.State != "" || strings.Contains(plain.URL, "state") {
		t.Errorf("got %+v, %v", plain, err)
	}
	for _, bad := range []client.LogoutParams{
		{PostLogoutRedirectURI: "http://shop.example.com/bye"}, {PostLogoutRedirectURI: "/bye"},
		{Extra: url.Values{"state": {"x"}}}, {Extra: url.Values{"post_logout_redirect_uri": {"https://evil.example.com"}}}, {Extra: url.Values{"client_id": {"x"}}},
	} {
		if l, err := c.Logout(t.Context(), bad); err == nil {
			t.Errorf("%+v: %s", bad, l.URL)
		}
	}
	provider.SetMetadata("end_session_endpoint", oidctest.Omit)
	lacking := open(t, provider, nil)
	if _, err := lacking.Logout(t.Context(), client.LogoutParams{}); errText(err) != "client: the provider's metadata has no end_session_endpoint" {
		t.Errorf("got %v", err)
	}
}

func TestBackchannelLogout(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	var ended []string
	var fail error
	handler := c.BackchannelLogoutHandler(func(_ context.Context, token *oidc.LogoutToken) error {
		ended = append(ended, token.Subject+"/"+token.SessionID)
		return fail
	})
	post := func(body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/logout", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Error("an answer that may be stored")
		}
		return w
	}
	good := provider.LogoutToken("orders", map[string]any{"sid": "s1"})
	if w := post("logout_token=" + good); w.Code != 200 || w.Body.Len() != 0 || strings.Join(ended, " ") != "alice/s1" {
		t.Errorf("%d %s, ended %v", w.Code, w.Body, ended)
	}
	fail = errors.New("the session store is away")
	if w := post("logout_token=" + good); w.Code != 400 || w.Body.String() != `{"error":"logout_failed"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	ended = nil
	for name, body := range map[string]string{
		"no token":                 "",
		"two tokens":               "logout_token=" + good + "&logout_token=" + good,
		"no form":                  "%zz",
		"too long":                 "logout_token=" + strings.Repeat("x", 70<<10),
		"forged":                   "logout_token=" + provider.LogoutToken("orders", nil, oidctest.Forged()),
		"for another client":       "logout_token=" + provider.LogoutToken("billing", nil),
		"an ID token":              "logout_token=" + provider.IDToken("orders", nil),
		"with a nonce":             "logout_token=" + provider.LogoutToken("orders", map[string]any{"nonce": "n"}),
		"without the event":        "logout_token=" + provider.LogoutToken("orders", map[string]any{"events": map[string]any{}}),
		"neither sub nor sid":      "logout_token=" + provider.LogoutToken("orders", map[string]any{"sub": oidctest.Omit}),
		"expired":                  "logout_token=" + provider.LogoutToken("orders", map[string]any{"exp": 1}),
		"without exp":              "logout_token=" + provider.LogoutToken("orders", map[string]any{"exp": oidctest.Omit}),
		"unsigned":                 "logout_token=" + provider.LogoutToken("orders", nil, oidctest.Unsigned()),
		"without an ID of its own": "logout_token=" + provider.LogoutToken("orders", map[string]any{"jti": oidctest.Omit}),
	} {
		if w := post(body); w.Code != 400 || w.Body.String() != `{"error":"invalid_request"}` {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/logout?logout_token="+good, nil))
	if w.Code != 400 {
		t.Errorf("a GET: %d", w.Code)
	}
	if len(ended) != 0 {
		t.Errorf("ended %v", ended)
	}

	provider.Down()
	cold := open(t, provider, nil)
	_, err := cold.ParseBackchannelLogout(t.Context(), formRequest("logout_token="+good))
	if !errors.Is(err, oidc.ErrCannotKnow) || !client.IsRetryable(err) {
		t.Errorf("without keys: %v", err)
	}
}

func formRequest(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestFrontchannelLogout(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	iss := url.QueryEscape(provider.URL)
	for _, tt := range []struct {
		query    string
		required bool
		sid      string
		err      error
	}{
		{"?iss=" + iss + "&sid=s1", true, "s1", nil},
		{"", false, "", nil},
		{"", true, "", client.ErrLogoutMalformed},
		{"?sid=s1", false, "", client.ErrLogoutMalformed},
		{"?iss=" + iss, false, "", client.ErrLogoutMalformed},
		{"?iss=" + iss + "&sid=", false, "", client.ErrLogoutMalformed},
		{"?iss=" + iss + "&sid=a&sid=b", false, "", client.ErrLogoutMalformed},
		{"?iss=https%3A%2F%2Fother.example.com&sid=s1", false, "", client.ErrIssuerMismatch},
		{"?iss=%zz", false, "", client.ErrLogoutMalformed},
	} {
		sid, err := c.ParseFrontchannelLogout(httptest.NewRequest(http.MethodGet, "/out"+tt.query, nil), tt.required)
		if sid != tt.sid || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v", tt.query, sid, err)
		}
	}
	if _, err := c.ParseFrontchannelLogout(httptest.NewRequest(http.MethodPost, "/out", nil), false); !errors.Is(err, client.ErrLogoutMalformed) {
		t.Errorf("a POST: %v", err)
	}
}
