package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// inBubble runs a test in a bubble of synctest, with the client "orders" of a
// provider that is reached without a network.
func inBubble(t *testing.T, test func(t *testing.T, provider *oidctest.Issuer, c *client.Client)) {
	t.Helper()
	provider := start(t)
	synctest.Test(t, func(t *testing.T) {
		c := open(t, provider, func(cfg *client.Config) { cfg.HTTPClient = &http.Client{Transport: provider.Transport()} })
		test(t, provider, c)
	})
}

// after runs f at a time of a bubble.
func after(t *testing.T, d time.Duration, f func()) {
	t.Helper()
	timer := time.AfterFunc(d, f)
	t.Cleanup(func() { timer.Stop() })
}

func TestDeviceFlow(t *testing.T) {
	inBubble(t, func(t *testing.T, provider *oidctest.Issuer, c *client.Client) {
		d, err := c.AuthorizeDevice(t.Context(), client.TokenParams{Scopes: []string{"openid", "orders.read"}})
		if err != nil {
			t.Fatal(err)
		}
		if d.Interval != 5*time.Second || !d.Expiry.Equal(time.Now().Add(oidctest.PendingLifetime)) || d.UserCode == "" ||
			!strings.HasPrefix(d.VerificationURI, provider.URL) || !strings.HasSuffix(d.VerificationURIComplete, d.UserCode) {
			t.Errorf("got %+v", d)
		}
		start := time.Now()
		after(t, 17*time.Second, func() { provider.Approve(d.UserCode, "alice") })
		answer, err := c.DeviceToken(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if answer.ID == nil || answer.ID.Subject != "alice" || answer.RefreshToken.IsZero() || strings.Join(answer.Scopes, " ") != "openid orders.read" {
			t.Errorf("got %+v", answer)
		}
		if took, polls := time.Since(start), provider.Requests(oidctest.Token); took != 20*time.Second || polls != 4 {
			t.Errorf("%d polls in %s, want 4 in 20s", polls, took)
		}
		if _, err := c.DeviceToken(t.Context(), d); !errors.Is(err, client.ErrInvalidGrant) {
			t.Errorf("a code that was used: %v", err)
		}
	})
}

// How a poll goes on depends on what the provider says.
func TestPolling(t *testing.T) {
	type reply struct {
		status int
		body   string
		header string // Retry-After
	}
	pending, slow := reply{400, `{"error":"authorization_pending"}`, ""}, reply{400, `{"error":"slow_down"}`, ""}
	good := reply{200, `{"access_token":"t","token_type":"Bearer"}`, ""}
	tests := []struct {
		rule    string
		replies []reply
		at      string // when the polls come, in seconds
		want    error
	}{
		{"at once", []reply{good}, "5", nil},
		{"pending", []reply{pending, pending, good}, "5 10 15", nil},
		{"each slow_down adds five seconds", []reply{slow, slow, pending, good}, "5 15 30 45", nil},
		{"a provider that does not answer is asked half as often", []reply{{}, {}, pending, good}, "5 15 35 55", nil},
		{"a provider that is busy says when", []reply{{503, "", "60"}, good}, "5 65", nil},
		{"denied", []reply{pending, {400, `{"error":"access_denied"}`, ""}}, "5 10", client.ErrAccessDenied},
		{"over, says the provider", []reply{{400, `{"error":"expired_token"}`, ""}}, "5", client.ErrExpiredToken},
		{"any other error ends it", []reply{{400, `{"error":"invalid_grant"}`, ""}}, "5", client.ErrInvalidGrant},
		{"a storm of slow_down ends with the code", []reply{slow, slow, slow, slow, slow, slow, slow, slow, slow, slow, slow, slow, slow, slow, slow, slow}, "5 15 30 50 75 105 140 180 225 275 330 390 455 525", client.ErrExpiredToken},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			inBubble(t, func(t *testing.T, provider *oidctest.Issuer, c *client.Client) {
				d, err := c.AuthorizeDevice(t.Context(), client.TokenParams{})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				var at []string
				n := 0
				provider.Respond(func(w http.ResponseWriter, _ *http.Request) {
					at = append(at, strings.TrimSuffix(time.Duration(time.Since(start).Seconds()).String(), "ns"))
					r := tt.replies[n]
					n++
					if r.status == 0 {
						panic(http.ErrAbortHandler)
					}
					w.Header().Set("Retry-After", r.header)
					w.WriteHeader(r.status)
					_, _ = w.Write([]byte(r.body))
				}, oidctest.Token)
				_, err = c.DeviceToken(t.Context(), d)
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if got := strings.Join(at, " "); got != tt.at {
					t.Errorf("polls at %s, want %s", got, tt.at)
				}
			})
		})
	}
}

func TestPollingEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *oidctest.Issuer, c *client.Client) {
		d, err := c.AuthorizeDevice(t.Context(), client.TokenParams{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.DeviceToken(ctx, d); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 12*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if _, err := c.DeviceToken(t.Context(), &client.DeviceAuthorization{}); err == nil {
			t.Error("the zero DeviceAuthorization was used")
		}
	})
}

// An answer that cannot be shown to a user, or polled with, is refused.
func TestDeviceAnswers(t *testing.T) {
	provider := start(t)
	c := open(t, provider, nil)
	good := map[string]string{
		"device_code": `"d"`, "user_code": `"WDJB-MJHT"`, "verification_uri": `"https://example.com/device"`, "expires_in": "1800",
	}
	for _, tt := range []struct{ name, value, want string }{
		{"", "", ""},
		{"interval", "null", ""},
		{"interval", "0", ""},
		{"interval", "-1", "the answer's interval is no number of seconds"},
		{"interval", `"often"`, "the answer's interval is no number of seconds"},
		{"device_code", `""`, "the answer has no device_code"},
		{"user_code", "7", "the answer has no user_code that can be shown"},
		{"user_code", `"\u001b[2J"`, "the answer has no user_code that can be shown"},
		{"verification_uri", `"javascript:alert(1)"`, "the answer's verification_uri is no URL of a web page"},
		{"verification_uri", `"https://good.example.com@evil.example.com/"`, "the answer's verification_uri is no URL of a web page"},
		{"verification_uri_complete", `"file:///etc/passwd"`, "the answer's verification_uri_complete is no URL of a web page"},
		{"expires_in", "null", "the answer has no expires_in that is a number of seconds"},
		{"expires_in", "1e999", ""},
	} {
		var members []string
		all := map[string]string{}
		for name, value := range good {
			all[name] = value
		}
		if tt.name != "" {
			all[tt.name] = tt.value
		}
		for name, value := range all {
			members = append(members, `"`+name+`":`+value)
		}
		provider.Body("{"+strings.Join(members, ",")+"}", oidctest.DeviceAuthorization)
		d, err := c.AuthorizeDevice(t.Context(), client.TokenParams{})
		if tt.want == "" {
			if err != nil || d.Interval < 0 || d.Expiry.After(time.Now().Add(25*time.Hour)) {
				t.Errorf("%s %s: %+v %v", tt.name, tt.value, d, err)
			}
		} else if err == nil || err.Error() != "client: device_authorization_endpoint: "+tt.want {
			t.Errorf("%s %s: %v, want %s", tt.name, tt.value, err, tt.want)
		}
	}
}
