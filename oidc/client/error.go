package client

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// OAuthError is the provider's refusal of a request: an error answer of an
// endpoint (RFC 6749 section 5.2 and its extensions) or of a callback (section
// 4.1.2.1). Branch on it with [errors.Is] and the errors of this package:
//
//	if errors.Is(err, client.ErrInvalidGrant) { // log in again
type OAuthError struct {
	// Code is the error code, as the provider wrote it, at most 64 bytes.
	Code string
	// Description and URI are for the developer, not for users. The provider wrote
	// them; what this client had sent as a secret is redacted in them.
	Description, URI string
	// Status is the HTTP status of the answer, 0 if it came by the browser.
	Status int
	// RetryAfter is how long the provider asks to wait, zero if it does not say.
	RetryAfter time.Duration
	// Endpoint is the endpoint that answered, "" if the error came by the browser.
	Endpoint Endpoint
}

// Limits of what an error repeats.
const (
	maxErrorCode        = 64
	maxErrorDescription = 512
)

func (e *OAuthError) Error() string {
	var b strings.Builder
	b.WriteString("client: ")
	if e.Endpoint != "" {
		b.WriteString(string(e.Endpoint) + ": ")
	}
	b.WriteString("the provider answered " + printable(e.Code))
	if e.Description != "" {
		b.WriteString(": " + strconv.Quote(e.Description))
	}
	if e.Status != 0 {
		b.WriteString(" (status " + strconv.Itoa(e.Status) + ")")
	}
	return b.String()
}

// Is reports whether target is the sentinel of e's code.
func (e *OAuthError) Is(target error) bool {
	code, ok := target.(codeError) //nolint:errorlint // errors.Is unwraps
	return ok && string(code) == e.Code
}

// Temporary reports whether the same request may work later.
func (e *OAuthError) Temporary() bool {
	return temporaryStatus(e.Status) ||
		slices.Contains([]codeError{ErrTemporarilyUnavailable, ErrServerError, ErrSlowDown, ErrAuthorizationPending}, codeError(e.Code))
}

func temporaryStatus(status int) bool { return status == 429 || status >= 500 && status != 501 }

// codeError is an error code of OAuth as an error.
type codeError string

func (e codeError) Error() string { return "client: the provider answered " + string(e) }

// The error codes, for use with [errors.Is].
const (
	// RFC 6749
	ErrInvalidRequest          = codeError("invalid_request")
	ErrInvalidClient           = codeError("invalid_client")
	ErrInvalidGrant            = codeError("invalid_grant")
	ErrUnauthorizedClient      = codeError("unauthorized_client")
	ErrUnsupportedGrantType    = codeError("unsupported_grant_type")
	ErrUnsupportedResponseType = codeError("unsupported_response_type")
	ErrInvalidScope            = codeError("invalid_scope")
	ErrAccessDenied            = codeError("access_denied")
	ErrServerError             = codeError("server_error")
	ErrTemporarilyUnavailable  = codeError("temporarily_unavailable")
	// RFC 6750, RFC 9470
	ErrInvalidToken                   = codeError("invalid_token")
	ErrInsufficientScope              = codeError("insufficient_scope")
	ErrInsufficientUserAuthentication = codeError("insufficient_user_authentication")
	// RFC 7009
	ErrUnsupportedTokenType = codeError("unsupported_token_type")
	// RFC 7591
	ErrInvalidRedirectURI          = codeError("invalid_redirect_uri")
	ErrInvalidClientMetadata       = codeError("invalid_client_metadata")
	ErrInvalidSoftwareStatement    = codeError("invalid_software_statement")
	ErrUnapprovedSoftwareStatement = codeError("unapproved_software_statement")
	// RFC 8628
	ErrAuthorizationPending = codeError("authorization_pending")
	ErrSlowDown             = codeError("slow_down")
	ErrExpiredToken         = codeError("expired_token")
	// RFC 8707, RFC 9101, RFC 9396
	ErrInvalidTarget               = codeError("invalid_target")
	ErrInvalidRequestObject        = codeError("invalid_request_object")
	ErrInvalidRequestURI           = codeError("invalid_request_uri")
	ErrInvalidAuthorizationDetails = codeError("invalid_authorization_details")
	// RFC 9449
	ErrInvalidDPoPProof = codeError("invalid_dpop_proof")
	ErrUseDPoPNonce     = codeError("use_dpop_nonce")
	// OpenID Connect Core 1.0, CIBA Core 1.0
	ErrInteractionRequired      = codeError("interaction_required")
	ErrLoginRequired            = codeError("login_required")
	ErrAccountSelectionRequired = codeError("account_selection_required")
	ErrConsentRequired          = codeError("consent_required")
	ErrTransactionFailed        = codeError("transaction_failed")
	ErrUnknownUserID            = codeError("unknown_user_id")
	ErrExpiredLoginHintToken    = codeError("expired_login_hint_token")
	ErrInvalidUserCode          = codeError("invalid_user_code")
	ErrInvalidBindingMessage    = codeError("invalid_binding_message")
)

