package client

import (
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
)

// maxAnswer bounds the body of an answer, after decompression.
const maxAnswer = 1 << 20

// request is one request to an endpoint: what a flow fills in, and all that it has
// to know of HTTP.
type request struct {
	endpoint Endpoint
	url      *url.URL // if it is not what the metadata names; its rules were applied

	method      string     // "" means POST
	form        url.Values // the body of a POST
	body        []byte     // in place of form, as contentType says
	contentType string

	authenticate bool      // with the client's authentication; form must be in use
	bearer       Secret    // sent in Authorization, by DPoP if proof is set
	proof        *dpop.Key // nil sends no proof

	accept  string   // "" means application/json
	status  int      // of success; 0 means 200
	secrets []string // what errors must not repeat
}

// answer is what came of a request: a success, read to its end.
type answer struct {
	endpoint  Endpoint
	status    int
	header    http.Header
	mediaType string // without parameters, in lower case
	body      []byte
	sent      time.Time // when the request was made
	secrets   []string
}

// RequestEvent tells of one request to an endpoint, with all its attempts.
type RequestEvent struct {
	Endpoint Endpoint         // which one
	Grant    string           // the grant_type of a token request, else ""
	Result   oidc.FetchResult // safe as a metric label, as are the two above
	Code     string           // of an OAuth error: a registered one, or "other"; "" if there was none
	Status   int              // of the last answer; 0 without one
	Attempts int              // 1, or 2 with a DPoP nonce or a broken connection
	Start    time.Time
	Duration time.Duration // with the body, by Config.Clock
	Err      error         // for operators; nil if Result is ok
}

// do makes a request and returns a successful answer. Every other is an
// [*OAuthError] or a [*RequestError].
//
// There is a second attempt in two cases only: a GET whose connection broke before
// an answer came, and a server that asks for a proof with its nonce (RFC 9449
// section 8). Each attempt has an assertion and a proof of its own.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	event := RequestEvent{Endpoint: r.endpoint, Grant: r.form.Get("grant_type"), Start: c.clock()}
	a, err := c.attempts(ctx, r, &event)
	event.Duration = c.clock().Sub(event.Start)
	event.Err = err
	event.Result = oidc.FetchOK
	var oe *OAuthError
	var re *RequestError
	switch {
	case errors.As(err, &oe):
		event.Result, event.Code = oidc.FetchStatus, label(oe.Code)
	case errors.As(err, &re):
		event.Result = re.Result
	case err != nil: // of the metadata, or the request was not even made
		event.Result = cmp.Or(oidc.FetchResultOf(err), oidc.FetchRefused)
	}
	if c.cfg.OnRequest != nil {
		c.cfg.OnRequest(event)
	}
	return a, err
}

func (c *Client) attempts(ctx context.Context, r request, event *RequestEvent) (*answer, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return nil, err
	}
	u := r.url
	if u == nil {
		if u, err = c.endpoint(p, r.endpoint); err != nil {
			return nil, err
		}
	}
	for {
		event.Attempts++
		again := event.Attempts == 1
		before := c.nonces.get(u)
		a, err := c.attempt(ctx, r, u, event)
		var re *RequestError
		switch {
		case err == nil || !again:
			return a, err
		case r.proof != nil && errors.Is(err, ErrUseDPoPNonce) && c.nonces.get(u) != before:
		case r.method == http.MethodGet && errors.As(err, &re) && re.Result == oidc.FetchConnect && re.Status == 0 && ctx.Err() == nil:
		default:
			return nil, err
		}
	}
}

