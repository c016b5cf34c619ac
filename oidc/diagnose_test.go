package oidc_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func diagnose(t *testing.T, cfg oidc.IssuerConfig) oidc.Diagnosis {
	t.Helper()
	d, err := oidc.Diagnose(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDiagnoseFetchesAsTheValidatorDoes(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithPath("/shop"), oidctest.WithTLS(), oidctest.WithAlgorithms("ES256", "EdDSA", "RS256"))
	t.Cleanup(issuer.Close)
	issuer.SetCacheControl("max-age=600")
	issuer.PublishRaw(`{"kty":"RSA","kid":"enc","use":"enc"}`, `{"kty":"oct","kid":"weak"}`)
	d := diagnose(t, oidc.IssuerConfig{Issuer: issuer.URL, Name: "shop", HTTP: oidc.HTTPConfig{RootCAs: issuer.CertPool()}})

	if d.Err != nil || d.MetadataIssuer != issuer.URL || d.MetadataURL != issuer.URLOf(oidctest.OpenIDDiscovery) || d.KeysURL != issuer.URLOf(oidctest.JWKS) {
		t.Errorf("%+v", d)
	}
	if issuer.Requests() != 2 || len(d.Fetches) != 2 || len(d.Probes) != 0 {
		t.Errorf("%d requests, %d fetches, %d probes", issuer.Requests(), len(d.Fetches), len(d.Probes))
	}
	for _, e := range d.Fetches {
		if e.Status != 200 || e.Result != oidc.FetchOK || e.TLS == nil || e.Header.Get("Cache-Control") != "max-age=600" || e.Start.IsZero() {
			t.Errorf("%+v", e)
		}
	}
	if d.Lifetime != 10*time.Minute || d.RefreshAfter != 8*time.Minute || d.StaleAfter != 24*time.Hour {
		t.Errorf("lifetimes %s, %s, %s", d.Lifetime, d.RefreshAfter, d.StaleAfter)
	}
	var kinds []string
	for _, k := range d.Keys {
		kinds = append(kinds, k.Type+" "+k.Curve+" "+string(k.Algorithms[0]))
		if len(k.Thumbprint) != 43 || k.Use != "sig" {
			t.Errorf("%+v", k)
		}
	}
	if want := []string{"EC P-256 ES256", "OKP Ed25519 EdDSA", "RSA  RS256"}; !slices.Equal(kinds, want) {
		t.Errorf("keys %q, want %q", kinds, want)
	}
	if len(d.Skipped) != 2 || !d.Skipped[0].OtherPurpose() || d.Skipped[1].OtherPurpose() {
		t.Errorf("skipped %v", d.Skipped)
	}
}

// The thumbprint and the algorithms of the key in RFC 7638 section 3.1.
func TestDiagnoseNamesKeysByTheirThumbprint(t *testing.T) {
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	issuer.Body(`{"keys":[{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB"}]}`)
	d := diagnose(t, oidc.IssuerConfig{Issuer: "anything", Name: "shop", JWKSURL: issuer.URLOf(oidctest.JWKS)})
	if len(d.Keys) != 1 || d.Keys[0].Thumbprint != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" ||
		d.Keys[0].Bits != 2048 || len(d.Keys[0].Algorithms) != 6 || d.Keys[0].Use != "" {
		t.Errorf("%+v, %v", d.Keys, d.Err)
	}
}

func TestDiagnoseProbesOnlyTheIssuersOwnOriginAndOnlyAfterAnAnswer(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithPath("/realms/shop"))
	t.Cleanup(issuer.Close)
	cfg := oidc.IssuerConfig{Issuer: issuer.URL, Name: "shop"}
	issuer.Fail(http.StatusNotFound, oidctest.OpenIDDiscovery, oidctest.OAuthDiscovery)
	issuer.Respond(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/openid-configuration/realms/shop" {
			_, _ = w.Write([]byte(`{"issuer":"` + issuer.URL + `","jwks_uri":"x:"}`))
			return
		}
		http.NotFound(w, r)
	}, oidctest.Elsewhere)

	d := diagnose(t, cfg)
	if d.Err == nil || len(d.Fetches) != 2 || len(d.Probes) != 6 || issuer.Requests() != 8 {
		t.Fatalf("%d fetches, %d probes, %d requests, %v", len(d.Fetches), len(d.Probes), issuer.Requests(), d.Err)
	}
	for i, p := range d.Probes {
		if !strings.HasPrefix(p.Fetch.URL, strings.TrimSuffix(issuer.URL, "/realms/shop")+"/") {
			t.Errorf("a probe of %s", p.Fetch.URL)
		}
		if found := p.Fetch.Result == oidc.FetchOK; found != (i == 0) || found != (p.Issuer == issuer.URL) {
			t.Errorf("probe %+v", p)
		}
	}

	// A configured URL that is wrong: then the issuer's own forms are among them.
	issuer.Recover()
	cfg.DiscoveryURL = strings.TrimSuffix(issuer.URL, "/realms/shop") + "/nowhere"
	if d := diagnose(t, cfg); len(d.Probes) == 0 || d.Probes[0].Fetch.URL != issuer.URLOf(oidctest.OpenIDDiscovery) || d.Probes[0].Issuer != issuer.URL {
		t.Errorf("probes %+v", d.Probes)
	}
	cfg.DiscoveryURL = ""

	// No probes where they could not help: a document came, or the server is away.
	issuer.Lie("https://other.example.com")
	if d := diagnose(t, cfg); len(d.Probes) != 0 || d.MetadataIssuer != "https://other.example.com" {
		t.Errorf("%d probes, %q", len(d.Probes), d.MetadataIssuer)
	}
	issuer.Down()
	if d := diagnose(t, cfg); len(d.Probes) != 0 || len(d.Fetches) != 1 || d.Fetches[0].Result != oidc.FetchConnect {
		t.Errorf("%d probes, %+v", len(d.Probes), d.Fetches)
	}
}

