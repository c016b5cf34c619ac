package oidc_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func trusting(issuer *oidctest.Issuer) *tls.Config {
	return &tls.Config{RootCAs: issuer.CertPool(), MinVersion: tls.VersionTLS12}
}

type counting struct {
	n    *int
	next http.RoundTripper
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	*c.n++
	return c.next.RoundTrip(r)
}

func (c counting) CloseIdleConnections() { c.next.(*http.Transport).CloseIdleConnections() }

// NewClient reads its files again when they change, and goes nowhere that a fetch
// would not.
func TestNewClient(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithTLS())
	defer issuer.Close()
	other := oidctest.NewIssuer(oidctest.WithTLS())
	defer other.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write := func(pem []byte) {
		t.Helper()
		if err := os.WriteFile(ca+".new", pem, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(ca+".new", ca); err != nil {
			t.Fatal(err)
		}
	}
	c, err := oidc.HTTPConfig{CAFile: ca}.NewClient(false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	get := func(url string) (int, error) {
		resp, err := c.Get(url)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, nil
	}
	for _, step := range []struct {
		pem  []byte
		good bool
	}{
		{nil, false}, {other.CertPEM(), false}, {issuer.CertPEM(), true}, {[]byte("no certificate"), false}, {issuer.CertPEM(), true},
	} {
		if step.pem != nil {
			write(step.pem)
		}
		status, err := get(issuer.URLOf(oidctest.JWKS))
		if good := err == nil && status == http.StatusOK; good != step.good {
			t.Errorf("with the CA file %.20q: %d %v", step.pem, status, err)
		}
	}
	if status, err := get(issuer.URL + "/nowhere"); status != http.StatusNotFound {
		t.Errorf("status %d %v", status, err)
	}
	issuer.Redirect(issuer.URLOf(oidctest.OpenIDDiscovery), oidctest.JWKS)
	if status, err := get(issuer.URLOf(oidctest.JWKS)); status != http.StatusFound {
		t.Errorf("a redirect: status %d %v", status, err)
	}
	for _, url := range []string{"http://id.example.com/", "https://169.254.169.254/", "http://192.0.2.1/", "ftp://127.0.0.1/"} {
		if _, err := get(url); oidc.FetchResultOf(err) != oidc.FetchRefused {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := (oidc.HTTPConfig{CertFile: "a"}).NewClient(false); err == nil {
		t.Error("a certificate without its key was taken")
	}
}
