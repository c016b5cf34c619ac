package client

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// LogoutParams is what a logout at the provider can ask for (OpenID Connect
// RP-Initiated Logout 1.0 section 2).
type LogoutParams struct {
	// IDToken is the session's last ID token, TokenResponse.IDToken. With it providers
	// do not ask the user whether they mean it.
	IDToken Secret
	// PostLogoutRedirectURI is where the browser comes back to: a registered one; ""
	// leaves it at the provider.
	PostLogoutRedirectURI string
	// LogoutHint says whose session it is, in the provider's own terms; "" leaves it
	// out.
	LogoutHint string
	// UILocales are languages, best first (RFC 5646).
	UILocales []string
	// Extra are further parameters. None may be one that this package sets itself.
	Extra url.Values
}

// Logout is a logout at the provider that is about to begin.
type Logout struct {
	// URL is where to send the browser. It has the ID token in it: do not log it.
	URL string
	// State is what [CheckPostLogout] compares; "" without a PostLogoutRedirectURI.
	// Keep it in the browser's cookie until then.
	State string
}

// Logout returns where to send a browser whose user logs out (RP-initiated). End
// the application's own session first: the user may not come back.
func (c *Client) Logout(ctx context.Context, params LogoutParams) (*Logout, error) {
	prov, err := c.provider(ctx)
	if err != nil {
		return nil, err
	}
	endpoint, err := c.judged(prov, prov.metadata.EndSessionEndpoint, "end_session_endpoint")
	if err != nil {
		return nil, err
	}
	form := url.Values{"client_id": {c.cfg.ClientID}}
	logout := &Logout{}
	if params.PostLogoutRedirectURI != "" {
		if err := c.checkRedirectURI(params.PostLogoutRedirectURI); err != nil {
			return nil, fmt.Errorf("client: PostLogoutRedirectURI %w", err)
		}
		logout.State = randomText()
	}
	for name, value := range map[string]string{
		"id_token_hint": params.IDToken.Reveal(), "post_logout_redirect_uri": params.PostLogoutRedirectURI,
		"state": logout.State, "logout_hint": params.LogoutHint, "ui_locales": strings.Join(params.UILocales, " "),
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if err := addExtra(form, params.Extra); err != nil {
		return nil, err
	}
	logout.URL = pageURL(endpoint, form)
	return logout, nil
}

// CheckPostLogout reports whether a request to the PostLogoutRedirectURI is the end
// of the logout that state is of. If not, show the same page and change nothing:
// the application's own session has ended anyway.
func CheckPostLogout(r *http.Request, state string) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["state"]) != 1 || state == "" ||
		subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(state)) != 1 {
		return ErrStateMismatch
	}
	return nil
}

// ErrLogoutMalformed is a request to a logout URI that no provider sends, for use
// with [errors.Is].
var ErrLogoutMalformed = errors.New("client: the logout request is malformed")

// maxLogout bounds the body of a back-channel logout.
const maxLogout = 64 << 10

// ParseBackchannelLogout reads and verifies what the provider posts to the
// backchannel_logout_uri (OpenID Connect Back-Channel Logout 1.0 section 2.5) and
// returns whose sessions to end: that of SessionID, without one all of Subject's.
// It waits as long as ctx allows, for keys.
//
// A token that comes twice is not noticed here. Ending a session twice does no
// harm; a caller that ends all of a subject's remembers the token's ID until its
// Expiry, so that a stolen one does not end the user's next session too.
//
// [Client.BackchannelLogoutHandler] answers as the standard wants.
func (c *Client) ParseBackchannelLogout(ctx context.Context, r *http.Request) (*oidc.LogoutToken, error) {
	malformed := func(why string) (*oidc.LogoutToken, error) {
		return nil, fmt.Errorf("%w: %s", ErrLogoutMalformed, why)
	}
	if c.messages == nil {
		return nil, errNoKeys
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || err != nil || mediaType != "application/x-www-form-urlencoded" {
		return malformed("not a POST of a form")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxLogout+1))
	if err != nil || len(body) > maxLogout {
		return malformed("its body did not come, or is over 64 KiB")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["logout_token"]) != 1 {
		return malformed("not exactly one logout_token")
	}
	token, err := c.messages.ValidateLogoutToken(ctx, form.Get("logout_token"), c.recipient(c.cfg.IDTokenAlgorithms))
	if err != nil {
		return nil, fmt.Errorf("client: logout token: %w", err)
	}
	return token, nil
}

// BackchannelLogoutHandler serves the backchannel_logout_uri. end ends the sessions
// that a token names, and returns an error if it could not. It is called by several
// goroutines.
//
// Answers are those of the standard: 200 when the sessions have ended; 400 for a
// bad token, or if end failed; 503 if the token could not be verified now.
func (c *Client) BackchannelLogoutHandler(end func(context.Context, *oidc.LogoutToken) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, code := http.StatusOK, ""
		token, err := c.ParseBackchannelLogout(r.Context(), r)
		switch {
		case errors.Is(err, oidc.ErrCannotKnow) || errors.Is(err, errNoKeys):
			status, code = http.StatusServiceUnavailable, "temporarily_unavailable"
		case err != nil:
			status, code = http.StatusBadRequest, "invalid_request"
		default:
			if err = end(r.Context(), token); err != nil {
				status, code = http.StatusBadRequest, "logout_failed"
			}
		}
		w.Header().Set("Cache-Control", "no-store")
		if code == "" {
			w.WriteHeader(status)
			return
		}
		c.logger.Warn("a back-channel logout failed", "error", err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":"`+code+`"}`) // nobody else is there to tell
	})
}

// ParseFrontchannelLogout reads a request to the frontchannel_logout_uri, which the
// provider shows in a frame (OpenID Connect Front-Channel Logout 1.0 section 2),
// and returns the session to end: "" is that of the browser's cookie, if the
// provider sent none. Anybody can make a browser send such a request, so end
// nothing but a session of that browser's own.
//
// The client must be registered with frontchannel_logout_session_required for
// there to be a session ID; a request without one is refused then, if required.
func (c *Client) ParseFrontchannelLogout(r *http.Request, required bool) (sessionID string, err error) {
	malformed := func(why string) (string, error) {
		return "", fmt.Errorf("%w: %s", ErrLogoutMalformed, why)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	iss, sid := query["iss"], query["sid"]
	switch {
	case r.Method != http.MethodGet || err != nil:
		return malformed("not a GET with a query")
	case len(iss) > 1 || len(sid) > 1:
		return malformed("iss or sid comes twice")
	case len(iss) != len(sid):
		return malformed("iss and sid belong together")
	case len(sid) == 0 && required:
		return malformed("without iss and sid")
	case len(sid) == 0:
		return "", nil
	case iss[0] != c.cfg.issuer() || iss[0] == "":
		return "", ErrIssuerMismatch
	case sid[0] == "":
		return malformed("sid is empty")
	}
	return sid[0], nil
}
