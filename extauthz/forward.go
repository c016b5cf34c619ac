package extauthz

import (
	"strings"

	"github.com/claimgate/claimgate/internal/authheader"
)

// forwarding says whether the credential goes on to the upstream. The zero
// forwarding is the default: a verified token does, anything else does not.
type forwarding uint8

const (
	forwardVerified forwarding = iota
	forwardAlways              // forwardToken: true
	forwardNever               // forwardToken: false
)

// apply adds what removes the credential from the upstream request to the
// headers to set and the names to remove. verified says whether the request's
// token was.
//
// A query parameter goes always: targets are written to logs.
func (f forwarding) apply(sources []tokenSource, verified bool, r *Request, set []Header, remove []string) ([]Header, []string) {
	if path := withoutParameters(r.Path, sources); path != r.Path {
		if path == "" { // a target that was nothing but a query
			path = "/"
		}
		set = append(set, Header{":path", path})
	}
	if f == forwardAlways || f == forwardVerified && verified {
		return set, remove
	}
	cookies := false
	for i := range sources {
		switch s := &sources[i]; s.kind {
		case fromHeader:
			value, count := r.Headers.Get(s.name)
			if count > 0 && (s.scheme == "" || authheader.HasPart(value, s.scheme)) && !containsName(remove, s.name) {
				remove = append(remove, s.name)
			}
		case fromCookie:
			cookies = true // all at once, below
		case fromQuery: // gone already
		}
	}
	if !cookies {
		return set, remove
	}
	header, count := r.Headers.Get("cookie")
	switch rest := withoutCookies(header, sources); {
	case count == 0 || rest == header:
	case strings.Trim(rest, " \t;,") == "":
		remove = append(remove, "cookie")
	default:
		// Other bytes than UTF-8 cannot be sent in an answer. Envoy writes them
		// like this itself where it sends headers as text.
		set = append(set, Header{"cookie", strings.ToValidUTF8(rest, "!")})
	}
	return set, remove
}

func containsName(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
