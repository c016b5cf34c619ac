package extauthz

import "strings"

// A cookie header is split at ';' and, because several headers reach us joined
// by one, at ','. Space around a name and a value does not count.

// nextCookie returns the first cookie of a cookie header, with the space around
// it, and what follows its separator.
func nextCookie(header string) (cookie, rest string, more bool) {
	i := strings.IndexAny(header, ";,")
	if i < 0 {
		return header, "", false
	}
	return header[:i], header[i+1:], true
}

// cutCookie splits a cookie into its name and value. One without '=' is a name
// with an empty value, as most servers read it.
func cutCookie(cookie string) (name, value string) {
	name, value, _ = strings.Cut(cookie, "=")
	return trimSpace(name), trimSpace(value)
}

// cookieValue returns the value of the cookie and how often it occurs.
func cookieValue(header, name string) (value string, count int) {
	for more := true; more; {
		var cookie string
		cookie, header, more = nextCookie(header)
		if n, v := cutCookie(cookie); n == name {
			value = v
			count++
		}
	}
	return value, count
}

// withoutCookies returns the cookie header without the cookies that sources
// name. The others keep their bytes, their order and what separates them.
func withoutCookies(header string, sources []tokenSource) string {
	if !hasCookie(header, sources) {
		return header
	}
	out := make([]byte, 0, len(header))
	for start := 0; start <= len(header); {
		cookie, _, _ := nextCookie(header[start:])
		separator := header[max(start-1, 0)]
		start += len(cookie) + 1
		if isSourceCookie(cookie, sources) {
			continue
		}
		if len(out) > 0 {
			out = append(out, separator)
		} else {
			cookie = strings.TrimLeft(cookie, " \t")
		}
		out = append(out, cookie...)
	}
	return string(out)
}

func hasCookie(header string, sources []tokenSource) bool {
	for more := true; more; {
		var cookie string
		cookie, header, more = nextCookie(header)
		if isSourceCookie(cookie, sources) {
			return true
		}
	}
	return false
}

func isSourceCookie(cookie string, sources []tokenSource) bool {
	name, _ := cutCookie(cookie)
	for i := range sources {
		if sources[i].kind == fromCookie && sources[i].name == name {
			return true
		}
	}
	return false
}

// trimSpace removes spaces and tabs, what RFC 9110 calls OWS, and nothing else.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
