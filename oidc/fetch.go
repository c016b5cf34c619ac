package oidc

import (
	"cmp"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxDocumentSize = 1 << 20 // after decompression
	maxETagSize     = 1 << 10
)

// FetchKind is what was fetched.
type FetchKind string

// The kinds of fetches.
const (
	FetchDiscovery FetchKind = "discovery"
	FetchJWKS      FetchKind = "jwks"
)

// FetchResult is how a fetch ended.
type FetchResult string

// The results of fetches.
const (
	FetchOK          FetchResult = "ok"
	FetchNotModified FetchResult = "not_modified"
	FetchTimeout     FetchResult = "timeout"   // not ended in time, body included
	FetchConnect     FetchResult = "connect"   // name resolution, connection, proxy, an answer that broke off, or a key set file that cannot be read
	FetchTLS         FetchResult = "tls"       // the handshake failed, or a file of certificates cannot be used
	FetchStatus      FetchResult = "status"    // another status than 200; redirects are not followed
	FetchTooLarge    FetchResult = "too_large" // over 1 MiB after decompression, or over 128 keys
	FetchMalformed   FetchResult = "malformed" // not the document that was asked for
	FetchEmpty       FetchResult = "empty"     // a key set without a usable key
	FetchRefused     FetchResult = "refused"   // an address or a document that the rules forbid, or no bearer token to send
)

// FetchEvent tells of one fetch of a document from an issuer.
type FetchEvent struct {
	IssuerName string               // the configured short name
	Kind       FetchKind            // which document
	Result     FetchResult          // safe as a metric label, as are the two above
	Duration   time.Duration        // with the body, by Config.Clock
	Err        error                // for operators; nil if Result is ok or not_modified
	URL        string               // without what may be secret in it
	TLS        *tls.ConnectionState // of the answer; nil without TLS or without an answer

	Start  time.Time   // when it began
	Status int         // of the answer; 0 without one
	Header http.Header // of the answer; nil without one. The server wrote it: mind where it goes
}

// fetchError is a failed fetch with its result. Its text never repeats what a
// document says; parts of it can come from the issuer's server all the same, such
// as a name in its certificate. See errorText.
type fetchError struct {
	result FetchResult
	err    error
}

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

func failed(result FetchResult, format string, args ...any) error {
	return &fetchError{result, fmt.Errorf(format, args...)}
}

// fetcher gets documents from one issuer. It is not for concurrent use.
type fetcher struct {
	issuerName string
	cfg        HTTPConfig
	insecure   bool
	trusted    origin   // gets the credentials
	proxy      *url.URL // nil for none
	timeout    time.Duration
	clock      func() time.Time
	onFetch    func(FetchEvent)
	resolver   *net.Resolver // nil means the system's

	// clients are those of the fetch under way. They are made when they are first
	// needed, from files as they are then, and forgotten with the key that they
	// hold when the fetch ends.
	clients map[route]*http.Client
}

// route is how a URL is reached.
type route struct {
	plain   bool // http
	trusted bool // to the origin that gets the credentials
	proxied bool
}

// newFetcher takes a configuration that was checked.
func newFetcher(cfg issuerKeysConfig, clock func() time.Time, onFetch func(FetchEvent)) *fetcher {
	f := &fetcher{
		issuerName: cfg.name, cfg: cfg.http, insecure: cfg.insecure, clock: clock, onFetch: onFetch,
		trusted: credentialOrigin(cfg),
		timeout: cmp.Or(cfg.http.Timeout, defaultFetchTimeout),
		clients: map[route]*http.Client{},
	}
	f.proxy, _ = parseProxyURL(cfg.http.ProxyURL) // checked; "" is none
	return f
}

// routeTo returns how u is reached. Loopback is this machine, not the proxy's.
func (f *fetcher) routeTo(u *url.URL) route {
	r := routeOf(u, f.proxy, f.insecure)
	r.trusted = originOf(u) == f.trusted
	return r
}

// routeOf returns how u is reached, to an origin that gets no credentials.
func routeOf(u, proxy *url.URL, insecure bool) route {
	r := route{plain: u.Scheme == "http"}
	r.proxied = proxy != nil && !isLoopbackHost(u.Hostname()) && (!r.plain || insecure)
	return r
}

// client returns the client for a route.
func (f *fetcher) client(r route) (*http.Client, error) {
	if c := f.clients[r]; c != nil {
		return c, nil
	}
	c, err := f.cfg.client(clientNeeds{
		route: r, insecure: f.insecure, proxy: f.proxy, resolver: f.resolver,
		certificate: r.trusted, serverName: r.trusted, idle: time.Second,
	})
	if err != nil {
		return nil, &fetchError{FetchTLS, err}
	}
	f.clients[r] = c
	return c, nil
}

// end forgets the clients. The next fetch is an hour away.
func (f *fetcher) end() {
	for _, c := range f.clients {
		c.CloseIdleConnections()
	}
	clear(f.clients)
}

// request is one document to fetch.
type request struct {
	kind  FetchKind
	url   *url.URL
	etag  string // of the document at hand; "" fetches in any case
	fresh bool   // pass caches on the way by
}

