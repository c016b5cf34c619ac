// Package authheader reads the credential in a header that has an authentication
// scheme, such as Authorization (RFC 9110 section 11.4, RFC 6750 section 2.1). It
// is the one grammar of the gate and of the middleware: neither ever chooses
// between two credentials, since a backend could choose the other.
package authheader

import (
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// The schemes that carry access tokens (RFC 6750 section 2.1, RFC 9449 section
// 7.1).
const (
	Bearer = "Bearer"
	DPoP   = "DPoP"
)

// Why there is no token: constants, for they are shown where a credential must
// not be.
const (
	Absent     = "there is no Authorization header"
	Other      = "the value is of another scheme"
	Empty      = "the credential is empty"
	NoToken    = "the scheme is not followed by a space and exactly one token"
	Alphabet   = "the credential has characters that no token has"
	NoScheme   = "the value is not a scheme, a space and a credential"
	NotOffered = "the scheme DPoP is not offered here"
	TwoSchemes = "several values are joined by a comma"
)

// Find finds the one token in the values of the Authorization headers of a
// request, of one of the schemes that are offered. Several headers are judged
// joined by commas, so that it does not matter how they were transported. The
// reason is "" only with a token; detail says why there is none.
func Find(values []string, offered ...string) (token, scheme string, reason oidc.Reason, detail string) {
	if len(values) == 0 {
		return "", "", oidc.MissingToken, Absent
	}
	value := strings.Join(values, ",")
	reason, detail = oidc.MissingToken, Other
	dpop := false
	for _, s := range offered {
		dpop = dpop || s == DPoP
		if token, r, d := Token(value, s); r != oidc.MissingToken {
			if r == "" {
				return token, s, "", ""
			}
			reason, detail = r, d
		}
	}
	if reason == oidc.MissingToken && !dpop && HasPart(value, DPoP) {
		return "", "", oidc.MalformedCredentials, NotOffered
	}
	return "", "", reason, detail
}

// Token reads the value of a header with a scheme. The reason is "" only with a
// token, and MissingToken if the value is of another scheme; detail says why
// there is none.
func Token(value, scheme string) (token string, reason oidc.Reason, detail string) {
	value = TrimSpace(value)
	joined := strings.IndexByte(value, ',') >= 0
	if joined && HasPart(value, scheme) {
		return "", oidc.MultipleCredentials, TwoSchemes
	}
	if hasScheme(value, scheme) {
		rest := value[len(scheme):]
		token = strings.TrimLeft(rest, " ")
		if token == rest || !IsToken68(token) {
			return "", oidc.MalformedCredentials, NoToken
		}
		return token, "", ""
	}
	name := 0
	for name < len(value) && IsTokenByte(value[name]) {
		name++
	}
	switch {
	case value == "":
		return "", oidc.MalformedCredentials, Empty
	case name == 0 || name == len(value) || value[name] != ' ':
		return "", oidc.MalformedCredentials, NoScheme
	}
	return "", oidc.MissingToken, Other
}

// TrimSpace removes spaces and tabs, what RFC 9110 calls OWS, and nothing else.
func TrimSpace(s string) string { return strings.Trim(s, " \t") }

// hasScheme reports whether s begins with the authentication scheme: compared
// without case, and not as the beginning of a longer one.
func hasScheme(s, scheme string) bool {
	return len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) &&
		(len(s) == len(scheme) || !IsTokenByte(s[len(scheme)]))
}

// HasPart reports whether one of the comma-separated parts of a value begins with
// the scheme.
func HasPart(value, scheme string) bool {
	for more := true; more; {
		var part string
		part, value, more = strings.Cut(value, ",")
		if hasScheme(TrimSpace(part), scheme) {
			return true
		}
	}
	return false
}

// IsToken68 reports whether s is one token of the alphabet that RFC 6750 section
// 2.1 calls b64token.
func IsToken68(s string) bool {
	i := 0
	for i+8 <= len(s) && // eight at a time: tokens are long, and come with each request
		token68[s[i]]&token68[s[i+1]]&token68[s[i+2]]&token68[s[i+3]]&
			token68[s[i+4]]&token68[s[i+5]]&token68[s[i+6]]&token68[s[i+7]] != 0 {
		i += 8
	}
	for i < len(s) && token68[s[i]] != 0 {
		i++
	}
	if i == 0 {
		return false
	}
	for i < len(s) && s[i] == '=' {
		i++
	}
	return i == len(s)
}

// token68 has 1 for each byte that can stand in a token, but for the = at its end.
var token68 = func() (table [256]uint8) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~+/" {
		table[c] = 1
	}
	return table
}()

// IsTokenByte reports whether c can stand in a token of RFC 9110 section 5.6.2,
// such as a scheme or a header's name.
func IsTokenByte(c byte) bool {
	return isAlphanumeric(c) || c > ' ' && c < 0x7F && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
