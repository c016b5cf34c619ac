package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// AuthorizationParams is what a login asks for (RFC 6749 section 4.1.1, OpenID
// Connect Core 1.0 section 3.1.2.1). With the scope openid it brings an ID token,
// which is demanded then.
type AuthorizationParams struct {
	// TokenParams are scopes and the like. An Extra is sent to the authorization
	// endpoint.
	TokenParams
	// RedirectURI is where the provider sends the browser back to, exactly as it is
	// registered. Required: https, http on loopback, or a private-use scheme with a
	// dot in it (RFC 8252 section 7).
	RedirectURI string

	// Prompt says what the user is to see: none alone, or some of login, consent,
	// select_account and create. Nil leaves that to the provider.
	Prompt []string
	// MaxAge is how long ago the user may have authenticated, in whole seconds. Zero
	// does not ask, negative asks for right now (max_age=0). The ID token must show it.
	MaxAge time.Duration
	// ACRValues are the authentication context classes to ask for, the best first.
	// That is a wish unless RequireACR is true: then the ID token must have one of
	// them.
	ACRValues  []string
	RequireACR bool
	// LoginHint says who is likely to log in.
	LoginHint string
	// IDTokenHint is an ID token of the user who is to log in again. It is sent by way
	// of the browser, unless the request is pushed.
	IDTokenHint Secret
	// UILocales are languages for the provider's pages, the best first (RFC 5646).
	UILocales []string
	// Claims is a JSON object that asks for single claims (OpenID Connect Core 1.0
	// section 5.5).
	Claims json.RawMessage
	// ResponseMode says how the answer comes: "" or "query" in the URL, "form_post" as a
	// POST; "jwt", "query.jwt" and "form_post.jwt" signed (JARM). An answer that is not
	// signed is refused if a signed one was asked for, and the other way round.
	ResponseMode string
}

// AuthorizationRequest is a login that has begun.
type AuthorizationRequest struct {
	// URL is where to send the browser, with a redirect of status 303 or 302. It is
	// good for one login.
	URL string
	// Expiry is the end of the URL, and of the transaction.
	Expiry time.Time
	// Transaction is what the callback is compared with.
	Transaction *Transaction
}

// AuthorizationRequest begins a login by authorization code, always with PKCE
// (RFC 7636, S256), a state, and with the scope openid a nonce. Keep the
// transaction in the user's own session, send the browser to the URL, and give
// what comes to the redirect URI to [Client.ParseCallback].
//
// The request is pushed (RFC 9126) if the provider's metadata or the configuration
// demands it, and signed (RFC 9101) if there is a key for that: otherwise nothing
// but metadata is fetched, if at all.
func (c *Client) AuthorizationRequest(ctx context.Context, p AuthorizationParams) (*AuthorizationRequest, error) {
	prov, err := c.provider(ctx)
	if err != nil {
		return nil, err
	}
	endpoint, err := c.judged(prov, prov.metadata.AuthorizationEndpoint, "authorization_endpoint")
	if err != nil {
		return nil, err
	}
	if err := c.checkAuthorization(prov.metadata, &p); err != nil {
		return nil, fmt.Errorf("client: authorization request: %w", err)
	}
	tx := c.newTransaction(p)
	form, err := c.authorizationForm(p, tx)
	if err != nil {
		return nil, err
	}
	request := &AuthorizationRequest{Expiry: tx.data.expiry(), Transaction: tx}
	pushed := c.pushes(prov.metadata)
	if form, err = c.signRequest(form, pushed); err != nil {
		return nil, err
	}
	if pushed {
		pushed, err := c.push(ctx, form)
		if err != nil {
			return nil, err
		}
		form = url.Values{"client_id": {c.cfg.ClientID}, "request_uri": {pushed.uri}}
		if pushed.expiry.Before(request.Expiry) {
			request.Expiry = pushed.expiry
		}
	}
	request.URL = pageURL(endpoint, form)
	return request, nil
}

// pageURL is the URL of a page at the provider's, with parameters. A query that the
// endpoint has is kept (RFC 6749 section 3.1).
func pageURL(endpoint *url.URL, form url.Values) string {
	u := *endpoint
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += form.Encode()
	return u.String()
}

// responseModes are those that this package reads. A fragment never reaches a
// server.
var responseModes = []string{"", "query", "form_post", "jwt", "query.jwt", "form_post.jwt"}

// isSigned reports whether answers of a response mode are JWTs.
func isSigned(mode string) bool { return mode == "jwt" || strings.HasSuffix(mode, ".jwt") }

