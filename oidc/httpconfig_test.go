package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func writeFile(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// selfSigned returns a certificate for client and server use and its key, in PEM.
func selfSigned(t testing.TB, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return certPEM(der), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestCAFileIsReadForEachFetch(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, true)
	web.put("/keys", page(setOf(good)))
	file := filepath.Join(t.TempDir(), "ca.pem")
	s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: web.URL + "/keys", http: HTTPConfig{CAFile: file}}, time.Now)
	stranger, _ := selfSigned(t, "stranger")
	for _, step := range []struct {
		content string
		want    FetchResult
		text    string // part of the error
	}{
		{"", FetchTLS, "CA file " + file + ": there is no such file"},
		{stranger, FetchTLS, "certificate signed by unknown authority"},
		{"PRIVATE", FetchTLS, "CA file " + file + ": has no certificate in PEM form"},
		{certPEM(web.Certificate().Raw), FetchOK, ""},
		{strings.Repeat("x", maxCAFile+1), FetchTLS, "is over 4096 KiB"},
		{certPEM(web.Certificate().Raw), FetchOK, ""},
	} {
		if step.content != "" {
			writeFile(t, file, step.content)
		}
		_, err := s.fetch(t.Context(), false)
		wantStrings(t, "events", log.took(), "jwks "+string(step.want))
		if (err == nil) != (step.want == FetchOK) || err != nil && !strings.Contains(err.Error(), step.text) {
			t.Errorf("error %v, want %q", err, step.text)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("the error quotes the file: %v", err)
		}
	}
}

// What a fetch brings to prove who we are goes to configured origins only, not to
// where metadata leads.
func TestCredentialsStayWithTheConfiguredOrigin(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	dir := t.TempDir()
	certText, keyText := selfSigned(t, "gate")
	cfg := HTTPConfig{
		CertFile: writeFile(t, filepath.Join(dir, "tls.crt"), certText), KeyFile: writeFile(t, filepath.Join(dir, "tls.key"), keyText),
		BearerTokenFile: writeFile(t, filepath.Join(dir, "token"), "the.bearer-token\n"),
	}
	newWeb := func() *site {
		web := newSite(t, true)
		web.TLS.ClientAuth = tls.RequestClientCert
		web.put("/keys", page(setOf(good)))
		return web
	}
	web, elsewhere := newWeb(), newWeb()
	cfg.RootCAs = web.roots()
	credentials := func(at *site, path string) string {
		at.mu.Lock()
		defer at.mu.Unlock()
		for _, r := range at.seen {
			if r.URL.Path == path {
				return fmt.Sprintf("%q, %d certificates", r.Header.Get("Authorization"), len(r.TLS.PeerCertificates))
			}
		}
		return "not asked"
	}
	const all, nothing = `"Bearer the.bearer-token", 1 certificates`, `"", 0 certificates`
	const metadataPath = "/.well-known/openid-configuration"

	web.put(metadataPath, metadataPage(web.URL, elsewhere.URL+"/keys"))
	s, _ := sourceFor(t, issuerKeysConfig{issuer: web.URL, http: cfg}, time.Now)
	if _, err := s.fetch(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	wantStrings(t, "sent", []string{credentials(web, metadataPath), credentials(elsewhere, "/keys")}, all, nothing)
	web.took()
	elsewhere.took()

	web.put(metadataPath, metadataPage(web.URL, web.URL+"/keys"))
	s, _ = sourceFor(t, issuerKeysConfig{issuer: web.URL, http: cfg}, time.Now)
	if _, err := s.fetch(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	wantStrings(t, "sent", []string{credentials(web, metadataPath), credentials(web, "/keys")}, all, all)
	web.took()

	web.put("/meta", metadataPage("https://id.example.com", elsewhere.URL+"/keys"))
	s, _ = sourceFor(t, issuerKeysConfig{issuer: "https://id.example.com", discoveryURL: web.URL + "/meta", http: cfg}, time.Now)
	if _, err := s.fetch(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	wantStrings(t, "sent", []string{credentials(web, "/meta"), credentials(elsewhere, "/keys")}, all, nothing)
}

func TestCredentialsAreForTheOriginWhereKeysAreLookedFor(t *testing.T) {
	const issuer, meta, keys = "https://ID.example.com/shop", "https://meta.example.com:8443/x", "http://127.0.0.1:8080/keys"
	for _, tt := range []struct {
		cfg issuerKeysConfig
		yes []string
		no  []string
	}{
		{
			issuerKeysConfig{issuer: issuer},
			[]string{"https://id.example.com/keys", "https://id.example.com:443/keys", "https://ID.EXAMPLE.COM/"},
			[]string{
				"http://id.example.com/", "http://id.example.com:443/", "https://id.example.com:8443/", "https://id.example.com.evil.test/",
				"https://evil.test/id.example.com", "https://sub.id.example.com/", "https://id.example.com.:443/", "https://example.com/",
			},
		},
		{issuerKeysConfig{issuer: issuer, discoveryURL: meta}, []string{"https://meta.example.com:8443/keys"}, []string{issuer, "https://meta.example.com/keys"}},
		{issuerKeysConfig{issuer: issuer, discoveryURL: meta, jwksURL: keys}, []string{keys}, []string{issuer, meta, "http://127.0.0.1/keys"}},
		{issuerKeysConfig{issuer: "any text", jwksFile: "keys.json"}, nil, []string{issuer}},
	} {
		f := newFetcher(tt.cfg, time.Now, nil)
		for want, list := range map[bool][]string{true: tt.yes, false: tt.no} {
			for _, text := range list {
				u, err := parseFetchURL(text, func(*url.URL) bool { return true })
				if err != nil {
					t.Fatal(err)
				}
				if got := f.routeTo(u).trusted; got != want {
					t.Errorf("%s gets credentials: %t, want %t", text, got, want)
				}
			}
		}
	}
}

func TestServerName(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, true) // its certificate is for example.com and loopback
	web.put("/keys", page(setOf(good)))
	for name, want := range map[string]FetchResult{"example.com": FetchOK, "id.example.org": FetchTLS} {
		s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: web.URL + "/keys", http: HTTPConfig{RootCAs: web.roots(), ServerName: name}}, time.Now)
		_, err := s.fetch(t.Context(), false)
		wantStrings(t, name, log.took(), "jwks "+string(want))
		if want == FetchTLS && !strings.Contains(err.Error(), "id.example.org") {
			t.Errorf("error %v does not name the name", err)
		}
	}
}

