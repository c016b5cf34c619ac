package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
)

// TransportConfig is what a [Transport] is made from.
type TransportConfig struct {
	// Source has the tokens. Required. It stays the caller's to close.
	Source *TokenSource
	// Origins are where tokens are sent, such as https://api.example.com: a request to
	// anywhere else, by a redirect for example, fails. Required.
	Origins []string
	// Base makes the requests; nil means http.DefaultTransport.
	Base http.RoundTripper
	// DPoP is the key that the tokens are bound to; nil if they are not (RFC 9449).
	DPoP *dpop.Key
	// Insecure allows plain http off loopback.
	Insecure bool
}

// Transport is an http.RoundTripper that adds a token to each request:
//
//	api := &http.Client{Transport: transport}
//
// A request that is answered 401 is sent once more, with a new token, if its body
// can be sent again (http.Request.GetBody), and once more with a server's DPoP
// nonce; never more than twice in all. Without a token nothing is sent.
type Transport struct {
	cfg     TransportConfig
	base    http.RoundTripper
	origins []string
	nonces  nonces
}

// NewTransport checks cfg and returns a Transport for it, or all that is wrong with
// cfg in one error.
func NewTransport(cfg TransportConfig) (*Transport, error) {
	t := &Transport{cfg: cfg, base: cfg.Base}
	if t.base == nil {
		t.base = http.DefaultTransport
	}
	var faults []error
	if cfg.Source == nil {
		faults = append(faults, errors.New("client: Source is nil"))
	}
	if len(cfg.Origins) == 0 {
		faults = append(faults, errors.New("client: Origins is empty: name the origins that may get the token"))
	}
	for _, raw := range cfg.Origins {
		u, err := url.Parse(raw)
		if err == nil {
			err = oidc.CheckFetchURL(raw, cfg.Insecure)
		}
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("client: Origins has %q, which is %w", raw, err))
		case strings.TrimSuffix(u.Path, "/") != "" || strings.Contains(raw, "?"):
			faults = append(faults, fmt.Errorf("client: Origins has %q, which has more than a scheme, a host and a port", raw))
		default:
			t.origins = append(t.origins, originOf(u))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return t, nil
}

// maxDrained is how much of an answer is read so that its connection can be used
// again.
const maxDrained = 64 << 10

// RoundTrip implements http.RoundTripper. Errors say why there was no token; what
// the base says is passed on.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	first, again := req.Body, true
	if first == nil {
		first = http.NoBody
	}
	fail := func(format string, args ...any) (*http.Response, error) {
		_ = first.Close() // a RoundTripper must, and nothing was sent
		return nil, fmt.Errorf("client: "+format, args...)
	}
	switch {
	case !slices.Contains(t.origins, originOf(req.URL)):
		return fail("the token is not for %s: it is not one of Origins", originOf(req.URL))
	case req.Header.Get("Authorization") != "":
		return fail("the request has a header Authorization already")
	}
	for body := first; ; again = false {
		token, err := t.cfg.Source.Token(req.Context())
		if err != nil {
			_ = body.Close() // as above
			return nil, err
		}
		sent, err := t.authorized(req, token)
		if err != nil {
			_ = body.Close() // as above
			return nil, err
		}
		sent.Body = body
		before := t.nonces.get(req.URL)
		resp, err := t.base.RoundTrip(sent)
		if err != nil {
			return nil, err
		}
		if t.cfg.DPoP != nil {
			if nonce := resp.Header.Values("DPoP-Nonce"); len(nonce) == 1 {
				t.nonces.set(req.URL, nonce[0])
			}
		}
		if resp.StatusCode != http.StatusUnauthorized || !again || !t.worthAnother(req, resp, token, before) {
			return resp, nil
		}
		next, err := replayed(req)
		if err != nil {
			return resp, nil //nolint:nilerr // the answer is the caller's to see
		}
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained) // if it fails the connection is not used again
		_ = resp.Body.Close()
		body = next
	}
}

// authorized returns a copy of a request with a token.
func (t *Transport) authorized(req *http.Request, token *TokenResponse) (*http.Request, error) {
	sent := req.Clone(req.Context())
	bound := token.TokenType == typeDPoP
	switch {
	case bound != (t.cfg.DPoP != nil):
		return nil, fmt.Errorf("client: the token is of the type %s, for which this Transport is not configured", token.TokenType)
	case !bound:
		sent.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())
		return sent, nil
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	proof, err := t.cfg.DPoP.Proof(method, req.URL.String(), dpop.Options{
		AccessToken: token.AccessToken.Reveal(), Nonce: t.nonces.get(req.URL), Time: t.cfg.Source.clock(),
	})
	if err != nil {
		return nil, fmt.Errorf("client: DPoP proof: %w", err)
	}
	sent.Header.Set("Authorization", "DPoP "+token.AccessToken.Reveal())
	sent.Header.Set("DPoP", proof)
	return sent, nil
}

// worthAnother reports whether an answer of 401 may be another one if the request
// is sent again.
func (t *Transport) worthAnother(req *http.Request, resp *http.Response, token *TokenResponse, nonce string) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	code := ""
	for _, value := range resp.Header.Values("WWW-Authenticate") {
		if c := challengeError(value); c != "" {
			code = c
		}
	}
	switch codeError(code) {
	case ErrUseDPoPNonce:
		return t.cfg.DPoP != nil && t.nonces.get(req.URL) != nonce
	case "", ErrInvalidToken:
		return t.cfg.Source.Reject(token.AccessToken)
	default: // a new token would be refused too
		return false
	}
}

// replayed returns the body of a request once more.
func replayed(req *http.Request) (io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return http.NoBody, nil
	}
	return req.GetBody()
}

// CloseIdleConnections is called by http.Client's method of that name.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