// attempt makes one attempt.
func (c *Client) attempt(ctx context.Context, r request, u *url.URL, event *RequestEvent) (*answer, error) {
	failed := func(result oidc.FetchResult, err error) error {
		return &RequestError{Endpoint: r.endpoint, Result: result, Status: event.Status, Err: err}
	}
	event.Status = 0
	var tlsFailed atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { tlsFailed.Store(err != nil) },
	})
	req, secrets, err := c.newRequest(traced, r, u)
	if err != nil {
		return nil, fmt.Errorf("client: %s: %w", r.endpoint, err)
	}
	explain := func(err error) error {
		var ue *url.Error
		if errors.As(err, &ue) { // whose text has the whole URL
			err = ue.Err
		}
		err = fmt.Errorf("%s %s: %w", req.Method, displayURL(u), err)
		var ne net.Error
		switch {
		case ctx.Err() != nil:
			return failed(oidc.FetchTimeout, fmt.Errorf("%s %s: %w", req.Method, displayURL(u), context.Cause(ctx)))
		case oidc.FetchResultOf(err) != "":
			return failed(oidc.FetchResultOf(err), err)
		case errors.As(err, &ne) && ne.Timeout():
			return failed(oidc.FetchTimeout, err)
		case tlsFailed.Load():
			return failed(oidc.FetchTLS, err)
		case isBadCompression(err):
			return failed(oidc.FetchMalformed, fmt.Errorf("%s %s: bad compression", req.Method, displayURL(u)))
		default:
			return failed(oidc.FetchConnect, err)
		}
	}

	sent := c.clock()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, explain(err)
	}
	defer func() { _ = resp.Body.Close() }() // nothing was written that could be lost
	event.Status = resp.StatusCode
	if r.proof != nil {
		if nonce := resp.Header.Values("DPoP-Nonce"); len(nonce) == 1 {
			c.nonces.set(u, nonce[0])
		}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, explain(err)
	case len(body) > maxAnswer:
		return nil, failed(oidc.FetchTooLarge, errors.New("the answer is over 1 MiB"))
	}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	a := &answer{
		endpoint: r.endpoint, status: resp.StatusCode, header: resp.Header, mediaType: mediaType,
		body: body, sent: sent, secrets: append(secrets, r.secrets...),
	}
	want := r.status
	if want == 0 {
		want = http.StatusOK
	}
	if a.status != want {
		return nil, c.failure(a)
	}
	return a, nil
}

// newRequest returns an attempt's request, and what of it is secret.
func (c *Client) newRequest(ctx context.Context, r request, u *url.URL) (*http.Request, []string, error) {
	cr := credentialed{
		clientID: c.cfg.ClientID, issuer: c.cfg.issuer(), endpoint: u.String(), now: c.clock(),
		form: maps.Clone(r.form), header: http.Header{},
	}
	method, body, contentType := r.method, r.body, r.contentType
	if method == "" {
		method = http.MethodPost
	}
	if r.authenticate {
		if cr.form == nil {
			cr.form = url.Values{}
		}
		if err := c.cfg.Auth.apply(ctx, &cr); err != nil {
			return nil, nil, err
		}
	}
	if cr.form != nil {
		body, contentType = []byte(cr.form.Encode()), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, errors.New("not a URL")
	}
	maps.Copy(req.Header, cr.header)
	req.Header.Set("User-Agent", "claimgate")
	req.Header.Set("Accept", "application/json")
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	scheme := "Bearer "
	if r.proof != nil {
		scheme = "DPoP "
		proof, err := r.proof.Proof(method, u.String(), dpop.Options{AccessToken: r.bearer.Reveal(), Nonce: c.nonces.get(u), Time: c.clock()})
		if err != nil {
			return nil, nil, fmt.Errorf("DPoP proof: %w", err)
		}
		req.Header.Set("DPoP", proof)
	}
	if !r.bearer.IsZero() {
		req.Header.Set("Authorization", scheme+r.bearer.Reveal())
		cr.secrets = append(cr.secrets, r.bearer.Reveal())
	}
	for name := range secretParameters {
		cr.secrets = append(cr.secrets, cr.form[name]...)
	}
	return req, cr.secrets, nil
}

