package oidctest_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// client returns a client that trusts the issuer, follows no redirects and
// leaves nothing behind.
func client(t *testing.T, issuer *oidctest.Issuer) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: issuer.CertPool()}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func start(t *testing.T, opts ...oidctest.Option) *oidctest.Issuer {
	t.Helper()
	issuer := oidctest.NewIssuer(opts...)
	t.Cleanup(issuer.Close)
	return issuer
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	answer, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func discovery(t *testing.T, c *http.Client, url string) map[string]any {
	t.Helper()
	_, body := get(t, c, url)
	var doc map[string]any
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatalf("%s: %v in %q", url, err, body)
	}
	return doc
}

func keyIDs(t *testing.T, c *http.Client, issuer *oidctest.Issuer) string {
	t.Helper()
	_, body := get(t, c, issuer.URLOf(oidctest.JWKS))
	var set struct {
		Keys []struct{ Kid string }
	}
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k.Kid)
	}
	return strings.Join(ids, " ")
}

func TestDiscoveryNamesTheIssuerInBothForms(t *testing.T) {
	for _, tt := range []struct {
		path, openID, oauth string
	}{
		{"", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		{"/", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		{"/realms/shop", "/realms/shop/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/shop"},
	} {
		issuer := start(t, oidctest.WithPath(tt.path))
		c := client(t, issuer)
		origin := strings.TrimSuffix(issuer.URL, tt.path)
		for _, url := range []string{origin + tt.openID, origin + tt.oauth} {
			doc := discovery(t, c, url)
			if doc["issuer"] != issuer.URL {
				t.Errorf("%s: issuer %v, want %v", url, doc["issuer"], issuer.URL)
			}
			if doc["jwks_uri"] != issuer.URLOf(oidctest.JWKS) {
				t.Errorf("%s: jwks_uri %v, want %v", url, doc["jwks_uri"], issuer.URLOf(oidctest.JWKS))
			}
		}
	}
}

func TestTLSIsTrustedByItsOwnCA(t *testing.T) {
	issuer := start(t, oidctest.WithTLS())
	if !strings.HasPrefix(issuer.URL, "https://") {
		t.Fatalf("URL %s is not https", issuer.URL)
	}
	if got := keyIDs(t, client(t, issuer), issuer); got != "key-1" {
		t.Errorf("keys %q, want key-1", got)
	}
	other := start(t, oidctest.WithTLS())
	if _, err := client(t, other).Get(issuer.URL); err == nil {
		t.Error("another issuer's CA is enough")
	}
	if !strings.Contains(string(issuer.CertPEM()), "BEGIN CERTIFICATE") {
		t.Errorf("CertPEM is no certificate: %q", issuer.CertPEM())
	}
}

func TestRotateKeepsOldKeysUntilRemoved(t *testing.T) {
	issuer := start(t, oidctest.WithAlgorithms("ES256", "EdDSA"))
	c := client(t, issuer)
	issuer.Rotate()
	if got, want := keyIDs(t, c, issuer), "key-1 key-2 key-3 key-4"; got != want {
		t.Errorf("after Rotate: %q, want %q", got, want)
	}
	issuer.RemoveOldKeys()
	if got, want := keyIDs(t, c, issuer), "key-3 key-4"; got != want {
		t.Errorf("after RemoveOldKeys: %q, want %q", got, want)
	}
	issuer.Publish(oidctest.NewKey("ES384", "announced"))
	issuer.PublishRaw(`{"kty":"junk","kid":"junk"}`)
	if got, want := keyIDs(t, c, issuer), "key-3 key-4 announced junk"; got != want {
		t.Errorf("after Publish: %q, want %q", got, want)
	}
}

func TestFaultsLastUntilRecover(t *testing.T) {
	issuer := start(t)
	c := client(t, issuer)
	keys := issuer.URLOf(oidctest.JWKS)

	for _, tt := range []struct {
		name        string
		fault       func()
		status      int
		body        string
		contentType string
	}{
		{"Fail", func() { issuer.Fail(503) }, 503, "Service Unavailable\n", "text/plain; charset=utf-8"},
		{"Body", func() { issuer.Body(`{"keys":0}`) }, 200, `{"keys":0}`, "application/json"},
		{"HTML", func() { issuer.HTML() }, 200, "<!doctype html><title>Sign in</title>\n", "text/html; charset=utf-8"},
		{"Redirect", func() { issuer.Redirect("http://127.0.0.1:1/", oidctest.JWKS) }, 302, "<a href=\"http://127.0.0.1:1/\">Found</a>.\n\n", "text/html; charset=utf-8"},
	} {
		tt.fault()
		answer, body := get(t, c, keys)
		if answer.StatusCode != tt.status || body != tt.body || answer.Header.Get("Content-Type") != tt.contentType {
			t.Errorf("%s: %d %q %q, want %d %q %q", tt.name, answer.StatusCode, answer.Header.Get("Content-Type"), body, tt.status, tt.contentType, tt.body)
		}
		issuer.Recover()
		if got := keyIDs(t, c, issuer); got != "key-1" {
			t.Errorf("%s: keys after Recover: %q", tt.name, got)
		}
	}
}

func TestFailConcernsOnlyTheNamedEndpoint(t *testing.T) {
	issuer := start(t)
	c := client(t, issuer)
	issuer.Fail(404, oidctest.OpenIDDiscovery)
	if answer, _ := get(t, c, issuer.URLOf(oidctest.OpenIDDiscovery)); answer.StatusCode != 404 {
		t.Errorf("OpenID form: %d, want 404", answer.StatusCode)
	}
	if answer, _ := get(t, c, issuer.URLOf(oidctest.OAuthDiscovery)); answer.StatusCode != 200 {
		t.Errorf("OAuth form: %d, want 200", answer.StatusCode)
	}
}

func TestLieChangesDiscoveryOnly(t *testing.T) {
	issuer := start(t)
	c := client(t, issuer)
	issuer.Lie("https://evil.example")
	issuer.SetMetadata("jwks_uri", oidctest.Omit)
	doc := discovery(t, c, issuer.URLOf(oidctest.OpenIDDiscovery))
	if doc["issuer"] != "https://evil.example" {
		t.Errorf("issuer %v", doc["issuer"])
	}
	if _, there := doc["jwks_uri"]; there {
		t.Error("jwks_uri was not omitted")
	}
	if iss := claimsOf(t, issuer.Token(nil))["iss"]; iss != issuer.URL {
		t.Errorf("a token says %v, want %v", iss, issuer.URL)
	}
}

func TestHangHoldsRequestsUntilReleased(t *testing.T) {
	issuer := start(t)
	c := client(t, issuer)
	hang := issuer.Hang(oidctest.JWKS)
	status := make(chan int, 1)
	go func() {
		answer, err := c.Get(issuer.URLOf(oidctest.JWKS))
		if err != nil {
			status <- 0
			return
		}
		_ = answer.Body.Close()
		status <- answer.StatusCode
	}()
	<-hang.Reached()
	select {
	case s := <-status:
		t.Fatalf("answered %d while hanging", s)
	default:
	}
	hang.Release()
	if s := <-status; s != 200 {
		t.Errorf("status %d after Release, want 200", s)
	}
}

func TestCloseCutsRequestsThatHang(t *testing.T) {
	issuer := oidctest.NewIssuer()
	c := client(t, issuer)
	hang := issuer.Hang()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Get(issuer.URLOf(oidctest.JWKS))
		failed <- err
	}()
	<-hang.Reached()
	issuer.Close()
	issuer.Close()
	if err := <-failed; err == nil {
		t.Error("the request succeeded")
	}
}

func TestDownRefusesAndUpServesOnTheSamePort(t *testing.T) {
	issuer := start(t)
	c := client(t, issuer)
	issuer.Down()
	if _, err := c.Get(issuer.URLOf(oidctest.JWKS)); err == nil {
		t.Fatal("answered while down")
	}
	issuer.Up()
	if got := keyIDs(t, c, issuer); got != "key-1" {
		t.Errorf("keys after Up: %q", got)
	}
	if got := issuer.Requests(); got != 1 {
		t.Errorf("%d requests arrived, want 1", got)
	}
}

func TestETagAnswers304UntilKeysChange(t *testing.T) {
	issuer := start(t)
	issuer.SetETag(true)
	issuer.SetCacheControl("max-age=60")
	c := client(t, issuer)
	first, _ := get(t, c, issuer.URLOf(oidctest.JWKS))
	tag := first.Header.Get("ETag")
	if got := first.Header.Get("Cache-Control"); got != "max-age=60" {
		t.Errorf("Cache-Control %q", got)
	}
	again := func() int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuer.URLOf(oidctest.JWKS), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("If-None-Match", tag)
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // it was only read
		return answer.StatusCode
	}
	if got := again(); got != 304 {
		t.Errorf("same keys: %d, want 304", got)
	}
	if got := issuer.LastHeader(oidctest.JWKS).Get("If-None-Match"); got != tag {
		t.Errorf("LastHeader: %q, want %q", got, tag)
	}
	issuer.Rotate()
	if got := again(); got != 200 {
		t.Errorf("other keys: %d, want 200", got)
	}
}

