package client_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestBackchannelFlow(t *testing.T) {
	inBubble(t, func(t *testing.T, provider *oidctest.Issuer, c *client.Client) {
		b, err := c.AuthenticateBackchannel(t.Context(), client.BackchannelParams{LoginHint: "alice@example.com", TokenParams: client.TokenParams{Scopes: []string{"pay"}}})
		if err != nil {
			t.Fatal(err)
		}
		after(t, 7*time.Second, func() { provider.Approve(b.ID.Reveal(), "alice") })
		start := time.Now()
		answer, err := c.BackchannelToken(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		if answer.ID == nil || answer.ID.Subject != "alice" || time.Since(start) != 10*time.Second {
			t.Errorf("after %s: %+v", time.Since(start), answer)
		}

		b, err = c.AuthenticateBackchannel(t.Context(), client.BackchannelParams{LoginHint: "alice@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		provider.Deny(b.ID.Reveal())
		if _, err := c.BackchannelToken(t.Context(), b); !errors.Is(err, client.ErrAccessDenied) {
			t.Errorf("denied: %v", err)
		}
		if _, err := c.BackchannelToken(t.Context(), nil); err == nil {
			t.Error("nil was used")
		}
	})
}

func TestBackchannelRequest(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	var sent url.Values
	body := `{"auth_req_id":"1c266114-a1be-4252-8ad1-04986c5b9ac1","expires_in":120,"interval":2}`
	provider.Respond(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		sent = r.PostForm
		_, _ = w.Write([]byte(body))
	}, oidctest.Backchannel)
	b, err := c.AuthenticateBackchannel(t.Context(), client.BackchannelParams{
		LoginHintToken: client.NewSecret("eyJhbGciOiJFUzI1NiJ9"), BindingMessage: "W4SCT", UserCode: client.NewSecret("1234"),
		ACRValues: []string{"urn:a", "urn:b"}, Expiry: 90 * time.Second,
		TokenParams: client.TokenParams{Scopes: []string{"openid", "email"}, Extra: url.Values{"request_context": {"{}"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"scope": {"openid email"}, "login_hint_token": {"eyJhbGciOiJFUzI1NiJ9"}, "binding_message": {"W4SCT"}, "user_code": {"1234"},
		"acr_values": {"urn:a urn:b"}, "requested_expiry": {"90"}, "request_context": {"{}"},
	}
	if sent.Encode() != want.Encode() {
		t.Errorf("sent %v, want %v", sent, want)
	}
	if b.ID.Reveal() != "1c266114-a1be-4252-8ad1-04986c5b9ac1" || b.Interval != 2*time.Second || string(b.Raw()) != body {
		t.Errorf("got %+v", b)
	}
	for body, want := range map[string]string{
		`{"expires_in":120}`:                                "client: backchannel_authentication_endpoint: the answer has no auth_req_id",
		`{"auth_req_id":"a"}`:                               "client: backchannel_authentication_endpoint: the answer has no expires_in that is a number of seconds",
		`{"auth_req_id":"a","expires_in":1,"interval":"x"}`: "client: backchannel_authentication_endpoint: the answer's interval is no number of seconds",
	} {
		provider.Body(body, oidctest.Backchannel)
		if _, err := c.AuthenticateBackchannel(t.Context(), client.BackchannelParams{LoginHint: "a"}); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	before := provider.Requests(oidctest.Backchannel)
	for _, params := range []client.BackchannelParams{
		{}, {LoginHint: "a", IDTokenHint: client.NewSecret("b")}, {LoginHint: "a", Expiry: -time.Second},
		{LoginHint: "a", TokenParams: client.TokenParams{Extra: url.Values{"login_hint": {"b"}}}},
	} {
		if _, err := c.AuthenticateBackchannel(t.Context(), params); err == nil {
			t.Errorf("%+v was sent", params)
		}
	}
	if n := provider.Requests(oidctest.Backchannel) - before; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
