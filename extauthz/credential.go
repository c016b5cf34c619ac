package extauthz

import (
	"strings"

	"github.com/claimgate/claimgate/internal/authheader"
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

// What extract reports besides its reason, beside what authheader says:
// constants, for they are shown where a credential must not be.
const (
	detailNone      = "no place that the policy names has a credential"
	detailRepeated  = "there are several credentials in one place"
	detailTwoPlaces = "there are credentials in several places"
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
		if r == oidc.MissingToken && d == authheader.Other && hasDPoP(h, sources, sources[i].name) {
			r, d = oidc.MalformedCredentials, authheader.NotOffered
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
			return authheader.Token(value, s.scheme)
		}
		if value = trimSpace(value); strings.IndexByte(value, ',') >= 0 {
			return "", oidc.MultipleCredentials, authheader.TwoSchemes
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
		return "", oidc.MalformedCredentials, authheader.Empty
	case !authheader.IsToken68(value):
		return "", oidc.MalformedCredentials, authheader.Alphabet
	}
	return value, "", ""
}

// hasDPoP reports whether the header has a credential of the scheme DPoP while
// none of the sources offers that. Such a request is malformed, not one without a
// credential.
func hasDPoP(h Headers, sources []tokenSource, header string) bool {
	for i := range sources {
		if s := &sources[i]; s.kind == fromHeader && s.name == header && strings.EqualFold(s.scheme, authheader.DPoP) {
			return false
		}
	}
	value, _ := h.Get(header)
	return authheader.HasPart(value, authheader.DPoP)
}