// checkAuthorization refuses what cannot become a good request.
func (c *Client) checkAuthorization(m *Metadata, p *AuthorizationParams) error {
	if err := c.checkRedirectURI(p.RedirectURI); err != nil {
		return fmt.Errorf("RedirectURI %w", err)
	}
	switch {
	case m.CodeChallengeMethodsSupported != nil && !slices.Contains(m.CodeChallengeMethodsSupported, "S256"):
		return errors.New("the provider does not support PKCE with S256, without which a stolen code is worth a login")
	case !slices.Contains(responseModes, p.ResponseMode):
		return fmt.Errorf("ResponseMode %q is none of query, form_post, jwt, query.jwt and form_post.jwt", p.ResponseMode)
	case slices.Contains(p.Prompt, "none") && len(p.Prompt) > 1:
		return errors.New("Prompt none goes with no other")
	case p.RequireACR && len(p.ACRValues) == 0:
		return errors.New("RequireACR needs ACRValues")
	case isSigned(p.ResponseMode) && c.messages == nil:
		return errNoKeys
	case m.RequireSignedRequestObject && c.cfg.RequestKey.Signer == nil:
		return errors.New("the provider wants a signed request (RFC 9101): set Config.RequestKey")
	}
	for _, list := range [][]string{p.Prompt, p.ACRValues, p.UILocales} {
		for _, s := range list {
			if s == "" || strings.ContainsAny(s, " \t\r\n") {
				return fmt.Errorf("%q is not a value of Prompt, ACRValues or UILocales: one has no space in it", s)
			}
		}
	}
	if p.Claims != nil {
		if v, err := oidc.ParseJSON(string(p.Claims)); err != nil || v.Kind() != oidc.KindObject {
			return errors.New("Claims is no JSON object")
		}
	}
	for name := range p.Extra {
		if ownParameters[name] {
			return fmt.Errorf("Extra has %q: use the field for it", name)
		}
	}
	return c.checkProfiled(m, p)
}

// ownParameters are the parameters of an authorization request that have a field,
// besides those that no request can have in Extra.
var ownParameters = map[string]bool{
	"prompt": true, "max_age": true, "acr_values": true, "login_hint": true, "id_token_hint": true, "ui_locales": true, "claims": true,
	"registration": true,
}

func (c *Client) checkRedirectURI(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return errors.New("is empty")
	case err != nil || !u.IsAbs() || strings.Contains(raw, "#"):
		return errors.New("is no absolute URI without fragment (RFC 6749 section 3.1.2)")
	case u.User != nil:
		return errors.New("has a user in it")
	}
	switch u.Scheme {
	case "https":
		if u.Host == "" {
			return errors.New("has no host")
		}
		return nil
	case "http":
		if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() || u.Hostname() == "localhost" || c.cfg.Insecure {
			return nil
		}
		return errors.New("is plain http off loopback: a code that comes there can be read on the way")
	default:
		if !strings.Contains(u.Scheme, ".") { // RFC 8252 section 7.1
			return fmt.Errorf("has the scheme %q, which is neither https nor a private-use scheme such as com.example.app", u.Scheme)
		}
		return nil
	}
}

// authorizationForm returns the parameters of a request.
func (c *Client) authorizationForm(p AuthorizationParams, tx *Transaction) (url.Values, error) {
	d := tx.data
	form := url.Values{
		"response_type": {"code"}, "client_id": {d.ClientID}, "redirect_uri": {d.RedirectURI}, "state": {d.State},
		"code_challenge": {challengeOf(d.Verifier)}, "code_challenge_method": {"S256"},
	}
	for name, value := range map[string]string{
		"nonce": d.Nonce, "response_mode": p.ResponseMode, "dpop_jkt": d.Thumbprint, "login_hint": p.LoginHint,
		"id_token_hint": p.IDTokenHint.Reveal(), "claims": string(p.Claims),
		"prompt": strings.Join(p.Prompt, " "), "acr_values": strings.Join(p.ACRValues, " "), "ui_locales": strings.Join(p.UILocales, " "),
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if p.MaxAge != 0 {
		form.Set("max_age", strconv.FormatInt(int64(max(p.MaxAge, 0)/time.Second), 10))
	}
	if err := p.TokenParams.addTo(form); err != nil {
		return nil, err
	}
	return form, nil
}

// challengeOf is the code challenge of a verifier (RFC 7636 section 4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// randomText is a value that nobody can guess: 32 bytes in 43 characters, which is
// what RFC 7636 section 4.1 wants of a verifier.
func randomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
