package oidc

import (
	"compress/gzip"
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// site is an issuer's web server whose pages can be changed.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	pages map[string]http.HandlerFunc // guarded by mu
	seen  []*http.Request             // guarded by mu
}

func newSite(t *testing.T, secure bool) *site {
	t.Helper()
	s := &site{pages: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r)
		page := s.pages[r.URL.Path]
		s.mu.Unlock()
		if page == nil {
			http.NotFound(w, r)
			return
		}
		page(w, r)
	}))
	s.Config.ErrorLog = discardLog()
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *site) put(path string, page http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = page
}

// took returns what was asked for since the last call.
func (s *site) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var paths []string
	for _, r := range s.seen {
		paths = append(paths, r.URL.Path)
	}
	s.seen = nil
	return paths
}

func (s *site) roots() *x509.CertPool {
	if s.Certificate() == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

func page(body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		_, _ = io.WriteString(w, body)
	}
}

func metadataPage(issuer, jwksURI string) http.HandlerFunc {
	return page(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, jwksURI))
}

// fetchLog keeps the events of fetches.
type fetchLog struct {
	mu     sync.Mutex
	events []FetchEvent // guarded by mu
}

func (l *fetchLog) add(e FetchEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// took returns "kind result" of the events since the last call.
func (l *fetchLog) took() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for _, e := range l.events {
		list = append(list, fmt.Sprintf("%s %s", e.Kind, e.Result))
	}
	l.events = nil
	return list
}

func sourceFor(t *testing.T, cfg issuerKeysConfig, clock func() time.Time) (*keySource, *fetchLog) {
	t.Helper()
	log := &fetchLog{}
	f := newFetcher(cfg, clock, log.add)
	s, err := newKeySource(cfg, f, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.end)
	return s, log
}

func wantStrings(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestResultOfAFetch(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	plain, secure := newSite(t, false), newSite(t, true)
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10} //nolint:gosec // that it is refused is the test
	old.Config.ErrorLog = discardLog()
	old.StartTLS()
	t.Cleanup(old.Close)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + gone.Addr().String()
	_ = gone.Close()

	junk := make([]fmt.Stringer, maxKeys)
	for i := range junk {
		junk[i] = rawKey(`{}`)
	}
	padded := func(size int) string {
		set := setOf(good)
		return set + strings.Repeat(" ", size-len(set))
	}
	gzipped := func(write func(io.Writer)) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			write(z)
			_ = z.Close()
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

	tests := []struct {
		name string
		url  string // instead of a page
		page http.HandlerFunc
		want FetchResult
		text string // part of the error
	}{
		{name: "a set", page: page(setOf(good)), want: FetchOK},
		{name: "a set of another content type", page: page(setOf(good), "Content-Type", "application/octet-stream"), want: FetchOK},
		{name: "exactly 1 MiB", page: page(padded(maxDocumentSize)), want: FetchOK},
		{name: "gzip", page: gzipped(func(w io.Writer) { _, _ = io.WriteString(w, setOf(good)) }), want: FetchOK},
		{name: "no answer", page: hang, want: FetchTimeout, text: "no complete answer within 100ms"},
		{name: "body never ends", page: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[`)
			w.(http.Flusher).Flush()
			hang(w, r)
		}, want: FetchTimeout},
		{name: "nobody listens", url: nobody, want: FetchConnect, text: "connection refused"},
		{name: "connection breaks off", page: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"keys":[`)
		}, want: FetchConnect, text: "unexpected EOF"},
		{name: "certificate of a stranger", url: secure.URL, want: FetchTLS, text: "certificate"},
		{name: "TLS 1.1", url: old.URL, want: FetchTLS, text: "protocol version"},
		{name: "http at an https URL", url: strings.Replace(plain.URL, "http:", "https:", 1), want: FetchTLS},
		{name: "not found", url: plain.URL + "/nowhere", want: FetchStatus, text: "status 404"},
		{name: "server error", page: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, want: FetchStatus},
		{name: "no content", page: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, want: FetchStatus},
		{name: "not modified, unasked", page: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, want: FetchStatus},
		{name: "redirect", page: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, want: FetchStatus, text: "redirects are not followed"},
		{name: "over 1 MiB", page: page(padded(maxDocumentSize + 1)), want: FetchTooLarge},
		{name: "gzip bomb", page: gzipped(func(w io.Writer) {
			block := make([]byte, 1<<20)
			for range 50 {
				_, _ = w.Write(block)
			}
		}), want: FetchTooLarge},
		{name: "129 keys", page: page(setOf(append(junk, good)...)), want: FetchTooLarge, text: "128 keys"},
		{name: "not JSON", page: page(`keys!`), want: FetchMalformed},
		{name: "no body", page: page(``), want: FetchMalformed},
		{name: "HTML by its type", page: page(setOf(good), "Content-Type", "text/html; charset=utf-8"), want: FetchMalformed, text: "HTML"},
		{name: "HTML by its looks", page: page("\n <!DOCTYPE html>"), want: FetchMalformed, text: "HTML"},
		{name: "bad gzip", page: page("not gzip at all", "Content-Encoding", "gzip"), want: FetchMalformed},
		{name: "no keys", page: page(`{"keys":[]}`), want: FetchEmpty},
		{name: "no usable key", page: page(`{"keys":[{"kty":"oct"}]}`), want: FetchEmpty},
		{name: "metadata address", url: "https://169.254.169.254/keys", want: FetchRefused, text: "metadata address"},
		{name: "metadata address, mapped", url: "https://[::ffff:169.254.169.254]/keys", want: FetchRefused},
		{name: "unspecified address", url: "https://0.0.0.0/keys", want: FetchRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := tt.url
			if u == "" {
				plain.put("/page", tt.page)
				u = plain.URL + "/page"
			}
			plain.took()
			s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: u + "?secret=1", http: HTTPConfig{Timeout: 100 * time.Millisecond}}, time.Now)
			if tt.want != FetchTimeout {
				s.fetcher.timeout = time.Minute // a slow machine is not the subject
			}
			_, err := s.fetch(t.Context(), false)
			wantStrings(t, "events", log.took(), "jwks "+string(tt.want))
			if (err == nil) != (tt.want == FetchOK) {
				t.Fatalf("error: %v", err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.text) || !strings.HasPrefix(err.Error(), "GET "+u) {
					t.Errorf("error %q, want GET %s and %q", err, u, tt.text)
				}
				if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "keys!") {
					t.Errorf("error %q tells too much", err)
				}
			}
			if got := plain.took(); len(got) > 1 {
				t.Errorf("requests %q, want one at most", got)
			}
		})
	}
}

