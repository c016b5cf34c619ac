package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// Introspection is what the provider says of a token (RFC 7662 section 2.2). It is
// immutable and safe to share. Of a token that is not active everything but Active
// and Signed is zero. It is about a person, mostly: think before you log it.
type Introspection struct {
	// Active tells that the token is good: the provider says so, and its times agree
	// by this client's clock. Whether it is meant for the one who asks is not among
	// that: look at Audience and Scopes.
	Active bool

	Scopes    []string  // nil if absent
	ClientID  string    // "" if absent, as all that follow
	Username  string    // for people to read
	TokenType string    // "Bearer" or "DPoP", as at the token endpoint
	Subject   string    // unique together with Issuer only
	Audience  []string  // nil if absent
	Issuer    string    // iss
	ID        string    // jti
	Expiry    time.Time // exp; zero if absent
	IssuedAt  time.Time // iat
	NotBefore time.Time // nbf

	// Claims are all members, a JSON object.
	Claims oidc.Value
	// Signed tells that the provider signed the answer (RFC 9701).
	Signed bool
}

// Raw is the whole answer, of a signed one what it says of the token; nil if the
// token is not active.
func (i *Introspection) Raw() json.RawMessage {
	if !i.Active {
		return nil
	}
	return json.RawMessage(i.Claims.Raw())
}

// TokenHint is what a token that the provider is asked about is. It only helps the
// provider to find it.
type TokenHint string

// The registered hints (RFC 7009 section 2.1).
const (
	HintAccessToken  TokenHint = "access_token"
	HintRefreshToken TokenHint = "refresh_token"
)

// Introspect asks the provider whether a token is good, and what it means (RFC
// 7662). An error says nothing about the token, not even that it is bad: answer 503
// for one, and 401 for a token that is not active.
//
// A signed answer (RFC 9701) is verified; with [Config.IntrospectionAlgorithms] it
// must be signed. hint may be "".
func (c *Client) Introspect(ctx context.Context, token Secret, hint TokenHint) (*Introspection, error) {
	form, err := aboutToken(token, hint)
	if err != nil {
		return nil, err
	}
	accept := "application/json"
	if c.cfg.IntrospectionAlgorithms != nil {
		accept = mediaTypeIntrospection
	}
	a, err := c.do(ctx, request{endpoint: IntrospectionEndpoint, form: form, authenticate: true, accept: accept})
	if err != nil {
		return nil, err
	}
	signed := a.mediaType == mediaTypeIntrospection
	var object oidc.Value
	switch {
	case signed && c.messages == nil:
		return nil, errNoKeys
	case signed:
		claims, err := c.messages.ValidateIntrospection(ctx, a.text(), c.recipient(c.cfg.IntrospectionAlgorithms))
		if err != nil {
			return nil, fmt.Errorf("client: %s: %w", a.endpoint, err)
		}
		object = claims.Object()
	case c.cfg.IntrospectionAlgorithms != nil:
		return nil, refused(a.endpoint, "the answer is not signed, and IntrospectionAlgorithms says that the client is registered for signed ones")
	default:
		if object, err = a.object(); err != nil {
			return nil, err
		}
	}
	i, err := readIntrospection(object, c.clock())
	if err != nil {
		return nil, &RequestError{Endpoint: a.endpoint, Result: oidc.FetchMalformed, Status: a.status, Err: err}
	}
	i.Signed = signed
	return i, nil
}

const mediaTypeIntrospection = "application/token-introspection+jwt"

// aboutToken is the form of a question about a token.
func aboutToken(token Secret, hint TokenHint) (url.Values, error) {
	if token.IsZero() {
		return nil, errors.New("client: the token is empty")
	}
	form := url.Values{"token": {token.Reveal()}}
	if hint != "" {
		form.Set("token_type_hint", string(hint))
	}
	return form, nil
}

// introspectionLeeway is how far the provider's clock may be behind this one.
const introspectionLeeway = 30 * time.Second

// readIntrospection reads an answer. Whatever is odd about it is an error, so that
// only a clear yes is one.
func readIntrospection(object oidc.Value, now time.Time) (*Introspection, error) {
	active, _ := object.Member("active")
	switch {
	case active.Kind() != oidc.KindBool:
		return nil, errors.New("the answer's active is not true or false")
	case !active.Bool():
		return &Introspection{}, nil
	}
	i := &Introspection{Active: true, Claims: object}
	var scope string
	for name, into := range map[string]*string{
		"scope": &scope, "client_id": &i.ClientID, "username": &i.Username, "token_type": &i.TokenType,
		"sub": &i.Subject, "iss": &i.Issuer, "jti": &i.ID,
	} {
		v, _ := object.Member(name)
		if k := v.Kind(); k != oidc.KindString && k != oidc.KindNull {
			return nil, fmt.Errorf("the answer's %s is no string", name)
		}
		*into = v.Text()
	}
	i.Scopes = strings.Fields(scope)
	if aud, ok := object.Member("aud"); ok && aud.Kind() == oidc.KindString {
		i.Audience = []string{aud.Text()}
	} else if ok && aud.Kind() != oidc.KindNull {
		if i.Audience, ok = aud.Strings(); !ok {
			return nil, errors.New("the answer's aud is neither a string nor a list of strings")
		}
	}
	for name, into := range map[string]*time.Time{"exp": &i.Expiry, "iat": &i.IssuedAt, "nbf": &i.NotBefore} {
		v, _ := object.Member(name)
		if v.Kind() == oidc.KindNull {
			continue
		}
		seconds, ok := v.Float64()
		if !ok || v.Kind() != oidc.KindNumber || math.Abs(seconds) > maxTokenLife.Seconds()*100 {
			return nil, fmt.Errorf("the answer's %s is no time", name)
		}
		*into = time.Unix(int64(seconds), 0)
	}
	if !i.Expiry.IsZero() && !now.Before(i.Expiry) || i.NotBefore.After(now.Add(introspectionLeeway)) {
		return &Introspection{}, nil
	}
	return i, nil
}
