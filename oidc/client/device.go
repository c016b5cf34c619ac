package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// DeviceAuthorization is what to show to the user of a device without a browser
// (RFC 8628 section 3.2). Give it to [Client.DeviceToken].
type DeviceAuthorization struct {
	// UserCode is what the user types at VerificationURI, on another device.
	UserCode string
	// VerificationURI is where the user goes.
	VerificationURI string
	// VerificationURIComplete has the code in it, for a QR code; "" if the provider
	// has none. Show the code all the same: the user has to compare it (RFC 8628
	// section 3.3.1).
	VerificationURIComplete string
	// Expiry is when the codes end.
	Expiry time.Time
	// Interval is how often [Client.DeviceToken] asks.
	Interval time.Duration

	deviceCode Secret
	scopes     []string
	raw        *string
}

// Raw is the whole answer, in memory of the caller's own. The device code is in it:
// nobody should log it.
func (d *DeviceAuthorization) Raw() json.RawMessage {
	if d.raw == nil {
		return nil
	}
	return json.RawMessage(*d.raw)
}

// AuthorizeDevice asks the provider for a code that the user of a device without a
// browser types elsewhere (RFC 8628 section 3.1). Show it, and call
// [Client.DeviceToken].
func (c *Client) AuthorizeDevice(ctx context.Context, params TokenParams) (*DeviceAuthorization, error) {
	form := url.Values{}
	if err := params.addTo(form); err != nil {
		return nil, err
	}
	a, err := c.do(ctx, request{endpoint: DeviceAuthorizationEndpoint, form: form, authenticate: true})
	if err != nil {
		return nil, err
	}
	object, err := a.object()
	if err != nil {
		return nil, err
	}
	d, err := readDevice(object, a.sent)
	if err != nil {
		return nil, &RequestError{Endpoint: a.endpoint, Result: oidc.FetchMalformed, Status: a.status, Err: err}
	}
	d.scopes = slices.Clone(params.Scopes)
	return d, nil
}

// readDevice reads the answer of the device authorization endpoint.
func readDevice(object oidc.Value, sent time.Time) (*DeviceAuthorization, error) {
	text := func(name string) string {
		v, _ := object.Member(name)
		if v.Kind() != oidc.KindString {
			return ""
		}
		return v.Text()
	}
	raw := object.Raw()
	d := &DeviceAuthorization{
		UserCode: text("user_code"), VerificationURI: text("verification_uri"), VerificationURIComplete: text("verification_uri_complete"),
		deviceCode: NewSecret(text("device_code")), raw: &raw,
	}
	if d.VerificationURI == "" {
		d.VerificationURI = text("verification_url") // of drafts, and of Google
	}
	switch {
	case d.deviceCode.IsZero():
		return nil, errors.New("the answer has no device_code")
	case d.UserCode == "" || !isShowable(d.UserCode):
		return nil, errors.New("the answer has no user_code that can be shown")
	case !isWebURL(d.VerificationURI):
		return nil, errors.New("the answer's verification_uri is no URL of a web page")
	case d.VerificationURIComplete != "" && !isWebURL(d.VerificationURIComplete):
		return nil, errors.New("the answer's verification_uri_complete is no URL of a web page")
	}
	life, known, err := seconds(object, "expires_in")
	if err != nil || !known {
		return nil, errors.New("the answer has no expires_in that is a number of seconds")
	}
	d.Expiry = sent.Add(life)
	if d.Interval, known, err = seconds(object, "interval"); err != nil {
		return nil, err
	} else if !known {
		d.Interval = defaultPollInterval
	}
	return d, nil
}

// DeviceToken waits until the user has typed the code and answered, and returns
// the tokens. It asks as often as the provider wants to be asked (RFC 8628 section
// 3.5), until the code ends: [ErrExpiredToken]; the user refuses:
// [ErrAccessDenied]; or ctx ends. A provider that cannot be reached is asked again.
func (c *Client) DeviceToken(ctx context.Context, d *DeviceAuthorization) (*TokenResponse, error) {
	if d == nil || d.deviceCode.IsZero() {
		return nil, errors.New("client: the zero DeviceAuthorization has no code")
	}
	g := grant{
		grantType: deviceGrant,
		form:      url.Values{"device_code": {d.deviceCode.Reveal()}},
		scopes:    d.scopes,
		id:        &oidc.IDTokenRequirement{},
	}
	return c.poll(ctx, g, d.Interval, d.Expiry)
}

// isShowable reports whether a text of the provider's does no harm on a terminal.
func isShowable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < 0x20 || r == 0x7f || r >= 0x80 && r <= 0xa0 || r >= 0x2028 && r <= 0x202e
	})
}

// isWebURL reports whether a user can be sent to a URL.
func isWebURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && isShowable(raw)
}