func TestPlainHTTPStaysOnLoopback(t *testing.T) {
	log := &fetchLog{}
	u, _ := url.Parse("http://10.255.255.1/keys")
	f := newFetcher(issuerKeysConfig{}, time.Now, log.add)
	_, err := f.get(t.Context(), request{kind: FetchJWKS, url: u}, func([]byte) error { return nil })
	if err == nil {
		t.Error("plain http off loopback")
	}
	wantStrings(t, "events", log.took(), "jwks refused")
}

func TestAFetchOverTLSWithItsOwnAuthority(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, true)
	web.put("/.well-known/openid-configuration", metadataPage(web.URL, web.URL+"/keys"))
	web.put("/keys", page(setOf(good)))
	s, log := sourceFor(t, issuerKeysConfig{issuer: web.URL, http: HTTPConfig{RootCAs: web.roots()}}, time.Now)
	if _, err := s.fetch(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	wantStrings(t, "events", log.took(), "discovery ok", "jwks ok")
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	f := newFetcher(issuerKeysConfig{}, time.Now, nil)
	for _, r := range []route{{}, {plain: true}, {trusted: true}} {
		c, err := f.client(r)
		if err != nil {
			t.Fatal(err)
		}
		if c.Transport.(*http.Transport).Proxy != nil {
			t.Error("a proxy resolves names past the address check")
		}
	}
}