// secretParameters are those whose values no error repeats.
var secretParameters = map[string]bool{
	"client_secret": true, "client_assertion": true, "assertion": true, "code": true, "code_verifier": true,
	"refresh_token": true, "device_code": true, "subject_token": true, "actor_token": true, "token": true,
	"auth_req_id": true, "request": true, "login_hint_token": true, "id_token_hint": true, "user_code": true,
}

// failure is the error of an answer whose status is not that of success.
func (c *Client) failure(a *answer) error {
	wait := retryAfter(a.header, c.clock())
	if object, err := oidc.ParseJSON(string(a.body)); err == nil {
		if oe := a.refusal(object); oe != nil {
			oe.RetryAfter = wait
			return oe
		}
	}
	re := &RequestError{Endpoint: a.endpoint, Result: oidc.FetchStatus, Status: a.status, RetryAfter: wait}
	switch {
	case a.status >= 300 && a.status < 400:
		re.Err = fmt.Errorf("status %d; redirects are not followed, so configure the final URL", a.status)
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		if oe := a.challenged(); oe != nil {
			oe.RetryAfter = wait
			return oe
		}
		fallthrough
	default:
		re.Err = fmt.Errorf("status %d", a.status)
	}
	return re
}

// refusal returns the OAuth error that an object is, nil if it is none.
func (a *answer) refusal(object oidc.Value) *OAuthError {
	if code, _ := object.Member("error"); code.Kind() != oidc.KindString || code.Text() == "" {
		return nil
	}
	return newOAuthError(a.endpoint, a.status, object, a.secrets)
}

// challenged returns the error of an answer's WWW-Authenticate (RFC 6750 section
// 3), as resources send it, nil if there is none.
func (a *answer) challenged() *OAuthError {
	for _, value := range a.header.Values("WWW-Authenticate") {
		if code := challengeError(value); code != "" {
			return &OAuthError{Code: code, Status: a.status, Endpoint: a.endpoint}
		}
	}
	return nil
}

// challengeError returns the value of error= in a challenge, "" if it has none.
func challengeError(challenge string) string {
	code := challengeParameter(challenge, "error")
	if len(code) > maxErrorCode || printable(code) != code {
		return ""
	}
	return code
}

// challengeParameter returns the value of a parameter that is a quoted string without
// escapes, "" if the challenge has none.
func challengeParameter(challenge, name string) string {
	name += `="`
	i := strings.Index(challenge, name)
	if i < 0 || i > 0 && !strings.ContainsRune(" ,\t", rune(challenge[i-1])) {
		return ""
	}
	value, _, ok := strings.Cut(challenge[i+len(name):], `"`)
	if !ok || strings.Contains(value, `\`) {
		return ""
	}
	return value
}

// object returns the JSON object that a successful answer is. An object that is an
// OAuth error is refused, as some providers answer 200 for those.
func (a *answer) object() (oidc.Value, error) {
	malformed := func(err error) (oidc.Value, error) {
		return oidc.Value{}, &RequestError{Endpoint: a.endpoint, Result: oidc.FetchMalformed, Status: a.status, Err: err}
	}
	if a.mediaType == "text/html" || a.mediaType == "application/xhtml+xml" {
		return malformed(errors.New("an HTML page in place of JSON"))
	}
	object, err := oidc.ParseJSON(string(a.body))
	switch {
	case err != nil:
		return malformed(fmt.Errorf("the answer is %w", err))
	case object.Kind() != oidc.KindObject:
		return malformed(errors.New("the answer is no JSON object"))
	}
	if oe := a.refusal(object); oe != nil {
		return oidc.Value{}, oe
	}
	return object, nil
}

// maxRetryAfter bounds what a provider can ask a client to wait.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header of RFC 9110 section 10.2.3, zero if it is absent or
// makes no sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}

// displayURL is u without what may be secret in it.
func displayURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func isBadCompression(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt)
}

// label is a code as a metric label: a provider cannot make up more of them.
func label(code string) string {
	if knownCodes[codeError(code)] {
		return code
	}
	return "other"
}