func TestBearerTokenFile(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, false)
	var got string
	web.put("/keys", func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		page(setOf(good))(w, r)
	})
	file := filepath.Join(t.TempDir(), "token")
	s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: web.URL + "/keys", http: HTTPConfig{BearerTokenFile: file}}, time.Now)
	for _, tt := range []struct{ content, want string }{ // want is the header or a part of the error
		{"abc.DEF-_~+/123==\n", "Bearer abc.DEF-_~+/123=="},
		{"  \trenewed \r\n", "Bearer renewed"},
		{"", "does not hold a bearer token"},
		{"==", "does not hold a bearer token"},
		{"one two", "does not hold a bearer token"},
		{"one\nX-Admin: two", "does not hold a bearer token"},
		{"Bearer one", "does not hold a bearer token"},
		{"tökén", "does not hold a bearer token"},
		{strings.Repeat("a", maxBearerFile+1), "is over 16 KiB"},
	} {
		writeFile(t, file, tt.content)
		got = ""
		_, err := s.fetch(t.Context(), false)
		if strings.HasPrefix(tt.want, "Bearer ") {
			wantStrings(t, "events", log.took(), "jwks ok")
			if got != tt.want {
				t.Errorf("%q sends %q, want %q", tt.content, got, tt.want)
			}
			continue
		}
		wantStrings(t, "events", log.took(), "jwks refused")
		if err == nil || !strings.Contains(err.Error(), "bearer token file "+file+": "+tt.want) || got != "" {
			t.Errorf("error %v, sent %q; want %q and nothing", err, got, tt.want)
		}
		if tt.content != "" && tt.content != "==" && strings.Contains(err.Error(), tt.content) {
			t.Errorf("error %v quotes the file", err)
		}
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, "gate")
	_, otherKey := selfSigned(t, "other")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := writeFile(t, filepath.Join(dir, "tls.crt"), cert), writeFile(t, filepath.Join(dir, "tls.key"), key)
	junk := writeFile(t, filepath.Join(dir, "junk"), "sensitive")
	missing := filepath.Join(dir, "missing")
	for _, tt := range []struct {
		cfg  HTTPConfig
		want string
	}{
		{HTTPConfig{}, ""},
		{HTTPConfig{CAFile: certFile, CertFile: certFile, KeyFile: keyFile, BearerTokenFile: junk}, ""},
		{HTTPConfig{CAFile: dir}, "CA file " + dir + ": is a directory: name a file in it"},
		{HTTPConfig{CAFile: pipe}, "CA file " + pipe + ": is no regular file: name one"},
		{HTTPConfig{BearerTokenFile: missing}, "bearer token file " + missing + ": there is no such file: put it there, or correct the path"},
		{HTTPConfig{CertFile: missing, KeyFile: keyFile}, "client certificate file " + missing + ": there is no such file: put it there, or correct the path"},
		{HTTPConfig{CertFile: certFile, KeyFile: missing}, "client key file " + missing + ": there is no such file: put it there, or correct the path"},
		{
			HTTPConfig{CertFile: certFile, KeyFile: writeFile(t, filepath.Join(dir, "other.key"), otherKey)},
			"client certificate file " + certFile + ": is, with the key file " + filepath.Join(dir, "other.key") + ", no certificate and private key in PEM form that belong together",
		},
		{
			HTTPConfig{CertFile: junk, KeyFile: junk},
			"client certificate file " + junk + ": is, with the key file " + junk + ", no certificate and private key in PEM form that belong together",
		},
	} {
		err := tt.cfg.CheckFiles()
		if got := fmt.Sprint(err); got != tt.want && (tt.want != "" || err != nil) {
			t.Errorf("%+v\ngot  %s\nwant %s", tt.cfg, got, tt.want)
		}
	}
}

func TestHTTPConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		cfg  HTTPConfig
		want string // part of the error
	}{
		{HTTPConfig{CertFile: "a"}, "belong together"},
		{HTTPConfig{KeyFile: "a"}, "belong together"},
		{HTTPConfig{CAFile: "a", RootCAs: x509.NewCertPool()}, "both set"},
		{HTTPConfig{Timeout: time.Millisecond}, "HTTP.Timeout"},
		{HTTPConfig{ProxyURL: "socks5://proxy.example.com"}, "not an http or https URL"},
		{HTTPConfig{ProxyURL: "http://user:pass@proxy.example.com"}, "user or password"},
	} {
		err := tt.cfg.check()
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%+v: %v, want %q", tt.cfg, err, tt.want)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	s := secret("hunter2")
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "s", s)
	text := fmt.Sprintf("%s %v %+v %#v %q %v", s, s, s, s, s, struct{ S secret }{s}) + logged.String()
	if strings.Contains(text, "hunter2") {
		t.Errorf("printed: %s", text)
	}
}