func TestDiagnoseListsTheKeysOfAnUnusableSet(t *testing.T) {
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	issuer.Body(`{"keys":[{"kty":"oct","kid":"a"},{"kty":"RSA","kid":"b"}]}`, oidctest.JWKS)
	d := diagnose(t, oidc.IssuerConfig{Issuer: issuer.URL, Name: "shop"})
	if d.Err == nil || len(d.Keys) != 0 || len(d.Skipped) != 2 || d.Fetches[1].Result != oidc.FetchEmpty {
		t.Errorf("%+v", d)
	}
}

func TestDiagnoseEndsWithItsContext(t *testing.T) {
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	hang := issuer.Hang()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-hang.Reached()
		cancel()
	}()
	d, err := oidc.Diagnose(ctx, oidc.IssuerConfig{Issuer: issuer.URL, Name: "shop"})
	if err != nil || d.Err == nil || len(d.Fetches) != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDiagnoseRefusesAWrongConfiguration(t *testing.T) {
	for _, cfg := range []oidc.IssuerConfig{
		{},
		{Issuer: "http://id.example.com"},
		{Issuer: "https://id.example.com", JWKSURL: "ftp://id.example.com"},
		{Issuer: "https://id.example.com", HTTP: oidc.HTTPConfig{Timeout: time.Hour}},
	} {
		if d, err := oidc.Diagnose(t.Context(), cfg); err == nil {
			t.Errorf("%+v: %+v", cfg, d)
		}
	}
}

// The guard at dial time holds for a diagnosis as for any fetch.
func TestDiagnoseNeverReachesAMetadataService(t *testing.T) {
	d := diagnose(t, oidc.IssuerConfig{Issuer: "https://169.254.169.254/latest", Name: "x"})
	if len(d.Fetches) != 1 || d.Fetches[0].Result != oidc.FetchRefused || len(d.Probes) != 0 || errors.Is(d.Err, context.DeadlineExceeded) {
		t.Errorf("%+v", d)
	}
}
