package client_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// status answers with a status and a JSON body.
func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func newDPoPKey(t *testing.T) *dpop.Key {
	t.Helper()
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A login with DPoP binds the code, the access token and the refresh token of a
// public client to the key, whether the request is pushed or not.
func TestALoginIsBoundToTheKey(t *testing.T) {
	for _, pushed := range []bool{false, true} {
		provider := start(t)
		provider.RegisterClient(app(func(c *oidctest.Client) { c.Method, c.Secret, c.DPoP = "none", "", true }))
		key := newDPoPKey(t)
		c := open(t, provider, func(cfg *client.Config) { cfg.Auth, cfg.DPoP, cfg.PushedRequests = client.None{}, key, pushed })
		l := begin(t, provider, c, openid(nil))
		if jkt := parameters(t, l.request).Get("dpop_jkt"); !pushed && jkt != key.Thumbprint() {
			t.Errorf("dpop_jkt %q", jkt)
		}
		answer, err := l.finish(t, c)
		if err != nil {
			t.Fatal(err)
		}
		cnf, _ := claimsOf(t, answer.AccessToken.Reveal(), 1)["cnf"].(map[string]any)
		if answer.TokenType != "DPoP" || cnf["jkt"] != key.Thumbprint() {
			t.Errorf("a %s token bound to %v", answer.TokenType, cnf)
		}
		if answer, err = c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: answer.ID}); err != nil {
			t.Fatal(err)
		}
		other := open(t, provider, func(cfg *client.Config) { cfg.Auth, cfg.DPoP = client.None{}, newDPoPKey(t) })
		if _, err := other.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{}); !errors.Is(err, client.ErrInvalidGrant) {
			t.Errorf("refresh with another key: %v", err)
		}
	}
}

// A replica with another key finds out before the code is lost.
func TestALoginIsFinishedWithTheKeyThatBeganIt(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(nil))
	c := open(t, provider, func(cfg *client.Config) { cfg.DPoP = newDPoPKey(t) })
	l := begin(t, provider, c, openid(nil))
	for name, other := range map[string]*client.Client{
		"another key": open(t, provider, func(cfg *client.Config) { cfg.DPoP = newDPoPKey(t) }), "no key": open(t, provider, nil),
	} {
		if _, err := l.finish(t, other); !errors.Is(err, client.ErrTransactionForeign) || !strings.Contains(err.Error(), "replicas") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that wants its nonce in the proof gets it, in one more attempt, and from
// then on in the first (RFC 9449 section 8).
func TestDPoPNoncesAreSentFromThenOn(t *testing.T) {
	provider := start(t)
	provider.RegisterClient(app(func(c *oidctest.Client) { c.Method, c.Secret = "client_secret_jwt", secret }))
	c := open(t, provider, func(cfg *client.Config) {
		cfg.DPoP, cfg.PushedRequests = newDPoPKey(t), true
		cfg.Auth = client.ClientSecretJWT{Secret: client.NewSecret(secret)} // which must be a new one for each attempt
	})
	provider.RequireDPoPNonce("one")
	l := begin(t, provider, c, openid(nil))
	if n := provider.Requests(oidctest.PAR); n != 2 {
		t.Errorf("%d attempts to push, want 2", n)
	}
	answer, err := l.finish(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if n := provider.Requests(oidctest.Token); n != 1 { // the same origin, the same nonce
		t.Errorf("%d attempts to get a token, want 1", n)
	}
	provider.RequireDPoPNonce("two")
	if answer, err = c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{}); err != nil {
		t.Fatal(err)
	}
	if n := provider.Requests(oidctest.Token); n != 3 {
		t.Errorf("%d attempts, want 3", n)
	}
	// A code whose first attempt lacked the nonce is still good.
	l = begin(t, provider, c, openid(nil))
	provider.RequireDPoPNonce("three")
	if _, err := l.finish(t, c); err != nil {
		t.Error(err)
	}
	// A nonce that is none gets no second attempt.
	provider.RequireDPoPNonce("never \" a nonce")
	before := provider.Requests(oidctest.Token)
	if _, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{}); !errors.Is(err, client.ErrUseDPoPNonce) {
		t.Errorf("a provider that is never content: %v", err)
	}
	if n := provider.Requests(oidctest.Token) - before; n != 1 {
		t.Errorf("%d attempts without a new nonce, want 1", n)
	}
}

// The answer of RFC 9449 section 8.2.
func TestTheNonceOfTheRFCIsSentBack(t *testing.T) {
	const nonce = "eyJ7S_zG.eyJH0-Z.HX4w-7v"
	provider := start(t)
	var seen []any
	provider.HandleGrant("client_credentials", func(g oidctest.GrantRequest) (map[string]any, *oidctest.Refusal) {
		claims := claimsOf(t, g.Header.Get("DPoP"), 1)
		seen = append(seen, claims["nonce"])
		if claims["nonce"] != nonce {
			return nil, &oidctest.Refusal{
				Code: "use_dpop_nonce", Description: "Authorization server requires nonce in DPoP proof", Header: http.Header{"Dpop-Nonce": {nonce}},
			}
		}
		if claims["ath"] != nil || claims["htm"] != "POST" || claims["htu"] != provider.URLOf(oidctest.Token) {
			t.Errorf("the proof says %v", claims)
		}
		return g.TokenAnswer("orders"), nil
	})
	c := open(t, provider, func(cfg *client.Config) { cfg.DPoP = newDPoPKey(t) })
	if _, err := c.ClientCredentials(t.Context(), client.TokenParams{}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0] != nil || seen[1] != nonce {
		t.Errorf("nonces %v", seen)
	}
}
