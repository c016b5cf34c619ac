package extauthz

import "strings"

// The query of a request target is split at '&' alone. The name of a parameter
// is compared after one percent-decoding; '+' is no space here, because a token
// may have one.

// queryValue returns the raw value of the query parameter and how often it
// occurs. A parameter without '=' has the value "".
func queryValue(target, name string) (value string, count int) {
	_, query, _ := strings.Cut(target, "?")
	for query != "" {
		var parameter string
		parameter, query, _ = strings.Cut(query, "&")
		n, v, _ := strings.Cut(parameter, "=")
		if decodesTo(n, name) {
			value = v
			count++
		}
	}
	return value, count
}

// withoutParameters returns the target without the parameters that sources name, in
// every spelling of them. All others keep their bytes and their order; '?' goes
// if nothing is left behind it.
func withoutParameters(target string, sources []tokenSource) string {
	path, query, found := strings.Cut(target, "?")
	if !found || !hasParameter(query, sources) {
		return target
	}
	out := append(make([]byte, 0, len(target)), path...)
	separator := byte('?')
	for more := true; more; {
		var parameter string
		parameter, query, more = strings.Cut(query, "&")
		if isSourceParameter(parameter, sources) {
			continue
		}
		out = append(append(out, separator), parameter...)
		separator = '&'
	}
	if len(out) == len(path)+1 { // a lone '?'
		out = out[:len(path)]
	}
	return string(out)
}

func hasParameter(query string, sources []tokenSource) bool {
	for more := true; more; {
		var parameter string
		parameter, query, more = strings.Cut(query, "&")
		if isSourceParameter(parameter, sources) {
			return true
		}
	}
	return false
}

func isSourceParameter(parameter string, sources []tokenSource) bool {
	name, _, _ := strings.Cut(parameter, "=")
	for i := range sources {
		if sources[i].kind == fromQuery && decodesTo(name, sources[i].name) {
			return true
		}
	}
	return false
}

// decodesTo reports whether one percent-decoding of s gives want. A malformed
// percent sign stands for itself.
func decodesTo(s, want string) bool {
	if len(s) < len(want) {
		return false
	}
	i := 0
	for j := 0; j < len(want); j++ {
		if i >= len(s) {
			return false
		}
		c, n := s[i], 1
		if decoded, ok := unhex(s, i); ok {
			c, n = decoded, 3
		}
		if c != want[j] {
			return false
		}
		i += n
	}
	return i == len(s)
}

// percentDecode decodes s once; a malformed percent sign stands for itself.
func percentDecode(s string) string {
	first := strings.IndexByte(s, '%')
	if first < 0 {
		return s
	}
	out := append(make([]byte, 0, len(s)), s[:first]...)
	for i := first; i < len(s); i++ {
		c, ok := unhex(s, i)
		if !ok {
			out = append(out, s[i])
			continue
		}
		out = append(out, c)
		i += 2
	}
	return string(out)
}
