package client_test

import (
	"encoding/json"
	"errors"
	"io"
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

// answerWith has the token endpoint answer with a body.
func answerWith(provider *oidctest.Issuer, status int, contentType, body string) {
	provider.Respond(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}, oidctest.Token)
}

func TestClientCredentials(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	provider := start(t, oidctest.WithClock(clock))
	var form url.Values
	provider.HandleGrant("client_credentials", func(g oidctest.GrantRequest) (map[string]any, *oidctest.Refusal) {
		form = g.PostForm
		answer := g.TokenAnswer("orders")
		answer["custom"] = 1
		return answer, nil
	})
	c := open(t, provider, func(cfg *client.Config) { cfg.Clock = clock })
	answer, err := c.ClientCredentials(t.Context(), client.TokenParams{
		Scopes: []string{"stock.read", "stock.write"}, Resources: []string{"https://a.example.com", "urn:b"}, Audiences: []string{"x", "y"},
		AuthorizationDetails: json.RawMessage(`[{"type":"payment"}]`), Extra: url.Values{"tenant": {"t1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"grant_type": {"client_credentials"}, "scope": {"stock.read stock.write"}, "resource": {"https://a.example.com", "urn:b"},
		"audience": {"x", "y"}, "authorization_details": {`[{"type":"payment"}]`}, "tenant": {"t1"},
	}
	if form.Encode() != want.Encode() {
		t.Errorf("sent %v, want %v", form, want)
	}
	if !answer.Expiry.Equal(now.Add(oidctest.Lifetime)) || answer.TokenType != "Bearer" || !slices.Equal(answer.Scopes, []string{"stock.read", "stock.write"}) {
		t.Errorf("got %+v", answer)
	}
	if !strings.Contains(string(answer.Raw()), `"custom":1`) || !strings.Contains(string(answer.Raw()), answer.AccessToken.Reveal()) {
		t.Errorf("raw %s", answer.Raw())
	}
}

func TestParametersThatAreNotFree(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	for _, tt := range []struct {
		params client.TokenParams
		want   string
	}{
		{client.TokenParams{Extra: url.Values{"grant_type": {"password"}}}, `client: Extra has "grant_type", which is not free: use the field for it`},
		{client.TokenParams{Extra: url.Values{"client_id": {"other"}}}, `client: Extra has "client_id", which is not free: use the field for it`},
		{client.TokenParams{Extra: url.Values{"client_assertion": {"x"}}}, `client: Extra has "client_assertion", which is not free: use the field for it`},
		{client.TokenParams{Extra: url.Values{"scope": {"all"}}}, `client: Extra has "scope", which is not free: use the field for it`},
		{client.TokenParams{Scopes: []string{"a b"}}, `client: Scopes has "a b", which is no scope: one is printable ASCII without space, quote and backslash`},
		{client.TokenParams{Resources: []string{"/orders"}}, `client: Resources has "/orders", which is no absolute URI without fragment (RFC 8707)`},
		{client.TokenParams{Resources: []string{"https://a#b"}}, `client: Resources has "https://a#b", which is no absolute URI without fragment (RFC 8707)`},
		{client.TokenParams{Audiences: []string{""}}, `client: Audiences has an empty one`},
		{client.TokenParams{AuthorizationDetails: json.RawMessage(`{}`)}, `client: AuthorizationDetails is no JSON array`},
		{client.TokenParams{AuthorizationDetails: json.RawMessage(`[{}]`)}, `client: AuthorizationDetails has an element without type`},
		{client.TokenParams{AuthorizationDetails: json.RawMessage(`[`)}, `client: AuthorizationDetails is not valid JSON`},
	} {
		if _, err := c.ClientCredentials(t.Context(), tt.params); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	if n := provider.Requests(oidctest.Token); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// What a token endpoint answers is a token that this client can use, or an error
// that says what it is.
func TestAnswersOfTheTokenEndpoint(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	const jsonType = "application/json"
	tests := []struct {
		rule        string
		status      int
		contentType string
		body        string
		want        string // of the error; "" if the answer is good
		is          error
		retryable   bool
	}{
		{rule: "minimal", body: `{"access_token":"t","token_type":"bearer"}`},
		{rule: "expires_in as a text", body: `{"access_token":"t","token_type":"Bearer","expires_in":"60"}`},
		{rule: "nulls", body: `{"access_token":"t","token_type":"Bearer","expires_in":null,"refresh_token":null,"scope":null}`},
		{rule: "a huge expires_in", body: `{"access_token":"t","token_type":"Bearer","expires_in":1e400}`},
		{rule: "a charset", contentType: "application/json; charset=utf-8", body: `{"access_token":"t","token_type":"Bearer"}`},

		{rule: "no token", body: `{"token_type":"Bearer"}`, want: "client: token_endpoint: the answer has no access_token"},
		{rule: "no type", body: `{"access_token":"t"}`, want: "client: token_endpoint: the answer has no token_type"},
		{rule: "a type of token that needs a proof", body: `{"access_token":"t","token_type":"DPoP"}`, want: "client: token_endpoint: the answer's token_type is not Bearer: this client cannot use such a token"},
		{rule: "N_A is for token exchange", body: `{"access_token":"t","token_type":"N_A"}`, want: "client: token_endpoint: the answer's token_type is not Bearer: this client cannot use such a token"},
		{rule: "a token that is a number", body: `{"access_token":1,"token_type":"Bearer"}`, want: "client: token_endpoint: the answer's access_token is no string"},
		{rule: "a lifetime that is none", body: `{"access_token":"t","token_type":"Bearer","expires_in":"soon"}`, want: "client: token_endpoint: the answer's expires_in is no number"},
		{rule: "a lifetime that is an object", body: `{"access_token":"t","token_type":"Bearer","expires_in":{}}`, want: "client: token_endpoint: the answer's expires_in is no number"},
		{rule: "two tokens", body: `{"access_token":"t","access_token":"u","token_type":"Bearer"}`, want: "client: token_endpoint: the answer is JSON with a duplicate member"},
		{rule: "truncated", body: `{"access_token":"t","token_`, want: "client: token_endpoint: the answer is not valid JSON"},
		{rule: "a list", body: `[]`, want: "client: token_endpoint: the answer is no JSON object"},
		{rule: "details that are no list", body: `{"access_token":"t","token_type":"Bearer","authorization_details":{}}`, want: "client: token_endpoint: the answer's authorization_details is no array"},
		{rule: "empty", want: "client: token_endpoint: the answer is not valid JSON"},
		{rule: "a web page", contentType: "text/html", body: `<!doctype html>`, want: "client: token_endpoint: an HTML page in place of JSON"},
		{rule: "too large", body: strings.Repeat(" ", 1<<20+1), want: "client: token_endpoint: the answer is over 1 MiB"},
		{rule: "another status of success", status: 202, body: `{}`, want: "client: token_endpoint: status 202"},

		{rule: "a refusal", status: 400, body: `{"error":"invalid_grant","error_description":"over"}`, want: `client: token_endpoint: the provider answered invalid_grant: "over" (status 400)`, is: client.ErrInvalidGrant},
		{rule: "a refusal with status 200", body: `{"error":"slow_down"}`, want: "client: token_endpoint: the provider answered slow_down (status 200)", is: client.ErrSlowDown, retryable: true},
		{rule: "a code with control characters", status: 400, body: `{"error":"a\nb"}`, want: `client: token_endpoint: the provider answered "a\nb" (status 400)`},
		{rule: "a busy provider", status: 503, body: `{"error":"temporarily_unavailable"}`, want: "client: token_endpoint: the provider answered temporarily_unavailable (status 503)", is: client.ErrTemporarilyUnavailable, retryable: true},
		{rule: "a broken provider", status: 502, contentType: "text/html", body: "<h1>Bad Gateway", want: "client: token_endpoint: status 502", retryable: true},
		{rule: "too many requests", status: 429, want: "client: token_endpoint: status 429", retryable: true},
		{rule: "a redirect", status: 307, want: "client: token_endpoint: status 307; redirects are not followed, so configure the final URL"},
		{rule: "not found", status: 404, want: "client: token_endpoint: status 404"},
		{rule: "an error that is no text", status: 400, body: `{"error":{"code":1}}`, want: "client: token_endpoint: status 400"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if tt.status == 0 {
				tt.status = http.StatusOK
			}
			if tt.contentType == "" {
				tt.contentType = jsonType
			}
			answerWith(provider, tt.status, tt.contentType, tt.body)
			before := provider.Requests(oidctest.Token)
			answer, err := c.ClientCredentials(t.Context(), client.TokenParams{})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || (answer == nil) != (tt.want != "") {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if client.IsRetryable(err) != tt.retryable {
				t.Errorf("retryable %t, want %t", !tt.retryable, tt.retryable)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("it is not %v", tt.is)
			}
			if n := provider.Requests(oidctest.Token) - before; n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// What a provider repeats of a secret does not get into an error.
func TestErrorsDoNotRepeatSecrets(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	token := "refresh-that-nobody-knows"
	_, err := c.Refresh(t.Context(), client.NewSecret(token), client.RefreshParams{})
	if want := `client: token_endpoint: the provider answered invalid_grant: "no such refresh token: REDACTED" (status 400)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	provider := start(t)
	c := open(t, provider, func(cfg *client.Config) { cfg.Clock = func() time.Time { return now } })
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "99999999": 24 * time.Hour,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		for _, body := range []string{``, `{"error":"temporarily_unavailable"}`} {
			provider.Respond(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, body)
			}, oidctest.Token)
			_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
			if got := client.RetryAfter(err); got != want {
				t.Errorf("%q: %s, want %s", value, got, want)
			}
		}
	}
}

func TestRefresh(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	first := client.NewSecret(provider.RefreshToken("orders", "alice", "openid stock.read"))
	answer, err := c.Refresh(t.Context(), first, client.RefreshParams{Previous: &oidc.IDToken{Subject: "alice"}})
	if err != nil {
		t.Fatal(err)
	}
	if answer.RefreshToken.IsZero() || answer.RefreshToken.Equal(first) {
		t.Error("the refresh token was not rotated")
	}
	if answer.ID == nil || answer.ID.Subject != "alice" || answer.IDToken.IsZero() {
		t.Errorf("ID token %+v", answer.ID)
	}
	if _, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: &oidc.IDToken{Subject: "mallory"}}); oidc.ReasonOf(err) != oidc.InvalidClaim {
		t.Errorf("another subject: %v", err)
	}
	if _, err := c.Refresh(t.Context(), first, client.RefreshParams{}); !errors.Is(err, client.ErrInvalidGrant) || client.IsRetryable(err) {
		t.Errorf("a refresh token that was used: %v", err)
	}
	if _, err := c.Refresh(t.Context(), client.Secret{}, client.RefreshParams{}); err == nil {
		t.Error("an empty refresh token was sent")
	}
}

// A provider that does not rotate leaves the refresh token as it was.
func TestRefreshWithoutRotation(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: secret})
	c := open(t, provider, nil)
	token := client.NewSecret(provider.RefreshToken("orders", "alice", ""))
	for range 2 {
		answer, err := c.Refresh(t.Context(), token, client.RefreshParams{})
		if err != nil {
			t.Fatal(err)
		}
		if !answer.RefreshToken.Equal(token) {
			t.Error("the refresh token is gone")
		}
	}
}

// An ID token that is not good takes the answer with it.
func TestBadIDTokens(t *testing.T) {
	provider := start(t)
	tests := map[string]struct {
		token string
		want  oidc.Reason
	}{
		"forged":             {provider.IDToken("orders", nil, oidctest.Forged()), oidc.BadSignature},
		"expired":            {provider.IDToken("orders", map[string]any{"exp": 1}), oidc.Expired},
		"for another client": {provider.IDToken("billing", nil), oidc.WrongAudience},
		"of another user":    {provider.IDToken("orders", map[string]any{"sub": "mallory"}), oidc.InvalidClaim},
		"of another token":   {provider.IDToken("orders", map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), oidc.InvalidClaim},
		"junk":               {"junk", oidc.MalformedToken},
		"good":               {provider.IDToken("orders", map[string]any{"azp": "orders", "nonce": "of the login"}), ""},
	}
	c := open(t, provider, nil)
	for rule, tt := range tests {
		provider.HandleGrant("refresh_token", func(g oidctest.GrantRequest) (map[string]any, *oidctest.Refusal) {
			answer := g.TokenAnswer("alice")
			answer["id_token"] = tt.token
			return answer, nil
		})
		answer, err := c.Refresh(t.Context(), client.NewSecret("any"), client.RefreshParams{Previous: &oidc.IDToken{Subject: "alice"}})
		if oidc.ReasonOf(err) != tt.want || (answer == nil) != (err != nil) {
			t.Errorf("%s: %v, want %s", rule, err, tt.want)
		}
		answer, err = c.Refresh(t.Context(), client.NewSecret("any"), client.RefreshParams{})
		if err != nil || answer.ID != nil || !answer.IDToken.IsZero() {
			t.Errorf("%s, and nobody knows whose it must be: %+v %v", rule, answer, err)
		}
	}
}
