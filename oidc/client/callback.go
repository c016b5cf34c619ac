package client

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// Why a callback is not the answer to the request of its transaction, for use with
// [errors.Is]. None of them is the user's doing: show an error page, and begin
// anew.
var (
	// ErrCallbackMalformed is a callback that no provider sends: without state or
	// code, with a parameter twice, with tokens in it, or over 64 KiB.
	ErrCallbackMalformed = errors.New("client: the callback is malformed")
	// ErrStateMismatch is a callback that another browser's login belongs to, or a
	// forged one (RFC 6749 section 10.12).
	ErrStateMismatch = errors.New("client: the callback's state is not that of the transaction")
	// ErrIssuerMismatch is the answer of another provider than the one that was
	// asked: a mix-up attack (RFC 9207).
	ErrIssuerMismatch = errors.New("client: the callback is not from the provider that was asked")
	// ErrTransactionExpired is a callback after more than ten minutes.
	ErrTransactionExpired = errors.New("client: the transaction has expired")
	// ErrTransactionUsed is a second callback for one transaction.
	ErrTransactionUsed = errors.New("client: the transaction was used before")
	// ErrTransactionForeign is a transaction that another client began: of another
	// issuer or client ID, or with another DPoP key.
	ErrTransactionForeign = errors.New("client: the transaction was begun by another client")
)

// Callback is a provider's good answer to an authorization request: a code, which
// [Client.ExchangeCode] takes once.
type Callback struct {
	code Secret
	data *transactionData
	used atomic.Bool
}

// maxCallback bounds a callback's parameters, in bytes.
const maxCallback = 64 << 10

// ParseCallback reads what came to the redirect URI: a GET, or with form_post a
// POST. It returns the code if it is the answer to the transaction's request, an
// [*OAuthError] if the provider refused the login, and otherwise an error that is
// [ErrStateMismatch], [ErrIssuerMismatch] or the like.
//
// The transaction is used up by a callback with its state, and by no other: junk
// does not end a login that is under way. ctx is for waiting only, which a signed
// answer may need.
func (c *Client) ParseCallback(ctx context.Context, tx *Transaction, r *http.Request) (*Callback, error) {
	switch r.Method {
	case http.MethodGet:
		return c.ParseCallbackQuery(ctx, tx, r.URL.RawQuery)
	case http.MethodPost:
		if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/x-www-form-urlencoded" {
			return nil, fmt.Errorf("%w: a POST that is no form", ErrCallbackMalformed)
		}
		if r.PostForm != nil { // somebody has read the body
			return c.ParseCallbackQuery(ctx, tx, r.PostForm.Encode())
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxCallback+1))
		if err != nil {
			return nil, fmt.Errorf("%w: its body did not come", ErrCallbackMalformed)
		}
		return c.ParseCallbackQuery(ctx, tx, string(body))
	default:
		return nil, fmt.Errorf("%w: neither a GET nor a POST", ErrCallbackMalformed)
	}
}

// ParseCallbackQuery is [Client.ParseCallback] for those who have no http.Request:
// query is the URL's raw query, or the raw body of a form.
func (c *Client) ParseCallbackQuery(ctx context.Context, tx *Transaction, query string) (*Callback, error) {
	if tx == nil || tx.data == nil {
		return nil, errors.New("client: there is no transaction for the callback: this browser has begun no login, or its session is gone")
	}
	d := tx.data
	switch {
	case d.Issuer != c.cfg.issuer() || d.ClientID != c.cfg.ClientID:
		return nil, ErrTransactionForeign
	case d.Thumbprint != c.thumbprint():
		return nil, fmt.Errorf("%w: with another DPoP key, which all replicas have to share", ErrTransactionForeign)
	}
	params, err := parseCallback(query)
	if err != nil {
		return nil, err
	}
	signed := isSigned(d.ResponseMode)
	if signed {
		if params, err = c.openResponse(ctx, params); err != nil {
			return nil, err
		}
	} else if params["response"] != "" {
		return nil, fmt.Errorf("%w: a signed answer, which was not asked for", ErrCallbackMalformed)
	}
	switch {
	case params["state"] == "":
		return nil, fmt.Errorf("%w: no state", ErrCallbackMalformed)
	case subtle.ConstantTimeCompare([]byte(params["state"]), []byte(d.State)) != 1:
		return nil, ErrStateMismatch
	case !tx.used.CompareAndSwap(false, true):
		return nil, ErrTransactionUsed
	case !c.clock().Before(d.expiry()):
		return nil, ErrTransactionExpired
	}
	if err := c.checkIssuer(ctx, params, signed); err != nil {
		return nil, err
	}
	if params["error"] != "" {
		return nil, newCallbackError(params)
	}
	for _, name := range []string{"access_token", "id_token", "token_type"} {
		if params[name] != "" { // of a flow that was not asked for
			return nil, fmt.Errorf("%w: it has %s, and a code was asked for", ErrCallbackMalformed, name)
		}
	}
	if params["code"] == "" {
		return nil, fmt.Errorf("%w: no code", ErrCallbackMalformed)
	}
	return &Callback{code: NewSecret(params["code"]), data: d}, nil
}

