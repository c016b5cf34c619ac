package inspect

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable replaces what could steer a terminal or mislead its reader: control
// characters, and those that have no shape or change the direction of writing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// EscapeJSON writes such characters of a JSON text as its own escapes. Outside its
// strings JSON has none of them, but for white space.
func EscapeJSON(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case r == '\t' || r == '\n' || r == '\r' || unicode.IsPrint(r):
			out = append(out, raw[:size]...)
		case r > 0xffff: // as a pair of surrogates
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		raw = raw[size:]
	}
	return out
}
