package oidc

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// clientNeeds is what a client is made for, besides its HTTPConfig.
type clientNeeds struct {
	route                     // how it is used
	insecure    bool          // plain http is allowed off loopback
	proxy       *url.URL      // used if route.proxied
	resolver    *net.Resolver // nil means the system's
	certificate bool          // the client certificate is shown
	serverName  bool          // ServerName counts
	idle        time.Duration // how long connections are kept
}

// client returns a client for one route. It has the files' contents as they are
// now. It follows no redirects and has no cookies.
func (c HTTPConfig) client(need clientNeeds) (*http.Client, error) {
	if c.Client != nil {
		return withoutRedirects(c.Client), nil
	}
	dialer := newDialer(need.plain && !need.insecure)
	dialer.Resolver = need.resolver
	transport := &http.Transport{
		// No proxy from the environment: it would resolve names past our guard.
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        need.idle,
	}
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if need.proxied {
		transport.Proxy = http.ProxyURL(need.proxy)
		// The transport would show the proxy the client certificate.
		transport.DialTLSContext = proxyTLS(dialer, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: need.proxy.Hostname()})
	}
	if need.serverName {
		transport.TLSClientConfig.ServerName = c.ServerName
	}
	if need.certificate {
		cert, err := c.clientCertificate()
		if err != nil {
			return nil, err
		}
		if cert != nil {
			// Whatever authorities the server names: it can still say no.
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
	}
	return withoutRedirects(&http.Client{Transport: transport}), nil
}

// withoutRedirects returns a copy of c that follows no redirects and has no
// cookies: both would carry what is secret to where it was not sent.
func withoutRedirects(c *http.Client) *http.Client {
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &own
}

// NewClient returns a client for requests to the endpoints of an issuer's
// provider: with this configuration's authorities, client certificate, proxy and
// timeout, without its bearer token and its ServerName, which are for metadata
// and keys. Like fetches it follows no redirects, never reaches link-local or
// metadata addresses, and plain http only on loopback unless insecure is true.
// Unlike them it keeps connections, and shows the client certificate to every
// server that asks for one.
//
// A Client's own timeout counts if Timeout is zero.
//
// Files are looked at before each request, and read again if they changed. A
// file that cannot be used fails the request. [FetchResultOf] tells what these rules
// refused.
func (c HTTPConfig) NewClient(insecure bool) (*http.Client, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	if c.Client != nil {
		own := withoutRedirects(c.Client)
		own.Timeout = cmp.Or(c.Timeout, own.Timeout, defaultFetchTimeout)
		return own, nil
	}
	t := &clientTransport{cfg: c, insecure: insecure}
	t.proxy, _ = parseProxyURL(c.ProxyURL) // checked; "" is none
	own := withoutRedirects(&http.Client{Transport: t})
	own.Timeout = cmp.Or(c.Timeout, defaultFetchTimeout)
	return own, nil
}

// clientTransport is the transport of NewClient: one for each route, made anew
// when a file has changed.
type clientTransport struct {
	cfg      HTTPConfig
	insecure bool
	proxy    *url.URL

	mu      sync.Mutex // not held over I/O on the network
	clients map[route]*http.Client
	files   [3]fileIdentity // as they were when clients were made
}

// fileIdentity tells whether a file is still the one that was read.
type fileIdentity struct {
	info os.FileInfo // nil if there is none
}

func identify(path string) fileIdentity {
	if path == "" {
		return fileIdentity{}
	}
	info, err := os.Stat(path)
	if err != nil {
		return fileIdentity{}
	}
	return fileIdentity{info}
}

func (f fileIdentity) same(g fileIdentity) bool {
	if f.info == nil || g.info == nil {
		return f.info == nil && g.info == nil
	}
	return os.SameFile(f.info, g.info) && f.info.Size() == g.info.Size() && f.info.ModTime().Equal(g.info.ModTime())
}

// RoundTrip implements http.RoundTripper.
func (t *clientTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	r := routeOf(req.URL, t.proxy, t.insecure)
	var client *http.Client
	err := errRefused
	switch {
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
	case r.plain && !t.insecure && !isLoopbackHost(req.URL.Hostname()):
		err = fmt.Errorf("%w: plain http to %s, which is not loopback", errRefused, req.URL.Hostname())
	case r.proxied:
		if err = checkProxied(req.URL.Hostname()); err == nil {
			client, err = t.client(r)
		}
	default:
		client, err = t.client(r)
	}
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper must, and nothing was sent
		}
		return nil, err
	}
	return client.Transport.RoundTrip(req)
}

func (t *clientTransport) client(r route) (*http.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := [3]fileIdentity{identify(t.cfg.CAFile), identify(t.cfg.CertFile), identify(t.cfg.KeyFile)}
	for i := range now {
		if !now[i].same(t.files[i]) {
			t.forget()
			break
		}
	}
	if c := t.clients[r]; c != nil {
		return c, nil
	}
	c, err := t.cfg.client(clientNeeds{
		route: r, insecure: t.insecure, proxy: t.proxy, certificate: true, idle: 90 * time.Second,
	})
	if err != nil {
		return nil, &fetchError{FetchTLS, err}
	}
	if t.clients == nil {
		t.clients = map[route]*http.Client{}
	}
	t.clients[r], t.files = c, now
	return c, nil
}

func (t *clientTransport) forget() {
	for _, c := range t.clients {
		c.CloseIdleConnections()
	}
	clear(t.clients)
}

// CloseIdleConnections is called by http.Client's method of that name.
func (t *clientTransport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
}
