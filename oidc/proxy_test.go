package oidc

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// testProxy is a proxy that takes every name for one address.
type testProxy struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // guarded by mu: method and host
	certs int      // guarded by mu: client certificates that it was shown
}

func newTestProxy(t *testing.T, secure bool, to string) *testProxy {
	t.Helper()
	p := &testProxy{}
	var tunnels sync.WaitGroup
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnels.Add(1) // while the server still waits for us: it does not once the connection is taken over
		defer tunnels.Done()
		p.mu.Lock()
		p.asked = append(p.asked, r.Method+" "+r.Host)
		if r.TLS != nil {
			p.certs += len(r.TLS.PeerCertificates)
		}
		p.mu.Unlock()
		if to == "" {
			http.Error(w, "no", http.StatusProxyAuthRequired)
			return
		}
		target, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		for _, pair := range [][2]net.Conn{{client, target}, {target, client}} {
			tunnels.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}))
	p.Config.ErrorLog = discardLog()
	if secure {
		p.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} //nolint:gosec // a test's
		p.StartTLS()
	} else {
		p.Start()
	}
	t.Cleanup(func() {
		p.Close()
		tunnels.Wait()
	})
	return p
}

func (p *testProxy) took() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

func TestProxy(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, true) // its certificate is for example.com
	web.TLS.ClientAuth = tls.RequestClientCert
	web.put("/keys", page(setOf(good)))
	dir := t.TempDir()
	cert, key := selfSigned(t, "gate")
	for _, secure := range []bool{false, true} {
		proxy := newTestProxy(t, secure, web.Listener.Addr().String())
		cfg := HTTPConfig{
			RootCAs: web.roots(), ProxyURL: proxy.URL, ServerName: "example.com",
			CertFile: writeFile(t, filepath.Join(dir, "tls.crt"), cert), KeyFile: writeFile(t, filepath.Join(dir, "tls.key"), key),
			BearerTokenFile: writeFile(t, filepath.Join(dir, "token"), "secret-token"),
		}
		s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: "https://keys.example.com/keys", http: cfg}, time.Now)
		if _, err := s.fetch(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "events", log.took(), "jwks ok")
		wantStrings(t, "the proxy", proxy.took(), "CONNECT keys.example.com:443")
		web.mu.Lock()
		r := web.seen[len(web.seen)-1]
		web.mu.Unlock()
		if len(r.TLS.PeerCertificates) != 1 || r.Header.Get("Authorization") != "Bearer secret-token" || r.TLS.ServerName != "example.com" {
			t.Errorf("the issuer got %d certificates, the name %s and %v", len(r.TLS.PeerCertificates), r.TLS.ServerName, r.Header)
		}
		if proxy.certs != 0 {
			t.Error("the proxy was shown the client certificate")
		}

		// Loopback is this machine's, whatever the scheme.
		s, _ = sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: web.URL + "/keys", http: HTTPConfig{RootCAs: web.roots(), ProxyURL: proxy.URL}}, time.Now)
		if _, err := s.fetch(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "the proxy, for loopback", proxy.took())
	}
}

func TestProxyThatRefuses(t *testing.T) {
	proxy := newTestProxy(t, false, "")
	s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: "https://example.com/keys", http: HTTPConfig{ProxyURL: proxy.URL}}, time.Now)
	_, err := s.fetch(t.Context(), false)
	wantStrings(t, "events", log.took(), "jwks connect")
	if want := "GET https://example.com/keys: through the proxy " + proxy.URL + ": Proxy Authentication Required"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestProxyWhoseCertificateIsAStrangers(t *testing.T) {
	proxy := newTestProxy(t, true, "")
	s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: "https://example.com/keys", http: HTTPConfig{ProxyURL: proxy.URL}}, time.Now)
	_, err := s.fetch(t.Context(), false)
	wantStrings(t, "events", log.took(), "jwks tls")
	if err == nil || !strings.Contains(err.Error(), "TLS with the proxy") {
		t.Errorf("error %v", err)
	}
	wantStrings(t, "the proxy", proxy.took())
}

// What an address check would refuse is not asked of a proxy either.
func TestProxyIsNotAskedForMetadataServices(t *testing.T) {
	proxy := newTestProxy(t, false, "")
	for _, host := range []string{
		"169.254.169.254", "169.254.169.254:8443", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
		"0.0.0.0", "100.100.100.200", "168.63.129.16", "[fe80::1%25eth0]",
		"2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "169.254.169.0xfe", "169.254.169.254.", "10.0.0.1.",
		"metadata.google.internal", "METADATA.google.internal.", "metadata", "metadata.goog", "instance-data",
	} {
		s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: "https://" + host + "/keys", http: HTTPConfig{ProxyURL: proxy.URL}}, time.Now)
		_, err := s.fetch(t.Context(), false)
		wantStrings(t, host, log.took(), "jwks refused")
		if !errors.Is(err, errRefused) {
			t.Errorf("%s: error %v", host, err)
		}
	}
	wantStrings(t, "the proxy", proxy.took())
	for _, host := range []string{"id.example.com", "id.example.com.", "10.0.0.1", "2001:db8::1", "metadata.example.com", "7.example.com", "id.0xample"} {
		if err := checkProxied(host); (err != nil) != (host == "id.0xample") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestProxyAtAForbiddenAddress(t *testing.T) {
	for _, proxy := range []string{"http://169.254.169.254:3128", "https://169.254.169.254", "http://[::ffff:169.254.169.254]:80", "http://0.0.0.0:3128"} {
		s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: "https://example.com/keys", http: HTTPConfig{ProxyURL: proxy}}, time.Now)
		_, err := s.fetch(t.Context(), false)
		wantStrings(t, proxy, log.took(), "jwks refused")
		if !errors.Is(err, errRefused) {
			t.Errorf("%s: error %v", proxy, err)
		}
	}
}

