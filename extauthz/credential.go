package extauthz

import (
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// sourceKind is the kind of place that a credential can be in.
type sourceKind uint8

const (
	fromHeader sourceKind = iota
	fromCookie
	fromQuery
)

// tokenSource is one entry of a policy's tokenFrom.
type tokenSource struct {
	kind   sourceKind
	name   string // a header's is in lower case
	scheme string // of a header, "" if the whole value is the token
}

// schemeDPoP is an authentication scheme that carries a token with a proof of
// possession (RFC 9449 section 7.1). Where it is not offered, a request that
// uses it is malformed, not one without a credential.
const schemeDPoP = "DPoP"

// What extract reports besides its reason: constants, for they are shown where a
// credential must not be.
const (
	detailNone       = "no place that the policy names has a credential"
	detailOther      = "the value is of another scheme"
	detailEmpty      = "the credential is empty"
	detailNoToken    = "the scheme is not followed by a space and exactly one token"
	detailAlphabet   = "the credential has characters that no token has"
	detailNoScheme   = "the value is not a scheme, a space and a credential"
	detailDPoP       = "the scheme DPoP is not offered here"
	detailRepeated   = "there are several credentials in one place"
	detailTwoPlaces  = "there are credentials in several places"
	detailTwoSchemes = "several values are joined by a comma"
)

// extract finds the one credential in the places that sources name. It returns
// the token and the index of its source; or the reason why there is none to
// verify, which is "" only with a token.
//
// Never does it choose between two: a backend could choose the other one. A
// header's several values are judged joined by commas, so that it does not
// matter how they were transported. The token shares memory with the request.
func extract(sources []tokenSource, h Headers, target string) (token string, from int, reason oidc.Reason, detail string) {
	reason, detail = oidc.MissingToken, detailNone
	used := false // one place had something that is meant as a credential
	for i := range sources {
		t, r, d := sources[i].find(h, target)
		if r == oidc.MissingToken && d == detailOther && hasDPoP(h, sources, sources[i].name) {
			r, d = oidc.MalformedCredentials, detailDPoP
		}
		if r == oidc.MissingToken {
			if !used && d != "" {
				detail = d
			}
			continue
		}
		if used {
			if samePlace(&sources[from], &sources[i]) && r == reason {
				continue // one bad value, read with two schemes
			}
			return "", 0, oidc.MultipleCredentials, detailTwoPlaces
		}
		used = true
		token, from, reason, detail = t, i, r, d
	}
	return token, from, reason, detail
}

func samePlace(a, b *tokenSource) bool { return a.kind == b.kind && a.name == b.name }

// find looks in one place.
func (s *tokenSource) find(h Headers, target string) (token string, reason oidc.Reason, detail string) {
	var value string
	var count int
	switch s.kind {
	case fromHeader:
		if value, count = h.Get(s.name); count == 0 {
			return "", oidc.MissingToken, ""
		}
		if s.scheme != "" {
			return schemeToken(trimSpace(value), s.scheme)
		}
		if value = trimSpace(value); strings.IndexByte(value, ',') >= 0 {
			return "", oidc.MultipleCredentials, detailTwoSchemes
		}
		count = 1
	case fromCookie:
		header, n := h.Get("cookie")
		if n == 0 {
			return "", oidc.MissingToken, ""
		}
		value, count = cookieValue(header, s.name)
	case fromQuery:
		value, count = queryValue(target, s.name)
		value = percentDecode(value)
	}
	switch {
	case count == 0:
		return "", oidc.MissingToken, ""
	case count > 1:
		return "", oidc.MultipleCredentials, detailRepeated
	case value == "":
		return "", oidc.MalformedCredentials, detailEmpty
	case !isToken68(value):
		return "", oidc.MalformedCredentials, detailAlphabet
	}
	return value, "", ""
}

// schemeToken reads the trimmed value of a header with a scheme, such as
// Authorization (RFC 9110 section 11.4, RFC 6750 section 2.1).
func schemeToken(value, scheme string) (token string, reason oidc.Reason, detail string) {
	joined := strings.IndexByte(value, ',') >= 0
	if joined && hasSchemePart(value, scheme) {
		return "", oidc.MultipleCredentials, detailTwoSchemes
	}
	if hasScheme(value, scheme) {
		rest := value[len(scheme):]
		token = strings.TrimLeft(rest, " ")
		if token == rest || !isToken68(token) {
			return "", oidc.MalformedCredentials, detailNoToken
		}
		return token, "", ""
	}
	name := 0
	for name < len(value) && isTokenByte(value[name]) {
		name++
	}
	switch {
	case value == "":
		return "", oidc.MalformedCredentials, detailEmpty
	case name == 0 || name == len(value) || value[name] != ' ':
		return "", oidc.MalformedCredentials, detailNoScheme
	}
	return "", oidc.MissingToken, detailOther
}

// hasScheme reports whether s begins with the authentication scheme: compared
// without case, and not as the beginning of a longer one.
func hasScheme(s, scheme string) bool {
	return len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) &&
		(len(s) == len(scheme) || !isTokenByte(s[len(scheme)]))
}

// hasSchemePart reports whether one of the comma-separated parts of a value
// begins with the scheme.
func hasSchemePart(value, scheme string) bool {
	for more := true; more; {
		var part string
		part, value, more = strings.Cut(value, ",")
		if hasScheme(trimSpace(part), scheme) {
			return true
		}
	}
	return false
}

// hasDPoP reports whether the header has a credential of the scheme DPoP while
// none of the sources offers that.
func hasDPoP(h Headers, sources []tokenSource, header string) bool {
	for i := range sources {
		if s := &sources[i]; s.kind == fromHeader && s.name == header && strings.EqualFold(s.scheme, schemeDPoP) {
			return false
		}
	}
	value, _ := h.Get(header)
	return hasSchemePart(value, schemeDPoP)
}

// isToken68 reports whether s is one token of the alphabet that RFC 6750 section
// 2.1 calls b64token.
func isToken68(s string) bool {
	i := 0
	for i < len(s) && isToken68Byte(s[i]) {
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

func isToken68Byte(c byte) bool { return isUnreserved(c) || c == '+' || c == '/' }

// isTokenByte reports whether c can stand in a token of RFC 9110 section 5.6.2,
// such as a scheme or a header's name.
func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c > ' ' && c < 0x7F && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