// knownCodes are the codes above.
var knownCodes = map[codeError]bool{
	ErrInvalidRequest:                 true,
	ErrInvalidClient:                  true,
	ErrInvalidGrant:                   true,
	ErrUnauthorizedClient:             true,
	ErrUnsupportedGrantType:           true,
	ErrUnsupportedResponseType:        true,
	ErrInvalidScope:                   true,
	ErrAccessDenied:                   true,
	ErrServerError:                    true,
	ErrTemporarilyUnavailable:         true,
	ErrInvalidToken:                   true,
	ErrInsufficientScope:              true,
	ErrInsufficientUserAuthentication: true,
	ErrUnsupportedTokenType:           true,
	ErrInvalidRedirectURI:             true,
	ErrInvalidClientMetadata:          true,
	ErrInvalidSoftwareStatement:       true,
	ErrUnapprovedSoftwareStatement:    true,
	ErrAuthorizationPending:           true,
	ErrSlowDown:                       true,
	ErrExpiredToken:                   true,
	ErrInvalidTarget:                  true,
	ErrInvalidRequestObject:           true,
	ErrInvalidRequestURI:              true,
	ErrInvalidAuthorizationDetails:    true,
	ErrInvalidDPoPProof:               true,
	ErrUseDPoPNonce:                   true,
	ErrInteractionRequired:            true,
	ErrLoginRequired:                  true,
	ErrAccountSelectionRequired:       true,
	ErrConsentRequired:                true,
	ErrTransactionFailed:              true,
	ErrUnknownUserID:                  true,
	ErrExpiredLoginHintToken:          true,
	ErrInvalidUserCode:                true,
	ErrInvalidBindingMessage:          true,
}

// RequestError is a request without a usable answer: no connection, no answer in
// time, or an answer that is none. Whether the provider acted on the request is
// unknown.
type RequestError struct {
	// Endpoint is the endpoint that was called.
	Endpoint Endpoint
	// Result is what happened, as for fetches of metadata and keys.
	Result oidc.FetchResult
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is how long the provider asks to wait, zero if it does not say.
	RetryAfter time.Duration
	// Err is the cause.
	Err error
}

func (e *RequestError) Error() string {
	return "client: " + string(e.Endpoint) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// Temporary reports whether the same request may work later.
func (e *RequestError) Temporary() bool {
	switch e.Result { //nolint:exhaustive // all others depend on the status
	case oidc.FetchConnect, oidc.FetchTimeout:
		return true
	}
	return temporaryStatus(e.Status)
}

// IsRetryable reports whether what failed with err may work if it is tried again
// later: the provider was not reached, answered a status of 429 or of a server's
// fault, or said that it is busy. It is false for a refusal that will stay one, for
// what the caller has to mend, and if the caller gave up.
//
// This package never repeats such a request by itself. Mind what it carried: a
// code or a refresh token that is used once may be used up although no answer came.
func IsRetryable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	// Not any error with such a method: those of package net say no to a refused
	// connection.
	var oe *OAuthError
	var re *RequestError
	switch {
	case errors.As(err, &oe):
		return oe.Temporary()
	case errors.As(err, &re):
		return re.Temporary()
	}
	switch oidc.FetchResultOf(err) { //nolint:exhaustive // all others are there to stay
	case oidc.FetchConnect, oidc.FetchTimeout, oidc.FetchStatus:
		return true
	}
	return errors.Is(err, oidc.ErrCannotKnow)
}

// RetryAfter returns how long the provider asked to wait, zero if it did not.
func RetryAfter(err error) time.Duration {
	var oe *OAuthError
	var re *RequestError
	switch {
	case errors.As(err, &oe):
		return oe.RetryAfter
	case errors.As(err, &re):
		return re.RetryAfter
	default:
		return 0
	}
}

// newOAuthError makes an error of what a provider wrote.
func newOAuthError(endpoint Endpoint, status int, object oidc.Value, secrets []string) *OAuthError {
	text := func(name string, limit int) string {
		v, _ := object.Member(name)
		if v.Kind() != oidc.KindString {
			return ""
		}
		return cleanText(v.Text(), limit, secrets)
	}
	return &OAuthError{
		Code:        text("error", maxErrorCode),
		Description: text("error_description", maxErrorDescription),
		URI:         text("error_uri", maxErrorDescription),
		Status:      status,
		Endpoint:    endpoint,
	}
}

// cleanText is what a provider wrote, cut off and without secrets.
func cleanText(s string, limit int, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) >= minRedacted {
			s = strings.ReplaceAll(s, secret, redacted)
		}
	}
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}

// minRedacted keeps a short value, such as a scope's, from turning a description
// into a riddle.
const minRedacted = 6

// printable quotes a code that has more in it than codes have (RFC 6749 appendix
// A.7).
func printable(code string) string {
	for _, r := range code {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return strconv.Quote(code)
		}
	}
	return code
}

// refused is what this client does not accept of an answer that came.
func refused(endpoint Endpoint, why string) error {
	return &RequestError{Endpoint: endpoint, Result: oidc.FetchRefused, Err: errors.New(why)}
}