func TestETagSavesTheSet(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	_, other := ecJWK(t, "other", elliptic.P256())
	web := newSite(t, false)
	tagged := func(tag, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", tag)
			w.Header().Set("Cache-Control", "max-age=600")
			if r.Header.Get("If-None-Match") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, body)
		}
	}
	s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: web.URL + "/keys"}, time.Now)
	fetch := func(fresh bool) *keySet {
		t.Helper()
		got, err := s.fetch(t.Context(), fresh)
		if err != nil {
			t.Fatal(err)
		}
		if got.life != 10*time.Minute {
			t.Errorf("lifetime %s, want 10m", got.life)
		}
		return got.set
	}

	web.put("/keys", tagged(`"1"`, setOf(good)))
	first := fetch(false)
	if again := fetch(false); again != first {
		t.Error("another set although nothing was modified")
	}
	fetch(true)
	wantStrings(t, "events", log.took(), "jwks ok", "jwks not_modified", "jwks ok")
	web.mu.Lock()
	fresh := web.seen[2]
	web.mu.Unlock()
	if fresh.Header.Get("Cache-Control") != "no-cache" || fresh.Header.Get("If-None-Match") != "" {
		t.Errorf("a fresh fetch sent %v", fresh.Header)
	}

	web.put("/keys", tagged(`"2"`, setOf(other)))
	if set := fetch(false); set.digest == first.digest {
		t.Error("the changed set was not taken")
	}
	// An answer that is no key set does not move the tag on.
	web.put("/keys", tagged(`"3"`, `{"keys":[]}`))
	if _, err := s.fetch(t.Context(), false); err == nil {
		t.Error("an empty set is taken")
	}
	web.put("/keys", tagged(`"2"`, setOf(other)))
	fetch(false)
	wantStrings(t, "events", log.took(), "jwks ok", "jwks empty", "jwks not_modified")
}

func TestETagIsOfOneURL(t *testing.T) {
	_, a := ecJWK(t, "a", elliptic.P256())
	_, b := ecJWK(t, "b", elliptic.P256())
	web := newSite(t, false)
	tagged := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, body)
		}
	}
	web.put("/old", tagged(setOf(a)))
	web.put("/new", tagged(setOf(b)))
	clock := newTestClock()
	s, log := sourceFor(t, issuerKeysConfig{issuer: web.URL}, clock.now)
	for _, path := range []string{"/old", "/new", "/new"} {
		web.put("/.well-known/openid-configuration", metadataPage(web.URL, web.URL+path))
		if _, err := s.fetch(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		clock.advance(time.Hour)
	}
	wantStrings(t, "events", log.took(), "discovery ok", "jwks ok", "discovery ok", "jwks ok", "discovery ok", "jwks not_modified")
	if _, ok := s.set.byKID["b"]; !ok {
		t.Error("the keys of the old URL hold")
	}
}

func TestDiscoveryForms(t *testing.T) {
	for _, tt := range []struct{ issuer, openid, oauth string }{
		{"https://id.example.com", "https://id.example.com/.well-known/openid-configuration", "https://id.example.com/.well-known/oauth-authorization-server"},
		{"https://id.example.com/", "https://id.example.com/.well-known/openid-configuration", "https://id.example.com/.well-known/oauth-authorization-server"},
		{"https://id.example.com:8443/realms/shop", "https://id.example.com:8443/realms/shop/.well-known/openid-configuration", "https://id.example.com:8443/.well-known/oauth-authorization-server/realms/shop"},
		{"https://id.example.com/a%2Fb/", "https://id.example.com/a%2Fb/.well-known/openid-configuration", "https://id.example.com/.well-known/oauth-authorization-server/a%2Fb"},
	} {
		forms, err := discoveryForms(tt.issuer, false)
		if err != nil {
			t.Fatal(err)
		}
		wantStrings(t, tt.issuer, []string{forms[0].String(), forms[1].String()}, tt.openid, tt.oauth)
	}
	for _, bad := range []string{"", "shop", "http://id.example.com", "https://id.example.com?x=1", "https://id.example.com/#", "https://u@id.example.com"} {
		if _, err := discoveryForms(bad, false); err == nil {
			t.Errorf("%q can be discovered from", bad)
		}
	}
}

const (
	openidPath = "/realms/shop/.well-known/openid-configuration"
	oauthPath  = "/.well-known/oauth-authorization-server/realms/shop"
)

