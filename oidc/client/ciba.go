package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

const cibaGrant = "urn:openid:params:grant-type:ciba"

// BackchannelParams says who is to log in, and what for (CIBA Core 1.0 section
// 7.1). Scopes must have openid, which is added if it is missing. Exactly one of the
// hints is required.
type BackchannelParams struct {
	TokenParams
	// LoginHint is what the client knows of the user: a mail address, a number.
	LoginHint string
	// LoginHintToken is a token that says who the user is.
	LoginHintToken Secret
	// IDTokenHint is an ID token that the client has of the user.
	IDTokenHint Secret
	// BindingMessage is shown on both devices, so that the user can compare them.
	BindingMessage string
	// UserCode is what only the user knows, if the provider wants one.
	UserCode Secret
	// ACRValues are the authentication contexts that are wanted, best first.
	ACRValues []string
	// Expiry is how long the request should be good; zero leaves it to the provider.
	Expiry time.Duration
}

// BackchannelAuthentication is a request that the user answers on a device of
// theirs (CIBA Core 1.0 section 7.3). Give it to [Client.BackchannelToken].
type BackchannelAuthentication struct {
	// ID is the request's identifier, auth_req_id. With it tokens can be had.
	ID Secret
	// Expiry is when the request ends.
	Expiry time.Time
	// Interval is how often [Client.BackchannelToken] asks.
	Interval time.Duration

	scopes []string
	raw    *string
}

// Raw is the whole answer, in memory of the caller's own.
func (b *BackchannelAuthentication) Raw() json.RawMessage {
	if b.raw == nil {
		return nil
	}
	return json.RawMessage(*b.raw)
}

// AuthenticateBackchannel asks the provider to have a user log in on a device of
// theirs, without a browser here (CIBA Core 1.0, mode poll). Call
// [Client.BackchannelToken] then.
func (c *Client) AuthenticateBackchannel(ctx context.Context, params BackchannelParams) (*BackchannelAuthentication, error) {
	if !slices.Contains(params.Scopes, "openid") {
		params.Scopes = append([]string{"openid"}, params.Scopes...)
	}
	form, err := params.form()
	if err != nil {
		return nil, err
	}
	a, err := c.do(ctx, request{endpoint: BackchannelEndpoint, form: form, authenticate: true})
	if err != nil {
		return nil, err
	}
	object, err := a.object()
	if err != nil {
		return nil, err
	}
	malformed := func(err error) (*BackchannelAuthentication, error) {
		return nil, &RequestError{Endpoint: a.endpoint, Result: oidc.FetchMalformed, Status: a.status, Err: err}
	}
	id, _ := object.Member("auth_req_id")
	if id.Kind() != oidc.KindString || id.Text() == "" {
		return malformed(errors.New("the answer has no auth_req_id"))
	}
	life, known, err := seconds(object, "expires_in")
	if err != nil || !known {
		return malformed(errors.New("the answer has no expires_in that is a number of seconds"))
	}
	interval, known, err := seconds(object, "interval")
	switch {
	case err != nil:
		return malformed(err)
	case !known:
		interval = defaultPollInterval
	}
	raw := object.Raw()
	return &BackchannelAuthentication{
		ID: NewSecret(id.Text()), Expiry: a.sent.Add(life), Interval: interval,
		scopes: params.Scopes, raw: &raw,
	}, nil
}

// form returns the request's parameters.
func (p BackchannelParams) form() (url.Values, error) {
	form := url.Values{}
	set := func(name, value string) {
		if value != "" {
			form.Set(name, value)
		}
	}
	set("login_hint", p.LoginHint)
	set("login_hint_token", p.LoginHintToken.Reveal())
	set("id_token_hint", p.IDTokenHint.Reveal())
	if len(form) != 1 {
		return nil, errors.New("client: exactly one of LoginHint, LoginHintToken and IDTokenHint must be set")
	}
	set("binding_message", p.BindingMessage)
	set("user_code", p.UserCode.Reveal())
	set("acr_values", strings.Join(p.ACRValues, " "))
	switch {
	case p.Expiry < 0 || p.Expiry > 0 && p.Expiry < time.Second:
		return nil, errors.New("client: Expiry is less than a second")
	case p.Expiry > 0:
		set("requested_expiry", strconv.FormatInt(int64(p.Expiry/time.Second), 10))
	}
	if err := p.addTo(form); err != nil {
		return nil, err
	}
	return form, nil
}

// BackchannelToken waits until the user has answered, and returns the tokens. It
// asks as [Client.DeviceToken] does, and ends with the same errors.
func (c *Client) BackchannelToken(ctx context.Context, b *BackchannelAuthentication) (*TokenResponse, error) {
	if b == nil || b.ID.IsZero() {
		return nil, errors.New("client: the zero BackchannelAuthentication has no ID")
	}
	g := grant{
		grantType: cibaGrant,
		form:      url.Values{"auth_req_id": {b.ID.Reveal()}},
		scopes:    b.scopes,
		id:        &oidc.IDTokenRequirement{},
	}
	return c.poll(ctx, g, b.Interval, b.Expiry)
}
