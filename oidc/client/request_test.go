package client_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// A request that fails is made once, and says whether to try again.
func TestFailuresOfTheConnection(t *testing.T) {
	provider := start(t)
	var events []client.RequestEvent
	c := open(t, provider, func(cfg *client.Config) {
		cfg.HTTP.Timeout = 30 * time.Second
		cfg.OnRequest = func(e client.RequestEvent) { events = append(events, e) }
	})
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Fatal(err)
	}

	provider.Respond(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, oidctest.Token)
	before := provider.Requests(oidctest.Token)
	_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
	var re *client.RequestError
	if !errors.As(err, &re) || re.Result != oidc.FetchConnect || !client.IsRetryable(err) {
		t.Errorf("a connection that breaks: %v", err)
	}
	if n := provider.Requests(oidctest.Token) - before; n != 1 {
		t.Errorf("a POST was sent %d times", n)
	}
	provider.Recover()

	hang := provider.Hang(oidctest.Token)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-hang.Reached(); cancel() }()
	if _, err := c.ClientCredentials(ctx, client.TokenParams{}); !errors.Is(err, context.Canceled) || client.IsRetryable(err) {
		t.Errorf("a caller who gave up: %v", err)
	}
	provider.Recover()

	provider.Down()
	_, err = c.ClientCredentials(t.Context(), client.TokenParams{})
	if !errors.As(err, &re) || re.Result != oidc.FetchConnect || !client.IsRetryable(err) {
		t.Errorf("a provider that is down: %v", err)
	}
	provider.Up()
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Errorf("a provider that is up again: %v", err)
	}

	var got []string
	for _, e := range events {
		if e.Endpoint != client.TokenEndpoint || e.Grant != "client_credentials" || e.Attempts != 1 || (e.Err == nil) != (e.Result == oidc.FetchOK) {
			t.Errorf("event %+v", e)
		}
		got = append(got, string(e.Result))
	}
	if want := "ok connect timeout connect ok"; strings.Join(got, " ") != want {
		t.Errorf("events %v, want %s", got, want)
	}
}

// A provider that is slow costs no more than the timeout.
func TestTimeout(t *testing.T) {
	provider := start(t)
	c := open(t, provider, func(cfg *client.Config) { cfg.HTTP.Timeout = 100 * time.Millisecond })
	if _, err := c.Metadata(t.Context()); err != nil {
		t.Skip("the machine is too slow for this test:", err)
	}
	provider.Hang(oidctest.Token)
	_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
	var re *client.RequestError
	if !errors.As(err, &re) || re.Result != oidc.FetchTimeout || !client.IsRetryable(err) {
		t.Errorf("got %v", err)
	}
}

