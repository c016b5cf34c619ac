package oidc_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func metadataOf(t *testing.T, issuer *oidctest.Issuer, change func(*oidc.MetadataConfig)) *oidc.MetadataSource {
	t.Helper()
	cfg := oidc.MetadataConfig{Issuer: issuer.URL, HTTP: oidc.HTTPConfig{RootCAs: issuer.CertPool()}}
	if change != nil {
		change(&cfg)
	}
	s, err := oidc.NewMetadataSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMetadataNeedsNoKeys(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.SetMetadata("jwks_uri", oidctest.Omit)
	m, err := metadataOf(t, issuer, nil).Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := m.Document.Member("issuer"); v.Text() != issuer.URL || m.From != issuer.URLOf(oidctest.OpenIDDiscovery) {
		t.Errorf("issuer %s from %s", v.Text(), m.From)
	}
}

// Many who ask at once cause one fetch; one who gives up does not spoil it for the
// others.
func TestMetadataIsFetchedOnce(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	s := metadataOf(t, issuer, func(cfg *oidc.MetadataConfig) { cfg.HTTP.Timeout = time.Minute })

	hang := issuer.Hang(oidctest.OpenIDDiscovery)
	ctx, cancel := context.WithCancel(t.Context())
	var first error
	var all sync.WaitGroup
	all.Go(func() { _, first = s.Metadata(ctx) })
	<-hang.Reached()
	errs := make([]error, 50)
	for n := range errs {
		all.Go(func() { _, errs[n] = s.Metadata(t.Context()) })
	}
	cancel()
	hang.Release()
	all.Wait()
	if !errors.Is(first, context.Canceled) && first != nil {
		t.Errorf("the first: %v", first)
	}
	if err := errors.Join(errs...); err != nil {
		t.Errorf("the others: %v", err)
	}
	if n := issuer.Requests(oidctest.OpenIDDiscovery); n > 2 {
		t.Errorf("%d requests, want the one that was given up and one more", n)
	}

	waiting, cancel := context.WithCancel(t.Context())
	cancel()
	issuer.Hang(oidctest.OpenIDDiscovery)
	if _, err := metadataOf(t, issuer, nil).Metadata(waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who is gone: %v", err)
	}
}

// The configured client is used as it is, but for redirects and cookies.
func TestHTTPConfigClient(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithTLS())
	defer issuer.Close()
	requests := 0
	own := &http.Client{Transport: counting{&requests, &http.Transport{TLSClientConfig: trusting(issuer)}}}
	defer own.CloseIdleConnections()
	cfg := oidc.HTTPConfig{Client: own}
	if _, err := metadataOf(t, issuer, func(c *oidc.MetadataConfig) { c.HTTP = cfg }).Metadata(t.Context()); err != nil {
		t.Error(err)
	}
	v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "a", Audiences: []string{"api"}, HTTP: cfg}}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Validate(t.Context(), issuer.Token(nil), oidc.Requirement{}); err != nil {
		t.Error(err)
	}
	if requests != 3 {
		t.Errorf("%d requests by the client, want 3", requests)
	}
	if own.CheckRedirect != nil || own.Timeout != 0 {
		t.Error("the client was changed")
	}
}
