package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
)

// IDTokenRequirement is what a client wants of an ID token. What was sent with
// the request that it answers must be here: what is not here is not compared.
type IDTokenRequirement struct {
	// Recipient is the client. Required.
	Recipient Recipient
	// Nonce is the one that was sent: the token must have it. "" means that none was,
	// and a token that has one is refused.
	Nonce string
	// AccessToken, Code and State are what the token came with. If it has their
	// hashes (at_hash, c_hash, s_hash), they must fit; "" skips the comparison.
	AccessToken, Code, State string
	// MaxAge is the max_age that was sent: how long ago the user may have
	// authenticated, at most. Zero means that none was sent, negative means
	// max_age=0. With it the token must have auth_time.
	MaxAge time.Duration
	// ACRValues are the acceptable authentication context classes: acr must be one
	// of them. Nil accepts any, and none.
	ACRValues []string
	// Previous is the ID token of the login, if this one came with a refresh (OpenID
	// Connect Core section 12.2). Nonce is not looked at then, and none is demanded.
	// What Previous has of Subject, Nonce, AuthorizedParty and AuthTime must be the
	// same in the new one; the latter three as far as it has them.
	Previous *IDToken
}

// IDToken is an ID token that has been verified: who has logged in, when and how.
// It is no access token: what it says is for the client alone. Treat it as
// read-only.
type IDToken struct {
	Issuer          string    // the configured issuer identifier, or its tenant's; for an alias too
	IssuerName      string    // the configured short name
	Subject         string    // unique together with Issuer only
	Audience        []string  // the client, and others that it trusts
	AuthorizedParty string    // azp, "" if absent
	Nonce           string    // "" if absent
	ACR             string    // "" if absent
	AMR             []string  // nil if absent
	SessionID       string    // sid, "" if absent
	AuthTime        time.Time // zero if absent
	IssuedAt        time.Time // iat
	Expiry          time.Time // exp; leeway may let a token be accepted a little longer
	Claims          Claims    // all claims, as they were signed
}

var idTokenKind = messageKind{
	types:    []string{"jwt", tokenTypeNone},
	marks:    []string{"events", "htm", "token_introspection"},
	required: []string{"sub", "iat"},
	texts:    []string{"sub", "azp", "nonce", "acr", "sid", "at_hash", "c_hash", "s_hash"},
}

// ValidateIDToken verifies an ID token (OpenID Connect Core section 3.1.3.7) with
// the keys that access tokens of its issuer are verified with, or returns an
// [*Error] that says why not. It waits as [Validator.Validate] does.
//
// It does not remember nonces: a login's nonce must not be used again.
func (v *Validator) ValidateIDToken(ctx context.Context, token string, want IDTokenRequirement) (*IDToken, error) {
	var id *IDToken
	_, err := v.readMessage(ctx, token, want.Recipient, idTokenKind, func(m *message) (err *Error) {
		id, err = want.read(m)
		return err
	})
	if err != nil {
		return nil, err
	}
	return id, nil
}

// read takes the steps that only ID tokens have.
func (want IDTokenRequirement) read(m *message) (*IDToken, *Error) {
	id := &IDToken{
		Issuer: m.from.id, IssuerName: m.from.name, Subject: m.text("sub"), Audience: m.audience,
		AuthorizedParty: m.text("azp"), Nonce: m.text("nonce"), ACR: m.text("acr"), SessionID: m.text("sid"),
		IssuedAt: m.issuedAt, Expiry: m.expiry, Claims: m.claims.unindexed(),
	}
	authTime, hasAuthTime, err := numericDate(m.claims, "auth_time")
	if err != nil {
		return nil, err
	}
	if hasAuthTime {
		id.AuthTime = time.Unix(int64(authTime), 0)
	}
	if amr, ok := m.claims.Top("amr"); ok {
		if id.AMR, ok = stringOrStrings(amr); !ok { // a list by the standard; some write one alone
			return nil, invalidClaim("amr", "neither a string nor a list of strings")
		}
	}
	if err := checkKindClaims(m.claims); err != nil {
		return nil, err
	}
	for _, step := range []func(*IDToken, *message) *Error{want.checkParty, want.checkNonce, want.checkHashes, want.checkAuthentication, want.checkPrevious} {
		if err := step(id, m); err != nil {
			return nil, err
		}
	}
	return id, nil
}