// response is a document that came, or the news that it has not changed.
type response struct {
	notModified bool
	body        []byte
	header      http.Header
}

// get fetches a document and has it read by parse, which is not called if the
// document has not changed. Whatever happens is reported as one event.
func (f *fetcher) get(ctx context.Context, r request, parse func(body []byte) error) (resp response, err error) {
	start := f.clock()
	event := FetchEvent{IssuerName: f.issuerName, Kind: r.kind, URL: displayURL(r.url), Start: start, Result: FetchMalformed} // stays if parse panics
	defer func() {
		event.Duration = f.clock().Sub(start)
		if f.onFetch != nil && context.Cause(ctx) == nil { // a fetch that we gave up says nothing of the issuer
			f.onFetch(event)
		}
	}()
	resp, err = f.exchange(ctx, r, &event)
	if err == nil && !resp.notModified {
		err = parse(resp.body)
	}
	var fe *fetchError
	switch {
	case errors.As(err, &fe):
		event.Result = fe.result
	case err != nil:
	case resp.notModified:
		event.Result = FetchNotModified
	default:
		event.Result = FetchOK
	}
	if err != nil {
		err = fmt.Errorf("GET %s: %w", event.URL, err)
	}
	event.Err = err
	return resp, err
}

// displayURL is u without what may be secret in it.
func displayURL(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return shown.String()
}

// exchange sends a request and reads the answer. It notes what came in event, also
// of an answer that does not count.
func (f *fetcher) exchange(parent context.Context, r request, event *FetchEvent) (response, error) {
	way := f.routeTo(r.url)
	if way.proxied {
		if err := checkProxied(r.url.Hostname()); err != nil {
			return response{}, &fetchError{FetchRefused, err}
		}
	}
	client, err := f.client(way)
	if err != nil {
		return response{}, err
	}
	ctx, cancel := context.WithTimeout(parent, f.timeout)
	defer cancel()
	var tlsFailed atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { tlsFailed.Store(err != nil) },
	})
	explain := func(err error) error {
		var ue *url.Error
		if errors.As(err, &ue) { // our own text names the URL, without its query
			err = ue.Err
		}
		if way.proxied {
			err = fmt.Errorf("through the proxy %s: %w", displayURL(f.proxy), err)
		}
		switch {
		case errors.Is(err, errRefused):
			return &fetchError{FetchRefused, err}
		case ctx.Err() != nil:
			return failed(FetchTimeout, "no complete answer within %s", f.timeout)
		case tlsFailed.Load(), errors.Is(err, errProxyTLS):
			return failed(FetchTLS, "TLS: %w", err)
		case isBadCompression(err):
			return failed(FetchMalformed, "bad compression")
		default:
			return &fetchError{FetchConnect, err}
		}
	}

	req, err := f.newRequest(ctx, r, way.trusted)
	if err != nil {
		return response{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, explain(err)
	}
	event.Status, event.Header, event.TLS = resp.StatusCode, resp.Header, resp.TLS
	defer func() { _ = resp.Body.Close() }() // nothing was written that could be lost
	if resp.StatusCode == http.StatusNotModified && req.Header.Get("If-None-Match") != "" {
		return response{notModified: true, header: resp.Header}, nil
	}
	if err := checkAnswer(resp); err != nil {
		return response{}, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocumentSize+1))
	switch {
	case err != nil:
		err = explain(err)
	case len(body) > maxDocumentSize:
		err = failed(FetchTooLarge, "over 1 MiB")
	case looksLikeHTML(body):
		err = errHTML()
	}
	if err != nil {
		return response{}, err
	}
	return response{body: body, header: resp.Header}, nil
}

// newRequest returns the request for a document. Only a trusted URL gets the
// bearer token.
func (f *fetcher) newRequest(ctx context.Context, r request, trusted bool) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url.String(), nil)
	if err != nil {
		return nil, &fetchError{FetchRefused, errors.New("not a URL")}
	}
	req.Header.Set("User-Agent", "claimgate")
	req.Header.Set("Accept", "application/json")
	if r.kind == FetchJWKS {
		req.Header.Set("Accept", "application/jwk-set+json, application/json")
	}
	switch {
	case r.fresh:
		req.Header.Set("Cache-Control", "no-cache")
	case r.etag != "":
		req.Header.Set("If-None-Match", r.etag)
	}
	if !trusted {
		return req, nil
	}
	token, err := f.cfg.bearer()
	if err != nil {
		return nil, &fetchError{FetchRefused, err}
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+string(token))
	}
	return req, nil
}

// checkAnswer judges an answer before its body is read.
func checkAnswer(resp *http.Response) error {
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return failed(FetchStatus, "status %d; redirects are not followed, so configure the final URL", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return failed(FetchStatus, "status %d", resp.StatusCode)
	}
	// Issuers label JSON in many ways; HTML is a login or error page.
	if t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); t == "text/html" || t == "application/xhtml+xml" {
		return errHTML()
	}
	return nil
}

func errHTML() error { return failed(FetchMalformed, "an HTML page in place of JSON") }

func looksLikeHTML(body []byte) bool {
	return strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), "\ufeff \t\r\n"), "<")
}

func isBadCompression(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt)
}
