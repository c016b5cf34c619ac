package oidc

import (
	"sync/atomic"
	"time"
)

// Token is an access token whose signature and claims have been verified. It
// says who the caller is, not what the caller may do.
//
// A Token is shared by all requests that carry it: treat it and its slices as
// read-only.
type Token struct {
	Issuer     string    // the configured issuer identifier; for an alias too
	IssuerName string    // the configured short name
	Subject    string    // "" if absent; unique together with Issuer only
	ClientID   string    // "" if absent
	Tenant     string    // "" if absent
	ID         string    // jti, "" if absent
	Type       string    // the typ header parameter, "" if absent
	Scopes     []string  // nil if absent
	Roles      []string  // nil if absent
	Audience   []string  // nil if absent
	Expiry     time.Time // exp; leeway may let a token be accepted a little longer
	IssuedAt   time.Time // zero if absent
	Claims     Claims    // all claims, as they were signed

	// bound says that the token has a cnf claim (RFC 7800): without a proof of
	// possession it is worth nothing. See Proof.
	bound bool
	memo  *tokenMemo // nil if the token is not in the cache
}

// tokenMemo is what a program keeps with a token.
type tokenMemo struct{ kept atomic.Pointer[any] }

// Keep remembers what a program has made of t, for the next request with the same
// token: the next Validate that the cache answers returns the same Token, unless
// the cache has other tokens to keep at hand. There is one place: it is lost when
// something else is kept. Without the cache nothing is.
//
// What is kept must hold for the token alone, whatever the request; it is shared
// like the Token itself.
func (t *Token) Keep(value any) {
	if t.memo != nil {
		t.memo.kept.Store(&value)
	}
}

// Kept returns what [Token.Keep] was last given, nil for nothing.
func (t *Token) Kept() any {
	if t.memo == nil {
		return nil
	}
	if p := t.memo.kept.Load(); p != nil {
		return *p
	}
	return nil
}

// Principal returns an identifier of the subject that is unique over all
// issuers: the issuer, a slash and the subject. It is "" without a subject.
func (t *Token) Principal() string {
	if t.Subject == "" {
		return ""
	}
	return t.Issuer + "/" + t.Subject
}