func TestDiscoveryTriesTheSecondFormAfterAnAnswer(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, false)
	issuer := web.URL + "/realms/shop"
	right := metadataPage(issuer, web.URL+"/keys")
	web.put("/keys", page(setOf(good)))
	for _, tt := range []struct {
		name          string
		openid, oauth http.HandlerFunc
		requests      []string
		events        []string
	}{
		{"first form", right, nil, []string{openidPath, "/keys"}, []string{"discovery ok", "jwks ok"}},
		{"not found", nil, right, []string{openidPath, oauthPath, "/keys"}, []string{"discovery status", "discovery ok", "jwks ok"}},
		{"a login page", page("<html>"), right, []string{openidPath, oauthPath, "/keys"}, []string{"discovery malformed", "discovery ok", "jwks ok"}},
		{"a set in its place", page(setOf(good)), right, []string{openidPath, oauthPath, "/keys"}, []string{"discovery malformed", "discovery ok", "jwks ok"}},
		{"two keys members", page(fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://a","jwks_uri":"https://b"}`, issuer)), right, []string{openidPath, oauthPath, "/keys"}, []string{"discovery malformed", "discovery ok", "jwks ok"}},
		{"another issuer", metadataPage(issuer+"/", web.URL+"/keys"), right, []string{openidPath, oauthPath, "/keys"}, []string{"discovery refused", "discovery ok", "jwks ok"}},
		{"neither", nil, nil, []string{openidPath, oauthPath}, []string{"discovery status", "discovery status"}},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, right, []string{openidPath}, []string{"discovery timeout"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			web.put(openidPath, tt.openid)
			web.put(oauthPath, tt.oauth)
			web.took()
			s, log := sourceFor(t, issuerKeysConfig{issuer: issuer}, time.Now)
			if slices.Contains(tt.events, "discovery timeout") {
				s.fetcher.timeout = 100 * time.Millisecond
			}
			_, err := s.fetch(t.Context(), false)
			if (err == nil) != slices.Contains(tt.events, "jwks ok") {
				t.Errorf("error: %v", err)
			}
			wantStrings(t, "requests", web.took(), tt.requests...)
			wantStrings(t, "events", log.took(), tt.events...)
		})
	}
}

func TestDiscoveryRules(t *testing.T) {
	web, secure := newSite(t, false), newSite(t, true)
	for _, tt := range []struct {
		name    string
		issuer  string
		jwksURI string
		want    string // part of the error, "" for none
	}{
		{"loopback to loopback", web.URL, web.URL + "/keys", ""},
		{"loopback to https", web.URL, "https://id.example.com/keys", ""},
		{"loopback to plain http elsewhere", web.URL, "http://id.example.com/keys", "loopback"},
		{"https to https elsewhere", secure.URL, "https://id.example.com/keys", ""},
		{"https to plain http", secure.URL, "http://id.example.com/keys", "https"},
		{"https to plain http on loopback", secure.URL, web.URL + "/keys", "https"},
		{"file", web.URL, "file:///keys", "not an https URL"},
		{"relative", web.URL, "/keys", "not an https URL"},
		{"password", web.URL, "https://u:p@id.example.com/keys", "user or password"},
		{"fragment", web.URL, "https://id.example.com/keys#x", "fragment"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := sourceFor(t, issuerKeysConfig{issuer: tt.issuer, http: HTTPConfig{RootCAs: secure.roots()}}, time.Now)
			for _, at := range []*site{web, secure} {
				at.put("/.well-known/openid-configuration", metadataPage(tt.issuer, tt.jwksURI))
			}
			err := s.discover(t.Context())
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want %q", err, tt.want)
			case tt.want == "" && s.found.keysURL.String() != tt.jwksURI:
				t.Errorf("keys at %s, want %s", s.found.keysURL, tt.jwksURI)
			}
		})
	}
}

