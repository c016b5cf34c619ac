package oidc

import (
	"cmp"
	"errors"
)

// The three things that a refusal can mean. Use them with [errors.Is]:
//
//	switch {
//	case errors.Is(err, oidc.ErrBadToken):    // 400 or 401: the caller must come back with another token
//	case errors.Is(err, oidc.ErrNotAllowed):  // 403: the token is good, the caller may not
//	case errors.Is(err, oidc.ErrCannotKnow):  // 503: try again; the token may well be good
//	}
var (
	ErrBadToken   = errors.New("oidc: bad token")
	ErrNotAllowed = errors.New("oidc: not allowed")
	ErrCannotKnow = errors.New("oidc: cannot know")
)

// Error is the refusal of a token. Its text is for operators: it names what was
// wrong and never repeats bytes of the token, other than the names of claims.
// What a client may see comes from [Reason.Class] and [Challenge].
type Error struct {
	// Reason is the constant to branch on.
	Reason Reason
	// Claim is the claim or header parameter that was at fault, "" if none.
	Claim string
	// IssuerName is the short name of the configured issuer that the token
	// claims to be from, "" while that is unknown. It comes from the
	// configuration, so it is safe as a metric label.
	IssuerName string
	// Token is set if the signature and the claims were good and the token is
	// refused for another reason (a binding, a revocation). It is for records,
	// never for a decision.
	Token *Token
	// Err is the cause, nil if the reason says it all.
	Err error
}

func (e *Error) Error() string {
	s := "oidc: " + cmp.Or(string(e.Reason), "no reason given")
	if e.Claim != "" {
		s += " (" + e.Claim + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the one of [ErrBadToken], [ErrNotAllowed] and
// [ErrCannotKnow] that e belongs to.
func (e *Error) Is(target error) bool {
	switch e.Reason.Class() {
	case ClassNoCredential, ClassBadRequest, ClassInvalidToken, ClassProof, ClassStepUp:
		return target == ErrBadToken
	case ClassInsufficientScope, ClassForbidden:
		return target == ErrNotAllowed
	default:
		return target == ErrCannotKnow
	}
}

// ReasonOf returns the reason that err carries, "" for nil and [Internal] for
// an error that is not an [*Error].
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return Internal
}
