package xoauth2_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/client/xoauth2"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func provider(t *testing.T) *oidctest.Issuer {
	t.Helper()
	p := oidctest.NewIssuer()
	t.Cleanup(p.Close)
	p.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "s3cret"})
	return p
}

// Code that is written for x/oauth2 sends our tokens.
func TestOAuth2ClientSendsOurTokens(t *testing.T) {
	p := provider(t)
	c, err := client.New(client.Config{Issuer: p.URL, ClientID: "orders", Auth: client.ClientSecretBasic{Secret: client.NewSecret("s3cret")}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	source, err := c.ClientCredentialsSource(client.TokenParams{Scopes: []string{"stock.read"}}, client.SourceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var got string
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer api.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	hc := &http.Client{Transport: &oauth2.Transport{Source: xoauth2.TokenSource(t.Context(), source), Base: base}}
	for range 2 {
		resp, err := hc.Get(api.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got != "Bearer "+token.AccessToken.Reveal() || p.Requests(oidctest.Token) != 1 {
		t.Errorf("sent %q after %d token requests", got, p.Requests(oidctest.Token))
	}
	theirs, err := xoauth2.TokenSource(t.Context(), source).Token()
	if err != nil || !theirs.Valid() || theirs.RefreshToken != "" || theirs.Extra("scope") != "stock.read" {
		t.Errorf("%+v %v", theirs, err)
	}
}

// A source of x/oauth2 gets our keeping.
func TestOurSourceKeepsTheirTokens(t *testing.T) {
	p := provider(t)
	hc := &http.Client{Transport: &http.Transport{}}
	defer hc.CloseIdleConnections()
	cfg := clientcredentials.Config{ClientID: "orders", ClientSecret: "s3cret", TokenURL: p.URLOf(oidctest.Token), AuthStyle: oauth2.AuthStyleInHeader}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, hc)
	source, err := client.NewTokenSource(xoauth2.TokenFunc(cfg.TokenSource(ctx)), client.SourceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	token, err := source.Token(t.Context())
	if err != nil || token.AccessToken.IsZero() || time.Until(token.Expiry) < time.Minute {
		t.Fatalf("%+v %v", token, err)
	}
	again, err := source.Token(t.Context())
	if err != nil || again != token || p.Requests(oidctest.Token) != 1 {
		t.Errorf("%+v %v", again, err)
	}
}

type fixed struct {
	token *oauth2.Token
	err   error
}

func (f fixed) Token() (*oauth2.Token, error) { return f.token, f.err }

func TestWhatCannotBePassedOn(t *testing.T) {
	down := errors.New("down")
	for _, source := range []fixed{{err: down}, {}, {token: &oauth2.Token{}}, {token: &oauth2.Token{AccessToken: "t", TokenType: "MAC"}}} {
		if token, err := xoauth2.TokenFunc(source)(t.Context()); err == nil || source.err != nil && !errors.Is(err, down) {
			t.Errorf("%+v: %+v %v", source, token, err)
		}
	}
	if token, err := xoauth2.Token(&client.TokenResponse{AccessToken: client.NewSecret("t"), TokenType: "DPoP"}); err == nil {
		t.Errorf("a bound token: %+v", token)
	}
}
