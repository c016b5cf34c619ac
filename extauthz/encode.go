package extauthz

import (
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// encodeHeaderValue percent-encodes what must not stand in a header: bytes
// outside 0x20-0x7E, '%', and spaces at the ends, which a proxy may trim. One
// decoding gives s back. Without any of these s is returned as it is.
func encodeHeaderValue(s string) string {
	clean := !strings.HasPrefix(s, " ") && !strings.HasSuffix(s, " ")
	for i := 0; clean && i < len(s); i++ {
		clean = isPlainValueByte(s[i])
	}
	if clean {
		return s
	}
	start := len(s) - len(strings.TrimLeft(s, " "))
	end := len(strings.TrimRight(s, " "))
	out := make([]byte, 0, 3*len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isPlainValueByte(c) && i >= start && i < end {
			out = append(out, c)
		} else {
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(out)
}

func isPlainValueByte(c byte) bool { return c >= ' ' && c <= '~' && c != '%' }

// claimText renders a claim for a header, before encodeHeaderValue: a scalar as
// its text, a list of scalars joined by commas, anything else as compact JSON.
// What is empty, null included, gives "".
func claimText(v oidc.Value) string {
	switch v.Kind() {
	case oidc.KindString, oidc.KindNumber, oidc.KindBool:
		return v.Text()
	case oidc.KindArray:
		return listText(v)
	case oidc.KindObject:
		for range v.Members() {
			return string(v.AppendCompact(nil))
		}
		return ""
	default:
		return ""
	}
}

// listText joins a list's elements with commas if that can be undone, and is
// compact JSON otherwise.
func listText(v oidc.Value) string {
	var joined []byte
	n := 0
	for e := range v.Elements() {
		if k := e.Kind(); k != oidc.KindString && k != oidc.KindNumber && k != oidc.KindBool {
			return string(v.AppendCompact(nil))
		}
		text := e.Text()
		if !joinable(text) {
			return string(v.AppendCompact(nil))
		}
		if n++; n > 1 {
			joined = append(joined, ',')
		}
		joined = append(joined, text...)
	}
	return string(joined)
}

// joinable reports whether an element can stand in a list that is joined by
// commas, so that nobody can take it for two, for none, or for JSON.
func joinable(s string) bool {
	return s != "" && s[0] != '[' && strings.IndexByte(s, ',') < 0
}

// stringsText is listText of a list of strings.
func stringsText(list []string) string {
	for _, s := range list {
		if !joinable(s) {
			return jsonStrings(list)
		}
	}
	return strings.Join(list, ",")
}

// jsonStrings writes a list of valid UTF-8 as JSON, escaping no more than it
// must (RFC 8259 section 7).
func jsonStrings(list []string) string {
	out := []byte{'['}
	for i, s := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		for j := 0; j < len(s); j++ {
			switch c := s[j]; {
			case c == '"' || c == '\\':
				out = append(out, '\\', c)
			case c < ' ':
				out = append(out, `\u00`...)
				out = append(out, upperHex[c>>4], upperHex[c&15])
			default:
				out = append(out, c)
			}
		}
		out = append(out, '"')
	}
	return string(append(out, ']'))
}