func TestGzipIsUnderstoodByClients(t *testing.T) {
	issuer := start(t)
	issuer.SetGzip(true)
	c := client(t, issuer)
	answer, _ := get(t, c, issuer.URLOf(oidctest.JWKS))
	if !answer.Uncompressed {
		t.Error("the answer was not compressed")
	}
	if got := keyIDs(t, c, issuer); got != "key-1" {
		t.Errorf("keys %q", got)
	}
}

func TestRequestsCountsByEndpoint(t *testing.T) {
	issuer := start(t)
	c := client(t, issuer)
	get(t, c, issuer.URLOf(oidctest.JWKS))
	get(t, c, issuer.URLOf(oidctest.JWKS))
	get(t, c, issuer.URL+"/favicon.ico")
	for e, want := range map[oidctest.Endpoint]int{
		oidctest.OpenIDDiscovery: 0, oidctest.OAuthDiscovery: 0, oidctest.JWKS: 2, oidctest.Elsewhere: 1,
	} {
		if got := issuer.Requests(e); got != want {
			t.Errorf("endpoint %d: %d requests, want %d", e, got, want)
		}
	}
	if got := issuer.Requests(); got != 3 {
		t.Errorf("%d requests in all, want 3", got)
	}
}

func TestNewIssuerListensOnLoopbackOnly(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	oidctest.NewIssuer(oidctest.WithAddr("0.0.0.0:0"))
}