// Whose timeout counts: that of the configuration, then the caller's client's.
func TestTimeoutOfTheHTTPClient(t *testing.T) {
	inBubble(t, func(t *testing.T, provider *oidctest.Issuer, _ *client.Client) {
		for _, tt := range []struct{ cfg, own, want time.Duration }{
			{0, 0, 10 * time.Second}, {0, 40 * time.Second, 40 * time.Second}, {20 * time.Second, 40 * time.Second, 20 * time.Second}, {30 * time.Second, 0, 30 * time.Second},
		} {
			hanging := roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path != "/token" {
					return provider.Transport().RoundTrip(r)
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			c := open(t, provider, func(cfg *client.Config) {
				cfg.HTTPClient, cfg.HTTP.Timeout = &http.Client{Transport: hanging, Timeout: tt.own}, tt.cfg
			})
			begin := time.Now()
			var re *client.RequestError
			_, err := c.ClientCredentials(t.Context(), client.TokenParams{})
			if took := time.Since(begin); took != tt.want || !errors.As(err, &re) || re.Result != oidc.FetchTimeout {
				t.Errorf("%s and %s: %v after %s", tt.cfg, tt.own, err, took)
			}
		}
	})
}

// The caller's HTTP client is used, not changed, and follows no redirect for us.
func TestHTTPClientIsNotChanged(t *testing.T) {
	provider := start(t)
	var mu sync.Mutex
	var paths []string
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	own := &http.Client{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			paths = append(paths, r.Method+" "+r.URL.Path)
			mu.Unlock()
			return transport.RoundTrip(r)
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { t.Error("a redirect is followed"); return nil },
	}
	c := open(t, provider, func(cfg *client.Config) { cfg.HTTPClient = own })
	if _, err := c.Refresh(t.Context(), client.NewSecret(provider.RefreshToken("orders", "alice", "openid")), client.RefreshParams{Previous: &oidc.IDToken{Subject: "alice"}}); err != nil {
		t.Fatal(err)
	}
	want := "GET /.well-known/openid-configuration POST /token GET /.well-known/openid-configuration GET /keys"
	if got := strings.Join(paths, " "); got != want {
		t.Errorf("requests %s, want %s", got, want)
	}
	provider.Redirect(provider.URL+"/elsewhere", oidctest.Token)
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err == nil || !strings.Contains(err.Error(), "redirects are not followed") {
		t.Errorf("a redirect: %v", err)
	}
	if provider.Requests(oidctest.Elsewhere) != 0 {
		t.Error("a redirect was followed")
	}
	if own.Timeout != 0 || own.Jar != nil {
		t.Error("the caller's client was changed")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// nonceOf returns the nonce of a proof, if it is for a POST to a URL.
func nonceOf(t *testing.T, proof, url string) string {
	t.Helper()
	var claims struct{ HTM, HTU, Nonce, ATH string }
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no proof", proof)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil || claims.HTM != http.MethodPost || claims.HTU != url || claims.ATH != "" {
		t.Errorf("proof %s: %v", text, err)
	}
	return claims.Nonce
}

// A server that wants its nonce in the proof gets it, in one more attempt.
func TestDPoPNonce(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_jwt", Secret: secret})
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	tokenType := "DPoP"
	nonce := "one"
	var proofs []string
	provider.HandleGrant("client_credentials", func(g oidctest.GrantRequest) (map[string]any, *oidctest.Refusal) {
		got := nonceOf(t, g.Header.Get("DPoP"), provider.URLOf(oidctest.Token))
		proofs = append(proofs, "|"+got+"|")
		if got != nonce {
			return nil, &oidctest.Refusal{Code: "use_dpop_nonce", Header: http.Header{"Dpop-Nonce": {nonce}}}
		}
		answer := g.TokenAnswer("orders")
		answer["token_type"] = tokenType
		return answer, nil
	})
	c := open(t, provider, func(cfg *client.Config) {
		cfg.DPoP = key
		cfg.Auth = client.ClientSecretJWT{Secret: client.NewSecret(secret)} // which must be a new one for each attempt
	})
	for range 2 {
		answer, err := c.ClientCredentials(t.Context(), client.TokenParams{})
		if err != nil || answer.TokenType != "DPoP" {
			t.Fatal(answer, err)
		}
	}
	nonce = "two"
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(proofs, " "), "|| |one| |one| |one| |two|"; got != want {
		t.Errorf("proofs %s, want %s", got, want)
	}

	tokenType = "Bearer"
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err == nil || !strings.Contains(err.Error(), "not bound to the client's key") {
		t.Errorf("a token that is not bound: %v", err)
	}

	nonce = "never \" a nonce"
	before := provider.Requests(oidctest.Token)
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); !errors.Is(err, client.ErrUseDPoPNonce) {
		t.Errorf("a provider that is never content: %v", err)
	}
	if n := provider.Requests(oidctest.Token) - before; n != 1 {
		t.Errorf("%d attempts without a new nonce, want 1", n)
	}
}

// A GET whose connection breaks is made once more, and no third time.
func TestGetIsRepeatedOnce(t *testing.T) {
	provider := start(t)
	var attempts []int
	c := open(t, provider, func(cfg *client.Config) {
		cfg.OnRequest = func(e client.RequestEvent) { attempts = append(attempts, e.Attempts) }
	})
	token := client.NewSecret(provider.Token(map[string]any{"client_id": "orders"}))
	broken := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	provider.Respond(func(w http.ResponseWriter, r *http.Request) {
		provider.Recover()
		broken(w, r)
	}, oidctest.UserInfo)
	if _, err := c.UserInfo(t.Context(), token, client.UserInfoParams{Subject: "alice"}); err != nil {
		t.Errorf("a connection that breaks once: %v", err)
	}
	provider.Respond(broken, oidctest.UserInfo)
	if _, err := c.UserInfo(t.Context(), token, client.UserInfoParams{Subject: "alice"}); !client.IsRetryable(err) {
		t.Errorf("a connection that breaks each time: %v", err)
	}
	provider.Fail(http.StatusBadGateway, oidctest.UserInfo)
	if _, err := c.UserInfo(t.Context(), token, client.UserInfoParams{Subject: "alice"}); !client.IsRetryable(err) {
		t.Errorf("an answer that is none: %v", err)
	}
	if len(attempts) != 3 || attempts[0] != 2 || attempts[1] != 2 || attempts[2] != 1 {
		t.Errorf("attempts %v, want 2, 2 and 1", attempts)
	}
}