func TestConfiguredPlacesOfDocuments(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, false)
	web.put("/meta", metadataPage("urn:some:issuer", web.URL+"/keys"))
	web.put("/keys", page(setOf(good)))
	for _, tt := range []struct {
		name string
		cfg  issuerKeysConfig
		want []string
	}{
		{"discovery URL", issuerKeysConfig{issuer: "urn:some:issuer", discoveryURL: web.URL + "/meta"}, []string{"/meta", "/keys"}},
		{"key set URL", issuerKeysConfig{issuer: "anything", jwksURL: web.URL + "/keys"}, []string{"/keys"}},
		{"key set URL wins", issuerKeysConfig{issuer: "anything", discoveryURL: web.URL + "/meta", jwksURL: web.URL + "/keys"}, []string{"/keys"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			web.took()
			s, _ := sourceFor(t, tt.cfg, time.Now)
			if _, err := s.fetch(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			wantStrings(t, "requests", web.took(), tt.want...)
		})
	}
	for _, bad := range []issuerKeysConfig{
		{issuer: "urn:some:issuer"}, {issuer: "http://id.example.com"},
		{issuer: "x", discoveryURL: "http://id.example.com"}, {issuer: "x", jwksURL: "http://id.example.com"},
		{issuer: "x", jwksURL: "https://u:p@id.example.com"},
	} {
		if _, err := newKeySource(bad, nil, time.Now); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// A change of the metadata is followed if it keeps the rules. Otherwise what was
// found before holds, as long as keys would.
func TestMetadataIsRefreshedLikeKeys(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	web := newSite(t, false)
	issuer := web.URL + "/realms/shop"
	web.put(oauthPath, metadataPage(issuer, web.URL+"/keys"))
	web.put("/keys", page(setOf(good)))
	web.put("/moved", page(setOf(good)))
	clock := newTestClock()
	s, log := sourceFor(t, issuerKeysConfig{issuer: issuer}, clock.now)
	fetch := func() fetched {
		t.Helper()
		got, err := s.fetch(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	fetch()
	wantStrings(t, "first", web.took(), openidPath, oauthPath, "/keys")
	fetch()
	wantStrings(t, "at once again", web.took(), "/keys")
	clock.advance(48 * time.Minute)
	fetch()
	wantStrings(t, "at the next refresh, the form that worked", web.took(), oauthPath, "/keys")

	web.put(oauthPath, metadataPage(issuer, web.URL+"/moved"))
	clock.advance(48 * time.Minute)
	fetch()
	wantStrings(t, "moved", web.took(), oauthPath, "/moved")

	log.took()
	web.put(oauthPath, metadataPage("https://evil.example.com", "https://evil.example.com/keys"))
	clock.advance(48 * time.Minute)
	if got := fetch(); got.warning == nil || !strings.Contains(got.warning.Error(), "issuer is not exactly") {
		t.Errorf("warning %v", got.warning)
	}
	wantStrings(t, "a lie", web.took(), oauthPath, openidPath, "/moved")
	wantStrings(t, "a lie", log.took(), "discovery refused", "discovery status", "jwks ok")

	clock.advance(24 * time.Hour)
	if _, err := s.fetch(t.Context(), false); err == nil {
		t.Error("the old metadata holds for ever")
	}

	web.put(oauthPath, metadataPage(issuer, web.URL+"/keys"))
	fetch()
	web.put("/keys", nil)
	web.put(oauthPath, metadataPage(issuer, web.URL+"/moved"))
	if _, err := s.fetch(t.Context(), false); err == nil {
		t.Error("no error although the keys are gone")
	}
	web.took()
	fetch()
	wantStrings(t, "after the keys were gone", web.took(), oauthPath, "/moved")
}

func TestAFetchThatWasGivenUpIsNoEvent(t *testing.T) {
	web := newSite(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	web.put("/keys", func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	s, log := sourceFor(t, issuerKeysConfig{issuer: "x", jwksURL: web.URL + "/keys"}, time.Now)
	if _, err := s.fetch(ctx, false); err == nil {
		t.Error("no error")
	}
	wantStrings(t, "events", log.took())
}

// The slash at the end is the commonest mistake, and hard to see.
func TestAnotherIssuerIsRefusedWithTheSlashNamed(t *testing.T) {
	from := &url.URL{Scheme: "https", Host: "id.example.com"}
	for got, want := range map[string]string{
		"https://id.example.com/":  `the document's issuer is not exactly "https://id.example.com": it has a / at its end`,
		"https://id.example.com/a": `the document's issuer is not exactly "https://id.example.com"`,
	} {
		_, err := metadata{issuer: got, jwksURI: "https://id.example.com/keys"}.keysURL("https://id.example.com", from, false)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", got, err, want)
		}
	}
	_, err := metadata{issuer: "https://id.example.com", jwksURI: "https://id.example.com/keys"}.keysURL("https://id.example.com/", from, false)
	if want := `the document's issuer is not exactly "https://id.example.com/": it has no / at its end`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
