package oidc

import (
	"slices"
	"time"
)

// StepUp is what a resource wants of how, and how long ago, the user was
// authenticated (RFC 9470). The zero StepUp wants nothing.
type StepUp struct {
	// ACRValues are the accepted values of the claim acr, most wanted first; nil
	// accepts any, and tokens without.
	ACRValues []string
	// MaxAge is how long ago the authentication may be, by the claim auth_time.
	// Zero means any time.
	MaxAge time.Duration
}

// MetBy reports whether the token's claims say what is wanted, at now. A claim
// that is missing, or of another type, says nothing and so does not do.
func (s StepUp) MetBy(t *Token, now time.Time) bool {
	if s.ACRValues != nil {
		acr, ok := t.Claims.Top("acr")
		if !ok || acr.Kind() != KindString || !slices.Contains(s.ACRValues, acr.Text()) {
			return false
		}
	}
	if s.MaxAge > 0 {
		authenticated, ok, err := numericDate(t.Claims, "auth_time")
		if !ok || err != nil || now.After(time.Unix(int64(authenticated), 0).Add(s.MaxAge)) {
			return false
		}
	}
	return true
}
