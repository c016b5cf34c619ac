package oidc

import "time"

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
}

// Principal returns an identifier of the subject that is unique over all
// issuers: the issuer, a slash and the subject. It is "" without a subject.
func (t *Token) Principal() string {
	if t.Subject == "" {
		return ""
	}
	return t.Issuer + "/" + t.Subject
}