// checkKindClaims refuses what a provider marks as another kind in the claims:
// Keycloak with typ, Amazon Cognito with token_use.
func checkKindClaims(c Claims) *Error {
	for claim, kinds := range map[string][]string{
		"typ":       {"bearer", "dpop", "refresh", "offline", "logout"},
		"token_use": {"access", "refresh"},
	} {
		if v, _ := c.Top(claim); slices.Contains(kinds, strings.ToLower(v.Text())) {
			return &Error{Reason: WrongTokenType, Claim: claim, Err: errors.New("the mark of a token of another kind, in the claims")}
		}
	}
	return nil
}

// checkParty compares azp with the client. With several audiences it must be
// there: only it says who asked for the token.
func (want IDTokenRequirement) checkParty(id *IDToken, _ *message) *Error {
	switch {
	case id.AuthorizedParty == "" && len(id.Audience) > 1:
		return invalidClaim("azp", "missing, and the token has several audiences")
	case id.AuthorizedParty != "" && id.AuthorizedParty != want.Recipient.ClientID:
		return invalidClaim("azp", "the token was issued to another client")
	}
	return nil
}

func (want IDTokenRequirement) checkNonce(id *IDToken, _ *message) *Error {
	switch {
	case want.Previous != nil:
		return nil
	case id.Nonce == "" && want.Nonce != "":
		return invalidClaim("nonce", "missing, and one was sent")
	case id.Nonce != "" && want.Nonce == "":
		return invalidClaim("nonce", "there, and none was sent")
	case !sameSecret(id.Nonce, want.Nonce):
		return invalidClaim("nonce", "not the one that was sent")
	}
	return nil
}

// checkHashes compares the hashes of what came with the token.
func (want IDTokenRequirement) checkHashes(_ *IDToken, m *message) *Error {
	for _, h := range [...]struct{ claim, of string }{
		{"at_hash", want.AccessToken}, {"c_hash", want.Code}, {"s_hash", want.State},
	} {
		if got := m.text(h.claim); got != "" && h.of != "" && !sameSecret(got, halfHash(m.alg, h.of)) {
			return invalidClaim(h.claim, "the hash of another value than the one that came with the token")
		}
	}
	return nil
}

func (want IDTokenRequirement) checkAuthentication(id *IDToken, m *message) *Error {
	insufficient := func(claim, why string) *Error {
		return &Error{Reason: InsufficientAuthentication, Claim: claim, Err: errors.New(why)}
	}
	leeway := m.from.leeway
	if id.AuthTime.After(m.now.Add(leeway)) {
		return &Error{Reason: NotYetValid, Claim: "auth_time"}
	}
	if want.MaxAge != 0 {
		switch maxAge := max(want.MaxAge, 0); {
		case id.AuthTime.IsZero():
			return invalidClaim("auth_time", "missing, and max_age was sent")
		case m.now.After(id.AuthTime.Add(maxAge + leeway)):
			return insufficient("auth_time", "the user authenticated longer ago than max_age")
		}
	}
	if want.ACRValues != nil && !slices.Contains(want.ACRValues, id.ACR) {
		return insufficient("acr", "none of the acceptable values")
	}
	return nil
}

// checkPrevious compares the token of a refresh with that of the login.
func (want IDTokenRequirement) checkPrevious(id *IDToken, _ *message) *Error {
	before := want.Previous
	if before == nil {
		return nil
	}
	const other = "another than at the login"
	switch {
	case before.Subject != "" && id.Subject != before.Subject:
		return invalidClaim("sub", other)
	case before.Issuer != "" && id.Issuer != before.Issuer:
		return invalidClaim("iss", other)
	case before.Nonce != "" && id.Nonce != "" && !sameSecret(id.Nonce, before.Nonce):
		return invalidClaim("nonce", other)
	case before.AuthorizedParty != "" && id.AuthorizedParty != "" && id.AuthorizedParty != before.AuthorizedParty:
		return invalidClaim("azp", other)
	case !before.AuthTime.IsZero() && !id.AuthTime.IsZero() && !id.AuthTime.Equal(before.AuthTime):
		return invalidClaim("auth_time", other)
	}
	return nil
}

// sameSecret compares what nobody may find out by trying.
func sameSecret(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// halfHash is the left half of the hash that the token's own signature uses, in
// base64url (OpenID Connect Core sections 3.1.3.6 and 3.3.2.11). For Ed25519 that
// is SHA-512, which is part of it.
func halfHash(alg Algorithm, s string) string {
	var sum []byte
	switch alg {
	case RS384, PS384, ES384:
		h := sha512.Sum384([]byte(s))
		sum = h[:]
	case RS512, PS512, ES512, EdDSA, Ed25519:
		h := sha512.Sum512([]byte(s))
		sum = h[:]
	default:
		h := sha256.Sum256([]byte(s))
		sum = h[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
