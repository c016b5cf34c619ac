package oidc

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// HTTPConfig says how an issuer is reached. The zero HTTPConfig is good for
// issuers with a public certificate.
type HTTPConfig struct {
	// RootCAs are the authorities trusted for this issuer's certificate; nil
	// means the system's.
	RootCAs *x509.CertPool
	// Timeout bounds one fetch with its body: 5 s if zero, 60 s at most.
	Timeout time.Duration
}

const (
	defaultFetchTimeout = 5 * time.Second
	maxFetchTimeout     = 60 * time.Second
	maxDocumentSize     = 1 << 20 // after decompression
	maxETagSize         = 1 << 10
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
	FetchConnect     FetchResult = "connect"   // name resolution, connection, or an answer that broke off
	FetchTLS         FetchResult = "tls"       // the handshake failed
	FetchStatus      FetchResult = "status"    // another status than 200; redirects are not followed
	FetchTooLarge    FetchResult = "too_large" // over 1 MiB after decompression, or over 128 keys
	FetchMalformed   FetchResult = "malformed" // not the document that was asked for
	FetchEmpty       FetchResult = "empty"     // a key set without a usable key
	FetchRefused     FetchResult = "refused"   // an address or a document that the rules forbid
)

// FetchEvent tells of one fetch of a document from an issuer.
type FetchEvent struct {
	IssuerName string        // the configured short name
	Kind       FetchKind     // which document
	Result     FetchResult   // safe as a metric label, as are the two above
	Duration   time.Duration // with the body, by Config.Clock
	Err        error         // for operators; nil if Result is ok or not_modified
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

// fetcher gets documents from one issuer.
type fetcher struct {
	issuerName string
	timeout    time.Duration
	https      *http.Client
	http       *http.Client // reaches loopback only, unless insecure
	clock      func() time.Time
	onFetch    func(FetchEvent)
}

func newFetcher(issuerName string, cfg HTTPConfig, insecure bool, clock func() time.Time, onFetch func(FetchEvent)) *fetcher {
	f := &fetcher{
		issuerName: issuerName, timeout: cfg.Timeout, clock: clock, onFetch: onFetch,
		https: newHTTPClient(cfg.RootCAs, false),
		http:  newHTTPClient(cfg.RootCAs, !insecure),
	}
	if f.timeout == 0 {
		f.timeout = defaultFetchTimeout
	}
	return f
}

func newHTTPClient(roots *x509.CertPool, loopbackOnly bool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			// No proxy from the environment: it would resolve names past our guard.
			Proxy:                  nil,
			DialContext:            newDialer(loopbackOnly).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
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
	event := FetchEvent{IssuerName: f.issuerName, Kind: r.kind, Result: FetchMalformed} // stays if parse panics
	defer func() {
		event.Duration = f.clock().Sub(start)
		if f.onFetch != nil && context.Cause(ctx) == nil { // a fetch that we gave up says nothing of the issuer
			f.onFetch(event)
		}
	}()
	resp, err = f.exchange(ctx, r)
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
		err = fmt.Errorf("GET %s: %w", displayURL(r.url), err)
	}
	event.Err = err
	return resp, err
}

// displayURL is u without what may be secret in it.
func displayURL(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return shown.String()
}

func (f *fetcher) exchange(parent context.Context, r request) (response, error) {
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
		switch {
		case errors.Is(err, errRefused):
			return &fetchError{FetchRefused, err}
		case ctx.Err() != nil:
			return failed(FetchTimeout, "no complete answer within %s", f.timeout)
		case tlsFailed.Load():
			return failed(FetchTLS, "TLS: %w", err)
		case isBadCompression(err):
			return failed(FetchMalformed, "bad compression")
		default:
			return &fetchError{FetchConnect, err}
		}
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url.String(), nil)
	if err != nil {
		return response{}, &fetchError{FetchRefused, errors.New("not a URL")}
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
	client := f.https
	if r.url.Scheme == "http" {
		client = f.http
	}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, explain(err)
	}
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
		return response{}, explain(err)
	case len(body) > maxDocumentSize:
		return response{}, failed(FetchTooLarge, "over 1 MiB")
	case looksLikeHTML(body):
		return response{}, errHTML()
	}
	return response{body: body, header: resp.Header}, nil
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

// closeIdle ends the connections that no fetch uses.
func (f *fetcher) closeIdle() {
	f.https.CloseIdleConnections()
	f.http.CloseIdleConnections()
}