func TestProxyURLRules(t *testing.T) {
	for text, want := range map[string]bool{
		"http://proxy.example.com:3128": true, "https://proxy.example.com": true, "http://127.0.0.1:3128/": true, "http://[::1]:3128": true,
		"": false, "proxy.example.com:3128": false, "socks5://proxy.example.com": false, "http://": false, "http://:3128": false,
		"http://u@proxy.example.com": false, "http://u:p@proxy.example.com": false, "http://proxy.example.com/path": false,
		"http://proxy.example.com?x": false, "http://proxy.example.com#": false, "http://proxy.example.com/%zz": false,
	} {
		if err := CheckProxyURL(text); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A name that nobody can resolve is an issuer that is down.
func TestANameThatCannotBeResolved(t *testing.T) {
	s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: "https://id.example.com/keys"}, time.Now)
	s.fetcher.timeout = time.Minute
	s.fetcher.resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no server answers")
	}}
	if _, err := s.fetch(t.Context(), false); err == nil || !strings.Contains(err.Error(), "lookup id.example.com") {
		t.Errorf("error %v", err)
	}
	wantStrings(t, "events", log.took(), "jwks connect")
}

// resolverOf answers every question with these addresses, the next one for each
// question: a name can be good when it is first looked at and bad when it is
// dialled.
func resolverOf(t *testing.T, answers ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	server.Go(func() {
		buf := make([]byte, 512)
		for n := 0; ; n++ {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(dnsAnswer(buf[:size], net.ParseIP(answers[min(n/2, len(answers)-1)])), from) // A and AAAA are asked
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		server.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// dnsAnswer answers a DNS question (RFC 1035 section 4) with ip if it is of the
// type that was asked for, and with nothing otherwise.
func dnsAnswer(question []byte, ip net.IP) []byte {
	end := 12
	for question[end] != 0 {
		end += int(question[end]) + 1
	}
	end += 5 // the root label, type and class
	kind := question[end-3]
	data := []byte(ip.To4())
	if kind == 28 { // AAAA
		data = nil
		if ip.To4() == nil || strings.Contains(ip.String(), ":") {
			data = ip.To16()
		}
	}
	answer := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:end]...)
	if data != nil {
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(data)))
		answer = append(answer, data...)
	}
	return answer
}

// Which address a name has is judged when it is dialled, so a name that points
// elsewhere by then, or always did, leads nowhere.
func TestNamesOfForbiddenAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		url  string
		ips  []string
	}{
		{"metadata", "https://id.example.com/keys", []string{"169.254.169.254"}},
		{"metadata, IPv6", "https://id.example.com/keys", []string{"fd00:ec2::254"}},
		{"link-local, IPv6", "https://id.example.com/keys", []string{"fe80::1"}},
		{"NAT64", "https://id.example.com/keys", []string{"64:ff9b::a9fe:a9fe"}},
		{"6to4", "https://id.example.com/keys", []string{"2002:a9fe:a9fe::1"}},
		{"unspecified", "https://id.example.com/keys", []string{"0.0.0.0"}},
		{"plain http to a name under localhost that is elsewhere", "http://id.localhost/keys", []string{"10.0.0.1"}},
	} {
		for _, proxied := range []bool{false, true} {
			cfg := issuerKeysConfig{issuer: "x", jwksURL: tt.url}
			if proxied { // the name is the proxy's
				if strings.HasPrefix(tt.url, "http:") {
					continue
				}
				cfg.jwksURL, cfg.http.ProxyURL = "https://keys.example.com/keys", "http://proxy.example.com:3128"
			}
			s, log := sourceFor(t, cfg, time.Now)
			s.fetcher.resolver = resolverOf(t, tt.ips...)
			_, err := s.fetch(t.Context(), false)
			wantStrings(t, tt.name, log.took(), "jwks refused")
			if !errors.Is(err, errRefused) {
				t.Errorf("%s, proxied %t: %v", tt.name, proxied, err)
			}
		}
	}
}

func TestNameThatIsRebound(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, true)
	web.put("/keys", page(setOf(good)))
	_, port, _ := net.SplitHostPort(web.Listener.Addr().String())
	s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: "https://example.com:" + port + "/keys", http: HTTPConfig{RootCAs: web.roots()}}, time.Now)
	s.fetcher.resolver = resolverOf(t, "127.0.0.1", "169.254.169.254")
	_, err := s.fetch(t.Context(), false)
	if err != nil {
		t.Error(err)
	}
	if _, err := s.fetch(t.Context(), false); !errors.Is(err, errRefused) {
		t.Errorf("after the name was bound to another address: %v", err)
	}
	wantStrings(t, "events", log.took(), "jwks ok", "jwks refused")
}
