package oidc

import (
	"context"
	"errors"
	"time"
)

// LogoutToken is a logout token that has been verified: whose sessions have
// ended. Treat it as read-only.
type LogoutToken struct {
	Issuer     string    // the configured issuer identifier, or its tenant's; for an alias too
	IssuerName string    // the configured short name
	Subject    string    // whose sessions have ended; "" if it says only which
	SessionID  string    // sid, the session that has ended; "" means all of Subject's
	ID         string    // jti: refuse it if it comes again before Expiry
	IssuedAt   time.Time // iat
	Expiry     time.Time // exp; leeway may let a token be accepted a little longer
	Claims     Claims    // all claims, as they were signed
}

// logoutEvent is the member of events that makes a token a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

var logoutTokenKind = messageKind{
	types:    []string{"logout+jwt", "jwt", tokenTypeNone},
	marks:    []string{"nonce", "htm", "token_introspection"},
	required: []string{"iat", "jti", "events"},
	texts:    []string{"sub", "sid", "jti"},
}

// ValidateLogoutToken verifies what an issuer posts to a client's
// backchannel_logout_uri (OpenID Connect Back-Channel Logout 1.0 section 2.6), or
// returns an [*Error] that says why not. It waits as [Validator.Validate] does.
//
// It does not remember tokens: that one with the same ID came before is for the
// caller to find out.
func (v *Validator) ValidateLogoutToken(ctx context.Context, token string, to Recipient) (*LogoutToken, error) {
	m, err := v.readMessage(ctx, token, to, logoutTokenKind, func(m *message) *Error {
		events, _ := m.claims.Top("events")
		if event, _ := events.Member(logoutEvent); event.Kind() != KindObject {
			return &Error{Reason: WrongTokenType, Claim: "events", Err: errors.New("not the event of a logout")}
		}
		if m.text("sub") == "" && m.text("sid") == "" {
			return invalidClaim("sub", "missing, and so is sid: the token says nowhere who has logged out")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &LogoutToken{
		Issuer: m.from.id, IssuerName: m.from.name, Subject: m.text("sub"), SessionID: m.text("sid"), ID: m.text("jti"),
		IssuedAt: m.issuedAt, Expiry: m.expiry, Claims: m.claims.unindexed(),
	}, nil
}