// parseCallback reads the parameters, each of which may come once (RFC 6749
// section 3.1).
func parseCallback(query string) (map[string]string, error) {
	if len(query) > maxCallback {
		return nil, fmt.Errorf("%w: over 64 KiB", ErrCallbackMalformed)
	}
	values, err := url.ParseQuery(query)
	if err != nil { // whose text has some of it
		return nil, fmt.Errorf("%w: its parameters are not form-encoded", ErrCallbackMalformed)
	}
	params := make(map[string]string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return nil, fmt.Errorf("%w: the parameter %s comes twice", ErrCallbackMalformed, printable(name[:min(len(name), maxErrorCode)]))
		}
		params[name] = values[name][0]
	}
	return params, nil
}

// openResponse returns the parameters within a signed answer (JARM section 2.1).
func (c *Client) openResponse(ctx context.Context, params map[string]string) (map[string]string, error) {
	if params["response"] == "" {
		return nil, fmt.Errorf("%w: not signed, and a signed answer was asked for", ErrCallbackMalformed)
	}
	if c.messages == nil {
		return nil, errNoKeys
	}
	claims, err := c.messages.ValidateAuthorizationResponse(ctx, params["response"], c.recipient(c.cfg.ResponseAlgorithms))
	if err != nil {
		return nil, fmt.Errorf("client: callback: %w", err)
	}
	signed := map[string]string{}
	for name, value := range claims.Object().Members() {
		if value.Kind() == oidc.KindString {
			signed[name] = value.Text()
		}
	}
	return signed, nil
}

// checkIssuer compares the answer's iss (RFC 9207 section 2.4), which a provider
// that says so never leaves out, not in errors either.
func (c *Client) checkIssuer(ctx context.Context, params map[string]string, signed bool) error {
	iss, present := params["iss"]
	switch {
	case signed: // verified with the issuer's keys
		return nil
	case present && iss != c.cfg.issuer():
		return ErrIssuerMismatch
	case present:
		return nil
	case c.cfg.Profile != "":
		return fmt.Errorf("%w: no iss, which profile %s wants", ErrIssuerMismatch, c.cfg.Profile)
	}
	prov, err := c.provider(ctx)
	if err != nil {
		return err
	}
	if prov.metadata.AuthorizationResponseIss {
		return fmt.Errorf("%w: no iss, which the provider always sends", ErrIssuerMismatch)
	}
	return nil
}

// ExchangeCode takes the code of a callback to the token endpoint (RFC 6749 section
// 4.1.3), with the PKCE verifier, and validates the ID token against the
// transaction. Extra and resources are of the token request; scopes are not needed.
//
// It is done once for each callback: on an error the user has to log in again, since
// a provider takes a code once and may have taken it.
func (c *Client) ExchangeCode(ctx context.Context, callback *Callback, params TokenParams) (*TokenResponse, error) {
	if callback == nil || callback.data == nil {
		return nil, errors.New("client: there is no callback")
	}
	d := callback.data
	if d.Issuer != c.cfg.issuer() || d.ClientID != c.cfg.ClientID || d.Thumbprint != c.thumbprint() {
		return nil, ErrTransactionForeign
	}
	if !callback.used.CompareAndSwap(false, true) {
		return nil, ErrTransactionUsed
	}
	t, err := c.token(ctx, grant{
		grantType: "authorization_code",
		form:      url.Values{"code": {callback.code.Reveal()}, "redirect_uri": {d.RedirectURI}, "code_verifier": {d.Verifier}},
		params:    params,
		scopes:    d.Scopes,
		id: &oidc.IDTokenRequirement{
			Nonce: d.Nonce, Code: callback.code.Reveal(), State: d.State, ACRValues: d.ACRValues, MaxAge: time.Duration(d.MaxAge) * time.Second,
		},
	})
	if err != nil {
		return nil, err
	}
	if t.ID == nil && d.Nonce != "" {
		return nil, refused(TokenEndpoint, "the answer has no id_token, which the scope openid asks for")
	}
	return t, nil
}

// newCallbackError makes an error of what came by the browser (RFC 6749 section
// 4.1.2.1).
func newCallbackError(params map[string]string) *OAuthError {
	text := func(name string, limit int) string {
		s := params[name]
		return cleanText(s, limit, nil)
	}
	return &OAuthError{
		Code: text("error", maxErrorCode), Description: text("error_description", maxErrorDescription), URI: text("error_uri", maxErrorDescription),
	}
}
