package extauthz

import (
	"github.com/claimgate/claimgate/oidc"
)

// Decision is the gate's answer to one request. The zero Decision denies with
// status 500. It holds no memory of the request beyond header values, and its
// slices may be shared: treat them as read-only.
type Decision struct {
	reason oidc.Reason
	policy string
	issuer string      // short name of a configured issuer; may be the token's mere claim
	token  *oidc.Token // set once the signature is verified, also in a denial

	set       []Header // request headers to set, on an allow
	remove    []string // request headers to remove, on an allow
	challenge []string // WWW-Authenticate values, on a denial
	plainText bool     // the body is for a gRPC client

	credential string // what was looked at, for the record's digest only

	prepared *preparedAllow // what set and remove are of, and nothing else; nil if they are more
}

// Allowed reports whether the request goes on.
func (d Decision) Allowed() bool {
	switch d.reason {
	case oidc.ValidToken:
		return d.token != nil
	case oidc.Anonymous, oidc.Public, oidc.CORSPreflight:
		return true
	default:
		return false
	}
}

// Reason returns the one constant that says why.
func (d Decision) Reason() oidc.Reason {
	if d.reason == "" || d.reason.Class() == oidc.ClassAllow && !d.Allowed() {
		return oidc.Internal
	}
	return d.reason
}

// Policy returns the name of the policy that decided, "" if none did.
func (d Decision) Policy() string { return d.policy }

// Issuer returns the short name of the configured issuer that the token claims
// to be from, "" if there is none. It is proven only if Token is not nil.
func (d Decision) Issuer() string { return d.issuer }

// Token returns the verified token, nil if there is none. A denial can have one:
// it says who was refused.
func (d Decision) Token() *oidc.Token { return d.token }

// Status returns the HTTP status of the answer, 200 for an allow.
func (d Decision) Status() int { return d.Reason().Status() }

// RequestHeaders returns what an allow changes in the request: the headers to
// set, and the names to remove.
func (d Decision) RequestHeaders() (set []Header, remove []string) {
	if !d.Allowed() {
		return nil, nil
	}
	return d.set, d.remove
}

// ResponseHeaders returns the headers of a denial's response.
func (d Decision) ResponseHeaders() []Header {
	if d.Allowed() {
		return nil
	}
	contentType := "application/json"
	if d.plainText {
		contentType = "text/plain"
	}
	headers := []Header{{"content-type", contentType}, {"cache-control", "no-store"}}
	for _, c := range d.challenge {
		headers = append(headers, Header{"www-authenticate", c})
	}
	if d.Reason().Class() == oidc.ClassUnavailable {
		headers = append(headers, Header{"retry-after", "1"})
	}
	return headers
}

// Body returns the body of a denial's response. It is made of constants.
func (d Decision) Body() string {
	if d.Allowed() {
		return ""
	}
	r := d.Reason()
	if d.plainText {
		return r.Description()
	}
	return `{"error":"` + r.ErrorCode() + `","error_description":"` + r.Description() + `"}`
}
