package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// pushedRequest is an authorization request that the provider has.
type pushedRequest struct {
	uri    string
	expiry time.Time
}

// maxRequestURI bounds what a provider can make part of a URL.
const maxRequestURI = 2 << 10

// pushes reports whether authorization requests are pushed.
func (c *Client) pushes(m *Metadata) bool {
	return c.cfg.PushedRequests || m.RequirePAR || c.cfg.Profile != ""
}

// push gives an authorization request to the provider directly (RFC 9126): nobody
// can change it on the way, and what is in it does not pass through the browser.
func (c *Client) push(ctx context.Context, form url.Values) (pushedRequest, error) {
	a, err := c.do(ctx, request{endpoint: PAREndpoint, form: form, authenticate: true, proof: c.cfg.DPoP, status: http.StatusCreated})
	if err != nil {
		return pushedRequest{}, err
	}
	object, err := a.object()
	if err != nil {
		return pushedRequest{}, err
	}
	malformed := func(err error) (pushedRequest, error) {
		return pushedRequest{}, &RequestError{Endpoint: PAREndpoint, Result: oidc.FetchMalformed, Status: a.status, Err: err}
	}
	uri, _ := object.Member("request_uri")
	if uri.Kind() != oidc.KindString || uri.Text() == "" || len(uri.Text()) > maxRequestURI || strings.ContainsFunc(uri.Text(), func(r rune) bool {
		return r < 0x21 || r > 0x7e
	}) {
		return malformed(errors.New("the answer has no request_uri, or one that is no URI of 2 KiB at most"))
	}
	life, known, err := lifetime(object)
	switch {
	case err != nil:
		return malformed(err)
	case !known || life <= 0: // RFC 9126 section 2.2
		return malformed(errors.New("the answer has no positive expires_in"))
	}
	return pushedRequest{uri.Text(), a.sent.Add(life)}, nil
}
