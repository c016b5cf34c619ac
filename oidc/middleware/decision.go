package middleware

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/claimgate/claimgate/oidc"
)

// Decision is the answer to one request. The zero Decision denies with status
// 500. It is immutable.
type Decision struct {
	reason    oidc.Reason
	token     *oidc.Token
	err       error
	challenge oidc.Challenge // of the guard, for this request
	nonce     string         // to send to a client that used DPoP
}

// refuse returns d as a denial. What was verified is told to operators only.
func (d Decision) refuse(reason oidc.Reason, cause error) Decision {
	e := &oidc.Error{Reason: reason, Token: d.token, Err: cause}
	if d.token != nil {
		e.IssuerName = d.token.IssuerName
	}
	d.reason, d.token, d.err = reason, nil, e
	return d
}

// needs returns d, or its refusal if the token lacks one of the scopes.
func (d Decision) needs(scopes []string) Decision {
	for _, s := range scopes {
		if !slices.Contains(d.token.Scopes, s) {
			return d.refuse(oidc.InsufficientScope, nil)
		}
	}
	return d
}

// alsoNeeds returns d, or its refusal if the token lacks one of the scopes or there
// is none. The challenge names these and the scopes of the guard.
func (d Decision) alsoNeeds(scopes []string) Decision {
	d.challenge.Scopes = slices.Concat(d.challenge.Scopes, scopes)
	switch {
	case !d.Allowed():
		return d
	case d.token == nil:
		return d.refuse(oidc.MissingToken, errors.New("scopes are needed, and there is no token"))
	}
	return d.needs(scopes)
}

// Allowed reports whether the request goes on.
func (d Decision) Allowed() bool {
	switch d.reason {
	case oidc.ValidToken:
		return d.token != nil
	case oidc.Anonymous:
		return true
	default:
		return false
	}
}

// Token returns the verified token of a request that goes on, nil if it has none.
func (d Decision) Token() *oidc.Token {
	if !d.Allowed() {
		return nil
	}
	return d.token
}

// Reason returns the one constant that says why.
func (d Decision) Reason() oidc.Reason {
	if d.reason.Class() == oidc.ClassAllow && !d.Allowed() {
		return oidc.Internal
	}
	if d.reason == "" {
		return oidc.Internal
	}
	return d.reason
}

// Err returns what exactly was wrong, for operators: an [*oidc.Error], which has
// the token if it was good and is refused for another reason. It is nil for an
// allow. Clients must not see it.
func (d Decision) Err() error {
	if d.err == nil && !d.Allowed() {
		return &oidc.Error{Reason: d.Reason()}
	}
	return d.err
}

// Status returns the HTTP status of the answer, 200 for an allow.
func (d Decision) Status() int { return d.Reason().Status() }

// Header returns the headers that the decision adds to the answer: those of a
// denial; or, of a request that goes on, a DPoP-Nonce for the next.
func (d Decision) Header() http.Header {
	h := http.Header{}
	if d.nonce != "" {
		h.Set("DPoP-Nonce", d.nonce)
	}
	if d.Allowed() {
		return h
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	for _, value := range d.Challenge() {
		h.Add("WWW-Authenticate", value)
	}
	if d.Reason().Class() == oidc.ClassUnavailable {
		h.Set("Retry-After", "1")
	}
	return h
}

// Challenge returns the values of the header WWW-Authenticate, nil if there are
// none.
func (d Decision) Challenge() []string {
	if d.Allowed() {
		return nil
	}
	return d.challenge.Values(d.Reason())
}

// Body returns the JSON body of a denial. It is made of constants.
func (d Decision) Body() string {
	if d.Allowed() {
		return ""
	}
	r := d.Reason()
	return `{"error":"` + r.ErrorCode() + `","error_description":"` + r.Description() + `"}`
}

// contextKey is the key of the Decision in a context.
type contextKey struct{}

// Context returns a context with the decision's token, for TokenFrom. One that is
// in ctx already does not count any more, whether the decision has a token or
// not.
func (d Decision) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, d)
}

// TokenFrom returns the verified token of the request that ctx is of. There is
// none if no guard was asked, or if tokens are optional there.
func TokenFrom(ctx context.Context) (*oidc.Token, bool) {
	d, _ := ctx.Value(contextKey{}).(Decision)
	token := d.Token()
	return token, token != nil
}

// decisionFrom returns the decision of the guard that the request came through,
// the zero one, which denies, if there was none.
func decisionFrom(ctx context.Context) Decision {
	d, _ := ctx.Value(contextKey{}).(Decision)
	return d
}
