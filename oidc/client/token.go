package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// TokenResponse is what a token endpoint answers (RFC 6749 section 5.1). Nothing
// prints the tokens in it.
type TokenResponse struct {
	AccessToken Secret
	// TokenType is how the token is used: "Bearer", "DPoP", or "N_A" for what a
	// token exchange brought that is no access token.
	TokenType string
	// Expiry is when the access token ends, counted from when it was asked for; zero
	// if the provider does not say.
	Expiry time.Time
	// RefreshToken is the refresh token to use from now on; empty if there is none.
	RefreshToken Secret
	// Scopes are those that were granted: what was asked for if the answer does not
	// say (RFC 6749 section 5.1).
	Scopes []string
	// ID is the ID token, validated: who has logged in. It is nil if there is none, or
	// if it is not one that the grant is about.
	ID *oidc.IDToken
	// IDToken is the text of ID, for a logout; empty if ID is nil.
	IDToken Secret
	// IssuedTokenType is what a token exchange brought (RFC 8693 section 3), else "".
	IssuedTokenType string
	// AuthorizationDetails are those that were granted (RFC 9396 section 7); nil if
	// the answer has none.
	AuthorizationDetails json.RawMessage

	raw *string // a pointer, because fmt prints unexported fields
}

// Raw is the whole answer, in memory of the caller's own. It has the tokens in it:
// nobody should log it.
func (t *TokenResponse) Raw() json.RawMessage {
	if t.raw == nil {
		return nil
	}
	return json.RawMessage(*t.raw)
}

// LogValue implements slog.LogValuer.
func (t *TokenResponse) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("token_type", t.TokenType),
		slog.Time("expiry", t.Expiry),
		slog.Any("scopes", t.Scopes),
		slog.Bool("refresh_token", !t.RefreshToken.IsZero()),
		slog.Bool("id_token", !t.IDToken.IsZero()),
	)
}

// The token types that this package knows (RFC 6749 section 7.1: a client must not
// use a token of a type that it does not understand).
const (
	typeBearer = "Bearer"
	typeDPoP   = "DPoP"
	typeNone   = "N_A" // RFC 8693 section 2.2.1
)

// grant is one request for tokens: what a flow gives to Client.token.
type grant struct {
	grantType string
	form      url.Values // the grant's own parameters
	params    TokenParams
	exchange  bool     // the answer may hold what is no access token
	scopes    []string // that were asked for before the request
	// id is what an ID token must satisfy if the answer has one; nil drops it.
	id *oidc.IDTokenRequirement
}

// token asks the token endpoint. Every flow ends here.
func (c *Client) token(ctx context.Context, g grant) (*TokenResponse, error) {
	form := url.Values{"grant_type": {g.grantType}}
	for name, values := range g.form {
		form[name] = values
	}
	if err := g.params.addTo(form); err != nil {
		return nil, err
	}
	a, err := c.do(ctx, request{endpoint: TokenEndpoint, form: form, authenticate: true, proof: c.cfg.DPoP})
	if err != nil {
		return nil, err
	}
	object, err := a.object()
	if err != nil {
		return nil, err
	}
	t, err := c.readToken(object, a, g)
	if err != nil {
		return nil, err
	}
	switch {
	case t.IDToken.IsZero():
	case g.id == nil:
		t.IDToken = Secret{}
	default:
		if t.ID, err = c.validateIDToken(ctx, t, *g.id); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// readToken reads a token endpoint's answer.
func (c *Client) readToken(object oidc.Value, a *answer, g grant) (*TokenResponse, error) {
	malformed := func(format string, args ...any) (*TokenResponse, error) {
		return nil, &RequestError{Endpoint: a.endpoint, Result: oidc.FetchMalformed, Status: a.status, Err: fmt.Errorf(format, args...)}
	}
	texts := map[string]string{}
	for _, name := range []string{"access_token", "token_type", "refresh_token", "scope", "id_token", "issued_token_type"} {
		v, _ := object.Member(name)
		switch v.Kind() { //nolint:exhaustive // all others are wrong
		case oidc.KindString:
			texts[name] = v.Text()
		case oidc.KindNull: // absent, or as good as absent
		default:
			return malformed("the answer's %s is no string", name)
		}
	}
	if texts["access_token"] == "" {
		return malformed("the answer has no access_token")
	}
	raw := object.Raw()
	t := &TokenResponse{
		AccessToken: NewSecret(texts["access_token"]), RefreshToken: NewSecret(texts["refresh_token"]), IDToken: NewSecret(texts["id_token"]),
		IssuedTokenType: texts["issued_token_type"], Scopes: strings.Fields(texts["scope"]), raw: &raw,
	}
	if texts["scope"] == "" {
		t.Scopes = slices.Clone(g.params.Scopes)
		if t.Scopes == nil {
			t.Scopes = slices.Clone(g.scopes)
		}
	}
	var err error
	if t.TokenType, err = c.tokenType(texts["token_type"], g.exchange); err != nil {
		return malformed("%w", err)
	}
	if g.exchange && t.IssuedTokenType == "" { // RFC 8693 section 2.2.1
		return malformed("the answer has no issued_token_type")
	}
	life, known, err := lifetime(object)
	switch {
	case err != nil:
		return malformed("%w", err)
	case known:
		t.Expiry = a.sent.Add(life)
	}
	if details, ok := object.Member("authorization_details"); ok && details.Kind() != oidc.KindNull {
		if details.Kind() != oidc.KindArray {
			return malformed("the answer's authorization_details is no array")
		}
		t.AuthorizationDetails = json.RawMessage(details.Raw())
	}
	return t, nil
}

// tokenType returns a token's type as this package writes it.
func (c *Client) tokenType(text string, exchange bool) (string, error) {
	switch {
	case text == "":
		return "", errors.New("the answer has no token_type")
	case exchange && strings.EqualFold(text, typeNone):
		return typeNone, nil
	case c.cfg.DPoP != nil && !strings.EqualFold(text, typeDPoP):
		return "", errors.New("the answer's token_type is not DPoP: the token is not bound to the client's key (RFC 9449 section 5)")
	case c.cfg.DPoP != nil:
		return typeDPoP, nil
	case strings.EqualFold(text, typeBearer):
		return typeBearer, nil
	}
	return "", errors.New("the answer's token_type is not Bearer: this client cannot use such a token")
}

// maxTokenLife is where what a provider says of a lifetime is cut off.
const maxTokenLife = 100 * 365 * 24 * time.Hour

// lifetime reads expires_in: seconds, as a number or, as some providers write it, a
// string.
func lifetime(object oidc.Value) (life time.Duration, known bool, err error) {
	v, _ := object.Member("expires_in")
	if v.Kind() == oidc.KindNull || v.Kind() == oidc.KindString && v.Text() == "" {
		return 0, false, nil
	}
	if k := v.Kind(); k != oidc.KindNumber && k != oidc.KindString {
		return 0, false, errors.New("the answer's expires_in is no number")
	}
	seconds, err := strconv.ParseFloat(v.Text(), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(seconds) {
		return 0, false, errors.New("the answer's expires_in is no number")
	}
	seconds = max(0, min(seconds, maxTokenLife.Seconds()))
	return time.Duration(seconds * float64(time.Second)), true, nil
}
